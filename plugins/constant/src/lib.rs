//! One constant confidence for every pair: label-smoothed DPO.
//!
//! C = c, so the C-mix is conservative DPO with ε = 1 − c (E. Mitchell, "A note on DPO with noisy preferences and
//! relationship to IPO", 2023), L = (1 − ε) L_DPO(z) + ε L_DPO(−z). Its minimum lies at z* = logit(c), so the policy is
//! held to a finite distance from the reference: self-rewarding (SRLM, arXiv 2401.10020) with a regularization that does
//! not look at the ranking, the baseline that CREAM (arXiv 2410.12735) is to be held against.
//!
//! Worked example: c = 0.9. At z = 0 the loss is ln 2 and its slope σ(0) − 0.9 = −0.4; at z* = logit(0.9) = 2.197 the
//! slope is 0, and beyond it the pair pulls back.

use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::{Labels, PluginError, Records, Regularizer, consistency};
use serde::Deserialize;

/// The regularizer; its objective is the default one, [`c_mix`](creamery_plugin::objective::c_mix).
pub struct Constant {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    c: f64,
}

impl Default for Params {
    fn default() -> Self {
        Params { c: 0.9 }
    }
}

impl Regularizer for Constant {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        if !(0.0..=1.0).contains(&params.c) {
            return Err(out_of_range("c", params.c, "between 0 and 1"));
        }
        Ok(Constant { params })
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let pairs = records.pairs.len();
        let consistency = vec![self.params.c; pairs];
        let metrics = consistency::report(records)?;
        Ok(Labels { consistency, weights: vec![1.0; pairs], metrics, ..Labels::default() })
    }
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: Constant,
    name: "constant",
    summary: "One constant confidence C for every pair: label-smoothed DPO.",
    schema: include_str!("../params.schema.json"),
    features: ["c-mix"],
}

#[cfg(test)]
mod tests {
    use creamery_plugin::testkit::{self, pair, records};

    use super::*;

    #[test]
    fn every_pair_has_the_same_confidence() {
        let scores = testkit::scores(&[
            ("current", &[Some(2.0), Some(1.0), Some(0.0)]),
            ("previous", &[Some(1.0), Some(2.0), Some(0.0)]),
        ]);
        let all = records(testkit::groups(&[("x", &["a", "b", "c"])]), scores, vec![pair(0, 0, 2), pair(0, 1, 2)]);
        for (params, c) in [("", 0.9), ("{}", 0.9), (r#"{"c": 0}"#, 0.0), (r#"{"c": 0.75}"#, 0.75)] {
            let labels = Constant::new(params).unwrap().label(&all).unwrap();
            assert_eq!((labels.consistency, labels.weights), (vec![c; 2], vec![1.0; 2]));
            assert!(labels.dropped.is_empty());
            // the agreement of the viewpoints is only reported: τ = 1/3
            let first = &labels.metrics[0];
            assert!(first.name == "consistency" && (first.value - 2.0 / 3.0).abs() < 1e-15, "{first:?}");
        }
    }

    #[test]
    fn the_worked_example() {
        let constant = Constant::new("{}").unwrap();
        let slope = |z: f64| {
            let batch = creamery_plugin::ObjectiveBatch {
                beta: 1.0,
                policy_chosen: vec![z],
                policy_rejected: vec![0.0],
                reference_chosen: vec![0.0],
                reference_rejected: vec![0.0],
                chosen_tokens: vec![1],
                rejected_tokens: vec![1],
                consistency: vec![0.9],
                weight: vec![1.0],
            };
            constant.objective(&batch).unwrap().d_chosen[0]
        };
        assert!((slope(0.0) + 0.4).abs() < 1e-15);
        let minimum = (0.9f64 / 0.1).ln();
        assert!((minimum - 2.197).abs() < 1e-3 && slope(minimum).abs() < 1e-15 && slope(3.0) > 0.0);
    }

    #[test]
    fn parameters() {
        for params in [r#"{"c": 1.5}"#, r#"{"c": -0.1}"#] {
            let error = Constant::new(params).err().unwrap().message;
            assert!(error.contains("'c'") && error.contains("between 0 and 1"), "{error}");
        }
        let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
        assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
    }
}
