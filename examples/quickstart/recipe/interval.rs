//! Means over seeds with their 95 % confidence intervals.

use creamery::{Error, Result};

/// `mean ± half width`, to three places.
pub fn interval(values: impl Iterator<Item = f64>) -> Result<String> {
    let (mean, half) = mean_and_half_width(values)?;
    Ok(format!("{mean:.3} ± {half:.3}"))
}

/// With the sign, and marked where the interval excludes 0.
pub fn difference(values: impl Iterator<Item = f64>) -> Result<String> {
    let (mean, half) = mean_and_half_width(values)?;
    let text = format!("{mean:+.4} ± {half:.4}");
    Ok(if mean.abs() > half { format!("**{text}**") } else { text })
}

/// Student's t over the values: 2 to 16 of them.
pub fn mean_and_half_width(values: impl Iterator<Item = f64>) -> Result<(f64, f64)> {
    // 97.5 %, for 1 to 15 degrees of freedom.
    const T: [f64; 15] =
        [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131];
    let values: Vec<f64> = values.collect();
    let n = values.len() as f64;
    let Some(t) = values.len().checked_sub(2).and_then(|i| T.get(i)) else {
        return Err(Error::run(format!("an interval needs 2 to 16 values, found {}", values.len())));
    };
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Ok((mean, t * (variance / n).sqrt()))
}
