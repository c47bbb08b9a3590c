//! A folder to work in, and the program.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use creamery::model::{Decoder, LoraConfig};
use creamery_tests::{Ran, creamery, run};
use serde_json::Value;
use tempfile::TempDir;

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn model() -> PathBuf {
    repository().join("examples/quickstart/model")
}

pub struct World {
    pub folder: TempDir,
}

impl World {
    pub fn new() -> World {
        World { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn rows(&self, name: &str) -> Vec<Value> {
        self.read(name).lines().map(|line| serde_json::from_str(line).expect("a JSON row")).collect()
    }

    /// The groups of the examples, in `groups.jsonl`.
    pub fn groups(&self) {
        fs::copy(repository().join("examples/stages/groups.jsonl"), self.path("groups.jsonl")).unwrap();
    }

    /// A fresh adapter on `on`, which names its base `base`.
    pub fn adapter(&self, name: &str, on: &Path, base: &str) {
        let decoder = Decoder::load(on, &Device::Cpu).unwrap();
        let adapter = decoder.add_adapter(&LoraConfig { r: 2, ..LoraConfig::default() }, 1).unwrap();
        adapter.save_adapter(self.path(name), base).unwrap();
    }

    /// Runs the program in the folder; `model` stands for the quickstart's.
    pub fn run(&self, arguments: &str) -> Ran {
        let mut command = creamery!();
        // Plugins are built once for all tests.
        command.env("CREAMERY_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"));
        command.current_dir(&self.folder).args(arguments.split_whitespace().map(|a| match a {
            "model" => model().into_os_string(),
            other => other.into(),
        }));
        run(&mut command)
    }

    pub fn ok(&self, arguments: &str) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments}\n{}", ran.stderr);
        ran
    }
}

/// The first `n` lines of a file of the quickstart.
pub fn quickstart_rows(name: &str, n: usize) -> String {
    let text = fs::read_to_string(repository().join("examples/quickstart").join(name)).expect("the quickstart's data");
    text.lines().take(n).map(|line| format!("{line}\n")).collect()
}
