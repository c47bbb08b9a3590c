use creamery_plugin::testkit::{self, pair, records};
use creamery_plugin::{Groups, Message, Metric, Pair, RoundRecord};

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
    assert_eq!(Rule::parse(&defaults).unwrap(), Rule::default());
}

/// Groups of three whose prompts, ids and current scores are given; the previous viewpoint's are 3, 2, 1.
fn prompts(rows: &[(&str, &str, [f64; 3])], history: Vec<RoundRecord>) -> Records {
    let (mut groups, mut pairs) = (Groups::default(), Vec::new());
    for (g, (id, prompt, _)) in rows.iter().enumerate() {
        groups.push(*id, vec![Message::user(*prompt)], ["a", "b", "c"].map(testkit::complete).into());
        pairs.push(pair(g as u32, 3 * g as u32, 3 * g as u32 + 2));
    }
    let current = some(&rows.iter().flat_map(|(_, _, scores)| *scores).collect::<Vec<_>>());
    let previous = some(&[3.0, 2.0, 1.0].repeat(rows.len()));
    Records { history, ..records(groups, testkit::scores(&[("current", &current), ("previous", &previous)]), pairs) }
}

const AGREES: [f64; 3] = [3.0, 2.0, 1.0];
const REVERSED: [f64; 3] = [1.0, 2.0, 3.0];

fn round(round: u32, metrics: &[(&str, f64)]) -> RoundRecord {
    let metrics = metrics.iter().map(|(name, value)| Metric { name: (*name).into(), value: *value }).collect();
    RoundRecord { round, pairs: 1, metrics }
}

#[test]
fn other_measures() {
    let scores = testkit::scores(&[
        ("current", &some(&[5.0, 4.0, 3.0, 2.0, 1.0])),
        ("previous", &some(&[4.0, 5.0, 3.0, 2.0, 1.0])),
    ]);
    let records = records(testkit::groups(&[("x", FIVE)]), scores, vec![pair(0, 0, 4)]);
    for (params, expected, name) in [
        (r#"{"measure": "spearman"}"#, 0.95, "rho"),
        (r#"{"measure": "top-order"}"#, 0.0, "top_order"),
        (r#"{"measure": "rbo"}"#, 0.5, "rbo"),
        (r#"{"measure": "top-order", "reference-compat": "ordinal"}"#, 0.0, "top_order"),
        // A_1 = 0 and then 1: 0.9 in all
        (r#"{"measure": "rbo", "rbo-p": 0.9}"#, 0.9, "rbo"),
    ] {
        let labels = label(params, &records);
        assert!((labels.consistency[0] - expected).abs() < 1e-15, "{params}: {:?}", labels.consistency);
        assert!(metric(&labels, &format!("consistency/mean_{name}")).is_some(), "{params}");
    }
}

#[test]
fn other_viewpoints() {
    let rows: [(&str, [f64; 3]); 3] = [("current", AGREES), ("previous", REVERSED), ("M0", AGREES)];
    let values: Vec<(&str, Vec<Option<f64>>)> = rows.iter().map(|(name, list)| (*name, some(list))).collect();
    let rows: Vec<(&str, &[Option<f64>])> = values.iter().map(|(name, list)| (*name, &list[..])).collect();
    let mut records = records(testkit::groups(&[("x", &["a", "b", "c"])]), testkit::scores(&rows), vec![pair(0, 0, 2)]);
    for (params, c) in [
        ("{}", 0.0),
        (r#"{"viewpoints": [0, 2]}"#, 1.0),
        (r#"{"viewpoints": ["current", "M0"]}"#, 1.0),
        (r#"{"viewpoints": ["M0", 1]}"#, 0.0),
        (r#"{"viewpoints": "all"}"#, 0.5),
    ] {
        assert_eq!(label(params, &records).consistency, [c], "{params}");
    }
    let error = |params: &str| Cream::new(params).unwrap().label(&records).unwrap_err().message;
    assert!(error(r#"{"viewpoints": [0, 3]}"#).contains("names 3, but the scores come from current, previous, M0"));
    assert!(error(r#"{"viewpoints": ["current", 0]}"#).contains("compares 'current' with itself"));
    // a viewpoint that says nothing is left out of the mean
    for r in 3..6 {
        records.scores.scores[r] = creamery_plugin::Score::Value(1.0);
    }
    assert_eq!(label(r#"{"viewpoints": "all"}"#, &records).consistency, [1.0]);
}

#[test]
fn buckets() {
    let records = prompts(
        &[
            ("m-1", "add 1 2", AGREES),
            ("m-2", "Add 2 2", REVERSED),
            ("t-1", "sort 31", AGREES),
            ("t-2", "sort 12", AGREES),
            ("u-1", "count ab", REVERSED),
        ],
        vec![],
    );
    let labels = label(r#"{"form": "bucketed", "min-bucket": 2}"#, &records);
    // "count" is alone: the average of all five
    assert_eq!(labels.consistency, [0.5, 0.5, 1.0, 1.0, 0.6]);
    assert_eq!(metric(&labels, "consistency/bucket/add"), Some(0.5));
    assert_eq!(metric(&labels, "consistency/bucket/sort"), Some(1.0));
    assert_eq!(metric(&labels, "consistency/bucket/count"), None);
    assert_eq!(metric(&labels, "consistency/buckets"), Some(2.0));
    assert!((metric(&labels, "consistency").unwrap() - 0.72).abs() < 1e-15);
    let c = |params: &str| label(params, &records).consistency;
    assert_eq!(c(r#"{"form": "bucketed", "bucket": "id-prefix", "min-bucket": 1}"#), [0.5, 0.5, 1.0, 1.0, 0.0]);
    assert_eq!(c(r#"{"form": "bucketed", "bucket": "id-prefix", "bucket-separator": "-1"}"#), [0.6; 5]);
    // the longest prompt is "count ab": seven of eight characters stay together
    assert_eq!(c(r#"{"form": "bucketed", "bucket": "length", "buckets": 5, "min-bucket": 1}"#)[4], 0.0);
    // large buckets only: the average form
    assert_eq!(c(r#"{"form": "bucketed"}"#), c("{}"));
    assert_eq!(c(r#"{"form": "bucketed", "min-bucket": 2, "clamp": [0.55, 0.9]}"#), [0.55, 0.55, 0.9, 0.9, 0.6]);
}

#[test]
fn running_averages_over_rounds() {
    // this round C = 1
    let with = |history| prompts(&[("x-1", "add 1", AGREES)], history);
    let two = || vec![round(1, &[("consistency", 0.4)]), round(2, &[("consistency", 0.7), ("consistency/round", 0.6)])];
    for (params, history, expected) in [
        ("{}", two(), 1.0),
        (r#"{"running": "mean"}"#, vec![], 1.0),
        (r#"{"running": "mean"}"#, two(), 2.0 / 3.0),
        // (0.4 + 0.6)/2 = 0.5, then (0.5 + 1)/2
        (r#"{"running": "ema"}"#, two(), 0.75),
        (r#"{"running": "ema", "running-decay": 0.9}"#, two(), 0.9 * (0.9 * 0.4 + 0.1 * 0.6) + 0.1),
        (r#"{"running": "mean", "clamp": [0, 0.5]}"#, two(), 0.5),
        // a round without the metric is passed over
        (r#"{"running": "mean"}"#, vec![round(1, &[("other", 9.0)]), round(2, &[("consistency", 0.0)])], 0.5),
        (
            r#"{"running": "mean", "form": "bucketed", "min-bucket": 1}"#,
            vec![round(1, &[("consistency", 0.8), ("consistency/bucket/add", 0.2)])],
            0.6,
        ),
    ] {
        let labels = label(params, &with(history));
        assert!((labels.consistency[0] - expected).abs() < 1e-15, "{params}: {:?}", labels.consistency);
        let of_this_round = metric(&labels, "consistency/round");
        assert_eq!(of_this_round, params.contains("running").then_some(1.0), "{params}");
    }
    let history = vec![round(3, &[("consistency", 1.5)])];
    let error = Cream::new(r#"{"running": "mean"}"#).unwrap().label(&with(history)).unwrap_err().message;
    assert!(error.contains("round 3 has the metric 'consistency' = 1.5"), "{error}");
}

#[test]
fn parameters_without_a_meaning_are_errors() {
    for (params, expected) in [
        (r#"{"rbo-p": 0.9}"#, "'rbo-p' is set, but has a meaning only with measure = \"rbo\""),
        (r#"{"measure": "rbo", "rbo-p": 1}"#, "'rbo-p' is 1"),
        (r#"{"bucket": "length"}"#, "only with form = \"bucketed\""),
        (r#"{"min-bucket": 3}"#, "only with form = \"bucketed\""),
        (r#"{"form": "bucketed", "buckets": 3}"#, "only with bucket = \"length\""),
        (r#"{"form": "bucketed", "bucket-separator": "/"}"#, "only with bucket = \"id-prefix\""),
        (r#"{"form": "bucketed", "bucket": "length", "buckets": 1}"#, "'buckets' is 1"),
        (r#"{"form": "bucketed", "bucket": "id-prefix", "bucket-separator": ""}"#, "'bucket-separator' is empty"),
        (r#"{"running-decay": 0.9}"#, "only with running = \"ema\""),
        (r#"{"running": "ema", "running-decay": 1}"#, "'running-decay' is 1"),
        (r#"{"running": "mean", "form": "sample"}"#, "needs form = \"average\""),
        (r#"{"viewpoints": [0]}"#, "two viewpoints by name or number"),
    ] {
        let error = Cream::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
}

#[test]
fn too_many_buckets_are_an_error() {
    let words: Vec<String> = (0..101).map(|i| format!("word{i}")).collect();
    let rows: Vec<(&str, &str, [f64; 3])> = words.iter().map(|w| (w.as_str(), w.as_str(), AGREES)).collect();
    let cream = Cream::new(r#"{"form": "bucketed", "min-bucket": 1}"#).unwrap();
    let error = cream.label(&prompts(&rows, vec![])).unwrap_err().message;
    assert!(error.contains("101 buckets") && error.contains("raise 'min-bucket'"), "{error}");
    assert_eq!(cream.label(&prompts(&rows[..100], vec![])).unwrap().metrics.len(), 105);
}
