use creamery_plugin::testkit::{self, MockHost};
use creamery_plugin::{Measure, Message};

use super::*;

fn judge(params: &str) -> ExpectedScore {
    ExpectedScore::new(params).unwrap()
}

fn host(p: &'static [f64]) -> MockHost {
    MockHost::new("current").on_choose(move |_, _, _| Ok(p.into()))
}

fn score(params: &str, p: &'static [f64]) -> Score {
    host(p).judge(&judge(params), &testkit::groups(&[("x", &["y"])])).unwrap().scores.remove(0)
}

/// Worked by hand from Σ k·p(k).
#[test]
fn known_answers() {
    for (params, p, expected) in [
        ("{}", &[0.0, 0.0, 0.125, 0.25, 0.625][..], 0.375 + 1.0 + 3.125),
        ("{}", &[0.0, 0.0, 0.0, 0.0, 1.0], 5.0),
        ("{}", &[0.2, 0.2, 0.2, 0.2, 0.2], 3.0),
        (r#"{"labels": ["yes", "no"], "values": [1, 0]}"#, &[0.75, 0.25], 0.75),
        (r#"{"labels": ["no", "maybe", "yes"], "values": [-1, 0, 1]}"#, &[0.5, 0.25, 0.25], -0.25),
        (r#"{"labels": [" 0", " 10"]}"#, &[0.5, 0.5], 5.0),
    ] {
        let Score::Value(found) = score(params, p) else { panic!("{params}") };
        assert!((found - expected).abs() < 1e-12, "{params}: {found}, expected {expected}");
    }
    // not normalized by the host: only proportions count
    assert_eq!(score("{}", &[0.0, 0.0, 0.0, 0.5, 0.5]), score("{}", &[0.0, 0.0, 0.0, 1.0, 1.0]));
}

#[test]
fn what_is_no_distribution_abstains() {
    for p in
        [&[f64::NAN, 0.0, 0.0, 0.0, 1.0][..], &[0.0; 5], &[-0.5, 0.0, 0.0, 0.5, 1.0], &[f64::INFINITY, 0., 0., 0., 0.]]
    {
        assert!(matches!(score("{}", p), Score::Abstain(_)), "{p:?}");
    }
    let groups = testkit::groups(&[("x", &["a", "b"])]);
    let host = MockHost::new("current").on_choose(|_, messages, _| {
        let long = messages[0].content.contains("<response>\nb");
        if long { Err("too long".into()) } else { Ok(vec![0.0, 1.0, 0.0, 0.0, 0.0]) }
    });
    let scores = host.judge(&judge("{}"), &groups).unwrap().scores;
    assert_eq!(scores, [Score::Value(2.0), Score::Abstain("no judgment: too long".into())]);
}

#[test]
fn one_query_for_each_distinct_response() {
    let groups = testkit::groups(&[("x", &["a", "b", "a"]), ("y", &[]), ("z", &["a"])]);
    let params = r#"{"prompt": "{{ prompt }}>{{ response }} {{ labels | join('|') }} {{ scale_max }}",
        "system": "S", "slot": "initial", "labels": ["0", "1"]}"#;
    let host = MockHost::new("current").on_choose(|_, m, _| {
        let b = m[1].content.contains(">b");
        Ok(if b { vec![0.25, 0.75] } else { vec![0.5, 0.5] })
    });
    let judged = host.judge(&judge(params), &groups).unwrap();
    assert_eq!(judged.scores, [0.5, 0.75, 0.5, 0.5].map(Score::Value));
    let query = |content: &str| Query::Choose {
        slot: "initial".into(),
        messages: vec![Message::new("system", "S"), Message::user(content)],
        labels: vec!["0".into(), "1".into()],
    };
    assert_eq!(judged.asked, [[query("x>a 0|1 1"), query("x>b 0|1 1"), query("z>a 0|1 1")]]);
    assert_eq!(host.judge(&judge("{}"), &Groups::default()).unwrap().scores, []);
}

/// A shift of the values shifts the score, a factor scales it.
#[test]
fn scores_are_affine_in_the_values() {
    let p = &[0.125, 0.125, 0.25, 0.5];
    let value = |values: &str| {
        let params = format!(r#"{{"labels": ["a", "b", "c", "d"], "values": {values}}}"#);
        score(&params, p).value().unwrap()
    };
    let base = value("[1, 2, 3, 4]");
    assert_eq!(value("[11, 12, 13, 14]"), base + 10.0);
    assert_eq!(value("[-2, -4, -6, -8]"), -2.0 * base);
}

/// The entropies of (½, ½) and of a certain answer are ln 2 and 0; a failed answer has none.
#[test]
fn the_report_measures_entropy() {
    let judge = judge(r#"{"labels": ["0", "1"]}"#);
    let answers =
        vec![Answer::Distribution(vec![0.5, 0.5]), Answer::Distribution(vec![0.0, 1.0]), Answer::Failed("no".into())];
    let report = judge.report(&JudgeContext::default(), &Groups::default(), &[answers]).unwrap();
    let expected = Measure { name: "label_entropy".into(), sum: std::f64::consts::LN_2, count: 2 };
    assert_eq!(report.measures, [expected]);
    let nothing = judge.report(&JudgeContext::default(), &Groups::default(), &[]).unwrap();
    assert_eq!(nothing, JudgeReport::default());
}

#[test]
fn refuses_answers_that_do_not_fit() {
    let groups = testkit::groups(&[("x", &["a"])]);
    for answers in [vec![], vec![Answer::Distribution(vec![1.0])], vec![Answer::Logps(vec![])]] {
        let step = judge("{}").step(&JudgeContext::default(), &groups, std::slice::from_ref(&answers));
        assert!(step.is_err(), "{answers:?}");
    }
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"labels": ["1"]}"#, "'labels' is 1 labels"),
        (r#"{"labels": ["1", ""]}"#, "'labels' is \"\" at place 1"),
        (r#"{"labels": ["1", "1"]}"#, "'labels' is \"1\" at place 1"),
        (r#"{"labels": ["good", "bad"]}"#, "'values' is not given, but must be given, as \"good\" is not a number"),
        (r#"{"labels": ["1", "2"], "values": [1]}"#, "'values' is 1 numbers, but must be one for each of 2 labels"),
        (r#"{"labels": ["1", "2"], "values": [3, 3]}"#, "'values' is 3 for every label"),
        (r#"{"prompt": "rate it"}"#, "'prompt' never uses '{{ response }}'"),
        (r#"{"label": []}"#, "unknown field `label`"),
    ] {
        let error = ExpectedScore::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
