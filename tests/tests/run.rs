//! Whole runs through the binary: the quickstart's model on a small part of its data.

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
fn a_killed_run_continues_to_the_same_bytes() {
    let world = World::new();
    world.ok(&["--set", "out=whole", "--set", "store=whole-store"]);
    let whole = world.results("whole");
    // Kill after a growing time, each time continuing from what is there, until a call survives.
    let mut kills = 0;
    for milliseconds in (20..).step_by(60) {
        let mut child = world.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0, "no call was killed");
    assert_same(&whole, &world.results("out"), "after kills");
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
fn a_failing_judge_stops_the_run_or_costs_only_the_groups_at_fault() {
    let world = World::new();
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile/judge");
    let plugin = format!("judge.plugin={}", hostile.display());
    let run = |policy: &str| {
        let (policy, out) = (format!("judge.on-failure={policy}"), format!("out={policy}"));
        let sets = [plugin.as_str(), "judge.artifact=component", "judge.params={mode=\"sevens\"}", &policy, &out];
        world.run(&sets.iter().flat_map(|set| ["--set", set]).collect::<Vec<_>>())
    };
    let stopped = run("stop");
    let errors = String::from_utf8_lossy(&stopped.stderr);
    assert_eq!(stopped.status.code(), Some(4), "{errors}");
    for part in ["plugin 'hostile-judge'", "no sevens, please: p-0007", "judging round 1 as current"] {
        assert!(errors.contains(part), "no '{part}' in\n{errors}");
    }
    for (policy, abstentions) in [("abstain", 8), ("skip", 8)] {
        let output = run(policy);
        assert!(output.status.success(), "{policy}: {}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(world.path(policy).join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        for round in summary["rounds"].as_array().unwrap() {
            // Of twenty prompts a round two ids end in 7; each has four responses.
            let judged = &round["judging"]["current"];
            assert_eq!(judged["failed_groups"], 2, "{policy}: {judged}");
            assert_eq!(judged["abstentions"], abstentions, "{policy}: {judged}");
            let dropped = round["ranking"]["dropped"].as_object().unwrap();
            let failed = dropped.iter().filter(|(why, _)| why.contains("judge failed")).count();
            assert_eq!(failed > 0, policy == "skip", "{policy}: {dropped:?}");
        }
    }
}

#[test]
fn bad_input_is_named_and_nothing_is_half_written() {
    /// Name, what is broken, arguments, exit code, parts of the message.
    type Case = (&'static str, fn(&World), &'static [&'static str], i32, &'static [&'static str]);
    let cases: [Case; 16] = [
        ("no prompts file", |w| fs::remove_file(w.path("prompts.jsonl")).unwrap(), &[], 3, &["prompts.jsonl"]),
        ("empty prompts", |w| w.write("prompts.jsonl", ""), &[], 3, &["prompts.jsonl", "no rows"]),
        (
            "broken line",
            |w| w.write("prompts.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \n"),
            &[],
            3,
            &["prompts.jsonl:2"],
        ),
        (
            "prompt longer than the context",
            |w| w.write("prompts.jsonl", &format!("{{\"id\": \"long\", \"prompt\": \"{}\"}}\n", "a".repeat(400))),
            &[],
            3,
            &["prompts.jsonl", "context is 256", "'long'"],
        ),
        ("too few prompts", |_| {}, &["--set", "rounds.count=3"], 2, &["run.toml", "60 prompts", "has 40"]),
        (
            "truncated checkpoint",
            |w| {
                let file = w.path("model/model.safetensors");
                let bytes = fs::read(&file).unwrap();
                fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
            },
            &[],
            3,
            &["model.safetensors"],
        ),
        (
            "raising template",
            |w| w.write("model/chat_template.jinja", "{{ raise_exception('no such role') }}"),
            &[],
            3,
            &["no such role"],
        ),
        ("training within the warm-up", |_| {}, &["--set", "sft.batch-size=64"], 5, &["warm-up", "lower batch-size"]),
        (
            "no end token",
            |w| {
                w.write(
                    "model/chat_template.jinja",
                    "{{ messages[0].content }}{% if messages | length > 1 %}{{ messages[1].content }}{% endif %}",
                )
            },
            &[],
            3,
            &["no row's response ends"],
        ),
        (
            "another tokenizer",
            |w| {
                fs::create_dir(w.path("other")).unwrap();
                for entry in fs::read_dir(w.path("model")).unwrap() {
                    let file = entry.unwrap().path();
                    fs::copy(&file, w.path("other").join(file.file_name().unwrap())).unwrap();
                }
                let tokenizer = fs::read_to_string(w.path("other/tokenizer.json")).unwrap();
                w.write("other/tokenizer.json", &(tokenizer + " "));
            },
            &["--set", "model.scoring-reference=other"],
            3,
            &["another tokenizer"],
        ),
        (
            "a wrong parameter from the command line",
            |_| {},
            &["--set", "judge.params.scoer=1"],
            2,
            &["--set judge.params.scoer=1: ", "no parameter 'scoer'", "did you mean 'score'?"],
        ),
        ("bad pattern", |_| {}, &["--set", "eval.extractor=regex", "--set", "eval.pattern=("], 2, &["eval.pattern"]),
        (
            "an answer without a number",
            |w| {
                let row = |answer: &str| format!("{{\"prompt\": \"a\", \"answer\": \"{answer}\"}}\n");
                w.write("eval.jsonl", &(row("7") + &row("seven")));
            },
            &["--set", "eval.extractor=number"],
            3,
            &["eval.jsonl:2: the answer \"seven\"", "has no number", "another extractor"],
        ),
        (
            "an answer that is no choice",
            |w| w.write("eval.jsonl", "{\"prompt\": \"a\", \"answer\": \"C\", \"choices\": [\"x\", \"y\"]}\n"),
            &["--set", "eval.extractor=choice"],
            3,
            &["eval.jsonl:1: the answer \"C\"", "is none of the row's choices"],
        ),
        ("cuda", |_| {}, &["--set", "device=cuda:0"], 2, &["cuda:0", "not available"]),
        ("output is a file", |w| w.write("blocked", "x"), &["--set", "store=blocked/store"], 6, &["blocked"]),
    ];
    for (name, damage, arguments, code, parts) in cases {
        let world = World::new();
        damage(&world);
        let output = world.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}:\n{errors}");
        for part in parts {
            assert!(errors.contains(part), "{name}: no '{part}' in\n{errors}");
        }
        assert!(!world.path("out").exists(), "{name}: a run folder was written");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_the_same_command_continues_later() {
    // A file size limit stands in for a full disk: writes beyond it fail in the middle of a file.
    let world = World::new();
    let limited = format!(
        "trap '' XFSZ; ulimit -f 1000; exec '{}' run '{}'",
        env!("CARGO_BIN_EXE_creamery-under-test"),
        world.path("run.toml").display()
    );
    let output = Command::new("bash").args(["-c", &limited]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("cannot"), "{errors}");
    world.ok(&[]);
    let continued = world.results("out");
    world.ok(&["--set", "out=whole", "--set", "store=whole-store"]);
    assert_same(&continued, &world.results("whole"), "after a full disk");
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

/// With `[lora]` every model is an adapter on M0, which any program can load.
#[test]
fn a_run_with_adapters() {
    let world = World::new();
    let lora =
        ["--set", "lora.r=4", "--set", "lora.dropout=0.1", "--set", "lora.target-modules=[\"q_proj\", \"down_proj\"]"];
    let with = |more: &[&str]| world.ok(&[&lora[..], &["--set", "train.learning-rate=1e-3"], more].concat());
    // What an earlier run of all weights left must not stay beside the adapters.
    world.ok(&["--set", "rounds.count=1"]);
    assert!(world.results("out").contains_key("M1/model.safetensors"));
    with(&["--threads", "1"]);
    let results = world.results("out");
    let base = Decoder::load(world.path("model"), &Device::Cpu).unwrap();
    let mut logits = vec![base.logits(&[5, 9, 30]).unwrap()];
    for model in ["M1", "M2", "M3"] {
        for file in ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"] {
            assert!(results.contains_key(&format!("{model}/{file}")), "no {model}/{file}");
        }
        for file in ["config.json", "model.safetensors"] {
            assert!(!results.contains_key(&format!("{model}/{file}")), "{model}/{file} is there");
        }
        let folder = world.path("out").join(model);
        assert_eq!(Path::new(&adapter_base(&folder).unwrap()), world.path("model"));
        let adapted = base.load_adapter(&folder).unwrap();
        assert_eq!(adapted.parameters().len(), 2 * 2 * base.config.num_layers);
        logits.push(adapted.logits(&[5, 9, 30]).unwrap());
    }
    for (i, one) in logits.iter().enumerate() {
        assert!(logits[..i].iter().all(|other| other != one), "M{i} is an earlier model");
    }
    let metrics = String::from_utf8(results["metrics.jsonl"].clone()).unwrap();
    let rows: Vec<serde_json::Value> = metrics.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for round in [1, 2] {
        let first = rows.iter().find(|r| r["stage"] == "train" && r["round"] == round).expect("a step");
        // The check without dropout has passed; with it the first loss of later rounds is near ln 2.
        assert!((first["loss"].as_f64().unwrap() - std::f64::consts::LN_2).abs() < 0.2, "{first}");
    }

    // Another thread count and store, and a resumed run: the same bytes.
    with(&["--threads", "2", "--set", "out=second", "--set", "store=second-store"]);
    assert_same(&results, &world.results("second"), "two threads");
    with(&["--set", "out=third"]);
    assert_same(&results, &world.results("third"), "from the store");
    let timings = fs::read_to_string(world.path("third/timings.json")).unwrap();
    assert!(!timings.contains("\"reused\": false"), "everything is reused:\n{timings}");

    // The published adapter is a scoring reference like any model.
    with(&["--set", "model.scoring-reference=out/M1", "--set", "judge.params.score=log-ratio", "--set", "out=fourth"]);
    // Merged, it is a model.
    let merged = world.path("merged");
    let ran = Command::new(env!("CARGO_BIN_EXE_creamery-under-test"))
        .args(["merge", "--model"])
        .arg(world.path("model"))
        .arg("--adapter")
        .arg(world.path("out/M3"))
        .arg("--out")
        .arg(&merged)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let whole = Decoder::load(&merged, &Device::Cpu).unwrap().logits(&[5, 9, 30]).unwrap();
    let largest = logits[3].iter().fold(0f32, |a, b| a.max(b.abs()));
    assert!(whole.iter().zip(&logits[3]).all(|(a, b)| (a - b).abs() <= 1e-5 * largest));
    for entry in fs::read_dir(world.path("model")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(merged.join(&name).is_file(), "no {name:?} in the merged folder");
    }
}

#[test]
fn adapter_settings_that_do_not_fit_stop_the_run_before_it_starts() {
    let world = World::new();
    let cases: [(&[&str], &[&str], i32); 3] = [
        (&["lora.target-modules=[\"q_prj\"]"], &["target module 'q_prj'", "[lora]", "q_proj, k_proj"], 2),
        (&["lora.r=4000"], &["rank 4000 is more than", "[lora]"], 2),
        (&["model.path=adapter"], &["`model.path` is an adapter", "creamery merge"], 3),
    ];
    let base = Decoder::load(world.path("model"), &Device::Cpu).unwrap();
    let adapter = base.add_adapter(&LoraConfig { r: 2, ..LoraConfig::default() }, 1).unwrap();
    adapter.save_adapter(world.path("adapter"), world.path("model").to_str().unwrap()).unwrap();
    for (sets, parts, code) in cases {
        let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let output = world.run(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{sets:?}: {errors}");
        for part in parts {
            assert!(errors.contains(part), "{sets:?}: no {part:?} in {errors}");
        }
        assert!(!world.path("out").exists());
    }
}

#[test]
fn rows_over_the_context_are_dropped_and_counted() {
    let world = World::new();
    let short = ["--set", "rounds.count=1", "--set", "eval.limit=2"];
    world.ok(&short);
    let weights = || fs::read(world.path("out/M1/model.safetensors")).unwrap();
    let without = weights();
    let long = format!("{{\"id\":\"long\",\"prompt\":\"add 1 2\",\"completion\":\"{}\"}}\n", "9".repeat(1000));
    let rows = fs::read_to_string(world.path("sft.jsonl")).unwrap();
    world.write("sft.jsonl", &format!("{rows}{long}"));
    let output = world.run(&short);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 of 33 rows of data.sft"), "{said}");
    assert!(said.contains("are dropped: 'long'"), "{said}");
    assert!(without == weights(), "a row that is dropped changes nothing");

    world.write("sft.jsonl", &long);
    let output = world.run(&short);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("1 of 1 rows of data.sft"), "{said}");
}
