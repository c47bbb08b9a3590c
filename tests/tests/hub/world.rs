//! A hub, an empty cache, and the program between them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use creamery_tests::{Ran, creamery, run};
use tempfile::TempDir;

use super::server::{COMMIT, Hub, etag};

pub struct World {
    pub hub: Hub,
    home: TempDir,
}

pub const WEIGHTS: &str = "model.safetensors";

pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// The quickstart's model as a repository, with files that nobody needs.
pub fn repository() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(examples().join("quickstart/model")).expect("the quickstart's model") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        files.insert(name, fs::read(&path).expect("a readable file"));
    }
    for name in ["README.md", ".gitattributes", "pytorch_model.bin", "onnx/model.onnx"] {
        files.insert(name.to_owned(), b"not needed".to_vec());
    }
    files
}

impl World {
    pub fn new() -> World {
        World::of(repository())
    }

    pub fn of(files: BTreeMap<String, Vec<u8>>) -> World {
        World { hub: Hub::new(files), home: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A path in the repository's folder of the cache.
    pub fn cached(&self, name: &str) -> PathBuf {
        self.home.path().join("hub/models--test--tiny").join(name)
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn snapshot(&self, file: &str) -> PathBuf {
        self.cached("snapshots").join(COMMIT).join(file)
    }

    /// The program with this hub and this cache, and nothing of the caller's own.
    pub fn command(&self) -> Command {
        let mut command = creamery!();
        for (name, _) in std::env::vars() {
            let lower = name.to_ascii_lowercase();
            if ["hf_", "huggingface_", "hugging_face_"].iter().any(|p| lower.starts_with(p))
                || lower.ends_with("_proxy")
            {
                command.env_remove(name);
            }
        }
        for name in ["TRANSFORMERS_OFFLINE", "SSL_CERT_FILE", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        command.env("HF_HOME", self.home.path()).env("HF_ENDPOINT", self.hub.endpoint()).current_dir(self.home.path());
        command
    }

    /// `creamery logps`, the shortest way to a result.
    pub fn logps(&self, model: &str) -> Command {
        let mut command = self.command();
        command.args(["logps", "--threads", "1", "--model", model, "--rows"]).arg(examples().join("stages/rows.jsonl"));
        command
    }

    pub fn ran(&self, model: &str, environment: &[(&str, &str)]) -> Ran {
        run(self.logps(model).envs(environment.iter().copied()))
    }

    /// Expects success and the numbers of the local model.
    pub fn ok(&self, model: &str, environment: &[(&str, &str)]) -> Ran {
        let ran = self.ran(model, environment);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let local = run(&mut self.logps(&examples().join("quickstart/model").display().to_string()));
        assert_eq!(ran.stdout, local.stdout, "other numbers than those of the local folder");
        ran
    }

    /// No part of a file is left, and every blob has the bytes that its name says.
    pub fn assert_clean(&self) {
        assert_eq!(self.assert_clean_but_for_parts(), 0, "parts are left");
    }

    /// Every blob has the bytes that its name says; gives the number of parts beside them.
    pub fn assert_clean_but_for_parts(&self) -> usize {
        let mut parts = 0;
        for entry in fs::read_dir(self.cached("blobs")).expect("the blobs") {
            let name = entry.expect("a blob").file_name().to_string_lossy().into_owned();
            if name.ends_with(".incomplete") {
                parts += 1;
                continue;
            }
            let bytes = fs::read(self.cached("blobs").join(&name)).expect("a blob");
            let named = [".safetensors", ""].iter().any(|kind| etag(kind, &bytes) == name);
            assert!(named, "the blob {name} has other bytes than its name says");
        }
        parts
    }
}
