//! A hard filter: pairs on whose ranking two viewpoints disagree are dropped, the others are trusted fully.
//!
//! A pair is kept, with C = 1, if the consistency C_i of its group is at least the threshold κ; else it is dropped. It is
//! the hard form of CREAM's soft label: C_i = (τ_i + 1) / 2 as in CREAM (arXiv 2410.12735, section 4), or by another
//! measure. Dropping the self-labelled pairs that are least sure is done in West-of-N (arXiv 2401.12086)
//! by the reward model's own margin.
//!
//! Worked example: groups with τ = 1, 1/3 and −1/3, so C = 1, 2/3 and 1/3. With κ = 0.5 the pairs of the first two are
//! kept, with κ = 0.7 only those of the first.

use creamery_plugin::consistency::{Agreement, Compat, Measure, Undefined, Viewpoints, agreement_metrics, check_rbo_p};
use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::{Dropped, Labels, Metric, PluginError, Records, Regularizer, stats};
use serde::Deserialize;

/// The regularizer; its objective is the default one, [`c_mix`](creamery_plugin::objective::c_mix).
pub struct Filter {
    threshold: f64,
    undefined: Undefined,
    agreement: Agreement,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    threshold: f64,
    undefined: Undefined,
    reference_compat: Compat,
    measure: Measure,
    rbo_p: f64,
    viewpoints: Viewpoints,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            threshold: 0.5,
            undefined: Undefined::Skip,
            reference_compat: Compat::None,
            measure: Measure::Kendall,
            rbo_p: 0.5,
            viewpoints: Viewpoints::first_two(),
        }
    }
}

impl Regularizer for Filter {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        if !(0.0..=1.0).contains(&params.threshold) {
            return Err(out_of_range("threshold", params.threshold, "between 0 and 1"));
        }
        check_rbo_p(params.measure, params.rbo_p)?;
        Ok(Filter {
            threshold: params.threshold,
            undefined: params.undefined,
            agreement: Agreement {
                measure: params.measure,
                persistence: params.rbo_p,
                ties: params.reference_compat.ties(),
                viewpoints: params.viewpoints,
            },
        })
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let statistics = self.agreement.by_group(records)?;
        let measure = self.agreement.measure;
        let pairs = records.pairs.len();
        let mut labels = Labels { consistency: vec![1.0; pairs], weights: vec![1.0; pairs], ..Labels::default() };
        for (i, pair) in records.pairs.iter().enumerate() {
            let statistic = statistics.get(&pair.group).copied().flatten();
            let reason = match self.undefined.consistency(measure, statistic) {
                Some(c) if c >= self.threshold => continue,
                Some(_) => format!("C of the group is below {}", self.threshold),
                None => format!("{} is undefined for the group", measure.title()),
            };
            labels.weights[i] = 0.0;
            labels.dropped.push(Dropped { index: i as u32, reason });
        }
        let defined: Vec<f64> = statistics.values().flatten().map(|s| measure.consistency(*s)).collect();
        if let Some(value) = stats::mean(&defined) {
            labels.metrics.push(Metric { name: "consistency".into(), value });
        }
        labels.metrics.extend(agreement_metrics(measure, &statistics));
        if pairs > 0 {
            let value = (pairs - labels.dropped.len()) as f64 / pairs as f64;
            labels.metrics.push(Metric { name: "filter/kept".into(), value });
        }
        Ok(labels)
    }
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: Filter,
    name: "filter",
    summary: "Drops pairs of groups whose consistency is below a threshold; DPO on the rest.",
    schema: include_str!("../params.schema.json"),
    features: ["c-mix"],
}

#[cfg(test)]
mod tests;
