use creamery_plugin::testkit::{self, MockHost};

use super::*;

fn params(answers: &str, extractor: &str) -> String {
    serde_json::json!({"answers": answers, "extractor": extractor}).to_string()
}

fn scores(answers: &str, extractor: &str, groups: &Groups) -> Vec<Option<f64>> {
    let judge = Labels::new(&params(answers, extractor)).unwrap();
    let judged = MockHost::new("current").judge(&judge, groups).unwrap();
    assert_eq!(judged.asked, Vec::<Vec<_>>::new(), "no model is asked");
    judged.scores.iter().map(Score::value).collect()
}

#[test]
fn right_wrong_and_unknown() {
    let groups = testkit::groups(&[
        ("3 x 4?", &["Answer: 3 x 4 = 12", "Answer: 7", "I do not know"]),
        ("no label", &["Answer: 1"]),
        ("which?", &["Answer: 1,000", "1000.0"]),
    ]);
    // in another order than the prompts, with a label that no prompt has, a blank line, and fields of other uses
    let answers = "{\"id\": \"p2\", \"answer\": \"#### 1000\", \"prompt\": \"which?\"}\n\n\
                   {\"id\": \"p9\", \"answer\": \"1\"}\n{\"id\": \"p0\", \"answer\": 12}\n";
    let expected = [Some(1.0), Some(0.0), Some(0.0), None, Some(1.0), Some(1.0)];
    assert_eq!(scores(answers, "number", &groups), expected);
    assert_eq!(scores(answers, "number", &Groups::default()), []);
}

#[test]
fn choices_may_be_given_by_their_text() {
    let groups = testkit::groups(&[("x", &["Answer: copper", "Answer: (B)", "Answer: iron", "Answer: C"])]);
    let answers = r#"{"id": "p0", "answer": "B", "choices": ["iron", "copper"]}"#;
    assert_eq!(scores(answers, "choice", &groups), [1.0, 1.0, 0.0, 0.0].map(Some));
    let by_text = r#"{"id": "p0", "answer": "copper", "choices": ["iron", "copper"]}"#;
    assert_eq!(scores(by_text, "choice", &groups), [1.0, 1.0, 0.0, 0.0].map(Some));
}

#[test]
fn integers_are_ids_too() {
    let mut groups = Groups::default();
    groups.push("17", vec![], vec![testkit::complete("yes")]);
    assert_eq!(scores(r#"{"id": 17, "answer": "yes"}"#, "exact", &groups), [Some(1.0)]);
}

#[test]
fn errors_name_the_line() {
    let good = "{\"id\": \"a\", \"answer\": \"1\"}\n";
    let cases = [
        ("", "'answers' has no line"),
        ("\n \n", "'answers' has no line"),
        ("{\"id\": \"b\"", "line 2: this is no JSON"),
        ("[1]", "line 2: expected an object"),
        ("{\"answer\": \"1\"}", "line 2: the field \"id\" is missing"),
        ("{\"id\": \"b\"}", "line 2: the field \"answer\" is missing"),
        ("{\"id\": \"\", \"answer\": \"1\"}", "line 2: the field \"id\" must be"),
        ("{\"id\": \"b\", \"answer\": [1]}", "line 2: the field \"answer\" must be"),
        ("{\"id\": \"b\", \"answer\": \" \"}", "line 2: the field \"answer\" must be"),
        ("{\"id\": \"b\", \"answer\": \"A\", \"choices\": \"A\"}", "line 2: the field \"choices\" must be"),
        ("\n{\"id\": \"a\", \"answer\": \"2\"}", "line 3: the id \"a\" already has an answer in line 1"),
    ];
    for (text, expected) in cases {
        let text = if expected.contains("has no line") { text.to_owned() } else { format!("{good}{text}") };
        let error = Labels::new(&params(&text, "exact")).err().expect(expected).message;
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    let error = Labels::new(&params(good, "letters")).err().unwrap().message;
    assert!(error.contains("parameter 'extractor': unknown answer extractor 'letters'"), "{error}");
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
