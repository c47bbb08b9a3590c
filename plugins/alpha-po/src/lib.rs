//! AlphaPO: a preference loss in which the shape of the reward is a parameter.
//!
//! r(y) = β (1 − p(y)^(−α)) / α, with p(y) = π_θ(y|x)^(1/|y|) the length-normalized likelihood, and
//! L = −log σ(r(y⁺) − r(y⁻) − γ). For α → 0, r(y) → β log p(y), and L is SimPO's.
//!
//! Source: AlphaPO: Reward Shape Matters for LLM Alignment (Gupta et al., arXiv 2501.03884, ICML 2025).
//!
//! Worked example: α = 1, β = 2, γ = 0, log π_θ(y⁺) = −2 ln 2 over 2 tokens and log π_θ(y⁻) = −2 ln 4 over 2 tokens.
//! Then p⁺ = 1/2 and p⁻ = 1/4, r⁺ = 2 (1 − 2) = −2 and r⁻ = 2 (1 − 4) = −6, so L = −log σ(4) = 0.01815. With SimPO
//! (α = 0) the rewards would be −2 ln 2 and −2 ln 4, and L = −log σ(2 ln 2) = ln(5/4) = 0.2231.
//!
//! p^(−α) is e^(−α log p / |y|); where the exponent exceeds 30 it is continued by its tangent, so that the loss of a
//! hopeless response stays finite and keeps its slope.

use creamery_plugin::objective::{sigmoid, softplus};
use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::{Labels, ObjectiveBatch, ObjectiveValue, PluginError, Records, Regularizer, math};
use serde::Deserialize;

/// The regularizer; [`AlphaPo::new`](Regularizer::new) takes the parameters that `params.schema.json` describes.
pub struct AlphaPo {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    alpha: f64,
    gamma: f64,
}

impl Default for Params {
    fn default() -> Self {
        Params { alpha: 0.25, gamma: 0.1 }
    }
}

impl Regularizer for AlphaPo {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        if !(-2.0..=2.0).contains(&params.alpha) {
            return Err(out_of_range("alpha", params.alpha, "from -2 to 2"));
        }
        if !(0.0..=100.0).contains(&params.gamma) {
            return Err(out_of_range("gamma", params.gamma, "from 0 to 100"));
        }
        Ok(AlphaPo { params })
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let pairs = records.pairs.len();
        Ok(Labels { consistency: vec![1.0; pairs], weights: vec![1.0; pairs], ..Labels::default() })
    }

    fn objective(&self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, PluginError> {
        let mut value = ObjectiveValue::default();
        for i in 0..batch.policy_chosen.len() {
            let (better, d_better) = self.reward(batch.beta, batch.policy_chosen[i], batch.chosen_tokens[i]);
            let (worse, d_worse) = self.reward(batch.beta, batch.policy_rejected[i], batch.rejected_tokens[i]);
            let z = better - worse - self.params.gamma;
            let dz = -batch.weight[i] * sigmoid(-z);
            value.loss.push(batch.weight[i] * softplus(-z));
            value.d_chosen.push(dz * d_better);
            value.d_rejected.push(-dz * d_worse);
        }
        Ok(value)
    }
}

/// Exponents above this are continued by the tangent.
const STEEP: f64 = 30.0;

impl AlphaPo {
    /// r(y) and its derivative by log π_θ(y|x).
    fn reward(&self, beta: f64, logp: f64, tokens: u32) -> (f64, f64) {
        let (alpha, n) = (self.params.alpha, f64::from(tokens));
        let mean = logp / n;
        if alpha == 0.0 {
            return (beta * mean, beta / n);
        }
        let exponent = -alpha * mean;
        let (grown, slope) = match exponent > STEEP {
            true => (math::exp_m1(STEEP) + math::exp(STEEP) * (exponent - STEEP), math::exp(STEEP)),
            false => (math::exp_m1(exponent), math::exp(exponent)),
        };
        (-beta * grown / alpha, beta * slope / n)
    }
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: AlphaPo,
    name: "alpha-po",
    summary: "AlphaPO: a reference-free preference loss with a tunable reward shape.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
