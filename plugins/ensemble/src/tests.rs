use creamery_plugin::testkit;

use super::*;

fn ranker(params: &str) -> Ensemble {
    Ensemble::new(params).unwrap()
}

/// The combined scores of one group of responses "a", "b", … from viewpoints "current", "previous", "third".
fn combined(params: &str, columns: &[&[Option<f64>]]) -> Vec<Option<f64>> {
    let names = ["current", "previous", "third"];
    let texts = &["a", "b", "c", "d"][..columns[0].len()];
    let rows: Vec<(&str, &[Option<f64>])> = names.into_iter().zip(columns.iter().copied()).collect();
    let scores = testkit::scores(&rows);
    let ranker = ranker(params);
    let members = ranker.members(&scores.viewpoints).unwrap();
    ranker.combined(&testkit::groups(&[("x", texts)]), &scores, &members)
}

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

/// Coste et al., arXiv 2310.02743, section 3, by hand. Response 0: scores 1 and 3, mean 2, variance 1. Response 1:
/// 0 and 4, mean 2, variance 4. Response 2: 1 and 2, mean 1.5, variance 0.25.
#[test]
fn combinations() {
    let (current, previous) = (some(&[1.0, 0.0, 1.0]), some(&[3.0, 4.0, 2.0]));
    let cases = [
        (r#"{"standardize": false}"#, [2.0, 2.0, 1.5]),
        (r#"{"standardize": false, "combine": "min"}"#, [1.0, 0.0, 1.0]),
        (r#"{"standardize": false, "combine": "mean-variance", "k": 0.5}"#, [1.5, 0.0, 1.375]),
        (r#"{"standardize": false, "combine": "mean-std", "k": 0.5}"#, [1.5, 1.0, 1.25]),
        (r#"{"standardize": false, "combine": "mean-std"}"#, [1.0, 0.0, 1.0]),
        (r#"{"standardize": false, "combine": "mean-std", "k": 0}"#, [2.0, 2.0, 1.5]),
    ];
    for (params, expected) in cases {
        assert_eq!(combined(params, &[&current, &previous]), expected.map(Some), "{params}");
    }
}

#[test]
fn z_scores_put_viewpoints_in_one_unit() {
    // 0 and 4 have mean 2 and deviation 2: −1 and 1; 30 and 10 the other way round
    let (current, previous) = (some(&[0.0, 4.0]), some(&[30.0, 10.0]));
    assert_eq!(combined("{}", &[&current, &previous]), [Some(0.0), Some(0.0)]);
    assert_eq!(combined(r#"{"combine": "min"}"#, &[&current, &previous]), [Some(-1.0), Some(-1.0)]);
    // a viewpoint with one opinion of all of them says nothing, also where rounding makes 0.1 + 0.1 + 0.1 ≠ 0.3
    let constant = some(&[0.1, 0.1, 0.1]);
    let current = some(&[0.0, 4.0, 8.0]);
    let alone = combined("{}", &[&current, &current]);
    let halved: Vec<_> = alone.iter().map(|s| s.map(|s| s / 2.0)).collect();
    assert_eq!(combined("{}", &[&current, &constant]), halved);
    // scores whose spread has no number
    assert_eq!(combined("{}", &[&some(&[1e308, -1e308]), &some(&[1.0, 3.0])]), [Some(-0.5), Some(0.5)]);
}

#[test]
fn abstentions() {
    let current = [Some(1.0), None, Some(3.0), None];
    let previous = [Some(5.0), Some(2.0), None, None];
    let drop = r#"{"standardize": false}"#;
    let ignore = r#"{"standardize": false, "missing": "ignore"}"#;
    assert_eq!(combined(drop, &[&current, &previous]), [Some(3.0), None, None, None]);
    assert_eq!(combined(ignore, &[&current, &previous]), [Some(3.0), Some(2.0), Some(3.0), None]);
    // no score rather than one that is not a number
    let huge = some(&[f64::MAX, 0.0]);
    assert_eq!(combined(drop, &[&huge, &huge]), [None, Some(0.0)]);
}

#[test]
fn pairs_by_the_combination_and_ranks_by_each_viewpoint() {
    let groups = testkit::groups(&[("x", &["a", "b", "c"]), ("y", &["d", "e", "d"])]);
    // "a" is best for the current viewpoint and worst for the previous one
    let current = some(&[9.0, 5.0, 0.0, 1.0, 2.0, 7.0]);
    let previous = some(&[0.0, 5.0, 1.0, 4.0, 5.0, -7.0]);
    let scores = testkit::scores(&[("current", &current), ("previous", &previous)]);
    let ranking = ranker(r#"{"combine": "min", "standardize": false}"#);
    let ranking = ranking.rank(&RankContext::default(), &groups, &scores).unwrap();
    assert_eq!(ranking.ranks, [1, 2, 3, 2, 1, 2, 3, 1, 2, 2, 1, 2]);
    // minima 0, 5, 0 and 1, 2, with the second "d" merged into the first
    assert_eq!(ranking.pairs, [testkit::pair(0, 1, 0), testkit::pair(1, 4, 3)]);
}

#[test]
fn viewpoints_are_chosen_by_name() {
    let columns: &[&[Option<f64>]] = &[&some(&[1.0, 0.0]), &some(&[0.0, 2.0]), &some(&[5.0, 0.0])];
    let named = r#"{"standardize": false, "viewpoints": ["third", "previous"]}"#;
    assert_eq!(combined(named, columns), [Some(2.5), Some(1.0)]);
    assert_eq!(combined(r#"{"standardize": false}"#, columns), [Some(2.0), Some(2.0 / 3.0)]);
}

/// Under every combination with z-scores, shifting one viewpoint's scores and multiplying them by a power of two
/// changes no pair; without standardization a common shift changes none. Duplicated viewpoints are best–worst.
#[test]
fn scale_and_shift() {
    let groups = testkit::groups(&[("x", &["a", "b", "c", "d"])]);
    let pair = |params: &str, current: &[f64], previous: &[f64]| {
        let scores = testkit::scores(&[("current", &some(current)), ("previous", &some(previous))]);
        let ranking = ranker(params).rank(&RankContext::default(), &groups, &scores).unwrap();
        ranking.pairs.first().map(|p| (p.chosen, p.rejected))
    };
    for code in 0..256u32 {
        let current: Vec<f64> = (0..4).map(|i| f64::from(code >> (2 * i) & 3)).collect();
        let previous = [3.0, 1.0, 0.0, 2.0];
        let moved = previous.map(|s| 4.0 * s);
        for combine in ["mean", "min", "mean-std", "mean-variance"] {
            let z = format!(r#"{{"combine": "{combine}"}}"#);
            assert_eq!(pair(&z, &current, &moved), pair(&z, &current, &previous), "{combine} {current:?}");
            let raw = format!(r#"{{"combine": "{combine}", "standardize": false}}"#);
            let up = |list: &[f64]| list.iter().map(|s| s + 8.0).collect::<Vec<_>>();
            assert_eq!(pair(&raw, &up(&current), &up(&previous)), pair(&raw, &current, &previous), "{combine}");
            let best = creamery_plugin::stats::argmax(&current).unwrap() as u32;
            if let Some((chosen, _)) = pair(&raw, &current, &current) {
                assert_eq!(chosen, best, "{combine} {current:?}");
            }
        }
    }
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"k": -1}"#, "'k' is -1"),
        (r#"{"viewpoints": ["current"]}"#, "'viewpoints' is one name"),
        (r#"{"viewpoints": ["ema", "ema"]}"#, "names \"ema\" twice"),
        (r#"{"combine": "max"}"#, "unknown variant `max`"),
        (r#"{"min-margin": -1}"#, "'min-margin' is -1"),
    ] {
        let error = Ensemble::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
    let groups = testkit::groups(&[("x", &["a", "b"])]);
    let error = |params: &str, scores: Scores| {
        ranker(params).rank(&RankContext::default(), &groups, &scores).unwrap_err().message
    };
    let values = some(&[1.0, 2.0]);
    let alone = testkit::scores(&[("current", &values)]);
    assert!(error("{}", alone).contains("come from 1 (current): add [[viewpoints]]"));
    let two = || testkit::scores(&[("current", &values), ("previous", &values)]);
    let unknown = error(r#"{"viewpoints": ["current", "ema"]}"#, two());
    assert!(unknown.contains("\"ema\"") && unknown.contains("current, previous"), "{unknown}");
    let mut short = two();
    short.scores.pop();
    assert!(error("{}", short).contains("expected 4"));
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
