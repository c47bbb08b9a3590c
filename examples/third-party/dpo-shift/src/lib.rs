//! DPO-Shift: DPO with less weight on pushing the rejected response down.
//!
//! DPO raises the margin between the two log-ratios, and often does so by lowering both: the chosen response becomes less
//! likely too ("likelihood displacement"). DPO-Shift multiplies the rejected log-ratio by λ ∈ (0, 1]:
//!
//! L = −log σ(z),  z = β [log π_θ(y⁺)/π_ref(y⁺) − λ · log π_θ(y⁻)/π_ref(y⁻)]
//!
//! ∂L/∂log π_θ(y⁺) = −β σ(−z),  ∂L/∂log π_θ(y⁻) = λ β σ(−z)
//!
//! λ = 1 is DPO (Rafailov et al., arXiv 2305.18290, eq. 7).
//!
//! Source: Yang, Jiang, Zhang, Zhao and Li, "DPO-Shift: Shifting the Distribution of Direct Preference Optimization",
//! arXiv 2502.07599 (2025), with their f(λ) = λ, the same for all steps.
//!
//! Worked example: β = 0.5, λ = 0.5, log-ratios +2 of the chosen and −2 of the rejected response. z = 0.5 (2 + 1) = 1.5
//! and L = ln(1 + e^−1.5) = 0.2014; DPO has z = 2 and L = 0.1269. With log-ratios −2 and −6 DPO sees the same margin,
//! while here z = 0.5 (−2 + 3) = 0.5 and L = 0.4741: that both fell is not as good as that one rose.

use creamery_plugin::objective::{sigmoid, softplus};
use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::{Labels, ObjectiveBatch, ObjectiveValue, PluginError, Records, Regularizer};
use serde::Deserialize;

/// The regularizer; [`DpoShift::new`](Regularizer::new) takes the parameters that `params.schema.json` describes.
pub struct DpoShift {
    lambda: f64,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    lambda: f64,
}

impl Default for Params {
    fn default() -> Self {
        Params { lambda: 0.95 }
    }
}

impl Regularizer for DpoShift {
    fn new(params: &str) -> Result<Self, PluginError> {
        let Params { lambda } = parse(params)?;
        if !(lambda > 0.0 && lambda <= 1.0) {
            return Err(out_of_range("lambda", lambda, "above 0 and at most 1"));
        }
        Ok(DpoShift { lambda })
    }

    /// Every pair is trusted: C = 1.
    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let pairs = records.pairs.len();
        Ok(Labels { consistency: vec![1.0; pairs], weights: vec![1.0; pairs], ..Labels::default() })
    }

    fn objective(&self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, PluginError> {
        let mut value = ObjectiveValue::default();
        for i in 0..batch.policy_chosen.len() {
            let chosen = batch.policy_chosen[i] - batch.reference_chosen[i];
            let rejected = batch.policy_rejected[i] - batch.reference_rejected[i];
            let z = batch.beta * (chosen - self.lambda * rejected);
            let slope = batch.weight[i] * batch.beta * sigmoid(-z);
            value.loss.push(batch.weight[i] * softplus(-z));
            value.d_chosen.push(-slope);
            value.d_rejected.push(self.lambda * slope);
        }
        Ok(value)
    }
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: DpoShift,
    name: "dpo-shift",
    summary: "DPO-Shift: DPO with less weight on the rejected response's log-ratio.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
