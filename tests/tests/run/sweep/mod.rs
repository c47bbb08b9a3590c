//! Sweeps: plans that come true, shards side by side, failures, and owners of locks that are killed.

mod export;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr};

use serde_json::Value;

use super::*;

/// The world's config as a base: one short round.
fn base() -> String {
    let short = CONFIG.replace("out = \"out\"\n", "").replace("count = 2", "count = 1");
    short.replace("prompts-per-round = 20", "prompts-per-round = 12").replace("n = 4", "n = 3")
}

/// A world whose config has this sweep.
fn world(sweep: &str) -> World {
    let world = World::new();
    world.write("run.toml", &format!("{}{sweep}", base()));
    world
}

const TWO_BY_TWO: &str = r#"
[sweep]
out = "sweep"
seeds = [3, 4]
[sweep.grid]
judge = [
    { name = "mean", plugin = "builtin:implicit-reward", params = { score = "mean-likelihood" } },
    { name = "reward", plugin = "builtin:implicit-reward" },
]
regularizer = [{ plugin = "builtin:none" }, { plugin = "builtin:confidence" }]
[[sweep.exclude]]
judge = "reward"
regularizer = "none"
"#;

impl World {
    fn sweep(&self, arguments: &[&str]) -> Command {
        let mut command = creamery_tests::creamery!("sweep");
        command.env("CREAMERY_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    fn sweeps(&self, code: i32, arguments: &[&str]) -> creamery_tests::Ran {
        let ran = creamery_tests::run(&mut self.sweep(arguments));
        assert_eq!(ran.code, Some(code), "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    fn told(&self, code: i32, arguments: &[&str]) -> Value {
        let ran = self.sweeps(code, arguments);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stdout))
    }

    /// Artifacts in the store by stage.
    fn stored(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for entry in fs::read_dir(self.path("store")).unwrap() {
            let folder = entry.unwrap().path();
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            if folder.is_dir() && !["tmp", "working", "runs", "answers"].contains(&name.as_str()) {
                counts.insert(name, fs::read_dir(folder).unwrap().count() as u64);
            }
        }
        counts
    }
}

/// Numbers of a plan by stage.
fn by_stage(plan: &Value, of: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for stage in plan["stages"].as_array().expect("stages") {
        let name = stage["stage"].as_str().expect("a name").to_owned();
        *counts.entry(name).or_default() += stage[of].as_u64().expect("a count");
    }
    counts
}

#[test]
fn two_shards_make_what_the_plan_foretold_and_nothing_twice() {
    let world = world(TWO_BY_TWO);
    let plan = world.told(0, &["plan", "run.toml", "--json"]);
    assert_eq!((plan["arms"].as_u64(), plan["runs"].as_u64()), (Some(3), Some(6)));
    assert_eq!(plan["artifacts"]["in-store"], 0);
    assert!(!world.path("store").exists() && !world.path("sweep").exists(), "a plan makes nothing");
    let part = world.told(0, &["plan", "run.toml", "--json", "--shard", "2/2"]);
    assert_eq!(part["names"][0], "mean-none-seed4");

    // Side by side, on one store and one folder; two jobs each, so that all have to wait for one another.
    let shard = |shard: &str| {
        let mut command = world.sweep(&["run", "run.toml", "--json", "--jobs", "2", "--shard", shard]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [shard("1/2"), shard("2/2")];
    for child in both {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((outcome["done"].as_u64(), outcome["runs"].as_u64()), (Some(3), Some(3)));
    }

    let made = world.stored();
    assert_eq!(by_stage(&plan, "shared"), made, "the plan came true");
    let apart: u64 = by_stage(&plan, "separate").values().sum();
    assert!(apart > made.values().sum::<u64>());
    // What a run made itself, by its log; the rest it found.
    let mut made_by_runs = 0;
    for entry in fs::read_dir(world.path("sweep/runs")).unwrap() {
        let log = fs::read_to_string(entry.unwrap().path().join("run.log")).unwrap();
        made_by_runs += log.lines().filter(|line| line.ends_with(" s") && !line.contains(": reused")).count();
    }
    assert_eq!(made_by_runs as u64, made.values().sum::<u64>(), "nothing was made twice");

    // All of it is there now, and measured.
    let after = world.told(0, &["plan", "run.toml", "--json"]);
    assert_eq!(by_stage(&after, "in-store"), made);
    assert_eq!(after["unmeasured"], serde_json::json!([]));
    assert_eq!(after["seconds"]["missing"], 0.0);
    assert!(after["ratio"].as_f64().unwrap() < 1.0);

    // The description that reports read.
    let sweep: Value = serde_json::from_str(&fs::read_to_string(world.path("sweep/sweep.json")).unwrap()).unwrap();
    assert_eq!((&sweep["name"], &sweep["baseline"]), (&"small".into(), &"mean-none".into()));
    assert_eq!(sweep["metric"], "sampled");
    let [first, _, third] = &sweep["arms"].as_array().unwrap()[..] else { panic!("three arms: {sweep}") };
    assert_eq!(third["name"], "reward-confidence");
    assert_eq!(first["values"]["regularizer"], serde_json::json!({"plugin": "builtin:none"}));
    assert_eq!(first["runs"][1], serde_json::json!({"seed": 4, "folder": "runs/mean-none-seed4"}));

    // Nothing is left to do, and that is seen at once.
    let again = world.told(0, &["run", "run.toml", "--json"]);
    assert_eq!((again["done"].as_u64(), again["skipped"].as_u64()), (Some(0), Some(6)));
    for place in ["run.toml", "sweep"] {
        let status = world.told(0, &["status", place, "--json"]);
        assert_eq!((status["counts"]["done"].as_u64(), status["counts"]["pending"].as_u64()), (Some(6), Some(0)));
    }
    // Other data are another sweep, though the config is the same.
    let prompts = fs::read_to_string(world.path("prompts.jsonl")).unwrap();
    world.write("prompts.jsonl", &prompts.lines().rev().collect::<Vec<_>>().join("\n"));
    let changed = world.told(0, &["plan", "run.toml", "--json"]);
    assert!(by_stage(&changed, "in-store")["sample"] < by_stage(&changed, "shared")["sample"]);

    // An arm comes out as it does alone, in a store of its own.
    world.write("prompts.jsonl", &prompts);
    let alone = ["--set", "store=alone/store", "--set", "out=alone/out", "--set", "name=mean-none-seed4"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_creamery-under-test"));
    command.env("CREAMERY_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"));
    command.arg("run").arg(world.path("sweep/runs/mean-none-seed4/run.toml")).args(alone);
    let ran = creamery_tests::run(&mut command);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let own =
        |name: &String| ["run.toml", "run.log", "artifacts.json", "progress.json"].iter().all(|other| name != other);
    let results = |out: &str| world.results(out).into_iter().filter(|(name, _)| own(name)).collect();
    let alone = world.path("sweep/runs/mean-none-seed4/alone/out");
    let alone: BTreeMap<_, _> = results(alone.to_str().unwrap());
    let together: BTreeMap<_, _> = results("sweep/runs/mean-none-seed4");
    let together = together.into_iter().filter(|(name, _)| !name.starts_with("alone/")).collect();
    assert_same(&alone, &together, "alone and in a sweep");
}

#[test]
fn failures_are_told_and_do_not_stop_the_others_if_that_is_asked_for() {
    // No pair is left with the first.
    let world = world(
        "[sweep]\nout = \"sweep\"\n[sweep.grid]\nregularizer = [\
         { name = \"strict\", plugin = \"builtin:filter\", params = { threshold = 1.0 } }, { plugin = \"builtin:none\" }]\n\
         \"train.batch-size\" = [500, 2]\n",
    );
    let outcome = world.told(42, &["run", "run.toml", "--jobs", "1", "--json"]);
    assert_eq!((outcome["done"].as_u64(), outcome["left"].as_u64()), (Some(0), Some(3)), "{outcome}");
    let ran = world.sweeps(42, &["run", "run.toml", "--jobs", "1", "--keep-going"]);
    for part in [
        "of 4 runs failed, 0 have not run",
        "none-batch-size500-seed3: ",
        "all within the warm-up",
        "while training on the pairs of",
        "run.log",
    ] {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
    let status = world.told(0, &["status", "sweep", "--json"]);
    let runs = status["runs"].as_array().unwrap();
    let of = |name: &str| runs.iter().find(|run| run["name"] == name).unwrap_or_else(|| panic!("{name} in {status}"));
    assert_eq!(of("none-batch-size2-seed3")["state"], "done");
    let failed = of("none-batch-size500-seed3");
    assert_eq!((&failed["state"], &failed["exit-code"]), (&"failed".into(), &5.into()));
    assert!(failed["error"].as_str().unwrap().contains("within the warm-up"), "{failed}");
    // In words.
    let ran = world.sweeps(0, &["status", "sweep"]);
    assert!(ran.stdout.contains("none-batch-size2-seed3") && ran.stdout.contains("failed"), "{}", ran.stdout);

    // What is wrong before anything starts has the exit code that it has everywhere.
    let ran = world.sweeps(2, &["run", "run.toml", "--set", "train.beta=-1"]);
    assert!(ran.stderr.contains("resolving the arm 'strict-batch-size500'"), "{}", ran.stderr);
    let ran = world.sweeps(2, &["run", "run.toml", "--set", "rounds.prompts-per-round=1000"]);
    assert!(ran.stderr.contains("planning the arm 'strict-batch-size500'"), "{}", ran.stderr);
    world.sweeps(2, &["plan", "run.toml", "--shard", "3/2"]);
}

/// Sends a signal.
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "{name} for {}", child.id());
}

/// The lock of an artifact that a process makes now, if it is held.
fn held_lock(store: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(store.join("tmp")).ok()?.flatten();
    let locks = entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("making-"));
    let held = |path: &PathBuf| {
        fs::File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
    };
    locks.into_iter().find(held)
}

/// Stops a process in the middle of making an artifact.
fn stop_while_making(child: &mut Child, store: &Path) {
    loop {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be stopped");
        if held_lock(store).is_some() {
            signal(child, "STOP");
            if held_lock(store).is_some() {
                return;
            }
            signal(child, "CONT");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Reads until a line has this in it.
fn wait_for(stderr: &mut BufReader<ChildStderr>, part: &str) {
    let mut line = String::new();
    loop {
        line.clear();
        let read = stderr.read_line(&mut line).unwrap();
        assert!(read > 0, "it ended without a word of {part:?}");
        if line.contains(part) {
            return;
        }
    }
}

#[test]
fn a_run_waits_for_another_and_goes_on_when_that_one_is_killed() {
    let world = World::new();
    world.write("run.toml", &base().replace("store = \"store\"", "store = \"store\"\nout = \"out\""));
    let mut first = world.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    stop_while_making(&mut first, &world.path("store"));
    let mut second = world.command(&["--set", "out=second"]);
    let mut second = second.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(second.stderr.take().unwrap());
    wait_for(&mut stderr, &format!("another run (process {}) is making", first.id()));
    first.kill().unwrap();
    first.wait().unwrap();
    wait_for(&mut stderr, "M2: compare, for evaluation: ");
    std::io::copy(&mut stderr, &mut std::io::sink()).unwrap();
    assert!(second.wait().unwrap().success());
    // The first goes on as well, and both are the same.
    world.ok(&[]);
    let without = |out: &str| {
        world.results(out).into_iter().filter(|(name, _)| !["artifacts.json", "progress.json"].contains(&name.as_str()))
    };
    assert_same(&without("out").collect(), &without("second").collect(), "two runs of one store");
}

#[test]
fn a_sweep_that_is_ended_or_killed_leaves_no_run_behind_and_goes_on() {
    let world = world(TWO_BY_TWO);
    // Seeds and arms as few as they can be.
    let few = ["run", "run.toml", "--set", "sweep.seeds=[3]", "--jobs", "2", "--json"];
    for (name, code) in [("TERM", Some(75)), ("KILL", None)] {
        let mut child = world.sweep(&few).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while held_lock(&world.path("store")).is_none() {
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            std::thread::sleep(Duration::from_millis(2));
        }
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), code, "after {name}");
        // Its runs end with it, and with them their locks.
        while held_lock(&world.path("store")).is_some() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = world.told(0, &["status", "sweep", "--json"]);
        assert_eq!(status["counts"]["running"], 0, "after {name}: {status}");
        assert!(status["counts"]["interrupted"].as_u64().unwrap() > 0, "after {name}: {status}");
    }
    let outcome = world.told(0, &few);
    assert_eq!(outcome["left"], 0);
    assert_eq!(outcome["failed"], serde_json::json!([]));
}

#[test]
fn locks_of_a_sweep_hold_for_each_of_its_runs() {
    let world = world(
        "[sweep]\nout = \"sweep\"\n[sweep.grid]\n\
         regularizer = [{ plugin = \"builtin:none\" }, { plugin = \"builtin:cream\" }]\n",
    );
    let ran = world.sweeps(4, &["run", "run.toml", "--locked"]);
    assert!(ran.stderr.contains("--locked, but there are no plugins of run.toml in it"), "{}", ran.stderr);
    let mut lock = creamery_tests::creamery!("plugin", "lock", world.path("run.toml"));
    let ran = creamery_tests::run(&mut lock);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("[regularizer] none") && ran.stdout.contains("[regularizer] cream"), "{}", ran.stdout);
    let outcome = world.told(0, &["run", "run.toml", "--locked", "--json"]);
    assert_eq!(outcome["done"], 2);
    // A parameter that was not locked, in one of the arms.
    let ran = world.sweeps(42, &["run", "run.toml", "--locked", "--set", "judge.params.score=log-ratio"]);
    assert!(ran.stderr.contains("is not what was locked"), "{}", ran.stderr);
}
