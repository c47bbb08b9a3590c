//! An objective on made-up log-probabilities: does it look at the reference?

use creamery_plugin::{ObjectiveBatch, ObjectiveValue, Pair, Records};

use crate::error::Result;

/// Pairs of which an objective is tried on as many made-up log-probabilities.
pub const PAIRS: usize = 8;

/// Does the objective give other values where the reference's log-probabilities are others? `batch` takes the numbers of
/// each pair but its log-probabilities, which are made up.
///
/// # Errors
/// The objective's own.
pub fn depends_on_reference(
    evaluate: &mut dyn FnMut(&ObjectiveBatch) -> Result<ObjectiveValue>,
    batch: &ObjectiveBatch,
) -> Result<bool> {
    let first = evaluate(&with_logps(batch, [0.0, 0.0]))?;
    // A loss that saturates may miss one of the changes, and pairs without weight miss all.
    let certain = ObjectiveBatch { weight: vec![1.0; batch.weight.len()], ..batch.clone() };
    let known = evaluate(&with_logps(&certain, [0.0, 0.0]))?;
    let mut depends = first != evaluate(&with_logps(batch, [-3.0, 0.0]))?;
    for shifts in [[-3.0, 0.0], [0.0, -3.0], [2.0, -0.5]] {
        depends |= known != evaluate(&with_logps(&certain, shifts))?;
    }
    Ok(depends)
}

/// `shifts` move the reference's log-probabilities of the chosen and the rejected responses.
fn with_logps(batch: &ObjectiveBatch, shifts: [f64; 2]) -> ObjectiveBatch {
    let count = batch.weight.len();
    let numbers = |start: f64, step: f64| -> Vec<f64> { (0..count).map(|i| start - step * (i % 5) as f64).collect() };
    ObjectiveBatch {
        policy_chosen: numbers(-5.0, 0.5),
        policy_rejected: numbers(-6.0, 0.25),
        reference_chosen: numbers(-5.5 + shifts[0], 0.5),
        reference_rejected: numbers(-5.75 + shifts[1], 0.25),
        ..batch.clone()
    }
}

/// The pairs' numbers besides their log-probabilities.
pub(super) fn batch_of(records: &Records, labels: &creamery_plugin::Labels, beta: f64) -> ObjectiveBatch {
    let tokens = |of: fn(&Pair) -> u32| -> Vec<u32> {
        records.pairs.iter().map(|p| records.groups.responses[of(p) as usize].tokens.max(1)).collect()
    };
    ObjectiveBatch {
        beta,
        chosen_tokens: tokens(|p| p.chosen),
        rejected_tokens: tokens(|p| p.rejected),
        consistency: labels.consistency.clone(),
        weight: labels.weights.iter().zip(&records.pairs).map(|(w, p)| w * p.weight).collect(),
        ..ObjectiveBatch::default()
    }
}
