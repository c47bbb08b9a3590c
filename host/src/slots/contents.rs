//! What of a program decides its answers, as far as it can be known: its arguments, the contents of those that are
//! files, and the contents of its `files`.
//!
//! What else it reads is its author's to watch: the interpreter and its libraries, variables of the environment, files
//! that neither an argument nor `files` names, the network, the clock. Scores are kept until something here changes.

use std::path::{Path, PathBuf};

use blake3::Hasher;

use crate::config::ProgramSlot;
use crate::data::files::open_ordinary;
use crate::error::{Error, Result};

/// Of files below one folder; more is a mistake, such as a home folder.
const MAX_FILES: usize = 100_000;
/// Folders in folders.
const MAX_DEPTH: usize = 64;

/// Names the arguments and the contents of all files that are known.
pub(super) fn digest(slot: &ProgramSlot) -> Result<String> {
    let mut hasher = Hasher::new_derive_key("creamery 1.0 program slot");
    for word in &slot.program {
        text(&mut hasher, word);
        let file = slot.folder.join(word);
        let is_file = !word.is_empty() && file.is_file();
        hasher.update(&[u8::from(is_file)]);
        if is_file {
            contents(&mut hasher, &file)?;
        }
    }
    for name in &slot.files {
        text(&mut hasher, name);
        let path = slot.folder.join(name);
        let is_folder = path.is_dir();
        hasher.update(&[2 + u8::from(is_folder)]);
        if !is_folder {
            contents(&mut hasher, &path)?;
            continue;
        }
        let mut files = Vec::new();
        collect(&path, &mut Vec::new(), &mut files).map_err(|e| e.context(format!("reading `files` {name:?}")))?;
        files.sort();
        hasher.update(&(files.len() as u64).to_le_bytes());
        for (below, file) in files {
            text(&mut hasher, &below);
            contents(&mut hasher, &file)?;
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn text(hasher: &mut Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
}

fn contents(hasher: &mut Hasher, file: &Path) -> Result<()> {
    let (bytes, length) = open_ordinary(file)?;
    hasher.update(&length.to_le_bytes());
    hasher.update_reader(bytes).map_err(|e| Error::io("read", file, &e))?;
    Ok(())
}

/// The files below a folder with their names from there. Hidden ones and what Python compiles are left out: the program
/// makes them itself.
fn collect(folder: &Path, above: &mut Vec<String>, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let io = |e: std::io::Error| Error::io("read", folder, &e);
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(Error::input("a name in it is not UTF-8 text").file(folder).help("rename that file"));
        };
        if name.starts_with('.') || name == "__pycache__" {
            continue;
        }
        above.push(name.to_owned());
        let path = entry.path();
        let is_link = entry.file_type().map_err(io)?.is_symlink();
        match path.is_dir() {
            // It may lead back to where it stands.
            true if is_link => {
                return Err(Error::input("this is a link to a folder")
                    .file(path)
                    .help("name the folder that it leads to in `files`, or remove the link"));
            }
            true if above.len() > MAX_DEPTH => {
                return Err(Error::input(format!("more than {MAX_DEPTH} folders in each other")).file(path));
            }
            true => collect(&path, above, files)?,
            false => files.push((above.join("/"), path)),
        }
        above.pop();
        if files.len() > MAX_FILES {
            return Err(Error::input(format!("more than {MAX_FILES} files"))
                .file(folder)
                .help("name only what the program reads"));
        }
    }
    Ok(())
}
