//! Ensemble disagreement: pairs on which the viewpoints disagree weigh less.
//!
//! The viewpoints are an ensemble of reward models, and a pair's margin m_v = s_v(y⁺) − s_v(y⁻) one number for each.
//! The loss is DPO (C = 1), weighted by one of two rules:
//!
//! * spread: w = exp(−u / T), with u the standard deviation over the viewpoints of the margins m_v / q_v, where q_v is
//!   the root mean square of viewpoint v's margins over the set, so that viewpoints with other units count alike. The
//!   spread of an ensemble as a measure of its uncertainty is that of uncertainty-weighted optimization (T. Coste et al.,
//!   "Reward model ensembles help mitigate overoptimization", arXiv 2310.02743, section 3.3: mean − λ · variance of the
//!   rewards); here it is the spread of margins, and weighs pairs instead of lowering rewards.
//! * vote: w = the share of viewpoints that order the pair as it is; a viewpoint that gives both the same score counts
//!   half. Mean and deviation of an ensemble's margins as the strength of a preference, and down-weighting of weak ones:
//!   B. Wang et al., "Secrets of RLHF in large language models, part II", arXiv 2401.06080.
//!
//! Worked example: two viewpoints, two pairs, margins (3, 4) and (4, −3) with T = 1. q = √((9 + 16)/2) = 3.536 for both,
//! standardized (0.849, 1.131) and (1.131, −0.849); u = 0.141 and 0.990, so w = 0.868 and 0.372. By vote 1 and ½.
//!
//! It needs two viewpoints at least. Pairs that fewer than two viewpoints scored are dropped.

use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::{Dropped, Labels, Metric, PluginError, Records, Regularizer, consistency, math, stats};
use serde::Deserialize;

/// The regularizer; its objective is the default one, [`c_mix`](creamery_plugin::objective::c_mix).
pub struct Disagreement {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    rule: Rule,
    temperature: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rule {
    Spread,
    Vote,
}

impl Default for Params {
    fn default() -> Self {
        Params { rule: Rule::Spread, temperature: 1.0 }
    }
}

impl Regularizer for Disagreement {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        if !(params.temperature > 0.0 && params.temperature.is_finite()) {
            return Err(out_of_range("temperature", params.temperature, "above 0"));
        }
        if params.rule == Rule::Vote && params.temperature != Params::default().temperature {
            let message = "parameter 'temperature' is set, but has a meaning only with rule = \"spread\": remove it";
            return Err(PluginError::new(message));
        }
        Ok(Disagreement { params })
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let (viewpoints, responses) = (records.scores.viewpoints.len(), records.groups.responses.len());
        if viewpoints < 2 {
            return Err(PluginError::new(format!(
                "disagreement needs two viewpoints at least, but the scores come from {}: add some to [[viewpoints]], or \
                 use the regularizer 'none'",
                records.scores.viewpoints.join(", ")
            )));
        }
        // [P][V]
        let margins: Vec<Vec<Option<f64>>> = records
            .pairs
            .iter()
            .map(|pair| {
                let score = |v: usize, r: u32| records.scores.scores.get(v * responses + r as usize)?.value();
                // Halves, since the difference of two finite scores may not be finite. Only ratios of margins count.
                let half = |v: usize, r: u32| Some(0.5 * score(v, r)?);
                (0..viewpoints).map(|v| Some(half(v, pair.chosen)? - half(v, pair.rejected)?)).collect()
            })
            .collect();
        let unit: Vec<f64> =
            (0..viewpoints).map(|v| root_mean_square(margins.iter().filter_map(|row| row[v]))).collect();
        let pairs = margins.len();
        let mut labels = Labels { consistency: vec![1.0; pairs], ..Labels::default() };
        for (i, row) in margins.iter().enumerate() {
            let standard = |(m, q): (&Option<f64>, &f64)| m.map(|m| if *q > 0.0 { m / q } else { 0.0 });
            let defined: Vec<f64> = row.iter().zip(&unit).filter_map(standard).collect();
            let weight = if defined.len() < 2 { None } else { self.weight(&defined) };
            if weight.is_none() {
                let reason = "fewer than two viewpoints scored the pair".into();
                labels.dropped.push(Dropped { index: i as u32, reason });
            }
            labels.weights.push(weight.unwrap_or(0.0));
        }
        labels.metrics = consistency::report(records)?;
        let dropped = |i: usize| labels.dropped.binary_search_by_key(&(i as u32), |d| d.index).is_ok();
        let used: Vec<f64> =
            labels.weights.iter().enumerate().filter(|(i, _)| !dropped(*i)).map(|(_, weight)| *weight).collect();
        if let Some(value) = stats::mean(&used) {
            labels.metrics.push(Metric { name: "disagreement/mean_weight".into(), value });
        }
        Ok(labels)
    }
}

impl Disagreement {
    /// `None` for no margins.
    fn weight(&self, margins: &[f64]) -> Option<f64> {
        match self.params.rule {
            Rule::Spread => stats::standard_deviation(margins).map(|u| math::exp(-u / self.params.temperature)),
            Rule::Vote => {
                let votes: Vec<f64> = margins.iter().map(|m| 0.5 + 0.5 * f64::from(sign(*m))).collect();
                stats::mean(&votes)
            }
        }
    }
}

fn root_mean_square(margins: impl Iterator<Item = f64>) -> f64 {
    let margins: Vec<f64> = margins.collect();
    let largest = margins.iter().fold(0.0, |largest: f64, m| largest.max(m.abs()));
    // Where squares would overflow or vanish, those of the margins relative to the largest do not.
    let scale = if largest == 0.0 || (1e-150..=1e150).contains(&largest) { 1.0 } else { largest };
    let squares: Vec<f64> = margins.iter().map(|m| (m / scale) * (m / scale)).collect();
    scale * stats::mean(&squares).unwrap_or(0.0).sqrt()
}

/// −1, 0 or 1.
fn sign(x: f64) -> i8 {
    i8::from(x > 0.0) - i8::from(x < 0.0)
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: Disagreement,
    name: "disagreement",
    summary: "Pairs on which the viewpoints' scores disagree weigh less; DPO.",
    schema: include_str!("../params.schema.json"),
    features: ["c-mix"],
}

#[cfg(test)]
mod tests;
