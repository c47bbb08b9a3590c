use creamery_plugin::testkit;

use super::*;

/// One group of responses "a", "b", …: its pairs with their weights, or the reason why there are none.
fn pairs(params: &str, values: &[Option<f64>]) -> Result<Vec<(u32, u32, f64)>, String> {
    let texts = &["a", "b", "c", "d", "e", "f"][..values.len()];
    let groups = testkit::groups(&[("x", texts)]);
    let scores = testkit::scores(&[("current", values)]);
    let ranking = testkit::rank(&Each::new(params).unwrap(), &RankContext::default(), &groups, &scores).unwrap();
    match ranking.dropped.first() {
        Some(dropped) => Err(dropped.reason.clone()),
        None => Ok(ranking.pairs.iter().map(|p| (p.chosen, p.rejected, p.weight)).collect()),
    }
}

/// Parameters, scores, and the pairs or the reason for none.
type Case = (&'static str, Vec<Option<f64>>, Result<&'static [(u32, u32, f64)], &'static str>);

#[test]
fn cycles() {
    let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
    let cases: &[Case] = &[
        // the worked example
        ("{}", some(&[3.0, 1.0, 2.0]), Ok(&[(0, 2, 0.5), (2, 1, 0.5), (0, 1, 0.5)])),
        ("{}", some(&[0.0, 1.0, 2.0, 3.0]), Ok(&[(3, 2, 0.5), (2, 1, 0.5), (1, 0, 0.5), (3, 0, 0.5)])),
        ("{}", some(&[0.0, 1.0]), Ok(&[(1, 0, 1.0)])),
        ("{}", some(&[1.0, 1.0]), Ok(&[(0, 1, 1.0)])),
        (r#"{"on-tie": "drop"}"#, some(&[1.0, 1.0]), Err("all scores tie")),
        (r#"{"on-tie": "drop"}"#, some(&[1.0, 1.0, 0.0]), Ok(&[(1, 2, 0.5), (0, 2, 0.5)])),
        ("{}", vec![Some(1.0), None, Some(2.0), Some(3.0)], Ok(&[(3, 2, 0.5), (2, 0, 0.5), (3, 0, 0.5)])),
        ("{}", vec![Some(1.0), None], Err("fewer than two scored responses")),
    ];
    for (params, values, expected) in cases {
        let expected = expected.map(<[_]>::to_vec).map_err(String::from);
        assert_eq!(pairs(params, values), expected, "{params} {values:?}");
    }
}

/// Every list of up to five scores from {0, 1, 2}: each response weighs 1 in all, in two pairs from three responses on,
/// and no chosen response is worse than its rejected one.
#[test]
fn every_response_weighs_one() {
    for n in 2..=5u32 {
        for code in 0..3u32.pow(n) {
            let values: Vec<f64> = (0..n).map(|i| f64::from(code / 3u32.pow(i) % 3)).collect();
            let some: Vec<_> = values.iter().copied().map(Some).collect();
            for params in ["{}", r#"{"on-tie": "random"}"#] {
                let found = pairs(params, &some).unwrap();
                for r in 0..n {
                    let own: Vec<f64> = found.iter().filter(|p| p.0 == r || p.1 == r).map(|p| p.2).collect();
                    assert_eq!(own, if n == 2 { vec![1.0] } else { vec![0.5; 2] }, "{params} {values:?} {r}");
                }
                assert!(found.iter().all(|p| values[p.0 as usize] >= values[p.1 as usize]), "{values:?}");
            }
        }
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let error = Each::new(r#"{"min-margin": 1}"#).err().unwrap().message;
    assert!(error.contains("unknown field `min-margin`"), "{error}");
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
