use creamery_plugin::testkit::{self, pair, records};

use super::*;

const LOSSES: [&str; 10] =
    ["dpo", "cream", "ipo", "ipo-sequence", "hinge", "robust", "simpo", "orpo", "sppo-hard", "signed-weight"];

fn of(params: &str) -> Loss {
    Loss::new(params).unwrap_or_else(|e| panic!("{params}: {e}"))
}

fn named(loss: &str) -> Loss {
    of(&format!("{{\"loss\": \"{loss}\"}}"))
}

/// The worked example's pair.
fn example() -> ObjectiveBatch {
    ObjectiveBatch {
        beta: 0.1,
        policy_chosen: vec![-3.0],
        policy_rejected: vec![-11.0],
        reference_chosen: vec![-7.0],
        reference_rejected: vec![-5.0],
        chosen_tokens: vec![2],
        rejected_tokens: vec![2],
        consistency: vec![0.7],
        weight: vec![1.0],
    }
}

fn loss(plugin: &Loss, batch: &ObjectiveBatch) -> f64 {
    plugin.objective(batch).unwrap().loss[0]
}

#[test]
fn the_worked_example() {
    let dpo = (1.0 + (-1.0f64).exp()).ln();
    assert!((dpo - 0.313).abs() < 1e-3);
    let cases = [
        ("{}", dpo),
        (r#"{"nll-weight": 0.2}"#, dpo + 0.3),
        (r#"{"label-smoothing": 0.25}"#, dpo + 0.25),
        (r#"{"loss": "cream"}"#, dpo + 0.3),
        (r#"{"loss": "signed-weight"}"#, 0.4 * dpo),
        (r#"{"loss": "robust"}"#, (0.9 * dpo - 0.1 * (dpo + 1.0)) / 0.8),
        (r#"{"loss": "robust", "label-smoothing": 0}"#, dpo),
        (r#"{"loss": "hinge"}"#, 0.0),
        (r#"{"loss": "ipo-sequence"}"#, 25.0),
        (r#"{"loss": "ipo"}"#, 0.0),
        (r#"{"loss": "sppo-hard"}"#, 2.0),
        // β (−1.5 + 5.5) − γ = 0.4 − 1 and 0.4 − 0.4
        (r#"{"loss": "simpo"}"#, (1.0 + 0.6f64.exp()).ln()),
        (r#"{"loss": "simpo", "gamma": 0.4, "nll-weight": 1}"#, 2f64.ln() + 1.5),
    ];
    for (params, expected) in cases {
        let found = loss(&of(params), &example());
        assert!((found - expected).abs() < 1e-12, "{params}: {found} {expected}");
    }
}

#[test]
fn gradients_are_slopes_over_a_grid() {
    let logps = [-1e3, -40.0, -2.0, -0.5];
    for name in LOSSES {
        for nll in [0.0, 0.5] {
            let params = format!("{{\"loss\": \"{name}\", \"nll-weight\": {nll}}}");
            if name == "orpo" && nll > 0.0 {
                assert!(Loss::new(&params).is_err());
                continue;
            }
            let plugin = of(&params);
            for (chosen, rejected) in logps.iter().flat_map(|c| logps.iter().map(move |r| (*c, *r))) {
                for (tokens, c) in [(1, 0.0), (7, 0.3), (40, 1.0)] {
                    let batch = ObjectiveBatch {
                        policy_chosen: vec![chosen],
                        policy_rejected: vec![rejected],
                        chosen_tokens: vec![tokens],
                        consistency: vec![c],
                        weight: vec![0.6],
                        ..example()
                    };
                    slopes(&plugin, name, &batch);
                }
            }
        }
    }
}

fn slopes(plugin: &Loss, name: &str, batch: &ObjectiveBatch) {
    let value = plugin.objective(batch).unwrap();
    let margin = creamery_plugin::objective::margin(batch, 0);
    assert!(value.loss[0].is_finite(), "{name}: {value:?}");
    if name == "hinge" && (margin - 1.0).abs() < 1e-3 {
        return; // the corner
    }
    let h = 1e-5;
    let moved = |by: f64, side: fn(&mut ObjectiveBatch) -> &mut f64| {
        let mut batch = batch.clone();
        *side(&mut batch) += by;
        loss(plugin, &batch)
    };
    let slope = |side: fn(&mut ObjectiveBatch) -> &mut f64| (moved(h, side) - moved(-h, side)) / (2.0 * h);
    let tolerance = 1e-5 * (1.0 + value.loss[0].abs());
    let numeric = [slope(|b| &mut b.policy_chosen[0]), slope(|b| &mut b.policy_rejected[0])];
    for (numeric, found) in numeric.into_iter().zip([value.d_chosen[0], value.d_rejected[0]]) {
        assert!((numeric - found).abs() < tolerance, "{name} at {batch:?}: {found} is not {numeric}");
    }
}

#[test]
fn which_losses_look_at_the_reference() {
    let other = ObjectiveBatch { reference_chosen: vec![-1.0], ..example() };
    for name in LOSSES {
        // a smaller margin than the example's, where the hinge is flat
        let (plugin, mut a, mut b) = (named(name), example(), other.clone());
        a.policy_chosen[0] -= 2.0;
        b.policy_chosen[0] -= 2.0;
        let free = plugin.objective(&a).unwrap() == plugin.objective(&b).unwrap();
        assert_eq!(free, name == "simpo" || name == "orpo", "{name}");
    }
}

#[test]
fn labels_trust_every_pair() {
    let scores = testkit::scores(&[("current", &[Some(2.0), Some(1.0)])]);
    let records = records(testkit::groups(&[("x", &["a", "b"])]), scores, vec![pair(0, 0, 1)]);
    let labels = named("ipo").label(&records).unwrap();
    assert_eq!(labels, Labels { consistency: vec![1.0], weights: vec![1.0], ..Labels::default() });
}

#[test]
fn parameters() {
    for (params, expected) in [
        (r#"{"gamma": 1}"#, "'gamma' has no meaning for this loss, only for \"simpo\""),
        (r#"{"loss": "ipo", "label-smoothing": 0.1}"#, "'label-smoothing' has no meaning"),
        (r#"{"loss": "orpo", "nll-weight": 0.1}"#, "other than \"orpo\""),
        (r#"{"label-smoothing": 0.5}"#, "'label-smoothing' is 0.5"),
        (r#"{"loss": "simpo", "gamma": -1}"#, "'gamma' is -1"),
        (r#"{"nll-weight": -1}"#, "'nll-weight' is -1"),
        (r#"{"loss": "ppo"}"#, "unknown variant `ppo`"),
    ] {
        let error = Loss::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
