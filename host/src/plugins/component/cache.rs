//! Compiled components, kept on disk in a folder that only its owner can open.
//!
//! Loading compiled code means trusting it, so the cache takes only what this program wrote there: the folder
//! must belong to the user and be closed to others, and beside each file stands a digest of its content, which also
//! shows truncation. A compiled file from elsewhere is never loaded.
//!
//! The code is mapped and not read: most of it is never run, and to copy it costs more than all the rest of loading.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use creamery_plugin::Level;
use wasmtime::component::Component;

use super::engine::engine;
use crate::error::{Error, Result};
use crate::plugins::{LoadOptions, PluginInfo, log, private};

/// The component's code, from the cache if it is there. The cache is an optimization: what goes wrong with it is
/// reported as a warning.
pub(super) fn compiled(bytes: &[u8], info: &PluginInfo, options: &LoadOptions) -> Result<Component> {
    let warn = |text: String| log::host(options, info.name(), Level::Warn, &text);
    let folder = options.cache_dir.join("compiled");
    let folder = match private::folder(&folder) {
        Ok(()) => Some(folder),
        Err(why) => {
            warn(format!("compiled code is not cached: {}: {why}", folder.display()));
            None
        }
    };
    let file = folder.map(|f| f.join(format!("{}.cwasm", key(&info.digest))));
    if let Some(component) = file.as_deref().and_then(load) {
        return Ok(component);
    }
    let component = Component::from_binary(engine(), bytes).map_err(|e| {
        Error::plugin(format!("{}: not a valid component: {e:#}", info.title())).help("copy or build it again")
    })?;
    if let Some(file) = file
        && let Err(why) = save(&component, &file)
    {
        warn(format!("compiled code is not cached: {}: {why}", file.display()));
    }
    Ok(component)
}

/// Names the code: the component, the engine's configuration and version, and the machine's instruction set.
fn key(digest: &str) -> String {
    let mut engine_hash = DefaultHasher::new();
    engine().precompile_compatibility_hash().hash(&mut engine_hash);
    let identity = format!("{digest}:{:016x}:{}", engine_hash.finish(), env!("CARGO_PKG_VERSION"));
    blake3::hash(identity.as_bytes()).to_hex().to_string()
}

fn load(file: &Path) -> Option<Component> {
    let written = fs::read(digest_file(file)).ok()?;
    if digest(file).ok()?.as_bytes()[..] != written[..] {
        return None;
    }
    // SAFETY: the file lies in a folder that only this user can open (`private::folder`), its name and digest
    // are those of code that `save` wrote, and wasmtime refuses code of another version or configuration. What stands
    // under its name is only ever replaced, by a rename, never changed, so the mapped bytes stay what they are.
    unsafe { Component::deserialize_file(engine(), file) }.ok()
}

fn save(component: &Component, file: &Path) -> Result<(), String> {
    let code = component.serialize().map_err(|e| e.to_string())?;
    // The digest comes last: without one the code is not there.
    let written =
        private::write(file, &code).and_then(|()| private::write(&digest_file(file), blake3::hash(&code).as_bytes()));
    written.map_err(|e| e.to_string())
}

fn digest_file(file: &Path) -> PathBuf {
    file.with_extension("b3")
}

/// Of a file's content, in memory that does not grow with it.
fn digest(file: &Path) -> io::Result<blake3::Hash> {
    let (mut file, mut hasher) = (File::open(file)?, blake3::Hasher::new());
    let mut part = vec![0; 128 << 10];
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(hasher.finalize()),
            Ok(n) => drop(hasher.update(&part[..n])),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
