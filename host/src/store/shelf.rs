//! A look at a store that changes nothing: what is there, and how long it took to make.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::manifest;

/// A store as it stands. Artifacts are not checked, and the store need not exist.
pub(crate) struct Shelf {
    root: PathBuf,
}

impl Shelf {
    pub(crate) fn new(root: &Path) -> Shelf {
        Shelf { root: root.to_owned() }
    }

    /// Where the artifact is, if it is there.
    pub(crate) fn path(&self, stage: &str, id: &str) -> PathBuf {
        self.root.join(stage).join(id)
    }

    /// How long it took to make; `None` if it is not there.
    pub(crate) fn seconds(&self, stage: &str, id: &str) -> Option<f64> {
        manifest::measured(&self.path(stage, id)).map(|(_, seconds)| seconds)
    }

    /// Keys and seconds of artifacts of a stage: at most so many, those whose ids come first, which is as good as chance.
    pub(crate) fn measured(&self, stage: &str, most: usize) -> Vec<(Value, f64)> {
        let entries = std::fs::read_dir(self.root.join(stage)).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        folders.sort();
        folders.iter().take(most).filter_map(|folder| manifest::measured(folder)).collect()
    }
}
