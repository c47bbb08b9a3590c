//! The gradient of an objective against differences of its values.

use creamery_plugin::ObjectiveValue;

use super::regularizer::Batch;

/// Steps of the log-probability, in nats: rounding of a loss near 1 gives 1e-12, curvature 1e-8.
const STEP: f64 = 1e-4;
/// How far a gradient may be from the difference quotient, relative to the larger of 1 and the gradient.
const TOLERANCE: f64 = 1e-5;

/// Compares every pair's d_chosen and d_rejected with the quotients to both sides of its log-probability. At a kink (a
/// hinge's, say) the two differ, and anything between them will do.
pub(super) fn check(
    batch: &Batch,
    value: &mut dyn FnMut(&Batch) -> Result<ObjectiveValue, String>,
) -> Result<String, String> {
    let here = value(batch)?;
    let mut worst = 0f64;
    for (name, of, gradient) in [
        ("d_chosen", chosen as fn(&mut Batch) -> &mut Vec<f64>, &here.d_chosen),
        ("d_rejected", rejected as fn(&mut Batch) -> &mut Vec<f64>, &here.d_rejected),
    ] {
        let mut moved = |step: f64| {
            let mut moved = batch.clone();
            of(&mut moved).iter_mut().for_each(|x| *x += step);
            value(&moved)
        };
        let (above, below) = (moved(STEP)?, moved(-STEP)?);
        for (i, found) in gradient.iter().enumerate() {
            let right = (above.loss[i] - here.loss[i]) / STEP;
            let left = (here.loss[i] - below.loss[i]) / STEP;
            let middle = (above.loss[i] - below.loss[i]) / (2.0 * STEP);
            let scale = found.abs().max(1.0);
            let between =
                *found >= left.min(right) - TOLERANCE * scale && *found <= left.max(right) + TOLERANCE * scale;
            let error = (found - middle).abs() / scale;
            if error > TOLERANCE && !between {
                return Err(format!(
                    "{name} of pair {i} is {found}, but the loss changes by {middle} for each nat; expected the \
                     derivative of the loss"
                ));
            }
            worst = worst.max(if between { error.min(TOLERANCE) } else { error });
        }
    }
    Ok(format!("differs from finite differences by {worst:.0e} at most"))
}

fn chosen(batch: &mut Batch) -> &mut Vec<f64> {
    &mut batch.batch.policy_chosen
}

fn rejected(batch: &mut Batch) -> &mut Vec<f64> {
    &mut batch.batch.policy_rejected
}
