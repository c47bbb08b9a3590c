//! From values to places on an axis, with round numbers at its marks.

use super::super::metric::decimal;

/// A stretch of values on a stretch of the drawing.
pub struct Scale {
    pub low: f64,
    pub high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// Holds all finite values, with a little room around them.
    pub fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Scale {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|v| v.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low <= f64::EPSILON * 8.0 * high.abs().max(low.abs()) {
            // One value in the middle.
            let room = if high == 0.0 { 1.0 } else { high.abs() * 0.05 };
            (low, high) = (low - room, high + room);
        } else {
            let room = (high - low) * 0.06;
            // Counts and times do not go below nothing.
            low = if low >= 0.0 && low < room { 0.0 } else { low - room };
            high += room;
        }
        Scale { low, high, from, to }
    }

    /// Ends where the values can: a share at 0 and 1.
    pub fn within(mut self, limits: (f64, f64)) -> Scale {
        if self.low < self.high.min(limits.1) && limits.0 < self.high {
            self.low = self.low.max(limits.0);
            self.high = self.high.min(limits.1);
        }
        if self.low >= self.high {
            self.high = self.low + 1.0;
        }
        self
    }

    /// From exactly `low` to `high`.
    pub fn exact(low: f64, high: f64, from: f64, to: f64) -> Scale {
        let high = if high > low { high } else { low + 1.0 };
        Scale { low, high, from, to }
    }

    pub fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// About `wanted` round numbers, each as it is written if the numbers are `times` as large.
    pub fn ticks(&self, wanted: usize, times: f64) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / wanted.max(1) as f64;
        if !rough.is_finite() || rough <= 0.0 {
            return Vec::new();
        }
        let power = 10f64.powf(rough.log10().floor());
        let (factor, finer) = [(1.0, 0), (2.0, 0), (2.5, 1), (5.0, 0), (10.0, -1)]
            .into_iter()
            .find(|m| m.0 * power >= rough)
            .unwrap_or((10.0, -1));
        let step = factor * power;
        // As many decimals as tell one mark from the next.
        let decimals = finer - (power * times).log10().round() as i32;
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        let marks = (first..=last.min(first.saturating_add(20))).map(|k| k as f64 * step);
        marks.map(|mark| (mark, written(mark * times, decimals))).collect()
    }
}

fn written(value: f64, decimals: i32) -> String {
    match decimals {
        _ if value == 0.0 => "0".to_owned(),
        ..=6 if value.abs() < 1e7 => decimal(value, decimals.max(0) as usize),
        _ => format!("{value:.1e}").replace('-', "−"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers_within_the_scale() {
        let cases: [(&[f64], usize); 6] = [
            (&[0.61, 0.69], 4),
            (&[0.7368, 0.7371], 5),
            (&[0.0, 12345.0], 4),
            (&[0.5], 4),
            (&[], 4),
            (&[-1e-7, 1e-7, f64::NAN], 3),
        ];
        for (values, wanted) in cases {
            let scale = Scale::new(values.iter().copied(), 0.0, 100.0);
            let written = scale.ticks(wanted, 100.0);
            let texts: std::collections::BTreeSet<&String> = written.iter().map(|(_, text)| text).collect();
            assert_eq!(texts.len(), written.len(), "{written:?}");
            let ticks: Vec<f64> = written.iter().map(|(value, _)| *value).collect();
            assert!((2..=2 * wanted + 1).contains(&ticks.len()), "{values:?}: {ticks:?}");
            assert!(ticks.iter().all(|t| *t >= scale.low && *t <= scale.high), "{values:?}: {ticks:?}");
            for value in values.iter().filter(|v| v.is_finite()) {
                assert!((0.0..=100.0).contains(&scale.at(*value)));
            }
        }
    }
}
