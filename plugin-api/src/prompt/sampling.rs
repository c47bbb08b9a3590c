//! How judgments are drawn.

use crate::params::out_of_range;
use crate::types::{Answer, Generated, Message, PluginError, Query};

/// How judgments are drawn; the parameters `k`, `temperature`, `top-p` and `max-new-tokens`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Texts per query.
    pub k: u32,
    /// 0 is greedy.
    pub temperature: f64,
    pub top_p: f64,
    pub max_new_tokens: u32,
}

impl Sampling {
    /// The error names the parameter that is out of range.
    pub fn check(&self) -> Result<(), PluginError> {
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
        Ok(())
    }

    /// Asks for `k` texts.
    pub fn query(&self, slot: &str, messages: Vec<Message>) -> Query {
        Query::Generate {
            slot: slot.into(),
            messages,
            count: self.k,
            max_new_tokens: self.max_new_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
        }
    }
}

/// The `k` texts of an answer, or the reason why the host has none. An answer of another kind is an error.
pub fn texts(answer: &Answer, k: u32) -> Result<Result<&[Generated], &str>, PluginError> {
    match answer {
        Answer::Texts(texts) if texts.len() == k as usize => Ok(Ok(texts)),
        Answer::Texts(texts) => {
            Err(PluginError::new(format!("the host gave {} judgments instead of {k}", texts.len())))
        }
        Answer::Failed(reason) => Ok(Err(reason)),
        _ => Err(PluginError::new("the host did not answer with texts")),
    }
}
