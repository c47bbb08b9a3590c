use creamery_plugin::testkit;

use super::*;

fn sources(names: &[&str], responses: &[u32]) -> Sources {
    Sources { names: names.iter().map(|n| (*n).into()).collect(), responses: responses.into() }
}

/// One group; each response's text, source and score.
fn one(params: &str, rows: &[(&str, u32, Option<f64>)]) -> Result<(u32, u32), String> {
    let texts: Vec<&str> = rows.iter().map(|r| r.0).collect();
    let groups = testkit::groups(&[("x", &texts)]);
    let values: Vec<Option<f64>> = rows.iter().map(|r| r.2).collect();
    let from: Vec<u32> = rows.iter().map(|r| r.1).collect();
    let ranker = Temporal::new(params).unwrap();
    let (context, sources) = (RankContext::default(), sources(&["current", "M1", "next"], &from));
    let ranking = ranker.rank_sources(&context, &groups, &testkit::scores(&[("current", &values)]), &sources).unwrap();
    match (&ranking.pairs[..], &ranking.dropped[..]) {
        ([pair], []) => Ok((pair.chosen, pair.rejected)),
        ([], [dropped]) => Err(dropped.reason.clone()),
        _ => panic!("one group gives one pair or one drop: {ranking:?}"),
    }
}

/// Parameters, responses, and the pair or the reason for none.
type Case = (&'static str, &'static [(&'static str, u32, Option<f64>)], Result<(u32, u32), &'static str>);

#[test]
fn best_of_one_model_against_worst_of_another() {
    let all = r#"{"chosen-from": "all"}"#;
    let cases: &[Case] = &[
        // the worked example
        ("{}", &[("a", 0, Some(1.0)), ("b", 0, Some(3.0)), ("c", 1, Some(2.0)), ("d", 1, Some(0.0))], Ok((1, 3))),
        (all, &[("a", 0, Some(1.0)), ("b", 0, Some(3.0)), ("c", 1, Some(2.0)), ("d", 1, Some(0.0))], Ok((1, 3))),
        (all, &[("a", 0, Some(1.0)), ("b", 0, Some(3.0)), ("c", 1, Some(4.0)), ("d", 1, Some(0.0))], Ok((2, 3))),
        // the current model's own worst one is not rejected
        ("{}", &[("a", 0, Some(-5.0)), ("b", 0, Some(3.0)), ("c", 1, Some(1.0))], Ok((1, 2))),
        // the future-guided chosen one
        (
            r#"{"chosen-from": "next"}"#,
            &[("a", 0, Some(9.0)), ("b", 1, Some(1.0)), ("c", 2, Some(3.0)), ("d", 2, Some(4.0))],
            Ok((3, 1)),
        ),
        (
            "{}",
            &[("a", 0, Some(1.0)), ("b", 1, Some(2.0))],
            Err("the worst of \"M1\" is as good as the best of \"current\""),
        ),
        // both models gave the same text, so it carries one score
        (
            "{}",
            &[("a", 0, Some(3.0)), ("a", 1, Some(1.0))],
            Err("the worst of \"M1\" is as good as the best of \"current\""),
        ),
        ("{}", &[("a", 0, Some(3.0)), ("a", 1, Some(1.0)), ("b", 1, Some(2.0))], Ok((0, 2))),
        ("{}", &[("a", 0, Some(3.0)), ("b", 1, None)], Err("no scored response of \"M1\"")),
        ("{}", &[("b", 1, Some(3.0))], Err("no scored response of \"current\"")),
        (
            r#"{"on-tie": "drop"}"#,
            &[("a", 0, Some(3.0)), ("b", 0, Some(3.0)), ("c", 1, Some(0.0))],
            Err("the best score is tied"),
        ),
        (r#"{"on-tie": "drop"}"#, &[("a", 0, Some(3.0)), ("b", 1, Some(0.0)), ("c", 0, Some(0.0))], Ok((0, 1))),
        (r#"{"min-margin": 3.5}"#, &[("a", 0, Some(3.0)), ("b", 1, Some(0.0))], Err("the margin is below min-margin")),
        // the range is that of each model's own scores
        (
            r#"{"length-control": 0.5}"#,
            &[("aaa", 0, Some(3.0)), ("b", 0, Some(2.0)), ("ccc", 0, Some(0.0)), ("d", 1, Some(-1.0))],
            Ok((1, 3)),
        ),
    ];
    for (params, rows, expected) in cases {
        assert_eq!(one(params, rows), expected.map_err(String::from), "{params} {rows:?}");
    }
}

#[test]
fn groups_keep_their_numbers_and_every_response_is_ranked() {
    let groups = testkit::groups(&[("x", &["a", "b"]), ("y", &["c", "d"])]);
    let scores = testkit::scores(&[
        ("current", &[Some(1.0), Some(2.0), Some(5.0), Some(4.0)]),
        ("previous", &[Some(1.0), None, Some(3.0), Some(3.0)]),
    ]);
    let sources = sources(&["current", "M1"], &[0, 1, 0, 1]);
    let ranker = Temporal::new("{}").unwrap();
    let ranking = ranker.rank_sources(&RankContext::default(), &groups, &scores, &sources).unwrap();
    assert_eq!(ranking.ranks, [2, 1, 1, 2, 1, 0, 1, 1]);
    assert_eq!(ranking.pairs, [testkit::pair(1, 2, 3)]);
    assert_eq!(ranking.dropped[0].index, 0);
}

#[test]
fn a_missing_source_is_an_error_that_says_what_to_add() {
    let groups = testkit::groups(&[("x", &["a", "b"])]);
    let scores = testkit::scores(&[("current", &[Some(1.0), Some(2.0)])]);
    let context = RankContext::default();
    let error = |params: &str, sources: Option<Sources>| {
        let ranker = Temporal::new(params).unwrap();
        let result = match sources {
            Some(sources) => ranker.rank_sources(&context, &groups, &scores, &sources),
            None => ranker.rank(&context, &groups, &scores),
        };
        result.unwrap_err().message
    };
    let says = |error: String, parts: &[&str]| {
        for part in parts {
            assert!(error.contains(part), "{part} in: {error}");
        }
    };
    let add = "add a [[sample.from]] with model = \"M1\"";
    says(error("{}", None), &["no responses of \"M1\"", "only of current", add]);
    says(error("{}", Some(sources(&["current"], &[0, 0]))), &["no responses of \"M1\"", add]);
    says(error("{}", Some(sources(&["current", "initial"], &[0, 1]))), &["only of current, initial", add]);
    let future = r#"{"chosen-from": "next", "rejected-from": "current"}"#;
    says(error(future, None), &["no responses of \"next\""]);
    says(error("{}", Some(sources(&["current", "M1"], &[0]))), &["sources of 1 responses, but there are 2"]);
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"rejected-from": "current"}"#, "both \"current\""),
        (r#"{"min-margin": -1}"#, "'min-margin' is -1"),
        (r#"{"rejected": "M1"}"#, "unknown field `rejected`"),
    ] {
        let error = Temporal::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
