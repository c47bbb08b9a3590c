//! Single folders with a manifest, outside of any store: whole under their name or not there, and checked byte by
//! byte before they are used.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::{io_error, sync_folder, sync_tree};
use super::manifest::{self, Manifest};
use crate::error::Result;

const ENDING: &str = ".tmp";

/// Makes the folder `path`: `make` fills a temporary beside it, which is synced, gets its manifest with `key`, and
/// takes the name. What stood there before goes.
pub(crate) fn write_folder(path: &Path, kind: &str, key: &Value, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let temporary = Temporary(beside(path));
    remove_folder(&temporary.0)?;
    fs::create_dir_all(&temporary.0).map_err(|e| io_error("create the folder", &temporary.0, &e))?;
    make(&temporary.0)?;
    let files = manifest::list(&temporary.0)?;
    sync_tree(&temporary.0)?;
    Manifest::new(kind, &super::identify(kind, key), key.clone(), files, 0.0).write(&temporary.0)?;
    sync_folder(&temporary.0)?;
    remove_folder(path)?;
    fs::rename(&temporary.0, path).map_err(|e| io_error("rename the folder to", path, &e))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// The key of a folder that [`write_folder`] made, once every byte of it is checked; or what is wrong with it.
pub(crate) fn check_folder(path: &Path, kind: &str) -> Result<Value, String> {
    let key = manifest::key(path)?;
    manifest::check(path, kind, &super::identify(kind, &key))?;
    Ok(key)
}

/// Removes a folder, if it is there, so that no half of it is ever seen under its name.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    let aside = aside(path);
    let failed = |e: std::io::Error| io_error("remove the folder", path, &e);
    match fs::remove_dir_all(&aside) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    match fs::rename(path, &aside) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(failed(e)),
        Ok(()) => match fs::remove_dir_all(&aside) {
            // Another program has ended the same removal.
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(e)),
            _ => Ok(()),
        },
    }
}

/// Removes what a killed program left of a folder that it was removing.
pub(crate) fn end_removal(path: &Path) {
    let _ = fs::remove_dir_all(aside(path));
}

/// Removes what killed programs left of the two functions above in `folder`. Only for who owns the folder.
pub(crate) fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(ENDING) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Syncs a folder and all in it, and gives it another name, where nothing or an empty folder may stand.
pub(crate) fn publish_folder(from: &Path, to: &Path) -> Result<()> {
    sync_tree(from)?;
    // Not every system renames onto an empty folder.
    match fs::remove_dir(to) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(io_error("replace the folder", to, &e)),
        _ => {}
    }
    fs::rename(from, to).map_err(|e| io_error("rename the folder to", to, &e))?;
    sync_folder(to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// The name of a folder that is being removed.
fn aside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".removed-{}{ENDING}", name_of(path)))
}

fn beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.{}{ENDING}", name_of(path), std::process::id()))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Removed again, unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Is this open file the one that has the name?
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |m: fs::Metadata| (m.dev(), m.ino());
        matches!((file.metadata().map(identity), fs::metadata(path).map(identity)), (Ok(a), Ok(b)) if a == b)
    }
    // Elsewhere an open file keeps its name.
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// A folder that is one program's while this lives.
pub(crate) struct FolderLock {
    _held: File,
}

impl FolderLock {
    /// The mark that is locked, in the folder.
    pub(crate) const NAME: &str = ".lock";

    /// Creates the folder and takes it; `None` if another program has it. A file system without locks gives it to all.
    pub(crate) fn take(folder: &Path) -> Result<Option<FolderLock>> {
        let path = folder.join(Self::NAME);
        let mut removals = 0;
        loop {
            fs::create_dir_all(folder).map_err(|e| io_error("create the folder", folder, &e))?;
            let held = match File::create(&path) {
                Ok(held) => held,
                // Its last owner has removed the folder in this moment.
                Err(e) if e.kind() == ErrorKind::NotFound && removals < 100 => {
                    removals += 1;
                    continue;
                }
                Err(e) => return Err(io_error("create", &path, &e)),
            };
            match held.try_lock() {
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) if e.kind() != ErrorKind::Unsupported => {
                    return Err(io_error("lock", &path, &e));
                }
                // The file went with a folder that its last owner removed before we had the lock.
                _ if !is_at(&held, &path) && removals < 100 => removals += 1,
                _ => return Ok(Some(FolderLock { _held: held })),
            }
        }
    }

    /// Removes the mark; the folder is about to get another name.
    pub(crate) fn release(self, folder: &Path) -> Result<()> {
        let path = folder.join(Self::NAME);
        fs::remove_file(&path).map_err(|e| io_error("remove", &path, &e))
    }
}
