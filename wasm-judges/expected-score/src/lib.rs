//! The expected score: what the model would give on average, from its probabilities and without drawing a judgment.
//!
//! s(x, y) = Σ_k v_k · p(l_k | x, y) over labels l_k with values v_k,
//!
//! where p is the model's distribution over the labels as its answer to the judging prompt, normalized over them.
//! Source: G-Eval (Liu et al., arXiv 2303.16634, section 2, "scoring function"), which takes the sum over the scores
//! that the prompt allows. Unlike a generated score it is not limited to whole numbers, so ties are rare, and it takes
//! one forward pass.
//!
//! A label that begins another one ("1" and "10") has the probability of answers that do not go on as the other. Behind
//! a server a label must be one token.
//!
//! Worked example: labels "1" … "5" with p = (0, 0, 0.1, 0.3, 0.6) give 3·0.1 + 4·0.3 + 5·0.6 = 4.5.
//!
//! A label is the very text that follows, so the prompt should ask for a label alone. The report measures
//! `label_entropy`, −Σ p ln p in nats, meaned over responses: 0 where the model is certain, ln K where it knows nothing
//! of K labels. Identical responses of a group are judged once.

use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::prompt::{Distinct, Fields, Prompt, answered, distribution, measure};
use creamery_plugin::{Answer, Groups, Judge, JudgeContext, JudgeReport, PluginError, Query, Score, Step, math};
use serde::Deserialize;

/// The built-in prompt.
pub const DEFAULT_PROMPT: &str = include_str!("default_prompt.jinja");

/// The judge; [`ExpectedScore::new`](Judge::new) takes the parameters that `params.schema.json` describes.
pub struct ExpectedScore {
    prompt: Prompt,
    labels: Vec<String>,
    /// `[labels]`
    values: Vec<f64>,
    slot: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    prompt: String,
    system: String,
    labels: Vec<String>,
    values: Vec<f64>,
    slot: String,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            prompt: DEFAULT_PROMPT.into(),
            system: String::new(),
            labels: ["1", "2", "3", "4", "5"].map(String::from).into(),
            values: Vec::new(),
            slot: "judge".into(),
        }
    }
}

impl Judge for ExpectedScore {
    fn new(params: &str) -> Result<Self, PluginError> {
        let Params { prompt, system, labels, values, slot } = parse(params)?;
        let values = checked(&labels, values)?;
        let own = own_fields(&labels, &values).text("response", "a response");
        let prompt = Prompt::new(&prompt, &system, own, &["response"])?;
        Ok(ExpectedScore { prompt, labels, values, slot })
    }

    fn step(&self, _: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError> {
        let distinct = Distinct::new(groups);
        if distinct.responses().is_empty() {
            return Ok(Step::Scores(Vec::new()));
        }
        let Some(answers) = answers.first() else {
            return Ok(Step::Ask(self.queries(groups, &distinct)?));
        };
        let answers = answered(answers, distinct.responses().len())?;
        let scores = answers.iter().map(|a| self.score(a)).collect::<Result<Vec<_>, _>>()?;
        Ok(Step::Scores(distinct.spread(&scores)?))
    }

    fn report(&self, _: &JudgeContext, _: &Groups, answers: &[Vec<Answer>]) -> Result<JudgeReport, PluginError> {
        let mut entropies = Vec::new();
        for answer in answers.iter().flatten() {
            entropies.extend(self.distribution(answer)?.ok().map(|p| entropy(&p)));
        }
        let measures = if entropies.is_empty() { Vec::new() } else { vec![measure("label_entropy", &entropies)] };
        Ok(JudgeReport { measures, ..JudgeReport::default() })
    }
}

impl ExpectedScore {
    fn queries(&self, groups: &Groups, distinct: &Distinct) -> Result<Vec<Query>, PluginError> {
        let mut queries = Vec::with_capacity(distinct.responses().len());
        for g in 0..groups.len() {
            let fields = Fields::group(groups, g).and(&own_fields(&self.labels, &self.values));
            for &r in distinct.of_group(groups, g) {
                let messages = self.prompt.messages(&fields.clone().text("response", &groups.responses[r].text))?;
                let (slot, labels) = (self.slot.clone(), self.labels.clone());
                queries.push(Query::Choose { slot, messages, labels });
            }
        }
        Ok(queries)
    }

    fn score(&self, answer: &Answer) -> Result<Score, PluginError> {
        Ok(match self.distribution(answer)? {
            Ok(p) => Score::Value(p.iter().zip(&self.values).map(|(p, v)| p * v).sum()),
            Err(reason) => Score::Abstain(reason),
        })
    }

    /// p over the labels, or the reason why there is none.
    fn distribution(&self, answer: &Answer) -> Result<Result<Vec<f64>, String>, PluginError> {
        distribution(answer, self.labels.len())
    }
}

fn own_fields(labels: &[String], values: &[f64]) -> Fields {
    let limit = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick).unwrap_or_default();
    Fields::default()
        .texts("labels", labels.iter().map(String::as_str))
        .number("scale_min", limit(f64::min))
        .number("scale_max", limit(f64::max))
}

/// The labels' values: as given, or the labels read as numbers.
fn checked(labels: &[String], values: Vec<f64>) -> Result<Vec<f64>, PluginError> {
    if labels.len() < 2 {
        return Err(out_of_range("labels", format!("{} labels", labels.len()), "at least 2"));
    }
    if let Some(i) = (0..labels.len()).find(|&i| labels[i].is_empty() || labels[..i].contains(&labels[i])) {
        return Err(out_of_range("labels", format!("\"{}\" at place {i}", labels[i]), "not empty and not there twice"));
    }
    if values.is_empty() {
        let number = |label: &String| {
            let value = label.trim().parse::<f64>().ok().filter(|v| v.is_finite());
            value.ok_or_else(|| out_of_range("values", "not given", &format!("given, as \"{label}\" is not a number")))
        };
        return labels.iter().map(number).collect();
    }
    if values.len() != labels.len() {
        let (found, expected) = (values.len(), labels.len());
        return Err(out_of_range("values", format!("{found} numbers"), &format!("one for each of {expected} labels")));
    }
    if values.iter().all(|v| *v == values[0]) {
        return Err(out_of_range(
            "values",
            format!("{} for every label", values[0]),
            "of at least two different numbers",
        ));
    }
    Ok(values)
}

/// −Σ p ln p in nats.
fn entropy(p: &[f64]) -> f64 {
    p.iter().filter(|p| **p > 0.0).map(|p| -p * math::ln(*p)).sum()
}

creamery_plugin::export_plugin! {
    kind: judge,
    type: ExpectedScore,
    name: "expected-score",
    summary: "The expected score over label tokens: Σ value · p(label).",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
