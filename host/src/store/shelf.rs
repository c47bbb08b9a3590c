//! A look at a store that changes nothing: what is there, and how long it took to make.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::manifest;

/// A store as it stands. Artifacts are not checked, and the store need not exist.
pub(crate) struct Shelf {
    root: PathBuf,
    /// The ids of a stage, listed once.
    ids: RefCell<HashMap<String, HashSet<OsString>>>,
}

impl Shelf {
    pub(crate) fn new(root: &Path) -> Shelf {
        Shelf { root: root.to_owned(), ids: RefCell::default() }
    }

    /// Where the artifact would be.
    pub(crate) fn path(&self, stage: &str, id: &str) -> PathBuf {
        self.root.join(stage).join(id)
    }

    /// How long it took to make; `None` if it is not there.
    pub(crate) fn seconds(&self, stage: &str, id: &str) -> Option<f64> {
        let mut ids = self.ids.borrow_mut();
        let there = ids.entry(stage.to_owned()).or_insert_with(|| {
            let entries = std::fs::read_dir(self.root.join(stage)).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name()).collect()
        });
        let found = there.contains(OsStr::new(id));
        found.then(|| manifest::seconds(&self.path(stage, id))).flatten()
    }

    /// Keys and seconds of artifacts of a stage: at most so many, those whose ids come first, which is as good as chance.
    pub(crate) fn measured(&self, stage: &str, most: usize) -> Vec<(Value, f64)> {
        let entries = std::fs::read_dir(self.root.join(stage)).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        folders.sort();
        folders.iter().take(most).filter_map(|folder| manifest::measured(folder)).collect()
    }
}
