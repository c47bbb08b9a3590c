use creamery_plugin::objective::PreferenceLoss;
use creamery_plugin::testkit;

use super::*;

fn plugin(alpha: f64, gamma: f64) -> AlphaPo {
    AlphaPo::new(&format!(r#"{{"alpha": {alpha}, "gamma": {gamma}}}"#)).unwrap()
}

/// Pairs of (log π(y⁺), |y⁺|, log π(y⁻), |y⁻|).
fn batch(beta: f64, pairs: &[(f64, u32, f64, u32)]) -> ObjectiveBatch {
    ObjectiveBatch {
        beta,
        policy_chosen: pairs.iter().map(|p| p.0).collect(),
        policy_rejected: pairs.iter().map(|p| p.2).collect(),
        reference_chosen: vec![-7.0; pairs.len()],
        reference_rejected: vec![-9.0; pairs.len()],
        chosen_tokens: pairs.iter().map(|p| p.1).collect(),
        rejected_tokens: pairs.iter().map(|p| p.3).collect(),
        consistency: vec![1.0; pairs.len()],
        weight: vec![1.0; pairs.len()],
    }
}

#[test]
fn the_worked_example() {
    let ln2 = std::f64::consts::LN_2;
    let pair = batch(2.0, &[(-2.0 * ln2, 2, -4.0 * ln2, 2)]);
    for (alpha, expected) in [(1.0, 0.018149927917808943), (0.0, 0.22314355131420976)] {
        let loss = plugin(alpha, 0.0).objective(&pair).unwrap().loss[0];
        assert!((loss - expected).abs() < 1e-12, "alpha {alpha}: {loss}");
    }
}

const PAIRS: [(f64, u32, f64, u32); 5] =
    [(-3.0, 4, -5.0, 7), (-0.01, 1, -40.0, 3), (-20.0, 9, -1.0, 2), (-1000.0, 1, -1.0, 1), (-1.0, 1, -1000.0, 1)];

/// α = 0 is SimPO (arXiv 2405.14734, eq. 6), and the limit of small α.
#[test]
fn without_a_shape_it_is_simpo() {
    let batch = batch(2.5, &PAIRS);
    let simpo = PreferenceLoss::SimPo { gamma: 0.3 }.evaluate(&batch);
    for (alpha, allowed) in [(0.0, 1e-12), (1e-9, 1e-5)] {
        let value = plugin(alpha, 0.3).objective(&batch).unwrap();
        let ours = [value.loss, value.d_chosen, value.d_rejected].concat();
        let theirs = [&simpo.loss[..], &simpo.d_chosen, &simpo.d_rejected].concat();
        for (a, b) in ours.iter().zip(&theirs) {
            assert!((a - b).abs() <= allowed * (1.0 + b.abs()), "alpha {alpha}: {a} {b}");
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for alpha in [-1.0, -0.25, 0.0, 0.1, 0.25, 1.0, 2.0] {
        let plugin = plugin(alpha, 0.2);
        for pair in PAIRS {
            let one = batch(2.0, &[pair]);
            let value = plugin.objective(&one).unwrap();
            let h = 1e-6;
            let loss = |chosen: f64, rejected: f64| {
                let mut moved = one.clone();
                moved.policy_chosen[0] += chosen;
                moved.policy_rejected[0] += rejected;
                plugin.objective(&moved).unwrap().loss[0]
            };
            for (given, measured) in [
                (value.d_chosen[0], (loss(h, 0.0) - loss(-h, 0.0)) / (2.0 * h)),
                (value.d_rejected[0], (loss(0.0, h) - loss(0.0, -h)) / (2.0 * h)),
            ] {
                // Of a loss of this size no difference is known better than this.
                let noise = 1e-15 * value.loss[0].abs() / h;
                let allowed = 1e-5 * given.abs().max(1e-3) + 4.0 * noise;
                assert!((given - measured).abs() <= allowed, "alpha {alpha} {pair:?}: {given} {measured}");
            }
        }
    }
}

#[test]
fn weights_multiply_and_the_reference_is_not_read() {
    let mut pairs = batch(2.0, &PAIRS);
    let plugin = plugin(0.5, 0.1);
    let first = plugin.objective(&pairs).unwrap();
    pairs.reference_chosen = vec![3.0; PAIRS.len()];
    assert_eq!(plugin.objective(&pairs).unwrap(), first);
    pairs.weight = vec![2.0; PAIRS.len()];
    let doubled = plugin.objective(&pairs).unwrap();
    assert_eq!(doubled.loss, first.loss.iter().map(|l| 2.0 * l).collect::<Vec<_>>());
    assert_eq!(doubled.d_chosen, first.d_chosen.iter().map(|d| 2.0 * d).collect::<Vec<_>>());
}

#[test]
fn parameters_have_ranges_and_the_schema_their_defaults() {
    for (json, part) in [
        (r#"{"alpha": 3}"#, "parameter 'alpha' is 3"),
        (r#"{"gamma": -1}"#, "parameter 'gamma' is -1"),
        (r#"{"beta": 1}"#, "unknown field `beta`"),
    ] {
        let error = AlphaPo::new(json).err().unwrap().message;
        assert!(error.contains(part), "{error}");
    }
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
