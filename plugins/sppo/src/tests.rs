use creamery_plugin::objective::PreferenceLoss;
use creamery_plugin::testkit::{self, pair, records};

use super::*;

fn batch(chosen: f64, rejected: f64, weight: f64) -> ObjectiveBatch {
    ObjectiveBatch {
        beta: 0.1,
        policy_chosen: vec![chosen - 7.0],
        policy_rejected: vec![rejected - 9.0],
        reference_chosen: vec![-7.0],
        reference_rejected: vec![-9.0],
        chosen_tokens: vec![3],
        rejected_tokens: vec![1],
        consistency: vec![1.0],
        weight: vec![weight],
    }
}

fn columns(chosen: f64, rejected: f64) -> Vec<Column> {
    let column = |name: &str, value: f64| Column { name: name.into(), values: vec![value] };
    // found by name, not by place
    vec![column(REJECTED, rejected), column("other", 9.0), column(CHOSEN, chosen)]
}

fn records_of(scores: &[Option<f64>]) -> Records {
    let groups = testkit::groups(&[("x", &["a", "b", "c"])]);
    records(groups, testkit::scores(&[("current", scores)]), vec![pair(0, 0, 1), pair(0, 1, 2), pair(0, 2, 0)])
}

#[test]
fn the_worked_example() {
    let plugin = Sppo::new("{}").unwrap();
    let value = plugin.objective_columns(&batch(1.0, 0.0, 1.0), &columns(0.8, 0.4)).unwrap();
    for (found, expected) in [(value.loss[0], 5.0), (value.d_chosen[0], -4.0), (value.d_rejected[0], 2.0)] {
        assert!((found - expected).abs() < 1e-12, "{value:?}");
    }
    let doubled = plugin.objective_columns(&batch(1.0, 0.0, 2.0), &columns(0.8, 0.4)).unwrap();
    assert_eq!(doubled.loss[0], 2.0 * value.loss[0]);
    let eta = Sppo::new(r#"{"eta": 10}"#).unwrap().objective_columns(&batch(1.0, 0.0, 1.0), &columns(0.8, 0.4));
    assert_eq!(eta.unwrap(), value);
}

#[test]
fn hard_labels_give_sppo_hard() {
    for (chosen, rejected) in [(0.0, 0.0), (3.5, -2.0), (-1e3, 1e3)] {
        let batch = batch(chosen, rejected, 1.5);
        let value = Sppo::new("").unwrap().objective_columns(&batch, &columns(1.0, 0.0)).unwrap();
        assert_eq!(value, PreferenceLoss::SppoHard.evaluate(&batch));
    }
}

#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    let plugin = Sppo::new(r#"{"eta": 4}"#).unwrap();
    let loss = |c: f64, r: f64, wins: &[Column]| plugin.objective_columns(&batch(c, r, 0.7), wins).unwrap();
    let h = 1e-4;
    for wins in [columns(0.9, 0.1), columns(0.5, 0.5), columns(0.2, 1.0)] {
        for (c, r) in [(0.0, 0.0), (-3.0, 8.0), (1e3, -1e3)] {
            let value = loss(c, r, &wins);
            let d_chosen = (loss(c + h, r, &wins).loss[0] - loss(c - h, r, &wins).loss[0]) / (2.0 * h);
            let d_rejected = (loss(c, r + h, &wins).loss[0] - loss(c, r - h, &wins).loss[0]) / (2.0 * h);
            let close = |a: f64, b: f64| (a - b).abs() < 1e-4 * (1.0 + value.loss[0].sqrt());
            assert!(close(d_chosen, value.d_chosen[0]) && close(d_rejected, value.d_rejected[0]), "{value:?}");
        }
    }
}

#[test]
fn columns_are_the_win_rates_of_all_pairs() {
    let plugin = Sppo::new("").unwrap();
    let records = records_of(&[Some(1.0), Some(0.25), None]);
    let labels = plugin.label(&records).unwrap();
    assert_eq!((&labels.consistency, &labels.weights), (&vec![1.0; 3], &vec![1.0, 0.0, 0.0]));
    assert_eq!(labels.dropped.iter().map(|d| d.index).collect::<Vec<_>>(), [1, 2]);
    let columns = plugin.columns(&records, &labels).unwrap();
    assert_eq!(columns[0], Column { name: CHOSEN.into(), values: vec![1.0, 0.25, 0.5] });
    assert_eq!(columns[1], Column { name: REJECTED.into(), values: vec![0.25, 0.5, 1.0] });
}

#[test]
fn errors_name_what_is_wrong() {
    let plugin = Sppo::new("").unwrap();
    for score in [-0.1, 1.01, 7.0] {
        let records = records_of(&[Some(0.5), Some(score), None]);
        for error in [plugin.label(&records).err(), plugin.columns(&records, &Labels::default()).err()] {
            let message = error.unwrap().message;
            assert!(message.contains("'p0'") && message.contains("win rates from 0 to 1"), "{message}");
        }
    }
    let error = plugin.objective(&batch(0.0, 0.0, 1.0)).unwrap_err().message;
    assert!(error.contains("no win rates"), "{error}");
    let error = plugin.objective_columns(&batch(0.0, 0.0, 1.0), &columns(1.0, 0.0)[..1]).unwrap_err().message;
    assert!(error.contains("no column 'win_rate_chosen'"), "{error}");
    for (params, expected) in [(r#"{"eta": 0}"#, "'eta' is 0"), (r#"{"eta": "x"}"#, "expected \"auto\" or a number")] {
        let error = Sppo::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{error}");
    }
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
