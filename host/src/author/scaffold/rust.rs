//! Plugins in Rust.

use std::path::Path;

use super::Template;
use crate::error::{Error, Result};
use crate::plugins::Kind;

pub(super) fn templates(kind: Kind) -> Vec<Template> {
    let (lib, tests, schema) = match kind {
        Kind::Judge => (
            include_str!("rust/judge/lib.rs.txt"),
            include_str!("rust/judge/tests.rs.txt"),
            include_str!("rust/judge/params.schema.json"),
        ),
        Kind::Ranker => (
            include_str!("rust/ranker/lib.rs.txt"),
            include_str!("rust/ranker/tests.rs.txt"),
            include_str!("rust/ranker/params.schema.json"),
        ),
        Kind::Regularizer => (
            include_str!("rust/regularizer/lib.rs.txt"),
            include_str!("rust/regularizer/tests.rs.txt"),
            include_str!("rust/regularizer/params.schema.json"),
        ),
    };
    vec![
        ("Cargo.toml", include_str!("rust/Cargo.toml.txt")),
        (".cargo/config.toml", include_str!("rust/cargo-config.toml.txt")),
        (".gitignore", "/target\n"),
        ("rustfmt.toml", "max_width = 120\nuse_small_heuristics = \"Max\"\n"),
        ("README.md", include_str!("rust/README.md.txt")),
        ("params.schema.json", schema),
        ("src/lib.rs", lib),
        ("src/tests.rs", tests),
    ]
}

/// What the manifest says of `creamery-plugin`: the folder that was named; else the one beside the sources that this
/// program was built from, if it is there and of this version; else the published version.
pub(super) fn dependency(api_path: Option<&Path>) -> Result<String> {
    let beside = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin-api"));
    let folder = match api_path {
        Some(folder) => {
            let found = package(folder);
            if found.as_ref().is_none_or(|(name, _)| name != "creamery-plugin") {
                let what = found.map_or("no package".to_owned(), |(name, _)| format!("the package {name:?}"));
                return Err(Error::config(format!("--api-path: this folder has {what}, expected \"creamery-plugin\""))
                    .file(folder)
                    .help("name the folder plugin-api of Creamery's sources"));
            }
            folder
        }
        None => match package(beside) {
            Some((name, version)) if name == "creamery-plugin" && version == creamery_plugin::API_VERSION => beside,
            _ => return Ok(toml::Value::from(creamery_plugin::ABI).to_string()),
        },
    };
    let folder = folder.canonicalize().map_err(|e| Error::io("open", folder, &e))?;
    Ok(format!("{{ path = {} }}", toml::Value::from(folder.to_string_lossy().into_owned())))
}

/// Name and version of the package in a folder.
fn package(folder: &Path) -> Option<(String, String)> {
    let table: toml::Table = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?.parse().ok()?;
    let text = |field: &str| Some(table.get("package")?.get(field)?.as_str()?.to_owned());
    Some((text("name")?, text("version")?))
}
