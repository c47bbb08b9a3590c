use creamery_plugin::objective::PreferenceLoss;
use creamery_plugin::testkit;

use super::*;

fn plugin(lambda: f64) -> DpoShift {
    DpoShift::new(&format!(r#"{{"lambda": {lambda}}}"#)).unwrap()
}

/// Pairs of log-ratios, chosen and rejected; the reference gives −7 and −9.
fn batch(beta: f64, pairs: &[(f64, f64)]) -> ObjectiveBatch {
    ObjectiveBatch {
        beta,
        policy_chosen: pairs.iter().map(|p| p.0 - 7.0).collect(),
        policy_rejected: pairs.iter().map(|p| p.1 - 9.0).collect(),
        reference_chosen: vec![-7.0; pairs.len()],
        reference_rejected: vec![-9.0; pairs.len()],
        chosen_tokens: vec![3; pairs.len()],
        rejected_tokens: vec![4; pairs.len()],
        consistency: vec![1.0; pairs.len()],
        weight: vec![1.0; pairs.len()],
    }
}

const PAIRS: [(f64, f64); 6] = [(0.0, 0.0), (2.0, -2.0), (-2.0, -6.0), (-3.0, 5.0), (400.0, -400.0), (-900.0, 900.0)];

#[test]
fn the_worked_example() {
    let (up, down) = (batch(0.5, &[(2.0, -2.0)]), batch(0.5, &[(-2.0, -6.0)]));
    let cases = [
        // ln(1 + e^-z) for z = 1.5, 2, 0.5, 2
        (&up, 0.5, 0.2014132779827524),
        (&up, 1.0, 0.1269280110429725),
        (&down, 0.5, 0.4740769841801067),
        (&down, 1.0, 0.1269280110429725),
    ];
    for (batch, lambda, expected) in cases {
        let loss = plugin(lambda).objective(batch).unwrap().loss[0];
        assert!((loss - expected).abs() < 1e-15, "lambda {lambda}: {loss}");
    }
    // At z = 0: −β/2 and λβ/2.
    let value = plugin(0.5).objective(&batch(0.5, &[(0.0, 0.0)])).unwrap();
    assert_eq!((value.d_chosen, value.d_rejected), (vec![-0.25], vec![0.125]));
}

#[test]
fn lambda_1_is_dpo() {
    let batch = batch(0.3, &PAIRS);
    let dpo = PreferenceLoss::Dpo { label_smoothing: 0.0 }.evaluate(&batch);
    let ours = plugin(1.0).objective(&batch).unwrap();
    let pairs = [(&ours.loss, &dpo.loss), (&ours.d_chosen, &dpo.d_chosen), (&ours.d_rejected, &dpo.d_rejected)];
    for (ours, theirs) in pairs {
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() <= 1e-13 * (1.0 + b.abs()), "{a} {b}");
        }
    }
}

#[test]
fn the_gradient_agrees_with_finite_differences() {
    let h = 1e-5;
    for lambda in [0.1, 0.5, 0.95, 1.0] {
        let plugin = plugin(lambda);
        for pair in PAIRS {
            let value = plugin.objective(&batch(0.7, &[pair])).unwrap();
            let loss = |chosen: f64, rejected: f64| {
                plugin.objective(&batch(0.7, &[(pair.0 + chosen, pair.1 + rejected)])).unwrap().loss[0]
            };
            let measured = [
                (value.d_chosen[0], (loss(h, 0.0) - loss(-h, 0.0)) / (2.0 * h)),
                (value.d_rejected[0], (loss(0.0, h) - loss(0.0, -h)) / (2.0 * h)),
            ];
            for (given, measured) in measured {
                assert!((given - measured).abs() < 1e-6, "lambda {lambda} {pair:?}: {given} {measured}");
            }
        }
    }
}

#[test]
fn weights_multiply_and_pairs_do_not_meet() {
    let plugin = plugin(0.95);
    let mut all = batch(0.3, &PAIRS);
    all.weight = vec![2.0; PAIRS.len()];
    let value = plugin.objective(&all).unwrap();
    for (i, pair) in PAIRS.iter().enumerate() {
        let alone = plugin.objective(&batch(0.3, &[*pair])).unwrap();
        assert_eq!(value.loss[i], 2.0 * alone.loss[0]);
        assert_eq!((value.d_chosen[i], value.d_rejected[i]), (2.0 * alone.d_chosen[0], 2.0 * alone.d_rejected[0]));
    }
}

#[test]
fn all_pairs_are_trusted() {
    let groups = testkit::groups(&[("one", &["a", "b"]), ("two", &["c", "d"])]);
    let scores = testkit::scores(&[("current", &[Some(1.0), Some(0.0), Some(2.0), None])]);
    let records = testkit::records(groups, scores, vec![testkit::pair(0, 0, 1)]);
    let labels = plugin(0.95).label(&records).unwrap();
    assert_eq!((labels.consistency, labels.weights), (vec![1.0], vec![1.0]));
}

#[test]
fn parameters_have_a_range_and_the_schema_their_defaults() {
    for (json, part) in [
        (r#"{"lambda": 0}"#, "parameter 'lambda' is 0"),
        (r#"{"lambda": 1.5}"#, "parameter 'lambda' is 1.5"),
        (r#"{"gamma": 1}"#, "unknown field `gamma`"),
    ] {
        let error = DpoShift::new(json).err().unwrap().message;
        assert!(error.contains(part), "{error}");
    }
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
