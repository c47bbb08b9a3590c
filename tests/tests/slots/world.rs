//! A folder with judged groups, and the program at work in it.

use std::fs;
use std::path::PathBuf;

use creamery_tests::{Ran, creamery, run};
use serde_json::Value;
use tempfile::TempDir;

use crate::quickstart_model;

/// Distinct responses in the groups: what a judge asks about each once.
pub const RESPONSES: usize = 25;

pub struct World {
    pub folder: TempDir,
}

impl World {
    pub fn new() -> World {
        let world = World { folder: tempfile::tempdir().unwrap() };
        let examples = quickstart_model().join("../../stages/groups.jsonl");
        fs::copy(examples, world.path("groups.jsonl")).unwrap();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// A judge that asks the slot "grader" of `slots.toml` about each response and reads a number after "Score:".
    pub fn judge(&self, more: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = creamery!("judge", "--plugin", "builtin:rubric", "--model");
        command.arg(quickstart_model()).current_dir(&self.folder).args(["--groups", "groups.jsonl"]);
        command.args(["--param", "slot=grader", "--param", "k=1", "--param", "max-new-tokens=8"]);
        command.args(["--param", "prompt=Rate {{ response }} for {{ prompt }}", "--param", "temperature=0.0"]);
        for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(proxy);
        }
        command.args(["--slots", "slots.toml", "--out", "out.jsonl"]).args(more);
        run(command.envs(variables.iter().copied()))
    }

    /// All scores, in order.
    pub fn scores(&self) -> Vec<Option<f64>> {
        let rows = self.read("out.jsonl");
        let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.flat_map(|row| row["scores"]["current"].as_array().unwrap().clone()).map(|s| s.as_f64()).collect()
    }

    /// Fails unless judging fails with this exit code and all of these parts in its message, and leaves no output.
    pub fn fails(&self, code: i32, parts: &[&str], variables: &[(&str, &str)]) -> String {
        let ran = self.judge(&[], variables);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "no '{part}' in:\n{}", ran.stderr);
        }
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        assert!(!self.path("out.jsonl").exists());
        ran.stderr
    }
}
