use creamery_plugin::testkit;

use super::*;

/// One group of responses "a", "b", …: its pairs with their weights, or the reason why there are none.
fn pairs(params: &str, values: &[Option<f64>]) -> Result<Vec<(u32, u32, f64)>, String> {
    let texts = &["a", "b", "c", "d", "e"][..values.len()];
    let groups = testkit::groups(&[("x", texts)]);
    let scores = testkit::scores(&[("current", values)]);
    let ranking = testkit::rank(&AllPairs::new(params).unwrap(), &RankContext::default(), &groups, &scores).unwrap();
    match ranking.dropped.first() {
        Some(dropped) => Err(dropped.reason.clone()),
        None => Ok(ranking.pairs.iter().map(|p| (p.chosen, p.rejected, p.weight)).collect()),
    }
}

/// Parameters, scores, and the pairs or the reason for none.
type Case = (&'static str, Vec<Option<f64>>, Result<&'static [(u32, u32, f64)], &'static str>);

#[test]
fn pairs_by_margin() {
    let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
    let three = some(&[2.0, 0.0, 1.5]);
    let cases: &[Case] = &[
        ("{}", three.clone(), Ok(&[(0, 2, 1.0), (0, 1, 1.0), (2, 1, 1.0)])),
        // the worked example: (0, 2) has a margin of 0.5 only
        (r#"{"min-margin": 1}"#, three.clone(), Ok(&[(0, 1, 1.0), (2, 1, 1.0)])),
        (r#"{"min-margin": 1.5, "weights": "share"}"#, three.clone(), Ok(&[(0, 1, 0.5), (2, 1, 0.5)])),
        (r#"{"min-margin": 2.5}"#, three.clone(), Err("the margin is below min-margin")),
        ("{}", some(&[1.0, 1.0, 0.0]), Ok(&[(0, 2, 1.0), (1, 2, 1.0)])),
        ("{}", some(&[0.0, -0.0]), Err("all scores tie")),
        ("{}", vec![Some(1.0), None, Some(0.0)], Ok(&[(0, 2, 1.0)])),
        ("{}", vec![None, None], Err("fewer than two scored responses")),
    ];
    for (params, values, expected) in cases {
        let expected = expected.map(<[_]>::to_vec).map_err(String::from);
        assert_eq!(pairs(params, values), expected, "{params} {values:?}");
    }
}

#[test]
fn identical_responses_make_one() {
    let groups = testkit::groups(&[("x", &["a", "b", "a"])]);
    let scores = testkit::scores(&[("current", &[1.0, 0.0, 5.0].map(Some))]);
    let pairs = |params: &str| {
        let ranking =
            testkit::rank(&AllPairs::new(params).unwrap(), &RankContext::default(), &groups, &scores).unwrap();
        ranking.pairs.iter().map(|p| (p.chosen, p.rejected)).collect::<Vec<_>>()
    };
    assert_eq!(pairs("{}"), [(0, 1)]);
    assert_eq!(pairs(r#"{"deduplicate": false}"#), [(2, 0), (2, 1), (0, 1)]);
}

/// Every list of four scores from {0, 1, 2}: as many pairs as there are different scores, the set the same for every
/// order of the responses.
#[test]
fn all_different_scores_make_a_pair() {
    for code in 0..81u32 {
        let values: Vec<f64> = (0..4).map(|i| f64::from(code / 3u32.pow(i) % 3)).collect();
        let mut expected = Vec::new();
        for i in 0..4u32 {
            for j in 0..4u32 {
                if values[i as usize] > values[j as usize] {
                    expected.push((i, j, 1.0));
                }
            }
        }
        let some: Vec<_> = values.iter().copied().map(Some).collect();
        match pairs("{}", &some) {
            Ok(mut found) => {
                found.sort_by_key(|p| (p.0, p.1));
                assert_eq!(found, expected, "{values:?}");
            }
            Err(_) => assert!(expected.is_empty(), "{values:?}"),
        }
    }
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in
        [(r#"{"min-margin": -0.5}"#, "'min-margin' is -0.5"), (r#"{"on-tie": "drop"}"#, "unknown field `on-tie`")]
    {
        let error = AllPairs::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
