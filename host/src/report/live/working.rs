//! The record of a run while it grows, kept small.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::process::Process;
use super::record::{Curve, FORMAT, Record, RunState, SampleRecord, StageRecord, StageState};

/// Metrics whose curves are kept.
const METRICS: [&str; 4] = ["loss", "rewards/margins", "rewards/accuracies", "grad_norm"];
/// Points of a curve; a terminal shows no more.
const MAX_POINTS: usize = 160;
/// Curves of the last six trainings.
const MAX_CURVES: usize = 6 * METRICS.len();
const MAX_SAMPLES: usize = 8;
const MAX_WARNINGS: usize = 20;
/// Stages that did not stand in the plan are added up to here.
const MAX_STAGES: usize = 10_000;
/// Characters of a text.
const MAX_TEXT: usize = 2000;
/// The time over which the rate of the present stage is taken.
const OF_LATE: Duration = Duration::from_secs(5);

pub struct Working {
    record: Record,
    /// In the record's stages.
    present: Option<usize>,
    since: Instant,
    tokens: u64,
    /// Rows and tokens at the last writings.
    window: VecDeque<(Instant, u64, u64)>,
    thinning: Vec<Thinning>,
    /// Since the last writing.
    sampled: bool,
}

impl Working {
    pub fn new(name: &str, seed: u64, plan: Vec<String>) -> Working {
        let stages = plan.into_iter().map(|label| StageRecord { label, ..StageRecord::default() }).collect();
        let (process, started) = (Process::this(), now());
        let record =
            Record { format: FORMAT, name: name.to_owned(), seed, process, started, stages, ..Record::default() };
        Working {
            record,
            present: None,
            since: Instant::now(),
            tokens: 0,
            window: VecDeque::new(),
            thinning: Vec::new(),
            sampled: false,
        }
    }

    /// A stage begins; one that has not ended was broken off. Those of the plan that come before it are left out.
    pub fn start(&mut self, label: &str) {
        self.settle(StageState::Failed);
        let stages = &mut self.record.stages;
        let first = stages.iter().position(|s| s.state == StageState::Pending).unwrap_or(stages.len());
        let at = match stages[first..].iter().position(|s| s.label == label) {
            Some(skipped) => {
                stages.drain(first..first + skipped);
                first
            }
            None if stages.len() >= MAX_STAGES => return,
            None => {
                stages.insert(first, StageRecord { label: shortened(label), ..StageRecord::default() });
                first
            }
        };
        stages[at].state = StageState::Running;
        (self.present, self.since, self.tokens) = (Some(at), Instant::now(), 0);
        self.window = VecDeque::from([(self.since, 0, 0)]);
    }

    pub fn update(&mut self, done: u64, all: u64, unit: &str) {
        let Some(stage) = self.present() else { return };
        (stage.done, stage.all) = (done, all);
        if stage.unit != unit {
            stage.unit = unit.to_owned();
        }
    }

    pub fn tokens(&mut self, tokens: u64) {
        self.tokens = tokens;
    }

    pub fn metrics(&mut self, step: u64, values: &[(&str, f64)]) {
        let Some(stage) = self.present().map(|stage| stage.label.clone()) else { return };
        for (metric, value) in values.iter().filter(|(name, value)| METRICS.contains(name) && value.is_finite()) {
            let known = self.record.curves.iter().position(|c| c.stage == stage && c.metric == *metric);
            let at = known.unwrap_or_else(|| {
                if self.record.curves.len() >= MAX_CURVES {
                    self.record.curves.remove(0);
                    self.thinning.remove(0);
                }
                let (stage, metric) = (stage.clone(), (*metric).to_owned());
                self.record.curves.push(Curve { stage, metric, points: Vec::new() });
                self.thinning.push(Thinning::default());
                self.record.curves.len() - 1
            });
            // Single precision is plenty, and shorter in the file.
            let short = format!("{value:.5e}").parse().unwrap_or(*value);
            self.thinning[at].push(&mut self.record.curves[at].points, (step, short));
        }
    }

    /// A sample that is told now will be new in the next writing.
    pub fn wants_sample(&self) -> bool {
        !self.sampled
    }

    pub fn sample(&mut self, prompt: &str, response: &str) {
        let begun = self.record.stages.iter().rfind(|stage| stage.state != StageState::Pending);
        let stage = begun.map(|stage| stage.label.clone()).unwrap_or_default();
        let sample = SampleRecord { stage, prompt: shortened(prompt), response: shortened(response) };
        keep_last(&mut self.record.samples, sample, MAX_SAMPLES);
        self.sampled = true;
    }

    pub fn finish(&mut self, reused: bool, seconds: f64) {
        if let Some(stage) = self.present() {
            stage.seconds = seconds;
        }
        self.settle(if reused { StageState::Reused } else { StageState::Done });
    }

    pub fn warning(&mut self, text: &str) {
        keep_last(&mut self.record.warnings, shortened(text), MAX_WARNINGS);
        self.record.warned += 1;
    }

    pub fn end(&mut self, error: Option<String>) {
        self.settle(StageState::Failed);
        self.record.state = if error.is_some() { RunState::Failed } else { RunState::Finished };
        self.record.error = error.map(|e| shortened(&e));
        if self.record.state == RunState::Finished {
            self.record.stages.retain(|stage| stage.state != StageState::Pending);
        }
    }

    /// The file as it is to be written now.
    pub fn encode(&mut self) -> Vec<u8> {
        self.record.updated = now();
        self.sampled = false;
        let (since, tokens) = (self.since, self.tokens);
        if let Some(at) = self.present {
            let (time, stage) = (Instant::now(), &mut self.record.stages[at]);
            stage.seconds = time.duration_since(since).as_secs_f64();
            self.window.push_back((time, stage.done, tokens));
            while self.window.len() > 2 && self.window.front().is_some_and(|w| time - w.0 > OF_LATE) {
                self.window.pop_front();
            }
            if let Some((then, done, before)) = self.window.front() {
                let seconds = time.duration_since(*then).as_secs_f64();
                stage.rate = per_second(stage.done.saturating_sub(*done), seconds);
                stage.tokens_per_second = per_second(tokens.saturating_sub(*before), seconds);
            }
        }
        serde_json::to_vec(&self.record).unwrap_or_default()
    }

    fn present(&mut self) -> Option<&mut StageRecord> {
        self.present.map(|at| &mut self.record.stages[at])
    }

    /// The present stage has ended.
    fn settle(&mut self, state: StageState) {
        let (seconds, tokens) = (self.since.elapsed().as_secs_f64(), self.tokens);
        let Some(stage) = self.present() else { return };
        stage.state = state;
        (stage.rate, stage.tokens_per_second) = (0.0, 0.0);
        if state != StageState::Reused {
            (stage.rate, stage.tokens_per_second) = (per_second(stage.done, seconds), per_second(tokens, seconds));
        }
        if state == StageState::Failed {
            stage.seconds = seconds;
        }
        self.present = None;
    }
}

/// Keeps a curve short: when it is full every second point goes, and from then on only every second is kept. The last
/// one is always there.
struct Thinning {
    every: u64,
    seen: u64,
    /// The last point stands only until the next.
    provisional: bool,
}

impl Default for Thinning {
    fn default() -> Self {
        Thinning { every: 1, seen: 0, provisional: false }
    }
}

impl Thinning {
    fn push(&mut self, points: &mut Vec<(u64, f64)>, point: (u64, f64)) {
        if self.provisional {
            points.pop();
        }
        points.push(point);
        self.provisional = !self.seen.is_multiple_of(self.every);
        self.seen += 1;
        if !self.provisional && points.len() == MAX_POINTS {
            let mut even = false;
            points.retain(|_| {
                even = !even;
                even
            });
            self.every *= 2;
        }
    }
}

fn keep_last<T>(list: &mut Vec<T>, new: T, most: usize) {
    if list.len() >= most {
        list.remove(0);
    }
    list.push(new);
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { ((count as f64 / seconds) * 10.0).round() / 10.0 } else { 0.0 }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| (d.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(working: &mut Working) -> Record {
        serde_json::from_slice(&working.encode()).unwrap()
    }

    fn states(record: &Record) -> Vec<(&str, StageState)> {
        record.stages.iter().map(|s| (s.label.as_str(), s.state)).collect()
    }

    #[test]
    fn the_plan_follows_what_happens() {
        use StageState::*;
        let plan = ["sft", "sample", "average", "judge", "rank", "sample"].map(str::to_owned).to_vec();
        let mut working = Working::new("run", 3, plan);
        working.update(1, 2, "rows"); // before any stage: nothing
        working.start("sft");
        working.update(3, 8, "steps");
        let found = record(&mut working);
        assert_eq!((found.stages[0].done, found.stages[0].all, &*found.stages[0].unit), (3, 8, "steps"));
        assert_eq!(found.state, RunState::Running);
        working.finish(false, 1.5);
        working.start("sample");
        working.finish(true, 9.0);
        working.start("weights"); // not in the plan
        working.start("judge"); // and broken off; "average" is left out
        let found = record(&mut working);
        let expected = [
            ("sft", Done),
            ("sample", Reused),
            ("weights", Failed),
            ("judge", Running),
            ("rank", Pending),
            ("sample", Pending),
        ];
        assert_eq!(states(&found), expected);
        assert_eq!((found.stages[0].seconds, found.stages[1].seconds), (1.5, 9.0));
        working.end(Some("no".into()));
        let found = record(&mut working);
        assert_eq!((found.state, found.error.as_deref()), (RunState::Failed, Some("no")));
        assert_eq!(states(&found)[3..], [("judge", Failed), ("rank", Pending), ("sample", Pending)]);
    }

    #[test]
    fn everything_stays_small() {
        let mut working = Working::new("run", 0, Vec::new());
        let long = "ü".repeat(5000);
        for round in 0..20 {
            working.start(&format!("round {round}: train"));
            for step in 1..=2000 {
                let values = [("loss", 1.0 / 3.0), ("grad_norm", f64::NAN), ("num_tokens", 1.0), ("other", 1.0)];
                working.metrics(step, &values);
                working.sample(&long, &long);
                working.warning(&long);
            }
            working.finish(false, 1.0);
        }
        let found = record(&mut working);
        assert_eq!((found.samples.len(), found.warnings.len(), found.warned), (MAX_SAMPLES, MAX_WARNINGS, 40_000));
        assert_eq!(found.warnings[0].chars().count(), MAX_TEXT + 1);
        assert!(found.curves.len() <= MAX_CURVES && found.curves.iter().all(|c| c.metric == "loss"));
        for curve in &found.curves {
            let steps: Vec<u64> = curve.points.iter().map(|p| p.0).collect();
            assert!(curve.points.len() <= MAX_POINTS && steps.is_sorted(), "{steps:?}");
            assert_eq!((steps[0], *steps.last().unwrap()), (1, 2000));
        }
        assert!(working.encode().len() < 300_000);
    }
}
