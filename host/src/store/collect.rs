//! A look at a whole store: what is there, whether it is still whole, and what no run needs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::files::io_error;
use super::folder::{remove_folder, remove_leftovers};
use super::{DAMAGED, LOCK, RESERVED, Store, WORKING, WORKING_KEPT, manifest, runs};
use crate::error::{Error, Result};

/// A finished artifact, as its folder says; its files are not read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stored {
    pub stage: String,
    pub id: String,
    /// Of all its files.
    pub bytes: u64,
    /// How long it took to make; `None` if its manifest cannot be read.
    pub seconds: Option<f64>,
    /// The folders of the runs that use it.
    pub runs: Vec<PathBuf>,
}

/// What [`Store::collect`] removed, or would remove.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Collected {
    /// "STAGE/ID" with its bytes.
    pub artifacts: BTreeMap<String, u64>,
    /// Of damaged artifacts that were moved aside.
    pub damaged_bytes: u64,
    /// Run folders that are no more.
    pub forgotten_runs: Vec<PathBuf>,
}

impl Store {
    /// Opens a store that must be there.
    ///
    /// # Errors
    /// [`Kind::Input`](crate::Kind::Input) if the folder is none; as [`Store::open`].
    pub fn open_existing(root: impl AsRef<Path>) -> Result<Store> {
        let root = root.as_ref();
        if !root.join(super::TMP).is_dir() {
            return Err(Error::input("this is no store of artifacts, or it is empty")
                .file(root)
                .help("name the folder that `store` in the run's config names, or the config file itself"));
        }
        Store::open(root)
    }

    /// All finished artifacts, by stage and id.
    pub fn list(&self) -> Result<Vec<Stored>> {
        let mut users: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for found in runs::all(&self.root)?.into_iter().filter(|f| f.alive) {
            for artifact in found.run.artifacts {
                users.entry(artifact).or_default().push(found.run.out.clone());
            }
        }
        let mut all = Vec::new();
        for (stage, id, path) in self.artifacts()? {
            let runs = users.remove(&format!("{stage}/{id}")).unwrap_or_default();
            all.push(Stored { bytes: bytes(&path), seconds: manifest::seconds(&path), stage, id, runs });
        }
        Ok(all)
    }

    /// Reads every byte of every artifact. Gives how many are whole, and "STAGE/ID" of the others with what is wrong.
    /// With `repair` those are moved aside, and made again by the next run that needs them.
    pub fn verify(&self, repair: bool) -> Result<(usize, BTreeMap<String, String>)> {
        let (mut whole, mut damaged) = (0, BTreeMap::new());
        for (stage, id, path) in self.artifacts()? {
            match manifest::check(&path, &stage, &id) {
                Ok(_) => whole += 1,
                // It went while we looked.
                Err(_) if !path.exists() => {}
                Err(damage) => {
                    if repair {
                        self.move_aside(&stage, &id, &path)?;
                    }
                    damaged.insert(format!("{stage}/{id}"), damage);
                }
            }
        }
        Ok((whole, damaged))
    }

    /// Removes what no run needs: artifacts that no run folder uses which is still there, what was damaged, what killed
    /// runs left. `keep` are run folders whose artifacts stay though the store does not know them. With `dry_run`
    /// nothing is touched.
    ///
    /// # Errors
    /// [`Kind::Run`](crate::Kind::Run) while another program uses the store.
    pub fn collect(self, keep: &BTreeSet<String>, dry_run: bool) -> Result<Collected> {
        let path = self.root.join(LOCK);
        // Ours of `open` goes first.
        let root = self.root.clone();
        let Store { in_use, warn, .. } = self;
        drop(in_use);
        let lock = File::open(&path).map_err(|e| io_error("open", &path, &e))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(Error::run("another program uses the store now, so nothing can be removed")
                    .file(&root)
                    .help("wait until its runs are done"));
            }
            Err(TryLockError::Error(e)) => {
                return Err(io_error("lock", &path, &e)
                    .help("this file system has no locks, so nobody can tell whether a run uses the store"));
            }
            Ok(()) => {}
        }
        let store = Store { root, warn, waiting: Box::new(|_| {}), in_use: Some(lock) };
        let mut used = keep.clone();
        let mut collected = Collected::default();
        for found in runs::all(&store.root)? {
            if found.alive {
                used.extend(found.run.artifacts);
                continue;
            }
            if !dry_run {
                fs::remove_file(&found.file).map_err(|e| io_error("remove", &found.file, &e))?;
            }
            collected.forgotten_runs.push(found.run.out);
        }
        for (stage, id, path) in store.artifacts()? {
            let name = format!("{stage}/{id}");
            if used.contains(&name) {
                continue;
            }
            collected.artifacts.insert(name, bytes(&path));
            if !dry_run {
                remove_folder(&path)?;
            }
        }
        let damaged = store.root.join(DAMAGED);
        collected.damaged_bytes = bytes(&damaged);
        if !dry_run {
            match fs::remove_dir_all(&damaged) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(io_error("remove", &damaged, &e)),
                _ => {}
            }
            store.clean_working(WORKING_KEPT);
            for stage in store.stages()? {
                remove_leftovers(&store.root.join(stage));
            }
            remove_leftovers(&store.root.join(WORKING));
        }
        Ok(collected)
    }

    /// Stage, id and folder of everything that has an artifact's name. Nothing else in the store's folder is looked at.
    fn artifacts(&self) -> Result<Vec<(String, String, PathBuf)>> {
        let mut all = Vec::new();
        for stage in self.stages()? {
            let folder = self.root.join(&stage);
            for (id, path) in folders(&folder)? {
                if id.len() == 64 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                    all.push((stage.clone(), id, path));
                }
            }
        }
        all.sort();
        Ok(all)
    }

    fn stages(&self) -> Result<Vec<String>> {
        let names = folders(&self.root)?.into_iter().map(|(name, _)| name);
        Ok(names.filter(|name| !RESERVED.contains(&name.as_str()) && !name.starts_with('.')).collect())
    }
}

/// The folders in a folder, no links, with names that are text.
fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| io_error("list", folder, &e))? {
        let entry = entry.map_err(|e| io_error("list", folder, &e))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(entry.file_name().into_string().ok().map(|name| (name, entry.path())));
        }
    }
    Ok(found)
}

/// The sizes of all files under a folder; what cannot be read counts nothing.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}
