use std::collections::BTreeMap;

use creamery_plugin::testkit;

use super::*;

fn ranked(params: &str, seed: u64, groups: &Groups, scores: &Scores) -> Ranking {
    BestRandom::new(params).unwrap().rank(&RankContext { round: 1, seed }, groups, scores).unwrap()
}

/// One group of responses "a", "b", …: how often each pair comes out of 3000 seeds, or the reason why there is none.
fn counts(params: &str, values: &[Option<f64>]) -> Result<BTreeMap<(u32, u32), u32>, String> {
    let texts = &["a", "b", "c", "d", "e"][..values.len()];
    let groups = testkit::groups(&[("x", texts)]);
    let scores = testkit::scores(&[("current", values)]);
    let mut counts = BTreeMap::new();
    for seed in 0..3000 {
        let ranking = ranked(params, seed, &groups, &scores);
        match (&ranking.pairs[..], &ranking.dropped[..]) {
            ([pair], []) => *counts.entry((pair.chosen, pair.rejected)).or_default() += 1,
            ([], [dropped]) => return Err(dropped.reason.clone()),
            _ => panic!("one group gives one pair or one drop: {ranking:?}"),
        }
    }
    Ok(counts)
}

/// Parameters, scores, and the pairs that come out equally often or the reason for none.
type Case = (&'static str, Vec<Option<f64>>, Result<&'static [(u32, u32)], &'static str>);

#[test]
fn rejects_any_worse_response_equally_often() {
    let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
    let cases: &[Case] = &[
        // the worked example
        ("{}", some(&[0.3, 1.2, -0.5, 1.2]), Ok(&[(1, 0), (1, 2)])),
        (r#"{"min-margin": 1}"#, some(&[0.3, 1.2, -0.5, 1.2]), Ok(&[(1, 2)])),
        (r#"{"min-margin": 2}"#, some(&[0.3, 1.2, -0.5, 1.2]), Err("the margin is below min-margin")),
        (r#"{"on-tie": "drop"}"#, some(&[0.3, 1.2, -0.5, 1.2]), Err("the best score is tied")),
        (r#"{"on-tie": "random"}"#, some(&[0.0, 1.0, 1.0]), Ok(&[(1, 0), (2, 0)])),
        ("{}", some(&[5.0, 1.0, 2.0, 3.0]), Ok(&[(0, 1), (0, 2), (0, 3)])),
        ("{}", vec![Some(5.0), None, Some(2.0), Some(3.0)], Ok(&[(0, 2), (0, 3)])),
        ("{}", some(&[1.0, 1.0]), Err("all scores tie")),
        ("{}", vec![Some(1.0), None], Err("fewer than two scored responses")),
    ];
    for (params, values, expected) in cases {
        match (counts(params, values), expected) {
            (Ok(counts), Ok(pairs)) => {
                assert_eq!(counts.keys().copied().collect::<Vec<_>>(), *pairs, "{params} {values:?}");
                let mean = 3000 / pairs.len() as u32;
                // 5 standard deviations of a binomial are at most 137
                assert!(counts.values().all(|n| n.abs_diff(mean) <= 137), "{params} {values:?}: {counts:?}");
            }
            (found, expected) => assert_eq!(found.map(|_| ()), expected.map(|_| ()).map_err(String::from), "{params}"),
        }
    }
}

#[test]
fn length_control_bears_on_the_chosen_one() {
    let groups = testkit::groups(&[("x", &["long text", "short", "bad", "worse"])]);
    let scores = testkit::scores(&[("current", &[1.0, 0.95, 0.1, 0.0].map(Some))]);
    for seed in 0..50 {
        let pair = &ranked(r#"{"length-control": 0.1}"#, seed, &groups, &scores).pairs[0];
        assert_eq!(pair.chosen, 1);
        assert!([2, 3].contains(&pair.rejected), "not the longer one, which scores more");
    }
    let scores = testkit::scores(&[("current", &[1.0, 0.9, 0.8, 0.7].map(Some))]);
    let ranking = ranked(r#"{"length-control": 1}"#, 0, &groups, &scores);
    assert_eq!(ranking.pairs, [testkit::pair(0, 2, 3)], "the shortest of all is chosen");
}

/// The pair of a prompt is the same whatever other prompts there are, and wherever the responses stand.
#[test]
fn the_draw_does_not_depend_on_positions() {
    let texts = ["a", "b", "c", "d"];
    let values = [3.0, 0.0, 1.0, 2.0];
    for seed in 0..40 {
        let alone = {
            let mut groups = Groups::default();
            groups.push("p7", vec![], texts.map(testkit::complete).into());
            let pair = ranked("{}", seed, &groups, &testkit::scores(&[("current", &values.map(Some))])).pairs.remove(0);
            (texts[pair.chosen as usize], texts[pair.rejected as usize])
        };
        let reversed: Vec<&str> = texts.iter().rev().copied().collect();
        let mut groups = Groups::default();
        groups.push("p1", vec![], texts.map(testkit::complete).into());
        groups.push("p7", vec![], reversed.iter().map(|t| testkit::complete(t)).collect());
        let both = [3.0, 0.0, 1.0, 2.0, 2.0, 1.0, 0.0, 3.0].map(Some);
        let pair = &ranked("{}", seed, &groups, &testkit::scores(&[("current", &both)])).pairs[1];
        assert_eq!((reversed[pair.chosen as usize - 4], reversed[pair.rejected as usize - 4]), alone, "{seed}");
    }
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"min-margin": -1.0}"#, "'min-margin' is -1"),
        (r#"{"length-control": 2}"#, "'length-control' is 2"),
        (r#"{"margin": 1}"#, "unknown field `margin`"),
    ] {
        let error = BestRandom::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<ExtremesParams>(&defaults).unwrap(), ExtremesParams::default());
}
