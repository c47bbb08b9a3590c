use creamery_plugin::testkit::{self, complete, cut_off};

use super::*;

fn rank(params: &str, groups: &Groups, scores: &Scores) -> Ranking {
    BestWorst::new(params).unwrap().rank(&RankContext::default(), groups, scores).unwrap()
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

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"min-margin": -1.0}"#, "'min-margin' is -1"),
        (r#"{"on-tie": "random"}"#, "unknown variant `random`"),
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
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
