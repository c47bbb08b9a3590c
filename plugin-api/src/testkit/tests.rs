use super::*;
use crate::*;

/// Gives what a test says, whatever it is asked.
#[derive(Default)]
struct Says {
    step: Option<Step>,
    report: JudgeReport,
    ranking: Ranking,
}

impl Judge for Says {
    fn new(_: &str) -> Result<Self, PluginError> {
        Ok(Says::default())
    }

    fn step(&self, _: &JudgeContext, _: &Groups, _: &[Vec<Answer>]) -> Result<Step, PluginError> {
        self.step.clone().ok_or_else(|| PluginError::new("no step"))
    }

    fn report(&self, _: &JudgeContext, _: &Groups, _: &[Vec<Answer>]) -> Result<JudgeReport, PluginError> {
        Ok(self.report.clone())
    }
}

impl Ranker for Says {
    fn new(_: &str) -> Result<Self, PluginError> {
        Ok(Says::default())
    }

    fn rank(&self, _: &RankContext, _: &Groups, _: &Scores) -> Result<Ranking, PluginError> {
        Ok(self.ranking.clone())
    }
}

fn two() -> Groups {
    groups(&[("x", &["a", "b"])])
}

#[test]
fn a_judge_is_held_to_the_contract() {
    let choose = |role: &str, labels: &[&str]| Query::Choose {
        slot: "judge".into(),
        messages: vec![Message::new(role, "?")],
        labels: labels.iter().map(|label| label.to_string()).collect(),
    };
    let generate = |count, temperature, top_p| Query::Generate {
        slot: "judge".into(),
        messages: vec![Message::user("?")],
        count,
        max_new_tokens: 4,
        temperature,
        top_p,
    };
    let logps = |slot: &str, responses: &[u32]| Query::ResponseLogps { slot: slot.into(), responses: responses.into() };
    for (step, expected) in [
        (Step::Ask(vec![]), "it asked nothing"),
        (
            Step::Ask(vec![logps("jugde", &[0])]),
            "there is no model slot \"jugde\" here, only judge, reference, initial",
        ),
        (Step::Ask(vec![logps("judge", &[])]), "query 0: it names no response"),
        (Step::Ask(vec![logps("judge", &[2])]), "there is no response 2, only 0 to 1"),
        (Step::Ask(vec![choose("robot", &["a"])]), "a message has the role \"robot\""),
        (Step::Ask(vec![choose("user", &[])]), "it has 0 labels"),
        (Step::Ask(vec![choose("user", &["a", ""])]), "label 1 is empty"),
        (Step::Ask(vec![choose("user", &["a", "b", "a"])]), "label \"a\" is there twice"),
        (Step::Ask(vec![generate(0, 1.0, 1.0)]), "count is 0, expected 1 to 1024"),
        (Step::Ask(vec![generate(1, f64::NAN, 1.0)]), "temperature is NaN"),
        (Step::Ask(vec![generate(1, 1.0, 0.0)]), "top_p is 0"),
        (Step::Scores(vec![Score::Value(1.0)]), "it gave 1 scores for 2 responses"),
        (Step::Scores(vec![Score::Value(1.0), Score::Value(f64::INFINITY)]), "the score of response 1 (prompt \"p0\")"),
        (Step::Ask(vec![choose("user", &["a", "b"])]), "the test scripts no answer to Choose"),
    ] {
        let judge = Says { step: Some(step.clone()), ..Says::default() };
        let error = MockHost::new("current").judge(&judge, &two()).unwrap_err().message;
        assert!(error.contains(expected), "{step:?}: {error}");
    }
}

#[test]
fn a_report_is_held_to_the_contract() {
    let measure = |name: &str, sum, count| Measure { name: name.into(), sum, count };
    let pair = JudgmentPair { step: 0, query: 0, chosen: 0, rejected: 1, weight: 1.0 };
    for (measures, pairs, expected) in [
        (vec![measure("", 1.0, 1)], vec![], "measure 0 has no name"),
        (vec![measure("a", 1.0, 1), measure("a", 1.0, 1)], vec![], "measure \"a\" is there twice"),
        (vec![measure("a", 1.0, 0)], vec![], "has the sum 1 of nothing"),
        (vec![], vec![pair], "pair 0: there is no answer to query 0 of step 0"),
    ] {
        let step = Some(Step::Scores(vec![Score::Value(0.0); 2]));
        let judge = Says { step, report: JudgeReport { measures, pairs }, ..Says::default() };
        let error = MockHost::new("current").judge(&judge, &two()).unwrap_err().message;
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_ranking_is_held_to_the_contract() {
    let (groups, scores) = (two(), scores(&[("current", &[Some(2.0), Some(1.0)])]));
    let dropped = vec![Dropped { index: 0, reason: "why".into() }];
    for (ranks, pairs, dropped, expected) in [
        (vec![1, 2], vec![pair(0, 0, 1)], vec![], None),
        (vec![1], vec![pair(0, 0, 1)], vec![], Some("it gave 1 ranks for 2 scores")),
        (vec![1, 3], vec![pair(0, 0, 1)], vec![], Some("is 3, but its group has 2 responses")),
        (vec![1, 2], vec![pair(0, 1, 1)], vec![], Some("response 1 is both chosen and rejected")),
        (vec![1, 2], vec![pair(1, 0, 1)], vec![], Some("there is no group 1")),
        (vec![1, 2], vec![pair(0, 0, 1); 2], vec![], Some("(0 over 1) is there twice")),
        (vec![1, 2], vec![], vec![], Some("neither paired nor dropped")),
        (vec![1, 2], vec![pair(0, 0, 1)], dropped, Some("both paired and dropped")),
    ] {
        let ranker = Says { ranking: Ranking { ranks, pairs, dropped }, ..Says::default() };
        let error = rank(&ranker, &RankContext::default(), &groups, &scores).err().map(|e| e.message);
        match (&error, expected) {
            (Some(error), Some(expected)) => assert!(error.contains(expected), "{error}"),
            _ => assert_eq!(error.as_deref(), expected),
        }
    }
}
