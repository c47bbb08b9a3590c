//! `creamery watch` on runs that are over, at work, killed and damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use creamery_tests::{Ran, creamery, run};
use serde_json::{Value, json};

/// For what does happen, however slow the machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A run with every kind of stage. Its judge is a program, which waits for a file "go" before it answers.
const CONFIG: &str = r#"
name = "held"
seed = 5
device = "cpu"
out = "out"
store = "store"
allow-native = true
[model]
path = "QUICKSTART/model"
max-length = 64
[data]
prompts = "prompts.jsonl"
sft = "sft.jsonl"
eval = "eval.jsonl"
[sft]
batch-size = 4
[rounds]
count = 2
prompts-per-round = 4
[sample]
n = 2
temperature = 1.0
top-p = 1.0
max-new-tokens = 6
[[sample.from]]
name = "earlier"
model = "previous"
n = 1
[slots.held]
program = ["sh", "held.sh"]
deadline-seconds = 600.0
[judge]
plugin = "builtin:program"
[judge.params]
slot = "held"
[[viewpoints]]
name = "current"
[[viewpoints]]
name = "mean"
model = "ema"
[ema]
decay = 0.5
[ranker]
plugin = "builtin:best-worst"
[regularizer]
plugin = "builtin:none"
[train]
batch-size = 2
[eval]
samples = 2
"#;

/// Ends with the run, should that be killed.
const HELD: &str = "n=0
while IFS= read -r line; do
  while [ ! -e go ] && kill -0 $PPID; do sleep 0.05; done
  n=$((n + 1)); echo \"{\\\"text\\\": \\\"$n\\\"}\"
done
";

pub struct World {
    folder: tempfile::TempDir,
}

impl World {
    pub fn new(program: &str) -> World {
        let world = World { folder: tempfile::tempdir().unwrap() };
        let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart").canonicalize().unwrap();
        for (name, rows) in [("prompts.jsonl", 8), ("sft.jsonl", 8), ("eval.jsonl", 4)] {
            let text = fs::read_to_string(quickstart.join(name)).unwrap();
            let lines: Vec<&str> = text.lines().take(rows).collect();
            fs::write(world.path(name), lines.join("\n") + "\n").unwrap();
        }
        fs::write(world.path("held.sh"), program).unwrap();
        let config = CONFIG.replace("QUICKSTART", &quickstart.to_string_lossy());
        fs::write(world.path("run.toml"), config).unwrap();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A run that works until its judge is asked.
    pub fn held() -> (World, Child) {
        let world = World::new(HELD);
        let mut command = creamery!("run", world.path("run.toml"), "--quiet");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        loop {
            let found = world.snapshot();
            if found["stages"]
                .as_array()
                .is_some_and(|s| s.iter().any(|s| s["state"] == "running" && s["label"] == "round 1: judge as current"))
            {
                return (world, child);
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "{ended:?}: {found:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn watch(&self, arguments: &[&str]) -> Ran {
        run(creamery!("watch", self.path("out")).args(arguments))
    }

    /// `--json`; of the config file, since the folder may not be there yet.
    fn snapshot(&self) -> Value {
        let ran = run(&mut creamery!("watch", self.path("run.toml"), "--json"));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    fn text(&self) -> String {
        let ran = self.watch(&["--once"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        ran.stdout
    }
}

fn labels(snapshot: &Value) -> Vec<String> {
    let stages = snapshot["stages"].as_array().unwrap();
    stages.iter().map(|stage| stage["label"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_run_is_seen_at_work_and_at_its_end() {
    let (world, mut child) = World::held();
    let at_work = world.snapshot();
    assert_eq!((&at_work["state"], &at_work["process"]), (&json!("running"), &json!(child.id())));
    assert_eq!((&at_work["name"], &at_work["seed"]), (&json!("held"), &json!(5)));
    assert_eq!(at_work["models"], json!([]));
    let losses = at_work["curves"][0]["points"].as_array().unwrap();
    assert!(at_work["curves"][0]["metric"] == "loss" && !losses.is_empty(), "{at_work:#}");
    assert!(at_work["samples"][0]["prompt"].as_str().is_some_and(|p| !p.is_empty()), "{at_work:#}");
    let text = world.text();
    for part in ["held, seed 5: running for", "round 1: judge as current", "to come", "last samples:"] {
        assert!(text.contains(part), "no '{part}' in\n{text}");
    }

    fs::write(world.path("go"), "").unwrap();
    assert!(child.wait().unwrap().success());
    let over = world.snapshot();
    assert_eq!((&over["state"], &over["error"]), (&json!("finished"), &json!(null)));
    // The plan was right: the stages are those that stood in it, but for the average of M0 with itself.
    assert_eq!(labels(&over), labels(&at_work));
    let states: Vec<&str> = over["stages"].as_array().unwrap().iter().map(|s| s["state"].as_str().unwrap()).collect();
    assert!(states.iter().all(|state| ["done", "reused"].contains(state)), "{over:#}");
    let names: Vec<&Value> = over["models"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["M0", "M1", "M2", "M3"]);
    assert_eq!(over["earlier_results"], json!(false));
    let text = world.text();
    assert!(text.contains("held, seed 5: finished after") && text.contains("sampled acc."), "{text}");

    // Again: everything is there, and that is what is seen.
    let again = run(&mut creamery!("run", world.path("run.toml"), "--quiet"));
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let again = world.snapshot();
    assert_eq!(labels(&again), labels(&over));
    assert!(again["stages"].as_array().unwrap().iter().all(|s| s["state"] == "reused"), "{again:#}");
    assert!(!again["samples"].as_array().unwrap().is_empty());
}

#[test]
fn a_run_that_was_killed_is_dead_and_one_that_fails_says_why() {
    let (world, mut child) = World::held();
    child.kill().unwrap();
    // SAFETY: a record that the call fills in; with WNOWAIT the child stays to be asked for.
    let ended = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, child.id(), &mut info, libc::WEXITED | libc::WNOWAIT)
    };
    assert_eq!(ended, 0);
    // Its parent has not asked for it yet, and then it has.
    for _ in 0..2 {
        let found = world.snapshot();
        assert_eq!((&found["state"], &found["process"]), (&json!("dead"), &json!(child.id())));
        child.wait().unwrap();
    }
    assert!(world.text().contains("is gone"), "{}", world.text());
    // Another process has its number now, one that did not begin in the same instant.
    let mut record: Value = serde_json::from_slice(&fs::read(world.path("out/progress.json")).unwrap()).unwrap();
    record["process"]["id"] = json!(1);
    fs::write(world.path("out/progress.json"), record.to_string()).unwrap();
    assert_eq!(world.snapshot()["state"], "dead");

    fs::write(world.path("held.sh"), "echo 'no \u{1b}[31mluck' >&2; exit 3\n").unwrap();
    let ran = run(&mut creamery!("run", world.path("run.toml"), "--quiet"));
    assert_ne!(ran.code, Some(0));
    let found = world.snapshot();
    assert_eq!(found["state"], "failed");
    assert!(found["error"].as_str().is_some_and(|e| e.contains("exit status: 3")), "{found:#}");
    let text = world.text();
    assert!(text.contains(": failed after") && text.contains("error: ") && !text.contains('\u{1b}'), "{text}");
    assert!(
        !fs::read_dir(world.path("out")).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().ends_with(".tmp"))
    );
}

#[test]
fn damaged_and_old_folders_are_shown_as_far_as_they_go() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let watch = |more: &str| run(&mut creamery!("watch", folder.path(), more));
    // Nothing of a run.
    let ran = watch("--once");
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    assert!(ran.stderr.contains("nothing of a run") && ran.stderr.contains("help:"), "{}", ran.stderr);

    // An older version's.
    put("summary.json", br#"{"name": "old", "seed": 1, "models": [{"name": "M0"}, {"name": "M1", "accuracy": {"sampled": 0.5, "sampled_error": 0.1}}], "rounds": [{"round": 1, "pairs": 7, "consistency": 0.75}]}"#);
    put(
        "metrics.jsonl",
        b"{\"stage\": \"train\", \"round\": 1, \"step\": 3, \"loss\": 0.25}\nno JSON\n{\"stage\": \"tra",
    );
    put("timings.json", br#"[{"label": "sft", "seconds": 1.5, "reused": false}]"#);
    let text = watch("--once").stdout;
    for part in ["old, seed 1: unknown", "0.750", "0.500 ± 0.100", "round 1: train", "0.2500", "sft"] {
        assert!(text.contains(part), "no '{part}' in\n{text}");
    }

    // Half-written, of another kind, hostile.
    put("progress.json", b"{\"format\": 1, \"name\": \"h");
    put("summary.json", b"\xff\xfe\x00");
    put("timings.json", b"{\"a\": [");
    let text = watch("--once").stdout;
    for file in ["progress.json", "summary.json", "timings.json"] {
        assert!(text.contains(&format!("cannot be read: {file}: ")), "{text}");
    }
    put(
        "progress.json",
        json!({"name": "\u{1b}[2J\u{202e}", "state": "finished", "warnings": ["\u{9b}5m"]}).to_string().as_bytes(),
    );
    put("summary.json", b"[1, {\"models\": 5}]");
    let text = watch("--once").stdout;
    assert!(text.contains("^[[2J<202E>") && text.contains("warning: <009B>5m") && !text.contains('\u{1b}'), "{text}");
    let found: Value = serde_json::from_str(&watch("--json").stdout).unwrap();
    assert_eq!(found["state"], "finished");
}

#[test]
fn a_sweep_lists_its_runs_and_wrong_arguments_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let run_folder = folder.path().join("a/0");
    fs::create_dir_all(&run_folder).unwrap();
    let record =
        json!({"name": "a", "state": "failed", "error": "no luck", "stages": [{"label": "sft", "state": "failed"}]});
    fs::write(run_folder.join("progress.json"), record.to_string()).unwrap();
    let sweep = json!({"name": "both", "arms": [{"name": "one", "runs": [{"seed": 0, "folder": "a/0"}, {"seed": 1, "folder": "a/1"}]}]});
    fs::write(folder.path().join("sweep.json"), sweep.to_string()).unwrap();
    let ran = run(&mut creamery!("watch", folder.path()));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("both: 2 runs") && ran.stdout.contains("no luck"), "{}", ran.stdout);
    let found: Value = serde_json::from_str(&run(&mut creamery!("watch", folder.path(), "--json")).stdout).unwrap();
    let states: Vec<&Value> = found["runs"].as_array().unwrap().iter().map(|r| &r["state"]).collect();
    assert_eq!(states, ["failed", "absent"]);

    fs::write(folder.path().join("sweep.json"), "{").unwrap();
    fs::write(folder.path().join("run.toml"), "[model]\n").unwrap();
    let none = folder.path().join("none");
    let (sweep, config, run_folder) = (folder.path(), folder.path().join("run.toml"), &run_folder);
    let cases: [(&Path, &[&str], i32, &str); 4] = [
        (&none, &[], 3, "none"),
        (sweep, &[], 3, "sweep.json"),
        (&config, &[], 2, "run.toml"),
        (run_folder, &["--set", "seed=1"], 2, "--set"),
    ];
    for (path, more, code, part) in cases {
        let ran = run(creamery!("watch", path, "--once").args(more));
        assert_eq!(ran.code, Some(code), "{path:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part) && !ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}
