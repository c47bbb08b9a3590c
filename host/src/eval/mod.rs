//! Questions with known answers: what a model makes of them, and in which form that is reported.

mod results;

use creamery_plugin::Message;

pub use results::{Report, Settings};

use crate::data::{ChatFormat, EvalRow, Extractor};
use crate::error::{Error, Result};
use crate::round::setup::{Prompt, encode};

/// What the paper asks for at the end of a question (arXiv 2410.12735, appendix): so that its extractor finds the
/// answer.
pub const PAPER_SUFFIX: &str = "\nAnswer the question by thinking step by step. At the end, output the final answer, \
                                starting with 'Answer:'.";

/// A held-out prompt with its answer.
pub struct Question {
    pub prompt: Prompt,
    pub answer: String,
    pub task: Option<String>,
    /// The texts of the choices A, B, C …; empty where there are none.
    pub choices: Vec<String>,
}

impl Question {
    /// The row with `suffix` after its last message, in the model's template; it must leave room for a response in a
    /// context of so many tokens.
    pub fn new(row: EvalRow, suffix: &str, chat: &ChatFormat, context: usize) -> Result<Question> {
        let mut messages: Vec<Message> = row.prompt;
        if let Some(last) = messages.last_mut() {
            last.content.push_str(suffix);
        }
        let prompt = encode(chat, context, row.id, messages)?;
        Ok(Question { prompt, answer: row.answer, task: row.task, choices: row.choices })
    }

    /// Fails where no response could be right: the answer is none of the choices, or has no number.
    pub fn check(&self, extractor: &Extractor) -> Result<()> {
        let found = self.read(extractor, &self.answer);
        let (what, help) = match (extractor, found) {
            (Extractor::Choice, None) if self.choices.is_empty() => {
                ("names no choice", "give the letter of the choice, or its text and all \"choices\"")
            }
            (Extractor::Choice, None) => {
                ("is none of the row's choices", "give the letter of the choice, \"A\" for the first, or its text")
            }
            (Extractor::Number, None) => ("has no number", "choose another extractor for these rows"),
            _ => return Ok(()),
        };
        Err(Error::input(format!("the answer {:?} of the row '{}' {what}", self.answer, self.prompt.id)).help(help))
    }

    /// The answer in a response, in the extractor's normal form.
    pub fn read(&self, extractor: &Extractor, response: &str) -> Option<String> {
        extractor.extract_among(response, &self.choices)
    }

    pub fn is_right(&self, extractor: &Extractor, response: &str) -> bool {
        self.read(extractor, response).is_some_and(|found| found == extractor.known(&self.answer, &self.choices))
    }
}

/// 0 for no values.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Of the mean: the sample standard deviation over √n; 0 for fewer than two values.
pub fn standard_error(values: &[f64]) -> f64 {
    let (n, mean) = (values.len() as f64, mean(values));
    if values.len() < 2 {
        return 0.0;
    }
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt()
}
