//! Where a checkpoint folder keeps its chat templates.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::data::files::read_whole;
use crate::data::tokenizer::read_optional_json;
use crate::error::{Error, Result};

/// Folders with templates beside `chat_template.jinja`, a file each: transformers' name, and one that other tools use.
const MORE: [&str; 2] = ["additional_chat_templates", "chat_templates"];
/// No template is larger.
const MAX_BYTES: u64 = 16 << 20;
const DEFAULT: &str = "default";

/// A template's source and the file it is from.
pub type Source = (PathBuf, String);

/// All templates of a folder, by name. As in transformers, files come before those in `tokenizer_config.json`, and if
/// there is any file, those are not looked at.
fn all(folder: &Path) -> Result<Vec<(String, Source)>> {
    let mut found = Vec::new();
    let path = folder.join("chat_template.jinja");
    match read(&path) {
        Ok(source) => found.push((DEFAULT.to_owned(), (path, source))),
        Err(_) if !path.exists() => {}
        Err(e) => return Err(e),
    }
    for path in more_files(folder)? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !found.iter().any(|(other, _)| *other == name) {
            let source = read(&path)?;
            found.push((name, (path, source)));
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let path = folder.join("tokenizer_config.json");
    let config = read_optional_json(&path)?;
    let wrong = |message: &str| {
        Err(Error::input(message).file(&path).help(
            "put the template into chat_template.jinja, or into 'chat_template' as a string or a list of {name, template}",
        ))
    };
    match config.as_ref().and_then(|c| c.get("chat_template")) {
        None | Some(Json::Null) => {}
        Some(Json::String(source)) => found.push((DEFAULT.to_owned(), (path, source.clone()))),
        Some(Json::Array(list)) => {
            for entry in list {
                let field = |name: &str| entry.get(name).and_then(Json::as_str);
                let (Some(name), Some(source)) = (field("name"), field("template")) else {
                    return wrong("each entry of the list 'chat_template' must have the strings 'name' and 'template'");
                };
                // A later entry of the same name wins, as in a Python dictionary.
                found.retain(|(other, _)| other != name);
                found.push((name.to_owned(), (path.clone(), source.to_owned())));
            }
        }
        Some(_) => return wrong("the field 'chat_template' must be a string or a list of named templates"),
    }
    Ok(found)
}

/// The template called `name`, else the one called `default`.
pub fn find(folder: &Path, name: Option<&str>) -> Result<Source> {
    let templates = all(folder)?;
    let names: Vec<&str> = templates.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    let file = folder.join("tokenizer_config.json");
    let wanted = name.unwrap_or(DEFAULT);
    if let Some((_, source)) = templates.into_iter().find(|(name, _)| name == wanted) {
        return Ok(source);
    }
    Err(match name {
        None if names.is_empty() => Error::input("this tokenizer has no chat template").file(file).help(
            "put the template into chat_template.jinja, or into 'chat_template' as a string or a list of {name, template}",
        ),
        None => Error::input(format!("this tokenizer has no template named 'default', only: {names}"))
            .file(file)
            .help("name the one to use: --template NAME, in a run's config [model] template = \"NAME\""),
        Some(name) => {
            let found = if names.is_empty() { "none" } else { names.as_str() };
            Error::input(format!("this tokenizer has no chat template named '{name}' (found: {found})")).file(file)
        }
    })
}

/// The files that hold templates, for a digest: present or not.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![folder.join("chat_template.jinja")];
    files.extend(more_files(folder)?);
    Ok(files)
}

fn more_files(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(MORE.iter().map(|name| jinja_files(&folder.join(name))).collect::<Result<Vec<_>>>()?.concat())
}

/// In order of their names. None where there is no such folder.
fn jinja_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", folder, &e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io("list", folder, &e))?.path();
        if path.extension().is_some_and(|e| e == "jinja") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    let bytes = read_whole(path, MAX_BYTES)?;
    String::from_utf8(bytes).map_err(|_| Error::input("not valid UTF-8").file(path))
}
