use creamery_plugin::testkit::{self, MockHost};
use creamery_plugin::{Generated, Response};

use super::*;

fn host() -> MockHost {
    MockHost::new("current").slot("program", "m-program")
}

/// The score of one response whose slot gives `text`, or the reason why there is none.
fn read(params: &str, text: &str) -> Result<f64, String> {
    let text = text.to_owned();
    let judged = host()
        .on_generate(move |_, _, _| Ok(text.clone()))
        .judge(&Program::new(params).unwrap(), &testkit::groups(&[("x", &["y"])]));
    match judged.unwrap().scores.remove(0) {
        Score::Value(v) => Ok(v),
        Score::Abstain(reason) => Err(reason),
    }
}

#[test]
fn numbers_in_text() {
    let marked = r#"{"marker": "Score:"}"#;
    let ranged = r#"{"range": [0, 1]}"#;
    let cases: &[(&str, &str, Result<f64, &str>)] = &[
        ("{}", "0.5", Ok(0.5)),
        ("{}", " -3\n", Ok(-3.0)),
        ("{}", "1e-3", Ok(0.001)),
        ("{}", "Yes.", Ok(1.0)),
        ("{}", "FALSE", Ok(0.0)),
        ("{}", "fail", Ok(0.0)),
        ("{}", "", Err("no number")),
        ("{}", "0.5 because", Err("no number")),
        ("{}", "inf", Err("no number")),
        ("{}", "NaN", Err("no number")),
        ("{}", "1e999", Err("no number")),
        ("{}", "0x10", Err("no number")),
        ("{}", "4/5", Err("no number")),
        ("{}", "maybe", Err("no number")),
        // the worked example
        (r#"{"marker": "score:"}"#, "checked 3 cases\nscore: 0.75", Ok(0.75)),
        ("{}", "checked 3 cases\nscore: 0.75", Err("no number")),
        (marked, "Score: 1\nbut then\nscore: 2, all in all", Ok(2.0)),
        (marked, "Score:", Err("no number")),
        (marked, "no", Err("there is no \"Score:\"")),
        (marked, "Ünïcödé score: pass!", Ok(1.0)),
        (ranged, "1", Ok(1.0)),
        (ranged, "1.5", Err("1.5 is not from 0 to 1")),
        (r#"{"true-words": ["ja"], "false-words": ["nein"]}"#, "Ja", Ok(1.0)),
        (r#"{"true-words": ["ja"], "false-words": ["nein"]}"#, "yes", Err("no number")),
    ];
    for (params, text, expected) in cases {
        match (read(params, text), expected) {
            (Err(found), Err(part)) => assert!(found.contains(part), "{params} {text:?}: {found}"),
            (found, expected) => assert_eq!(found, expected.map_err(String::from), "{params} {text:?}"),
        }
    }
}

#[test]
fn a_number_at_the_cut_is_not_trusted() {
    let judge = Program::new(r#"{"marker": "score:"}"#).unwrap();
    let groups = testkit::groups(&[("x", &["y"])]);
    let context = JudgeContext {
        slots: vec![creamery_plugin::Slot { name: "program".into(), model: "m".into() }],
        ..JudgeContext::default()
    };
    for (text, value) in [("score: 12", None), ("score: 12 of 20", Some(12.0))] {
        let generated = Generated { text: text.into(), finish: Finish::Length };
        let step = judge.step(&context, &groups, &[vec![Answer::Texts(vec![generated])]]).unwrap();
        assert!(matches!(step, Step::Scores(scores) if scores[0].value() == value), "{text}");
    }
}

#[test]
fn asks_once_for_each_distinct_response_with_the_whole_conversation() {
    let mut groups = Groups::default();
    let prompt = vec![Message::new("system", "Be brief."), Message::user("1 + 1?")];
    groups.push("p0", prompt.clone(), ["2", "3", "2"].map(testkit::complete).into());
    groups.push("p1", vec![Message::user("x")], vec![testkit::complete("2")]);
    let host = host().on_generate(|slot, messages, _| {
        assert_eq!(slot.name, "program");
        Ok(format!("{}{}", messages.len(), messages[messages.len() - 1].content))
    });
    let judged = host.judge(&Program::new("{}").unwrap(), &groups).unwrap();
    assert_eq!(judged.scores, [32.0, 33.0, 32.0, 22.0].map(Score::Value));
    assert_eq!(judged.asked[0].len(), 3);
    match &judged.asked[0][0] {
        Query::Generate { messages, count: 1, temperature: 0.0, .. } => {
            assert_eq!(messages[..2], prompt[..]);
            assert_eq!(messages[2], Message::assistant("2"));
        }
        query => panic!("{query:?}"),
    }
    assert_eq!(host.judge(&Program::new("{}").unwrap(), &Groups::default()).unwrap().scores, []);
}

#[test]
fn a_failing_slot_abstains() {
    let host = host().on_generate(|_, messages, _| match messages[1].content.as_str() {
        "bad" => Err("exit status 1".into()),
        _ => Ok("1".into()),
    });
    let groups = testkit::groups(&[("x", &["bad", "good"])]);
    let scores = host.judge(&Program::new("{}").unwrap(), &groups).unwrap().scores;
    assert_eq!(scores[0], Score::Abstain("no answer from the slot 'program': exit status 1".into()));
    assert_eq!(scores[1], Score::Value(1.0));
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"slot": ""}"#, "'slot' is empty"),
        (r#"{"range": [1]}"#, "'range' is [1.0]"),
        (r#"{"range": [1, 0]}"#, "'range' is [1.0, 0.0]"),
        (r#"{"true-words": ["No"]}"#, "\"No\" is in both"),
        (r#"{"true-words": ["all right"]}"#, "'true-words' is \"all right\""),
        (r#"{"max-new-tokens": 0}"#, "'max-new-tokens' is 0"),
    ] {
        let error = Program::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
    let groups = testkit::groups(&[("x", &["a"])]);
    let error = MockHost::new("current").judge(&Program::new("{}").unwrap(), &groups).unwrap_err().message;
    assert!(error.contains("no model slot 'program', only: judge, reference, initial; add [slots.program]"), "{error}");
    let empty = Response { text: String::new(), tokens: 1, finish: Finish::Stop };
    let mut groups = Groups::default();
    groups.push("p0", vec![Message::user("x")], vec![empty]);
    let judged = host().on_generate(|_, _, _| Ok("1".into())).judge(&Program::new("{}").unwrap(), &groups);
    assert_eq!(judged.unwrap().scores, [Score::Value(1.0)], "an empty response is asked about too");
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
