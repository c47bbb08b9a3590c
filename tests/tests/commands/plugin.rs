//! `creamery plugin`: from a name to a run that uses the plugin, and what the commands say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use creamery_tests::{Ran, creamery, run};
use serde_json::Value;

/// Where plugins are built, for all tests.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn plugin(folder: &Path, arguments: &[&str]) -> Ran {
    run(creamery!("plugin").args(arguments).current_dir(folder).env("CREAMERY_CACHE", cache()))
}

#[track_caller]
fn succeeds(ran: Ran) -> String {
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    ran.stdout
}

#[track_caller]
fn fails(ran: Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}\n{}", ran.stdout, ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "expected {part:?} in:\n{}", ran.stderr);
    }
}

/// A new plugin. It gets our lock file, so that no version is looked up.
fn new(folder: &Path, kind: &str, name: &str) -> PathBuf {
    let said = succeeds(plugin(folder, &["new", kind, name]));
    assert!(said.contains(&format!("creamery plugin check {name}")), "{said}");
    let made = folder.join(name);
    fs::copy(repository().join("Cargo.lock"), made.join("Cargo.lock")).unwrap();
    made
}

/// Five commands: new, cargo test, build, check, run.
#[test]
fn from_a_name_to_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made = new(folder, "judge", "calm-judge");

    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--offline"]).current_dir(&made);
    cargo.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("new"));
    let tested = run(&mut cargo);
    assert!(tested.code == Some(0) && tested.stdout.contains("3 passed"), "{}\n{}", tested.stdout, tested.stderr);

    let built = succeeds(plugin(folder, &["build", "calm-judge"]));
    assert!(built.contains("calm-judge.wasm: judge calm-judge 0.1.0, component"), "{built}");
    assert!(made.join("target/creamery/calm-judge.wasm").is_file());

    let checked = succeeds(plugin(folder, &["check", "calm-judge"]));
    assert!(checked.contains("plugin 'calm-judge' 0.1.0 (component), judge"), "{checked}");
    assert!(checked.contains("instructions in one call"), "{checked}");
    assert!(!checked.contains("FAILED") && !checked.contains("skipped"), "{checked}");

    let quickstart = repository().join("examples/quickstart/cream.toml");
    let mut command = creamery!("run", quickstart);
    for set in [
        format!("judge.plugin={}", made.display()),
        "judge.artifact=component".to_owned(),
        "judge.params={length-penalty = 0.01}".to_owned(),
        format!("out={}", folder.join("run").display()),
        format!("store={}", folder.join("store").display()),
        "rounds.count=1".to_owned(),
        "rounds.prompts-per-round=32".to_owned(),
        "sft.epochs=1".to_owned(),
        "train.warmup-ratio=0".to_owned(),
    ] {
        command.args(["--set", &set]);
    }
    let ran = run(command.current_dir(folder).env("CREAMERY_CACHE", cache()));
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
}

/// The other kinds work as they are made, as component and as native library.
#[test]
fn new_rankers_and_regularizers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (kind, name) in [("ranker", "top-two"), ("regularizer", "doubt")] {
        let made = new(folder, kind, name);
        for file in ["README.md", "params.schema.json", "src/tests.rs", ".cargo/config.toml", ".gitignore"] {
            let text = fs::read_to_string(made.join(file)).unwrap();
            assert!(!text.contains('@'), "{file} has a name that was not filled in:\n{text}");
        }
        let built = succeeds(plugin(folder, &["build", name, "--both"]));
        assert_eq!(built.lines().count(), 2, "{built}");
        let component = format!("{name}/target/creamery/{name}.wasm");
        succeeds(plugin(folder, &["check", &component]));
        let inspected = succeeds(plugin(folder, &["inspect", &component, "--json"]));
        let inspected: Value = serde_json::from_str(&inspected).unwrap();
        assert_eq!(
            (inspected["kind"].as_str(), inspected["license"].as_str()),
            (Some(kind), Some("MIT OR Apache-2.0"))
        );
    }
    // A library needs permission to run, none to be looked at.
    let library = format!("doubt/target/creamery/doubt{}", std::env::consts::DLL_SUFFIX);
    let inspected = succeeds(plugin(folder, &["inspect", &library]));
    assert!(inspected.contains("as a native library") && inspected.contains("at-least"), "{inspected}");
    fails(plugin(folder, &["check", &library]), 2, &["--allow-native"]);
    succeeds(plugin(folder, &["check", &library, "--allow-native"]));
}

#[test]
fn a_plugin_that_fails_its_checks() {
    let hostile = repository().join("tests/hostile/regularizer").display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let ran = plugin(folder.path(), &["check", &hostile, "--param", "mode=over"]);
    assert!(ran.stdout.contains("smallest input found, 1 group, 2 responses:"), "{}", ran.stdout);
    fails(ran, 4, &["plugin 'hostile-regularizer' 0.1.0 (component): 1 of ", "checks failed"]);
    let ran = plugin(folder.path(), &["check", &hostile, "--param", "mode=wrong-gradient", "--json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let failed: Vec<&Value> = report["checks"].as_array().unwrap().iter().filter(|c| c["result"] == "failed").collect();
    assert_eq!((failed.len(), &failed[0]["check"]), (2, &Value::from("gradient")));
    assert_eq!(failed[0]["input"]["batch"]["policy_chosen"].as_array().map(Vec::len), Some(1));
    assert_eq!(ran.code, Some(4));
}

#[test]
fn settings_that_do_nothing_are_said_and_builtins_are_not_signed() {
    let folder = tempfile::tempdir().unwrap();
    for (more, said) in [
        (&["--fuel", "5", "--wasi", "deny"][..], "limits.fuel, wasi without effect: it is part of this program"),
        (&["--memory-mib", "1", "--restarts", "3"], "limits.memory-mib, limits.restarts without effect"),
        (&[], ""),
    ] {
        let ran = plugin(folder.path(), &[&["check", "builtin:cream"], more].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stderr.contains(said) && said.is_empty() != ran.stderr.contains("without effect"), "{ran:?}");
    }
    let signed = plugin(folder.path(), &["sign", "builtin:cream", "--key", "my.key"]);
    fails(signed, 4, &["builtin:cream is part of this program", "name the file of a component"]);
}

/// A crash, a hang or an exit is a finding: the check goes on, and the smallest input is looked for.
#[cfg(target_os = "linux")]
#[test]
fn a_plugin_that_crashes_or_hangs_in_its_checks() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("hostile.so");
    let hostile = repository().join("tests/hostile/judge").display().to_string();
    succeeds(plugin(folder.path(), &["build", &hostile, "--native", "--out", library.to_str().unwrap()]));
    let cases = [
        (
            "segfault",
            "ordinary",
            "step: its process was ended by signal 11 (segmentation fault)",
            "0 groups, 0 responses",
        ),
        ("exit", "ordinary", "step: its process ended with code 0 in the middle of a call", "0 groups, 0 responses"),
        ("sleep", "ordinary", "step: it ran longer than its deadline of 200ms", "0 groups, 0 responses"),
        ("crash-on-sevens", "many-groups", "step: its process was ended by signal 11", "1 group, 1 response"),
    ];
    let run = |command: &str, mode: &str, more: &[&str]| {
        let mode = format!("mode={mode}");
        let first = [command, library.to_str().unwrap(), "--allow-native", "--param", &mode];
        plugin(folder.path(), &[&first, more].concat())
    };
    for (mode, check, found, size) in cases {
        let deadline = if mode == "sleep" { "0.2" } else { "60" };
        let ran = run("check", mode, &["--json", "--deadline-seconds", deadline]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{mode}: {e}: {ran:?}"));
        assert_eq!((ran.code, &report["isolation"]), (Some(4), &Value::from("process")), "{mode}");
        let checks = report["checks"].as_array().unwrap();
        let failed: Vec<&Value> = checks.iter().filter(|c| c["result"] == "failed").collect();
        assert_eq!((failed.len(), &failed[0]["check"]), (1, &Value::from(check)), "{mode}: {report}");
        assert!(failed[0]["note"].as_str().unwrap().contains(found), "{mode}: {}", failed[0]);
        assert_eq!(failed[0]["size"], size, "{mode}");
    }
    // In this process the check ends as the plugin does.
    let ran = run("check", "exit", &["--isolation", "none"]);
    assert!(ran.code == Some(0) && !ran.stdout.contains("ordinary"), "{ran:?}");
    let ran = run("check", "good", &[]);
    assert!(ran.stdout.contains("in a process of its own; --isolation none"), "{ran:?}");
    fails(run("check", "good", &["--isolation", "outside"]), 2, &["possible values: none, process"]);
    let component = ["check", "builtin:cream", "--isolation", "process"];
    fails(plugin(folder.path(), &component), 2, &["`isolation = \"process\"` is not for it"]);

    let ran = run("bench", "segfault", &["--isolation", "process", "--json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    assert_eq!(report["isolation"], "process");
    for call in report["calls"].as_array().unwrap() {
        assert!(call["failed"].as_str().is_some_and(|why| why.contains("signal 11")), "{call}");
    }
}

#[test]
fn what_cannot_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("there")).unwrap();
    fs::write(folder.join("there/file"), "").unwrap();
    let there = "the folder is there already, and is not empty";
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["new", "judge", "Big"], 2, &["\"Big\" is no name for a plugin", "length-penalty"]),
        (&["new", "judge", "there"], 2, &[there]),
        (&["new", "judge", "x", "--language", "cobol"], 2, &["possible values: rust"]),
        (&["new", "judge", "x", "--api-path", "there"], 2, &["has no package, expected \"creamery-plugin\""]),
        (&["build", "builtin:cream"], 2, &["is no folder with a plugin's source"]),
        (&["build", "there"], 4, &["there: there is neither a Cargo.toml nor a plugin.toml"]),
        (&["build", "there", "--both", "--out", "x"], 2, &["cannot be used with"]),
        (&["inspect", "there/file"], 4, &["this file is no plugin"]),
        (&["check", "builtin:creem"], 4, &["did you mean 'builtin:cream'?"]),
        (&["check", "builtin:cream", "--param", "form=often"], 2, &["parameter 'form' of plugin 'cream'"]),
    ];
    for (arguments, code, parts) in cases {
        fails(plugin(folder, arguments), *code, parts);
    }
    assert!(!folder.join("x").exists());
}

#[test]
fn bench_gives_every_figure() {
    let folder = tempfile::tempdir().unwrap();
    let source = repository().join("plugins/best-worst").display().to_string();
    let report = succeeds(plugin(folder.path(), &["bench", &source, "--json"]));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report["load-cold-seconds"].as_f64() > report["load-cached-seconds"].as_f64(), "{report}");
    let calls = report["calls"].as_array().unwrap();
    let sizes: Vec<u64> = calls.iter().filter_map(|c| c["size"].as_u64()).collect();
    assert_eq!(sizes, [0, 1, 10, 100, 1000]);
    for call in calls {
        assert!(call["nanoseconds"].as_f64() > Some(0.0) && call["fuel"].as_u64() > Some(0), "{call}");
    }
    let text = succeeds(plugin(folder.path(), &["bench", "builtin:cream"]));
    for part in ["make", "first call, 1 group", "label, 1000 groups", "objective, empty"] {
        assert!(text.contains(part), "{text}");
    }
}
