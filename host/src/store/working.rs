//! Where long stages keep what they would go on from: `working/STAGE-ID/`, which its user holds locked.
//!
//! A folder goes when its artifact is there. One that a killed run left stays for the same command; if the config
//! changes, no command asks for it again. So a successful run removes at its end what nobody has locked and nobody has
//! touched for [`WORKING_KEPT`]: a command that is given again finds its own folder however late, as it cleans last.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::folder::{FolderLock, end_removal, remove_folder};
use super::{Store, WORKING};
use crate::error::Result;

/// How long the working folder of a killed run is kept, from its last change.
pub(crate) const WORKING_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Store {
    /// The place where a stage may keep what it would go on from.
    pub(crate) fn working(&self, stage: &str, id: &str) -> PathBuf {
        self.root.join(WORKING).join(format!("{stage}-{id}"))
    }

    /// Removes a stage's place, whose artifact is made; another program that makes the same artifact keeps it, and
    /// removes it when it is done.
    pub(crate) fn remove_working(&self, folder: &Path) -> Result<()> {
        if !folder.exists() {
            // Whoever made the artifact may have been killed while it removed the place.
            end_removal(folder);
            return Ok(());
        }
        match FolderLock::take(folder)? {
            Some(lock) => {
                // Windows renames no folder that holds an open file.
                let _lock = (!cfg!(windows)).then_some(lock);
                remove_folder(folder)
            }
            None => Ok(()),
        }
    }

    /// Removes the working folders that no program holds and that have not changed for `unused`. What cannot be
    /// removed stays.
    pub(crate) fn clean_working(&self, unused: Duration) {
        for entry in fs::read_dir(self.root.join(WORKING)).into_iter().flatten().flatten() {
            let folder = entry.path();
            let old = |age: Duration| age >= unused;
            // Only folders are ours. Looked at before the lock is taken, which changes the time.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && unchanged_for(&folder).is_some_and(old) {
                let _ = self.remove_working(&folder);
            }
        }
    }
}

/// How long ago a folder or anything right in it was changed; `None` if that cannot be said.
fn unchanged_for(folder: &Path) -> Option<Duration> {
    let mut newest = fs::metadata(folder).and_then(|m| m.modified()).ok()?;
    for entry in fs::read_dir(folder).ok()? {
        newest = newest.max(entry.ok()?.metadata().and_then(|m| m.modified()).ok()?);
    }
    SystemTime::now().duration_since(newest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_that_was_cut_short_is_ended() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let folder = store.working("sft", "0123");
        let rest = folder.with_file_name(".removed-sft-0123.tmp");
        for removing in [false, true] {
            fs::create_dir_all(rest.join("checkpoint-3")).unwrap();
            if removing {
                fs::create_dir_all(&folder).unwrap();
            }
            store.remove_working(&folder).unwrap();
            assert!(!rest.exists() && !folder.exists());
        }
    }
}
