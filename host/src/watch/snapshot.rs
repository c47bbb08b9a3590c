//! All that a run folder says at one moment.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::files;
use super::results::{ModelRow, Results, TrainingCurve};
use crate::report::live::{FILE, Life, Record, RunState, SampleRecord, StageRecord, StageState, now};

/// A record of a run is far smaller.
const MAX_RECORD: u64 = 4 << 20;
/// Where a process cannot be asked for: it writes every few seconds as long as it lives.
const SILENCE: f64 = 60.0;

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its process works on it.
    Running,
    /// It came to its end.
    Finished,
    /// It ended with an error.
    Failed,
    /// Its process is gone, or has long said nothing: it was killed. The same command continues it.
    Dead,
    /// There are results, but no word of a process: an earlier version made them, or the file is damaged.
    Unknown,
    /// There is nothing yet.
    Absent,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Finished => "finished",
            State::Failed => "failed",
            State::Dead => "dead",
            State::Unknown => "unknown",
            State::Absent => "not started",
        }
    }
}

/// A run at one moment. Texts are as the files have them: not fit for a terminal before they are cleaned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    pub folder: PathBuf,
    pub name: Option<String>,
    pub seed: Option<u64>,
    pub state: State,
    pub error: Option<String>,
    pub process: Option<u32>,
    /// Where the process runs.
    pub host: Option<String>,
    /// Seconds from the run's start to its last word.
    pub seconds: Option<f64>,
    /// Seconds since its last word.
    pub silent_seconds: Option<f64>,
    pub stages: Vec<StageRecord>,
    pub models: Vec<ModelRow>,
    /// The results are those of an earlier call.
    pub earlier_results: bool,
    pub curves: Vec<TrainingCurve>,
    pub samples: Vec<SampleRecord>,
    pub warnings: Vec<String>,
    pub warned: u64,
    /// What could not be read.
    pub unreadable: Vec<String>,
}

/// Reads a run folder again and again; files that have not changed are not read twice.
pub struct Reader {
    folder: PathBuf,
    results: Option<(Stamp, Results)>,
}

/// When files last changed, and their lengths.
type Stamp = Vec<Option<(SystemTime, u64)>>;

impl Reader {
    pub fn new(folder: &Path) -> Reader {
        Reader { folder: folder.to_owned(), results: None }
    }

    /// The run as it stands; whatever is wrong with the files is part of it.
    pub fn read(&mut self) -> Snapshot {
        let mut unreadable = Vec::new();
        let record: Option<Record> = files::object(&self.folder.join(FILE), MAX_RECORD).unwrap_or_else(|e| {
            unreadable.push(e);
            None
        });
        let stamp: Stamp = Results::FILES.iter().map(|name| stamp(&self.folder.join(name))).collect();
        if self.results.as_ref().is_none_or(|(known, _)| *known != stamp) {
            self.results = Some((stamp.clone(), Results::read(&self.folder)));
        }
        let results = self.results.as_ref().map(|(_, results)| results.clone()).unwrap_or_default();
        unreadable.extend(results.unreadable.iter().cloned());

        let mut snapshot = Snapshot {
            folder: self.folder.clone(),
            name: results.name.clone(),
            seed: results.seed,
            state: if results.any || !unreadable.is_empty() { State::Unknown } else { State::Absent },
            error: None,
            process: None,
            host: None,
            seconds: None,
            silent_seconds: None,
            stages: results.stages,
            models: results.models,
            earlier_results: false,
            curves: results.curves,
            samples: Vec::new(),
            warnings: Vec::new(),
            warned: 0,
            unreadable,
        };
        if let Some(record) = record {
            let written = stamp.iter().flatten().map(|(time, _)| seconds_of(*time)).fold(f64::NEG_INFINITY, f64::max);
            snapshot.take(record, written);
        }
        snapshot
    }
}

impl Snapshot {
    /// Reads a run folder once.
    pub fn of(folder: &Path) -> Snapshot {
        Reader::new(folder).read()
    }

    /// The stage that is worked on, or was when the run ended.
    pub fn present(&self) -> Option<&StageRecord> {
        let of = |state| self.stages.iter().find(|stage| stage.state == state);
        of(StageState::Running).or_else(|| of(StageState::Failed))
    }

    /// How many stages are over, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        let over = |s: &&StageRecord| matches!(s.state, StageState::Done | StageState::Reused);
        (self.stages.iter().filter(over).count(), self.stages.len())
    }

    /// `written` is when the results were.
    fn take(&mut self, record: Record, written: f64) {
        let silent = (now() - record.updated).max(0.0);
        self.state = match (record.state, record.process.life()) {
            (RunState::Finished, _) => State::Finished,
            (RunState::Failed, _) => State::Failed,
            (RunState::Running, Life::Alive) => State::Running,
            (RunState::Running, Life::Gone) => State::Dead,
            (RunState::Running, Life::Unknown) if silent > SILENCE => State::Dead,
            (RunState::Running, Life::Unknown) => State::Running,
        };
        (self.name, self.seed, self.error) = (Some(record.name), Some(record.seed), record.error);
        (self.process, self.host) = (Some(record.process.id), record.process.host);
        self.silent_seconds = Some(silent);
        self.stages = record.stages;
        let mut last = record.updated;
        if self.state == State::Running {
            // Its clock goes on between two writings; whole seconds, so that a picture stays the same for one.
            last = last.max(now());
            for stage in self.stages.iter_mut().filter(|stage| stage.state == StageState::Running) {
                stage.seconds = (stage.seconds + silent).floor();
            }
        }
        self.seconds = Some((last - record.started).max(0.0).floor());
        self.earlier_results = self.state != State::Finished && !self.models.is_empty() && written < record.started;
        if self.earlier_results {
            self.curves.clear();
        }
        for curve in record.curves {
            let new = TrainingCurve::new(curve.stage, curve.metric, curve.points);
            if !self.curves.iter().any(|c| c.stage == new.stage && c.metric == new.metric) {
                self.curves.push(new);
            }
        }
        (self.samples, self.warnings, self.warned) = (record.samples, record.warnings, record.warned);
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

fn seconds_of(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
