//! Probabilities of labels.

use crate::types::{Answer, PluginError};

/// The distribution over `count` labels, normalized again, or the reason why there is none: a failed query, or
/// numbers that are no distribution. An answer of another kind is an error.
pub fn distribution(answer: &Answer, count: usize) -> Result<Result<Vec<f64>, String>, PluginError> {
    let p = match answer {
        Answer::Distribution(p) if p.len() == count => p,
        Answer::Distribution(p) => {
            return Err(PluginError::new(format!("the host gave {} probabilities for {count} labels", p.len())));
        }
        Answer::Failed(reason) => return Ok(Err(format!("no judgment: {reason}"))),
        _ => return Err(PluginError::new("the host did not answer with a distribution")),
    };
    let sum: f64 = p.iter().sum();
    if !(sum > 0.0 && sum.is_finite() && p.iter().all(|p| *p >= 0.0)) {
        return Ok(Err("no judgment: the labels' probabilities are no distribution".into()));
    }
    Ok(Ok(p.iter().map(|p| p / sum).collect()))
}
