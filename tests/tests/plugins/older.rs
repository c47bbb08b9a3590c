//! Plugins of ABI 1.0, built before 1.1 was there, give what they gave: see `tests/abi/1.0/README.md`.

use creamery::plugins::{JudgePlugin, RegularizerPlugin};
use creamery_plugin::testkit::{pair, sources};
use creamery_plugin::*;
use serde_json::json;

use super::forms::{Random, answer};
use super::*;

const SEEDS: std::ops::Range<u64> = 0..24;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/abi/1.0"))
}

/// The files of 1.0 that work here.
fn files(name: &str) -> Vec<String> {
    let mut files = vec![format!("{name}.wasm")];
    if cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        files.push(format!("{name}.so"));
    }
    files
}

/// Holds what a file gave, one line for each seed, to what was recorded.
fn as_recorded(name: &str, file: &str, found: Vec<Value>) {
    let path = folder().join(format!("{name}.jsonl"));
    let text: String = found.iter().map(|line| format!("{line}\n")).collect();
    let recorded = std::fs::read_to_string(&path).unwrap();
    for (seed, (found, recorded)) in text.lines().zip(recorded.lines()).enumerate() {
        assert_eq!(found, recorded, "{file}, seed {seed}");
    }
    assert_eq!(text.len(), recorded.len(), "{file}");
}

/// What says that the plugin is old.
fn check(info: &creamery::plugins::PluginInfo) {
    assert_eq!((info.descriptor.abi, info.descriptor.api.as_str()), ((1, 0), "1.0.0"));
}

/// How many queries each step has, and the scores.
fn judged(judge: &mut dyn JudgePlugin, groups: &Groups, seed: u64) -> Value {
    let (mut asked, mut answers) = (Vec::new(), Vec::new());
    loop {
        match judge.step(&context(), groups, &answers).unwrap() {
            Step::Ask(queries) => {
                answers.push(queries.iter().enumerate().map(|(i, q)| answer(q, seed * 1000 + i as u64)).collect());
                asked.push(queries.len());
            }
            Step::Scores(scores) => {
                assert_eq!(judge.report(&context(), groups, &answers).unwrap(), JudgeReport::default());
                return json!({"asked": asked, "scores": scores.iter().map(Score::value).collect::<Vec<_>>()});
            }
        }
    }
}

#[test]
fn a_judge_of_1_0() {
    let params = json!({"normalization": "mean", "reference": "initial"});
    for file in files("implicit-reward") {
        let mut judge = load_judge(&file, &folder(), &Params::of(&params), &options()).unwrap();
        check(judge.info());
        let found = SEEDS.map(|seed| judged(&mut *judge, &Random(seed).groups(), seed)).collect();
        as_recorded("implicit-reward", &file, found);
    }
}

#[test]
fn a_ranker_of_1_0_is_not_told_of_sources() {
    for file in files("best-worst") {
        let mut ranker = load_ranker(&file, &folder(), &Params::of(&json!({})), &options()).unwrap();
        check(ranker.info());
        let mut found = Vec::new();
        for seed in SEEDS {
            let mut random = Random(seed);
            let groups = random.groups();
            let scores = random.scores(groups.responses.len());
            let context = RankContext { round: 2, seed };
            let mixture = sources(&["current", "M0"], &vec![1; groups.responses.len()]);
            let ranking = ranker.rank(&context, &groups, &scores).unwrap();
            assert_eq!(ranker.rank_sources(&context, &groups, &scores, &mixture).unwrap(), ranking);
            let Ranking { ranks, pairs, dropped } = ranking;
            found.push(json!({
                "ranks": ranks,
                "pairs": pairs.iter().map(|p| json!([p.group, p.chosen, p.rejected, p.weight])).collect::<Vec<_>>(),
                "dropped": dropped.iter().map(|d| json!([d.index, d.reason])).collect::<Vec<_>>(),
            }));
        }
        as_recorded("best-worst", &file, found);
    }
}

#[test]
fn a_regularizer_of_1_0_has_no_columns() {
    let params = json!({"form": "sample", "clamp": [0.5, 1.0], "undefined": "half"});
    for file in files("cream") {
        let load = || load_regularizer(&file, &folder(), &Params::of(&params), &options());
        let mut regularizer: Box<dyn RegularizerPlugin> = load().unwrap();
        check(regularizer.info());
        let mut found = Vec::new();
        for seed in SEEDS {
            let mut random = Random(seed);
            let groups = random.groups();
            let scores = random.scores(groups.responses.len());
            let pairs: Vec<Pair> = (0..groups.len())
                .filter(|g| groups.response_range(*g).len() > 1)
                .map(|g| pair(g as u32, groups.response_offsets[g], groups.response_offsets[g] + 1))
                .collect();
            let records = Records { round: 1, groups, scores, pairs, ..Records::default() };
            let labels = regularizer.label(&records).unwrap();
            assert_eq!(regularizer.columns(&records, &labels).unwrap(), []);
            let batch = random.batch();
            let value = regularizer.objective(&batch).unwrap();
            assert_eq!(regularizer.objective_columns(&batch, &[]).unwrap(), value);
            found.push(json!({
                "consistency": labels.consistency,
                "weights": labels.weights,
                "dropped": labels.dropped.iter().map(|d| d.index).collect::<Vec<_>>(),
                "metrics": labels.metrics.iter().map(|m| json!([m.name, m.value])).collect::<Vec<_>>(),
                "loss": value.loss,
                "d_chosen": value.d_chosen,
                "d_rejected": value.d_rejected,
            }));
        }
        as_recorded("cream", &file, found);
    }
}
