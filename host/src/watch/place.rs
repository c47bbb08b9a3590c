//! What there is to watch: one run, or the runs of a sweep.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files;
use crate::config::{RunConfig, SweepConfig};
use crate::error::{Error, Kind, Result};

/// In a sweep's folder; it names the runs.
const SWEEP: &str = "sweep.json";
const MAX_SWEEP: u64 = 64 << 20;
const MAX_CONFIG: u64 = 16 << 20;

#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Run(PathBuf),
    Sweep(Sweep),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    pub name: String,
    pub folder: PathBuf,
    pub runs: Vec<SweepRun>,
}

/// A run of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepRun {
    pub arm: String,
    pub seed: u64,
    pub folder: PathBuf,
}

impl SweepRun {
    /// As a person reads it: "kendall, seed 3".
    pub fn title(&self) -> String {
        format!("{}, seed {}", self.arm, self.seed)
    }
}

/// `path` is a run folder, a sweep's folder, or the config file of one of them; a run may not have begun. `set` are
/// changes to the config.
///
/// # Errors
/// There is no such folder, the config is wrong, or the list of a sweep's runs cannot be read.
pub fn find(path: &Path, set: &[String]) -> Result<Place> {
    let found = std::fs::metadata(path).map_err(|e| {
        Error::io("read", path, &e)
            .help("give a run's folder, as `creamery run` names it at its end, or its config file")
    })?;
    if !found.is_dir() {
        if !describes_sweep(path) {
            return Ok(Place::Run(RunConfig::load(path, set)?.out));
        }
        let out = SweepConfig::load(path, set)?.out;
        return match out.join(SWEEP).exists() {
            true => find(&out, &[]),
            false => Err(Error::input("the sweep has not begun: it has no folder yet").file(&out)),
        };
    }
    if !set.is_empty() {
        return Err(Error::config("--set changes a config file, and this is a folder").file(path));
    }
    let file = path.join(SWEEP);
    let sweep = files::json::<Value>(&file, MAX_SWEEP);
    match sweep.map_err(|e| Error::input(e).file(&file).help("repeat the command that made the sweep"))? {
        Some(sweep) => Ok(Place::Sweep(sweep_of(path, &sweep))),
        None => Ok(Place::Run(path.to_owned())),
    }
}

impl Place {
    /// A folder that a user names must be one of ours; that of a config file may not be there yet.
    pub fn check(&self, given: &Path) -> Result<()> {
        match self {
            Place::Run(folder) if given.is_dir() && super::Snapshot::of(folder).state == super::State::Absent => {
                Err(Error::new(Kind::Input, "nothing of a run is in this folder")
                    .file(folder)
                    .help("a run's folder holds progress.json, as soon as the first stage begins"))
            }
            _ => Ok(()),
        }
    }
}

/// A config file with a `[sweep]`. One that cannot be read is told of by who loads it.
fn describes_sweep(file: &Path) -> bool {
    let text = files::text(file, MAX_CONFIG).ok().flatten().unwrap_or_default();
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("sweep"))
}

/// What cannot be understood is left out. A relative folder starts at the sweep's.
fn sweep_of(folder: &Path, sweep: &Value) -> Sweep {
    let own = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut runs = Vec::new();
    for arm in sweep["arms"].as_array().into_iter().flatten() {
        let name = arm["name"].as_str().unwrap_or("?");
        for run in arm["runs"].as_array().into_iter().flatten() {
            if let Some(at) = run["folder"].as_str() {
                let seed = run["seed"].as_u64().unwrap_or(0);
                runs.push(SweepRun { arm: name.to_owned(), seed, folder: folder.join(at) });
            }
        }
    }
    Sweep { name: sweep["name"].as_str().map_or(own, str::to_owned), folder: folder.to_owned(), runs }
}
