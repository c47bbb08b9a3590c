//! Self-consistency: a response scores as many votes as there are responses of its group with the same answer.
//!
//! V(y_i) = Σ_j 1[ans(y_j) = ans(y_i)], as a share of the group's N responses or as a count.
//! Source: Self-Consistency Preference Optimization (Prasad et al., arXiv 2411.04109, section on the vote function),
//! after self-consistency decoding (Wang et al., arXiv 2203.11171). No model is asked.
//!
//! Worked example: answers 7, 7, 8, none, 7 score ⅗, ⅗, ⅕, an abstention, ⅗; as counts 3, 3, 1, –, 3.
//!
//! * Every sample votes: two identical responses are two votes, since a model that says the same twice is surer of it.
//!   Rankers merge identical responses afterwards, which does not change their votes.
//! * A response without a recognizable answer abstains and votes for none, but it counts in N.
//! * So does one that the token limit cut off, unless `require-complete = false`: what looks like its answer may be a
//!   number on the way.
//! * All responses of a group vote, those of other models included.

use std::collections::BTreeMap;

use creamery_plugin::answer::Extractor;
use creamery_plugin::params::parse;
use creamery_plugin::{
    Answer, Finish, Groups, Judge, JudgeContext, JudgeReport, Measure, PluginError, Response, Score, Step,
};
use serde::Deserialize;

/// The judge; [`Vote::new`](Judge::new) takes the parameters that `params.schema.json` describes.
pub struct Vote {
    params: Params,
    extractor: Extractor,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    extractor: String,
    score: Form,
    require_complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Share,
    Count,
}

impl Default for Params {
    fn default() -> Self {
        Params { extractor: "exact".into(), score: Form::Share, require_complete: true }
    }
}

impl Judge for Vote {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        let extractor = Extractor::parse(&params.extractor)
            .map_err(|e| PluginError::new(format!("parameter 'extractor': {}", e.message)))?;
        Ok(Vote { params, extractor })
    }

    fn step(&self, _: &JudgeContext, groups: &Groups, _: &[Vec<Answer>]) -> Result<Step, PluginError> {
        let scores = (0..groups.len()).flat_map(|g| self.group(&groups.responses[groups.response_range(g)]));
        Ok(Step::Scores(scores.collect()))
    }

    /// `answered`, the share of responses that vote, and `majority`, the largest share of equal answers in a group.
    fn report(&self, _: &JudgeContext, groups: &Groups, _: &[Vec<Answer>]) -> Result<JudgeReport, PluginError> {
        let (mut answered, mut majority, mut voting) = (0, 0.0, 0);
        for g in 0..groups.len() {
            let responses = &groups.responses[groups.response_range(g)];
            let counts = self.counts(responses);
            answered += counts.values().sum::<u32>();
            if !responses.is_empty() {
                majority += f64::from(counts.into_values().max().unwrap_or(0)) / responses.len() as f64;
                voting += 1;
            }
        }
        let (answered, responses) = (f64::from(answered), groups.responses.len() as u64);
        let measures = vec![
            Measure { name: "answered".into(), sum: answered, count: responses },
            Measure { name: "majority".into(), sum: majority, count: voting },
        ];
        Ok(JudgeReport { measures: measures.into_iter().filter(|m| m.count > 0).collect(), pairs: Vec::new() })
    }
}

impl Vote {
    fn group(&self, responses: &[Response]) -> Vec<Score> {
        let counts = self.counts(responses);
        let score = |response: &Response| match self.answer(response) {
            Ok(answer) => {
                let votes = f64::from(counts.get(&answer).copied().unwrap_or(0));
                Score::Value(if self.params.score == Form::Share { votes / responses.len() as f64 } else { votes })
            }
            Err(reason) => Score::Abstain(reason.into()),
        };
        responses.iter().map(score).collect()
    }

    /// Votes by answer.
    fn counts(&self, responses: &[Response]) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for answer in responses.iter().filter_map(|r| self.answer(r).ok()) {
            *counts.entry(answer).or_default() += 1;
        }
        counts
    }

    fn answer(&self, response: &Response) -> Result<String, &'static str> {
        if self.params.require_complete && response.finish != Finish::Stop {
            return Err("the response was cut off");
        }
        self.extractor.extract(&response.text).ok_or("the response has no answer")
    }
}

creamery_plugin::export_plugin! {
    kind: judge,
    type: Vote,
    name: "vote",
    summary: "Self-consistency: how many responses of the group have the same answer.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
