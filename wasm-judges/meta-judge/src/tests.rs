use creamery_plugin::testkit::{self, MockHost};
use creamery_plugin::{Generated, Score};

use super::*;

const SHORT: &str = r#""prompt": "{{ response }}", "meta-prompt": "{{ a }}>{{ b }}""#;

fn judge(params: &str) -> MetaJudge {
    MetaJudge::new(&format!("{{{SHORT}{params}}}")).unwrap()
}

fn texts_of(all: &[&str]) -> Answer {
    Answer::Texts(all.iter().map(|t| Generated { text: (*t).into(), finish: Finish::Stop }).collect())
}

/// Answers comparisons: P(a) of "a>b".
fn compare(queries: &[Query], p: impl Fn(&str, &str) -> f64) -> Vec<Answer> {
    let answer = |q: &Query| {
        let Query::Choose { messages, .. } = q else { panic!("{q:?}") };
        let (a, b) = messages[0].content.split_once('>').unwrap();
        Answer::Distribution(vec![p(a, b), 1.0 - p(a, b)])
    };
    queries.iter().map(answer).collect()
}

fn asked(judge: &MetaJudge, groups: &Groups, answers: &[Vec<Answer>]) -> Vec<Query> {
    match judge.step(&JudgeContext::default(), groups, answers).unwrap() {
        Step::Ask(queries) => queries,
        Step::Scores(scores) => panic!("{scores:?}"),
    }
}

fn pair(query: u32, chosen: u32, rejected: u32) -> JudgmentPair {
    JudgmentPair { step: 0, query, chosen, rejected, weight: 1.0 }
}

/// The example of the documentation: x beats y beats z.
#[test]
fn known_answer() {
    let groups = testkit::groups(&[("p", &["r"])]);
    let judge = judge("");
    let judgments = vec![texts_of(&["x Score: 4", "y Score: 2", "z Score: 4"])];
    let queries = asked(&judge, &groups, std::slice::from_ref(&judgments));
    assert_eq!(queries.len(), 6);
    let answers = [judgments, compare(&queries, |a, b| if a < b { 0.9 } else { 0.2 })];
    let step = judge.step(&JudgeContext::default(), &groups, &answers).unwrap();
    assert_eq!(step, Step::Scores(vec![Score::Value(10.0 / 3.0)]));
    let report = judge.report(&JudgeContext::default(), &groups, &answers).unwrap();
    assert_eq!(report.pairs, [pair(0, 0, 2)]);
    let measures: Vec<_> = report.measures.iter().map(|m| (m.name.as_str(), m.sum, m.count)).collect();
    let std = (2.0 * (2.0f64 / 3.0).powi(2) + (4.0f64 / 3.0).powi(2)) / 3.0;
    assert!((measures[1].1 - std.sqrt()).abs() < 1e-12);
    assert_eq!(measures[0], ("parsed", 3.0, 3));
    let meta = [("first_position_wins", 3.0, 6), ("orders_disagree", 0.0, 3), ("unanswered", 0.0, 6)];
    assert_eq!(measures[2..5], meta);
    assert_eq!(measures[5], ("judgment_pairs", 1.0, 1));
}

/// W₁ = 3 and W₂ = 1 of four wins: first places count 2·1/4, second ones 2·3/4. In the last table all wins but one are
/// at the first place, five of six, so those count 1/3 and the one 5/3: x has 2 wins over y, all else is even.
#[test]
fn wins_at_a_favoured_place_count_less() {
    assert_eq!(position_weights(&[vec![Some(0.9), Some(0.8)], vec![Some(1.0), Some(0.3)]]), [0.5, 1.5]);
    assert_eq!(position_weights(&[vec![Some(0.5), None]]), [1.0, 1.0]);
    let groups = testkit::groups(&[("p", &["r"])]);
    let judgments = vec![texts_of(&["x Score: 1", "y Score: 2", "z Score: 3"])];
    let result = |params: &str, p: fn(&str, &str) -> f64| {
        let judge = judge(params);
        let answers = [judgments.clone(), compare(&asked(&judge, &groups, std::slice::from_ref(&judgments)), p)];
        judge.report(&JudgeContext::default(), &groups, &answers).unwrap().pairs
    };
    // a judge of places decides nothing; with weights its wins count nothing at all
    assert_eq!(result("", |_, _| 0.9), []);
    assert_eq!(result(r#", "position-weight": false"#, |_, _| 0.9), []);
    let by_place_but_one = |a: &str, b: &str| if a.starts_with('y') && b.starts_with('x') { 0.1 } else { 0.9 };
    assert_eq!(result("", by_place_but_one), [pair(0, 0, 1)]);
    // ties everywhere
    assert_eq!(result("", |_, _| 0.5), []);
}

#[test]
fn the_responses_that_vary_most_are_looked_at() {
    let groups = testkit::groups(&[("p", &["a", "b", "a", "c"]), ("q", &["d"]), ("s", &[]), ("t", &["e"])]);
    let judgments = vec![
        texts_of(&["1 Score: 1", "2 Score: 1", "3 Score: 1"]),
        texts_of(&["1 Score: 0", "2 Score: 5", "2 Score: 5"]),
        texts_of(&["1 Score: 2", "2 Score: 3", "no"]),
        texts_of(&["Score: 1", "Score: 1", "Score: 1"]),
        Answer::Failed("too long".into()),
    ];
    let contests = |params: &str| {
        let contests = judge(params).contests(&groups, &Distinct::new(&groups), &judgments).unwrap();
        contests.into_iter().map(|c| (c.group, c.query, c.judgments)).collect::<Vec<_>>()
    };
    assert_eq!(contests(""), [(0, 1, vec![0, 1])]);
    assert_eq!(contests(r#", "per-group": 2"#), [(0, 1, vec![0, 1]), (0, 2, vec![0, 1])]);
    let all = [(0, 0, vec![0, 1, 2]), (0, 1, vec![0, 1]), (0, 2, vec![0, 1])];
    assert_eq!(contests(r#", "per-group": 9"#), all);
}

#[test]
fn long_and_cut_off_judgments_are_not_chosen() {
    let groups = testkit::groups(&[("p", &["r"])]);
    let pairs = |params: &str, judgments: Answer| {
        let judge = judge(params);
        let judgments = vec![judgments];
        let queries = asked(&judge, &groups, std::slice::from_ref(&judgments));
        let answers = [judgments, compare(&queries, |a, b| if a > b { 0.9 } else { 0.1 })];
        judge.report(&JudgeContext::default(), &groups, &answers).unwrap().pairs
    };
    let (short, long) = ("a Score: 1", "b is a long judgment Score: 1");
    let two = || texts_of(&[short, long, "none"]);
    assert_eq!(pairs("", two()), []);
    assert_eq!(pairs(r#", "max-length-ratio": 3"#, two()), [pair(0, 1, 0)]);
    assert_eq!(pairs(r#", "max-length-ratio": 0"#, two()), [pair(0, 1, 0)]);
    let text = |text: &str, finish| Generated { text: text.into(), finish };
    let cut = [("a Score: 1", Finish::Stop), ("b Score: 1.", Finish::Stop), ("c Score: 1. So", Finish::Length)];
    assert_eq!(pairs("", Answer::Texts(cut.map(|(t, f)| text(t, f)).into())), [pair(0, 1, 0)]);
}

#[test]
fn scores_are_those_of_a_rubric() {
    let groups = testkit::groups(&[("x", &["a", "b", "a"]), ("y", &["c"])]);
    let host = MockHost::new("current")
        .on_generate(|_, m, i| {
            Ok(match (m[0].content.as_str(), i) {
                ("c", _) => "no".into(),
                (_, i) => format!("{i} Score: {}", i + 1),
            })
        })
        .on_choose(|_, m, _| Ok(if m[0].content.is_empty() { vec![] } else { vec![0.7, 0.3] }));
    let judged = host.judge(&judge(""), &groups).unwrap();
    assert_eq!(judged.scores[..3], [2.0, 2.0, 2.0].map(Score::Value));
    assert!(matches!(&judged.scores[3], Score::Abstain(reason) if reason.starts_with("0 of 3")));
    assert_eq!(judged.asked.iter().map(Vec::len).collect::<Vec<_>>(), [3, 6]);
    // nothing to compare: one step
    let silent = MockHost::new("current").on_generate(|_, _, _| Ok("Score: 1".into()));
    let judged = silent.judge(&judge(""), &groups).unwrap();
    assert_eq!((judged.asked.len(), &judged.scores[0]), (1, &Score::Value(1.0)));
    assert_eq!(silent.judge(&judge(""), &Groups::default()).unwrap().scores, []);
}

#[test]
fn the_meta_prompt_sees_what_the_judge_saw() {
    let groups = testkit::groups(&[("question", &["answer"])]);
    let judgments = vec![texts_of(&["x Score: 1", "y Score: 2", "no"])];
    let judge = MetaJudge::new(r#"{"meta-system": "Meta {{ id }}", "meta-slot": "initial"}"#).unwrap();
    let queries = asked(&judge, &groups, std::slice::from_ref(&judgments));
    let Query::Choose { slot, messages, .. } = &queries[1] else { panic!("{queries:?}") };
    assert_eq!((slot.as_str(), messages[0].content.as_str()), ("initial", "Meta p0"));
    for part in
        ["<request>\nquestion\n</request>", "<judgment A>\ny Score: 2\n</judgment A>", "one of these only: A, B"]
    {
        assert!(messages[1].content.contains(part), "{part} in {}", messages[1].content);
    }
    let generate = MetaJudge::new(r#"{"meta-ask": "generate", "meta-max-new-tokens": 9}"#).unwrap();
    let queries = asked(&generate, &groups, &[judgments]);
    assert!(matches!(&queries[0], Query::Generate { count: 1, max_new_tokens: 9, .. }), "{:?}", queries[0]);
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"k": 1}"#, "'k' is 1, but must be at least 2"),
        (r#"{"per-group": 0}"#, "'per-group' is 0"),
        (r#"{"max-length-ratio": 0.5}"#, "'max-length-ratio' is 0.5, but must be at least 1, or 0"),
        (r#"{"meta-labels": ["A"]}"#, "'meta-labels' is 1 texts"),
        (r#"{"meta-verdicts": ["1", "2"]}"#, "'meta-verdicts' only has a meaning with meta-ask = \"generate\""),
        (r#"{"meta-max-new-tokens": 3}"#, "'meta-max-new-tokens' only has a meaning"),
        (r#"{"meta-ask": "generate", "meta-labels": ["1", "2"]}"#, "'meta-labels' only has a meaning"),
        (r#"{"meta-ask": "generate", "meta-max-new-tokens": 0}"#, "'meta-max-new-tokens' is 0"),
        (r#"{"meta-prompt": "{{ a }}"}"#, "parameter 'meta-prompt' never uses '{{ b }}'"),
        (r#"{"meta-system": "{{ z }}"}"#, "parameter 'meta-system', line 1: there is no field 'z'"),
        (r#"{"prompt": "{{ a }}"}"#, "parameter 'prompt', line 1: there is no field 'a'"),
        (r#"{"marker": " "}"#, "'marker' is blank"),
        (r#"{"judge": 1}"#, "unknown field `judge`"),
    ] {
        let error = MetaJudge::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(creamery_plugin::params::parse::<Params>(&defaults).unwrap(), Params::default());
}
