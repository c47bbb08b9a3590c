//! Content-addressed artifacts on disk.
//!
//! An artifact is a folder named by the hash of what made it: stage, key and format version. A finished one is
//! checked and used again; otherwise it is made in a temporary folder, synced, given its manifest last, and
//! renamed. So whatever stands under its final name is whole, and a killed program leaves only a temporary that
//! the next [`Store::open`] removes.
//!
//! ```text
//! STORE/STAGE/ID/artifact.json    the manifest: stage, key, files with size and BLAKE3, seconds
//! STORE/STAGE/ID/…                the files
//! STORE/working/STAGE-ID/…        what a long stage keeps, to go on from if it is killed; gone when it is done, or a
//!                                 week after its last change, when another run ends
//! STORE/tmp/…                     artifacts in the making, each with a lock file held by its maker; and for each a
//!                                 lock "making-STAGE-ID", so that no other process makes the same
//! STORE/answers/…                what servers answered judges, so that nothing is asked twice
//! STORE/damaged/…                 artifacts that failed their check, moved aside
//! STORE/runs/DIGEST.json          a run folder and the artifacts that it uses
//! STORE/.lock                     shared by all who use the store; who removes artifacts has it alone
//! ```

mod collect;
mod files;
mod folder;
mod making;
mod manifest;
mod new_folder;
mod runs;
mod shelf;
mod temporary;
mod working;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

pub use collect::{Collected, Stored};
pub(crate) use files::copy_atomic;
pub use files::write_atomic;
pub(crate) use files::{Destination, remove_abandoned};
pub(crate) use folder::{FolderLock, check_folder, publish_folder, remove_folder, remove_leftovers, write_folder};
pub use manifest::canonical_json;
pub use new_folder::create_folder;
pub(crate) use runs::RunRecord;
pub(crate) use shelf::Shelf;
pub(crate) use working::WORKING_KEPT;

use crate::error::{Error, Result};
use files::{io_error, sync_folder, sync_tree};
use making::Making;
use manifest::{MANIFEST, Manifest};
use temporary::Temporary;

/// Part of every id: a new layout of artifacts never mistakes an old one for its own.
const FORMAT: u32 = 1;

const TMP: &str = "tmp";
const WORKING: &str = "working";
/// Answers of servers to judges, by what was asked.
pub(crate) const ANSWERS: &str = "answers";
const DAMAGED: &str = "damaged";
const RUNS: &str = "runs";
const LOCK: &str = ".lock";
/// No stage can have these names.
const RESERVED: [&str; 5] = [TMP, WORKING, ANSWERS, DAMAGED, RUNS];

/// A folder of artifacts that runs share. Several processes may use one store at once.
pub struct Store {
    root: PathBuf,
    warn: Box<dyn Fn(&str) + Send + Sync>,
    /// Hears that another process makes what is asked for.
    waiting: Box<dyn Fn(&str) + Send + Sync>,
    /// Keeps others from removing what we use. `None` where the file system has no locks.
    in_use: Option<File>,
}

/// A finished artifact.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// BLAKE3, 64 hexadecimal digits. Belongs into the key of every stage that reads this artifact.
    pub id: String,
    /// The folder with its files. Never write into it.
    pub path: PathBuf,
    /// It was there already.
    pub hit: bool,
    /// How long it took to make, now or when it was made.
    pub seconds: f64,
}

impl Store {
    /// Opens or creates a store and removes what dead processes left half-made.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::Kind::Io) if the folder cannot be created or written.
    pub fn open(root: impl AsRef<Path>) -> Result<Store> {
        let root = std::path::absolute(root.as_ref()).map_err(|e| io_error("use", root.as_ref(), &e))?;
        let tmp = root.join(TMP);
        fs::create_dir_all(&tmp).map_err(|e| {
            let help = "set `store` in the config to a folder that can be written";
            io_error("create the store's folder for", &root, &e).help(help)
        })?;
        let lock = root.join(LOCK);
        let in_use = File::options().create(true).append(true).open(&lock).map_err(|e| io_error("open", &lock, &e))?;
        let in_use = match in_use.lock_shared() {
            Err(e) if e.kind() == ErrorKind::Unsupported => None,
            Err(e) => return Err(io_error("lock", &lock, &e)),
            Ok(()) => Some(in_use),
        };
        temporary::clean(&tmp)?;
        let warn = Box::new(|message: &str| eprintln!("warning: {message}"));
        Ok(Store { root, warn, waiting: Box::new(|_| {}), in_use })
    }

    /// Where warnings about damaged artifacts go; standard error if not set.
    pub fn on_warning(mut self, warn: impl Fn(&str) + Send + Sync + 'static) -> Store {
        self.warn = Box::new(warn);
        self
    }

    /// Who hears that another process makes an artifact that is asked for, and that this one waits; nobody if not set.
    pub fn on_waiting(mut self, waiting: impl Fn(&str) + Send + Sync + 'static) -> Store {
        self.waiting = Box::new(waiting);
        self
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The id that [`Store::stage`] gives: BLAKE3 of the canonical JSON of stage, key and format version.
    pub fn id(stage: &str, key: &impl Serialize) -> Result<String> {
        Ok(identify(stage, &key_json(stage, key)?))
    }

    /// As [`Store::id`], of a key that is JSON already.
    pub(crate) fn id_of(stage: &str, key: &serde_json::Value) -> String {
        identify(stage, key)
    }

    /// The artifact of `stage` with `key`: the finished one, or else what `make` writes into the empty folder that
    /// it is given. The key must hold everything that decides the files' bytes, the ids of inputs included.
    ///
    /// # Errors
    /// The error of `make`, after which nothing is left; [`Kind::Io`](crate::Kind::Io) if writing fails.
    pub fn stage(&self, stage: &str, key: &impl Serialize, make: impl FnOnce(&Path) -> Result<()>) -> Result<Artifact> {
        check_stage_name(stage)?;
        let key = key_json(stage, key)?;
        let id = identify(stage, &key);
        let path = self.root.join(stage).join(&id);
        if let Some(artifact) = self.finished(stage, &id, &path)? {
            return Ok(artifact);
        }

        let _making = Making::wait(&self.root.join(TMP), stage, &id, &self.waiting)?;
        // Perhaps another process made it until now.
        if let Some(artifact) = self.finished(stage, &id, &path)? {
            return Ok(artifact);
        }
        let start = Instant::now();
        let temporary = Temporary::create(&self.root.join(TMP), stage, &id)?;
        make(temporary.path())?;
        let files = manifest::list(temporary.path())?;
        if files.iter().any(|f| f.name == MANIFEST) {
            return Err(Error::run(format!("the stage '{stage}' wrote a file named {MANIFEST}, which is the store's")));
        }
        sync_tree(temporary.path())?;
        let seconds = start.elapsed().as_secs_f64();
        Manifest::new(stage, &id, key, files, seconds).write(temporary.path())?;
        sync_folder(temporary.path())?;

        let parent = self.root.join(stage);
        fs::create_dir_all(&parent).map_err(|e| io_error("create the folder", &parent, &e))?;
        match fs::rename(temporary.path(), &path) {
            Ok(()) => {
                sync_folder(&parent)?;
                sync_folder(&self.root)?;
                Ok(Artifact { id, path, hit: false, seconds })
            }
            // Another process made the same artifact in the meantime: theirs is as good.
            Err(e) if matches!(e.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                self.finished(stage, &id, &path)?.ok_or_else(|| {
                    Error::new(crate::Kind::Io, format!("the artifact {stage}/{id} was damaged while it was made"))
                        .file(&path)
                        .help("run the same command again")
                })
            }
            Err(e) => Err(io_error("rename the artifact to", &path, &e)),
        }
    }

    /// The artifact at `path` if it is whole. A damaged one is moved aside with a warning.
    fn finished(&self, stage: &str, id: &str, path: &Path) -> Result<Option<Artifact>> {
        match fs::symlink_metadata(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("look at the artifact", path, &e)),
            Ok(_) => {}
        }
        match manifest::check(path, stage, id) {
            Ok(seconds) => Ok(Some(Artifact { id: id.to_owned(), path: path.to_owned(), hit: true, seconds })),
            Err(damage) => {
                let aside = self.move_aside(stage, id, path)?;
                (self.warn)(&format!(
                    "the artifact {stage}/{id} is damaged ({damage}); it is made again, the old one is now {}",
                    aside.display()
                ));
                Ok(None)
            }
        }
    }

    fn move_aside(&self, stage: &str, id: &str, path: &Path) -> Result<PathBuf> {
        let folder = self.root.join(DAMAGED);
        fs::create_dir_all(&folder).map_err(|e| io_error("create the folder", &folder, &e))?;
        let mut number = 1;
        loop {
            let aside = folder.join(format!("{stage}-{id}-{number}"));
            // A rename onto an empty folder would succeed, so look first; losing that race loses only damaged files.
            if !aside.exists() {
                return match fs::rename(path, &aside) {
                    Ok(()) => Ok(aside),
                    // Another process was faster.
                    Err(e) if e.kind() == ErrorKind::NotFound => Ok(aside),
                    Err(e) => Err(io_error("move aside the damaged artifact", path, &e)),
                };
            }
            number += 1;
        }
    }
}

fn key_json(stage: &str, key: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(key)
        .map_err(|e| Error::run(format!("the key of the stage '{stage}' cannot be written as JSON: {e}")))
}

fn identify(stage: &str, key: &serde_json::Value) -> String {
    // The canonical JSON of an object with these three, without a copy of the key.
    let (key, stage) = (canonical_json(key), serde_json::Value::from(stage));
    let whole = format!(r#"{{"format":{FORMAT},"key":{key},"stage":{stage}}}"#);
    blake3::hash(whole.as_bytes()).to_hex().to_string()
}

fn check_stage_name(stage: &str) -> Result<()> {
    let plain = !stage.is_empty() && stage.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain && !RESERVED.contains(&stage) {
        return Ok(());
    }
    let taken = RESERVED.join("', '");
    Err(Error::run(format!("{stage:?} cannot name a stage: use letters, digits and '-', and none of '{taken}'")))
}
