//! What the results of a few seeds say: intervals, paired differences and corrected p-values.
//!
//! Seeds are few, so the t interval is what is stood by; the bootstrap beside it shows whether the normal assumption
//! matters. Arms that are compared on the same seeds share their chance (data order, sampling), so differences are taken
//! seed by seed (Student 1908; for models Dror et al. 2018, ACL P18-1128), and the p-values of all arms are corrected
//! together (Holm 1979).

mod bootstrap;

use statrs::distribution::{ContinuousCDF, StudentsT};

pub use bootstrap::{BOOTSTRAP_SEED, RESAMPLES, bootstrap_interval};

/// The confidence of every interval in a report.
pub const CONFIDENCE: f64 = 0.95;

/// From `low` to `high`, both in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Σ x / n; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard error of the mean, from the deviation with n − 1; `None` of fewer than two values.
///
/// `standard_error(&[1.0, 2.0, 3.0])` is √(1 / 3).
pub fn standard_error(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = mean(values).filter(|_| values.len() > 1)?;
    if all_equal(values) {
        return Some(0.0);
    }
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    Some((squares / (n - 1.0) / n).sqrt())
}

/// Equal but for rounding: differences of equal differences, say 0.65 − 0.6 and 0.66 − 0.61, are not the same bits, and
/// their spread would pass for evidence.
fn all_equal(values: &[f64]) -> bool {
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
    high - low <= 1e-10 * low.abs().max(high.abs())
}

/// Student's interval for the mean: mean ± t(n − 1) · standard error. `None` of fewer than two values, from which nothing
/// follows about chance.
///
/// Of 1, 2, 3: 2 ± 4.303 · 0.577, so −0.484 … 4.484.
pub fn t_interval(values: &[f64]) -> Option<Interval> {
    let (mean, error) = (mean(values)?, standard_error(values)?);
    let student = StudentsT::new(0.0, 1.0, values.len() as f64 - 1.0).ok()?;
    let reach = student.inverse_cdf(0.5 + CONFIDENCE / 2.0) * error;
    Some(Interval { low: mean - reach, high: mean + reach })
}

/// The two-sided p-value of Student's t test that the mean is 0; of paired differences that is the paired t test.
///
/// `None` of fewer than two values, and where all are equal but not 0: without spread there is no t. All 0 gives 1, as
/// nothing differs.
pub fn t_test(values: &[f64]) -> Option<f64> {
    let (mean, error) = (mean(values)?, standard_error(values)?);
    if error == 0.0 {
        return (mean == 0.0).then_some(1.0);
    }
    let student = StudentsT::new(0.0, 1.0, values.len() as f64 - 1.0).ok()?;
    Some((2.0 * student.sf((mean / error).abs())).min(1.0))
}

/// Holm's step-down correction (Holm 1979, Scandinavian Journal of Statistics 6): the k-th smallest of m p-values times
/// m − k + 1, never below an earlier one, at most 1. Tests that gave no p-value are left out and not counted.
///
/// Of 0.01, 0.04, 0.03: 0.03, 0.06, 0.06.
pub fn holm(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> = p.iter().enumerate().filter_map(|(i, p)| Some((i, (*p)?))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    let mut adjusted = vec![None; p.len()];
    let mut least: f64 = 0.0;
    for (k, (i, p)) in order.iter().enumerate() {
        least = least.max((p * (order.len() - k) as f64).min(1.0));
        adjusted[*i] = Some(least);
    }
    adjusted
}

#[cfg(test)]
mod tests;
