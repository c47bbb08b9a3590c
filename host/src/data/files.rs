//! Files of a user's that are read whole: only ordinary ones, and only up to a size.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// Opens an ordinary file and gives its length in bytes. Folders and devices are refused before they are opened: a
/// pipe would make us wait, a device might never end.
pub(crate) fn open_ordinary(path: &Path) -> Result<(File, u64)> {
    let io = |e: std::io::Error| Error::io("read", path, &e);
    let metadata = std::fs::metadata(path).map_err(io)?;
    if metadata.is_dir() {
        return Err(Error::input("this is a folder; a file was expected").file(path));
    }
    if !metadata.is_file() {
        return Err(Error::input("this is not an ordinary file").file(path));
    }
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    Ok((file, length))
}

/// Reads an ordinary file of at most `cap` bytes.
pub(crate) fn read_whole(path: &Path, cap: u64) -> Result<Vec<u8>> {
    let (file, length) = open_ordinary(path)?;
    let too_large = |n: u64| Error::input(format!("the file has {n} bytes, expected at most {cap}")).file(path);
    if length > cap {
        return Err(too_large(length));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    // It may have grown since.
    file.take(cap + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, &e))?;
    if bytes.len() as u64 > cap { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}
