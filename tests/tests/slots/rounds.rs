//! Whole runs whose judge asks a slot of its own: where the scores come from, and that nothing is asked twice.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use creamery::data::{ChatFormat, Message};
use creamery::round::{SampledGroup, ScoredGroup};
use creamery::slots::frozen::Frozen;
use creamery_tests::{Ran, creamery, fixture, run};
use serde_json::Value;
use tempfile::TempDir;

use crate::{quickstart_model, recipe, with_tokenizer};

const CONFIG: &str = r#"
name = "slots"
seed = 5
device = "cpu"
out = "out"
store = "store"
allow-native = true
[data]
prompts = "prompts.jsonl"
[rounds]
count = 1
[sample]
n = 4
temperature = 1.0
top-p = 1.0
max-new-tokens = 8
[[viewpoints]]
name = "current"
[ranker]
plugin = "builtin:best-worst"
[regularizer]
plugin = "builtin:none"
[train]
learning-rate = 1e-4
batch-size = 2
warmup-ratio = 0
"#;

/// Asks a slot for a distribution over two labels, one of which begins the other, and a third.
const EXPECTED_SCORE: &str = r#"
[judge]
plugin = "builtin:expected-score"
[judge.params]
slot = "grader"
prompt = "Rate {{ response }} for {{ prompt }}"
labels = ["1", "10", "2"]
"#;

/// Asks a slot for a text with a score.
#[cfg(unix)]
const RUBRIC: &str = r#"
[judge]
plugin = "builtin:rubric"
[judge.params]
slot = "grader"
prompt = "Rate {{ response }} for {{ prompt }}"
k = 1
temperature = 0.0
max-new-tokens = 8
"#;

/// A folder with a config and a few prompts.
pub struct World {
    folder: TempDir,
}

impl World {
    /// `slot` and `judge` are the rest of the config.
    pub fn new(slot: &str, judge: &str) -> World {
        let world = World { folder: tempfile::tempdir().unwrap() };
        let prompts = fs::read_to_string(quickstart_model().join("../prompts.jsonl")).unwrap();
        world.write("prompts.jsonl", &(prompts.lines().take(8).collect::<Vec<_>>().join("\n") + "\n"));
        let model = format!("[model]\npath = '{}'\n", quickstart_model().display());
        world.write("run.toml", &[CONFIG, &model, slot, judge].concat());
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn run(&self, sets: &[&str]) -> Ran {
        let mut command = creamery!("run", self.path("run.toml"), "--quiet");
        for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(proxy);
        }
        for set in sets {
            command.args(["--set", set]);
        }
        run(&mut command)
    }

    pub fn ok(&self, sets: &[&str]) -> Ran {
        let ran = self.run(sets);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran
    }

    /// Each stage's label, and whether it was found in the store.
    pub fn stages(&self, out: &str) -> Vec<(String, bool)> {
        let timings: Vec<Value> = serde_json::from_str(&self.read(&format!("{out}/timings.json"))).unwrap();
        timings.iter().map(|t| (t["label"].as_str().unwrap().to_owned(), t["reused"].as_bool().unwrap())).collect()
    }

    /// Fails unless `again` finds the first run's stages in the store, but for those whose label has one of `parts` in it.
    fn made_again(&self, sets: &[&str], parts: &[&str]) {
        self.ok(&[&["out=again"], sets].concat());
        for (label, reused) in self.stages("again") {
            assert_eq!(reused, !parts.iter().any(|part| label.contains(part)), "{label}");
        }
    }

    /// The judging prompt and the score of each response of the only round in the store.
    pub fn scores(&self) -> Vec<(String, Option<f64>)> {
        let sampled = |line: &String| serde_json::from_str::<SampledGroup>(line).unwrap();
        let scored = |line: &String| serde_json::from_str::<ScoredGroup>(line).unwrap();
        let samples: Vec<_> = self.only("sample", "samples.jsonl").iter().map(sampled).collect();
        let scores: Vec<_> = self.only("judge", "scores.jsonl").iter().map(scored).collect();
        let mut all = Vec::new();
        for group in &samples {
            let scored = scores.iter().find(|scored| scored.id == group.id).expect("a score for each group");
            assert_eq!(scored.scores.len(), group.responses.len());
            for (response, score) in group.responses.iter().zip(&scored.scores) {
                all.push((format!("Rate {} for {}", response.text, group.prompt[0].content), *score));
            }
        }
        assert_eq!(all.len(), 8 * 4);
        all
    }

    /// The rows of the only artifact of a stage.
    fn only(&self, stage: &str, file: &str) -> Vec<String> {
        let artifacts: Vec<_> = fs::read_dir(self.path("store").join(stage)).unwrap().flatten().collect();
        let [artifact] = artifacts.as_slice() else { panic!("{stage}: {} artifacts", artifacts.len()) };
        let text = fs::read_to_string(artifact.path().join(file)).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// The expected score of "1", "10" and "2" from the model's own log-probabilities.
fn expected_score(model: &mut Frozen, chat: &ChatFormat, prompt: &str) -> f64 {
    let message = Message { role: "user".into(), content: prompt.to_owned() };
    let prompt = chat.encode(&[message], true).unwrap();
    let labels = ["1", "10", "2"].map(|label| chat.tokenizer().encode(label).unwrap());
    assert!(labels[1].starts_with(&labels[0]), "a label begins another one");
    let p: Vec<f64> = labels
        .iter()
        .map(|label| {
            let logps = model.logps(&prompt, &[label]).unwrap().remove(0);
            logps.iter().map(|x| f64::from(*x)).sum::<f64>().exp()
        })
        .collect();
    let one = p[0] - p[1];
    (one + 10.0 * p[1] + 2.0 * p[2]) / (one + p[1] + p[2])
}

/// Fails unless the scores in the store are those of the model, and differ between responses.
fn assert_scores_of(world: &World, mut model: Frozen, tokenizer: &Path) {
    let chat = ChatFormat::load(tokenizer).unwrap();
    let scores = world.scores();
    for (prompt, score) in &scores {
        let (found, expected) = (score.expect("a score"), expected_score(&mut model, &chat, prompt));
        assert!((found - expected).abs() < 1e-6, "{prompt}: {found} is not {expected}");
    }
    assert!(scores.iter().any(|(_, score)| *score != scores[0].1), "all scores are the same");
}

/// A judging run with a model that is not the run's own.
#[test]
fn a_run_with_a_frozen_judge_of_another_family_has_its_scores() {
    let world = World::new("[slots.grader]\nmodel = \"phi3\"\n", EXPECTED_SCORE);
    with_tokenizer(&fixture("models/other/phi3"), &world.path("phi3"));
    world.ok(&[]);
    assert_scores_of(&world, Frozen::open(&world.path("phi3")).unwrap(), &world.path("phi3"));
    world.made_again(&[], &[]);
    // Another model: judged again, and nothing before it.
    with_tokenizer(&fixture("models/other/gemma2"), &world.path("phi3"));
    world.made_again(&[], &["judge", "rank", "regularize", "train"]);
}

#[test]
fn a_run_with_a_quantized_judge_has_its_scores() {
    let slot = format!("[slots.grader]\ngguf = \"model.gguf\"\ntokenizer = '{}'\n", quickstart_model().display());
    let world = World::new(&slot, EXPECTED_SCORE);
    let make = |stored| recipe::gguf(&fixture("models/llama_tied"), stored, &[]).unwrap();
    fs::write(world.path("model.gguf"), make(GgmlDType::Q8_0)).unwrap();
    world.ok(&[]);
    assert_scores_of(&world, Frozen::open_gguf(&world.path("model.gguf")).unwrap(), &quickstart_model());
    world.made_again(&[], &[]);
    fs::write(world.path("model.gguf"), make(GgmlDType::F16)).unwrap();
    world.made_again(&[], &["judge", "rank", "regularize", "train"]);
}

/// The model is freed before training and read again in the next round: both rounds are judged by the same.
#[test]
fn a_frozen_judge_is_there_in_every_round() {
    let world = World::new("[slots.grader]\nmodel = \"phi3\"\n", EXPECTED_SCORE);
    with_tokenizer(&fixture("models/other/phi3"), &world.path("phi3"));
    world.ok(&["rounds.count=2", "rounds.prompts-per-round=4"]);
    let judged = world.stages("out").iter().filter(|(label, _)| label.contains("judge")).count();
    assert_eq!(judged, 2);
}

#[cfg(unix)]
mod programs {
    use super::*;

    const SLOT: &str = "[slots.grader]\nprogram = [\"sh\", \"verify.sh\"]\nfiles = [\"rules.sh\", \"data\"]\n";

    /// The score is in another file, and so is what it is multiplied with.
    const VERIFY: &str = "echo started >> starts\n. ./rules.sh\nwhile IFS= read -r line; do\n\
        echo \"$line\" >> asked.jsonl\necho \"{\\\"text\\\": \\\"Score: $(rule \"$line\")\\\"}\"\ndone\n";

    fn world() -> World {
        let world = World::new(SLOT, RUBRIC);
        world.write("verify.sh", VERIFY);
        world.write("rules.sh", "rule() { case \"$1\" in *'Rate '[0-4]*) cat data/low;; *) cat data/high;; esac; }\n");
        fs::create_dir_all(world.path("data/more")).unwrap();
        world.write("data/low", "1");
        world.write("data/high", "4");
        world
    }

    fn starts(world: &World) -> usize {
        world.read("starts").lines().count()
    }

    #[test]
    fn a_run_with_a_program_has_its_scores_and_asks_again_when_its_files_change() {
        let world = world();
        world.ok(&[]);
        let scores = world.scores();
        for (prompt, score) in &scores {
            let low = prompt.strip_prefix("Rate ").unwrap().starts_with(|c: char| ('0'..='4').contains(&c));
            assert_eq!(*score, Some(if low { 1.0 } else { 4.0 }), "{prompt}");
        }
        assert!(scores.iter().any(|(_, score)| *score != scores[0].1));
        let distinct: std::collections::BTreeSet<_> = scores.iter().map(|(prompt, _)| prompt).collect();
        assert_eq!(world.read("asked.jsonl").lines().count(), distinct.len());
        assert_eq!(starts(&world), 1);
        let first = world.read("out/summary.json");

        world.made_again(&[], &[]);
        // What the program makes itself, and what is hidden, is not what it reads.
        fs::create_dir(world.path("data/__pycache__")).unwrap();
        world.write("data/__pycache__/low.pyc", "compiled");
        world.write("data/.hidden", "x");
        world.made_again(&[], &[]);
        assert_eq!(starts(&world), 1, "the program was asked again");

        let judged = ["judge", "rank", "regularize", "train"];
        let changes: [(&str, &str, &[&str]); 4] = [
            // The scores are the same, so nothing after judging changes its inputs' contents; but artifacts name theirs.
            (
                "rules.sh",
                "rule() { case \"$1\" in *'Rate '[0-4]*) cat data/low;; *) cat data/high;; esac; } # new\n",
                &judged,
            ),
            ("data/high", "0", &judged),
            ("data/more/unused", "x", &judged),
            ("verify.sh", &format!("{VERIFY}# new\n"), &judged),
        ];
        for (at, (file, text, parts)) in changes.into_iter().enumerate() {
            world.write(file, text);
            world.made_again(&[], parts);
            assert_eq!(starts(&world), 2 + at, "{file}");
        }
        assert_ne!(world.read("again/summary.json"), first);
    }

    #[test]
    fn files_that_are_not_there_or_cannot_be_read_are_named() {
        let world = world();
        let config = world.read("run.toml");
        let cases: [(&str, i32, &[&str]); 4] = [
            ("files = [\"lib.py\"]", 3, &["slots.grader.files", "lib.py", "run.toml:", "no file or folder"]),
            ("files = 3", 2, &["slots.grader.files"]),
            ("files = [\"rules.sh\", \"loop\"]", 3, &["a link to a folder", "[slots.grader]", "loop"]),
            ("fils = [\"data\"]", 2, &["slots.grader.files"]),
        ];
        fs::create_dir(world.path("loop")).unwrap();
        std::os::unix::fs::symlink(world.path("loop"), world.path("loop/again")).unwrap();
        for (files, code, parts) in cases {
            world.write("run.toml", &config.replace("files = [\"rules.sh\", \"data\"]", files));
            let ran = world.run(&[]);
            assert_eq!(ran.code, Some(code), "{files}: {}", ran.stderr);
            for part in parts {
                assert!(ran.stderr.contains(part), "{files}: no '{part}' in {}", ran.stderr);
            }
        }
        assert!(!world.path("starts").exists());
    }
}

#[cfg(feature = "hub")]
mod endpoints {
    use serde_json::json;

    use super::*;
    use crate::server::{Act, Server, score};

    fn world(server: &Server, judge: &str) -> World {
        let address = server.address;
        let slot = format!(
            "[slots.grader]\nendpoint = \"http://{address}/v1\"\nserved-model = \"tiny\"\nconcurrency = 1\n\
             retries = 0\nlogprobs = true\n"
        );
        World::new(&slot, judge)
    }

    fn assert_scores_of_the_server(world: &World) -> usize {
        let scores = world.scores();
        for (prompt, found) in &scores {
            assert_eq!(*found, Some(f64::from(score(prompt))), "{prompt}");
        }
        scores.iter().map(|(prompt, _)| prompt).collect::<std::collections::BTreeSet<_>>().len()
    }

    #[test]
    fn a_run_with_a_server_has_its_scores_and_asks_it_once() {
        let server = Server::new(Vec::new());
        let world = world(&server, RUBRIC);
        world.ok(&[]);
        let distinct = assert_scores_of_the_server(&world);
        assert_eq!(server.requests().len(), distinct);
        world.made_again(&[], &[]);
        // Without the stage's artifact the answers are still there.
        fs::remove_dir_all(world.path("store/judge")).unwrap();
        world.made_again(&["slots.grader.concurrency=3"], &["judge"]);
        assert_eq!(server.requests().len(), 0, "the server was asked again");
        // Another model, another request, and another address are asked.
        let later = ["judge", "rank", "regularize", "train"];
        world.made_again(&["slots.grader.served-model=other"], &later);
        world.made_again(&["judge.params.max-new-tokens=9"], &later);
        let requests = server.requests();
        assert_eq!(requests.len(), 2 * distinct);
        assert_eq!((&requests[0]["model"], &requests[distinct]["max_tokens"]), (&json!("other"), &json!(9)));
        let elsewhere = Server::new(Vec::new());
        world.made_again(&[&format!("slots.grader.endpoint=http://{}/v1", elsewhere.address)], &later);
        assert_eq!((server.requests().len(), elsewhere.requests().len()), (0, distinct));
    }

    #[test]
    fn a_server_that_dies_is_named_and_asked_for_the_rest_when_it_is_back() {
        let mut acts = vec![Act::Good; 10];
        acts.push(Act::Die);
        let server = Server::new(acts);
        let world = world(&server, RUBRIC);
        let ran = world.run(&[]);
        assert_eq!(ran.code, Some(6), "{}", ran.stderr);
        let address = format!("http://{}", server.address);
        for part in [address.as_str(), "the same command asks only for the rest"] {
            assert!(ran.stderr.contains(part), "no '{part}' in {}", ran.stderr);
        }
        assert_eq!(server.requests().len(), 11);
        // It is gone: not one more answer, and the same error.
        let ran = world.run(&[]);
        assert_eq!(ran.code, Some(6), "{}", ran.stderr);
        assert!(ran.stderr.contains("cannot be reached"), "{}", ran.stderr);
        assert!(!world.path("out/M2").exists());

        let back = Server::at(server.address, Vec::new());
        world.ok(&[]);
        let distinct = assert_scores_of_the_server(&world);
        assert_eq!(back.requests().len(), distinct - 10);
    }

    #[test]
    fn labels_that_a_server_does_not_weigh_are_counted_with_the_reason() {
        let weighed = |tokens: &[(&str, f64)]| {
            let tokens: Vec<Value> = tokens.iter().map(|(t, p)| json!({"token": t, "logprob": p.ln()})).collect();
            let choice = json!({"message": {"content": "1"}, "logprobs": {"content": [{"top_logprobs": tokens}]}});
            Act::Status(200, "", json!({"choices": [choice]}).to_string())
        };
        // Each is another answer, every third without "2".
        let act = |i: usize| {
            let p = (i + 1) as f64 / 100.0;
            match i % 3 {
                0 => weighed(&[("1", p), ("10", 0.2), ("A", 0.1)]),
                _ => weighed(&[("1", p), ("10", 0.2), ("2", 0.3), ("A", 0.1)]),
            }
        };
        let server = Server::new((0..40).map(act).collect());
        let world = world(&server, EXPECTED_SCORE);
        world.ok(&[]);
        let scores = world.scores();
        let abstained = scores.iter().filter(|(_, score)| score.is_none()).count();
        assert!(abstained > 0 && abstained < scores.len());
        // p = (0.02, 0.2, 0.3) / 0.52
        assert!(
            scores.iter().any(|(_, s)| s.is_some_and(|s| (s - (0.02 + 2.0 + 0.6) / 0.52).abs() < 1e-9)),
            "{scores:?}"
        );
        let table = world.read("out/table.txt");
        let line = table.lines().find(|line| line.contains("the label '2' is not among the server's 3")).expect(&table);
        assert!(line.ends_with(&format!(" {abstained}")), "{abstained} in {line}");
        assert!(table.contains("no score because"), "{table}");
    }

    /// The example's own config, with a server in place of the one that its reader starts.
    #[test]
    fn the_example_with_a_server_runs() {
        let server = Server::new(Vec::new());
        let world = World::new("", "");
        let config = quickstart_model().join("../../methods/own/endpoint-judge.toml");
        fs::copy(&config, world.path("run.toml")).unwrap();
        let quickstart = quickstart_model().join("..");
        let address = format!("slots.grader.endpoint=http://{}/v1", server.address);
        let place = |key: &str, name: &str| format!("{key}='{}'", quickstart.join(name).display());
        let sets = [
            "out=out",
            "store=store",
            "sft.epochs=1",
            "rounds.prompts-per-round=8",
            "train.warmup-ratio=0",
            "eval.limit=4",
            &address,
            &place("model.path", "model"),
            &place("data.prompts", "prompts.jsonl"),
            &place("data.sft", "sft.jsonl"),
            &place("data.eval", "eval.jsonl"),
        ];
        world.ok(&sets);
        assert!(server.requests().len() > 8);
        assert!(world.path("out/M3/model.safetensors").is_file());
    }
}
