//! `creamery train` through the binary: what it makes, what it refuses, and that a kill costs no byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use creamery::data::ChatFormat;
use creamery_plugin::Message;
use creamery_tests::{Ran, creamery, run};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{load_from, tokens};

/// A folder with a small model, its tokenizer, and data.
pub(super) struct World(TempDir);

impl World {
    pub(super) fn new() -> World {
        let world = World(tempfile::tempdir().unwrap());
        fs::create_dir(world.path("model")).unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        for (folder, files) in [
            ("models/llama_tied", ["config.json", "generation_config.json", "model.safetensors"]),
            ("tokenizer", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]),
        ] {
            for file in files {
                fs::copy(fixtures.join(folder).join(file), world.path("model").join(file)).unwrap();
            }
        }
        let lines = |rows: Vec<Value>| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
        world.write("pairs.jsonl", &lines((0..12).map(pair).collect()));
        world.write("sft.jsonl", &lines((0..12).map(|i| demonstration(i, 4)).collect()));
        world
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn command(&self, method: &str, data: &str, out: &str, arguments: &[&str]) -> Command {
        let mut command = creamery!("train", method, "--model", self.path("model"), "--data", self.path(data));
        command.arg("--out").arg(self.path(out)).args(["--set", "batch-size=4", "--set", "learning-rate=1e-3"]);
        command.args(arguments);
        command
    }

    pub(super) fn train(&self, method: &str, data: &str, out: &str, arguments: &[&str]) -> Ran {
        run(&mut self.command(method, data, out, arguments))
    }

    /// Trains and expects success; gives what went to standard error.
    pub(super) fn ok(&self, method: &str, data: &str, out: &str, arguments: &[&str]) -> String {
        let ran = self.train(method, data, out, arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
        assert!(!self.path(&format!("{out}.partial")).exists());
        ran.stderr
    }

    pub(super) fn json(&self, file: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(file)).unwrap()).unwrap()
    }

    /// The last line of the metrics.
    pub(super) fn last(&self, out: &str) -> Value {
        let text = fs::read_to_string(self.path(out).join("metrics.jsonl")).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }
}

pub(super) fn pair(i: u32) -> Value {
    json!({
        "id": format!("pair-{i}"),
        "prompt": [{"role": "user", "content": format!("Say {i}!")}],
        "chosen": [{"role": "assistant", "content": format!("It is {i}.")}],
        "rejected": [{"role": "assistant", "content": "No, never."}],
        "consistency": 0.5 + 0.1 * f64::from(i % 5),
    })
}

pub(super) fn demonstration(i: u32, length: usize) -> Value {
    json!({ "prompt_ids": tokens(i, 3), "completion_ids": tokens(i + 50, length) })
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The files of a result, without the event file, which holds wall times.
fn assert_same(a: &Path, b: &Path) {
    assert_eq!(names(a), names(b));
    for name in names(a).into_iter().filter(|name| a.join(name).is_file()) {
        assert!(fs::read(a.join(&name)).unwrap() == fs::read(b.join(&name)).unwrap(), "{name} differs");
    }
}

#[test]
fn a_result_is_a_folder_that_loads_and_is_made_once() {
    let world = World::new();
    let said = world.ok("dpo", "pairs.jsonl", "out", &["--loss", "cream", "--save-steps", "2"]);
    assert!(said.contains("3 steps, loss 0.6931 to"), "{said}");
    assert_eq!(
        names(&world.path("out")),
        [
            "chat_template.jinja",
            "checkpoint-2",
            "config.json",
            "generation_config.json",
            "metrics.jsonl",
            "model.safetensors",
            "tensorboard",
            "tokenizer.json",
            "tokenizer_config.json",
            "train.json"
        ]
    );
    let trained = load_from(&world.path("out"));
    assert!(crate::bits(&trained) != crate::bits(&load_from(&world.path("model"))));
    ChatFormat::load(&world.path("out")).unwrap();
    // A checkpoint is a model as well.
    load_from(&world.path("out/checkpoint-2"));
    let record = world.json("out/train.json");
    assert_eq!(record["rows"], json!({ "read": 12, "used": 12, "max-length": 256, "too-long": [], "cut-prompts": 0 }));
    assert_eq!((&record["settings"]["loss"], &record["steps"]), (&json!("cream"), &json!(3)));
    assert_eq!(world.last("out")["loss"], record["last"]["loss"]);
    assert_eq!(names(&world.path("out/tensorboard")).len(), 1);

    let again = world.ok("dpo", "pairs.jsonl", "out", &["--loss", "cream", "--save-steps", "1"]);
    assert!(again.contains("was there already"), "{again}");
    let other = world.train("dpo", "pairs.jsonl", "out", &["--loss", "ipo"]);
    assert!(other.code == Some(2) && other.stderr.contains("result of another training"), "{}", other.stderr);
}

#[test]
fn rows_train_in_every_form() {
    let world = World::new();
    world.ok("dpo", "pairs.jsonl", "chat", &[]);
    // The same tokens as ids give the same bytes: nothing is tokenized that need not be.
    let chat = ChatFormat::load(&world.path("model")).unwrap();
    let ids = |i: u32| {
        let row = pair(i);
        let message =
            |role: &str, content: &Value| Message { role: role.into(), content: content.as_str().unwrap().into() };
        let prompt = vec![message("user", &row["prompt"][0]["content"])];
        let start = chat.encode(&prompt, true).unwrap();
        let whole = |name: &str| {
            let answer = message("assistant", &row[name][0]["content"]);
            chat.encode(&[&prompt[..], &[answer]].concat(), false).unwrap()[start.len()..].to_vec()
        };
        json!({ "id": row["id"], "prompt_ids": start, "chosen_ids": whole("chosen"), "rejected_ids": whole("rejected") })
    };
    let rows: String = (0..12).map(|i| format!("{}\n", ids(i))).collect();
    world.write("ids.jsonl", &rows);
    world.ok("dpo", "ids.jsonl", "ids", &[]);
    let read = |file: &str| fs::read(world.path(file)).unwrap();
    assert!(read("chat/model.safetensors") == read("ids/model.safetensors"));

    // Whole conversations without a prompt; the wrong text beside ids is not looked at.
    let conversation = |i: u32| {
        let row = pair(i);
        let with = |name: &str| json!([row["prompt"][0], row[name][0]]);
        json!({ "chosen": with("chosen"), "rejected": with("rejected") })
    };
    world.write("whole.jsonl", &(0..12).map(|i| format!("{}\n", conversation(i))).collect::<String>());
    world.ok("dpo", "whole.jsonl", "whole", &[]);
    assert!(read("chat/model.safetensors") == read("whole/model.safetensors"));

    // Plain text gets an end token, once.
    let text = |chosen: &str| json!({ "prompt": "One two", "chosen": chosen, "rejected": " four" });
    let eos = chat.tokenizer().special("eos_token").unwrap();
    for (name, chosen) in [("bare", " three".to_owned()), ("ended", format!(" three{eos}"))] {
        world.write("text.jsonl", &format!("{}\n", text(&chosen)));
        world.ok("dpo", "text.jsonl", name, &["--set", "warmup-ratio=0"]);
        let length = |text: &str| chat.tokenizer().encode_with_special(&format!("One two{text}{eos}")).unwrap().len();
        assert_eq!(world.last(name)["num_tokens"], json!((length(" three") + length(" four")) as f64));
    }
    assert!(read("bare/model.safetensors") == read("ended/model.safetensors"));
}

#[test]
fn every_loss_trains_and_sft_does() {
    let world = World::new();
    let losses =
        ["dpo", "sigmoid", "cream", "ipo", "ipo-seq", "hinge", "robust", "simpo", "signed-weight", "orpo", "sppo-hard"];
    for loss in losses {
        world.ok("dpo", "pairs.jsonl", loss, &["--loss", loss, "--quiet"]);
        let last = world.last(loss);
        assert_eq!(last["step"], 3, "{loss}");
        assert!(last["grad_norm"].as_f64().unwrap() > 0.0, "{loss}");
    }
    // The names of TRL and ours are one loss; others are not.
    let weights = |out: &str| fs::read(world.path(out).join("model.safetensors")).unwrap();
    assert!(weights("dpo") == weights("sigmoid") && weights("dpo") != weights("cream"));
    // Another reference: its margins do not start at 0.
    world.ok("dpo", "pairs.jsonl", "against", &["--reference", world.path("cream").to_str().unwrap()]);
    let first = fs::read_to_string(world.path("against/metrics.jsonl")).unwrap();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_ne!(first["rewards/margins"], json!(0.0));
    world.ok("sft", "sft.jsonl", "sft", &["--set", "epochs=5"]);
    let metrics = fs::read_to_string(world.path("sft/metrics.jsonl")).unwrap();
    let losses: Vec<f64> =
        metrics.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["loss"].as_f64().unwrap()).collect();
    assert!(losses.len() == 15 && losses[14] < losses[0], "{losses:?}");
}

#[test]
fn an_adapter_is_trained_and_trained_on() {
    let world = World::new();
    let base = fs::read(world.path("model/model.safetensors")).unwrap();
    world.ok("dpo", "pairs.jsonl", "first", &["--lora-r", "2", "--lora-alpha", "8"]);
    let files = names(&world.path("first"));
    assert!(files.contains(&"adapter_config.json".to_owned()) && !files.contains(&"model.safetensors".to_owned()));
    let settings = world.json("first/adapter_config.json");
    assert_eq!((&settings["r"], settings["lora_alpha"].as_f64()), (&json!(2), Some(8.0)));
    assert!(fs::read(world.path("model/model.safetensors")).unwrap() == base, "the base was changed");

    let first = world.path("first").to_str().unwrap().to_owned();
    world.ok("dpo", "pairs.jsonl", "second", &["--adapter", &first]);
    let weights = |out: &str| fs::read(world.path(out).join("adapter_model.safetensors")).unwrap();
    assert!(weights("first") != weights("second"));
    let refused = world.train("dpo", "pairs.jsonl", "third", &["--adapter", &first, "--lora-r", "4"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("has an adapter already"), "{}", refused.stderr);
    let refused = world.train("dpo", "pairs.jsonl", "third", &["--set", "lora.target-modules=[\"x_proj\"]"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("x_proj"), "{}", refused.stderr);
}

#[test]
fn rows_that_are_too_long_are_dropped_and_counted() {
    let world = World::new();
    let rows = [4, 40, 5, 41].iter().zip(0..).map(|(length, i)| format!("{}\n", demonstration(i, *length)));
    world.write("long.jsonl", &rows.collect::<String>());
    let said = world.ok("sft", "long.jsonl", "out", &["--set", "max-length=20"]);
    assert!(
        said.contains("2 of 4 rows have more than 20 tokens and are dropped: 'row-000001', 'row-000003'"),
        "{said}"
    );
    let rows = &world.json("out/train.json")["rows"];
    assert_eq!(rows["too-long"], json!(["row-000001", "row-000003"]));
    assert_eq!((&rows["read"], &rows["used"]), (&json!(4), &json!(2)));
}

/// Waits until `done` says so, or the program ends.
pub(super) fn wait(child: &mut std::process::Child, done: impl Fn() -> bool) -> bool {
    loop {
        if done() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_killed_training_resumes_to_the_same_bytes() {
    let world = World::new();
    let arguments = ["--save-steps", "2", "--save-total-limit", "2", "--set", "epochs=40", "--set", "lora.r=2"];
    for (method, data, arguments) in [
        ("dpo", "pairs.jsonl", &arguments[..6]),
        ("sft", "sft.jsonl", &arguments[..6]),
        ("dpo", "pairs.jsonl", &arguments),
    ] {
        let whole = format!("whole-{method}-{}", arguments.len());
        world.ok(method, data, &whole, arguments);
        let out = format!("killed-{method}-{}", arguments.len());
        let (partial, mut kills) = (world.path(&format!("{out}.partial")), 0);
        for at in [2, 30, 64] {
            let resume = if kills > 0 { &["--resume"][..] } else { &[] };
            let mut command = world.command(method, data, &out, &[arguments, resume].concat());
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let there = |n: usize| partial.join(format!("checkpoint-{n}")).exists();
            let reached = wait(&mut child, || there(at) || there(at + 2));
            child.kill().unwrap();
            child.wait().unwrap();
            if !reached || !partial.exists() {
                break;
            }
            kills += 1;
            assert!(!world.path(&out).exists(), "an output before its end");
            let refused = world.train(method, data, &out, arguments);
            assert!(refused.code == Some(2) && refused.stderr.contains("--resume"), "{}", refused.stderr);
            let other = [arguments, &["--resume", "--set", "weight-decay=0.5"]].concat();
            let refused = world.train(method, data, &out, &other);
            assert_eq!(refused.code, Some(2), "{}", refused.stderr);
            for part in ["belongs to another training", "weight-decay' is 0.01 there and 0.5 now"] {
                assert!(refused.stderr.contains(part), "{}", refused.stderr);
            }
            assert!(!refused.stderr.contains("the same command goes on"), "{}", refused.stderr);
        }
        assert!(kills > 0, "{method}: never killed in time");
        world.ok(method, data, &out, &[arguments, &["--resume"]].concat());
        assert_same(&world.path(&whole), &world.path(&out));
    }
}

/// As in the round's tests, but killed in the middle of its training stages.
#[test]
fn a_killed_run_goes_on_from_the_middle_of_its_training() {
    let world = tempfile::tempdir().unwrap();
    let path = |name: &str| world.path().join(name);
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
    for (name, rows) in [("prompts.jsonl", 16), ("sft.jsonl", 48)] {
        let text = fs::read_to_string(quickstart.join(name)).unwrap();
        fs::write(path(name), text.lines().take(rows).collect::<Vec<_>>().join("\n") + "\n").unwrap();
    }
    let config = format!(
        "[model]\npath = {:?}\n[data]\nprompts = \"prompts.jsonl\"\nsft = \"sft.jsonl\"\n\
         [sft]\nepochs = 6\nbatch-size = 8\nsave-steps = 1\n[rounds]\ncount = 1\n\
         [sample]\nn = 3\nmax-new-tokens = 6\ntemperature = 1.2\n\
         [train]\nepochs = 8\nbatch-size = 2\nlearning-rate = 1e-5\nsave-steps = 1\n",
        quickstart.join("model")
    );
    fs::write(path("run.toml"), config).unwrap();
    let command = |out: &str, store: &str, steps: &str| {
        let mut command = creamery!("run", path("run.toml"), "--quiet");
        let sets = [
            format!("out={out}"),
            format!("store={store}"),
            format!("sft.save-steps={steps}"),
            format!("train.save-steps={steps}"),
        ];
        sets.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        command
    };
    let ran = run(&mut command("whole", "whole-store", "0"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!path("whole-store/working").exists());

    let working = |stage: &str, step: usize| {
        let entries = fs::read_dir(path("store/working")).into_iter().flatten().flatten();
        entries.into_iter().any(|e| {
            e.file_name().to_string_lossy().starts_with(stage) && e.path().join(format!("checkpoint-{step}")).exists()
        })
    };
    for (stage, step) in [("sft-", 3), ("sft-", 20), ("train-", 2)] {
        let mut child = command("out", "store", "1").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let reached = wait(&mut child, || working(stage, step));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached, "never killed at {stage}{step}");
    }
    let ran = run(&mut command("out", "store", "1"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(names(&path("store/working")), [""; 0], "what was kept is of no use any more");
    for model in ["M1", "M2"] {
        let weights = |out: &str| fs::read(path(out).join(model).join("model.safetensors"));
        assert!(weights("whole").unwrap() == weights("out").unwrap(), "{model} differs");
    }
    // No store key depends on when checkpoints are made.
    assert_eq!(names(&path("store/train")), names(&path("whole-store/train")));
}

#[test]
fn a_plugins_objective_takes_the_place_of_a_loss() {
    let world = World::new();
    world.ok("dpo", "pairs.jsonl", "loss", &["--loss", "cream"]);
    world.ok("dpo", "pairs.jsonl", "plugin", &["--objective", "builtin:cream"]);
    let weights = |out: &str| fs::read(world.path(out).join("model.safetensors")).unwrap();
    assert!(weights("loss") == weights("plugin"), "the same objective gives the same bits");
    let record = world.json("plugin/train.json");
    assert_eq!(record["identity"]["objective"]["name"], "cream");
    assert_eq!(record["settings"].get("loss"), None, "{}", record["settings"]);
    // Parameters decide the result, and are checked.
    let again = ["--objective", "builtin:cream", "--objective-param", "form=sample"];
    let other = world.train("dpo", "pairs.jsonl", "plugin", &again);
    assert!(other.code == Some(2) && other.stderr.contains("result of another training"), "{}", other.stderr);
    let row = |columns: Value, consistency: bool| {
        let mut row = pair(1);
        row["columns"] = columns;
        if !consistency {
            row.as_object_mut().unwrap().remove("consistency");
        }
        format!("{row}\n")
    };
    world.write("plain.jsonl", &row(Value::Null, false));
    let second = row(json!({"a": 1}), true).replace("pair-1", "pair-2");
    world.write("mixed.jsonl", &(row(json!({"a": 1, "b": 2}), true) + &second));
    world.write("text.jsonl", &row(json!({"a": "x"}), true));
    world.write("list.jsonl", &row(json!([1]), true));
    let objective = ["--objective", "builtin:cream"];
    let cases: [(&str, &[&str], i32, &[&str]); 9] = [
        ("pairs.jsonl", &["--loss", "cream"], 2, &["`loss` has no meaning where a plugin has the objective"]),
        ("pairs.jsonl", &["--label-smoothing", "0.1"], 2, &["`label-smoothing` has no meaning"]),
        ("pairs.jsonl", &["--set", "gamma=1"], 2, &["`gamma` has no meaning"]),
        ("pairs.jsonl", &["--objective-param", "form=x"], 2, &["form"]),
        ("pairs.jsonl", &["--objective", "builtin:best-worst"], 4, &["best-worst", "regularizer"]),
        ("plain.jsonl", &[], 3, &["plain.jsonl:1: ", "'consistency' is missing"]),
        ("mixed.jsonl", &[], 3, &["mixed.jsonl:2: ", "the columns are a; line 1 has a, b"]),
        ("text.jsonl", &[], 3, &["text.jsonl:1: ", "'a' of the field 'columns' is \"x\", expected a number"]),
        ("list.jsonl", &[], 3, &["list.jsonl:1: ", "'columns' must be an object of numbers by name, found a list"]),
    ];
    for (data, arguments, code, parts) in cases {
        let with = if arguments.first() == Some(&"--objective") { &objective[..0] } else { &objective[..] };
        let ran = world.train("dpo", data, "wrong", &[with, arguments].concat());
        assert_eq!(ran.code, Some(code), "{data} {arguments:?}: {}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "{data} {arguments:?}: no '{part}' in\n{}", ran.stderr);
        }
        assert!(!world.path("wrong").exists());
    }
    let alone = world.train("dpo", "pairs.jsonl", "wrong", &["--objective-param", "form=sample"]);
    assert!(alone.code == Some(2) && alone.stderr.contains("--objective"), "{}", alone.stderr);
}
