//! `creamery sweep status`: how far the runs of a sweep are.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::record::{Place, RunRecord, now};
use crate::config::SweepConfig;
use crate::error::Result;
use crate::report::Table;

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has not started.
    #[default]
    Pending,
    Running,
    Done,
    Failed,
    /// It was ended before it was done, and waits to go on.
    Interrupted,
}

/// All runs of a sweep.
#[derive(Clone, Debug)]
pub struct Status {
    pub name: String,
    pub out: PathBuf,
    pub runs: Vec<RunStatus>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunStatus {
    pub name: String,
    pub state: State,
    /// Of a run at work: the stage, and how far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// So far, or in all.
    pub seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_mib: Option<u64>,
    pub log: PathBuf,
}

/// Of a sweep's folder, or of its config file.
///
/// # Errors
/// No sweep is there.
pub fn status(path: &Path, sets: &[String]) -> Result<Status> {
    let (name, place, names) = if path.is_dir() {
        let place = Place { out: path.to_owned() };
        let (name, names) = place.described()?;
        (name, place, names)
    } else {
        let sweep = SweepConfig::load(path, sets)?;
        let names = sweep.runs().into_iter().map(|run| sweep.name_of(run)).collect();
        (sweep.name, Place { out: sweep.out }, names)
    };
    let runs = names.into_iter().map(|name| of_run(&place, name)).collect();
    Ok(Status { name, out: place.out, runs })
}

fn of_run(place: &Place, name: String) -> RunStatus {
    let RunRecord { mut state, started, mut seconds, exit_code, error, peak_mib, .. } = place.read(&name);
    // Who runs it holds its lock; a record alone may be a dead process's.
    if state == State::Running && !place.is_taken(&name) {
        state = State::Interrupted;
    }
    let mut stage = None;
    if state == State::Running {
        seconds = (now() - started).max(0.0);
        stage = stage_of(&place.run(&name));
    }
    let log = place.log(&name);
    RunStatus { name, state, stage, seconds, exit_code, error, peak_mib, log }
}

/// What a run's own account says; see `progress.json`.
fn stage_of(folder: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Account {
        stages: Vec<Stage>,
    }
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Stage {
        label: String,
        state: String,
        done: u64,
        all: u64,
    }
    let bytes = std::fs::read(folder.join("progress.json")).ok()?;
    let account: Account = serde_json::from_slice(&bytes).ok()?;
    let stage = account.stages.into_iter().find(|stage| stage.state == "running")?;
    Some(match stage.all {
        0 => stage.label,
        all => format!("{} {}/{all}", stage.label, stage.done),
    })
}

impl Status {
    pub fn count(&self, state: State) -> usize {
        self.runs.iter().filter(|run| run.state == state).count()
    }

    /// Seconds until all is done, if as many runs go on working as do now and each takes as long as those that are done;
    /// `None` before the first is done. Later runs may find more in the store.
    pub fn rest(&self) -> Option<f64> {
        let done = self.runs.iter().filter(|run| run.state == State::Done);
        let (count, sum) = done.fold((0, 0.0), |(count, sum), run| (count + 1, sum + run.seconds));
        if count == 0 {
            return None;
        }
        let mean = sum / f64::from(count);
        let left = |run: &RunStatus| match run.state {
            State::Running => (mean - run.seconds).max(0.0),
            State::Pending | State::Interrupted => mean,
            State::Done | State::Failed => 0.0,
        };
        Some(self.runs.iter().map(left).sum::<f64>() / self.count(State::Running).max(1) as f64)
    }

    pub fn json(&self) -> serde_json::Value {
        let count = |state| self.count(state);
        json!({
            "name": self.name, "out": self.out.to_string_lossy(),
            "counts": {
                "pending": count(State::Pending), "running": count(State::Running), "done": count(State::Done),
                "failed": count(State::Failed), "interrupted": count(State::Interrupted),
            },
            "seconds-left": self.rest(), "runs": self.runs,
        })
    }

    /// For people: of a large sweep only the runs that something is to be said of.
    pub fn text(&self) -> String {
        let states = [State::Done, State::Running, State::Failed, State::Interrupted, State::Pending];
        let word = |state: State| json!(state).as_str().unwrap_or_default().to_owned();
        let counts = states.iter().map(|state| (word(*state), self.count(*state))).filter(|(_, count)| *count > 0);
        let counts: Vec<String> = counts.map(|(word, count)| format!("{count} {word}")).collect();
        let unsettled = self.runs.iter().any(|run| !matches!(run.state, State::Done | State::Failed));
        let rest = match self.rest().filter(|_| unsettled) {
            Some(rest) => format!(", about {rest:.0} s left"),
            None => String::new(),
        };
        let mut table = Table::new(&["run", "state", "seconds", "stage"]);
        let (all, mut shown) = (self.runs.len() <= SHOWN, 0);
        for run in &self.runs {
            if !all && (matches!(run.state, State::Done | State::Pending) || shown == SHOWN) {
                continue;
            }
            let seconds = if run.state == State::Pending { "–".into() } else { format!("{:.1}", run.seconds) };
            let first = run.error.as_ref().and_then(|error| error.lines().next());
            let about = run.stage.as_deref().or(first).unwrap_or_default();
            table.row([run.name.as_str(), &word(run.state), &seconds, about]);
            shown += 1;
        }
        let head = format!("{}: {} runs: {}{rest}\n", self.name, self.runs.len(), counts.join(", "));
        if shown == 0 { head } else { format!("{head}\n{}", table.render()) }
    }
}

/// Rows of the table.
const SHOWN: usize = 60;
