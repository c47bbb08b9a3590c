//! Preference losses as values and gradients with respect to the sequences' log-probabilities: what a regularizer's
//! `objective` returns, and what `creamery train dpo` minimizes.

mod loss;

pub use loss::{PairLogps, PairValue, PreferenceLoss};

use crate::math;
use crate::types::{ObjectiveBatch, ObjectiveValue};

/// The C-mix objective of CREAM (arXiv 2410.12735, eq. 10), of every pair, multiplied by the pair's weight:
/// loss = C · L_DPO(x, y⁺, y⁻) + (1 − C) · L_DPO(x, y⁻, y⁺), with L_DPO = −log σ(z) and
/// z = β [(log π_θ(y⁺) − log π_ref(y⁺)) − (log π_θ(y⁻) − log π_ref(y⁻))].
///
/// It equals −log σ(z) + (1 − C) z, so dL/dz = σ(z) − C. C = 1 is DPO.
pub fn c_mix(batch: &ObjectiveBatch) -> ObjectiveValue {
    PreferenceLoss::Cream.evaluate(batch)
}

/// Adds the negative log-likelihood of the chosen responses, a mean over their tokens: `weight` times −log π_θ(y⁺) / |y⁺|,
/// times the pair's weight (iterative reasoning preference optimization, arXiv 2404.19733, eq. 1, with `weight` = α; ScPO,
/// arXiv 2411.04109, eq. 3).
pub fn add_nll(value: &mut ObjectiveValue, batch: &ObjectiveBatch, weight: f64) {
    for i in 0..batch.policy_chosen.len() {
        let per_token = batch.weight[i] * weight / f64::from(batch.chosen_tokens[i]);
        value.loss[i] -= per_token * batch.policy_chosen[i];
        value.d_chosen[i] -= per_token;
    }
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
