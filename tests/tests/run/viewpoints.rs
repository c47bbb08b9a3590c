//! Runs with other judges and viewpoints than the paper's.

use creamery::model::Checkpoint;
use serde_json::Value;

use super::*;

const DEFAULT: &str = "[[viewpoints]]\nname = \"current\"\n[[viewpoints]]\nname = \"previous\"\nmodel = \"previous\"\n";

/// Five viewpoints, two judges, the mean of the models and a model from elsewhere.
const FIVE: &str = r#"
[ema]
decay = 0.75
[judges.ratio]
plugin = "builtin:implicit-reward"
params = { score = "log-ratio" }
[[viewpoints]]
name = "current"
[[viewpoints]]
name = "previous"
[[viewpoints]]
name = "ema"
[[viewpoints]]
name = "before"
model = "previous:2"
[[viewpoints]]
name = "other"
model = "other"
judge = "ratio"
"#;

impl World {
    fn with(&self, more: &str) {
        self.write("run.toml", &format!("{CONFIG}{more}"));
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }

    /// The folders of a stage's artifacts.
    fn artifacts(&self, stage: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("store").join(stage)).unwrap_or_else(|e| panic!("{stage}: {e}"));
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// All weights of a checkpoint, in one list.
fn weights(folder: &Path) -> Vec<f32> {
    let mut checkpoint = Checkpoint::open(folder).unwrap();
    (0..checkpoint.parameters().len()).flat_map(|i| checkpoint.read(i).unwrap()).collect()
}

#[test]
fn the_default_viewpoints_are_current_and_previous() {
    let world = World::new();
    world.ok(&[]);
    let results = world.results("out");
    world.with(DEFAULT);
    world.ok(&["--set", "out=listed"]);
    assert_same(&results, &world.results("listed"), "with the viewpoints written out");
    let timings = fs::read_to_string(world.path("listed/timings.json")).unwrap();
    assert!(!timings.contains("\"reused\": false"), "everything is reused:\n{timings}");
}

#[test]
fn five_viewpoints_two_judges_and_the_mean_of_the_models() {
    let world = World::new();
    // A model from elsewhere: M1 of a run with another seed.
    world.ok(&["--set", "rounds.count=1", "--set", "seed=9", "--set", "out=elsewhere"]);
    fs::rename(world.path("elsewhere/M1"), world.path("other")).unwrap();
    fs::remove_dir_all(world.path("store")).unwrap();
    world.with(FIVE);
    let printed = world.ok(&[]);
    for part in ["judging", "agreement", "no score", "before", "other", "ema"] {
        assert!(printed.contains(part), "no '{part}' in\n{printed}");
    }
    let summary = world.json("out/summary.json");
    let names = ["before", "current", "ema", "other", "previous"];
    for round in summary["rounds"].as_array().unwrap() {
        for part in ["judging", "agreement"] {
            let found: Vec<&str> = round[part].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(found, names, "{part}");
        }
        for name in names {
            let agreement = &round["agreement"][name];
            // 20 questions, 2 samples each; a pair is one right and one wrong answer to the same question.
            assert_eq!(agreement["responses"], 40);
            let pairs = agreement["pairs"].as_u64().unwrap();
            assert!((1..=20).contains(&pairs), "{agreement}");
            let share = agreement["agreement"].as_f64().unwrap();
            assert!((share * pairs as f64 * 2.0).fract() == 0.0 && (0.0..=1.0).contains(&share), "{agreement}");
            assert_eq!(agreement["unscored"], 0.0);
        }
        assert_eq!(round["agreement"]["current"]["pairs"], round["agreement"]["other"]["pairs"]);
    }
    let metrics = fs::read_to_string(world.path("out/metrics.jsonl")).unwrap();
    let rows: Vec<Value> = metrics.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let row = rows.iter().find(|r| r["stage"] == "round").unwrap();
    for name in names {
        for key in ["agreement", "agreement_stderr", "agreement_pairs", "agreement_unscored", "abstentions"] {
            assert!(row[format!("{key}/{name}")].is_number(), "no {key}/{name} in {row}");
        }
    }
    let plugins = world.json("out/plugins.json");
    let parts: Vec<&str> = plugins.as_array().unwrap().iter().map(|p| p["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["judge", "judges.ratio", "ranker", "regularizer"]);

    // In round 1 "previous" and "before" are both M0, so they score alike; "ema" and "other" do not.
    let mut scores = BTreeMap::new();
    for folder in world.artifacts("judge") {
        let manifest: Value = serde_json::from_slice(&fs::read(folder.join("artifact.json")).unwrap()).unwrap();
        let inputs = &manifest["key"]["inputs"];
        if inputs["round"] == 1 && inputs["samples"] == sampled_for_training(&world, 1) {
            let text = fs::read_to_string(folder.join("scores.jsonl")).unwrap();
            scores.insert(inputs["viewpoint"].as_str().unwrap().to_owned(), text);
        }
    }
    assert_eq!(scores.keys().collect::<Vec<_>>(), names);
    assert_eq!(scores["previous"], scores["before"]);
    for (a, b) in [("current", "previous"), ("current", "ema"), ("previous", "ema"), ("current", "other")] {
        assert_ne!(scores[a], scores[b], "{a}, {b}");
    }

    // E_t = ¾ E_{t−1} + ¼ M_t, from E_0 = M0.
    let mut mean = weights(&world.path("model"));
    let mut found: Vec<Vec<f32>> = world.artifacts("ema").iter().map(|a| weights(&a.join("model"))).collect();
    assert_eq!(found.len(), 2);
    for model in ["M1", "M2"] {
        let new = weights(&world.path("out").join(model));
        mean = mean.iter().zip(&new).map(|(e, m)| 0.75 * e + 0.25 * m).collect();
        let at = found.iter().position(|f| *f == mean).unwrap_or_else(|| panic!("no mean with {model}"));
        found.remove(at);
    }
}

/// The id of the samples that round `t` trains on.
fn sampled_for_training(world: &World, t: u64) -> Value {
    for folder in world.artifacts("sample") {
        let manifest: Value = serde_json::from_slice(&fs::read(folder.join("artifact.json")).unwrap()).unwrap();
        let inputs = &manifest["key"]["inputs"];
        if inputs["purpose"] == "sample" && inputs["round"] == t {
            return manifest["id"].clone();
        }
    }
    panic!("no samples of round {t}");
}

#[test]
fn one_viewpoint_is_enough_for_a_method_without_consistency() {
    let world = World::new();
    world.with("[[viewpoints]]\nname = \"current\"\n");
    let none = ["--set", "regularizer.plugin=builtin:none", "--set", "regularizer.params={}"];
    let printed = world.ok(&none);
    assert!(printed.contains("agreement"), "{printed}");
    let summary = world.json("out/summary.json");
    let judged = summary["rounds"][0]["judging"].as_object().unwrap();
    assert_eq!(judged.keys().collect::<Vec<_>>(), ["current"]);
    assert_eq!(summary["rounds"][0]["consistency"], Value::Null);
    // As with two, whose second is not looked at.
    let chosen = fs::read(world.path("out/M3/model.safetensors")).unwrap();
    world.write("run.toml", CONFIG);
    world.ok(&[&none[..], &["--set", "out=two"]].concat());
    assert!(chosen == fs::read(world.path("two/M3/model.safetensors")).unwrap());
}

#[test]
fn a_viewpoint_of_another_tokenizer_is_refused() {
    let world = World::new();
    fs::create_dir(world.path("other")).unwrap();
    for entry in fs::read_dir(world.path("model")).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, world.path("other").join(file.file_name().unwrap())).unwrap();
    }
    let tokenizer = fs::read_to_string(world.path("other/tokenizer.json")).unwrap();
    world.write("other/tokenizer.json", &(tokenizer + " "));
    world.with(FIVE);
    let output = world.run(&[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("the viewpoint 'other' has another tokenizer.json"), "{errors}");
    assert!(!world.path("store/sample").exists(), "before any work");
}
