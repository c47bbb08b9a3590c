//! The files of a sweep's folder: what the sweep is, and how far each run is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::State;
use crate::config::SweepConfig;
use crate::error::{Error, Result};
use crate::store::write_atomic;

/// Names the sweep in its folder.
pub(super) const SWEEP: &str = "sweep.json";

/// How far a run is, as its runner last wrote it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct RunRecord {
    pub state: State,
    /// Of what it was run with.
    pub fingerprint: String,
    /// Seconds since 1970.
    pub started: f64,
    pub seconds: f64,
    /// The run's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// `None` if a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The most memory that it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_mib: Option<u64>,
}

/// A sweep's folder.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub out: PathBuf,
}

impl Place {
    pub(super) fn run(&self, name: &str) -> PathBuf {
        self.out.join("runs").join(name)
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.run(name).join("run.log")
    }

    fn status(&self, name: &str) -> PathBuf {
        self.out.join("status").join(format!("{name}.json"))
    }

    /// Without a file, or with one that cannot be read, the run has not started.
    pub(super) fn read(&self, name: &str) -> RunRecord {
        let bytes = fs::read(self.status(name)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    pub(super) fn write(&self, name: &str, record: &RunRecord) -> Result<()> {
        write_atomic(self.status(name), pretty(&json!(record)))
    }

    /// Takes a run, until the file is dropped; `None` if another process has it. A file system without locks gives it to
    /// all.
    pub(super) fn take(&self, name: &str) -> Result<Option<File>> {
        let path = self.out.join("status").join(format!("{name}.lock"));
        let failed = |e: std::io::Error| Error::io("lock", &path, &e);
        fs::create_dir_all(self.out.join("status")).map_err(failed)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) if e.kind() != ErrorKind::Unsupported => Err(failed(e)),
            _ => Ok(Some(file)),
        }
    }

    /// Whether another process has the run now. Changes nothing.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        let path = self.out.join("status").join(format!("{name}.lock"));
        File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// Says what the sweep is; the report reads it.
    pub(super) fn describe(&self, sweep: &SweepConfig) -> Result<()> {
        let config = std::path::absolute(&sweep.file).unwrap_or_else(|_| sweep.file.clone());
        let text = pretty(&json!({
            "name": sweep.name,
            "config": config.to_string_lossy(),
            "baseline": sweep.baseline,
            "metric": sweep.metric,
            "arms": arms(sweep),
        }));
        let path = self.out.join(SWEEP);
        if fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            return Ok(());
        }
        write_atomic(path, text)
    }

    /// The names of all runs, as the sweep was last described.
    pub(super) fn described(&self) -> Result<(String, Vec<String>)> {
        let path = self.out.join(SWEEP);
        let text = fs::read(&path).map_err(|e| {
            Error::io("read", &path, &e)
                .help("name a sweep's config file, or the folder that `creamery sweep run` made")
        })?;
        let wrong = || Error::input("not a sweep's description").file(&path).help("run `creamery sweep run` again");
        let sweep: Value = serde_json::from_slice(&text).map_err(|_| wrong())?;
        let arms = sweep["arms"].as_array().ok_or_else(wrong)?;
        let runs = arms.iter().filter_map(|arm| arm["runs"].as_array()).flatten();
        let name = |run: &Value| Some(Path::new(run["folder"].as_str()?).file_name()?.to_str()?.to_owned());
        let names = runs.map(|run| name(run).ok_or_else(wrong)).collect::<Result<_>>()?;
        Ok((sweep["name"].as_str().unwrap_or_default().to_owned(), names))
    }
}

fn arms(sweep: &SweepConfig) -> Vec<Value> {
    let mut arms: Vec<Value> =
        sweep.arms.iter().map(|arm| json!({"name": arm.name, "values": arm.values, "runs": []})).collect();
    for run in sweep.runs() {
        let row = json!({"seed": run.seed, "folder": format!("runs/{}", sweep.name_of(run))});
        if let Some(runs) = arms[run.arm]["runs"].as_array_mut() {
            runs.push(row);
        }
    }
    arms
}

pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
