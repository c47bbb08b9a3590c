//! Files of a run folder, read while somebody may write them, or may have damaged them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Value;

/// A file's text; `None` if there is none. What is no UTF-8 is replaced.
///
/// # Errors
/// Words for the user: it is no file, too large, or cannot be read.
pub fn text(path: &Path, most: u64) -> Result<Option<String>, String> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| named(path, &e.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(named(path, &format!("larger than {most} bytes")));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The JSON value in a file; `None` if there is no file.
///
/// # Errors
/// As [`text`]; or it is no JSON, or not that of a `T`.
pub fn json<T: serde::de::DeserializeOwned>(path: &Path, most: u64) -> Result<Option<T>, String> {
    let Some(text) = text(path, most)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|e| named(path, &e.to_string()))
}

/// The same of a file that must hold an object: a list would be taken for one whose fields are in order.
///
/// # Errors
/// As [`json`].
pub fn object<T: serde::de::DeserializeOwned>(path: &Path, most: u64) -> Result<Option<T>, String> {
    match json::<Value>(path, most)? {
        Some(value) if !value.is_object() => Err(named(path, "not a JSON object")),
        Some(value) => serde_json::from_value(value).map(Some).map_err(|e| named(path, &e.to_string())),
        None => Ok(None),
    }
}

/// Calls `each` with the JSON value of every line, up to `most` bytes of the file; `false` if there is no file. Lines
/// that are no JSON, as the last may be, are left out.
///
/// # Errors
/// As [`text`], after what could be read.
pub fn lines(path: &Path, most: u64, mut each: impl FnMut(Value)) -> Result<bool, String> {
    const LINE: u64 = 1 << 20;
    let Some(file) = open(path)? else { return Ok(false) };
    let mut reader = BufReader::new(file.take(most));
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = (&mut reader).take(LINE).read_until(b'\n', &mut line).map_err(|e| named(path, &e.to_string()))?;
        if n == 0 {
            break;
        }
        if let Ok(value) = serde_json::from_slice(&line) {
            each(value);
        }
    }
    match reader.into_inner().limit() {
        0 => Err(named(path, &format!("larger than {most} bytes, the rest is not shown"))),
        _ => Ok(true),
    }
}

/// Nothing but a file is opened: a pipe would never answer.
fn open(path: &Path) -> Result<Option<File>, String> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(named(path, "not a file")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    File::open(path).map(Some).map_err(|e| named(path, &e.to_string()))
}

fn named(path: &Path, what: &str) -> String {
    format!("{}: {what}", path.file_name().unwrap_or_default().to_string_lossy())
}
