//! A host that answers queries by script and holds a judge to the contract.

use crate::contract;
use crate::traits::Judge;
use crate::types::*;

type OnResponse = dyn Fn(&Slot, &Response) -> Result<Logp, String>;
type OnText = dyn Fn(&Slot, &[Message], &str) -> Result<Logp, String>;
type OnGenerate = dyn Fn(&Slot, &[Message], usize) -> Result<String, String>;
type OnChoose = dyn Fn(&Slot, &[Message], &[String]) -> Result<Vec<f64>, String>;

/// A host with three slots, "judge", "reference" and "initial", that hold three models, "m-judge",
/// "m-reference" and "m-initial", and with no answers: a query that nothing is scripted for is an error.
pub struct MockHost {
    context: JudgeContext,
    max_steps: usize,
    response_logps: Option<Box<OnResponse>>,
    text_logp: Option<Box<OnText>>,
    generate: Option<Box<OnGenerate>>,
    choose: Option<Box<OnChoose>>,
}

/// What a judge did.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// `[R]`
    pub scores: Vec<Score>,
    /// The queries of each step.
    pub asked: Vec<Vec<Query>>,
    /// The host's answers to them.
    pub answers: Vec<Vec<Answer>>,
    /// What it said besides the scores.
    pub report: JudgeReport,
}

impl MockHost {
    pub fn new(viewpoint: &str) -> Self {
        let slot = |name: &str| Slot { name: name.into(), model: format!("m-{name}") };
        let slots = ["judge", "reference", "initial"].map(slot).into();
        MockHost {
            context: JudgeContext { round: 1, viewpoint: viewpoint.into(), slots },
            max_steps: 8,
            response_logps: None,
            text_logp: None,
            generate: None,
            choose: None,
        }
    }

    /// Puts a model into a slot, new or known.
    pub fn slot(mut self, name: &str, model: &str) -> Self {
        self.context.slots.retain(|s| s.name != name);
        self.context.slots.push(Slot { name: name.into(), model: model.into() });
        self
    }

    /// Takes a slot away.
    pub fn without_slot(mut self, name: &str) -> Self {
        self.context.slots.retain(|s| s.name != name);
        self
    }

    /// The most steps a judge may take before its scores, 8 if not set.
    pub fn max_steps(mut self, steps: usize) -> Self {
        self.max_steps = steps;
        self
    }

    /// Answers [`Query::ResponseLogps`], response by response; an error fails the whole query.
    pub fn on_response_logps(mut self, f: impl Fn(&Slot, &Response) -> Result<Logp, String> + 'static) -> Self {
        self.response_logps = Some(Box::new(f));
        self
    }

    /// Answers [`Query::TextLogp`] from messages and continuation.
    pub fn on_text_logp(mut self, f: impl Fn(&Slot, &[Message], &str) -> Result<Logp, String> + 'static) -> Self {
        self.text_logp = Some(Box::new(f));
        self
    }

    /// Answers [`Query::Generate`], text by text: the last argument counts from 0.
    pub fn on_generate(mut self, f: impl Fn(&Slot, &[Message], usize) -> Result<String, String> + 'static) -> Self {
        self.generate = Some(Box::new(f));
        self
    }

    /// Answers [`Query::Choose`] from messages and labels.
    pub fn on_choose(mut self, f: impl Fn(&Slot, &[Message], &[String]) -> Result<Vec<f64>, String> + 'static) -> Self {
        self.choose = Some(Box::new(f));
        self
    }

    /// Drives the judge to its scores and its report. The error is the judge's own, or says how it broke the
    /// contract, which is held to as strictly as in a run (see [`contract`](crate::contract)), or which query the test
    /// scripts no answers to.
    pub fn judge<J: Judge>(&self, judge: &J, groups: &Groups) -> Result<Judged, PluginError> {
        let (mut asked, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..=self.max_steps {
            match judge.step(&self.context, groups, &answers)? {
                Step::Ask(queries) => {
                    contract::queries(&queries, &self.context, groups).map_err(PluginError::new)?;
                    answers.push(queries.iter().map(|q| self.answer(q, groups)).collect::<Result<Vec<_>, _>>()?);
                    asked.push(queries);
                }
                Step::Scores(scores) => {
                    contract::scores(&scores, groups).map_err(PluginError::new)?;
                    let report = judge.report(&self.context, groups, &answers)?;
                    contract::report(&report, &answers).map_err(PluginError::new)?;
                    return Ok(Judged { scores, asked, answers, report });
                }
            }
        }
        Err(PluginError::new(format!("no scores after {} steps", self.max_steps)))
    }

    fn answer(&self, query: &Query, groups: &Groups) -> Result<Answer, PluginError> {
        let answer = match query {
            Query::ResponseLogps { slot, responses } => {
                let (slot, f) = (self.find(slot)?, scripted(&self.response_logps, "ResponseLogps")?);
                let mut logps = Vec::new();
                for &r in responses {
                    let response = groups.responses.get(r as usize);
                    let response = response.ok_or_else(|| PluginError::new(format!("there is no response {r}")))?;
                    logps.push(f(slot, response));
                }
                logps.into_iter().collect::<Result<_, _>>().map(Answer::Logps)
            }
            Query::TextLogp { slot, messages, continuation } => {
                let (slot, f) = (self.find(slot)?, scripted(&self.text_logp, "TextLogp")?);
                f(slot, messages, continuation).map(|logp| Answer::Logps(vec![logp]))
            }
            Query::Generate { slot, messages, count, .. } => {
                let (slot, f) = (self.find(slot)?, scripted(&self.generate, "Generate")?);
                let text = |i| f(slot, messages, i).map(|text| Generated { text, finish: Finish::Stop });
                (0..*count as usize).map(text).collect::<Result<_, _>>().map(Answer::Texts)
            }
            Query::Choose { slot, messages, labels } => {
                let (slot, f) = (self.find(slot)?, scripted(&self.choose, "Choose")?);
                f(slot, messages, labels).map(Answer::Distribution)
            }
        };
        Ok(answer.unwrap_or_else(Answer::Failed))
    }

    fn find(&self, slot: &str) -> Result<&Slot, PluginError> {
        self.context.slot(slot).ok_or_else(|| PluginError::new(format!("there is no model slot '{slot}'")))
    }
}

fn scripted<'a, F: ?Sized>(f: &'a Option<Box<F>>, kind: &str) -> Result<&'a F, PluginError> {
    f.as_deref().ok_or_else(|| PluginError::new(format!("the test scripts no answer to {kind}")))
}
