use creamery_plugin::Dropped;
use creamery_plugin::testkit::{self, complete, cut_off};

use super::*;

fn rank(params: &str, groups: &Groups, scores: &Scores) -> Ranking {
    testkit::rank(&BestWorst::new(params).unwrap(), &RankContext::default(), groups, scores).unwrap()
}

/// One group; the responses' texts and the current viewpoint's scores.
fn one(params: &str, texts: &[&str], values: &[Option<f64>]) -> Result<(u32, u32), String> {
    let groups = testkit::groups(&[("x", texts)]);
    outcome(rank(params, &groups, &testkit::scores(&[("current", values)])))
}

fn outcome(ranking: Ranking) -> Result<(u32, u32), String> {
    match (&ranking.pairs[..], &ranking.dropped[..]) {
        ([pair], []) => Ok((pair.chosen, pair.rejected)),
        ([], [dropped]) => Err(dropped.reason.clone()),
        _ => panic!("one group gives one pair or one drop: {ranking:?}"),
    }
}

/// Parameters, texts, scores, and the pair or the reason for none.
type Case = (&'static str, &'static [&'static str], Vec<Option<f64>>, Result<(u32, u32), &'static str>);

#[test]
fn picks_best_and_worst_or_says_why_not() {
    const ABCD: &[&str] = &["a", "b", "c", "d"];
    let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
    let cases: &[Case] = &[
        ("{}", ABCD, some(&[0.3, 1.2, -0.5, 1.2]), Ok((1, 2))),
        ("{}", ABCD, some(&[0.0, 0.0, 1.0, 0.0]), Ok((2, 0))),
        ("{}", ABCD, some(&[1.0, 1.0, 1.0, 1.0]), Err("all scores tie")),
        ("{}", ABCD, vec![None, Some(1.0), None, None], Err("fewer than two scored responses")),
        ("{}", ABCD, vec![None, Some(1.0), None, Some(0.0)], Ok((1, 3))),
        ("{}", &["a"], some(&[1.0]), Err("fewer than two scored responses")),
        ("{}", &[], vec![], Err("fewer than two scored responses")),
        ("{}", &["a", "a"], some(&[1.0, 2.0]), Err("all responses are identical")),
        // the second "a" carries the first one's score, so its 9 does not count
        ("{}", &["a", "b", "a"], some(&[1.0, 2.0, 9.0]), Ok((1, 0))),
        (r#"{"deduplicate": false}"#, &["a", "b", "a"], some(&[1.0, 2.0, 9.0]), Ok((2, 0))),
        (r#"{"deduplicate": false}"#, &["a", "a"], some(&[1.0, 1.0]), Err("all scores tie")),
        // two equal texts are one response: no tie at the top
        (r#"{"on-tie": "drop"}"#, &["a", "b", "a"], some(&[2.0, 1.0, 2.0]), Ok((0, 1))),
        (r#"{"on-tie": "drop"}"#, ABCD, some(&[0.3, 1.2, -0.5, 1.2]), Err("the best score is tied")),
        (r#"{"on-tie": "drop"}"#, ABCD, some(&[0.0, 0.0, 1.0, 2.0]), Err("the worst score is tied")),
        (r#"{"min-margin": 1.5}"#, ABCD, some(&[0.0, 1.0, 1.5, 0.5]), Ok((2, 0))),
        (r#"{"min-margin": 1.6}"#, ABCD, some(&[0.0, 1.0, 1.5, 0.5]), Err("the margin is below min-margin")),
    ];
    for (params, texts, values, expected) in cases {
        let expected = expected.map_err(String::from);
        assert_eq!(one(params, texts, values), expected, "{params} {texts:?} {values:?}");
    }
}

#[test]
fn require_complete_leaves_out_what_was_cut_off() {
    let mut groups = Groups::default();
    groups.push("p0", vec![], vec![complete("a"), cut_off("b"), complete("c"), cut_off("d")]);
    let scores = testkit::scores(&[("current", &[Some(1.0), Some(9.0), Some(2.0), Some(-9.0)])]);
    assert_eq!(outcome(rank("{}", &groups, &scores)), Ok((1, 3)));
    let strict = rank(r#"{"require-complete": true}"#, &groups, &scores);
    assert_eq!(strict.ranks, [3, 1, 2, 4], "ranks are of all responses");
    assert_eq!(outcome(strict), Ok((2, 0)));

    let mut groups = Groups::default();
    groups.push("p0", vec![], vec![complete("a"), cut_off("b")]);
    let scores = testkit::scores(&[("current", &[Some(1.0), Some(9.0)])]);
    let reason = outcome(rank(r#"{"require-complete": true}"#, &groups, &scores));
    assert_eq!(reason, Err("fewer than two complete scored responses".into()));
}

#[test]
fn the_same_text_cut_off_and_complete_are_two_responses() {
    let mut groups = Groups::default();
    groups.push("p0", vec![], vec![complete("a"), cut_off("a")]);
    let scores = testkit::scores(&[("current", &[Some(1.0), Some(2.0)])]);
    assert_eq!(outcome(rank("{}", &groups, &scores)), Ok((1, 0)));
}

#[test]
fn ranks_every_viewpoint_but_pairs_by_the_current_one_alone() {
    let groups = testkit::groups(&[("x", &["a", "b", "c"]), ("y", &["d", "d", "e"])]);
    let scores = testkit::scores(&[
        ("current", &[Some(1.0), Some(2.0), Some(2.0), None, Some(1.0), Some(5.0)]),
        ("previous", &[Some(9.0), None, Some(-9.0), Some(0.5), Some(7.0), Some(0.1)]),
    ]);
    let ranking = rank("{}", &groups, &scores);
    // in the second group both "d" carry the first one's score: none, then 0.5
    assert_eq!(ranking.ranks, [3, 1, 1, 0, 0, 1, 1, 0, 2, 1, 1, 3]);
    assert_eq!(ranking.pairs, [testkit::pair(0, 1, 0)]);
    assert_eq!(ranking.dropped, [Dropped { index: 1, reason: "fewer than two scored responses".into() }]);
}

/// Scores 5, 4.8, 3, 1 with 9, 4, 2, 3 tokens: the example of `creamery_plugin::pairing`, in tenths.
#[test]
fn length_control_takes_the_shortest_of_the_best_and_the_longest_of_the_worst() {
    let texts: &[&str] = &["a23456789", "b234", "c2", "d23"];
    let values = [5.0, 4.8, 3.0, 1.0].map(Some);
    let cases = [
        ("0.0", Ok((0, 3))),
        ("0.04", Ok((0, 3))),
        // tiers [4.6, 5] and [1, 1.4]
        ("0.1", Ok((1, 3))),
        // tiers [3, 5] and [1, 3]: the shortest is the third, the longest of the lower tier the fourth
        ("0.5", Ok((2, 3))),
        // tiers [2.6, 5] and [1, 3.4]
        ("0.6", Ok((2, 3))),
        // tiers [1, 5]: the shortest of all, with 3, against the longest of all, with 5
        ("1.0", Err("length control leaves no better response")),
    ];
    for (rho, expected) in cases {
        let params = format!(r#"{{"length-control": {rho}}}"#);
        assert_eq!(one(&params, texts, &values), expected.map_err(String::from), "{rho}");
    }
    // equally short: the better one, and only then a tie
    let tie = |params: &str, values: &[f64]| {
        let values: Vec<_> = values.iter().copied().map(Some).collect();
        one(params, &["aa", "bb", "cc", "dddd"], &values)
    };
    assert_eq!(tie(r#"{"length-control": 0.1}"#, &[4.9, 5.0, 4.95, 0.0]), Ok((1, 3)));
    let strict = r#"{"length-control": 0.1, "on-tie": "drop"}"#;
    assert_eq!(tie(strict, &[4.9, 5.0, 5.0, 0.0]), Err("the best score is tied".into()));
    // a tie at the top that lengths decide is none
    assert_eq!(one(strict, &["aa", "b", "c23"], &[5.0, 5.0, 0.0].map(Some)), Ok((1, 2)));
    // the margin is that of the pair: 4.9 − 0, not 5 − 0
    let margin = r#"{"length-control": 0.1, "min-margin": 4.95}"#;
    assert_eq!(
        one(margin, &["aa", "b", "c"], &[5.0, 4.9, 0.0].map(Some)),
        Err("the margin is below min-margin".into())
    );
}

/// Every list of four scores from {0, 1, 2}, every order of the responses: the same texts come out unless scores tie,
/// and where ties are drawn at random always. A shift and a positive factor change nothing.
#[test]
fn order_shift_and_scale_change_nothing() {
    let texts = ["a", "bb", "ccc", "dddd"];
    let mut orders = Vec::new();
    for i in 0..256usize {
        let order = [i & 3, i >> 2 & 3, i >> 4 & 3, i >> 6 & 3];
        if (0..4).all(|k| order.contains(&k)) {
            orders.push(order);
        }
    }
    assert_eq!(orders.len(), 24);
    for params in [r#"{"on-tie": "drop"}"#, r#"{"on-tie": "random"}"#, r#"{"on-tie": "random", "length-control": 0.5}"#]
    {
        for code in 0..81u32 {
            let scores: [f64; 4] = std::array::from_fn(|i| f64::from(code / 3u32.pow(i as u32) % 3));
            let pair = |order: &[usize; 4], change: fn(f64) -> f64| {
                let values: Vec<_> = order.iter().map(|&i| Some(change(scores[i]))).collect();
                let ordered: Vec<&str> = order.iter().map(|&i| texts[i]).collect();
                one(params, &ordered, &values).map(|(c, r)| (ordered[c as usize], ordered[r as usize]))
            };
            let expected = pair(&[0, 1, 2, 3], |s| s);
            for order in &orders {
                assert_eq!(pair(order, |s| s), expected, "{params} {scores:?} {order:?}");
            }
            assert_eq!(pair(&[0, 1, 2, 3], |s| 4.0 * s - 3.0), expected, "{params} {scores:?}");
        }
    }
}

#[test]
fn random_ties_are_drawn_by_seed_and_prompt() {
    let groups = testkit::groups(&[("x", &["a", "b", "c", "d"]), ("y", &["a", "b", "c", "d"])]);
    let scores = testkit::scores(&[("current", &[1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0].map(Some))]);
    let ranker = BestWorst::new(r#"{"on-tie": "random"}"#).unwrap();
    let mut seen = std::collections::BTreeMap::<Vec<u32>, u32>::new();
    for seed in 0..1600 {
        let context = RankContext { round: 1, seed };
        let pairs = ranker.rank(&context, &groups, &scores).unwrap().pairs;
        *seen.entry(pairs.iter().flat_map(|p| [p.chosen % 4, p.rejected % 4]).collect()).or_default() += 1;
    }
    // 2 × 2 choices in each of two prompts, all independent: 100 of each expected, ± 5 standard deviations
    assert_eq!(seen.len(), 16);
    assert!(seen.values().all(|n| (52..148).contains(n)), "{seen:?}");
}

#[test]
fn only_what_draws_by_texts_needs_them() {
    let groups = testkit::groups(&[("x", &["a", "b"])]);
    let numbers = creamery_plugin::Numbers::of(&groups, &testkit::scores(&[("current", &[Some(1.0), Some(0.0)])]));
    for (params, needs_none) in [("{}", true), (r#"{"on-tie": "drop"}"#, true), (r#"{"on-tie": "random"}"#, false)] {
        let ranking = BestWorst::new(params).unwrap().rank_numbers(&RankContext::default(), numbers.view()).unwrap();
        assert_eq!(ranking.is_some(), needs_none, "{params}");
    }
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"min-margin": -1.0}"#, "'min-margin' is -1"),
        (r#"{"on-tie": "last"}"#, "unknown variant `last`"),
        (r#"{"length-control": 1.5}"#, "'length-control' is 1.5"),
        (r#"{"length-control": -0.1}"#, "'length-control' is -0.1"),
        (r#"{"dedupe": true}"#, "unknown field `dedupe`"),
    ] {
        let error = BestWorst::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
    let groups = testkit::groups(&[("x", &["a", "b"])]);
    let ranker = BestWorst::new("").unwrap();
    let rank = |scores: Scores| ranker.rank(&RankContext::default(), &groups, &scores).unwrap_err().message;
    assert!(rank(Scores::default()).contains("no viewpoint"));
    assert!(rank(testkit::scores(&[("current", &[Some(1.0)])])).contains("expected 2"));
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<ExtremesParams>(&defaults).unwrap(), ExtremesParams::default());
}
