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

/// The log-ratio is the number that the text starts with.
fn scripted(viewpoint: &str) -> MockHost {
    MockHost::new(viewpoint).on_response_logps(|slot, response| {
        let (reward, _) = response.text.split_once(' ').unwrap();
        let sum = if slot.name == "judge" { reward.parse::<f64>().unwrap() } else { 0.0 };
        Ok(Logp { sum, tokens: response.tokens })
    })
}

/// Groups of responses, each a reward and a length.
fn lengths(rows: &[&[(f64, u32)]]) -> Groups {
    let mut groups = Groups::default();
    for (g, row) in rows.iter().enumerate() {
        let response = |(i, &(reward, tokens)): (usize, &(f64, u32))| {
            let text = format!("{reward} {g} {i}");
            Response { text, tokens, finish: Finish::Stop }
        };
        groups.push(format!("p{g}"), vec![], row.iter().enumerate().map(response).collect());
    }
    groups
}

fn report(params: &str, host: &MockHost, groups: &Groups) -> Vec<(String, f64, u64)> {
    let judge = ImplicitReward::new(params).unwrap();
    let judged = host.judge(&judge, groups).unwrap();
    let context = JudgeContext {
        slots: ["judge", "reference", "initial"].map(|n| Slot { name: n.into(), model: format!("m-{n}") }).into(),
        ..JudgeContext::default()
    };
    let logps = |slot: &str| {
        let logp = |r: &Response| {
            let reward = r.text.split_once(' ').unwrap().0.parse::<f64>().unwrap();
            Logp { sum: if slot == "judge" { reward } else { 0.0 }, tokens: r.tokens }
        };
        Answer::Logps(groups.responses.iter().map(logp).collect())
    };
    let answers: Vec<Vec<Answer>> = match judged.asked.is_empty() {
        true => vec![],
        false => vec![vec![logps("judge"), logps("reference")]],
    };
    let report = judge.report(&context, groups, &answers).unwrap();
    assert!(report.pairs.is_empty());
    report.measures.into_iter().map(|m| (m.name, m.sum, m.count)).collect()
}

#[test]
fn a_fixed_length_penalty_is_subtracted() {
    let groups = lengths(&[&[(2.0, 10), (1.0, 4)]]);
    let found = |params: &str| scores(&scripted("current"), params, &groups);
    assert_eq!(found(r#"{"length-penalty": 0.125}"#), [0.75, 0.5].map(Score::Value));
    assert_eq!(found(r#"{"length-penalty": 0.25}"#), [-0.5, 0.0].map(Score::Value));
    assert_eq!(found(r#"{"length-penalty": 0}"#), found("{}"));
    // r − α·|y| of the mean reward, 0.2 and 0.25 a token
    let mean = found(r#"{"length-penalty": 0.5, "normalization": "mean"}"#);
    assert_eq!(mean, [0.2 - 5.0, 0.25 - 2.0].map(Score::Value));
    assert_eq!(report(r#"{"length-penalty": 0.125}"#, &scripted("current"), &groups), []);
    let negative_zero = lengths(&[&[(-0.0, 3)]]);
    match scores(&scripted("current"), "{}", &negative_zero)[0] {
        Score::Value(v) => assert!(v == 0.0 && v.is_sign_negative(), "not a bit changes"),
        _ => panic!("scored"),
    }
}

/// Two groups: in the first the longer response is better up to α = 0.25 (rewards 3, 2; 10 and 6 tokens), in the second
/// up to α = 0.5 (rewards 2, 0; 8 and 4 tokens). D(0) = 4; between the two it is (−4 + 4) / 2 = 0; above it is −4.
#[test]
fn the_penalty_is_found_that_makes_lengths_equal() {
    let groups = lengths(&[&[(3.0, 10), (2.0, 6)], &[(2.0, 8), (0.0, 4)]]);
    let auto = r#"{"length-penalty": "auto"}"#;
    let measures = report(auto, &scripted("current"), &groups);
    let alpha = measures[0].1;
    assert_eq!(measures[0], ("length_penalty".into(), alpha, 1));
    assert!((0.25..=0.5).contains(&alpha), "{alpha}");
    assert_eq!(measures[1], ("length_difference".into(), 0.0, 2));
    let expected = [3.0 - alpha * 10.0, 2.0 - alpha * 6.0, 2.0 - alpha * 8.0, 0.0 - alpha * 4.0];
    assert_eq!(scores(&scripted("current"), auto, &groups), expected.map(Score::Value));

    // one group: D is 4 below 0.25 and −4 above, so the last number below is taken
    let one = lengths(&[&[(3.0, 10), (2.0, 6)]]);
    let measures = report(auto, &scripted("current"), &one);
    assert!((measures[0].1 - 0.25).abs() < 1e-12, "{measures:?}");

    // rewards times 8: α times 8, exactly
    let scaled = lengths(&[&[(24.0, 10), (16.0, 6)], &[(16.0, 8), (0.0, 4)]]);
    assert_eq!(report(auto, &scripted("current"), &scaled)[0].1, 8.0 * alpha);

    // groups in another order, responses in another order: the same α
    let swapped = lengths(&[&[(0.0, 4), (2.0, 8)], &[(2.0, 6), (3.0, 10)]]);
    assert_eq!(report(auto, &scripted("current"), &swapped)[0].1, alpha);
}

#[test]
fn there_is_nothing_to_penalize() {
    let auto = r#"{"length-penalty": "auto"}"#;
    let cases: &[(&str, Groups)] = &[
        ("the best ones are the shorter ones", lengths(&[&[(3.0, 4), (2.0, 6)]])),
        ("equally long", lengths(&[&[(3.0, 4), (2.0, 4)], &[(1.0, 7), (5.0, 7)]])),
        ("alone", lengths(&[&[(3.0, 4)], &[(2.0, 9)]])),
        ("all rewards equal", lengths(&[&[(3.0, 4), (3.0, 9)]])),
        ("the two groups cancel", lengths(&[&[(3.0, 10), (2.0, 4)], &[(5.0, 2), (0.0, 8)]])),
    ];
    for (name, groups) in cases {
        let plain = scores(&scripted("current"), "{}", groups);
        assert_eq!(scores(&scripted("current"), auto, groups), plain, "{name}");
        assert_eq!(report(auto, &scripted("current"), groups)[0].1, 0.0, "{name}");
    }
    assert_eq!(report(auto, &scripted("current"), &Groups::default()), []);

    // abstentions do not count: without the third response the best one is the shorter
    let mut groups = lengths(&[&[(3.0, 4), (2.0, 6), (9.0, 0)]]);
    let judged = scores(&scripted("current"), auto, &groups);
    assert_eq!(judged[..2], [3.0, 2.0].map(Score::Value));
    assert!(judged[2].value().is_none());
    // nor do copies: a second copy of the best response changes nothing
    groups = lengths(&[&[(3.0, 10), (2.0, 6)], &[(2.0, 8), (0.0, 4)]]);
    let alpha = report(auto, &scripted("current"), &groups)[0].1;
    let mut copied = Groups::default();
    let responses = groups.responses.clone();
    copied.push("p0", vec![], vec![responses[0].clone(), responses[1].clone(), responses[0].clone()]);
    copied.push("p1", vec![], responses[2..].to_vec());
    assert_eq!(report(auto, &scripted("current"), &copied)[0].1, alpha);
}

#[test]
fn the_reference_may_be_any_slot() {
    let groups = testkit::groups(&[("x", &["four", "ab"])]);
    let frozen = host("current").slot("frozen", "m-frozen").without_slot("reference");
    assert_eq!(scores(&frozen, r#"{"reference": "frozen"}"#, &groups), [2.0, 1.0].map(Score::Value));
    let same = host("current").slot("frozen", "m-judge");
    assert_eq!(scores(&same, r#"{"reference": "frozen"}"#, &groups), [-6.0, -3.0].map(Score::Value));
    let judge = ImplicitReward::new(r#"{"reference": "frozn"}"#).unwrap();
    let error = host("current").judge(&judge, &groups).unwrap_err().message;
    assert!(error.contains("no model slot 'frozn'"), "{error}");
    for (params, expected) in [
        (r#"{"reference": "judge"}"#, "'reference' is \"judge\""),
        (r#"{"length-penalty": -1}"#, "'length-penalty' is -1"),
        (r#"{"length-penalty": "most"}"#, "a number or \"auto\""),
    ] {
        let error = ImplicitReward::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
}
