//! Folders whose content is executed: they must belong to the user alone.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the folder, closed to others, or checks that it belongs to this user alone.
#[cfg(unix)]
pub(super) fn folder(folder: &Path) -> Result<(), String> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|e| e.to_string())?;
    let metadata = fs::symlink_metadata(folder).map_err(|e| e.to_string())?;
    if !metadata.is_dir() {
        return Err("it is not a folder".to_owned());
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(format!("others can open it (mode {:03o}); run `chmod 700` on it", metadata.mode() & 0o777));
    }
    // A new file belongs to this user, whoever owns the folder.
    let probe = folder.join(unique(".owner"));
    let owner = fs::File::create(&probe).and_then(|f| f.metadata()).map(|m| m.uid());
    let _ = fs::remove_file(&probe);
    match owner {
        Ok(uid) if uid == metadata.uid() => Ok(()),
        Ok(_) => Err("it belongs to another user".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// Elsewhere a user's folders are closed to others by inheritance.
#[cfg(not(unix))]
pub(super) fn folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|e| e.to_string())
}

/// Writes the whole file or nothing.
pub(super) fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = file.with_file_name(unique(".new"));
    // A new file, so that no link is followed.
    let new = fs::File::options().write(true).create_new(true).open(&temporary);
    let written = new.and_then(|mut new| new.write_all(bytes)).and_then(|()| fs::rename(&temporary, file));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A name that no other thread or running program uses.
pub(super) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
