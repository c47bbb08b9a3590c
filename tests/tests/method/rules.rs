//! Regularizers and objectives beside CREAM's own: properties that hold for any scores, and what connects them.

use creamery_confidence::Confidence;
use creamery_constant::Constant;
use creamery_disagreement::Disagreement;
use creamery_filter::Filter;
use creamery_plugin::objective::PreferenceLoss;
use creamery_preference_loss::Loss;
use creamery_signed_weight::SignedWeight;
use creamery_sppo::Sppo;
use creamery_vote_margin::VoteMargin;

use super::*;

const MEASURES: [&str; 6] = [
    r#"{"form": "sample"}"#,
    r#"{"form": "sample", "measure": "spearman"}"#,
    r#"{"form": "sample", "measure": "top-order"}"#,
    r#"{"form": "sample", "measure": "rbo"}"#,
    r#"{"form": "sample", "measure": "rbo", "rbo-p": 0.9}"#,
    r#"{"form": "sample", "viewpoints": "all"}"#,
];

/// C of the first pair; `None` where it is dropped.
fn first(params: &str, records: &Records) -> Option<f64> {
    let labels = Cream::new(params).unwrap().label(records).unwrap();
    labels.dropped.is_empty().then(|| labels.consistency[0])
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-12,
        (a, b) => a == b,
    }
}

#[test]
fn top_order_fixtures() {
    for case in fixture("consistency.json")["cases"].as_array().unwrap() {
        let (a, b) = (floats(&case["current"]), floats(&case["previous"]));
        let distinct = |list: &[f64]| list.iter().all(|v| list.iter().filter(|w| *w == v).count() == 1);
        if !(distinct(&a) && distinct(&b)) {
            continue;
        }
        let same = |key: &str| case[key].as_bool().unwrap();
        let expected = if same("same_top") && same("same_bottom") { 1.0 } else { 0.0 };
        assert_eq!(stats::top_order(&a, &b), Some(expected));
    }
}

/// The same number as scipy.stats.spearmanr's: 0.8888888888888888.
#[test]
fn spearman_with_ties_by_hand() {
    // ranks 1.5, 1.5, 3, 4 and 1, 2, 3.5, 3.5 about 2.5: Σab = 4, Σaa = Σbb = 4.5
    let rho = stats::spearman_rho(&[1.0, 1.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 3.0]).unwrap();
    assert_close(rho, 4.0 / 4.5, 1e-15);
}

type Objective = Box<dyn Fn(&ObjectiveBatch) -> ObjectiveValue>;

fn losses() -> Vec<(String, Objective)> {
    let mut all: Vec<(String, Objective)> = Vec::new();
    for name in
        ["dpo", "cream", "ipo", "ipo-sequence", "hinge", "robust", "simpo", "orpo", "sppo-hard", "signed-weight"]
    {
        let plugin = Loss::new(&format!("{{\"loss\": \"{name}\"}}")).unwrap();
        all.push((name.into(), Box::new(move |batch| plugin.objective(batch).unwrap())));
    }
    let nll = Loss::new(r#"{"nll-weight": 0.5}"#).unwrap();
    all.push(("dpo + nll".into(), Box::new(move |batch| nll.objective(batch).unwrap())));
    let signed = SignedWeight::new("{}").unwrap();
    all.push(("signed-weight plugin".into(), Box::new(move |batch| signed.objective(batch).unwrap())));
    let votes = VoteMargin::new("{}").unwrap();
    all.push(("vote-margin".into(), Box::new(move |batch| votes.objective(batch).unwrap())));
    let constant = Constant::new("{}").unwrap();
    all.push(("constant".into(), Box::new(move |batch| constant.objective(batch).unwrap())));
    let sppo = Sppo::new("{}").unwrap();
    let win_rates = |batch: &ObjectiveBatch| {
        let column = |name: &str, value: f64| Column { name: name.into(), values: vec![value; batch.weight.len()] };
        vec![column("win_rate_chosen", 0.9), column("win_rate_rejected", 0.3)]
    };
    all.push(("sppo".into(), Box::new(move |batch| sppo.objective_columns(batch, &win_rates(batch)).unwrap())));
    all
}

/// Margins from −10³ to 10³, responses of one token, C at both ends, a weight of 0.
#[test]
fn gradients_of_all_objectives_over_a_grid() {
    let h = 1e-5;
    for (name, objective) in losses() {
        for z in [-1e3, -30.0, -2.0, 0.0, 0.4, 3.0, 1e3] {
            for (tokens, c, weight, beta) in [(1, 0.0, 1.0, 1.0), (9, 0.6, 2.5, 0.1), (200, 1.0, 0.0, 0.5)] {
                // both log-probabilities are negative, as they are
                let (chosen, rejected) = if z > 0.0 { (-1.0, -1.0 - z / beta) } else { (-1.0 + z / beta, -1.0) };
                let batch = |chosen: f64, rejected: f64| ObjectiveBatch {
                    beta,
                    policy_chosen: vec![chosen],
                    policy_rejected: vec![rejected],
                    reference_chosen: vec![-1.0],
                    reference_rejected: vec![-1.0],
                    chosen_tokens: vec![tokens],
                    rejected_tokens: vec![1],
                    consistency: vec![c],
                    weight: vec![weight],
                };
                let value = objective(&batch(chosen, rejected));
                assert!(value.loss[0].is_finite(), "{name} at z = {z}: {value:?}");
                let loss = |chosen: f64, rejected: f64| objective(&batch(chosen, rejected)).loss[0];
                let numeric = [
                    (loss(chosen + h, rejected) - loss(chosen - h, rejected)) / (2.0 * h),
                    (loss(chosen, rejected + h) - loss(chosen, rejected - h)) / (2.0 * h),
                ];
                let tolerance = 1e-9 / h * (1.0 + value.loss[0].abs()) * 1e-2;
                for (numeric, found) in numeric.into_iter().zip([value.d_chosen[0], value.d_rejected[0]]) {
                    let difference = (numeric - found).abs();
                    assert!(difference < tolerance, "{name} at z = {z}, C = {c}: {found} is not {numeric}");
                }
            }
        }
    }
}

#[test]
fn constant_is_label_smoothed_dpo_and_one_is_srlm() {
    for c in [0.0, 0.3, 0.9, 1.0] {
        let plugin = Constant::new(&format!("{{\"c\": {c}}}")).unwrap();
        let records = two_viewpoints(&[(vec![2.0, 1.0], vec![1.0, 2.0])]);
        let labels = plugin.label(&records).unwrap();
        for z in [-4.0, 0.0, 0.7, 9.0] {
            let batch = ObjectiveBatch { consistency: labels.consistency.clone(), ..at(z, 0.123) };
            let smoothed = PreferenceLoss::Dpo { label_smoothing: 1.0 - c }.evaluate(&batch);
            let found = plugin.objective(&batch).unwrap();
            assert_close(found.loss[0], smoothed.loss[0], 1e-14);
            assert_close(found.d_chosen[0], smoothed.d_chosen[0], 1e-15);
        }
    }
    let (one, none) = (Constant::new(r#"{"c": 1}"#).unwrap(), NoRegularizer::new("").unwrap());
    let records = two_viewpoints(&[(vec![3.0, 2.0, 1.0], vec![1.0, 2.0, 3.0])]);
    assert_eq!(one.label(&records).unwrap(), none.label(&records).unwrap());
}

#[test]
fn the_signed_weight_starts_as_the_mix_and_differs_later() {
    let signed = SignedWeight::new("{}").unwrap();
    for (_, c) in grid() {
        let value = signed.objective(&at(0.0, c)).unwrap();
        assert_close(value.d_chosen[0], slope(0.0, c), 1e-15);
        assert_close(value.d_chosen[0], (2.0 * c - 1.0) * slope(0.0, 1.0), 1e-15);
    }
    // beyond the mix's optimum
    assert!(slope(5.0, 0.8) > 0.0 && signed.objective(&at(5.0, 0.8)).unwrap().d_chosen[0] < 0.0);
}

proptest! {
    #[test]
    fn every_measure_is_bounded_and_blind_to_order_scale_copies_and_abstentions((a, b, order) in permuted(-4..4)) {
        for params in MEASURES {
            let of = |a: Vec<f64>, b: Vec<f64>| first(params, &two_viewpoints(&[(a, b)]));
            let base = of(a.clone(), b.clone());
            prop_assert!(base.is_none_or(|c| (0.0..=1.0).contains(&c)), "{params}: {base:?}");
            prop_assert!(close(base, of(b.clone(), a.clone())), "{params}");
            prop_assert!(close(base, of(reorder(&a, &order), reorder(&b, &order))), "{params}");
            prop_assert_eq!(base, of(a.iter().map(|v| 4.0 * v).collect(), b.clone()), "{}", params);
            prop_assert!(close(of(a.clone(), a.clone()), base.map(|_| 1.0)) || base.is_none(), "{params}");

            let copied = order[0];
            let longer = |list: &[f64], last: f64| [list, &[last]].concat();
            let mut copy = two_viewpoints(&[(longer(&a, a[copied]), longer(&b, b[copied]))]);
            copy.groups.responses[a.len()] = copy.groups.responses[copied].clone();
            prop_assert_eq!(base, first(params, &copy), "{}", params);

            let mut abstained = two_viewpoints(&[(longer(&a, 9.0), longer(&b, -9.0))]);
            abstained.scores.scores[a.len()] = Score::Abstain("no opinion".into());
            prop_assert_eq!(base, first(params, &abstained), "{}", params);
        }
    }

    #[test]
    fn labels_follow_the_pairs_wherever_they_stand(
        rows in prop::collection::vec(score_lists(-9..9), 1..7),
        turn in 0usize..7,
    ) {
        let plain = two_viewpoints(&rows);
        let mut turned = plain.clone();
        let by = turn % rows.len();
        turned.pairs.rotate_left(by);
        let labels = |records: &Records| -> Vec<Labels> {
            let half = r#"{"form": "sample", "undefined": "half"}"#;
            vec![
                Cream::new(half).unwrap().label(records).unwrap(),
                SignedWeight::new(half).unwrap().label(records).unwrap(),
                Filter::new("{}").unwrap().label(records).unwrap(),
                Confidence::new(r#"{"temperature": 2}"#).unwrap().label(records).unwrap(),
                Disagreement::new(r#"{"rule": "vote"}"#).unwrap().label(records).unwrap(),
                Constant::new("{}").unwrap().label(records).unwrap(),
                Loss::new("{}").unwrap().label(records).unwrap(),
            ]
        };
        for (plain, turned) in labels(&plain).into_iter().zip(labels(&turned)) {
            prop_assert!(plain.consistency.iter().all(|c| (0.0..=1.0).contains(c)));
            prop_assert!(plain.weights.iter().all(|w| (0.0..=1.0).contains(w)));
            let mut consistency = plain.consistency.clone();
            consistency.rotate_left(by);
            prop_assert_eq!(consistency, turned.consistency);
            let mut weights = plain.weights.clone();
            weights.rotate_left(by);
            prop_assert_eq!(weights, turned.weights);
            let place = |i: u32| ((i as usize + rows.len() - by) % rows.len()) as u32;
            let mut dropped: Vec<u32> = plain.dropped.iter().map(|d| place(d.index)).collect();
            dropped.sort_unstable();
            prop_assert_eq!(dropped, turned.dropped.iter().map(|d| d.index).collect::<Vec<_>>());
        }
    }

    #[test]
    fn confidence_and_disagreement_are_blind_to_the_unit_of_a_viewpoint(
        rows in prop::collection::vec(score_lists(-9..9), 1..7),
        which in 0usize..2,
    ) {
        let plain = two_viewpoints(&rows);
        let mut scaled = plain.clone();
        let half = plain.groups.responses.len();
        for score in &mut scaled.scores.scores[which * half..(which + 1) * half] {
            if let Score::Value(v) = score {
                *v *= 64.0;
            }
        }
        let (confidence, spread) = (Confidence::new("{}").unwrap(), Disagreement::new("{}").unwrap());
        let of = |records: &Records| {
            (confidence.label(records).unwrap().consistency, spread.label(records).unwrap().weights)
        };
        prop_assert_eq!(of(&plain), of(&scaled));
    }

    #[test]
    fn a_filter_keeps_what_cream_trusts(rows in prop::collection::vec(score_lists(-9..9), 1..7), tenths in 0u32..=10) {
        let threshold = f64::from(tenths) / 10.0;
        let records = two_viewpoints(&rows);
        let dropped: Vec<u32> = Filter::new(&format!("{{\"threshold\": {threshold}}}"))
            .unwrap().label(&records).unwrap().dropped.iter().map(|d| d.index).collect();
        let expected: Vec<u32> = sample_consistency(&records).iter().enumerate()
            .filter(|(_, c)| c.is_none_or(|c| c < threshold)).map(|(i, _)| i as u32).collect();
        prop_assert_eq!(dropped, expected);
    }

    /// Any scores: never a panic, never a label out of range.
    #[test]
    fn bucketed_means_lie_between_the_groups(
        rows in prop::collection::vec(score_lists(-9..9), 1..12),
        min in 1usize..4,
        quantiles in 2usize..5,
    ) {
        let records = two_viewpoints(&rows);
        let each: Vec<f64> = sample_consistency(&records).into_iter().flatten().collect();
        let params = format!("{{\"form\": \"bucketed\", \"bucket\": \"length\", \"buckets\": {quantiles}, \"min-bucket\": {min}}}");
        match Cream::new(&params).unwrap().label(&records) {
            Ok(labels) => {
                let (low, high) = each.iter().fold((f64::MAX, f64::MIN), |(l, h), c| (l.min(*c), h.max(*c)));
                prop_assert!(labels.consistency.iter().all(|c| (low - 1e-12..=high + 1e-12).contains(c)));
            }
            Err(_) => prop_assert!(each.is_empty()),
        }
    }
}
