//! The configs of `examples/methods`: each is listed, loads, and runs through the binary.

#[path = "../../examples/methods/recipe/configs.rs"]
mod configs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use configs::METHODS;
use creamery_tests::{creamery, run};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/methods")
}

#[test]
fn every_config_is_listed_and_says_what_it_is() {
    let files = fs::read_dir(root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> =
        files.filter_map(|f| f.strip_suffix(".toml").map(str::to_owned)).filter(|name| name != "findings").collect();
    let listed: BTreeSet<String> = METHODS.iter().map(|m| m.to_string()).collect();
    assert_eq!(found, listed);
    let first = configs::load(&root(), METHODS[0], &[]).unwrap();
    for method in METHODS {
        let config = configs::load(&root(), method, &[]).unwrap();
        assert_eq!(config.name, method);
        // They differ in the method alone.
        let common = |c: &creamery::config::RunConfig| {
            let common = (&c.model, &c.data, &c.sft, &c.rounds, &c.eval, &c.train.optim, &c.store);
            serde_json::to_value(common).unwrap()
        };
        assert_eq!(common(&config), common(&first), "{method}");
    }
}

#[test]
fn the_table_in_the_readme_is_current() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let current = configs::with_table(&readme, &root()).unwrap();
    assert!(readme == current, "the table is not that of the configs; run: cargo methods table");
}

#[test]
fn every_method_has_its_results_and_a_finding() {
    let results = fs::read_to_string(root().join("RESULTS.md")).unwrap();
    let findings = fs::read_to_string(root().join("findings.toml")).unwrap();
    let findings: toml::Table = findings.parse().unwrap();
    let finding = |name: &str| findings.get(name).and_then(toml::Value::as_str).unwrap_or_default().trim();
    for method in METHODS {
        assert!(finding(method).contains(' '), "{method} has no sentence in findings.toml");
        for row in [format!("\n| `{method}` | 0."), format!("\n| `{method}` | {} |\n", finding(method))] {
            assert!(results.contains(&row), "no row {row:?}; run: cargo methods run");
        }
    }
    // And the text above the tables.
    assert_eq!(findings.len(), METHODS.len() + 1);
    assert!(results.contains(finding("all")));
}

/// Every method, with few prompts and a short fine-tuning, which they share.
#[test]
fn every_method_runs() {
    let world = Small::new();
    for method in METHODS {
        world.run(method);
    }
}

/// Its objective is built from a source folder; nothing of it is in the program.
#[test]
fn a_method_that_the_program_does_not_know_runs() {
    Small::new().run("own/alpha-po");
}

/// The methods' world at a small size.
struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    fn new() -> Self {
        Small { folder: tempfile::tempdir().unwrap() }
    }

    fn run(&self, method: &str) {
        let at = |name: &str| self.folder.path().join(name);
        let store = format!("store={}", at("store").display());
        let rows = root().join("../quickstart/sft.jsonl");
        let data = format!("data.sft=[{:?}]", rows.display().to_string());
        let settings = [
            store.as_str(),
            data.as_str(),
            "sft.epochs=1",
            "rounds.prompts-per-round=16",
            "train.warmup-ratio=0",
            "eval.limit=8",
            "eval.samples=1",
        ];
        let out = at(method);
        let mut command = creamery!("run", root().join(format!("{method}.toml")), "--quiet", "--json");
        for setting in settings {
            command.args(["--set", setting]);
        }
        let ran = run(command.arg("--set").arg(format!("out={}", out.display())));
        assert_eq!(ran.code, Some(0), "{method}: {}", ran.stderr);
        let result: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let rounds = result["summary"]["rounds"].as_array().unwrap();
        assert_eq!(rounds.len(), 2, "{method}");
        assert!(rounds.iter().all(|round| round["pairs"].as_u64() > Some(0)), "{method}: {rounds:?}");
        assert!(out.join("M3/model.safetensors").is_file(), "{method}");
    }
}
