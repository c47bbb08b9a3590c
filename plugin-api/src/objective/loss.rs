//! The losses, pair by pair.
//!
//! Notation: log-probabilities are sums over a response's tokens; r⁺ = log π_θ(y⁺) − log π_ref(y⁺) and r⁻ are the
//! log-ratios of the chosen and the rejected response, |y| is a response's number of tokens, z = β (r⁺ − r⁻), and
//! L_DPO(z) = −log σ(z).

use super::{sigmoid, softplus};
use crate::math;
use crate::types::{ObjectiveBatch, ObjectiveValue};

/// A loss on preference pairs. [`PreferenceLoss::of_pair`] has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PreferenceLoss {
    /// DPO (arXiv 2305.18290, eq. 7): −log σ(z). With `label_smoothing` ε it is conservative DPO
    /// (E. Mitchell, "A note on DPO with noisy preferences"): (1 − ε) L_DPO(z) + ε L_DPO(−z).
    Dpo { label_smoothing: f64 },
    /// CREAM (arXiv 2410.12735, eq. 10): C L_DPO(z) + (1 − C) L_DPO(−z), with each pair's consistency C.
    Cream,
    /// IPO as TRL and its authors run it: (r⁺/|y⁺| − r⁻/|y⁻| − 1/(2β))², log-ratios per token.
    Ipo,
    /// IPO as written (arXiv 2310.12036, eq. 17): (r⁺ − r⁻ − 1/(2β))².
    IpoSequence,
    /// SLiC's hinge on DPO's margin (arXiv 2305.10425, eq. 1; arXiv 2309.06657): max(0, 1 − z).
    Hinge,
    /// Robust DPO (arXiv 2403.00409, eq. 12): ((1 − ε) L_DPO(z) − ε L_DPO(−z)) / (1 − 2ε), unbiased if a share ε < ½
    /// of the labels is flipped.
    Robust { label_smoothing: f64 },
    /// SimPO (arXiv 2405.14734, eq. 6): −log σ(β log π_θ(y⁺)/|y⁺| − β log π_θ(y⁻)/|y⁻| − γ), without a reference.
    SimPo { gamma: f64 },
    /// DPO weighted by 2C − 1: a pair with C < ½ counts as if its labels were swapped in sign, without saturation.
    SignedWeight,
    /// ORPO (arXiv 2403.07691, eq. 6 and 7), without a reference: the mean negative log-likelihood of the chosen
    /// tokens − β log σ(log odds(y⁺) − log odds(y⁻)), where odds(y) = P/(1 − P) and log P = log π_θ(y)/|y|. β is the
    /// paper's λ.
    Orpo,
    /// SPPO with hard labels (arXiv 2405.00675, eq. 4.7 with P = 1 and 0): (r⁺ − 1/(2β))² + (r⁻ + 1/(2β))².
    SppoHard,
}

/// What a loss may look at in one pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairLogps {
    pub policy_chosen: f64,
    pub policy_rejected: f64,
    pub reference_chosen: f64,
    pub reference_rejected: f64,
    pub chosen_tokens: f64,
    pub rejected_tokens: f64,
    pub consistency: f64,
}

/// A pair's loss and its derivatives with respect to the policy's two log-probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairValue {
    pub loss: f64,
    pub d_chosen: f64,
    pub d_rejected: f64,
}

/// Mean log-probabilities above this count as this in the odds: a response that is certain has infinite odds.
const CERTAIN: f64 = -1e-7;

impl PreferenceLoss {
    /// Loss and gradient of every pair, multiplied by the pair's weight.
    pub fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveValue {
        let mut value = ObjectiveValue::default();
        for i in 0..batch.policy_chosen.len() {
            let one = self.of_pair(
                batch.beta,
                &PairLogps {
                    policy_chosen: batch.policy_chosen[i],
                    policy_rejected: batch.policy_rejected[i],
                    reference_chosen: batch.reference_chosen[i],
                    reference_rejected: batch.reference_rejected[i],
                    chosen_tokens: f64::from(batch.chosen_tokens[i]),
                    rejected_tokens: f64::from(batch.rejected_tokens[i]),
                    consistency: batch.consistency[i],
                },
            );
            value.loss.push(batch.weight[i] * one.loss);
            value.d_chosen.push(batch.weight[i] * one.d_chosen);
            value.d_rejected.push(batch.weight[i] * one.d_rejected);
        }
        value
    }

    /// Loss and gradient of one pair.
    pub fn of_pair(&self, beta: f64, pair: &PairLogps) -> PairValue {
        let chosen = pair.policy_chosen - pair.reference_chosen; // r⁺
        let rejected = pair.policy_rejected - pair.reference_rejected; // r⁻
        let z = beta * (chosen - rejected);
        // A loss of z alone, with its derivative.
        let of_z = |loss: f64, dz: f64| PairValue { loss, d_chosen: beta * dz, d_rejected: -beta * dz };
        match *self {
            // a L_DPO(z) + b L_DPO(−z) = a softplus(−z) + b softplus(z), so dz = (a + b) σ(z) − a.
            PreferenceLoss::Dpo { label_smoothing: e } => {
                of_z(softplus(-z) + e * z, sigmoid(z) - (1.0 - e)) // a + b = 1
            }
            PreferenceLoss::Cream => of_z(softplus(-z) + (1.0 - pair.consistency) * z, sigmoid(z) - pair.consistency),
            PreferenceLoss::Robust { label_smoothing: e } => {
                let scale = 1.0 / (1.0 - 2.0 * e);
                of_z(softplus(-z) - scale * e * z, sigmoid(z) - scale * (1.0 - e)) // a + b = 1
            }
            PreferenceLoss::SignedWeight => {
                let weight = 2.0 * pair.consistency - 1.0;
                of_z(weight * softplus(-z), weight * (sigmoid(z) - 1.0))
            }
            PreferenceLoss::Hinge => of_z((1.0 - z).max(0.0), if z < 1.0 { -1.0 } else { 0.0 }),
            PreferenceLoss::IpoSequence => {
                let error = chosen - rejected - 0.5 / beta;
                PairValue { loss: error * error, d_chosen: 2.0 * error, d_rejected: -2.0 * error }
            }
            PreferenceLoss::Ipo => {
                let (n, m) = (pair.chosen_tokens, pair.rejected_tokens);
                let error = chosen / n - rejected / m - 0.5 / beta;
                PairValue { loss: error * error, d_chosen: 2.0 * error / n, d_rejected: -2.0 * error / m }
            }
            PreferenceLoss::SppoHard => {
                let (winner, loser) = (chosen - 0.5 / beta, rejected + 0.5 / beta);
                PairValue { loss: winner * winner + loser * loser, d_chosen: 2.0 * winner, d_rejected: 2.0 * loser }
            }
            PreferenceLoss::SimPo { gamma } => {
                let (n, m) = (pair.chosen_tokens, pair.rejected_tokens);
                let z = beta * (pair.policy_chosen / n - pair.policy_rejected / m) - gamma;
                let dz = sigmoid(z) - 1.0;
                PairValue { loss: softplus(-z), d_chosen: beta * dz / n, d_rejected: -beta * dz / m }
            }
            PreferenceLoss::Orpo => {
                let (n, m) = (pair.chosen_tokens, pair.rejected_tokens);
                let (better, d_better) = log_odds(pair.policy_chosen / n);
                let (worse, d_worse) = log_odds(pair.policy_rejected / m);
                let ratio = better - worse;
                let d_ratio = beta * (sigmoid(ratio) - 1.0);
                PairValue {
                    loss: beta * softplus(-ratio) - pair.policy_chosen / n,
                    d_chosen: (d_ratio * d_better - 1.0) / n,
                    d_rejected: -d_ratio * d_worse / m,
                }
            }
        }
    }

    /// The loss does not look at the reference, so none is needed.
    pub fn reference_free(&self) -> bool {
        matches!(self, PreferenceLoss::SimPo { .. } | PreferenceLoss::Orpo)
    }

    /// With policy = reference (z = 0) the loss is ln 2 times the weight, whatever the pair: a check that reference,
    /// template and mask are right.
    pub fn starts_at_ln2(&self) -> bool {
        matches!(self, PreferenceLoss::Dpo { .. } | PreferenceLoss::Cream | PreferenceLoss::Robust { .. })
    }
}

/// log(P/(1 − P)) and its derivative 1/(1 − P), for log P = `mean`.
fn log_odds(mean: f64) -> (f64, f64) {
    let mean = mean.min(CERTAIN);
    let other = -math::exp_m1(mean); // 1 − P
    (mean - math::ln(other), 1.0 / other)
}
