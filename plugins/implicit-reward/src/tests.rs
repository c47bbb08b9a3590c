use creamery_plugin::testkit::{self, MockHost};
use creamery_plugin::{Finish, Response};

use super::*;

/// log π = −1.5 a token under the judge, −2 under every other model; 4 tokens give the example of the crate.
fn host(viewpoint: &str) -> MockHost {
    MockHost::new(viewpoint).on_response_logps(|slot, response| {
        let per_token = if slot.name == "judge" { -1.5 } else { -2.0 };
        Ok(Logp { sum: per_token * f64::from(response.tokens), tokens: response.tokens })
    })
}

fn scores(host: &MockHost, params: &str, groups: &Groups) -> Vec<Score> {
    host.judge(&ImplicitReward::new(params).unwrap(), groups).unwrap().scores
}

#[test]
fn formulas() {
    let groups = testkit::groups(&[("x", &["four", "ab"])]);
    let same = || host("previous").slot("reference", "m-judge");
    let initial = || host("previous").slot("initial", "m-judge");
    let cases = [
        ("two models", host("current"), "{}", [2.0, 1.0]),
        ("two models", host("current"), r#"{"normalization": "mean"}"#, [0.5, 0.5]),
        ("two models", host("current"), r#"{"score": "mean-likelihood"}"#, [-1.5, -1.5]),
        ("two models", host("current"), r#"{"reference-compat": "mixed"}"#, [2.0, 1.0]),
        ("one model", same(), "{}", [-6.0, -3.0]),
        ("one model", same(), r#"{"normalization": "mean"}"#, [-1.5, -1.5]),
        ("one model", same(), r#"{"when-reference-is-judge": "mean-likelihood"}"#, [-1.5, -1.5]),
        (
            "one model",
            same(),
            r#"{"when-reference-is-judge": "sum-likelihood", "normalization": "mean"}"#,
            [-6.0, -3.0],
        ),
        ("one model", same(), r#"{"reference-compat": "mixed"}"#, [-1.5, -1.5]),
        ("one model", same(), r#"{"reference": "initial"}"#, [2.0, 1.0]),
        ("M0 judges", initial(), r#"{"reference": "initial"}"#, [-6.0, -3.0]),
        ("M0 judges", initial(), "{}", [2.0, 1.0]),
    ];
    for (name, host, params, expected) in cases {
        assert_eq!(scores(&host, params, &groups), expected.map(Score::Value), "{name}, {params}");
    }
}

#[test]
fn asks_once_for_all_responses_and_only_for_the_slots_that_it_needs() {
    let groups = testkit::groups(&[("x", &["a", "b"]), ("y", &["c"])]);
    let query = |slot: &str| Query::ResponseLogps { slot: slot.into(), responses: vec![0, 1, 2] };
    let cases = [
        ("{}", host("current"), vec![vec![query("judge"), query("reference")]]),
        (r#"{"reference": "initial"}"#, host("current"), vec![vec![query("judge"), query("initial")]]),
        (r#"{"score": "mean-likelihood"}"#, host("current").without_slot("reference"), vec![vec![query("judge")]]),
        ("{}", host("previous").slot("reference", "m-judge"), vec![vec![query("judge")]]),
        (r#"{"when-reference-is-judge": "abstain"}"#, host("previous").slot("reference", "m-judge"), vec![]),
    ];
    for (params, host, asked) in cases {
        let judged = host.judge(&ImplicitReward::new(params).unwrap(), &groups).unwrap();
        assert_eq!(judged.asked, asked, "{params}");
    }
    assert_eq!(scores(&MockHost::new("current"), "{}", &Groups::default()), []);
}

#[test]
fn abstains_with_a_reason() {
    let mut groups = testkit::groups(&[("x", &["ok"])]);
    let empty = Response { text: String::new(), tokens: 0, finish: Finish::Length };
    groups.push("p1", Vec::new(), vec![empty]);
    let reason = |score: &Score| match score {
        Score::Abstain(reason) => reason.clone(),
        Score::Value(v) => panic!("scored {v}"),
    };

    let zero = scores(&host("current"), "{}", &groups);
    assert_eq!(zero[0], Score::Value(1.0));
    assert!(reason(&zero[1]).contains("no tokens"));

    let fails = host("current").on_response_logps(|slot, r| match slot.name.as_str() {
        "reference" => Err("longer than the context".into()),
        _ => Ok(Logp { sum: -1.0, tokens: r.tokens }),
    });
    for score in scores(&fails, "{}", &groups) {
        assert!(reason(&score).contains("'reference': longer than the context"), "{score:?}");
    }

    let minus_infinity = host("current").on_response_logps(|_, _| Ok(Logp { sum: f64::NEG_INFINITY, tokens: 2 }));
    assert!(reason(&scores(&minus_infinity, "{}", &groups)[0]).contains("not finite"));

    let other_tokens = host("current")
        .on_response_logps(|slot, _| Ok(Logp { sum: -1.0, tokens: if slot.name == "judge" { 2 } else { 3 } }));
    assert!(reason(&scores(&other_tokens, "{}", &groups)[0]).contains("2 response tokens, the reference 3"));

    let no_ratio = host("previous").slot("reference", "m-judge");
    let all = scores(&no_ratio, r#"{"when-reference-is-judge": "abstain"}"#, &groups);
    assert!(all.iter().all(|s| reason(s).contains("is the reference")));
}

#[test]
fn errors_name_what_is_wrong() {
    let cases = [
        (r#"{"scores": "log-ratio"}"#, "unknown field `scores`"),
        (r#"{"score": "ratio"}"#, "unknown variant `ratio`"),
        (r#"{"reference-compat": "mixed", "normalization": "mean"}"#, "'normalization'"),
        (r#"{"reference-compat": "mixed", "score": "mean-likelihood"}"#, "'score'"),
        (r#"{"reference-compat": "mixed", "when-reference-is-judge": "abstain"}"#, "'when-reference-is-judge'"),
    ];
    for (params, expected) in cases {
        let error = ImplicitReward::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
    let groups = testkit::groups(&[("x", &["ok"])]);
    let judge = ImplicitReward::new("{}").unwrap();
    let error = host("current").without_slot("reference").judge(&judge, &groups).unwrap_err().message;
    assert!(error.contains("no model slot 'reference', only: judge, initial"), "{error}");
    let context = JudgeContext { slots: vec![], ..JudgeContext::default() };
    assert!(judge.step(&context, &groups, &[]).unwrap_err().message.contains("'judge'"));
}

#[test]
fn refuses_answers_that_do_not_fit() {
    let groups = testkit::groups(&[("x", &["ok"])]);
    let judge = ImplicitReward::new(r#"{"score": "mean-likelihood"}"#).unwrap();
    let context = JudgeContext { slots: vec![Slot { name: "judge".into(), model: "m".into() }], ..Default::default() };
    let bad = [vec![], vec![Answer::Logps(vec![])], vec![Answer::Texts(vec![])]];
    for answers in bad {
        assert!(judge.step(&context, &groups, std::slice::from_ref(&answers)).is_err(), "{answers:?}");
    }
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
