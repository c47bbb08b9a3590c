//! The bias-corrected and accelerated bootstrap (Efron 1987, JASA 82, eq. 2.3 and 6.6) of a mean.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use statrs::distribution::{ContinuousCDF, Normal};

use super::{CONFIDENCE, Interval, all_equal, mean};

/// Always the same, so that a report of the same runs has the same numbers.
pub const BOOTSTRAP_SEED: u64 = 20_241_012;

/// Means of resampled values that an interval is read from.
pub const RESAMPLES: usize = 9_999;

/// The interval of the mean from [`RESAMPLES`] resamples. With bias z₀ = Φ⁻¹(share of resampled means below the mean) and
/// acceleration a = Σ(x − x̄)³ / (6 (Σ(x − x̄)²)^1.5) its ends are the quantiles
/// Φ(z₀ + (z₀ + z) / (1 − a (z₀ + z))) of the resampled means, for z = Φ⁻¹(0.025) and Φ⁻¹(0.975).
///
/// `None` of fewer than three values. Equal values give that value at both ends.
pub fn bootstrap_interval(values: &[f64]) -> Option<Interval> {
    let center = mean(values).filter(|_| values.len() >= 3)?;
    if all_equal(values) {
        return Some(Interval { low: values[0], high: values[0] });
    }
    let n = values.len() as u64;
    let mut random = ChaCha8Rng::seed_from_u64(BOOTSTRAP_SEED);
    // The high half of a product is even enough: n is far below 2^32.
    let mut draw = || values[((u128::from(random.next_u64()) * u128::from(n)) >> 64) as usize];
    let mut means: Vec<f64> =
        (0..RESAMPLES).map(|_| values.iter().map(|_| draw()).sum::<f64>() / values.len() as f64).collect();
    means.sort_by(f64::total_cmp);

    // Resampled means that would equal the mean but for rounding count one half.
    let close = 1e-12 * values.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let below = means.iter().filter(|m| **m < center - close).count() as f64;
    let above = means.iter().filter(|m| **m > center + close).count() as f64;
    let share = (0.5 + (below - above) / (2.0 * RESAMPLES as f64)).clamp(1e-9, 1.0 - 1e-9);
    let normal = Normal::standard();
    let bias = normal.inverse_cdf(share);
    let power = |k: i32| values.iter().map(|x| (x - center).powi(k)).sum::<f64>();
    let acceleration = power(3) / (6.0 * power(2).powf(1.5));
    let end = |z: f64| {
        let moved = bias + z;
        quantile(&means, normal.cdf(bias + moved / (1.0 - acceleration * moved)))
    };
    let z = normal.inverse_cdf(0.5 + CONFIDENCE / 2.0);
    Some(Interval { low: end(-z), high: end(z) })
}

/// Linear between the values of a sorted list.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    below + (sorted[place.ceil() as usize] - below) * place.fract()
}
