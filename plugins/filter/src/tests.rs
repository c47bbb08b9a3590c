use creamery_plugin::testkit::{self, pair, records};

use super::*;

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

/// τ = 1, 1/3, −1/3 and undefined.
fn four() -> Records {
    let groups = testkit::groups(&[
        ("w", &["a", "b", "c"]),
        ("x", &["d", "e", "f"]),
        ("y", &["g", "h", "i"]),
        ("z", &["j", "k", "l"]),
    ]);
    let current = some(&[3.0, 2.0, 1.0, 3.0, 2.0, 1.0, 3.0, 2.0, 1.0, 3.0, 2.0, 1.0]);
    let previous = some(&[9.0, 8.0, 7.0, 3.0, 1.0, 2.0, 2.0, 1.0, 3.0, 5.0, 5.0, 5.0]);
    let pairs = (0..4).map(|g| pair(g, 3 * g, 3 * g + 2)).collect();
    records(groups, testkit::scores(&[("current", &current), ("previous", &previous)]), pairs)
}

fn dropped(params: &str, records: &Records) -> Vec<u32> {
    let labels = Filter::new(params).unwrap().label(records).unwrap();
    assert_eq!(labels.consistency, vec![1.0; records.pairs.len()]);
    labels.dropped.iter().map(|d| d.index).collect()
}

#[test]
fn the_worked_example() {
    let records = four();
    let cases: &[(&str, &[u32])] = &[
        ("{}", &[2, 3]),
        (r#"{"threshold": 0.7}"#, &[1, 2, 3]),
        (r#"{"threshold": 0}"#, &[3]),
        (r#"{"threshold": 1}"#, &[1, 2, 3]),
        (r#"{"undefined": "half"}"#, &[2]),
        (r#"{"undefined": "half", "threshold": 0.6}"#, &[2, 3]),
        // the same best and the same worst: 1, 0 (another worst), 0, undefined
        (r#"{"measure": "top-order", "threshold": 0.01}"#, &[1, 2, 3]),
        (r#"{"measure": "top-order", "threshold": 0}"#, &[3]),
    ];
    for (params, expected) in cases {
        assert_eq!(dropped(params, &records), *expected, "{params}");
    }
    let labels = Filter::new("{}").unwrap().label(&records).unwrap();
    let metric = |name: &str| labels.metrics.iter().find(|m| m.name == name).unwrap().value;
    assert!((metric("consistency") - 2.0 / 3.0).abs() < 1e-15);
    assert_eq!((metric("filter/kept"), metric("consistency/undefined")), (0.5, 1.0));
    assert_eq!(labels.dropped[0].reason, "C of the group is below 0.5");
    assert_eq!(labels.dropped[1].reason, "Kendall's tau is undefined for the group");
    assert_eq!(labels.weights, [1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn other_orders_of_pairs_and_positive_factors_change_nothing() {
    let mut records = four();
    records.pairs.reverse();
    for score in &mut records.scores.scores {
        if let creamery_plugin::Score::Value(v) = score {
            *v *= 8.0;
        }
    }
    assert_eq!(dropped("{}", &records), [0, 1]);
}

#[test]
fn parameters() {
    for (params, expected) in [
        (r#"{"threshold": 1.1}"#, "'threshold' is 1.1"),
        (r#"{"rbo-p": 0.7}"#, "'rbo-p' is set"),
        (r#"{"viewpoints": "both"}"#, "two viewpoints by name or number"),
    ] {
        let error = Filter::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
    let error = Filter::new(r#"{"viewpoints": [0, "M7"]}"#).unwrap().label(&four()).unwrap_err().message;
    assert!(error.contains("'M7'") && error.contains("current, previous"), "{error}");
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
