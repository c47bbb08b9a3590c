//! Plugins of ABI 1.0, built before 1.1 was there, work as they did: see `tests/fixtures/abi-1.0/README.md`.

use creamery::plugins::{JudgePlugin, RegularizerPlugin};
use creamery_plugin::testkit::{pair, sources};
use creamery_plugin::*;
use creamery_tests::fixture;
use serde_json::json;

use super::forms::{Random, answer};
use super::*;

/// The files of 1.0 that work here.
fn files(name: &str) -> Vec<String> {
    let mut files = vec![format!("{name}.wasm")];
    if cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        files.push(format!("{name}.so"));
    }
    files.retain(|file| fixture("abi-1.0").join(file).is_file());
    assert!(!files.is_empty(), "{name}");
    files
}

/// What says that the plugin is old.
fn check(info: &creamery::plugins::PluginInfo) {
    assert_eq!((info.descriptor.abi, info.descriptor.api.as_str()), ((1, 0), "1.0.0"));
}

/// Queries and scores of a judge; reasons of abstention may be worded anew.
fn judged(judge: &mut dyn JudgePlugin, groups: &Groups, seed: u64) -> (Vec<Vec<Query>>, Vec<Option<f64>>) {
    let (mut asked, mut answers) = (Vec::new(), Vec::new());
    loop {
        match judge.step(&context(), groups, &answers).unwrap() {
            Step::Ask(queries) => {
                answers.push(queries.iter().enumerate().map(|(i, q)| answer(q, seed * 1000 + i as u64)).collect());
                asked.push(queries);
            }
            Step::Scores(scores) => {
                assert_eq!(judge.report(&context(), groups, &answers).unwrap(), JudgeReport::default());
                return (asked, scores.iter().map(Score::value).collect());
            }
        }
    }
}

#[test]
fn a_judge_of_1_0() {
    let params = json!({"normalization": "mean", "reference": "initial"});
    let mut today = judge("implicit-reward", Artifact::Builtin, &params).unwrap();
    for file in files("implicit-reward") {
        let mut old = load_judge(&file, &fixture("abi-1.0"), &Params::of(&params), &options()).unwrap();
        check(old.info());
        let mut values = 0;
        for seed in 0..24 {
            let groups = Random(seed).groups();
            let expected = judged(&mut *today, &groups, seed);
            values += expected.1.iter().flatten().count();
            assert_eq!(judged(&mut *old, &groups, seed), expected, "{file} seed {seed}");
        }
        assert!(values > 50, "the inputs should lead to scores, found {values}");
    }
}

#[test]
fn a_ranker_of_1_0_is_not_told_of_sources() {
    let mut today = ranker("best-worst", Artifact::Builtin, &json!({})).unwrap();
    for file in files("best-worst") {
        let mut old = load_ranker(&file, &fixture("abi-1.0"), &Params::of(&json!({})), &options()).unwrap();
        check(old.info());
        for seed in 0..24 {
            let mut random = Random(seed);
            let groups = random.groups();
            let scores = random.scores(groups.responses.len());
            let context = RankContext { round: 2, seed };
            let Ranking { ranks, pairs, dropped } = today.rank(&context, &groups, &scores).unwrap();
            let indices = |d: &[Dropped]| d.iter().map(|d| d.index).collect::<Vec<_>>();
            let mixture = sources(&["current", "M0"], &vec![1; groups.responses.len()]);
            for found in [old.rank(&context, &groups, &scores), old.rank_sources(&context, &groups, &scores, &mixture)]
            {
                let found = found.unwrap();
                assert_eq!((found.ranks, found.pairs), (ranks.clone(), pairs.clone()), "{file} seed {seed}");
                assert_eq!(indices(&found.dropped), indices(&dropped), "{file} seed {seed}");
            }
        }
    }
}

#[test]
fn a_regularizer_of_1_0_has_no_columns() {
    let params = json!({"form": "sample", "clamp": [0.5, 1.0], "undefined": "half"});
    let mut today = regularizer("cream", Artifact::Builtin, &params).unwrap();
    for file in files("cream") {
        let load = || load_regularizer(&file, &fixture("abi-1.0"), &Params::of(&params), &options());
        let mut old: Box<dyn RegularizerPlugin> = load().unwrap();
        check(old.info());
        for seed in 0..24 {
            let mut random = Random(seed);
            let groups = random.groups();
            let scores = random.scores(groups.responses.len());
            let pairs: Vec<Pair> = (0..groups.len())
                .filter(|g| groups.response_range(*g).len() > 1)
                .map(|g| pair(g as u32, groups.response_offsets[g], groups.response_offsets[g] + 1))
                .collect();
            let records = Records { round: 1, groups, scores, pairs, ..Records::default() };
            let (expected, found) = (today.label(&records).unwrap(), old.label(&records).unwrap());
            assert_eq!((found.consistency, found.weights), (expected.consistency.clone(), expected.weights.clone()));
            // Today there may be more of them.
            for metric in &found.metrics {
                assert!(expected.metrics.contains(metric), "{file} seed {seed}: {metric:?} in {:?}", expected.metrics);
            }
            assert_eq!(old.columns(&records, &expected).unwrap(), []);
            let batch = random.batch();
            let value = today.objective(&batch).unwrap();
            assert_eq!(old.objective(&batch).unwrap(), value);
            assert_eq!(old.objective_columns(&batch, &[]).unwrap(), value);
        }
    }
}
