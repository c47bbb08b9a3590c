use creamery_plugin::testkit::{self, pair, records};
use creamery_plugin::{Groups, Pair};

use super::*;

const FIVE: &[&str] = &["a", "b", "c", "d", "e"];

fn label(params: &str, records: &Records) -> Labels {
    Cream::new(params).unwrap().label(records).unwrap()
}

fn metric(labels: &Labels, name: &str) -> Option<f64> {
    labels.metrics.iter().find(|m| m.name == name).map(|m| m.value)
}

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

/// Four groups of three, with τ = 1, −1, undefined (constant in the previous viewpoint) and 1/3.
fn four() -> (Groups, creamery_plugin::Scores) {
    let groups = testkit::groups(&[
        ("w", &["a", "b", "c"]),
        ("x", &["d", "e", "f"]),
        ("y", &["g", "h", "i"]),
        ("z", &["j", "k", "l"]),
    ]);
    let current = some(&[3.0, 2.0, 1.0, 3.0, 2.0, 1.0, 3.0, 2.0, 1.0, 3.0, 2.0, 1.0]);
    let previous = some(&[9.0, 8.0, 7.0, 1.0, 2.0, 3.0, 5.0, 5.0, 5.0, 3.0, 1.0, 2.0]);
    (groups, testkit::scores(&[("current", &current), ("previous", &previous)]))
}

fn pairs_of(groups: &[u32]) -> Vec<Pair> {
    groups.iter().map(|&g| pair(g, 3 * g, 3 * g + 2)).collect()
}

#[test]
fn the_worked_example() {
    let scores = testkit::scores(&[
        ("current", &some(&[5.0, 4.0, 3.0, 2.0, 1.0])),
        ("previous", &some(&[4.0, 5.0, 3.0, 2.0, 1.0])),
    ]);
    let records = records(testkit::groups(&[("x", FIVE)]), scores, vec![pair(0, 0, 4)]);
    for params in ["", "{}", r#"{"form": "sample"}"#] {
        let labels = label(params, &records);
        assert_eq!((labels.consistency, labels.weights), (vec![0.9], vec![1.0]), "{params}");
    }
}

#[test]
fn both_forms_with_skipped_groups_and_undefined_taus() {
    let (groups, scores) = four();
    let third = 2.0 / 3.0;
    // group 1 gave no pair: neither its τ nor its place may leak into the others
    let skipping = records(groups.clone(), scores.clone(), pairs_of(&[0, 2, 3]));
    let all = records(groups, scores, pairs_of(&[0, 1, 2, 3]));
    let cases: &[(&str, &Records, Vec<f64>, &[u32])] = &[
        ("{}", &skipping, vec![(1.0 + third) / 2.0; 3], &[]),
        (r#"{"undefined": "half"}"#, &skipping, vec![(1.0 + 0.5 + third) / 3.0; 3], &[]),
        (r#"{"form": "sample"}"#, &skipping, vec![1.0, 0.5, third], &[1]),
        (r#"{"form": "sample", "undefined": "half"}"#, &skipping, vec![1.0, 0.5, third], &[]),
        (r#"{"form": "sample"}"#, &all, vec![1.0, 0.0, 0.5, third], &[2]),
        (r#"{"form": "sample", "clamp": [0.5, 0.9]}"#, &all, vec![0.9, 0.5, 0.5, third], &[2]),
        (r#"{"clamp": [0.6, 1.0]}"#, &all, vec![0.6; 4], &[]),
    ];
    for (params, records, expected, dropped) in cases {
        let labels = label(params, records);
        for (found, expected) in labels.consistency.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{params}: {:?}", labels.consistency);
        }
        assert_eq!(labels.consistency.len(), records.pairs.len());
        assert_eq!(labels.dropped.iter().map(|d| d.index).collect::<Vec<_>>(), *dropped, "{params}");
    }
}

#[test]
fn metrics_are_over_the_groups_with_a_pair() {
    let (groups, scores) = four();
    let labels = label(r#"{"form": "sample"}"#, &records(groups.clone(), scores.clone(), pairs_of(&[0, 1, 2])));
    assert_eq!(metric(&labels, "consistency"), Some(0.5));
    assert_eq!(metric(&labels, "consistency/mean_tau"), Some(0.0));
    assert_eq!(metric(&labels, "consistency/std"), Some(0.5));
    assert_eq!(metric(&labels, "consistency/undefined"), Some(1.0));
    let none = label("{}", &records(groups, scores, vec![]));
    assert_eq!((none.consistency.len(), none.weights.len(), metric(&none, "consistency")), (0, 0, None));
}

#[test]
fn a_group_counts_once_however_many_pairs_it_has() {
    let (groups, scores) = four();
    let mut pairs = pairs_of(&[0, 0, 0]);
    pairs.extend(pairs_of(&[1]));
    assert_eq!(label("{}", &records(groups, scores, pairs)).consistency, [0.5; 4]);
}

#[test]
fn duplicates_and_abstentions_are_left_out_of_tau() {
    let groups = testkit::groups(&[("x", &["a", "b", "a", "a", "c", "d"])]);
    let scores = testkit::scores(&[
        ("current", &[Some(2.0), Some(1.0), Some(2.0), Some(2.0), None, Some(7.0)]),
        ("previous", &[Some(1.0), Some(2.0), Some(1.0), Some(1.0), Some(5.0), None]),
    ]);
    let records = records(groups, scores, vec![pair(0, 5, 1)]);
    // "a" and "b" alone are compared, once: τ = −1
    assert_eq!(label("{}", &records).consistency, [0.0]);
    // all four scored ones by ordinal rank: the three equal "a" agree among themselves, so 3 of 6 pairs do
    assert_eq!(label(r#"{"reference-compat": "ordinal"}"#, &records).consistency, [0.5]);
}

#[test]
fn ordinal_ranks_turn_ties_into_agreement() {
    let flat = some(&[1.0; 5]);
    let scores = testkit::scores(&[("current", &flat), ("previous", &flat)]);
    let records = records(testkit::groups(&[("x", FIVE)]), scores, vec![pair(0, 0, 4)]);
    assert_eq!(label(r#"{"reference-compat": "ordinal"}"#, &records).consistency, [1.0]);
    let error = Cream::new("{}").unwrap().label(&records).unwrap_err().message;
    assert!(error.contains("undefined for all 1 groups") && error.contains("undefined = \"half\""), "{error}");
    assert_eq!(label(r#"{"undefined": "half"}"#, &records).consistency, [0.5]);
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"clamp": [0.7, 0.3]}"#, "'clamp' is [0.7, 0.3]"),
        (r#"{"clamp": [0.5, 1.5]}"#, "'clamp'"),
        (r#"{"clamp": [0.5]}"#, "expected"),
        (r#"{"form": "mean"}"#, "unknown variant `mean`"),
    ] {
        let error = Cream::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
    let groups = testkit::groups(&[("x", &["a", "b"])]);
    let two = some(&[1.0, 2.0]);
    let cases = [
        (testkit::scores(&[("current", &two)]), pair(0, 1, 0), "compares two viewpoints"),
        (testkit::scores(&[("current", &two), ("previous", &two[..1])]), pair(0, 1, 0), "expected 4"),
        (testkit::scores(&[("current", &two), ("previous", &two)]), pair(1, 1, 0), "names group 1"),
    ];
    for (scores, pair, expected) in cases {
        let error = Cream::new("{}").unwrap().label(&records(groups.clone(), scores, vec![pair])).unwrap_err().message;
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
