//! From agreement to labels: the parameters that the regularizers of CREAM's family share.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::bucket::{self, Bucket};
use super::{Agreement, Measure, Ties, Viewpoints, agreement_metrics};
use crate::params::{out_of_range, parse};
use crate::stats;
use crate::types::{Dropped, Labels, Metric, PluginError, Records};

/// Buckets with a C of their own that a set may have.
const MAX_BUCKETS: usize = 100;

/// Which C a pair gets, as a plugin's parameters; the defaults are CREAM's (arXiv 2410.12735).
///
/// * form: one C for all pairs, the mean over the groups that have one (average); each group's own (sample); the mean of
///   the bucket of prompts, where it has at least `min_bucket` groups with a C, else the average (bucketed).
/// * running: this round's C and those of earlier rounds in one, the plain mean or an exponential one:
///   s₁ = C₁, s_t = d s_{t−1} + (1 − d) C_t, with d = `running_decay`. Earlier rounds' C are found in the history, as
///   "consistency/round", or "consistency" of a regularizer that has no running average.
/// * clamp: the bounds of the C that is used.
/// * undefined: groups without a statistic count as C = ½, or are left out (and dropped in the sample form).
///
/// ```
/// use creamery_plugin::consistency::Rule;
/// use creamery_plugin::testkit::{groups, pair, records, scores};
///
/// let scores = scores(&[("current", &[Some(3.0), Some(2.0), Some(1.0)]), ("previous", &[Some(2.0), Some(3.0), Some(1.0)])]);
/// let records = records(groups(&[("x", &["a", "b", "c"])]), scores, vec![pair(0, 0, 2)]);
/// // one of three pairs of responses is discordant: τ = 1/3
/// let c = |params: &str| Rule::parse(params).unwrap().label(&records).unwrap().consistency[0];
/// assert_eq!(c("{}"), (1.0 / 3.0 + 1.0) / 2.0);
/// // another best one, the same worst one
/// assert_eq!(c(r#"{"measure": "top-order"}"#), 0.0);
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Rule {
    pub form: Form,
    pub clamp: [f64; 2],
    pub undefined: Undefined,
    pub reference_compat: Compat,
    pub measure: Measure,
    pub rbo_p: f64,
    pub viewpoints: Viewpoints,
    pub bucket: Bucket,
    pub bucket_separator: String,
    pub buckets: usize,
    pub min_bucket: usize,
    pub running: Running,
    pub running_decay: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    Average,
    Sample,
    Bucketed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undefined {
    Half,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    None,
    Ordinal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Running {
    None,
    Mean,
    Ema,
}

impl Default for Rule {
    fn default() -> Self {
        Rule {
            form: Form::Average,
            clamp: [0.0, 1.0],
            undefined: Undefined::Skip,
            reference_compat: Compat::None,
            measure: Measure::Kendall,
            rbo_p: 0.5,
            viewpoints: Viewpoints::first_two(),
            bucket: Bucket::FirstWord,
            bucket_separator: "-".into(),
            buckets: 4,
            min_bucket: 10,
            running: Running::None,
            running_decay: 0.5,
        }
    }
}

impl Compat {
    pub fn ties(self) -> Ties {
        match self {
            Compat::None => Ties::TauB,
            Compat::Ordinal => Ties::Ordinal,
        }
    }
}

impl Undefined {
    /// C of a group by its statistic.
    pub fn consistency(self, measure: Measure, statistic: Option<f64>) -> Option<f64> {
        match (statistic, self) {
            (Some(statistic), _) => Some(measure.consistency(statistic)),
            (None, Undefined::Half) => Some(0.5),
            (None, Undefined::Skip) => None,
        }
    }
}

/// An error where p of rank-biased overlap is out of range, or set for another measure.
pub fn check_rbo_p(measure: Measure, p: f64) -> Result<(), PluginError> {
    if !(0.0 < p && p < 1.0) {
        return Err(out_of_range("rbo-p", p, "between 0 and 1 (both excluded)"));
    }
    meant_for("rbo-p", measure == Measure::Rbo, p == Rule::default().rbo_p, "measure = \"rbo\"")
}

impl Rule {
    /// Reads and checks the parameters.
    pub fn parse(params: &str) -> Result<Self, PluginError> {
        let rule: Rule = parse(params)?;
        let [low, high] = rule.clamp;
        if !(0.0 <= low && low <= high && high <= 1.0) {
            return Err(PluginError::new(format!(
                "parameter 'clamp' is [{low}, {high}], but must be [lowest, highest] with 0 ≤ lowest ≤ highest ≤ 1"
            )));
        }
        check_rbo_p(rule.measure, rule.rbo_p)?;
        if !(0.0..1.0).contains(&rule.running_decay) {
            return Err(out_of_range("running-decay", rule.running_decay, "at least 0 and below 1"));
        }
        bucket::check(rule.bucket, &rule.bucket_separator, rule.buckets)?;
        if rule.running != Running::None && rule.form == Form::Sample {
            return Err(PluginError::new(
                "a running average over rounds needs form = \"average\" or \"bucketed\": in the form \"sample\" each \
                 prompt has a C of its own, and earlier rounds had other prompts",
            ));
        }
        let default = Rule::default();
        let bucketed = rule.form == Form::Bucketed;
        let ids = bucketed && rule.bucket == Bucket::IdPrefix;
        let lengths = bucketed && rule.bucket == Bucket::Length;
        let form = "form = \"bucketed\"";
        let same_separator = rule.bucket_separator == default.bucket_separator;
        meant_for("bucket", bucketed, rule.bucket == default.bucket, form)?;
        meant_for("min-bucket", bucketed, rule.min_bucket == default.min_bucket, form)?;
        meant_for("bucket-separator", ids, same_separator, "bucket = \"id-prefix\"")?;
        meant_for("buckets", lengths, rule.buckets == default.buckets, "bucket = \"length\"")?;
        let ema = rule.running == Running::Ema;
        meant_for("running-decay", ema, rule.running_decay == default.running_decay, "running = \"ema\"")?;
        Ok(rule)
    }

    /// How this rule measures agreement.
    pub fn agreement(&self) -> Agreement {
        Agreement {
            measure: self.measure,
            persistence: self.rbo_p,
            ties: self.reference_compat.ties(),
            viewpoints: self.viewpoints.clone(),
        }
    }

    /// Labels with weight 1 for all pairs. Metrics: "consistency" (mean of the C that is used), then those of
    /// [`agreement_metrics`]; with a running average "consistency/round" (the C of this round alone, before the clamp);
    /// in the bucketed form "consistency/buckets" (how many have a C of their own) and "consistency/bucket/NAME" for
    /// each (of this round alone, before the clamp).
    ///
    /// The error says what in the records does not fit, and where nothing is defined.
    pub fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let statistics = self.agreement().by_group(records)?;
        let c_of = |statistic: Option<f64>| self.undefined.consistency(self.measure, statistic);
        let by_group: BTreeMap<u32, Option<f64>> = statistics.iter().map(|(&g, &s)| (g, c_of(s))).collect();
        let pairs = records.pairs.len();
        let mut labels = Labels { weights: vec![1.0; pairs], ..Labels::default() };
        let mut further = Vec::new();
        match self.form {
            Form::Sample => self.each_its_own(records, &by_group, &mut labels),
            Form::Average | Form::Bucketed if pairs == 0 => {}
            Form::Average | Form::Bucketed => {
                let average = self.average(&by_group)?;
                if self.running != Running::None {
                    further.push(metric("consistency/round", average));
                }
                let overall = self.clamp(self.run(records, &["consistency/round", "consistency"], average)?);
                labels.consistency = vec![overall; pairs];
                if self.form == Form::Bucketed {
                    self.by_bucket(records, &by_group, &mut labels, &mut further)?;
                }
            }
        }
        let used = labels.consistency.iter().zip(&labels.weights).filter(|(_, w)| **w > 0.0).map(|(c, _)| *c);
        if let Some(value) = stats::mean(&used.collect::<Vec<_>>()) {
            labels.metrics.push(metric("consistency", value));
        }
        labels.metrics.extend(agreement_metrics(self.measure, &statistics));
        labels.metrics.extend(further);
        Ok(labels)
    }

    fn each_its_own(&self, records: &Records, by_group: &BTreeMap<u32, Option<f64>>, labels: &mut Labels) {
        for (i, pair) in records.pairs.iter().enumerate() {
            // every pair's group is there: `by_group` is made from the pairs
            let c = by_group.get(&pair.group).copied().flatten();
            labels.consistency.push(self.clamp(c.unwrap_or(0.5)));
            if c.is_none() {
                labels.weights[i] = 0.0;
                let reason = format!("{} is undefined for the group", self.measure.title());
                labels.dropped.push(Dropped { index: i as u32, reason });
            }
        }
    }

    /// Puts the C of the large buckets in the place of the average.
    fn by_bucket(
        &self,
        records: &Records,
        by_group: &BTreeMap<u32, Option<f64>>,
        labels: &mut Labels,
        metrics: &mut Vec<Metric>,
    ) -> Result<(), PluginError> {
        let groups = by_group.keys().copied();
        let names = bucket::assign(self.bucket, &self.bucket_separator, self.buckets, &records.groups, groups);
        let mut members: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (g, c) in by_group.iter().filter_map(|(g, c)| Some((g, (*c)?))) {
            members.entry(&names[g]).or_default().push(c);
        }
        members.retain(|_, list| list.len() >= self.min_bucket.max(1));
        if members.len() > MAX_BUCKETS {
            return Err(PluginError::new(format!(
                "{} buckets have {} prompts or more, at most {MAX_BUCKETS} are allowed: raise 'min-bucket', or put \
                 prompts into buckets by another rule",
                members.len(),
                self.min_bucket
            )));
        }
        metrics.push(metric("consistency/buckets", members.len() as f64));
        let mut of_bucket: BTreeMap<&str, f64> = BTreeMap::new();
        for (name, list) in &members {
            let Some(c) = stats::mean(list) else { continue };
            let title = format!("consistency/bucket/{name}");
            metrics.push(metric(&title, c));
            of_bucket.insert(name, self.clamp(self.run(records, &[&title], c)?));
        }
        for (pair, c) in records.pairs.iter().zip(&mut labels.consistency) {
            if let Some(own) = of_bucket.get(names[&pair.group].as_str()) {
                *c = *own;
            }
        }
        Ok(())
    }

    /// The running average that ends with this round's `c`. Each earlier round gives the first of `names` that it has;
    /// rounds that have none are passed over.
    fn run(&self, records: &Records, names: &[&str], c: f64) -> Result<f64, PluginError> {
        if self.running == Running::None {
            return Ok(c);
        }
        let mut rounds = Vec::new();
        for round in &records.history {
            let found = names.iter().find_map(|name| round.metrics.iter().find(|m| m.name == *name));
            let Some(metric) = found else { continue };
            if !(0.0..=1.0).contains(&metric.value) {
                return Err(PluginError::new(format!(
                    "a running average over rounds needs C between 0 and 1, but round {} has the metric '{}' = {}: set \
                     running = \"none\", or use a regularizer with such a metric in every round",
                    round.round, metric.name, metric.value
                )));
            }
            rounds.push(metric.value);
        }
        rounds.push(c);
        let decay = self.running_decay;
        let ema = |list: &[f64]| list.iter().copied().reduce(|s, c| decay * s + (1.0 - decay) * c);
        let average = if self.running == Running::Mean { stats::mean(&rounds) } else { ema(&rounds) };
        Ok(average.unwrap_or(c))
    }

    fn clamp(&self, c: f64) -> f64 {
        c.clamp(self.clamp[0], self.clamp[1])
    }

    fn average(&self, by_group: &BTreeMap<u32, Option<f64>>) -> Result<f64, PluginError> {
        let defined: Vec<f64> = by_group.values().flatten().copied().collect();
        stats::mean(&defined).ok_or_else(|| {
            PluginError::new(format!(
                "{} is undefined for all {} groups that have a pair: a viewpoint scored fewer than two \
                 responses of each, or gave them equal scores; use a judge whose scores differ in both viewpoints, or \
                 set undefined = \"half\"",
                self.measure.title(),
                by_group.len()
            ))
        })
    }
}

fn metric(name: &str, value: f64) -> Metric {
    Metric { name: name.into(), value }
}

/// An error where a parameter is set that has no meaning under the other ones.
fn meant_for(name: &str, used: bool, default: bool, needs: &str) -> Result<(), PluginError> {
    if used || default {
        return Ok(());
    }
    Err(PluginError::new(format!(
        "parameter '{name}' is set, but has a meaning only with {needs}: remove it, or set that"
    )))
}
