use creamery_plugin::testkit::{self, pair, records};

use super::*;

const COUNT: &str = r#"{"votes": "count"}"#;
const EIGHT: &[&str] = &["a", "a", "a", "a", "a", "b", "b", "c"];

/// Eight responses: five, two and one vote; the last one as given.
fn votes(last: Option<f64>) -> Records {
    let mut scores: Vec<Option<f64>> = [5.0, 5.0, 5.0, 5.0, 5.0, 2.0, 2.0].map(Some).into();
    scores.push(last);
    let pairs = vec![pair(0, 0, 7), pair(0, 0, 5), pair(0, 5, 7)];
    records(testkit::groups(&[("x", EIGHT)]), testkit::scores(&[("current", &scores)]), pairs)
}

fn label(params: &str, records: &Records) -> Labels {
    VoteMargin::new(params).unwrap().label(records).unwrap()
}

/// Parameters, the consistency reported, weights, and the reasons of drops.
type Case<'a> = (&'a str, Option<f64>, [f64; 3], &'a [&'a str]);

#[test]
fn weights_and_drops() {
    let cases: &[Case] = &[
        (COUNT, Some(1.0), [0.5, 0.375, 0.125], &[]),
        (
            r#"{"votes": "count", "min-margin": 0.375}"#,
            Some(1.0),
            [0.5, 0.375, 0.0],
            &["the vote margin is below 0.375"],
        ),
        (r#"{"votes": "count", "min-votes": 0.5}"#, Some(1.0), [0.5, 0.375, 0.0], &["less than 0.5 of the votes"]),
        (COUNT, Some(2.0), [0.375, 0.375, 0.0], &["no more votes"]),
        (COUNT, None, [0.0, 0.375, 0.0], &["has no votes", "has no votes"]),
    ];
    for (params, last, weights, reasons) in cases {
        let labels = label(params, &votes(*last));
        assert_eq!((labels.weights, labels.consistency), (weights.to_vec(), vec![1.0; 3]), "{params}");
        assert_eq!(labels.dropped.len(), reasons.len());
        for (dropped, reason) in labels.dropped.iter().zip(*reasons) {
            assert!(dropped.reason.contains(reason), "{dropped:?}");
        }
    }
    assert_eq!(label(COUNT, &votes(Some(1.0))).metrics[0].value, 1.0 / 3.0);
}

#[test]
fn shares_are_counts_over_the_group() {
    let mut shares = votes(Some(1.0));
    for score in &mut shares.scores.scores {
        if let creamery_plugin::Score::Value(v) = score {
            *v /= 8.0;
        }
    }
    assert_eq!(label("{}", &shares).weights, label(COUNT, &votes(Some(1.0))).weights);
}

#[test]
fn scores_that_are_no_votes_are_refused() {
    for (params, last) in [(COUNT, 9.0), (COUNT, -1.0), (COUNT, 0.4), ("{}", 1.5), ("{}", -0.5)] {
        let error = VoteMargin::new(params).unwrap().label(&votes(Some(last))).unwrap_err().message;
        assert!(error.contains("'p0'") && error.contains("score") && error.contains("votes ="), "{error}");
    }
}

#[test]
fn the_worked_example() {
    let batch = |chosen: f64| ObjectiveBatch {
        beta: 0.1,
        policy_chosen: vec![chosen],
        policy_rejected: vec![-4.0],
        reference_chosen: vec![-6.0],
        reference_rejected: vec![-4.0],
        chosen_tokens: vec![3],
        rejected_tokens: vec![1],
        consistency: vec![1.0],
        weight: vec![0.5],
    };
    let plugin = VoteMargin::new("{}").unwrap();
    let value = plugin.objective(&batch(-6.0)).unwrap();
    assert!((value.loss[0] - 0.5 * (2f64.ln() + 2.0)).abs() < 1e-15 && (value.loss[0] - 1.347).abs() < 1e-3);
    // ½ (β (σ(0) − 1) − 1/3)
    assert!((value.d_chosen[0] + 0.5 * (0.05 + 1.0 / 3.0)).abs() < 1e-15);
    let h = 1e-5;
    let loss = |chosen: f64| plugin.objective(&batch(chosen)).unwrap().loss[0];
    assert!(((loss(-6.0 + h) - loss(-6.0 - h)) / (2.0 * h) - value.d_chosen[0]).abs() < 1e-9);
    let plain = VoteMargin::new(r#"{"nll-weight": 0}"#).unwrap().objective(&batch(-6.0)).unwrap();
    assert_eq!(plain, creamery_plugin::objective::c_mix(&batch(-6.0)));
}

#[test]
fn parameters() {
    for (params, expected) in [
        (r#"{"min-votes": 2}"#, "'min-votes' is 2"),
        (r#"{"min-margin": -1}"#, "'min-margin' is -1"),
        (r#"{"nll-weight": -1}"#, "'nll-weight' is -1"),
    ] {
        let error = VoteMargin::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
