//! How the arms go from round to round, and how their losses fall.

use std::collections::BTreeMap;

use super::arms::{Arm, Experiment};
use super::metric::{At, Metric};
use super::statistics::{Interval, mean, t_interval};

/// Points of a loss curve, at most.
const CURVE: usize = 160;

/// A metric of every arm by round.
#[derive(Clone, Debug)]
pub struct ByRound {
    pub metric: Metric,
    /// The rounds or models that any arm has.
    pub places: Vec<u32>,
    /// One for each arm: its value at each place.
    pub arms: Vec<BTreeMap<u32, Value>>,
}

/// Over the seeds of an arm; unfinished runs count where they have come.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub n: usize,
    pub mean: f64,
    pub interval: Option<Interval>,
}

impl ByRound {
    /// `None` of a metric that no run has.
    pub fn new(experiment: &Experiment, metric: Metric) -> Option<ByRound> {
        let arms: Vec<BTreeMap<u32, Value>> = experiment
            .arms
            .iter()
            .map(|arm| over_seeds(arm.runs.iter().filter_map(|run| run.points.get(&metric.key))))
            .collect();
        let mut places: Vec<u32> = arms.iter().flat_map(|values| values.keys().copied()).collect();
        places.sort_unstable();
        places.dedup();
        (!places.is_empty()).then_some(ByRound { metric, places, arms })
    }

    /// All metrics that any run has.
    pub fn all(experiment: &Experiment) -> Vec<ByRound> {
        Metric::all().filter_map(|metric| ByRound::new(experiment, metric)).collect()
    }

    /// The value that all arms have in all rounds and seeds, if there is one.
    pub fn constant(&self) -> Option<f64> {
        let values = || self.arms.iter().flat_map(BTreeMap::values);
        let first = values().next()?.mean;
        let same = |v: &Value| v.mean == first && v.interval.is_none_or(|i| i.low == i.high);
        values().all(same).then_some(first)
    }

    /// "M2", or "round 2".
    pub fn place(&self, at: u32) -> String {
        match self.metric.at {
            At::Model => format!("M{at}"),
            At::Round => format!("round {at}"),
        }
    }
}

/// A loss by step.
#[derive(Clone, Debug)]
pub struct Curve {
    /// `None` is supervised fine-tuning.
    pub round: Option<u32>,
    /// One for each arm.
    pub arms: Vec<BTreeMap<u32, Value>>,
    /// Some points stand for several steps.
    pub thinned: bool,
}

impl Curve {
    /// Fine-tuning first, then the rounds.
    pub fn all(experiment: &Experiment, arms: &[usize]) -> Vec<Curve> {
        let runs = || arms.iter().flat_map(|i| &experiment.arms[*i].runs);
        let mut stages: Vec<Option<u32>> = runs().flat_map(|run| run.losses.keys().copied()).collect();
        stages.sort_unstable();
        stages.dedup();
        stages
            .into_iter()
            .map(|round| {
                let last =
                    runs().filter_map(|run| run.losses.get(&round)?.keys().next_back().copied()).max().unwrap_or(0);
                let width = (last as usize).div_ceil(CURVE).max(1) as u32;
                let curve = |arm: &Arm| {
                    let thin =
                        arm.runs.iter().filter_map(|run| run.losses.get(&round)).map(|losses| thinned(losses, width));
                    let thin: Vec<BTreeMap<u32, f64>> = thin.collect();
                    over_seeds(thin.iter())
                };
                Curve { round, arms: arms.iter().map(|i| curve(&experiment.arms[*i])).collect(), thinned: width > 1 }
            })
            .collect()
    }

    pub fn title(&self) -> String {
        self.round.map_or_else(|| "supervised fine-tuning".to_owned(), |t| format!("round {t}"))
    }
}

fn over_seeds<'a>(runs: impl Iterator<Item = &'a BTreeMap<u32, f64>>) -> BTreeMap<u32, Value> {
    let mut values: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for points in runs {
        points.iter().for_each(|(at, x)| values.entry(*at).or_default().push(*x));
    }
    let value = |list: Vec<f64>| Some(Value { n: list.len(), mean: mean(&list)?, interval: t_interval(&list) });
    values.into_iter().filter_map(|(at, list)| Some((at, value(list)?))).collect()
}

/// The means of so many steps, at the last of them.
fn thinned(losses: &BTreeMap<u32, f64>, width: u32) -> BTreeMap<u32, f64> {
    let mut parts: BTreeMap<u32, (f64, u32)> = BTreeMap::new();
    for (step, loss) in losses {
        let part = parts.entry(step.saturating_sub(1) / width).or_default();
        *part = (part.0 + loss, part.1 + 1);
    }
    parts.into_iter().map(|(part, (sum, count))| ((part + 1) * width, sum / f64::from(count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_thinned_to_means() {
        let losses: BTreeMap<u32, f64> = (1..=5).map(|step| (step, f64::from(step))).collect();
        assert_eq!(thinned(&losses, 1), losses);
        assert_eq!(thinned(&losses, 2), BTreeMap::from([(2, 1.5), (4, 3.5), (6, 5.0)]));
    }
}
