//! Artifacts in the making: `tmp/NAME/` with `tmp/NAME.lock`, which its maker holds locked.
//!
//! The operating system frees a lock when its process ends, however it ends; so a lock that can be taken marks a
//! temporary that nobody works on. Where a file system has no locks, nothing is ever cleaned.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::files::io_error;
use crate::error::Result;

const LOCK: &str = "lock";

/// A folder that is removed, whatever happens, unless it has been renamed.
pub(super) struct Temporary {
    folder: PathBuf,
    lock: PathBuf,
    _held: File,
}

impl Temporary {
    pub(super) fn create(tmp: &Path, stage: &str, id: &str) -> Result<Temporary> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let folder = tmp.join(format!("{stage}-{}-{}-{count}", &id[..16], std::process::id()));
            let lock = folder.with_extension(LOCK);
            // The lock comes first: a folder without one is nobody's.
            let mut held = match OpenOptions::new().write(true).create_new(true).open(&lock) {
                Ok(file) => file,
                // A process with our number died here, or lives in another container.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(io_error("create", &lock, &e)),
            };
            match held.try_lock() {
                // A cleaner got between the two lines above and is about to remove the file.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(e)) if e.kind() != ErrorKind::Unsupported => {
                    return Err(io_error("lock", &lock, &e));
                }
                _ if !lock.exists() => continue,
                _ => {}
            }
            let temporary = Temporary { folder, lock, _held: held.try_clone().map_err(|e| io_error("lock", tmp, &e))? };
            // For people who look; the lock alone decides.
            writeln!(held, "{}", std::process::id()).map_err(|e| io_error("write", &temporary.lock, &e))?;
            fs::create_dir(&temporary.folder).map_err(|e| io_error("create the folder", &temporary.folder, &e))?;
            return Ok(temporary);
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(&self.lock);
    }
}

/// Removes the temporaries of processes that are gone.
pub(super) fn clean(tmp: &Path) -> Result<()> {
    for entry in fs::read_dir(tmp).map_err(|e| io_error("list", tmp, &e))? {
        let path = entry.map_err(|e| io_error("list", tmp, &e))?.path();
        let is_lock = path.extension().is_some_and(|e| e == LOCK);
        let (folder, lock) =
            if is_lock { (path.with_extension(""), path) } else { (path.clone(), path.with_extension(LOCK)) };
        match File::open(&lock) {
            Ok(file) if file.try_lock().is_ok() => {
                remove(&folder)?;
                match fs::remove_file(&lock) {
                    Err(e) if e.kind() != ErrorKind::NotFound => return Err(io_error("remove", &lock, &e)),
                    _ => {}
                }
            }
            Err(e) if e.kind() == ErrorKind::NotFound => remove(&folder)?,
            _ => {}
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            fs::remove_file(folder).map_err(|e| io_error("remove", folder, &e))
        }
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io_error("remove the leftover", folder, &e)),
        _ => Ok(()),
    }
}
