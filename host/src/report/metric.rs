//! What is measured: the names, units and directions of the metrics that reports know, and how their values are written.

use crate::error::{Error, Result};

use super::arms::Experiment;

/// A metric of `metrics.jsonl`, or of a run's timings.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// The name in `metrics.jsonl`.
    pub key: String,
    /// What a person calls it: "sampled accuracy".
    pub title: String,
    pub unit: Unit,
    pub better: Better,
    pub at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A share, written in percent; differences in percentage points.
    Share,
    /// A count, written with few decimals.
    Count,
    Seconds,
    Number,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
    /// Neither: more tokens are no merit and no fault.
    Neither,
}

/// What a value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Model,
    Round,
}

use At::{Model, Round};
use Better::{Higher, Lower, Neither};
use Unit::{Count, Number, Seconds, Share};

/// Name in `metrics.jsonl`, name for people, unit, direction, and what it belongs to: in the order of the report.
const KNOWN: [(&str, &str, Unit, Better, At); 17] = [
    ("eval/sampled", "sampled accuracy", Share, Higher, Model),
    ("eval/greedy", "greedy accuracy", Share, Higher, Model),
    ("consistency", "consistency C", Number, Higher, Round),
    ("ranking_accuracy", "ranking accuracy", Share, Higher, Round),
    ("rewards/accuracies", "reward accuracy", Share, Higher, Round),
    ("rewards/margins", "reward margin", Number, Higher, Round),
    ("rewards/chosen", "reward of chosen", Number, Higher, Round),
    ("rewards/rejected", "reward of rejected", Number, Neither, Round),
    ("loss", "loss", Number, Lower, Round),
    ("completions/mean_length", "response length, tokens", Count, Neither, Round),
    ("eval/truncated", "cut off by the limit", Share, Lower, Model),
    ("pairs", "pairs", Count, Neither, Round),
    ("drops", "dropped groups and pairs", Count, Lower, Round),
    ("abstentions", "responses without a score", Count, Lower, Round),
    ("judge_failures", "groups that a judge failed on", Count, Lower, Round),
    ("plugin_seconds", "seconds in plugins", Seconds, Lower, Round),
    ("seconds", "seconds", Seconds, Lower, Round),
];

impl Metric {
    /// By its name in `metrics.jsonl`, or by the name for people, with spaces or hyphens, or as a sweep's config has it.
    pub fn named(name: &str) -> Metric {
        let name = match name {
            "sampled" => "eval/sampled",
            "greedy" => "eval/greedy",
            "ranking" => "ranking_accuracy",
            other => other,
        };
        let plain = |text: &str| text.to_lowercase().replace([' ', '_'], "-");
        let known = KNOWN.iter().find(|known| known.0 == name || plain(known.1) == plain(name));
        match known {
            Some((key, title, unit, better, at)) => {
                Metric { key: (*key).to_owned(), title: (*title).to_owned(), unit: *unit, better: *better, at: *at }
            }
            None => {
                let (key, title) = (name.to_owned(), name.to_owned());
                let at = if name.starts_with("eval/") { Model } else { Round };
                Metric { key, title, unit: Number, better: Higher, at }
            }
        }
    }

    /// All that a report draws by round.
    pub fn all() -> impl Iterator<Item = Metric> {
        KNOWN.iter().map(|known| Metric::named(known.0))
    }

    /// Those that arms are compared by: what is asked for, or what the sweep asks about, or accuracies.
    ///
    /// # Errors
    /// No run has a metric of that name.
    pub fn chosen(asked: &[String], experiment: &Experiment) -> Result<Vec<Metric>> {
        let has = |metric: &Metric| experiment.runs().any(|run| run.points.contains_key(&metric.key));
        if !asked.is_empty() {
            let metrics: Vec<Metric> = asked.iter().map(|name| Metric::named(name)).collect();
            if let Some(unknown) = metrics.iter().find(|metric| !has(metric)) {
                let mut names: Vec<&str> =
                    experiment.runs().flat_map(|run| run.points.keys()).map(String::as_str).collect();
                names.sort_unstable();
                names.dedup();
                let help = format!("known are {}", names.join(", "));
                return Err(Error::config(format!("no run has the metric '{}'", unknown.key)).help(help));
            }
            return Ok(metrics);
        }
        let first = experiment.metric.as_deref().map(Metric::named);
        let usual = ["eval/sampled", "eval/greedy", "ranking_accuracy", "consistency"].map(Metric::named);
        let mut metrics: Vec<Metric> = first.into_iter().chain(usual).filter(|metric| has(metric)).collect();
        let mut seen = Vec::new();
        metrics.retain(|metric| {
            let new = !seen.contains(&metric.key);
            seen.push(metric.key.clone());
            new
        });
        metrics.truncate(3);
        if metrics.is_empty() {
            // Of runs that have not come to any result.
            metrics.push(Metric::named("eval/sampled"));
        }
        Ok(metrics)
    }

    /// What a value is multiplied with to be written.
    pub fn times(&self) -> f64 {
        if self.unit == Share { 100.0 } else { 1.0 }
    }

    /// Between what its values can be.
    pub fn limits(&self) -> (f64, f64) {
        match self.unit {
            Share => (0.0, 1.0),
            Count | Seconds => (0.0, f64::INFINITY),
            Number => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// Is `a` better than `b`?
    pub fn improves(&self, a: f64, b: f64) -> bool {
        if self.better == Lower { a < b } else { a > b }
    }

    /// A value as people read it.
    pub fn show(&self, value: f64) -> String {
        match self.unit {
            Share => format!("{} %", signed(value * 100.0, 1, false)),
            Count => decimal(value, if value.abs() < 100.0 { 2 } else { 0 }),
            Seconds => format!("{} s", four_digits(value)),
            Number => four_digits(value),
        }
    }

    /// A value without its unit, as on an axis or in an interval.
    pub fn bare(&self, value: f64) -> String {
        match self.unit {
            Share => signed(value * 100.0, 1, false),
            Count => decimal(value, if value.abs() < 100.0 { 2 } else { 0 }),
            Seconds | Number => four_digits(value),
        }
    }

    /// A difference, with its sign.
    pub fn difference(&self, value: f64) -> String {
        match self.unit {
            Share => signed(value * 100.0, 2, true),
            _ => {
                let text = four_digits(value);
                if value > 0.0 { format!("+{text}") } else { text }
            }
        }
    }

    /// What a difference is counted in: "points".
    pub fn difference_unit(&self) -> &'static str {
        match self.unit {
            Share => "points",
            Seconds => "seconds",
            Count | Number => "",
        }
    }
}

fn signed(value: f64, decimals: usize, plus: bool) -> String {
    let text = decimal(value, decimals);
    if plus && value > 0.0 && !text.trim_start_matches(['0', '.']).is_empty() { format!("+{text}") } else { text }
}

/// With a true minus sign.
pub fn decimal(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        // −0.0 is 0.0.
        Some(rest) if rest.trim_start_matches(['0', '.']).is_empty() => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// Four digits that count: 0.1234, 12.34, 1234, 1.234e-6.
pub fn four_digits(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let size = value.abs().log10().floor();
    match size {
        _ if !value.is_finite() => "–".into(),
        s if !(-4.0..7.0).contains(&s) => format!("{value:.3e}").replace('-', "−"),
        s => decimal(value, (3.0 - s).clamp(0.0, 7.0) as usize),
    }
}

/// A p-value: 0.034, or "< 0.001".
pub fn show_p(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_for_people() {
        let share = Metric::named("sampled-accuracy");
        assert_eq!(share, Metric::named("eval/sampled"));
        assert_eq!(
            (share.show(0.6725), share.difference(-0.0184), share.difference(0.0)),
            ("67.2 %".into(), "−1.84".into(), "0.00".into())
        );
        assert_eq!(share.difference(0.018), "+1.80");
        let cases = [(0.0, "0"), (0.12345, "0.1235"), (-12.345, "−12.35"), (123456.0, "123456"), (1.5e-6, "1.500e−6")];
        for (value, expected) in cases {
            assert_eq!(four_digits(value), expected);
        }
        assert_eq!((show_p(0.0004), show_p(0.0341)), ("< 0.001".into(), "0.034".into()));
        assert_eq!(Metric::named("my/metric").better, Better::Higher);
        for (short, key) in [("sampled", "eval/sampled"), ("greedy", "eval/greedy"), ("consistency", "consistency")] {
            assert_eq!(Metric::named(short).key, key);
        }
    }
}
