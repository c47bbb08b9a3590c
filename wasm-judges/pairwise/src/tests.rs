use creamery_plugin::testkit::{self, MockHost};
use creamery_plugin::{Finish, Generated, Message, Query};

use super::*;

fn judge(params: &str) -> Pairwise {
    Pairwise::new(params).unwrap()
}

const SHORT: &str = r#""prompt": "{{ a }}>{{ b }}""#;

/// A host that answers "a>b" with p(a, b).
fn answers(p: &'static [(&'static str, f64)]) -> MockHost {
    MockHost::new("current").on_choose(move |_, m, _| {
        let found = p.iter().find(|(asked, _)| *asked == m[0].content);
        found.map(|(_, p)| vec![*p, 1.0 - p]).ok_or_else(|| "too long".into())
    })
}

/// The example of the documentation.
const EXAMPLE: &[(&str, f64)] = &[("A>B", 0.9), ("B>A", 0.3), ("A>C", 0.8), ("C>A", 0.6), ("B>C", 0.5), ("C>B", 0.5)];

fn values(host: &MockHost, params: &str, responses: &[&str]) -> Vec<Option<f64>> {
    let params = format!("{{{SHORT}{params}}}");
    let judged = host.judge(&judge(&params), &testkit::groups(&[("x", responses)])).unwrap();
    judged.scores.iter().map(Score::value).collect()
}

fn near(found: Vec<Option<f64>>, expected: &[f64]) {
    let fits = |(f, e): (&Option<f64>, &f64)| f.is_some_and(|f| (f - e).abs() < 1e-10 * e.abs().max(100.0));
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(fits), "{found:?}, expected {expected:?}");
}

/// Worked by hand in the documentation. As means, q(A, B) = 0.8, q(A, C) = 0.6, q(B, C) = ½.
#[test]
fn known_answers() {
    let host = answers(EXAMPLE);
    let scores = |params: &str| values(&host, params, &["A", "B", "C"]);
    near(scores(""), &[1.5, 0.5, 1.0]);
    near(scores(r#", "disagreement": "mean""#), &[2.0, 0.5, 0.5]);
    near(scores(r#", "aggregate": "win-rate""#), &[0.65, 0.35, 0.5]);
    near(scores(r#", "aggregate": "win-rate", "disagreement": "mean""#), &[0.7, 0.35, 0.45]);
    // A>B is asked with A first, as 0 + 1 is odd, A and C with C first, B and C with B first
    near(scores(r#", "aggregate": "win-rate", "orders": "one""#), &[(0.9 + 0.4) / 2.0, 0.3, 0.55]);
    // two items: the odds of 3 to 1 have no prior in a win rate, and a Bradley-Terry fit is closer to a tie
    let two = answers(&[("A>B", 0.75), ("B>A", 0.25)]);
    near(values(&two, r#", "aggregate": "win-rate""#, &["A", "B"]), &[0.75, 0.25]);
    let theta = values(&two, r#", "aggregate": "bradley-terry""#, &["A", "B"])[0].unwrap();
    // the derivative by θ_A is 0: 0.75 − σ(2θ) = 0.1 · (2σ(θ) − 1)
    let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
    assert!((0.75 - sigma(2.0 * theta) - 0.1 * (2.0 * sigma(theta) - 1.0)).abs() < 1e-8, "{theta}");
    let elo = values(&two, r#", "aggregate": "elo""#, &["A", "B"]);
    near(elo, &[1500.0 + 400.0 * theta / 10f64.ln(), 1500.0 - 400.0 * theta / 10f64.ln()]);
}

/// A tie label counts half: p = P(A) + ½ P(tie).
#[test]
fn a_tie_label_counts_half() {
    let host = MockHost::new("current")
        .on_choose(|_, m, _| Ok(if m[0].content == "A>B" { vec![0.5, 0.25, 0.25] } else { vec![0.25, 0.75, 0.0] }));
    let params = r#", "labels": ["A", "B", "="], "aggregate": "win-rate""#;
    near(values(&host, params, &["A", "B"]), &[(0.625 + 0.75) / 2.0, (0.375 + 0.25) / 2.0]);
}

#[test]
fn verdicts_of_generated_texts() {
    let host = MockHost::new("current").on_generate(|_, m, i| {
        let forward = ["[[A]]", "I prefer [[B]], no: [[A]]", "[[C]]", "no idea"];
        let back = ["[[B]]", "[[B]]", "[[A]]", "[[B]]"];
        Ok(if m[0].content == "A>B" { forward[i] } else { back[i] }.to_owned())
    });
    // p(A, B) = (1 + 1 + ½) / 3, p(B, A) = (0 + 0 + 1 + 0) / 4
    let params = r#", "ask": "generate", "k": 4, "temperature": 1, "aggregate": "win-rate""#;
    let q = (2.5 / 3.0 + 0.75) / 2.0;
    near(values(&host, params, &["A", "B"]), &[q, 1.0 - q]);
    let silent = MockHost::new("current").on_generate(|_, _, _| Ok("both are fine".into()));
    assert_eq!(values(&silent, r#", "ask": "generate""#, &["A", "B"]), [None, None]);
}

#[test]
fn every_pair_is_asked_in_both_orders_and_copies_once() {
    let groups = testkit::groups(&[("x", &["a", "b", "a", "c"]), ("y", &["a"]), ("z", &[]), ("w", &["d", "d"])]);
    let params = r#"{"prompt": "{{ prompt }}: {{ a }}>{{ b }} {{ ask }} {{ labels | join }}", "system": "S", "slot": "initial"}"#;
    let host = MockHost::new("current").on_choose(|_, _, _| Ok(vec![0.5, 0.5]));
    let judged = host.judge(&judge(params), &groups).unwrap();
    let query = |pair: &str| Query::Choose {
        slot: "initial".into(),
        messages: vec![Message::new("system", "S"), Message::user(format!("x: {pair} choose AB"))],
        labels: vec!["A".into(), "B".into()],
    };
    assert_eq!(judged.asked, [["a>b", "b>a", "a>c", "c>a", "b>c", "c>b"].map(query)]);
    // ties everywhere; a response alone has what a tie with everybody gives
    assert_eq!(judged.scores, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0].map(Score::Value));
    assert_eq!(host.judge(&judge("{}"), &Groups::default()).unwrap().scores, []);
    let alone = host.judge(&judge(r#"{"aggregate": "win-rate"}"#), &testkit::groups(&[("x", &["d", "d"])])).unwrap();
    assert_eq!((alone.scores, alone.asked), (vec![Score::Value(0.5); 2], vec![]));
    // A, twice, beats B with 0.8: against a copy it ties
    near(values(&answers(EXAMPLE), r#", "aggregate": "win-rate""#, &["A", "B", "A"]), &[0.65, 0.2, 0.65]);
}

#[test]
fn pairs_without_a_result_are_not_played() {
    // nothing is known of C, and of B only the games with A
    let host = answers(&[("A>B", 0.9), ("B>A", 0.3), ("A>C", 0.9)]);
    let scores = values(&host, "", &["A", "B", "C"]);
    assert_eq!(scores, [Some(2.0), Some(0.0), None]);
}

/// A judge that looks at texts alone: any order of the responses gives the same scores, to the bit.
#[test]
fn permuting_responses_permutes_scores() {
    let host = MockHost::new("current").on_choose(|_, m, _| {
        let (a, b) = m[0].content.split_once('>').unwrap();
        let [a, b] = [a, b].map(|t| t.bytes().map(f64::from).sum::<f64>());
        Ok(vec![a, b])
    });
    for aggregate in ["copeland", "bradley-terry", "elo", "win-rate"] {
        for rest in ["", r#", "disagreement": "mean""#, r#", "orders": "one""#] {
            let params = format!(r#", "aggregate": "{aggregate}"{rest}"#);
            let ahead = values(&host, &params, &["a", "b", "c", "dd", "b"]);
            let back = values(&host, &params, &["dd", "b", "c", "b", "a"]);
            assert_eq!(ahead, [back[4], back[1], back[2], back[0], back[1]], "{params}");
            assert!(ahead[0] < ahead[1] && ahead[1] < ahead[2] && ahead[2] < ahead[3], "{params} {ahead:?}");
        }
    }
}

/// A judge that always takes the first text decides nothing.
#[test]
fn a_judge_of_places_gives_ties() {
    let host = MockHost::new("current").on_choose(|_, _, _| Ok(vec![0.99, 0.01]));
    for aggregate in ["copeland", "bradley-terry", "elo", "win-rate"] {
        let scores = values(&host, &format!(r#", "aggregate": "{aggregate}""#), &["a", "b", "c"]);
        assert!(scores[0].is_some() && scores.windows(2).all(|w| w[0] == w[1]), "{aggregate} {scores:?}");
    }
}

#[test]
fn the_report_measures_position_bias() {
    let groups = testkit::groups(&[("x", &["A", "B", "C"])]);
    let judge = judge("{}");
    let p = |p: f64| Answer::Distribution(vec![p, 1.0 - p]);
    let report = |answers: Vec<Answer>| {
        let measures = judge.report(&JudgeContext::default(), &groups, &[answers]).unwrap().measures;
        measures.into_iter().map(|m| (m.name, m.sum, m.count)).collect::<Vec<_>>()
    };
    let expected =
        |rows: &[(&str, f64, u64)]| rows.iter().map(|(n, s, c)| ((*n).to_owned(), *s, *c)).collect::<Vec<_>>();
    let example = report([0.9, 0.3, 0.8, 0.6, 0.5, 0.5].map(p).into());
    assert_eq!(
        example,
        expected(&[("first_position_wins", 3.0, 4), ("orders_disagree", 1.0, 3), ("unanswered", 0.0, 6)])
    );
    let failed = report(vec![Answer::Failed("no".into()); 6]);
    assert_eq!(failed, expected(&[("unanswered", 6.0, 6)]));
    let nothing = judge.report(&JudgeContext::default(), &Groups::default(), &[]).unwrap();
    assert_eq!(nothing, JudgeReport::default());
}

#[test]
fn refuses_answers_that_do_not_fit() {
    let groups = testkit::groups(&[("x", &["a", "b"])]);
    let text = Generated { text: "A".into(), finish: Finish::Stop };
    for answer in [Answer::Distribution(vec![1.0]), Answer::Texts(vec![text]), Answer::Logps(vec![])] {
        for count in [0, 1, 2] {
            let step = judge("{}").step(&JudgeContext::default(), &groups, &[vec![answer.clone(); count]]);
            assert!(step.is_err(), "{answer:?} × {count}");
        }
    }
}

#[test]
fn errors_name_what_is_wrong() {
    for (params, expected) in [
        (r#"{"labels": ["A"]}"#, "'labels' is 1 texts"),
        (r#"{"labels": ["A", "A"]}"#, "'labels' is \"A\" at place 1"),
        (r#"{"ask": "generate", "verdicts": ["A", " "]}"#, "'verdicts' is \" \" at place 1"),
        (r#"{"ask": "generate", "labels": ["1", "2"]}"#, "'labels' only has a meaning with ask = \"choose\""),
        (r#"{"k": 3}"#, "'k' only has a meaning with ask = \"generate\""),
        (r#"{"ask": "generate", "k": 3}"#, "'k' is 3, but must be 1 at temperature 0"),
        (r#"{"orders": "one", "disagreement": "mean"}"#, "'disagreement' only has a meaning with orders = \"both\""),
        (r#"{"orders": "two"}"#, "unknown variant `two`"),
        (r#"{"prompt": "{{ a }}"}"#, "'prompt' never uses '{{ b }}'"),
        (
            r#"{"prompt": "{{ a }} {{ b }}\n{{ response }}"}"#,
            "'prompt', line 2: there is no field 'response'; there are a, ask, b, id",
        ),
    ] {
        let error = Pairwise::new(params).err().expect(params).message;
        assert!(error.contains(expected), "{params}: {error}");
    }
}

#[test]
fn schema_states_the_defaults() {
    let defaults = testkit::schema_defaults(include_str!("../params.schema.json")).unwrap();
    assert_eq!(creamery_plugin::params::parse::<Params>(&defaults).unwrap(), Params::default());
}
