//! A folder of results for a user: whole under its name, or not there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::files::{io_error, sync_folder, sync_tree};
use crate::error::{Error, Kind, Result};

/// Makes the folder `path`: `make` fills a temporary folder beside it, which is synced and takes the name. Parents are
/// created.
///
/// # Errors
/// The folder is there already and not empty, or a file stands in its place: nothing was done. Or `make` failed: the
/// temporary folder is gone.
pub fn create_folder<T>(path: &Path, make: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    // `out/model/` and `out/model` are the same.
    let path: &Path = &path.components().collect::<PathBuf>();
    let name = path.file_name().ok_or_else(|| Error::new(Kind::Config, "expected a folder with a name").file(path))?;
    match fs::read_dir(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(io_error("create the folder", path, &e)),
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(Error::new(Kind::Config, "the folder is there already, and is not empty")
                    .file(path)
                    .help("name another folder, or remove this one"));
            }
        }
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| io_error("create the folder", parent, &e))?;
    let temporary = temporary(parent, &name.to_string_lossy())?;
    let guard = Removed(&temporary);
    let made = make(&temporary)?;
    sync_tree(&temporary)?;
    // An empty folder of this name is replaced; on Windows it has to go first.
    if cfg!(windows) && path.is_dir() {
        fs::remove_dir(path).map_err(|e| io_error("replace the folder", path, &e))?;
    }
    fs::rename(&temporary, path).map_err(|e| io_error("create the folder", path, &e))?;
    drop(guard);
    sync_folder(parent)?;
    Ok(made)
}

/// A new folder in `parent`, for `name`.
fn temporary(parent: &Path, name: &str) -> Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!(".{name}.{}.{count}.tmp", std::process::id()));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            // A process with our number died here, or lives in another container.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io_error("create the folder", &folder, &e)),
        }
    }
}

/// A folder that is removed, if it is still there.
struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0);
    }
}
