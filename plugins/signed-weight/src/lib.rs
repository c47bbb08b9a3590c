//! Signed weight: DPO times 2C − 1.
//!
//! L = (2C − 1) · L_DPO(z), with C the consistency of the viewpoints, labelled as by `cream` (arXiv 2410.12735,
//! section 4; the same parameters). At z = 0 it has the gradient of CREAM's C-mix, τ times DPO's. Elsewhere the two
//! differ: the mix pulls towards z* = logit(C) and back from beyond it, while this gradient, (2C − 1)(σ(z) − 1), never
//! changes its sign: it scales DPO and does not saturate. A pair with C < ½ counts against its labels, without a lower
//! bound on the loss; `clamp = [0.5, 1]` gives it no weight instead.
//!
//! Worked example: C = 0.9, so 2C − 1 = 0.8. At z = 0: loss 0.8 ln 2 = 0.555, slope −0.4, as the mix. At z = 3: slope
//! 0.8 (σ(3) − 1) = −0.038, while the mix has σ(3) − 0.9 = 0.053.

use creamery_plugin::consistency::Rule;
use creamery_plugin::objective::PreferenceLoss;
use creamery_plugin::{Labels, ObjectiveBatch, ObjectiveValue, PluginError, Records, Regularizer};

/// The regularizer; its parameters are those of [`Rule`].
pub struct SignedWeight {
    rule: Rule,
}

impl Regularizer for SignedWeight {
    fn new(params: &str) -> Result<Self, PluginError> {
        Ok(SignedWeight { rule: Rule::parse(params)? })
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        self.rule.label(records)
    }

    fn objective(&self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, PluginError> {
        Ok(PreferenceLoss::SignedWeight.evaluate(batch))
    }
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: SignedWeight,
    name: "signed-weight",
    summary: "DPO weighted by 2C - 1, C the consistency of two viewpoints.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests {
    use creamery_plugin::objective::c_mix;
    use creamery_plugin::testkit::{self, pair, records};

    use super::*;

    fn at(z: f64, c: f64) -> ObjectiveBatch {
        ObjectiveBatch {
            beta: 1.0,
            policy_chosen: vec![z],
            policy_rejected: vec![0.0],
            reference_chosen: vec![0.0],
            reference_rejected: vec![0.0],
            chosen_tokens: vec![1],
            rejected_tokens: vec![1],
            consistency: vec![c],
            weight: vec![1.0],
        }
    }

    #[test]
    fn the_worked_example_and_how_it_differs_from_the_mix() {
        let plugin = SignedWeight::new("{}").unwrap();
        let value = plugin.objective(&at(0.0, 0.9)).unwrap();
        assert!((value.loss[0] - 0.8 * 2f64.ln()).abs() < 1e-15 && (value.d_chosen[0] + 0.4).abs() < 1e-15);
        let (signed, mix) = (plugin.objective(&at(3.0, 0.9)).unwrap(), c_mix(&at(3.0, 0.9)));
        assert!((signed.d_chosen[0] + 0.037_94).abs() < 1e-5 && (mix.d_chosen[0] - 0.052_57).abs() < 1e-5);
        assert_eq!(signed.d_rejected[0], -signed.d_chosen[0]);
        // full confidence: DPO
        assert_eq!(plugin.objective(&at(1.5, 1.0)).unwrap(), c_mix(&at(1.5, 1.0)));
        for (z, c) in [(1e3, 0.2), (-1e3, 0.2), (1e3, 0.7), (-1e3, 0.7)] {
            let value = plugin.objective(&at(z, c)).unwrap();
            assert!(value.loss[0].is_finite() && value.d_chosen[0].abs() <= 1.0);
        }
    }

    #[test]
    fn labels_are_those_of_cream() {
        let scores = testkit::scores(&[
            ("current", &[Some(3.0), Some(2.0), Some(1.0)]),
            ("previous", &[Some(2.0), Some(3.0), Some(1.0)]),
        ]);
        let records = records(testkit::groups(&[("x", &["a", "b", "c"])]), scores, vec![pair(0, 0, 2)]);
        for (params, c) in [("{}", 2.0 / 3.0), (r#"{"clamp": [0.7, 1]}"#, 0.7), (r#"{"measure": "top-order"}"#, 0.0)] {
            let labels = SignedWeight::new(params).unwrap().label(&records).unwrap();
            assert!((labels.consistency[0] - c).abs() < 1e-15, "{params}");
            assert_eq!(labels.weights, [1.0]);
        }
    }

    #[test]
    fn schema_states_the_defaults() {
        let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
        assert_eq!(Rule::parse(&defaults).unwrap(), Rule::default());
    }
}
