use creamery_plugin::testkit;

use super::*;

/// One group of responses "a", "b", …: its pairs with their weights, or the reason why there are none.
fn pairs(params: &str, values: &[Option<f64>]) -> Result<Vec<(u32, u32, f64)>, String> {
    let texts = &["a", "b", "c", "d", "e", "f"][..values.len()];
    let groups = testkit::groups(&[("x", texts)]);
    let scores = testkit::scores(&[("current", values)]);
    let ranking = testkit::rank(&TopBottom::new(params).unwrap(), &RankContext::default(), &groups, &scores).unwrap();
    match ranking.dropped.first() {
        Some(dropped) => Err(dropped.reason.clone()),
        None => Ok(ranking.pairs.iter().map(|p| (p.chosen, p.rejected, p.weight)).collect()),
    }
}

/// Parameters, scores, and the pairs or the reason for none.
type Case = (&'static str, Vec<Option<f64>>, Result<&'static [(u32, u32, f64)], &'static str>);

#[test]
fn pairs_of_the_best_with_the_worst() {
    let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
    let five = some(&[4.0, 1.0, 3.0, 2.0, 0.0]);
    let cases: &[Case] = &[
        // the worked example
        ("{}", five.clone(), Ok(&[(0, 4, 1.0), (0, 1, 1.0), (2, 4, 1.0), (2, 1, 1.0)])),
        (r#"{"weights": "share"}"#, five.clone(), Ok(&[(0, 4, 0.25), (0, 1, 0.25), (2, 4, 0.25), (2, 1, 0.25)])),
        (r#"{"top": 1, "bottom": 1}"#, five.clone(), Ok(&[(0, 4, 1.0)])),
        (r#"{"top": 1, "bottom": 3}"#, five.clone(), Ok(&[(0, 4, 1.0), (0, 1, 1.0), (0, 3, 1.0)])),
        (r#"{"top": 2, "bottom": 2, "min-margin": 2.5}"#, five.clone(), Ok(&[(0, 4, 1.0), (0, 1, 1.0), (2, 4, 1.0)])),
        (
            r#"{"min-margin": 2.5, "weights": "share"}"#,
            five.clone(),
            Ok(&[(0, 4, 1.0 / 3.0), (0, 1, 1.0 / 3.0), (2, 4, 1.0 / 3.0)]),
        ),
        (r#"{"min-margin": 5}"#, five.clone(), Err("the margin is below min-margin")),
        // too few: 2 + 2 of three become 2 + 1, of two 1 + 1; 9 + 1 of three become 2 + 1
        ("{}", some(&[2.0, 1.0, 0.0]), Ok(&[(0, 2, 1.0), (1, 2, 1.0)])),
        ("{}", some(&[1.0, 2.0]), Ok(&[(1, 0, 1.0)])),
        (r#"{"top": 9, "bottom": 1}"#, some(&[2.0, 1.0, 0.0]), Ok(&[(0, 2, 1.0), (1, 2, 1.0)])),
        (r#"{"top": 4294967295, "bottom": 4294967295}"#, some(&[1.0, 2.0]), Ok(&[(1, 0, 1.0)])),
        // ties: no pair of equal scores
        ("{}", some(&[1.0, 1.0, 1.0, 0.0]), Ok(&[(0, 3, 1.0), (1, 3, 1.0)])),
        ("{}", some(&[1.0, 1.0]), Err("all scores tie")),
        (r#"{"on-tie": "drop"}"#, some(&[2.0, 2.0, 2.0, 1.0, 0.0]), Err("the border of the best is tied")),
        (r#"{"on-tie": "drop"}"#, some(&[3.0, 2.0, 1.0, 1.0, 0.0]), Err("the border of the worst is tied")),
        (
            r#"{"on-tie": "drop"}"#,
            some(&[2.0, 2.0, 1.0, 0.0, 0.0]),
            Ok(&[(0, 4, 1.0), (0, 3, 1.0), (1, 4, 1.0), (1, 3, 1.0)]),
        ),
        ("{}", vec![Some(1.0), None, None], Err("fewer than two scored responses")),
        ("{}", vec![Some(1.0), None, Some(0.0)], Ok(&[(0, 2, 1.0)])),
    ];
    for (params, values, expected) in cases {
        let expected = expected.map(<[_]>::to_vec).map_err(String::from);
        assert_eq!(pairs(params, values), expected, "{params} {values:?}");
    }
}

/// Every list of five scores from {0, 1, 2}, for several sizes.
#[test]
fn every_chosen_response_is_better_and_no_response_is_on_both_sides() {
    for (top, bottom) in [(1, 1), (2, 2), (1, 4), (3, 3), (4, 1), (5, 5)] {
        let params = format!(r#"{{"top": {top}, "bottom": {bottom}, "weights": "share"}}"#);
        for code in 0..243u32 {
            let values: Vec<f64> = (0..5).map(|i| f64::from(code / 3u32.pow(i) % 3)).collect();
            let some: Vec<_> = values.iter().copied().map(Some).collect();
            let Ok(found) = pairs(&params, &some) else {
                assert!(values.iter().all(|v| *v == values[0]), "{params} {values:?}");
                continue;
            };
            let chosen: Vec<u32> = found.iter().map(|p| p.0).collect();
            assert!(found.iter().all(|p| !chosen.contains(&p.1)), "{params} {values:?}");
            assert!(found.iter().all(|p| values[p.0 as usize] > values[p.1 as usize]), "{params} {values:?}");
            assert!((found.iter().map(|p| p.2).sum::<f64>() - 1.0).abs() < 1e-12);
            let shifted: Vec<_> = values.iter().map(|v| Some(8.0 * v - 1.0)).collect();
            assert_eq!(pairs(&params, &shifted), Ok(found), "{params} {values:?}");
        }
    }
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"top": 0}"#, "'top' is 0"),
        (r#"{"bottom": 0}"#, "'bottom' is 0"),
        (r#"{"min-margin": -1}"#, "'min-margin' is -1"),
        (r#"{"weights": "half"}"#, "unknown variant `half`"),
    ] {
        let error = TopBottom::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
