//! One maker for each artifact: a second process waits for the first, and finds what it made.
//!
//! The lock is a file in `tmp/`, which its holder has locked; the operating system frees it when that process ends,
//! however it ends. Where a file system has no locks two may make the same artifact, and the first to be done wins.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::files::io_error;
use super::folder::is_at;
use crate::error::Result;

/// Held while an artifact is made.
pub(super) struct Making {
    path: PathBuf,
    _held: File,
}

impl Making {
    /// Waits until no other process makes the artifact; `tell` hears of it. `None` where this very process makes it
    /// already, or nothing can be locked.
    pub(super) fn wait(tmp: &Path, stage: &str, id: &str, tell: &dyn Fn(&str)) -> Result<Option<Making>> {
        // The ending is that of the locks that `temporary` cleans.
        let path = tmp.join(format!("making-{stage}-{id}.lock"));
        let mut told = false;
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut held = opened.map_err(|e| io_error("create", &path, &e))?;
            match held.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    let mut owner = String::new();
                    let _ = Read::take(&mut held, 100).read_to_string(&mut owner);
                    if owner.trim() == this_process() {
                        return Ok(None);
                    }
                    if !told {
                        let process = owner.split_whitespace().next().unwrap_or("?");
                        let short = &id[..id.len().min(12)];
                        tell(&format!("another run (process {process}) is making {stage}/{short}…; waiting for it"));
                        told = true;
                    }
                    held.lock().map_err(|e| io_error("lock", &path, &e))?;
                }
                Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(io_error("lock", &path, &e)),
                Ok(()) => {}
            }
            // Its last holder has removed the file before we had the lock.
            if !is_at(&held, &path) {
                continue;
            }
            let named = held.set_len(0).and_then(|()| held.write_all(this_process().as_bytes()));
            named.map_err(|e| io_error("write", &path, &e))?;
            return Ok(Some(Making { path, _held: held }));
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // Before the lock goes, so that who waits for it sees that the file is gone.
        let _ = fs::remove_file(&self.path);
    }
}

/// The process, by its number and a moment of its life: containers that share a store may have equal numbers.
fn this_process() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        format!("{} {moment:x}", std::process::id())
    })
}
