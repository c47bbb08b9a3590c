//! Names the sources that decide the results of a stage, so that artifacts of another version are not reused.

use std::fs;
use std::path::{Path, PathBuf};

/// Relative to this crate. A published crate has only its own; the plugins then come with their versions.
const DECIDING: [&str; 12] = [
    "src/data",
    "src/eval",
    "src/generate",
    "src/model",
    "src/plugins",
    "src/round",
    "src/score",
    "src/slots",
    "src/train",
    "../plugin-api/src",
    "../plugins",
    "../wasm-judges",
];

fn main() {
    let mut files = Vec::new();
    for folder in DECIDING {
        println!("cargo::rerun-if-changed={folder}");
        collect(Path::new(folder), &mut files);
    }
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let bytes = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let name = file.to_string_lossy().replace('\\', "/");
        for part in [name.as_bytes(), &bytes] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
    }
    println!("cargo::rustc-env=CREAMERY_SOURCES={}", hasher.finalize().to_hex());
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "json") {
            files.push(path);
        }
    }
}
