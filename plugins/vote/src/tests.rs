use creamery_plugin::testkit::{self, MockHost, complete, cut_off};

use super::*;

fn scores(params: &str, groups: &Groups) -> Vec<Option<f64>> {
    let judged = MockHost::new("current").judge(&Vote::new(params).unwrap(), groups).unwrap();
    assert_eq!(judged.asked, Vec::<Vec<_>>::new(), "no model is asked");
    judged.scores.iter().map(Score::value).collect()
}

/// arXiv 2411.04109: V counts the responses with the same final answer; the worked example of the crate.
#[test]
fn votes_by_answer() {
    let five = ["2 + 5, Answer: 7", "Answer: 7.0", "Answer: 8", "I do not know", "it is 7"];
    let groups = testkit::groups(&[("3 + 4?", &five), ("y", &["Answer: 1", "Answer: 2"]), ("z", &["", "none"])]);
    let number = r#"{"extractor": "number"}"#;
    let share = [Some(0.6), Some(0.6), Some(0.2), None, Some(0.6), Some(0.5), Some(0.5), None, None];
    assert_eq!(scores(number, &groups), share);
    let count = [Some(3.0), Some(3.0), Some(1.0), None, Some(3.0), Some(1.0), Some(1.0), None, None];
    assert_eq!(scores(r#"{"extractor": "number", "score": "count"}"#, &groups), count);
    assert_eq!(scores(number, &Groups::default()), []);
}

#[test]
fn every_sample_votes_but_not_what_was_cut_off() {
    let mut groups = Groups::default();
    groups.push("p0", vec![], vec![complete("a"), complete("a"), complete("b"), cut_off("b")]);
    assert_eq!(scores("{}", &groups), [Some(0.5), Some(0.5), Some(0.25), None]);
    assert_eq!(scores(r#"{"require-complete": false}"#, &groups), [Some(0.5); 4]);
    let reason = match &MockHost::new("x").judge(&Vote::new("").unwrap(), &groups).unwrap().scores[3] {
        Score::Abstain(reason) => reason.clone(),
        Score::Value(v) => panic!("scored {v}"),
    };
    assert_eq!(reason, "the response was cut off");
}

#[test]
fn extractors() {
    let groups = testkit::groups(&[("x", &["The best choice is C, because it fits", "Answer: c", "Answer: B"])]);
    let third = 1.0 / 3.0;
    assert_eq!(scores(r#"{"extractor": "choice"}"#, &groups), [Some(2.0 * third), Some(2.0 * third), Some(third)]);
    let letters = r#"{"extractor": "regex:([a-z])"}"#;
    assert_eq!(
        scores(letters, &testkit::groups(&[("x", &["1a", "a2", "3"])])),
        [Some(2.0 * third), Some(2.0 * third), None]
    );
}

/// Every list of four answers out of three: the order of the responses changes no response's votes, and the shares of
/// the answers add up to one.
#[test]
fn votes_do_not_depend_on_the_order() {
    for code in 0..81u32 {
        let texts: Vec<&str> = (0..4).map(|i| ["1", "2", "3"][(code / 3u32.pow(i) % 3) as usize]).collect();
        let found = scores("{}", &testkit::groups(&[("x", &texts)]));
        let mut reversed: Vec<&str> = texts.clone();
        reversed.reverse();
        let mut back = scores("{}", &testkit::groups(&[("x", &reversed)]));
        back.reverse();
        assert_eq!(found, back, "{texts:?}");
        let by_answer: BTreeMap<&str, f64> = texts.iter().zip(&found).map(|(t, s)| (*t, s.unwrap())).collect();
        assert_eq!(by_answer.values().sum::<f64>(), 1.0, "{texts:?}");
    }
}

#[test]
fn reports_who_answers_and_how_much_they_agree() {
    let groups = testkit::groups(&[("x", &["1", "1", "2", ""]), ("y", &["3", "3", "3", "3"])]);
    let judge = Vote::new("{}").unwrap();
    let report = judge.report(&JudgeContext::default(), &groups, &[]).unwrap();
    let measure = |name: &str, sum: f64, count: u64| Measure { name: name.into(), sum, count };
    assert_eq!(report.measures, [measure("answered", 7.0, 8), measure("majority", 1.5, 2)]);
    let empty = judge.report(&JudgeContext::default(), &Groups::default(), &[]).unwrap();
    assert_eq!(empty, JudgeReport::default());
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"extractor": "letters"}"#, "parameter 'extractor': unknown answer extractor 'letters'"),
        (r#"{"extractor": "regex:("}"#, "parameter 'extractor': the pattern"),
        (r#"{"score": "votes"}"#, "unknown variant `votes`"),
    ] {
        let error = Vote::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(parse::<Params>(&defaults).unwrap(), Params::default());
}
