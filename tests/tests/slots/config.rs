//! `[slots.NAME]` in a config.

use std::fs;

use creamery::config::{RunConfig, SlotConfig};
use tempfile::TempDir;

fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("m")).unwrap();
    fs::write(dir.path().join("p.jsonl"), "{}").unwrap();
    fs::write(dir.path().join("f.gguf"), "").unwrap();
    dir
}

fn load(dir: &TempDir, slots: &str) -> Result<RunConfig, creamery::Error> {
    let text = format!("allow-native = true\n[model]\npath = \"m\"\n[data]\nprompts = \"p.jsonl\"\n{slots}");
    RunConfig::from_toml(&text, &dir.path().join("c.toml"), &[])
}

#[test]
fn slots_are_resolved_and_written_out_whole() {
    let dir = folder();
    let config = load(
        &dir,
        "[slots.a]\nmodel = \"m\"\ntemplate = \"t\"\n[slots.b]\ngguf = \"f.gguf\"\ntokenizer = \"m\"\n\
         [slots.c]\nprogram = [\"python3\", \"verify.py\"]\n",
    )
    .unwrap();
    let SlotConfig::Program(program) = &config.slots["c"] else { panic!("{:?}", config.slots) };
    assert_eq!((program.folder.as_path(), program.deadline_seconds), (dir.path(), 60.0));
    let elsewhere = tempfile::tempdir().unwrap();
    let written = RunConfig::from_toml(&config.to_toml().unwrap(), &elsewhere.path().join("c.toml"), &[]).unwrap();
    assert_eq!(written.slots, config.slots);
    assert!(load(&dir, "").unwrap().slots.is_empty());
}

#[test]
fn wrong_slots_name_the_line_and_the_key() {
    let dir = folder();
    let cases = [
        ("[slots.judge]\nmodel = \"m\"", "'judge' is the run's own"),
        ("[slots.a]", "one of `model`, `gguf`, `endpoint` and `program`"),
        ("[slots.a]\nmodel = \"m\"\nprogram = [\"x\"]", "`slots.a.model` and `program`"),
        ("[slots.a]\nmodel = \"m\"\nretries = 3", "`slots.a.retries` has no meaning for a slot with `model`"),
        ("[slots.a]\nmodell = \"m\"", "slots.a.model"),
        ("[slots.a]\nmodel = \"nowhere\"", "nowhere"),
        ("[slots.a]\ngguf = \"nowhere\"\ntokenizer = \"m\"", "slots.a.gguf"),
        ("[slots.a]\ngguf = \"f.gguf\"", "`slots.a.tokenizer` is missing"),
        ("[slots.a]\nprogram = \"python3 verify.py\"", "a list of a program"),
        ("[slots.a]\nprogram = []", "a list of a program"),
        ("[slots.a]\nprogram = [\"x\"]\ndeadline-seconds = 0", "deadline-seconds"),
        ("slots = 3", "slots"),
        ("[slots]\na = 3", "slots.a"),
        ("[slots.\"a b\"]\nmodel = \"m\"", "a b"),
        ("[slots.a]\nendpoint = \"localhost:8000\"", "slots.a.endpoint"),
        ("[slots.a]\nendpoint = \"http://me:hunter2@host/v1\"", "slots.a.endpoint"),
    ];
    for (slots, part) in cases {
        let slots = if slots.starts_with("slots =") { format!("[rounds]\n{slots}") } else { slots.to_owned() };
        let error = load(&dir, &slots).err().unwrap_or_else(|| panic!("{slots}")).to_string();
        assert!(error.contains(part) && error.contains("c.toml"), "{slots}: no '{part}' in {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    #[cfg(not(feature = "hub"))]
    {
        let error = load(&dir, "[slots.a]\nendpoint = \"http://localhost/v1\"").unwrap_err().to_string();
        assert!(error.contains("--features endpoint"), "{error}");
    }
    #[cfg(feature = "hub")]
    for (keys, part) in [
        ("", "`slots.a.served-model` is missing"),
        ("served-model = \"x\"\napi-key-env = \"sk-secret\"", "slots.a.api-key-env"),
        ("served-model = \"x\"\nretries = -1", "slots.a.retries"),
        ("served-model = \"x\"\nconcurrency = 0", "slots.a.concurrency"),
    ] {
        let slots = format!("[slots.a]\nendpoint = \"http://localhost/v1\"\n{keys}");
        let error = load(&dir, &slots).err().unwrap_or_else(|| panic!("{slots}")).to_string();
        assert!(error.contains(part) && !error.contains("secret"), "{slots}: no '{part}' in {error}");
    }
}
