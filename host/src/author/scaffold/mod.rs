//! Folders to start a plugin from: templates by language and kind, in which a few names are filled in.
//!
//! | in a template | becomes |
//! |---|---|
//! | `@NAME@` | the plugin's name: "length-penalty" |
//! | `@TYPE@` | the same as the name of a type: "LengthPenalty" |
//! | `@CRATE@` | the same as the name of a crate in Rust code: "length_penalty" |
//! | `@KIND@` | judge, ranker or regularizer |
//! | `@API@` | what a manifest says of the dependency on `creamery-plugin` |
//!
//! A further language is a variant of [`Language`] and a folder of templates.

mod rust;

use std::path::Path;

use clap::ValueEnum;

use crate::error::{Error, Result};
use crate::plugins::Kind;
use crate::store::{create_folder, write_atomic};

/// What plugins can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// One source for a native library and a component
    Rust,
}

/// A plugin that is to be.
pub struct New<'a> {
    pub kind: Kind,
    pub name: &'a str,
    pub language: Language,
    /// The folder of the crate `creamery-plugin`, where it is not to be looked for.
    pub api_path: Option<&'a Path>,
}

/// A file of a new folder: its path there, and its text with names to fill in.
type Template = (&'static str, &'static str);

/// Writes the folder `out`, whole or not at all.
///
/// # Errors
/// The name is none for a plugin, the folder is there and not empty, or it cannot be written.
pub fn write(new: &New, out: &Path) -> Result<()> {
    let name = new.name;
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let allowed = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !starts_well || !allowed || name.ends_with('-') || name.contains("--") {
        return Err(Error::config(format!("{name:?} is no name for a plugin"))
            .help("a name has lower-case letters, digits and single '-' between them: length-penalty"));
    }
    let (templates, api) = match new.language {
        Language::Rust => (rust::templates(new.kind), rust::dependency(new.api_path)?),
    };
    let names = [
        ("@NAME@", name.to_owned()),
        ("@TYPE@", type_name(name)),
        ("@CRATE@", name.replace('-', "_")),
        ("@KIND@", new.kind.to_string()),
        ("@API@", api),
    ];
    create_folder(out, |folder| {
        for (path, text) in templates {
            let text = names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
            let file = folder.join(path);
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent).map_err(|e| Error::io("create the folder", parent, &e))?;
            }
            write_atomic(&file, text)?;
        }
        Ok(())
    })
}

/// "length-penalty" → "LengthPenalty"
fn type_name(name: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    name.split('-').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(type_name("length-penalty-2"), "LengthPenalty2");
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "2nd", "Big", "a_b", "a--b", "a-", "../up", "ü"] {
            let new = New { kind: Kind::Judge, name, language: Language::Rust, api_path: None };
            let error = write(&new, &folder.path().join("plugin")).unwrap_err().to_string();
            assert!(error.contains("no name for a plugin"), "{error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
