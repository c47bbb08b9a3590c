//! A program, a verifier or an external endpoint as the judge: it is sent the conversation, and its answer is a number.
//!
//! s(x, y) = the number in the text that the slot gives for the messages of x followed by y as the assistant's.
//! It is for `[slots.NAME] program = ["python3", "verify.py"]`, which reads {"messages": …} and writes {"text": "0.5"},
//! and for reward models and verifiers behind `endpoint = …`. Each distinct response of a group is asked once.
//!
//! Worked example: the text "checked 3 cases\nscore: 0.75" gives 0.75 with `marker = "score:"`, and an abstention
//! without a marker, where the text must be the number and nothing else. "yes" is 1 and "no" is 0.
//!
//! A response abstains if the slot fails, if the text has no number where it should, if the number is out of range, and
//! if the text was cut off right after it. Nothing is guessed.

use creamery_plugin::consistency::first_identical;
use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::{Answer, Finish, Groups, Judge, JudgeContext, Message, PluginError, Query, Score, Step};
use serde::Deserialize;

/// The judge; [`Program::new`](Judge::new) takes the parameters that `params.schema.json` describes.
pub struct Program {
    params: Params,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    slot: String,
    marker: String,
    range: Vec<f64>,
    true_words: Vec<String>,
    false_words: Vec<String>,
    max_new_tokens: u32,
}

impl Default for Params {
    fn default() -> Self {
        let words = |list: [&str; 4]| list.map(str::to_owned).into();
        Params {
            slot: "program".into(),
            marker: String::new(),
            range: Vec::new(),
            true_words: words(["true", "yes", "correct", "pass"]),
            false_words: words(["false", "no", "incorrect", "fail"]),
            max_new_tokens: 64,
        }
    }
}

impl Judge for Program {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        if params.slot.is_empty() {
            return Err(out_of_range("slot", "empty", "the name of a model slot"));
        }
        if params.max_new_tokens == 0 {
            return Err(out_of_range("max-new-tokens", 0, "at least 1"));
        }
        match params.range[..] {
            [] => {}
            [low, high] if low < high && low.is_finite() && high.is_finite() => {}
            _ => {
                let found = format!("{:?}", params.range);
                return Err(out_of_range("range", found, "the lowest and the highest number, or empty for any"));
            }
        }
        let same = |word: &&String| params.false_words.iter().any(|other| folded(other) == folded(word));
        if let Some(word) = params.true_words.iter().find(same) {
            return Err(PluginError::new(format!("{word:?} is in both true-words and false-words")));
        }
        for (name, words) in [("true-words", &params.true_words), ("false-words", &params.false_words)] {
            if let Some(word) = words.iter().find(|w| w.is_empty() || w.contains(char::is_whitespace)) {
                return Err(out_of_range(name, format!("{word:?} among others"), "single words"));
            }
        }
        Ok(Program { params })
    }

    fn step(&self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError> {
        let judged = judged_as(groups);
        let distinct: Vec<usize> = (0..judged.len()).filter(|&r| judged[r] == r).collect();
        if distinct.is_empty() {
            return Ok(Step::Scores(Vec::new()));
        }
        let slot = &self.params.slot;
        if context.slot(slot).is_none() {
            let known: Vec<&str> = context.slots.iter().map(|s| s.name.as_str()).collect();
            return Err(PluginError::new(format!(
                "there is no model slot '{slot}', only: {}; add [slots.{slot}] to the config, with a program or an \
                 endpoint",
                known.join(", ")
            )));
        }
        let Some(answers) = answers.first() else {
            return Ok(Step::Ask(self.queries(groups, &judged)));
        };
        if answers.len() != distinct.len() {
            let (n, asked) = (answers.len(), distinct.len());
            return Err(PluginError::new(format!("the host gave {n} answers to {asked} queries")));
        }
        let mut scores: Vec<Score> = Vec::with_capacity(judged.len());
        let mut answers = answers.iter();
        for (r, &from) in judged.iter().enumerate() {
            // As many answers as distinct responses, in their order; a copy comes after its first.
            let answer = if from == r { answers.next() } else { None };
            let score = match answer {
                Some(answer) => self.score(answer)?,
                None => scores[from].clone(),
            };
            scores.push(score);
        }
        Ok(Step::Scores(scores))
    }
}

impl Program {
    fn queries(&self, groups: &Groups, judged: &[usize]) -> Vec<Query> {
        let mut queries = Vec::new();
        for g in 0..groups.len() {
            for r in groups.response_range(g).filter(|&r| judged[r] == r) {
                let mut messages = groups.prompt(g).to_vec();
                messages.push(Message::assistant(&groups.responses[r].text));
                queries.push(Query::Generate {
                    slot: self.params.slot.clone(),
                    messages,
                    count: 1,
                    max_new_tokens: self.params.max_new_tokens,
                    temperature: 0.0,
                    top_p: 1.0,
                });
            }
        }
        queries
    }

    fn score(&self, answer: &Answer) -> Result<Score, PluginError> {
        let slot = &self.params.slot;
        let generated = match answer {
            Answer::Texts(texts) if texts.len() == 1 => &texts[0],
            Answer::Texts(texts) => {
                return Err(PluginError::new(format!("the host gave {} texts instead of 1", texts.len())));
            }
            Answer::Failed(reason) => return Ok(Score::Abstain(format!("no answer from the slot '{slot}': {reason}"))),
            _ => return Err(PluginError::new("the host did not answer with texts")),
        };
        Ok(match self.read(&generated.text, generated.finish == Finish::Length) {
            Ok(value) => Score::Value(value),
            Err(reason) => Score::Abstain(format!("{reason} in the answer of the slot '{slot}'")),
        })
    }

    /// The number of a text, or why there is none.
    fn read(&self, text: &str, cut_off: bool) -> Result<f64, String> {
        let marker = &self.params.marker;
        let word = match marker.is_empty() {
            true => text.trim(),
            false => {
                // to_ascii_lowercase keeps the length, so places in one are places in the other
                let at = text.to_ascii_lowercase().rfind(&marker.to_ascii_lowercase());
                let after = at.map(|at| text[at + marker.len()..].trim_start());
                let after = after.ok_or_else(|| format!("there is no {marker:?}"))?;
                after.split_whitespace().next().unwrap_or("")
            }
        };
        if cut_off && text.ends_with(word) {
            return Err("the text was cut off".into());
        }
        let plain = word.trim_end_matches(['.', ',', ';', '!']);
        let is = |words: &[String]| words.iter().any(|w| folded(w) == folded(plain));
        let value = if is(&self.params.true_words) {
            1.0
        } else if is(&self.params.false_words) {
            0.0
        } else {
            number(plain).ok_or("there is no number")?
        };
        match self.params.range[..] {
            [low, high] if !(low..=high).contains(&value) => Err(format!("{value} is not from {low} to {high}")),
            _ => Ok(value),
        }
    }
}

/// A finite decimal number, with or without an exponent: "3", "-0.5", "1e-3"; neither "inf" nor "0x1".
fn number(text: &str) -> Option<f64> {
    let allowed = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let value: f64 = text.parse().ok().filter(|_| allowed)?;
    value.is_finite().then_some(value)
}

fn folded(word: &str) -> String {
    word.to_lowercase()
}

/// For each response, flat, the one whose answer it shares: the first identical one of its group.
fn judged_as(groups: &Groups) -> Vec<usize> {
    let of_group = |g| first_identical(groups, g).into_iter().map(move |i| (g, i));
    (0..groups.len()).flat_map(of_group).map(|(g, i)| groups.response_range(g).start + i).collect()
}

creamery_plugin::export_plugin! {
    kind: judge,
    type: Program,
    name: "program",
    summary: "A program, verifier or endpoint gives each response a number.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
