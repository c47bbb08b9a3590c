//! Run folders, made by hand: what a run writes, with the numbers that a test wants.

use std::fs;
use std::path::{Path, PathBuf};

use creamery_tests::{Ran, creamery, run};
use serde_json::{Value, json};

/// A folder for runs and reports.
pub struct World {
    pub folder: tempfile::TempDir,
}

/// What a made run is like.
#[derive(Clone)]
pub struct Made {
    pub name: String,
    pub regularizer: String,
    pub seed: u64,
    /// Sampled accuracy of M0 and M1; M2's is `accuracy`.
    pub accuracy: Option<f64>,
    /// Rounds that are done, of 1.
    pub rounds: usize,
    pub seconds: f64,
}

impl Made {
    pub fn new(name: &str, seed: u64, accuracy: f64) -> Made {
        let (name, regularizer) = (name.to_owned(), format!("builtin:{name}"));
        Made { name, regularizer, seed, accuracy: Some(accuracy), rounds: 1, seconds: 10.0 }
    }
}

impl World {
    pub fn new() -> World {
        World { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Runs of a few arms: NAME-SEED, values by seed from 0.
    pub fn arms(&self, arms: &[(&str, &[f64])]) -> Vec<PathBuf> {
        let made = arms.iter().flat_map(|(name, values)| {
            values.iter().enumerate().map(|(seed, value)| Made::new(name, seed as u64, *value))
        });
        made.map(|made| self.make(&format!("{}-{}", made.name, made.seed), &made)).collect()
    }

    /// Writes a run folder.
    pub fn make(&self, folder: &str, made: &Made) -> PathBuf {
        let path = self.path(folder);
        fs::create_dir_all(&path).expect("a run folder");
        let put = |name: &str, text: String| fs::write(path.join(name), text).expect("a file of a run");
        let root = self.folder.path().display();
        put(
            "config.resolved.toml",
            format!(
                "name = {}\nseed = {}\nout = '{root}/{folder}'\nstore = '{root}/store'\n[model]\npath = '{root}/model'\n\
                 [data]\neval = ['{root}/eval.jsonl']\n[rounds]\ncount = 1\n[regularizer]\nplugin = {}\n\
                 [eval]\nextractor = \"exact\"\n",
                toml_text(&made.name),
                made.seed,
                toml_text(&made.regularizer)
            ),
        );
        let accuracy = |at: usize, value: f64| {
            json!({"stage": "evaluate", "model": format!("M{at}"), "eval/rows": 100, "eval/sampled": value,
                   "eval/sampled_error": 0.01, "eval/greedy": value + 0.1, "eval/greedy_error": 0.02,
                   "eval/by_task": {"add": value}})
        };
        let mut rows: Vec<Value> =
            (1..=30).map(|step| json!({"stage": "sft", "step": step, "loss": 2.0 / f64::from(step)})).collect();
        rows.extend([accuracy(0, 0.5), accuracy(1, 0.55)]);
        let mut models = vec![json!({"name": "M0", "id": "aa"}), json!({"name": "M1", "id": "bb"})];
        if made.rounds == 1 {
            rows.extend((1..=20).map(|step| {
                json!({"stage": "train", "step": step, "loss": 0.69 - 0.001 * f64::from(step), "round": 1,
                       "rewards/margins": 0.01 * f64::from(step), "rewards/chosen": null})
            }));
            rows.push(json!({"stage": "round", "round": 1, "pairs": 90, "drops": 10, "consistency": 0.9,
                             "abstentions/current": 2, "abstentions/previous": 3, "judge_failures/current": 0,
                             "ranking_accuracy": 0.8, "ranking_accuracy_stderr": 0.03, "completions/mean_length": 4.5}));
            if let Some(value) = made.accuracy {
                rows.push(accuracy(2, value));
            }
            models.push(json!({"name": "M2", "id": "cc"}));
        }
        put("metrics.jsonl", rows.iter().map(|row| format!("{row}\n")).collect());
        let rounds = vec![json!({"round": 1}); made.rounds];
        put(
            "summary.json",
            json!({"name": made.name, "seed": made.seed, "models": models, "rounds": rounds}).to_string(),
        );
        put(
            "plugins.json",
            json!([{"part": "regularizer", "name": made.name, "kind": "regularizer", "version": "0.1.0",
            "artifact": "builtin", "digest": "d1", "params": {}}])
            .to_string(),
        );
        let timing = |label: &str, part: &str, seconds: f64| json!({"model": "M2", "label": label, "part": part, "seconds": seconds, "reused": false, "plugin_seconds": 0.25});
        let timings = json!([
            timing("round 1: sample", "sample", made.seconds),
            timing("round 1: rank", "rank", 1.0),
            // The same artifact again.
            timing("round 1: rank", "rank", 1.0),
        ]);
        put("timings.json", timings.to_string());
        path
    }

    /// Artifacts of round 1 of a run, as the store keeps them, with these groups of two responses.
    pub fn artifacts(&self, run: &Path, groups: &[Value]) {
        let put = |stage: &str, name: &str, rows: &[Value]| {
            let folder = self.path("store").join(stage).join("11");
            fs::create_dir_all(&folder).expect("a folder of the store");
            let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
            fs::write(folder.join(name), text).expect("an artifact");
        };
        let pick = |fields: &[&str]| -> Vec<Value> {
            let one = |group: &Value| {
                fields.iter().map(|f| ((*f).to_owned(), group[*f].clone())).collect::<serde_json::Map<_, _>>()
            };
            groups.iter().map(|group| Value::Object(one(group))).collect()
        };
        put("sample", "samples.jsonl", &pick(&["id", "prompt", "prompt_ids", "responses"]));
        let scores: Vec<Value> =
            groups.iter().map(|g| json!({"id": g["id"], "scores": g["scores"], "abstained": g["abstained"]})).collect();
        put("judge", "scores.jsonl", &scores);
        let ranked: Vec<Value> = groups
            .iter()
            .map(|g| json!({"id": g["id"], "ranks": g["ranks"], "pairs": g["pairs"], "dropped": g["dropped"]}))
            .collect();
        put("rank", "ranking.jsonl", &ranked);
        let said = groups.iter().filter_map(|g| {
            let texts = g.get("said")?;
            let asked = format!("Rate the answer to {}.", g["prompt"][0]["content"].as_str()?);
            Some(json!({"messages": [{"role": "user", "content": asked}], "texts": texts}))
        });
        put("judge", "said.jsonl", &said.collect::<Vec<_>>());
        let manifest = json!({"stage": "rank", "creamery": "0.1.0", "key": {"instruction-set": "x86_64-v3", "inputs": {
            "samples": "11", "viewpoints": ["current", "previous"], "scores": ["11", "11"]}}});
        fs::write(self.path("store/rank/11/artifact.json"), manifest.to_string()).expect("a manifest");
        let labels: Vec<Value> = groups
            .iter()
            .flat_map(|g| g["pairs"].as_array().into_iter().flatten().map(|p| {
                json!({"id": g["id"], "group": g["id"], "prompt": g["prompt"], "chosen": [], "rejected": [],
                       "consistency": g["c"], "weight": 1.0, "chosen_index": p["chosen"], "rejected_index": p["rejected"],
                       "prompt_ids": [], "chosen_ids": [], "rejected_ids": []})
            }))
            .collect();
        put("regularize", "pairs.jsonl", &labels);
        let row = |stage: &str, viewpoint: Value| {
            json!({"model": "M2", "label": format!("round 1: {stage}"), "part": stage, "stage": stage, "id": "11",
                   "round": 1, "viewpoint": viewpoint})
        };
        let list = json!([
            row("sample", Value::Null),
            row("judge", json!("current")),
            row("regularize", Value::Null),
            row("rank", Value::Null)
        ]);
        fs::write(run.join("artifacts.json"), list.to_string()).expect("the list of artifacts");
    }

    /// `creamery report` with these arguments, here.
    pub fn report(&self, arguments: &[&str]) -> Ran {
        let mut command = creamery!("report");
        run(command.args(arguments).current_dir(&self.folder))
    }
}

/// A group of two responses. The second is chosen; where `differ`, the viewpoints do not agree.
pub fn group(id: &str, prompt: &str, responses: [&str; 2], c: f64, differ: bool) -> Value {
    let response = |text: &str| json!({"text": text, "finish": "stop", "ids": [1, 2], "logp": -1.0});
    json!({
        "id": id,
        "prompt": [{"role": "user", "content": prompt}],
        "prompt_ids": [1],
        "responses": responses.map(response),
        "scores": [-2.0, -1.0],
        "abstained": {},
        "ranks": [[2, 1], if differ { [1, 2] } else { [2, 1] }],
        "pairs": [{"chosen": 1, "rejected": 0, "weight": 1.0}],
        "c": c,
    })
}

fn toml_text(text: &str) -> String {
    // A JSON string is a TOML string, for what tests write.
    Value::from(text).to_string()
}
