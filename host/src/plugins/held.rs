//! The very bytes that were checked, where nobody else can change them before they are loaded.
//!
//! The system loads libraries by name and not by content. A file that others may write could be another one between its
//! digest and its loading, so what is loaded is a copy in the cache, named by the digest.

use std::fs;
use std::path::{Path, PathBuf};

use super::{LoadOptions, PluginInfo, private};
use crate::error::{Error, Result};

/// A file with these bytes, which are those of the library of `info` at `path`.
pub(super) fn hold(path: &Path, bytes: &[u8], info: &PluginInfo, options: &LoadOptions) -> Result<PathBuf> {
    let all = options.cache_dir.join("native");
    private::folder(&all)
        .map_err(|why| Error::plugin(format!("cannot keep native plugins in this folder: {why}")).file(&all))?;
    let folder = all.join(&info.digest[..32]);
    let file = folder.join(path.file_name().unwrap_or("plugin".as_ref()));
    // What a killed program or a full disk left there is written again.
    if fs::read(&file).is_ok_and(|kept| kept == bytes) {
        return Ok(file);
    }
    let written = fs::create_dir_all(&folder).and_then(|()| private::write(&file, bytes));
    written.map_err(|e| Error::io("write", &file, &e))?;
    Ok(file)
}
