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
//! Those of other languages are in [`templates`](super::templates).

mod rust;

use std::path::Path;

use clap::ValueEnum;

use super::templates::{self, Guest};
use crate::error::{Error, Result};
use crate::plugins::Kind;
use crate::store::{create_folder, write_atomic};

/// What plugins can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// One source for a native library and a component
    Rust,
    /// A component of a few KB, by clang
    C,
    /// A component with CPython in it, by componentize-py
    Python,
    /// A component with QuickJS in it, by componentize-qjs
    #[value(name = "javascript")]
    JavaScript,
}

impl Language {
    /// The file that an author changes first.
    pub fn rule(self) -> &'static str {
        match self {
            Language::Rust => "src/lib.rs",
            Language::C => "rule.c",
            Language::Python => "rule.py",
            Language::JavaScript => "rule.js",
        }
    }

    /// What runs the tests of a new folder, in it.
    pub fn test(self) -> &'static str {
        match self {
            Language::Rust => "cargo test",
            Language::C => "cc test_rule.c rule.c -lm -o test_rule && ./test_rule",
            Language::Python => "python3 -m unittest",
            Language::JavaScript => "node --test",
        }
    }
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
            .help("a name begins with a letter and has lower-case letters, digits and single '-' between them: length-penalty"));
    }
    let guest = match new.language {
        Language::Rust => None,
        Language::C => Some(Guest::C),
        Language::Python => Some(Guest::Python),
        Language::JavaScript => Some(Guest::JavaScript),
    };
    if let Some(guest) = guest {
        if new.api_path.is_some() {
            return Err(
                Error::config("--api-path is for plugins in Rust").help("leave it out: the contract is in the folder")
            );
        }
        return create_folder(out, |folder| {
            templates::files(guest, new.kind, name).iter().try_for_each(|(path, text)| put(folder, path, text))
        });
    }
    let (templates, api) = (rust::templates(new.kind), rust::dependency(new.api_path)?);
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
            put(folder, path, &text)?;
        }
        Ok(())
    })
}

fn put(folder: &Path, path: &str, text: &str) -> Result<()> {
    let file = folder.join(path);
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create the folder", parent, &e))?;
    }
    write_atomic(&file, text)
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
