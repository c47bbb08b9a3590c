//! What belongs to a checkpoint beside model and configuration.

use std::path::Path;

use crate::error::{Error, Result};

/// The files of a tokenizer, fast or slow, and its chat template.
const FILES: [&str; 11] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
];

/// Folders of further chat templates: transformers' name, and one that other tools use.
const FOLDERS: [&str; 2] = ["additional_chat_templates", "chat_templates"];

/// Copies the tokenizer's files that are in `from` to `to`: tokenizer.json and what belongs to it, byte by byte.
pub fn copy_tokenizer(from: &Path, to: &Path) -> Result<()> {
    for name in FILES {
        copy(&from.join(name), &to.join(name))?;
    }
    for name in FOLDERS {
        let folder = from.join(name);
        if !folder.is_dir() {
            continue;
        }
        let target = to.join(name);
        std::fs::create_dir_all(&target).map_err(|e| Error::io("create", &target, &e))?;
        for entry in std::fs::read_dir(&folder).map_err(|e| Error::io("read", &folder, &e))? {
            let entry = entry.map_err(|e| Error::io("read", &folder, &e))?;
            if entry.path().extension().is_some_and(|e| e == "jinja") {
                copy(&entry.path(), &target.join(entry.file_name()))?;
            }
        }
    }
    Ok(())
}

/// Copies a file if it is there. A copy, not a link: a cache's files are links into it, and read-only.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    let mut source = std::fs::File::open(from).map_err(|e| Error::io("read", from, &e))?;
    let mut target = std::fs::File::create(to).map_err(|e| Error::io("write", to, &e))?;
    std::io::copy(&mut source, &mut target).map(|_| ()).map_err(|e| Error::io("write", to, &e))
}
