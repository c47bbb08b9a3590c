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
//! A score is read from what the judge generated and from nothing else; see
//! [`ScoreRule::read`](creamery_plugin::prompt::ScoreRule::read) for the rule. Identical responses of a group are judged
//! once.
//!
//! The report measures `parsed`, the share of judgments that hold a score (0.67 in the example), and `score_std`, the
//! mean spread of a response's scores (0.5 in the example: 4 and 3 lie 0.5 from their mean).

use creamery_plugin::params::parse;
use creamery_plugin::prompt::{Distinct, Occurrence, Prompt, Rater, Sampling, ScoreRule};
use creamery_plugin::{Answer, Groups, Judge, JudgeContext, JudgeReport, PluginError, Step};
use serde::Deserialize;

/// The built-in prompt.
pub const DEFAULT_PROMPT: &str = include_str!("default_prompt.jinja");

/// The judge; [`Rubric::new`](Judge::new) takes the parameters that `params.schema.json` describes.
pub struct Rubric {
    rater: Rater,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    k: u32,
    temperature: f64,
    top_p: f64,
    max_new_tokens: u32,
    prompt: String,
    system: String,
    slot: String,
    marker: String,
    parse: Occurrence,
    min_score: f64,
    max_score: f64,
    min_parsed: u32,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            k: 3,
            temperature: 0.7,
            top_p: 0.9,
            max_new_tokens: 256,
            prompt: DEFAULT_PROMPT.into(),
            system: String::new(),
            slot: "judge".into(),
            marker: "Score:".into(),
            parse: Occurrence::Last,
            min_score: 0.0,
            max_score: 5.0,
            min_parsed: 1,
        }
    }
}

impl Judge for Rubric {
    fn new(params: &str) -> Result<Self, PluginError> {
        let p: Params = parse(params)?;
        let rule = ScoreRule { marker: p.marker, occurrence: p.parse, min: p.min_score, max: p.max_score };
        let sampling =
            Sampling { k: p.k, temperature: p.temperature, top_p: p.top_p, max_new_tokens: p.max_new_tokens };
        let prompt = Prompt::new(&p.prompt, &p.system, Rater::sample(&rule), &["response"])?;
        let rater = Rater { prompt, slot: p.slot, sampling, rule, min_parsed: p.min_parsed };
        rater.check()?;
        Ok(Rubric { rater })
    }

    fn step(&self, _: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError> {
        let distinct = Distinct::new(groups);
        if distinct.responses().is_empty() {
            return Ok(Step::Scores(Vec::new()));
        }
        match answers.first() {
            None => Ok(Step::Ask(self.rater.queries(groups, &distinct)?)),
            Some(answers) => Ok(Step::Scores(self.rater.scores(&distinct, answers)?)),
        }
    }

    fn report(&self, _: &JudgeContext, _: &Groups, answers: &[Vec<Answer>]) -> Result<JudgeReport, PluginError> {
        let measures = answers.first().map_or(Ok(Vec::new()), |answers| self.rater.measures(answers))?;
        Ok(JudgeReport { measures, ..JudgeReport::default() })
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
