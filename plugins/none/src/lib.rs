//! No regularization: every pair is trusted fully.
//!
//! C = 1, so the C-mix is plain DPO, L = −log σ(z), and the method is self-rewarding language models, SRLM
//! (Yuan et al., arXiv 2401.10020; the baseline of CREAM, arXiv 2410.12735).
//!
//! Worked example: z = 0 gives L = ln 2 = 0.693, with gradient σ(0) − 1 = −0.5; z = 2 gives L = 0.127, gradient
//! −0.119: the gradient never changes sign, so margins grow without end.
//!
//! Where two viewpoints scored the responses it reports the same consistency metrics as CREAM, from Kendall's τ,
//! so that the two compare; they do not change any label.

use creamery_plugin::consistency;
use creamery_plugin::params::parse;
use creamery_plugin::{Labels, PluginError, Records, Regularizer};
use serde::Deserialize;

/// The regularizer; it has no parameters.
pub struct NoRegularizer;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {}

impl Regularizer for NoRegularizer {
    fn new(params: &str) -> Result<Self, PluginError> {
        let Params {} = parse(params)?;
        Ok(NoRegularizer)
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let pairs = records.pairs.len();
        let metrics = consistency::report(records)?;
        Ok(Labels { consistency: vec![1.0; pairs], weights: vec![1.0; pairs], metrics, ..Labels::default() })
    }
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: NoRegularizer,
    name: "none",
    summary: "No regularization: C = 1 for every pair, plain DPO (SRLM).",
    schema: include_str!("../params.schema.json"),
    features: ["c-mix"],
}

#[cfg(test)]
mod tests {
    use creamery_plugin::testkit::{self, pair, records};

    use super::*;

    #[test]
    fn every_pair_is_trusted_and_kendall_consistency_is_only_reported() {
        let groups = testkit::groups(&[("x", &["a", "b", "c"]), ("y", &["d", "e", "f"])]);
        let current: Vec<_> = [3.0, 2.0, 1.0, 3.0, 2.0, 1.0].map(Some).into();
        let previous: Vec<_> = [3.0, 2.0, 1.0, 1.0, 2.0, 3.0].map(Some).into();
        let pairs = vec![pair(0, 0, 2), pair(1, 3, 5)];

        let one = records(groups.clone(), testkit::scores(&[("current", &current)]), pairs.clone());
        let labels = NoRegularizer::new("").unwrap().label(&one).unwrap();
        let expected = Labels { consistency: vec![1.0; 2], weights: vec![1.0; 2], ..Labels::default() };
        assert_eq!(labels, expected);

        let two = records(groups, testkit::scores(&[("current", &current), ("previous", &previous)]), pairs);
        let labels = NoRegularizer::new("{}").unwrap().label(&two).unwrap();
        assert_eq!(labels.consistency, [1.0; 2]);
        let metrics: Vec<(&str, f64)> = labels.metrics.iter().map(|m| (m.name.as_str(), m.value)).collect();
        let expected = [
            ("consistency", 0.5),
            ("consistency/mean_tau", 0.0),
            ("consistency/std", 0.5),
            ("consistency/undefined", 0.0),
        ];
        assert_eq!(metrics, expected);
    }

    #[test]
    fn takes_no_parameters() {
        let error = NoRegularizer::new(r#"{"form": "average"}"#).err().unwrap().message;
        assert!(error.contains("unknown field `form`"), "{error}");
        assert_eq!(testkit::schema_defaults(include_str!("../params.schema.json")).unwrap(), "{}");
    }
}
