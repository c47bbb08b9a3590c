use creamery_plugin::testkit::{self, pair, records};
use creamery_plugin::{Pair, Score};

use super::*;

/// One group of two responses for each row of margins by viewpoint; the rejected response scores 1.
fn of(rows: &[&[Option<f64>]]) -> Records {
    let texts: Vec<[String; 2]> = (0..rows.len()).map(|g| [format!("a{g}"), format!("b{g}")]).collect();
    let texts: Vec<[&str; 2]> = texts.iter().map(|[a, b]| [a.as_str(), b.as_str()]).collect();
    let groups: Vec<(&str, &[&str])> = texts.iter().map(|two| ("x", &two[..])).collect();
    let pairs: Vec<Pair> = (0..rows.len() as u32).map(|g| pair(g, 2 * g, 2 * g + 1)).collect();
    let viewpoints = rows.first().map_or(2, |row| row.len());
    let names: Vec<String> = (0..viewpoints).map(|v| format!("M{v}")).collect();
    let column = |v: usize| rows.iter().flat_map(|row| [row[v].map(|m| 1.0 + m), Some(1.0)]).collect::<Vec<_>>();
    let columns: Vec<Vec<Option<f64>>> = (0..viewpoints).map(column).collect();
    let scores: Vec<(&str, &[Option<f64>])> =
        names.iter().map(String::as_str).zip(columns.iter().map(|c| &c[..])).collect();
    records(testkit::groups(&groups), testkit::scores(&scores), pairs)
}

fn weights(params: &str, records: &Records) -> Vec<f64> {
    let labels = Disagreement::new(params).unwrap().label(records).unwrap();
    assert_eq!(labels.consistency, vec![1.0; records.pairs.len()]);
    labels.weights
}

fn example() -> Records {
    of(&[&[Some(3.0), Some(4.0)], &[Some(4.0), Some(-3.0)]])
}

#[test]
fn the_worked_example() {
    let q = 12.5f64.sqrt();
    let expected = [(-0.5 / q).exp(), (-3.5 / q).exp()];
    assert!((expected[0] - 0.868).abs() < 1e-3 && (expected[1] - 0.372).abs() < 1e-3);
    for (found, expected) in weights("{}", &example()).iter().zip(expected) {
        assert!((found - expected).abs() < 1e-15, "{found} {expected}");
    }
    assert_eq!(weights(r#"{"rule": "vote"}"#, &example()), [1.0, 0.5]);
    let hot = weights(r#"{"temperature": 2}"#, &example());
    assert!((hot[0] - expected[0].sqrt()).abs() < 1e-15);
    // three viewpoints, one of which is undecided
    let three = of(&[&[Some(1.0), Some(0.0), Some(2.0)]]);
    assert!((weights(r#"{"rule": "vote"}"#, &three)[0] - 2.5 / 3.0).abs() < 1e-15);
}

#[test]
fn viewpoints_count_alike_whatever_their_unit() {
    let base = weights("{}", &example());
    let mut scaled = example();
    for score in &mut scaled.scores.scores[4..] {
        if let Score::Value(v) = score {
            *v *= 256.0;
        }
    }
    for (a, b) in weights("{}", &scaled).iter().zip(&base) {
        assert!((a - b).abs() < 1e-15);
    }
    // the order of the viewpoints and of the pairs
    let swapped = of(&[&[Some(-3.0), Some(4.0)], &[Some(4.0), Some(3.0)]]);
    for (a, b) in weights("{}", &swapped).iter().rev().zip(&base) {
        assert!((a - b).abs() < 1e-15);
    }
    // a viewpoint that always ties says nothing: no division by its spread of 0
    let flat = of(&[&[Some(3.0), Some(0.0)], &[Some(3.0), Some(0.0)]]);
    assert!(weights("{}", &flat).iter().all(|w| (w - (-0.5f64).exp()).abs() < 1e-15));
}

#[test]
fn abstentions() {
    let rows: &[&[Option<f64>]] = &[&[Some(1.0), None, Some(1.0)], &[Some(1.0), None, None], &[None, None, None]];
    let labels = Disagreement::new("{}").unwrap().label(&of(rows)).unwrap();
    assert_eq!(labels.weights, [1.0, 0.0, 0.0]);
    assert_eq!(labels.dropped.iter().map(|d| d.index).collect::<Vec<_>>(), [1, 2]);
    let mean = labels.metrics.iter().find(|m| m.name == "disagreement/mean_weight").unwrap();
    assert_eq!(mean.value, 1.0);
    assert!(weights("{}", &of(&[])).is_empty());
}

#[test]
fn parameters_and_viewpoints() {
    for (params, expected) in [
        (r#"{"temperature": 0}"#, "'temperature' is 0"),
        (r#"{"rule": "vote", "temperature": 2}"#, "only with rule = \"spread\""),
        (r#"{"rule": "mean"}"#, "unknown variant"),
    ] {
        let error = Disagreement::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
    let error = Disagreement::new("").unwrap().label(&of(&[&[Some(1.0)]])).unwrap_err().message;
    assert!(error.contains("two viewpoints at least") && error.contains("M0"), "{error}");
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
