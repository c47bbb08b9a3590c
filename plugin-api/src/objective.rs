//! The C-mix objective of CREAM (arXiv 2410.12735, eq. 10):
//! loss = C · L_DPO(x, y⁺, y⁻) + (1 − C) · L_DPO(x, y⁻, y⁺), with L_DPO = −log σ(z) and
//! z = β [(log π_θ(y⁺) − log π_ref(y⁺)) − (log π_θ(y⁻) − log π_ref(y⁻))].
//!
//! It equals −log σ(z) + (1 − C) z, so dL/dz = σ(z) − C. C = 1 is DPO.

use crate::math;
use crate::types::{ObjectiveBatch, ObjectiveValue};

/// Loss and gradient of every pair, multiplied by the pair's weight.
pub fn c_mix(batch: &ObjectiveBatch) -> ObjectiveValue {
    let mut value = ObjectiveValue::default();
    for i in 0..batch.policy_chosen.len() {
        let z = margin(batch, i);
        let (c, w) = (batch.consistency[i], batch.weight[i]);
        let dz = w * batch.beta * (sigmoid(z) - c);
        value.loss.push(w * (softplus(-z) + (1.0 - c) * z));
        value.d_chosen.push(dz);
        value.d_rejected.push(-dz);
    }
    value
}

/// z of pair `i`: β times the difference of the two log-ratios.
pub fn margin(batch: &ObjectiveBatch, i: usize) -> f64 {
    let chosen = batch.policy_chosen[i] - batch.reference_chosen[i];
    let rejected = batch.policy_rejected[i] - batch.reference_rejected[i];
    batch.beta * (chosen - rejected)
}

/// σ(x), without overflow.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + math::exp(-x))
    } else {
        let e = math::exp(x);
        e / (1.0 + e)
    }
}

/// log(1 + eˣ), without overflow; −log σ(z) is softplus(−z).
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + math::ln_1p(math::exp(-x.abs()))
}
