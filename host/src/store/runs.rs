//! Which runs use a store's artifacts: `runs/DIGEST.json`, one for each run folder, with what the run has made or found
//! so far. What no run folder needs any more can go; see [`Store::collect`].

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::files::{io_error, write_atomic};
use super::{RUNS, Store};
use crate::error::Result;

/// The artifacts of an unfinished run whose folder is gone, or not there yet, are kept for so long.
pub(super) const UNFINISHED_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A record larger than this is damaged.
const MAX_RECORD: u64 = 16 << 20;

/// What one run uses. It grows while the run goes on, so that nothing of it is collected if it is killed.
pub(crate) struct RunRecord {
    file: PathBuf,
    written: Written,
    /// Of this run alone, without what an earlier run in the same folder used.
    now: BTreeSet<String>,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Written {
    /// The run folder.
    pub out: PathBuf,
    /// "STAGE/ID"
    pub artifacts: BTreeSet<String>,
}

impl RunRecord {
    pub(crate) fn open(store: &Store, out: &Path) -> Result<RunRecord> {
        let out = std::path::absolute(out).map_err(|e| io_error("use", out, &e))?;
        let name = blake3::hash(out.as_os_str().as_encoded_bytes()).to_hex();
        let file = store.root().join(RUNS).join(format!("{}.json", &name[..32]));
        // What cannot be read is written again.
        let written = read(&file).filter(|record| record.out == out).unwrap_or(Written { out, ..Written::default() });
        Ok(RunRecord { file, written, now: BTreeSet::new() })
    }

    /// The run uses this artifact.
    pub(crate) fn add(&mut self, stage: &str, id: &str) -> Result<()> {
        let name = format!("{stage}/{id}");
        self.now.insert(name.clone());
        match self.written.artifacts.insert(name) {
            true => self.write(),
            false => Ok(()),
        }
    }

    /// The run is done: what an earlier one in its folder used is no longer kept for it.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if self.written.artifacts == self.now {
            return Ok(());
        }
        self.written.artifacts = self.now.clone();
        self.write()
    }

    fn write(&self) -> Result<()> {
        let mut text = serde_json::to_string_pretty(&self.written).unwrap_or_default();
        text.push('\n');
        write_atomic(&self.file, text)
    }
}

/// A record on disk.
pub(super) struct Found {
    pub file: PathBuf,
    pub run: Written,
    /// Its run folder is there, or it may still be on its way.
    pub alive: bool,
}

/// All records of a store, by file name. One that cannot be read counts for nothing.
pub(super) fn all(root: &Path) -> Result<Vec<Found>> {
    let folder = root.join(RUNS);
    let entries = match fs::read_dir(&folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| io_error("list", &folder, &e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let file = entry.map_err(|e| io_error("list", &folder, &e))?.path();
        let Some(run) = read(&file) else { continue };
        let age = fs::metadata(&file).and_then(|m| m.modified()).ok();
        let young = age.is_none_or(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < UNFINISHED_KEPT));
        let alive = run.out.is_dir() || young;
        found.push(Found { file, run, alive });
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

fn read(file: &Path) -> Option<Written> {
    if fs::metadata(file).ok()?.len() > MAX_RECORD {
        return None;
    }
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}
