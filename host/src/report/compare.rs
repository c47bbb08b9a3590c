//! The question of a report: which arm is better than the baseline, by how much, and could that be chance.

use std::collections::BTreeMap;

use super::arms::Experiment;
use super::collect::State;
use super::metric::{Better, Metric, show_p};
use super::statistics::{Interval, bootstrap_interval, holm, mean, t_interval, t_test};

/// What of chance is left to be taken for a difference.
const LEVEL: f64 = 0.05;

/// All arms by one metric.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub metric: Metric,
    pub baseline: usize,
    /// One for each arm, in their order.
    pub arms: Vec<ArmResult>,
}

/// An arm by a metric.
#[derive(Clone, Debug, Default)]
pub struct ArmResult {
    pub name: String,
    /// The last value of each finished run, by seed.
    pub values: BTreeMap<u64, f64>,
    pub mean: Option<f64>,
    /// Over seeds; `None` of one seed.
    pub interval: Option<Interval>,
    /// The standard error over evaluation rows of a single run, where the run says it.
    pub row_error: Option<f64>,
    /// Runs without a value: unfinished, or without the metric.
    pub without: usize,
    /// `None` of the baseline, and where no seed is common.
    pub difference: Option<Difference>,
}

/// An arm less the baseline, seed by seed.
#[derive(Clone, Debug)]
pub struct Difference {
    pub by_seed: BTreeMap<u64, f64>,
    pub mean: f64,
    pub interval: Option<Interval>,
    pub bootstrap: Option<Interval>,
    /// Of the paired t test, for this arm alone.
    pub p: Option<f64>,
    /// The same, corrected for the number of arms (Holm).
    pub adjusted: Option<f64>,
    /// Seeds that only one of the two has.
    pub unpaired: usize,
}

impl Comparison {
    pub fn new(experiment: &Experiment, metric: Metric) -> Comparison {
        let values: Vec<BTreeMap<u64, f64>> = (experiment.arms.iter())
            .map(|arm| arm.runs.iter().filter_map(|run| Some((run.seed, run.last(&metric.key)?))).collect())
            .collect();
        let mut arms: Vec<ArmResult> = Vec::with_capacity(values.len());
        for (number, (arm, of_arm)) in experiment.arms.iter().zip(&values).enumerate() {
            let list: Vec<f64> = of_arm.values().copied().collect();
            let single = arm.runs.iter().find(|run| of_arm.len() == 1 && of_arm.contains_key(&run.seed));
            arms.push(ArmResult {
                name: arm.name.clone(),
                mean: mean(&list),
                interval: t_interval(&list),
                row_error: single.and_then(|run| run.last(&error_of(&metric.key))),
                without: arm.runs.len() - of_arm.len(),
                difference: (number != experiment.baseline)
                    .then(|| Difference::of(of_arm, &values[experiment.baseline]))
                    .flatten(),
                values: of_arm.clone(),
            });
        }
        let p: Vec<Option<f64>> = arms.iter().map(|arm| arm.difference.as_ref()?.p).collect();
        for (arm, adjusted) in arms.iter_mut().zip(holm(&p)) {
            if let Some(difference) = &mut arm.difference {
                difference.adjusted = adjusted;
            }
        }
        Comparison { metric, baseline: experiment.baseline, arms }
    }

    /// Arms from the best mean to the worst, those without a value last.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.arms.len()).collect();
        order.sort_by(|a, b| match (self.arms[*a].mean, self.arms[*b].mean) {
            (Some(x), Some(y)) if self.metric.better == Better::Lower => x.total_cmp(&y),
            (Some(x), Some(y)) => y.total_cmp(&x),
            (x, y) => y.is_some().cmp(&x.is_some()),
        });
        order
    }

    /// The answer in a sentence.
    pub fn answer(&self) -> String {
        let base = &self.arms[self.baseline];
        let what = &self.metric.title;
        let Some(best) = self.candidate() else { return self.alone() };
        let arm = &self.arms[best];
        let Some(difference) = &arm.difference else { return self.alone() };
        let n = difference.by_seed.len();
        let amount = self.amount(difference.mean.abs());
        let ahead = self.metric.improves(difference.mean, 0.0);
        if n == 1 {
            let compared = match difference.mean {
                0.0 => format!("{} and {} have the same {what}", arm.name, base.name),
                _ => format!(
                    "{} is {amount} {} {} in {what}",
                    arm.name,
                    if ahead { "ahead of" } else { "behind" },
                    base.name
                ),
            };
            return format!(
                "With a single seed nothing can be said about chance between seeds: {compared}{}.",
                self.row_errors(arm, base)
            );
        }
        let Some(interval) = difference.interval else { return self.alone() };
        let evidence = self.evidence(difference, &interval, n);
        if difference.by_seed.values().all(|x| *x == 0.0) {
            let also = if self.arms.len() > 2 { ", the best of the other arms," } else { "" };
            return format!("{}{also} and {} have the same {what} in every one of {n} seeds.", arm.name, base.name);
        }
        match difference.adjusted {
            Some(p) if p < LEVEL && ahead => {
                format!("{} beats {} by {amount} of {what} {evidence}.", arm.name, base.name)
            }
            Some(p) if p < LEVEL => match self.arms.len() {
                2 => format!("{} beats {} by {amount} of {what} {evidence}.", base.name, arm.name),
                _ => format!(
                    "No arm beats {}: the best of the others, {}, is {amount} of {what} behind {evidence}.",
                    base.name, arm.name
                ),
            },
            _ => {
                let direction = if ahead { "ahead of" } else { "behind" };
                match self.arms.len() {
                    2 => format!(
                        "The data does not tell {0} and {1} apart: {0} is {amount} of {what} {direction} {1} {evidence}.",
                        arm.name, base.name
                    ),
                    _ => format!(
                        "The data does not tell whether any arm beats {}: the best, {}, is {amount} of {what} \
                         {direction} it {evidence}.",
                        base.name, arm.name
                    ),
                }
            }
        }
    }

    /// The arm that the answer is about: the best of those that chance does not explain, or the best.
    fn candidate(&self) -> Option<usize> {
        let others = || self.order().into_iter().filter(|i| *i != self.baseline && self.arms[*i].difference.is_some());
        others().find(|i| self.told(*i, true)).or_else(|| others().next())
    }

    /// Is the arm better, or worse, than the baseline, by more than chance explains?
    fn told(&self, arm: usize, ahead: bool) -> bool {
        self.arms[arm].difference.as_ref().is_some_and(|d| {
            d.adjusted.is_some_and(|p| p < LEVEL) && d.mean != 0.0 && self.metric.improves(d.mean, 0.0) == ahead
        })
    }

    /// What should be known about the answer.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let base = &self.arms[self.baseline];
        let told = |ahead: bool| (0..self.arms.len()).filter(|arm| self.told(*arm, ahead)).count();
        let compared = self.arms.iter().filter(|arm| arm.difference.as_ref().is_some_and(|d| d.p.is_some())).count();
        if compared > 1 {
            remarks.push(format!(
                "Of {compared} arms compared with {}, {} are better and {} worse at a level of 5 %, corrected for their number (Holm).",
                base.name,
                told(true),
                told(false)
            ));
        }
        let first = self.order().into_iter().find(|i| *i != self.baseline && self.arms[*i].difference.is_some());
        if let (Some(first), Some(candidate)) = (first, self.candidate())
            && first != candidate
        {
            remarks.push(format!(
                "{} has a better mean than {}, but the data does not tell it from {}.",
                self.arms[first].name, self.arms[candidate].name, base.name
            ));
        }
        let seeds: Vec<usize> = self.arms.iter().map(|arm| arm.values.len()).collect();
        let (fewest, most) = (seeds.iter().min().copied().unwrap_or(0), seeds.iter().max().copied().unwrap_or(0));
        if fewest != most {
            let unpaired = self.arms.iter().filter_map(|arm| arm.difference.as_ref()).any(|d| d.unpaired > 0);
            let pairs =
                if unpaired { "; differences are over the seeds that an arm and the baseline both have" } else { "" };
            remarks.push(format!("The arms have {fewest} to {most} seeds with a value{pairs}."));
        }
        if (2..5).contains(&most) {
            remarks.push(format!(
                "{most} seeds are few: intervals are wide, and a real difference may well go unseen. The bootstrap interval is too narrow for so few."
            ));
        }
        let spreadless =
            |arm: &&ArmResult| arm.difference.as_ref().is_some_and(|d| d.by_seed.len() > 1 && d.p.is_none());
        if let Some(arm) = self.arms.iter().find(spreadless) {
            remarks.push(format!(
                "{} differs from {} by the same amount in every seed: without spread there is no t test.",
                arm.name, base.name
            ));
        }
        remarks
    }

    /// Where there is nothing to compare.
    fn alone(&self) -> String {
        let what = &self.metric.title;
        let base = &self.arms[self.baseline];
        let Some(mean) = base.mean else {
            let others = self.arms.iter().filter(|arm| arm.mean.is_some()).count();
            return match others {
                0 => format!("No run has come to a {what} yet."),
                _ => format!("The baseline {} has no {what} yet, so nothing can be compared with it.", base.name),
            };
        };
        let value = self.metric.show(mean);
        let reached = match (base.interval, base.row_error) {
            (Some(interval), _) => format!(
                "{} reached a {what} of {value} (95 % CI {} over {} seeds)",
                base.name,
                self.range(&interval),
                base.values.len()
            ),
            (None, Some(error)) => {
                format!(
                    "{} reached a {what} of {value} ± {} (standard error over evaluation rows) in one run",
                    base.name,
                    self.metric.bare(error)
                )
            }
            (None, None) => format!("{} reached a {what} of {value} in one run", base.name),
        };
        match self.arms.len() {
            1 => format!("{reached}. There is one arm, so nothing to compare it with."),
            _ => format!("{reached}. No other arm shares a seed with it, so there is nothing to compare."),
        }
    }

    fn evidence(&self, difference: &Difference, interval: &Interval, n: usize) -> String {
        // The interval of the size, as the sentence gives it without a sign.
        let flipped = difference.mean < 0.0;
        let (low, high) = if flipped { (-interval.high, -interval.low) } else { (interval.low, interval.high) };
        let range = self.difference_range(&Interval { low, high });
        let p = match (difference.adjusted, self.arms.len()) {
            (Some(p), 2) => format!(", p {}", equal(p)),
            (Some(p), _) => format!(", Holm-adjusted p {}", equal(p)),
            (None, _) => String::new(),
        };
        format!("(95 % CI {range}, paired t over {n} seeds{p})")
    }

    fn row_errors(&self, arm: &ArmResult, base: &ArmResult) -> String {
        match (arm.row_error, base.row_error) {
            (Some(a), Some(b)) => {
                format!(" (standard errors over evaluation rows: {} and {})", self.metric.bare(a), self.metric.bare(b))
            }
            _ => String::new(),
        }
    }

    fn amount(&self, size: f64) -> String {
        let number = self.metric.difference(size);
        let number = number.trim_start_matches('+');
        match self.metric.difference_unit() {
            "" => number.to_owned(),
            unit => format!("{number} {unit}"),
        }
    }

    /// "0.4 … 3.1", of values.
    pub fn range(&self, interval: &Interval) -> String {
        format!("{} … {}", self.metric.bare(interval.low), self.metric.bare(interval.high))
    }

    /// The same of differences.
    pub fn difference_range(&self, interval: &Interval) -> String {
        let text = |x| self.metric.difference(x).trim_start_matches('+').to_owned();
        format!("{} … {}", text(interval.low), text(interval.high))
    }
}

impl Difference {
    fn of(arm: &BTreeMap<u64, f64>, baseline: &BTreeMap<u64, f64>) -> Option<Difference> {
        let by_seed: BTreeMap<u64, f64> =
            arm.iter().filter_map(|(seed, x)| Some((*seed, x - baseline.get(seed)?))).collect();
        let list: Vec<f64> = by_seed.values().copied().collect();
        Some(Difference {
            mean: mean(&list)?,
            interval: t_interval(&list),
            bootstrap: bootstrap_interval(&list),
            p: t_test(&list),
            adjusted: None,
            unpaired: arm.len() + baseline.len() - 2 * list.len(),
            by_seed,
        })
    }
}

/// Runs that are not among the results, in words.
pub fn left_out(experiment: &Experiment) -> Vec<String> {
    let mut counts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for arm in &experiment.arms {
        for run in arm.runs.iter().filter(|run| run.state != State::Finished) {
            counts.entry(run.state.text()).or_default().push(format!("{} seed {}", arm.name, run.seed));
        }
    }
    let shown = |(state, runs): (&String, &Vec<String>)| {
        let more = if runs.len() > 6 { format!(" and {} more", runs.len() - 6) } else { String::new() };
        let names = runs.iter().take(6).cloned().collect::<Vec<_>>().join(", ");
        let count = if runs.len() == 1 { "1 run is".to_owned() } else { format!("{} runs are", runs.len()) };
        format!("{count} left out ({state}): {names}{more}.")
    };
    counts.iter().map(shown).collect()
}

/// Where a run keeps the standard error of a metric over rows.
fn error_of(key: &str) -> String {
    match key {
        "eval/sampled" | "eval/greedy" => format!("{key}_error"),
        _ => format!("{key}_stderr"),
    }
}

fn equal(p: f64) -> String {
    let p = show_p(p);
    if p.starts_with('<') { p } else { format!("= {p}") }
}

#[cfg(test)]
mod tests;
