use creamery_plugin::testkit::{self, pair, records};
use creamery_plugin::{Pair, Score};

use super::*;

/// Groups of two responses with these scores, each with a pair of the first against the second.
fn of(rows: &[[Option<f64>; 2]]) -> Records {
    let texts: Vec<[String; 2]> = (0..rows.len()).map(|g| [format!("a{g}"), format!("b{g}")]).collect();
    let texts: Vec<[&str; 2]> = texts.iter().map(|[a, b]| [a.as_str(), b.as_str()]).collect();
    let groups: Vec<(&str, &[&str])> = texts.iter().map(|two| ("x", &two[..])).collect();
    let pairs: Vec<Pair> = (0..rows.len() as u32).map(|g| pair(g, 2 * g, 2 * g + 1)).collect();
    records(testkit::groups(&groups), testkit::scores(&[("current", &rows.concat())]), pairs)
}

fn label(params: &str, records: &Records) -> Labels {
    Confidence::new(params).unwrap().label(records).unwrap()
}

#[test]
fn known_answers() {
    let two = of(&[[Some(1.0), Some(0.0)], [Some(5.0), Some(2.0)]]);
    let cases: &[(&str, &Records, &[f64])] = &[
        ("{}", &two, &[0.731_058_578_630_004_9, 0.952_574_126_822_433_3]),
        (r#"{"temperature": 2}"#, &two, &[0.622_459_331_201_854_6, 0.817_574_476_193_643_7]),
        ("{}", &of(&[[Some(4.0), Some(1.0)]]), &[0.731_058_578_630_004_9]),
        ("{}", &of(&[[Some(4.0), Some(4.0)], [Some(1.0), Some(1.0)]]), &[0.5, 0.5]),
        (r#"{"temperature": 1}"#, &of(&[[Some(-1e3), Some(1e3)], [Some(1e3), Some(-1e3)]]), &[0.0, 1.0]),
        (r#"{"temperature": 1}"#, &of(&[[Some(1e308), Some(-1e308)]]), &[1.0]),
        ("{}", &of(&[]), &[]),
    ];
    for (params, records, expected) in cases {
        let found = label(params, records).consistency;
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(*expected) {
            assert!((found - expected).abs() < 1e-12, "{params}: {found} {expected}");
        }
    }
    let huge = label("{}", &of(&[[Some(1e308), Some(-1e308)], [Some(1.0), Some(0.0)]])).consistency;
    assert!(huge.iter().all(|c| (0.5..=1.0).contains(c)), "{huge:?}");
    let metrics = label("{}", &two).metrics;
    assert_eq!((metrics[1].name.as_str(), metrics[1].value), ("confidence/temperature", 1.0));
}

#[test]
fn pairs_without_a_score_are_dropped_and_do_not_count() {
    let labels = label("{}", &of(&[[Some(1.0), Some(0.0)], [None, Some(9.0)], [Some(5.0), Some(2.0)]]));
    assert_eq!((labels.dropped.len(), labels.dropped[0].index), (1, 1));
    assert_eq!(labels.weights, [1.0, 0.0, 1.0]);
    let without = label("{}", &of(&[[Some(1.0), Some(0.0)], [Some(5.0), Some(2.0)]]));
    assert_eq!([labels.consistency[0], labels.consistency[2]], without.consistency[..]);
    assert_eq!(labels.metrics, without.metrics);
}

#[test]
fn auto_is_blind_to_the_unit_and_follows_the_pairs() {
    let rows = [[Some(0.3), Some(-1.0)], [Some(2.5), Some(2.25)], [Some(7.0), Some(3.0)]];
    let base = label("{}", &of(&rows)).consistency;
    let mut scaled = of(&rows);
    for score in &mut scaled.scores.scores {
        if let Score::Value(v) = score {
            *v *= 1024.0;
        }
    }
    assert_eq!(label("{}", &scaled).consistency, base);
    let turned = label("{}", &of(&[rows[2], rows[0], rows[1]])).consistency;
    for (a, b) in turned.iter().zip([base[2], base[0], base[1]]) {
        assert!((a - b).abs() < 1e-15);
    }
    // a temperature in units of the score is not blind to it
    assert_ne!(
        label(r#"{"temperature": 1}"#, &scaled).consistency,
        label(r#"{"temperature": 1}"#, &of(&rows)).consistency
    );
    assert!(base.iter().all(|c| (0.5..=1.0).contains(c)));
}

#[test]
fn parameters() {
    for (params, expected) in [
        (r#"{"temperature": 0}"#, "'temperature' is 0"),
        (r#"{"temperature": "hot"}"#, "expected \"auto\" or a number"),
        (r#"{"t": 1}"#, "unknown field"),
    ] {
        let error = Confidence::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
