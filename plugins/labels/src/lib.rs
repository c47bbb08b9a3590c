//! The oracle: 1 for a response with the known answer, 0 for another one.
//!
//! r(x, y) = 1[ans(y) = a(x)], with a(x) from a file of labels. It is the upper bound that other judges are compared
//! with, and external rewards of tasks whose answers can be checked. No model is asked.
//!
//! The file (`answers = { file = "labels.jsonl" }`) has a JSON object a line, {"id": …, "answer": …}: the id of a
//! prompt and its answer, a string or a number, and perhaps "choices", the texts of the choices A, B, C …, so that an
//! answer may be given by its text. Other fields are not read, so a file of evaluation rows with ids is one of labels.
//!
//! Worked example: with {"id": "p0", "answer": 12} and `extractor = "number"`, "Answer: 3 x 4 = 12" scores 1,
//! "Answer: 7" scores 0, and so does "I do not know": as in evaluation, no answer is a wrong one.
//!
//! Prompts without a label abstain.

use std::collections::BTreeMap;

use creamery_plugin::answer::Extractor;
use creamery_plugin::params::parse;
use creamery_plugin::{Answer, Groups, Judge, JudgeContext, PluginError, Score, Step};
use serde::Deserialize;
use serde_json::Value;

/// The judge; [`Labels::new`](Judge::new) takes the parameters that `params.schema.json` describes.
pub struct Labels {
    extractor: Extractor,
    labels: BTreeMap<String, Label>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    answers: String,
    extractor: String,
}

/// What is known of a prompt.
struct Label {
    /// In the extractor's normal form.
    answer: String,
    choices: Vec<String>,
    line: usize,
}

impl Default for Params {
    fn default() -> Self {
        Params { answers: String::new(), extractor: "exact".into() }
    }
}

impl Judge for Labels {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        let extractor = Extractor::parse(&params.extractor)
            .map_err(|e| PluginError::new(format!("parameter 'extractor': {}", e.message)))?;
        let mut labels: BTreeMap<String, Label> = BTreeMap::new();
        for (i, text) in params.answers.lines().enumerate() {
            let line = i + 1;
            if text.trim().is_empty() {
                continue;
            }
            let (id, label) = read(text, line, &extractor)
                .map_err(|found| PluginError::new(format!("parameter 'answers', line {line}: {found}")))?;
            if let Some(earlier) = labels.get(&id) {
                return Err(PluginError::new(format!(
                    "parameter 'answers', line {line}: the id {id:?} already has an answer in line {}",
                    earlier.line
                )));
            }
            labels.insert(id, label);
        }
        if labels.is_empty() {
            return Err(PluginError::new(
                "parameter 'answers' has no line: give a file of {\"id\", \"answer\"} rows, answers = { file = \
                 \"labels.jsonl\" }",
            ));
        }
        Ok(Labels { extractor, labels })
    }

    fn step(&self, _: &JudgeContext, groups: &Groups, _: &[Vec<Answer>]) -> Result<Step, PluginError> {
        let mut scores = Vec::with_capacity(groups.responses.len());
        for g in 0..groups.len() {
            let label = self.labels.get(&groups.ids[g]);
            for response in &groups.responses[groups.response_range(g)] {
                scores.push(match label {
                    Some(label) => {
                        let found = self.extractor.extract_among(&response.text, &label.choices);
                        Score::Value(if found.as_ref() == Some(&label.answer) { 1.0 } else { 0.0 })
                    }
                    None => Score::Abstain("the prompt has no label".into()),
                });
            }
        }
        Ok(Step::Scores(scores))
    }
}

/// The id and the label of a line, or what is wrong with it.
fn read(text: &str, line: usize, extractor: &Extractor) -> Result<(String, Label), String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("this is no JSON: {e}"))?;
    let row = value.as_object().ok_or("expected an object {\"id\", \"answer\"}")?;
    let field = |name: &str| row.get(name).ok_or_else(|| format!("the field \"{name}\" is missing"));
    let id = plain(field("id")?).ok_or("the field \"id\" must be a text that is not empty, or an integer")?;
    let answer = plain(field("answer")?).ok_or("the field \"answer\" must be a text that is not empty, or a number")?;
    let choices = match row.get("choices") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => {
            let texts: Option<Vec<String>> = items.iter().map(|c| c.as_str().map(str::to_owned)).collect();
            texts.filter(|texts| texts.len() <= 26).ok_or("the field \"choices\" must be a list of at most 26 texts")?
        }
        Some(_) => return Err("the field \"choices\" must be a list of at most 26 texts".into()),
    };
    Ok((id, Label { answer: extractor.known(&answer, &choices), choices, line }))
}

/// A text, or a number as it is written.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

creamery_plugin::export_plugin! {
    kind: judge,
    type: Labels,
    name: "labels",
    summary: "The oracle: 1 for a response with the known answer, 0 for another one.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
