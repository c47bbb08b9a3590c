//! What an artifact says about itself, and the check that it still holds.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{io_error, write_synced};
use crate::error::Result;

pub(super) const MANIFEST: &str = "artifact.json";

/// A manifest larger than this is damaged.
const MAX_MANIFEST: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    stage: String,
    id: String,
    key: Value,
    files: Vec<FileEntry>,
    /// The only thing here that differs between two makings of the same artifact, with the version.
    seconds: f64,
    creamery: String,
}

#[derive(Serialize, Deserialize, PartialEq)]
pub(super) struct FileEntry {
    /// Path within the artifact, parts joined by '/'.
    pub name: String,
    pub size: u64,
    pub blake3: String,
}

impl Manifest {
    pub(super) fn new(stage: &str, id: &str, key: Value, files: Vec<FileEntry>, seconds: f64) -> Self {
        let creamery = env!("CARGO_PKG_VERSION").to_owned();
        Manifest { stage: stage.to_owned(), id: id.to_owned(), key, files, seconds, creamery }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(MANIFEST);
        let mut text = serde_json::to_string_pretty(self).expect("strings and finite numbers are JSON");
        text.push('\n');
        write_synced(&path, text.as_bytes()).map_err(|e| io_error("write", &path, &e))
    }
}

/// What a manifest says that its folder was made of.
pub(super) fn key(folder: &Path) -> Result<Value, String> {
    Ok(read(folder)?.key)
}

/// What an artifact was made of, and the seconds that it took; `None` if there is none.
pub(super) fn measured(folder: &Path) -> Option<(Value, f64)> {
    read(folder).ok().map(|manifest| (manifest.key, manifest.seconds))
}

/// How long a manifest says that its folder took to make. Reads nothing else of it: plans ask this of every artifact.
pub(super) fn seconds(folder: &Path) -> Option<f64> {
    #[derive(Deserialize)]
    struct Seconds {
        seconds: f64,
    }
    let mut bytes = Vec::new();
    File::open(folder.join(MANIFEST)).ok()?.take(MAX_MANIFEST + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > MAX_MANIFEST {
        return None;
    }
    serde_json::from_slice::<Seconds>(&bytes).ok().map(|manifest| manifest.seconds)
}

fn read(folder: &Path) -> Result<Manifest, String> {
    let path = folder.join(MANIFEST);
    let size = fs::metadata(&path).map_err(|e| format!("{MANIFEST}: {e}"))?.len();
    if size > MAX_MANIFEST {
        return Err(format!("{MANIFEST} has {size} bytes"));
    }
    let bytes = fs::read(&path).map_err(|e| format!("{MANIFEST}: {e}"))?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{MANIFEST}: {e}"))
}

/// Every file under `folder`, sorted by name. Links and empty folders do not belong in an artifact.
pub(super) fn list(folder: &Path) -> Result<Vec<FileEntry>> {
    let mut names = Vec::new();
    walk(folder, "", &mut names)?;
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let path = folder.join(&name);
            let (size, blake3) = digest(&path).map_err(|e| io_error("read back", &path, &e))?;
            Ok(FileEntry { name, size, blake3 })
        })
        .collect()
}

/// Checks a finished artifact against its manifest, every byte. Gives the seconds it took to make, or what is
/// wrong with it.
pub(super) fn check(folder: &Path, stage: &str, id: &str) -> Result<f64, String> {
    let manifest = read(folder)?;
    if manifest.stage != stage || manifest.id != id || super::identify(stage, &manifest.key) != id {
        return Err(format!("{MANIFEST} is about another artifact"));
    }
    let mut names = Vec::new();
    walk(folder, "", &mut names).map_err(|e| e.to_string())?;
    if let Some(extra) = names.iter().find(|n| *n != MANIFEST && !manifest.files.iter().any(|f| f.name == **n)) {
        return Err(format!("'{extra}' does not belong to it"));
    }
    for file in &manifest.files {
        if !names.contains(&file.name) {
            return Err(format!("'{}' is missing", file.name));
        }
        let path = folder.join(&file.name);
        let size = fs::metadata(&path).map_err(|e| format!("'{}': {e}", file.name))?.len();
        if size != file.size {
            return Err(format!("'{}' has {size} bytes, expected {}", file.name, file.size));
        }
        let (_, found) = digest(&path).map_err(|e| format!("'{}': {e}", file.name))?;
        if found != file.blake3 {
            return Err(format!("the checksum of '{}' differs", file.name));
        }
    }
    Ok(manifest.seconds)
}

/// JSON with sorted keys and no spaces: one text for one value.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(b.0));
            text.push('{');
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                let _ = write!(text, "{comma}{}:", Value::from(key.as_str()));
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| io_error("list", folder, &e))? {
        let entry = entry.map_err(|e| io_error("list", folder, &e))?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().map_err(|e| io_error("look at", &entry.path(), &e))?.is_dir() {
            walk(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

fn digest(path: &Path) -> std::io::Result<(u64, String)> {
    let mut hasher = blake3::Hasher::new();
    let size = std::io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok((size, hasher.finalize().to_hex().to_string()))
}
