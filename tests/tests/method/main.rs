//! The method's formulas, through the plugins' public interfaces: golden values, identities of the paper, and
//! properties that hold for any scores.

mod rules;

use creamery_best_worst::BestWorst;
use creamery_cream::Cream;
use creamery_implicit_reward::ImplicitReward;
use creamery_none::NoRegularizer;
use creamery_plugin::objective::{margin, sigmoid};
use creamery_plugin::testkit::{self, MockHost, pair, records};
use creamery_plugin::*;
use creamery_rubric::Rubric;
use proptest::prelude::*;
use serde_json::Value;

fn fixture(name: &str) -> Value {
    let path = format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "found {found}, expected {expected}");
}

// ---- golden values

#[test]
fn consistency_fixtures() {
    let fixture = fixture("consistency.json");
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 16);
    for case in cases {
        let (a, b) = (floats(&case["current"]), floats(&case["previous"]));
        let found = [
            ("kendall_tau_b", stats::kendall_tau_b(&a, &b)),
            ("spearman_rho", stats::spearman_rho(&a, &b)),
            ("kendall_tau_ordinal", stats::kendall_tau_b(&stats::ordinal_ranks(&a), &stats::ordinal_ranks(&b))),
        ];
        for (name, found) in found {
            let expected = case[name].as_f64();
            assert_eq!(found.is_some(), expected.is_some(), "{name} of {a:?} and {b:?}");
            if let (Some(found), Some(expected)) = (found, expected) {
                assert_close(found, expected, 1e-9);
            }
        }
        assert_eq!(stats::argmax(&a) == stats::argmax(&b), case["same_top"].as_bool().unwrap());
        assert_eq!(stats::argmin(&a) == stats::argmin(&b), case["same_bottom"].as_bool().unwrap());
    }
}

#[test]
fn consistency_fixtures_through_the_regularizer() {
    for case in fixture("consistency.json")["cases"].as_array().unwrap() {
        let records = two_viewpoints(&[(floats(&case["current"]), floats(&case["previous"]))]);
        for (params, name) in [
            (r#"{"form": "sample"}"#, "kendall_tau_b"),
            (r#"{"form": "sample", "reference-compat": "ordinal"}"#, "kendall_tau_ordinal"),
            (r#"{"form": "sample", "measure": "spearman"}"#, "spearman_rho"),
        ] {
            let labels = Cream::new(params).unwrap().label(&records).unwrap();
            match case[name].as_f64() {
                Some(tau) => assert_close(labels.consistency[0], (tau + 1.0) / 2.0, 1e-9),
                None => assert_eq!(labels.dropped.len(), 1),
            }
        }
    }
}

#[test]
fn preference_loss_fixtures() {
    let fixture = fixture("preference_losses.json");
    let tokens = |name: &str| floats(&fixture[name]).iter().map(|v| *v as u32).collect::<Vec<_>>();
    let pairs = floats(&fixture["consistency"]).len();
    let batch = ObjectiveBatch {
        beta: fixture["beta"].as_f64().unwrap(),
        policy_chosen: floats(&fixture["policy_chosen"]),
        policy_rejected: floats(&fixture["policy_rejected"]),
        reference_chosen: floats(&fixture["reference_chosen"]),
        reference_rejected: floats(&fixture["reference_rejected"]),
        chosen_tokens: tokens("chosen_tokens"),
        rejected_tokens: tokens("rejected_tokens"),
        consistency: floats(&fixture["consistency"]),
        weight: vec![1.0; pairs],
    };
    let dpo = ObjectiveBatch { consistency: vec![1.0; pairs], ..batch.clone() };
    let cases = [
        ("dpo", NoRegularizer::new("").unwrap().objective(&dpo).unwrap()),
        ("cream", Cream::new("").unwrap().objective(&batch).unwrap()),
    ];
    for (name, found) in cases {
        let columns =
            [(found.loss, "loss"), (found.d_chosen, "d_policy_chosen"), (found.d_rejected, "d_policy_rejected")];
        for (found, key) in columns {
            let expected = floats(&fixture["expected"][name][key]);
            assert_eq!(found.len(), expected.len());
            found.iter().zip(expected).for_each(|(f, e)| assert_close(*f, e, 1e-6));
        }
    }
}

// ---- one round in numbers

/// Two prompts with three responses each; the log-probabilities are made up.
#[test]
fn a_round_from_judge_to_labels() {
    const TEXTS: [&str; 6] = ["aa", "bbb", "c", "dd", "e", "ff"];
    const REFERENCE: [f64; 6] = [-4.0, -6.0, -2.0, -3.0, -1.0, -5.0];
    const CURRENT: [f64; 6] = [-3.0, -4.0, -2.5, -3.0, -2.0, -3.0];
    const PREVIOUS: [f64; 6] = [-1.0, -4.0, -2.5, -3.0, -2.0, -3.0];
    let groups = testkit::groups(&[("x", &TEXTS[..3]), ("y", &TEXTS[3..])]);
    let judge = ImplicitReward::new("{}").unwrap();
    let scores = |viewpoint: &str, model: [f64; 6]| {
        let host = MockHost::new(viewpoint).on_response_logps(move |slot, response| {
            let i = TEXTS.iter().position(|t| *t == response.text).ok_or("unknown response")?;
            let sum = if slot.name == "judge" { model[i] } else { REFERENCE[i] };
            Ok(Logp { sum, tokens: response.tokens })
        });
        host.judge(&judge, &groups).unwrap().scores
    };
    let (current, previous) = (scores("current", CURRENT), scores("previous", PREVIOUS));
    assert_eq!(current, [1.0, 2.0, -0.5, 0.0, -1.0, 2.0].map(Score::Value));
    assert_eq!(previous, [3.0, 2.0, -0.5, 0.0, -1.0, 2.0].map(Score::Value));

    let viewpoints = vec!["current".into(), "previous".into()];
    let scores = Scores { viewpoints, scores: [current, previous].concat() };
    let ranking = BestWorst::new("{}").unwrap().rank(&RankContext::default(), &groups, &scores).unwrap();
    assert_eq!(ranking.pairs, [pair(0, 1, 2), pair(1, 5, 4)]);
    assert_eq!(ranking.ranks, [2, 1, 3, 2, 3, 1, 1, 2, 3, 2, 3, 1]);

    // τ = 1/3 and 1, so C = 2/3 and 1, on average 5/6
    let records = Records { round: 1, groups, scores, ranks: ranking.ranks, pairs: ranking.pairs, history: vec![] };
    let labels = Cream::new("{}").unwrap().label(&records).unwrap();
    labels.consistency.iter().for_each(|c| assert_close(*c, 5.0 / 6.0, 1e-15));
    let srlm = NoRegularizer::new("{}").unwrap().label(&records).unwrap();
    assert_eq!(srlm.consistency, [1.0, 1.0]);
    assert_eq!((labels.metrics.len(), srlm.metrics.len()), (4, 4));
    for (a, b) in labels.metrics.iter().zip(&srlm.metrics) {
        assert_eq!(a.name, b.name, "both report the same metrics");
        assert_close(a.value, b.value, 1e-15);
    }
}

// ---- identities of the paper

/// One pair with margin z under β = 1.
fn at(z: f64, c: f64) -> ObjectiveBatch {
    ObjectiveBatch {
        beta: 1.0,
        policy_chosen: vec![z],
        policy_rejected: vec![-5.0],
        reference_chosen: vec![0.0],
        reference_rejected: vec![-5.0],
        chosen_tokens: vec![3],
        rejected_tokens: vec![2],
        consistency: vec![c],
        weight: vec![1.0],
    }
}

fn objective(batch: &ObjectiveBatch) -> ObjectiveValue {
    Cream::new("{}").unwrap().objective(batch).unwrap()
}

fn loss(z: f64, c: f64) -> f64 {
    objective(&at(z, c)).loss[0]
}

fn slope(z: f64, c: f64) -> f64 {
    objective(&at(z, c)).d_chosen[0]
}

fn grid() -> impl Iterator<Item = (f64, f64)> {
    let margins = [-30.0, -3.0, -0.5, 0.0, 0.1, 2.0, 30.0];
    let confidences = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0];
    margins.into_iter().flat_map(move |z| confidences.into_iter().map(move |c| (z, c)))
}

#[test]
fn the_mix_is_label_smoothed_dpo() {
    for (z, c) in grid() {
        // −log σ(z), and the same with chosen and rejected swapped
        let (dpo, reversed) = (loss(z, 1.0), loss(-z, 1.0));
        assert_close(dpo, (1.0 + (-z).exp()).ln(), 1e-12);
        assert_close(loss(z, c), c * dpo + (1.0 - c) * reversed, 1e-12);
        assert_close(loss(z, c), dpo + (1.0 - c) * z, 1e-12);
    }
}

#[test]
fn the_slope_is_sigmoid_minus_c_and_the_optimum_logit_c() {
    for (z, c) in grid() {
        assert_close(slope(z, c), sigmoid(z) - c, 1e-15);
    }
    for (c, optimum) in [(0.73, 0.995), (0.92, 2.44), (0.5, 0.0), (0.27, -0.995)] {
        let logit = f64::ln(c / (1.0 - c));
        assert_close(logit, optimum, 0.005);
        assert_close(slope(logit, c), 0.0, 1e-15);
        assert!(slope(logit - 0.1, c) < 0.0 && slope(logit + 0.1, c) > 0.0, "C = {c} has its minimum there");
    }
}

#[test]
fn at_zero_margin_the_gradient_is_dpos_times_tau() {
    for tau in [-1.0, -0.4, 0.0, 0.2, 0.8, 1.0] {
        assert_close(slope(0.0, consistency::from_tau(tau)), tau * slope(0.0, 1.0), 1e-15);
    }
}

#[test]
fn with_the_policy_as_reference_the_first_loss_is_ln_2() {
    for (chosen, rejected) in [(-3.25, -700.5), (-0.001, -1e4), (0.0, 0.0)] {
        for tenths in 0..=10 {
            let batch = ObjectiveBatch {
                beta: 0.1,
                policy_chosen: vec![chosen],
                policy_rejected: vec![rejected],
                reference_chosen: vec![chosen],
                reference_rejected: vec![rejected],
                consistency: vec![f64::from(tenths) / 10.0],
                ..at(0.0, 1.0)
            };
            assert_eq!(margin(&batch, 0), 0.0);
            assert_eq!(objective(&batch).loss, [std::f64::consts::LN_2]);
        }
    }
}

#[test]
fn five_responses_without_ties_give_tenths() {
    let mut seen = std::collections::BTreeSet::new();
    permutations(&mut [1.0, 2.0, 3.0, 4.0, 5.0], 5, &mut |previous| {
        let records = two_viewpoints(&[(vec![1.0, 2.0, 3.0, 4.0, 5.0], previous.to_vec())]);
        let tenths = 10.0 * Cream::new("{}").unwrap().label(&records).unwrap().consistency[0];
        assert_close(tenths, tenths.round(), 1e-12);
        seen.insert(tenths.round() as u32);
    });
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..=10).collect::<Vec<_>>());
}

/// Heap's algorithm.
fn permutations(items: &mut [f64], k: usize, visit: &mut impl FnMut(&[f64])) {
    if k <= 1 {
        return visit(items);
    }
    for i in 0..k {
        permutations(items, k - 1, visit);
        items.swap(if k.is_multiple_of(2) { i } else { 0 }, k - 1);
    }
}

#[test]
fn the_lambda_form_is_the_mix_up_to_scale() {
    for tau in [0.1, 0.4, 0.8, 1.0] {
        let lambda = (1.0 - tau) / tau;
        let c = (1.0 + lambda / 2.0) / (1.0 + lambda);
        assert_close(c, consistency::from_tau(tau), 1e-15);
        for z in [-2.0, 0.0, 0.3, 5.0] {
            let (dpo, reversed) = (loss(z, 1.0), loss(-z, 1.0));
            let lambda_form = dpo + lambda * 0.5 * (dpo + reversed);
            assert_close(lambda_form, (1.0 + lambda) * loss(z, c), 1e-12 * (1.0 + lambda));
        }
    }
}

#[test]
fn a_negative_tau_flips_the_label_unless_clamped() {
    let records = two_viewpoints(&[(vec![3.0, 2.0, 1.0], vec![1.0, 2.0, 3.0])]);
    let c = |params: &str| Cream::new(params).unwrap().label(&records).unwrap().consistency[0];
    assert!(slope(0.0, c("{}")) > 0.0, "pulls the chosen response down");
    assert_eq!(slope(0.0, c(r#"{"clamp": [0.5, 1]}"#)), 0.0);
}

#[test]
fn the_mix_is_not_a_signed_weight() {
    // (2C − 1)·DPO has the same gradient at z = 0, but never changes its sign; the mix does beyond z*
    let c = 0.8;
    let signed = |z: f64| (2.0 * c - 1.0) * slope(z, 1.0);
    assert_close(signed(0.0), slope(0.0, c), 1e-15);
    assert!(signed(3.0) < 0.0 && slope(3.0, c) > 0.0);
    // far on the wrong side the mix pulls with C, the signed weight with 2C − 1
    assert_close(slope(-40.0, c), -c, 1e-12);
    assert_close(signed(-40.0), -(2.0 * c - 1.0), 1e-12);
}

#[test]
fn extreme_margins_stay_finite() {
    for z in [-1e6, -745.0, 710.0, 1e6] {
        for c in [0.0, 0.5, 1.0] {
            let value = objective(&at(z, c));
            assert!(value.loss[0].is_finite() && value.loss[0] >= 0.0, "z = {z}, C = {c}: {value:?}");
            assert!(value.d_chosen[0].abs() <= 1.0);
        }
    }
}

// ---- properties

fn texts(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("response {i}")).collect()
}

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

/// One group a row, "current" beside "previous", each with a pair of its first two responses.
fn two_viewpoints(rows: &[(Vec<f64>, Vec<f64>)]) -> Records {
    let (mut groups, mut pairs) = (Groups::default(), Vec::new());
    for (g, (a, _)) in rows.iter().enumerate() {
        let start = groups.responses.len() as u32;
        groups.push(format!("p{g}"), vec![], texts(a.len()).iter().map(|t| testkit::complete(t)).collect());
        pairs.push(pair(g as u32, start, start + 1));
    }
    let current: Vec<f64> = rows.iter().flat_map(|(a, _)| a.clone()).collect();
    let previous: Vec<f64> = rows.iter().flat_map(|(_, b)| b.clone()).collect();
    records(groups, testkit::scores(&[("current", &some(&current)), ("previous", &some(&previous))]), pairs)
}

/// Whole numbers, so that shifting and scaling are exact; few of them, so that ties are common.
fn score_lists(distinct: std::ops::Range<i32>) -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    (2usize..9).prop_flat_map(move |n| {
        let list = || prop::collection::vec(distinct.clone().prop_map(f64::from), n);
        (list(), list())
    })
}

/// Score lists and an order to put their places in.
fn permuted(distinct: std::ops::Range<i32>) -> impl Strategy<Value = (Vec<f64>, Vec<f64>, Vec<usize>)> {
    score_lists(distinct).prop_flat_map(|(a, b)| {
        let order = Just((0..a.len()).collect::<Vec<_>>()).prop_shuffle();
        (Just(a), Just(b), order)
    })
}

fn reorder<T: Clone>(items: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|&i| items[i].clone()).collect()
}

fn rank_one(values: &[f64], texts: &[String]) -> Ranking {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let groups = testkit::groups(&[("x", &texts)]);
    let scores = testkit::scores(&[("current", &some(values))]);
    BestWorst::new("{}").unwrap().rank(&RankContext::default(), &groups, &scores).unwrap()
}

/// Each pair's C in the sample form; `None` where the pair is dropped.
fn sample_consistency(records: &Records) -> Vec<Option<f64>> {
    let labels = Cream::new(r#"{"form": "sample"}"#).unwrap().label(records).unwrap();
    let dropped = |i: usize| labels.dropped.iter().any(|d| d.index as usize == i);
    labels.consistency.iter().enumerate().map(|(i, c)| (!dropped(i)).then_some(*c)).collect()
}

proptest! {
    #[test]
    fn tau_and_rho_are_symmetric_bounded_and_blind_to_order_and_scale((a, b, order) in permuted(-4..4)) {
        let constant = |list: &[f64]| list.iter().all(|v| *v == list[0]);
        for statistic in [stats::kendall_tau_b, stats::spearman_rho] {
            let value = statistic(&a, &b);
            let close = |other: Option<f64>| match (value, other) {
                (Some(x), Some(y)) => (x - y).abs() < 1e-12,
                (x, y) => x == y,
            };
            prop_assert_eq!(value.is_none(), constant(&a) || constant(&b));
            prop_assert!(value.is_none_or(|v| (-1.0..=1.0).contains(&v)));
            prop_assert_eq!(value, statistic(&b, &a));
            prop_assert!(close(statistic(&reorder(&a, &order), &reorder(&b, &order))));
            prop_assert!(close(statistic(&a.iter().map(|v| 3.0 * v + 7.0).collect::<Vec<_>>(), &b)));
            prop_assert!(close(statistic(&a.iter().map(|v| -v).collect::<Vec<_>>(), &b).map(|v| -v)));
            prop_assert!(constant(&a) || (statistic(&a, &a).unwrap() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn ranking_follows_the_responses_wherever_they_stand((a, _, order) in permuted(-4..4)) {
        let names = texts(a.len());
        let (plain, moved) = (rank_one(&a, &names), rank_one(&reorder(&a, &order), &reorder(&names, &order)));
        prop_assert_eq!(&moved.ranks, &reorder(&plain.ranks, &order));
        prop_assert_eq!(&moved.dropped, &plain.dropped);
        prop_assert_eq!(moved.pairs.len(), plain.pairs.len());
        for (p, q) in plain.pairs.iter().zip(&moved.pairs) {
            // with ties another of the equals may be taken, never another score
            prop_assert_eq!(a[p.chosen as usize], a[order[q.chosen as usize]]);
            prop_assert_eq!(a[p.rejected as usize], a[order[q.rejected as usize]]);
        }
    }

    #[test]
    fn ranking_takes_the_first_of_equals_at_either_end((a, _) in score_lists(-2..2)) {
        let ranking = rank_one(&a, &texts(a.len()));
        for (v, rank) in a.iter().zip(&ranking.ranks) {
            prop_assert_eq!(*rank as usize, 1 + a.iter().filter(|w| *w > v).count());
        }
        let (max, min) = (a.iter().copied().fold(f64::MIN, f64::max), a.iter().copied().fold(f64::MAX, f64::min));
        if max == min {
            prop_assert_eq!(&ranking.dropped[0].reason, "all scores tie");
        } else {
            let first = |v: f64| a.iter().position(|w| *w == v).unwrap() as u32;
            prop_assert_eq!(ranking.pairs, [pair(0, first(max), first(min))]);
        }
    }

    #[test]
    fn ranking_is_blind_to_scale_and_to_copies((a, _, order) in permuted(-4..4)) {
        let names = texts(a.len());
        let plain = rank_one(&a, &names);
        prop_assert_eq!(&rank_one(&a.iter().map(|v| 0.5 * v - 3.0).collect::<Vec<_>>(), &names), &plain);
        // a copy carries the first one's score, whatever its own is
        let copied = order[0];
        let with_copy = rank_one(&[&a[..], &[99.0]].concat(), &[&names[..], &names[copied..=copied]].concat());
        prop_assert_eq!(&with_copy.pairs, &plain.pairs);
        prop_assert_eq!(with_copy.ranks[a.len()], with_copy.ranks[copied]);
    }

    #[test]
    fn consistency_is_blind_to_order_scale_copies_and_which_viewpoint_is_which((a, b, order) in permuted(-4..4)) {
        let of = |a: Vec<f64>, b: Vec<f64>| sample_consistency(&two_viewpoints(&[(a, b)]))[0];
        let base = of(a.clone(), b.clone());
        prop_assert_eq!(base, of(b.clone(), a.clone()));
        prop_assert_eq!(base, of(reorder(&a, &order), reorder(&b, &order)));
        prop_assert_eq!(base, of(a.iter().map(|v| 5.0 * v + 1.0).collect(), b.clone()));

        let copied = order[0];
        let extended = |list: &[f64]| [list, &[list[copied]]].concat();
        let mut copy = two_viewpoints(&[(extended(&a), extended(&b))]);
        copy.groups.responses[a.len()] = copy.groups.responses[copied].clone();
        prop_assert_eq!(base, sample_consistency(&copy)[0]);
    }

    #[test]
    fn consistency_is_joined_by_group_never_by_place(
        rows in prop::collection::vec(score_lists(-9..9), 1..8),
        keep in prop::collection::vec(any::<bool>(), 8),
        turn in 0usize..8,
    ) {
        let mut records = two_viewpoints(&rows);
        let alone: Vec<Option<f64>> =
            rows.iter().map(|row| sample_consistency(&two_viewpoints(std::slice::from_ref(row)))[0]).collect();
        // leave some groups without a pair, and list the others from another start
        records.pairs.retain(|p| keep[p.group as usize]);
        let mean = stats::mean(&records.pairs.iter().filter_map(|p| alone[p.group as usize]).collect::<Vec<_>>());
        let by = turn % records.pairs.len().max(1);
        records.pairs.rotate_left(by);
        let expected: Vec<Option<f64>> = records.pairs.iter().map(|p| alone[p.group as usize]).collect();
        prop_assert_eq!(sample_consistency(&records), expected);

        let average = Cream::new("{}").unwrap().label(&records);
        match mean {
            Some(mean) => prop_assert_eq!(average.unwrap().consistency, vec![mean; records.pairs.len()]),
            None => prop_assert_eq!(average.is_err(), !records.pairs.is_empty()),
        }
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss(
        logps in prop::collection::vec(-60.0f64..0.0, 4),
        c in 0.0f64..=1.0,
        weight in 0.0f64..3.0,
        beta in 0.01f64..1.0,
    ) {
        let at = |chosen: f64, rejected: f64| ObjectiveBatch {
            beta,
            policy_chosen: vec![chosen],
            policy_rejected: vec![rejected],
            reference_chosen: vec![logps[2]],
            reference_rejected: vec![logps[3]],
            chosen_tokens: vec![4],
            rejected_tokens: vec![4],
            consistency: vec![c],
            weight: vec![weight],
        };
        let (chosen, rejected, h) = (logps[0], logps[1], 1e-4);
        let value = objective(&at(chosen, rejected));
        let loss = |chosen, rejected| objective(&at(chosen, rejected)).loss[0];
        let d_chosen = (loss(chosen + h, rejected) - loss(chosen - h, rejected)) / (2.0 * h);
        let d_rejected = (loss(chosen, rejected + h) - loss(chosen, rejected - h)) / (2.0 * h);
        prop_assert!((value.d_chosen[0] - d_chosen).abs() < 1e-7, "{} and {d_chosen}", value.d_chosen[0]);
        prop_assert!((value.d_rejected[0] - d_rejected).abs() < 1e-7, "{} and {d_rejected}", value.d_rejected[0]);
    }

    #[test]
    fn the_loss_of_a_pair_does_not_depend_on_its_batch(
        pairs in prop::collection::vec((-9.0f64..9.0, 0.0f64..=1.0), 1..6),
    ) {
        let column = |f: fn(ObjectiveBatch) -> Vec<f64>| pairs.iter().flat_map(|&(z, c)| f(at(z, c))).collect();
        let together = objective(&ObjectiveBatch {
            beta: 1.0,
            policy_chosen: column(|b| b.policy_chosen),
            policy_rejected: column(|b| b.policy_rejected),
            reference_chosen: column(|b| b.reference_chosen),
            reference_rejected: column(|b| b.reference_rejected),
            chosen_tokens: vec![3; pairs.len()],
            rejected_tokens: vec![2; pairs.len()],
            consistency: column(|b| b.consistency),
            weight: column(|b| b.weight),
        });
        for (i, &(z, c)) in pairs.iter().enumerate() {
            prop_assert_eq!(together.loss[i].to_bits(), loss(z, c).to_bits());
            prop_assert_eq!(together.d_chosen[i].to_bits(), slope(z, c).to_bits());
        }
    }

    /// Whatever a judge model writes, the score is in range or there is none.
    #[test]
    fn a_rubric_score_is_in_range_or_missing(
        pieces in prop::collection::vec(
            prop_oneof![
                Just("Score:".to_string()), Just("score: ".into()), Just("**".into()), Just(" out of ".into()),
                Just("/".into()), Just("-".into()), Just(".".into()), "[0-9]{1,3}", "\\PC{0,4}", Just("\n".into()),
            ],
            0..12,
        ),
        marker in prop_oneof![Just("Score:".to_string()), "\\PC{1,3}"],
    ) {
        let judge = Rubric::new(&serde_json::json!({"k": 1, "marker": marker}).to_string());
        prop_assume!(judge.is_ok());
        let text: String = pieces.concat();
        let host = MockHost::new("current").on_generate(move |_, _, _| Ok(text.clone()));
        let groups = testkit::groups(&[("x", &["y"])]);
        match &host.judge(&judge.unwrap(), &groups).unwrap().scores[0] {
            Score::Value(v) => prop_assert!((0.0..=5.0).contains(v)),
            Score::Abstain(reason) => prop_assert!(reason.starts_with("0 of 1 judgments")),
        }
    }
}
