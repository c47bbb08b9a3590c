//! A judge that rates responses one by one: k judgments of each, and the mean of the scores that they end with.

use super::{Distinct, Fields, Prompt, Sampling, ScoreRule, answered, measure, texts};
use crate::params::out_of_range;
use crate::stats;
use crate::types::{Answer, Finish, Generated, Groups, Measure, PluginError, Query, Score};

/// Rates each distinct response: s(x, y) = (1/n) Σ_j score(judgment_j), over the n ≤ k judgments that hold a score.
#[derive(Debug)]
pub struct Rater {
    pub prompt: Prompt,
    pub slot: String,
    pub sampling: Sampling,
    pub rule: ScoreRule,
    /// The fewest judgments with a score for a response to get one.
    pub min_parsed: u32,
}

impl Rater {
    /// The fields of a rater besides those of the group, with made-up values: `response`, `scale_min`, `scale_max`.
    pub fn sample(rule: &ScoreRule) -> Fields {
        Fields::default().text("response", "a response").number("scale_min", rule.min).number("scale_max", rule.max)
    }

    /// The error names the parameter that is out of range.
    pub fn check(&self) -> Result<(), PluginError> {
        self.sampling.check()?;
        self.rule.check()?;
        let k = self.sampling.k;
        match (1..=k).contains(&self.min_parsed) {
            true => Ok(()),
            false => Err(out_of_range("min-parsed", self.min_parsed, &format!("from 1 to k, {k}"))),
        }
    }

    /// One query for each distinct response, in order.
    pub fn queries(&self, groups: &Groups, distinct: &Distinct) -> Result<Vec<Query>, PluginError> {
        let mut queries = Vec::with_capacity(distinct.responses().len());
        for g in 0..groups.len() {
            let responses = distinct.of_group(groups, g);
            if responses.is_empty() {
                continue;
            }
            let fields = Self::sample(&self.rule);
            let fields = fields.and(&Fields::group(groups, g));
            for &r in responses {
                let fields = fields.clone().text("response", &groups.responses[r].text);
                queries.push(self.sampling.query(&self.slot, self.prompt.messages(&fields)?));
            }
        }
        Ok(queries)
    }

    /// The score in each of the k judgments, where there is one, or the reason why there are no judgments.
    pub fn read(&self, answer: &Answer) -> Result<Result<Vec<Option<f64>>, String>, PluginError> {
        let score = |t: &Generated| self.rule.read(&t.text, t.finish == Finish::Length);
        Ok(texts(answer, self.sampling.k)?
            .map(|texts| texts.iter().map(score).collect())
            .map_err(|reason| format!("no judgment: {reason}")))
    }

    /// One score per response.
    pub fn scores(&self, distinct: &Distinct, answers: &[Answer]) -> Result<Vec<Score>, PluginError> {
        let answers = answered(answers, distinct.responses().len())?;
        let scores = answers.iter().map(|a| Ok(self.score(self.read(a)?))).collect::<Result<Vec<_>, PluginError>>()?;
        distinct.spread(&scores)
    }

    fn score(&self, read: Result<Vec<Option<f64>>, String>) -> Score {
        let read = match read {
            Ok(read) => read,
            Err(reason) => return Score::Abstain(reason),
        };
        let parsed: Vec<f64> = read.into_iter().flatten().collect();
        let (k, ScoreRule { marker, min, max, .. }) = (self.sampling.k, &self.rule);
        match stats::mean(&parsed) {
            Some(mean) if parsed.len() >= self.min_parsed as usize => Score::Value(mean),
            _ => Score::Abstain(format!(
                "{} of {k} judgments give a score from {min} to {max} after \"{marker}\", fewer than {}",
                parsed.len(),
                self.min_parsed
            )),
        }
    }

    /// `parsed`: the share of judgments that hold a score. `score_std`: the spread of a response's scores (as a whole
    /// population), over the responses with at least two; it is missing where there is none.
    pub fn measures(&self, answers: &[Answer]) -> Result<Vec<Measure>, PluginError> {
        let (mut parsed, mut spread) = (Vec::new(), Vec::new());
        for answer in answers {
            let Ok(read) = self.read(answer)? else { continue };
            parsed.extend(read.iter().map(|score| f64::from(u8::from(score.is_some()))));
            let scores: Vec<f64> = read.into_iter().flatten().collect();
            if scores.len() >= 2 {
                spread.extend(stats::standard_deviation(&scores));
            }
        }
        let measures = [measure("parsed", &parsed), measure("score_std", &spread)];
        Ok(measures.into_iter().filter(|m| m.count > 0).collect())
    }
}
