//! One repository in the cache of `huggingface_hub`:
//!
//! ```text
//! models--owner--name/blobs/ETAG                        the bytes; ETAG.incomplete while they come
//! models--owner--name/refs/REVISION                     the commit of a branch or tag
//! models--owner--name/snapshots/COMMIT/config.json  →   ../../blobs/ETAG
//! .locks/models--owner--name/ETAG.lock                  held while a blob comes
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::is_commit;
use super::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::store::write_atomic;

pub(super) struct Repo {
    root: PathBuf,
    locks: PathBuf,
    symlinks: bool,
}

impl Repo {
    pub(super) fn new(settings: &Settings, repo: &str) -> Repo {
        let name = format!("models--{}", repo.replace('/', "--"));
        Repo {
            root: settings.cache.join(&name),
            locks: settings.cache.join(".locks").join(&name),
            symlinks: settings.symlinks,
        }
    }

    /// The commit that a revision meant when it was last fetched.
    pub(super) fn commit_of(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|c| is_commit(c))
    }

    /// Notes what a revision means.
    pub(super) fn remember(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit || self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        write_atomic(self.root.join("refs").join(revision), commit)
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Where the bytes of a blob come to; made, with its folder, if need be.
    pub(super) fn part(&self, etag: &str) -> Result<PathBuf> {
        let blobs = self.root.join("blobs");
        fs::create_dir_all(&blobs).map_err(|e| failed("create the folder", &blobs, &e))?;
        Ok(blobs.join(format!("{etag}.incomplete")))
    }

    /// Waits until no other process fetches this blob, here or in Python. Where the file system has no locks, two
    /// processes fetch the same file side by side: they write the same bytes to the same places.
    pub(super) fn lock(&self, etag: &str, waiting: &mut dyn FnMut(&str)) -> Result<Option<File>> {
        fs::create_dir_all(&self.locks).map_err(|e| failed("create the folder", &self.locks, &e))?;
        let path = self.locks.join(format!("{etag}.lock"));
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(|e| failed("open", &path, &e))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(_)) => return Ok(None),
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        waiting(&format!("waiting for another process that fetches this file ({})", path.display()));
                        told = true;
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
        }
    }

    /// Gives the blob `etag` its name in a commit. A blob that is `new` may be moved there where links are impossible.
    pub(super) fn name(&self, commit: &str, file: &str, etag: &str, new: bool) -> Result<()> {
        let pointer = self.snapshot(commit).join(file);
        let io = |doing: &'static str| {
            let pointer = &pointer;
            move |e: io::Error| failed(doing, pointer, &e)
        };
        let folder = pointer.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(io("create the folder of"))?;
        let last = pointer.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder.join(format!(".{last}.{}.tmp", std::process::id()));
        let up = "../".repeat(2 + file.matches('/').count());
        if self.symlinks && link(Path::new(&format!("{up}blobs/{etag}")), &temporary).is_ok() {
            return fs::rename(&temporary, &pointer).map_err(io("make the link"));
        }
        let blob = self.blob(etag);
        if new {
            return fs::rename(&blob, &pointer).map_err(io("write"));
        }
        let copied = fs::copy(&blob, &temporary).and_then(|_| fs::rename(&temporary, &pointer));
        copied.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            failed("write", &pointer, &e)
        })
    }
}

/// As [`Error::io`], of the cache, which is ours to make.
pub(super) fn failed(doing: &str, path: &Path, source: &io::Error) -> Error {
    let help = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or set HF_HUB_CACHE to a folder on another disk; what has arrived is kept"
        }
        _ => "set HF_HUB_CACHE to a folder that can be written",
    };
    Error::new(Kind::Io, format!("cannot {doing} this path: {source}")).file(path).help(help)
}

#[cfg(unix)]
fn link(target: &Path, at: &Path) -> io::Result<()> {
    let _ = fs::remove_file(at);
    std::os::unix::fs::symlink(target, at)
}

#[cfg(windows)]
fn link(target: &Path, at: &Path) -> io::Result<()> {
    let _ = fs::remove_file(at);
    let target: PathBuf = target.components().collect();
    std::os::windows::fs::symlink_file(target, at)
}

#[cfg(not(any(unix, windows)))]
fn link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
