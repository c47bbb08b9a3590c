//! Writing so that a crash at any moment leaves the old or the new, never half.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Kind, Result};

/// Replaces a file: the bytes go to a temporary beside it, are synced, and take its name. Creates the folder.
///
/// # Errors
/// [`Kind::Io`]; the old file then stands as it was, and no temporary remains.
pub fn write_atomic(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    replace(path.as_ref(), |file| file.write_all(bytes.as_ref()))
}

/// Makes `to` a copy of `from`, as [`write_atomic`] would; a file with the same bytes stays as it is. Files may be
/// larger than the memory.
///
/// # Errors
/// As [`write_atomic`]; or `from` cannot be read.
pub(crate) fn copy_atomic(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from).map_err(|e| io_error("read", from, &e))?;
    // A target that cannot be read is replaced, or what is wrong shows then.
    if same_bytes(&mut source, to).unwrap_or(false) {
        return Ok(());
    }
    source.rewind().map_err(|e| io_error("read", from, &e))?;
    replace(to, |file| io::copy(&mut source, file).map(|_| ()))
}

fn same_bytes(source: &mut File, path: &Path) -> io::Result<bool> {
    let mut other = File::open(path)?;
    if source.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    const PART: u64 = 1 << 20;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    loop {
        a.clear();
        b.clear();
        Read::take(&mut *source, PART).read_to_end(&mut a)?;
        Read::take(&mut other, PART).read_to_end(&mut b)?;
        if a != b || a.is_empty() {
            return Ok(a == b);
        }
    }
}

/// `fill` writes the temporary, which takes the name `path`.
fn replace(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let path = match Destination::of(path) {
        Destination::File(path) => path,
        Destination::Device(path) => {
            let written = File::options().write(true).open(&path).and_then(|mut file| fill(&mut file));
            return written.map_err(|e| io_error("write", &path, &e));
        }
    };
    let path = path.as_path();
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&folder).map_err(|e| io_error("create the folder of", path, &e))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = format!(".{name}.");
    remove_abandoned(&folder, &stem);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!("{stem}{}.{count}.tmp", std::process::id()));
    let written = write_locked(&temporary, fill).and_then(|_lock| fs::rename(&temporary, path));
    if let Err(e) = written {
        let _ = fs::remove_file(&temporary);
        return Err(io_error("write", path, &e));
    }
    sync_folder(&folder)
}

/// Where a path to write leads.
pub(crate) enum Destination {
    /// A file to be replaced or made, symbolic links followed.
    File(PathBuf),
    /// A device or pipe (`/dev/stdout`, `/dev/null`), which must be written to and never replaced.
    Device(PathBuf),
}

impl Destination {
    pub(crate) fn of(path: &Path) -> Destination {
        match fs::metadata(path) {
            Ok(found) if !found.is_file() && !found.is_dir() => Destination::Device(path.to_owned()),
            Ok(_) => Destination::File(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())),
            Err(_) => Destination::File(path.to_owned()),
        }
    }
}

/// Removes temporaries that a killed program left: those whose lock nobody holds. What cannot be removed stays;
/// it is in nobody's way.
pub(crate) fn remove_abandoned(folder: &Path, stem: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(stem)
            && name.ends_with(".tmp")
            && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes a new file and syncs it; its lock is held as long as the file that is returned.
fn write_locked(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<File> {
    let mut file = File::create(path)?;
    // A file system without locks only keeps abandoned temporaries from being told apart.
    let _ = file.try_lock();
    fill(&mut file)?;
    file.sync_all()?;
    Ok(file)
}

/// Writes a new file and syncs it.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Syncs every file and folder under `folder`.
pub(super) fn sync_tree(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| io_error("list", folder, &e))? {
        let path = entry.map_err(|e| io_error("list", folder, &e))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            // Opened for reading: a stage may have made its file read-only.
            File::open(&path).and_then(|f| f.sync_all()).map_err(|e| io_error("sync", &path, &e))?;
        }
    }
    sync_folder(folder)
}

/// Makes names in `folder` durable. Only Unix can; elsewhere the file system has to do.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).map_err(|e| io_error("sync", folder, &e))?;
    }
    Ok(())
}

/// As [`Error::io`], but always [`Kind::Io`]: these are our own files, not the user's input.
pub(super) fn io_error(doing: &str, path: &Path, source: &io::Error) -> Error {
    let help = match source.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "a file stands where a folder is needed",
        io::ErrorKind::NotFound => "was the folder removed while the program ran?",
        io::ErrorKind::ReadOnlyFilesystem => "choose a folder that can be written",
        _ => return Error::io(doing, path, source).with_kind(Kind::Io),
    };
    let what = if doing.contains(' ') { "" } else { " this path" };
    Error::new(Kind::Io, format!("cannot {doing}{what}: {source}")).file(path).help(help)
}
