//! Packages that are installed for a plugin in Python or JavaScript: what it may import besides its sources. Nobody has
//! locked them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::Source;
use crate::error::{Error, Result};

/// What is installed.
#[derive(Default)]
pub(super) struct Packages {
    /// Below the plugin's folder, or the environment: others make another component.
    pub files: Vec<Source>,
    /// Of Python: where they are.
    pub environment: Option<PathBuf>,
}

/// Files and folders beyond this number are too many for a plugin.
const MOST: usize = 20_000;
/// Links are followed, as package managers make them; one to a folder above would have no end.
const DEEPEST: usize = 24;

/// All files of `folder` below `base`, but for what `skipped` says of the names at its top.
pub(super) fn read(base: &Path, folder: &Path, skipped: impl Fn(&str) -> bool) -> Result<Vec<Source>> {
    let place = base.join(folder);
    let failed = |e: io::Error| Error::plugin(format!("the installed packages cannot be read: {e}")).file(&place);
    let (mut found, mut seen) = (Vec::new(), 0);
    for name in names(&place).map_err(failed)? {
        if !skipped(&name.to_string_lossy()) {
            walk(base, &folder.join(name), 1, &mut seen, &mut found).map_err(failed)?;
        }
    }
    Ok(found)
}

fn walk(base: &Path, name: &Path, depth: usize, seen: &mut usize, found: &mut Vec<Source>) -> io::Result<()> {
    *seen += 1;
    if *seen > MOST || depth > DEEPEST {
        let what = "there are more than 20000 files, or folders deeper than 24: does a link lead to a folder above?";
        return Err(io::Error::other(what));
    }
    let path = base.join(name);
    if path.is_dir() {
        // What the interpreters leave behind.
        let inner = names(&path)?.into_iter().filter(|inner| inner != "__pycache__" && inner != ".cache");
        return inner.into_iter().try_for_each(|inner| walk(base, &name.join(inner), depth + 1, seen, found));
    }
    // No pipes or devices.
    if path.is_file() {
        found.push(Source { name: name.to_owned(), bytes: fs::read(&path)? });
    }
    Ok(())
}

/// In one order on every machine.
fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|e| e.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}
