//! Whole runs through the binary: the quickstart's model on a small part of its data.

mod adapters;
#[cfg(target_os = "linux")]
mod crashes;
mod failures;
#[cfg(target_os = "linux")]
mod isolation;
mod rehearsal;
#[cfg(target_os = "linux")]
mod sweep;
mod trust;
mod viewpoints;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use candle_core::Device;
use creamery::model::{Decoder, LoraConfig, adapter_base};
use tempfile::TempDir;

/// A folder with a config, data and a copy of the quickstart's model.
struct World {
    folder: TempDir,
}

const CONFIG: &str = r#"
name = "small"
seed = 3
device = "cpu"
out = "out"
store = "store"
allow-native = true
[model]
path = "model"
max-length = 64
[data]
prompts = "prompts.jsonl"
sft = "sft.jsonl"
eval = "eval.jsonl"
[sft]
epochs = 1
batch-size = 16
[rounds]
count = 2
prompts-per-round = 20
[sample]
n = 4
temperature = 1.0
top-p = 1.0
max-new-tokens = 10
[judge]
plugin = "builtin:implicit-reward"
[judge.params]
score = "mean-likelihood"
[ranker]
plugin = "builtin:best-worst"
[regularizer]
plugin = "builtin:cream"
[regularizer.params]
clamp = [0.0, 0.8]
[train]
learning-rate = 1e-4
batch-size = 2
[eval]
samples = 2
"#;

impl World {
    fn new() -> World {
        let world = World { folder: tempfile::tempdir().expect("a temporary folder") };
        let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
        fs::create_dir(world.path("model")).unwrap();
        for entry in fs::read_dir(quickstart.join("model")).expect("the quickstart's model") {
            let file = entry.unwrap().path();
            fs::copy(&file, world.path("model").join(file.file_name().unwrap())).unwrap();
        }
        for (name, rows) in [("prompts.jsonl", 40), ("sft.jsonl", 32), ("eval.jsonl", 20)] {
            let text = fs::read_to_string(quickstart.join(name)).expect("the quickstart's data");
            let lines: Vec<&str> = text.lines().take(rows).collect();
            world.write(name, &(lines.join("\n") + "\n"));
        }
        world.write("run.toml", CONFIG);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_creamery-under-test"));
        // Plugins are built once for all tests.
        command.env("CREAMERY_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"));
        command.arg("run").arg(self.path("run.toml")).args(arguments);
        command
    }

    /// Another command on the same config.
    fn says(&self, command: &str, arguments: &[&str]) -> creamery_tests::Ran {
        let mut command = creamery_tests::creamery!(command, self.path("run.toml"));
        command.env("CREAMERY_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"));
        creamery_tests::run(command.args(arguments))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    /// Runs and expects success; gives standard output.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?} failed:\n{errors}");
        String::from_utf8(output.stdout).expect("UTF-8 output")
    }

    /// Every file of the run folder that must not differ between runs.
    fn results(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path(out)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(self.path(out)).unwrap().to_string_lossy().into_owned();
                // Seconds differ, events hold wall times, and the resolved config names the folder and the threads.
                if name != "timings.json" && name != "config.resolved.toml" && !name.starts_with("tensorboard") {
                    files.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        files
    }
}

fn assert_same(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>, what: &str) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{what}: other files");
    for (name, bytes) in a {
        assert!(b[name] == *bytes, "{what}: {name} differs");
    }
}

#[test]
fn a_run_writes_tables_metrics_and_checkpoints() {
    let world = World::new();
    let printed = world.ok(&[]);
    for part in
        ["model", "consistency", "ranking acc.", "sampled acc.", "greedy acc.", "drops", "abstentions", "seconds"]
    {
        assert!(printed.contains(part), "no '{part}' in\n{printed}");
    }
    let results = world.results("out");
    for name in ["metrics.jsonl", "table.txt", "summary.json", "plugins.json"] {
        assert!(results.contains_key(name), "no {name}");
    }
    for model in ["M1", "M2", "M3"] {
        for file in
            ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "generation_config.json"]
        {
            assert!(results.contains_key(&format!("{model}/{file}")), "no {model}/{file}");
        }
    }
    let metrics = String::from_utf8(results["metrics.jsonl"].clone()).unwrap();
    let rows: Vec<serde_json::Value> = metrics.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let step = rows.iter().find(|r| r["stage"] == "train").expect("a training step");
    for name in [
        "loss",
        "grad_norm",
        "learning_rate",
        "rewards/chosen",
        "rewards/margins",
        "rewards/accuracies",
        "logps/chosen",
    ] {
        assert!(step[name].is_number(), "no {name} in {step}");
    }
    assert!((step["loss"].as_f64().unwrap() - std::f64::consts::LN_2).abs() < 1e-4, "the first loss is ln 2");
    let round = rows.iter().find(|r| r["stage"] == "round").expect("a round");
    let c = round["consistency"].as_f64().expect("a consistency");
    assert!((0.0..=1.0).contains(&c));
}

#[test]
fn two_runs_one_or_two_threads_and_a_reused_store_give_the_same_bytes() {
    let world = World::new();
    world.ok(&["--threads", "1"]);
    let first = world.results("out");
    world.ok(&["--threads", "2", "--set", "out=second", "--set", "store=second-store"]);
    assert_same(&first, &world.results("second"), "two threads");
    world.ok(&["--set", "out=third"]);
    assert_same(&first, &world.results("third"), "from the store");
    let timings = fs::read_to_string(world.path("third/timings.json")).unwrap();
    assert!(!timings.contains("\"reused\": false"), "everything is reused:\n{timings}");
}

#[test]
fn every_part_can_be_another_plugin_without_a_rebuild() {
    let world = World::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = |name: &str| root.join(name).display().to_string();
    let baseline = {
        world.ok(&[]);
        world.results("out")
    };
    for (part, source) in
        [("judge", "plugins/implicit-reward"), ("ranker", "plugins/best-worst"), ("regularizer", "plugins/cream")]
    {
        for artifact in ["native", "component"] {
            let sets = [format!("{part}.plugin={}", folder(source)), format!("{part}.artifact={artifact}")];
            world.ok(&["--set", &sets[0], "--set", &sets[1], "--set", "out=other", "--set", "rounds.count=1"]);
            let other = world.results("other");
            assert!(
                other["M2/model.safetensors"] == baseline["M2/model.safetensors"],
                "{part} as {artifact} gives other bits"
            );
        }
    }
    // Another regularizer and another judge give another model.
    for sets in
        [["regularizer.plugin=builtin:none", "regularizer.params={}"], ["judge.params.score=log-ratio", "seed=3"]]
    {
        world.ok(&["--set", sets[0], "--set", sets[1], "--set", "out=another", "--set", "rounds.count=1"]);
        let another = world.results("another");
        assert!(another["M2/model.safetensors"] != baseline["M2/model.safetensors"], "{} changes nothing", sets[0]);
    }
}

#[test]
fn the_rubric_judge_asks_the_model_and_abstains_where_it_cannot_read_an_answer() {
    let world = World::new();
    // The small model writes no score, so every response is an abstention and every group is dropped.
    let output = world.run(&[
        "--set",
        "judge.plugin=builtin:rubric",
        "--set",
        "judge.params={k=1,max-new-tokens=8}",
        "--set",
        "eval.limit=4",
    ]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{errors}");
    for part in ["round 1 has no pair to train on", "the ranker dropped every group", "help:"] {
        assert!(errors.contains(part), "no '{part}' in\n{errors}");
    }
}

#[test]
#[cfg(unix)]
fn working_folders_go_unless_somebody_uses_them() {
    let world = World::new();
    let arguments = ["--set", "rounds.count=1", "--set", "train.save-steps=1", "--set", "sft.save-steps=1"];
    world.ok(&arguments);
    let results = world.results("out");
    let working = world.path("store/working");
    assert_eq!(fs::read_dir(&working).unwrap().count(), 0, "all is done");

    let trained: Vec<_> = fs::read_dir(world.path("store/train")).unwrap().collect();
    let [trained] = trained.as_slice() else { panic!("one artifact of training: {trained:?}") };
    let name = trained.as_ref().unwrap().file_name().into_string().unwrap();
    let theirs = working.join(format!("train-{name}"));
    let folder = |name: &str, days: u64| {
        let folder = working.join(name);
        fs::create_dir_all(folder.join("checkpoint-1")).unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
        for path in [folder.join("checkpoint-1"), folder.clone()] {
            fs::File::open(path).unwrap().set_modified(then).unwrap();
        }
        folder
    };
    let (old, recent) = (folder("train-old", 8), folder("train-recent", 6));
    // Another program makes the same model at the same time.
    folder(theirs.file_name().unwrap().to_str().unwrap(), 8);
    let lock = fs::File::create(theirs.join(".lock")).unwrap();
    lock.lock().unwrap();
    fs::remove_dir_all(world.path("store/train")).unwrap();
    world.ok(&arguments);
    assert!(theirs.join("checkpoint-1").is_dir(), "another program's folder was removed");
    assert!(!old.exists(), "nobody asks for it any more");
    assert!(recent.join("checkpoint-1").is_dir(), "the same command may go on from it");
    assert_same(&results, &world.results("out"), "without checkpoints");
    drop(lock);
    world.ok(&arguments);
    assert!(!theirs.exists(), "its artifact is made, and nobody has it");
}

#[test]
fn what_is_published_is_whole_and_written_once() {
    let world = World::new();
    let template = fs::read_to_string(world.path("model/chat_template.jinja")).unwrap();
    fs::create_dir(world.path("model/additional_chat_templates")).unwrap();
    world.write("model/additional_chat_templates/other.jinja", &(template + "{# other #}"));
    fs::create_dir_all(world.path("out/M1")).unwrap();
    world.write("out/M1/chat_template.jinja", "of an earlier run");
    let arguments = ["--set", "rounds.count=1"];
    world.ok(&arguments);
    let files = |out: &str| {
        let mut files = world.results(out);
        files.retain(|name, _| name.starts_with('M'));
        files
    };
    let first = files("out");
    for model in ["M1", "M2"] {
        for name in ["additional_chat_templates/other.jinja", "chat_template.jinja"] {
            let original = fs::read(world.path("model").join(name)).unwrap();
            assert!(first[&format!("{model}/{name}")] == original, "{model}/{name}");
        }
    }
    // Same bytes stay; one bit, or the end, that differs does not.
    let (kept, flipped, cut) = ("out/M1/model.safetensors", "out/M2/model.safetensors", "out/M2/tokenizer.json");
    let changed = |name: &str| fs::metadata(world.path(name)).unwrap().modified().unwrap();
    let before = changed(kept);
    let mut bytes = fs::read(world.path(flipped)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(world.path(flipped), bytes).unwrap();
    let bytes = fs::read(world.path(cut)).unwrap();
    fs::write(world.path(cut), &bytes[..bytes.len() / 2]).unwrap();
    world.ok(&arguments);
    assert_eq!(changed(kept), before, "the same bytes were written again");
    assert_same(&first, &files("out"), "after damage");
}
