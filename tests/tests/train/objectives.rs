//! Preference losses against PyTorch's numbers and against central differences.

use creamery_plugin::ObjectiveBatch;
use creamery_plugin::objective::{PairLogps, PreferenceLoss};
use proptest::prelude::*;
use serde_json::Value;

const LOSSES: [(&str, PreferenceLoss); 11] = [
    ("dpo", PreferenceLoss::Dpo { label_smoothing: 0.0 }),
    ("cdpo_eps_0.1", PreferenceLoss::Dpo { label_smoothing: 0.1 }),
    ("cream", PreferenceLoss::Cream),
    ("robust_eps_0.1", PreferenceLoss::Robust { label_smoothing: 0.1 }),
    ("hinge", PreferenceLoss::Hinge),
    ("ipo", PreferenceLoss::IpoSequence),
    ("ipo_token_mean", PreferenceLoss::Ipo),
    ("simpo_gamma_0.5", PreferenceLoss::SimPo { gamma: 0.5 }),
    ("signed_weight", PreferenceLoss::SignedWeight),
    ("orpo", PreferenceLoss::Orpo),
    ("sppo_hard", PreferenceLoss::SppoHard),
];

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn losses_and_gradients_equal_pytorch() {
    let path = creamery_tests::fixture("preference_losses.json");
    let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let tokens = |name: &str| floats(&fixture[name]).iter().map(|v| *v as u32).collect::<Vec<_>>();
    let count = floats(&fixture["consistency"]).len();
    let batch = ObjectiveBatch {
        beta: fixture["beta"].as_f64().unwrap(),
        policy_chosen: floats(&fixture["policy_chosen"]),
        policy_rejected: floats(&fixture["policy_rejected"]),
        reference_chosen: floats(&fixture["reference_chosen"]),
        reference_rejected: floats(&fixture["reference_rejected"]),
        chosen_tokens: tokens("chosen_tokens"),
        rejected_tokens: tokens("rejected_tokens"),
        consistency: floats(&fixture["consistency"]),
        weight: vec![1.0; count],
    };
    let expected = fixture["expected"].as_object().unwrap();
    assert_eq!(expected.len(), 9, "a loss of the fixture without a test");
    for (name, expected) in expected {
        let (_, loss) = LOSSES.iter().find(|(known, _)| known == name).unwrap();
        let found = loss.evaluate(&batch);
        let columns =
            [(&found.loss, "loss"), (&found.d_chosen, "d_policy_chosen"), (&found.d_rejected, "d_policy_rejected")];
        for (column, key) in columns {
            let expected = floats(&expected[key]);
            assert_eq!(column.len(), expected.len());
            for (i, (found, expected)) in column.iter().zip(expected).enumerate() {
                let tolerance = 1e-6 * expected.abs().max(1.0);
                assert!((found - expected).abs() <= tolerance, "{name}, {key}[{i}]: {found} is not {expected}");
            }
        }
        let double = loss.evaluate(&ObjectiveBatch { weight: vec![2.0; count], ..batch.clone() });
        assert!(double.loss.iter().zip(&found.loss).all(|(a, b)| *a == 2.0 * b), "{name}: weights");
    }
}

/// ORPO and SPPO, worked by hand in TRL's formulas: not part of the fixture.
#[test]
fn orpo_and_sppo_by_hand() {
    let pair = PairLogps {
        policy_chosen: -2.0,
        policy_rejected: -6.0,
        reference_chosen: -3.0,
        reference_rejected: -5.0,
        chosen_tokens: 4.0,
        rejected_tokens: 3.0,
        consistency: 1.0,
    };
    // Mean log-probabilities −0.5 and −2: log odds 0.432752 and −1.854587, and the ratio 2.287339.
    let orpo = PreferenceLoss::Orpo.of_pair(0.1, &pair).loss;
    let odds = |m: f64| m - (1.0 - m.exp()).ln();
    let expected = 0.5 - 0.1 * (1.0 / (1.0 + (odds(-2.0) - odds(-0.5)).exp())).ln();
    assert!((orpo - expected).abs() < 1e-12 && (orpo - 0.509_67).abs() < 1e-5, "{orpo} {expected}");
    // r⁺ = 1, r⁻ = −1, 1/(2β) = 5.
    assert_eq!(PreferenceLoss::SppoHard.of_pair(0.1, &pair).loss, 32.0);
    // A response that is certain has a large loss, not an infinite one.
    let certain = PairLogps { policy_rejected: 0.0, ..pair };
    let value = PreferenceLoss::Orpo.of_pair(0.1, &certain);
    assert!(value.loss.is_finite() && value.d_rejected.is_finite(), "{value:?}");
}

#[test]
fn what_a_loss_says_of_itself_is_true() {
    let same = PairLogps {
        policy_chosen: -7.0,
        policy_rejected: -9.0,
        reference_chosen: -7.0,
        reference_rejected: -9.0,
        chosen_tokens: 4.0,
        rejected_tokens: 3.0,
        consistency: 0.7,
    };
    let other = PairLogps { reference_chosen: -1.0, ..same };
    for (name, loss) in LOSSES {
        let ln2 = (loss.of_pair(0.3, &same).loss - 2f64.ln()).abs() < 1e-12;
        assert_eq!(ln2, loss.starts_at_ln2(), "{name}");
        let free = loss.of_pair(0.3, &same) == loss.of_pair(0.3, &other);
        assert_eq!(free, loss.reference_free(), "{name}");
    }
}

proptest! {
    #[test]
    fn gradients_equal_central_differences(
        logps in prop::array::uniform4(-40.0..-0.5f64),
        tokens in prop::array::uniform2(1..40u32),
        consistency in 0.0..1.0f64,
        beta in 0.01..2.0f64,
    ) {
        let pair = PairLogps {
            policy_chosen: logps[0],
            policy_rejected: logps[1],
            reference_chosen: logps[2],
            reference_rejected: logps[3],
            chosen_tokens: f64::from(tokens[0]),
            rejected_tokens: f64::from(tokens[1]),
            consistency,
        };
        let h = 1e-5;
        for (name, loss) in LOSSES {
            let value = loss.of_pair(beta, &pair);
            prop_assert!(value.loss.is_finite());
            let z = beta * (logps[0] - logps[2] - logps[1] + logps[3]);
            if loss == PreferenceLoss::Hinge && (z - 1.0).abs() < 1e-3 {
                continue; // the corner
            }
            let at = |chosen: f64, rejected: f64| {
                let moved = PairLogps {
                    policy_chosen: pair.policy_chosen + chosen,
                    policy_rejected: pair.policy_rejected + rejected,
                    ..pair
                };
                loss.of_pair(beta, &moved).loss
            };
            let numeric = [(at(h, 0.0) - at(-h, 0.0)) / (2.0 * h), (at(0.0, h) - at(0.0, -h)) / (2.0 * h)];
            for (numeric, found) in numeric.into_iter().zip([value.d_chosen, value.d_rejected]) {
                let tolerance = 1e-5 * value.loss.abs().max(found.abs()).max(1.0);
                prop_assert!((numeric - found).abs() < tolerance, "{name}: {found} is not {numeric}");
            }
        }
    }
}
