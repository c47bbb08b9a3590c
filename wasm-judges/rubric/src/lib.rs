//! The model as its own judge: it rates each response by an additive 5-point rubric, k times, and the mean counts.
//!
//! s(x, y) = (1/n) Σ_j score(judgment_j), over the n ≤ k judgments that end with a score in range.
//!
//! Source: Self-Rewarding Language Models (Yuan et al., arXiv 2401.10020, section 2.2 and figure 2: additive
//! points, reasons first, three sampled judgments averaged, temperature 0.7, top-p 0.9). The built-in prompt
//! follows the idea in other words.
//!
//! Worked example: three judgments that end "Score: 4", "Score: 3" and "I cannot rate this." give (4 + 3) / 2 =
//! 3.5 with `min-parsed = 1`, and an abstention with `min-parsed = 3`. The third one never becomes a number.
//!
//! A score is read from what the judge generated and from nothing else; see [`judgment::score`] for the rule.
//! Identical responses of a group are judged once.

mod judgment;
mod template;

use creamery_plugin::consistency::first_identical;
use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::{
    Answer, Finish, Generated, Groups, Judge, JudgeContext, Message, PluginError, Query, Score, Step, stats,
};
use serde::Deserialize;
use template::Template;

/// The built-in prompt.
pub const DEFAULT_PROMPT: &str = include_str!("default_prompt.txt");

/// The judge; [`Rubric::new`](Judge::new) takes the parameters that `params.schema.json` describes.
pub struct Rubric {
    params: Params,
    template: Template,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    slot: String,
    k: u32,
    temperature: f64,
    top_p: f64,
    max_new_tokens: u32,
    prompt: String,
    marker: String,
    min_score: f64,
    max_score: f64,
    min_parsed: u32,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            slot: "judge".into(),
            k: 3,
            temperature: 0.7,
            top_p: 0.9,
            max_new_tokens: 256,
            prompt: DEFAULT_PROMPT.into(),
            marker: "Score:".into(),
            min_score: 0.0,
            max_score: 5.0,
            min_parsed: 1,
        }
    }
}

impl Judge for Rubric {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        params.check()?;
        Ok(Rubric { template: Template::new(&params.prompt)?, params })
    }

    fn step(&self, _: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError> {
        let judged = judged_as(groups);
        let distinct: Vec<usize> = (0..judged.len()).filter(|&r| judged[r] == r).collect();
        if distinct.is_empty() {
            return Ok(Step::Scores(Vec::new()));
        }
        let Some(answers) = answers.first() else {
            return Ok(Step::Ask(self.queries(groups, &judged)));
        };
        if answers.len() != distinct.len() {
            let (n, asked) = (answers.len(), distinct.len());
            return Err(PluginError::new(format!("the host gave {n} answers to {asked} queries")));
        }
        let scores = answers.iter().map(|a| self.score(a)).collect::<Result<Vec<_>, _>>()?;
        let place = |r: usize| distinct.binary_search(&r).map_err(|_| PluginError::new("a response was not judged"));
        let spread: Result<Vec<Score>, PluginError> = judged.iter().map(|&r| Ok(scores[place(r)?].clone())).collect();
        Ok(Step::Scores(spread?))
    }
}

impl Rubric {
    fn queries(&self, groups: &Groups, judged: &[usize]) -> Vec<Query> {
        let mut queries = Vec::new();
        for g in 0..groups.len() {
            let prompt = conversation(groups.prompt(g));
            for r in groups.response_range(g).filter(|&r| judged[r] == r) {
                let content = self.template.fill(&prompt, &groups.responses[r].text);
                queries.push(Query::Generate {
                    slot: self.params.slot.clone(),
                    messages: vec![Message { role: "user".into(), content }],
                    count: self.params.k,
                    max_new_tokens: self.params.max_new_tokens,
                    temperature: self.params.temperature,
                    top_p: self.params.top_p,
                });
            }
        }
        queries
    }

    fn score(&self, answer: &Answer) -> Result<Score, PluginError> {
        let Params { k, marker, min_score, max_score, min_parsed, .. } = &self.params;
        let texts = match answer {
            Answer::Texts(texts) if texts.len() == *k as usize => texts,
            Answer::Texts(texts) => {
                return Err(PluginError::new(format!("the host gave {} judgments instead of {k}", texts.len())));
            }
            Answer::Failed(reason) => return Ok(Score::Abstain(format!("no judgment: {reason}"))),
            _ => return Err(PluginError::new("the host did not answer with texts")),
        };
        let read = |t: &Generated| judgment::score(&t.text, marker, *min_score, *max_score, t.finish == Finish::Length);
        let parsed: Vec<f64> = texts.iter().filter_map(read).collect();
        match stats::mean(&parsed) {
            Some(mean) if parsed.len() >= *min_parsed as usize => Ok(Score::Value(mean)),
            _ => Ok(Score::Abstain(format!(
                "{} of {k} judgments give a score from {min_score} to {max_score} after \"{marker}\", fewer than {min_parsed}",
                parsed.len()
            ))),
        }
    }
}

impl Params {
    fn check(&self) -> Result<(), PluginError> {
        if self.k == 0 {
            return Err(out_of_range("k", self.k, "at least 1"));
        }
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(out_of_range("temperature", self.temperature, "a finite number of at least 0"));
        }
        if self.temperature == 0.0 && self.k > 1 {
            let expected = "1 at temperature 0, where all judgments are the same";
            return Err(out_of_range("k", self.k, expected));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(out_of_range("top-p", self.top_p, "above 0 and at most 1"));
        }
        if self.max_new_tokens == 0 {
            return Err(out_of_range("max-new-tokens", self.max_new_tokens, "at least 1"));
        }
        if self.marker.trim().is_empty() {
            return Err(out_of_range("marker", "empty", "a text that stands before the score, such as \"Score:\""));
        }
        if !(self.min_score < self.max_score && self.min_score.is_finite() && self.max_score.is_finite()) {
            return Err(out_of_range("min-score", self.min_score, &format!("below max-score, {}", self.max_score)));
        }
        if !(1..=self.k).contains(&self.min_parsed) {
            return Err(out_of_range("min-parsed", self.min_parsed, &format!("from 1 to k, {}", self.k)));
        }
        Ok(())
    }
}

/// For each response, flat, the one whose judgment it shares: the first identical one of its group.
fn judged_as(groups: &Groups) -> Vec<usize> {
    let of_group = |g| first_identical(groups, g).into_iter().map(move |i| (g, i));
    (0..groups.len()).flat_map(of_group).map(|(g, i)| groups.response_range(g).start + i).collect()
}

/// A single message as it is; several with their roles.
fn conversation(messages: &[Message]) -> String {
    match messages {
        [message] => message.content.clone(),
        _ => messages.iter().map(|m| format!("[{}]\n{}", m.role, m.content)).collect::<Vec<_>>().join("\n\n"),
    }
}

creamery_plugin::export_plugin! {
    kind: judge,
    type: Rubric,
    name: "rubric",
    summary: "The model rates responses by an additive 5-point rubric; k judgments are averaged.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
