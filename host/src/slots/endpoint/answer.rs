//! What a server's answer says.

use creamery_plugin::{Finish, Generated};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::Reply;
use crate::data::strict_json;

/// What is kept of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    text: String,
    finish: Finish,
    /// The likeliest first tokens with their log-probabilities, where they were asked for and given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<Vec<(String, f64)>>,
}

/// Why the body of an answer with a good status is none.
pub(super) enum NoAnswer {
    /// What the server says about it, as it came.
    Failed(String),
    /// What is wrong with it.
    Wrong(String),
}

/// Reads the body of an answer with a good status. `clean` takes secrets out of what is shown of it.
pub(super) fn parse(body: &str, clean: impl Fn(&str) -> String) -> Result<Kept, NoAnswer> {
    let shown = || clean(body).chars().filter(|c| !c.is_control()).take(80).collect::<String>();
    let wrong = |what: &str| NoAnswer::Wrong(format!("gives an answer {what} ({:?})", shown()));
    let value = strict_json::parse(body).map_err(|_| wrong("that is no JSON"))?;
    if let Some(error) = value.get("error").filter(|e| !e.is_null()) {
        let message = error.get("message").unwrap_or(error);
        let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
        return Err(NoAnswer::Failed(message));
    }
    let choice = value.get("choices").and_then(|choices| choices.get(0)).ok_or_else(|| wrong("without choices"))?;
    let message = choice.get("message").filter(|m| m.is_object()).ok_or_else(|| wrong("without a message"))?;
    let text = match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(_) => return Err(wrong("whose content is no text")),
    };
    let finish = match choice.get("finish_reason") {
        Some(Value::String(reason)) if reason == "length" => Finish::Length,
        None | Some(Value::Null | Value::String(_)) => Finish::Stop,
        Some(_) => return Err(wrong("whose finish_reason is no text")),
    };
    let tokens = choice.pointer("/logprobs/content/0/top_logprobs").filter(|v| !v.is_null());
    let first = match tokens {
        None => None,
        Some(Value::Array(tokens)) => {
            let token = |t: &Value| Some((t.get("token")?.as_str()?.to_owned(), t.get("logprob")?.as_f64()?));
            let tokens: Option<Vec<_>> = tokens.iter().map(token).collect();
            Some(tokens.ok_or_else(|| wrong("whose top_logprobs are not tokens with numbers"))?)
        }
        Some(_) => return Err(wrong("whose top_logprobs are no list")),
    };
    Ok(Kept { text, finish, first })
}

/// Foreign text for a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

impl Kept {
    /// With all of its texts changed.
    pub(super) fn map(self, change: impl Fn(&str) -> String) -> Kept {
        let first = self.first.map(|tokens| tokens.into_iter().map(|(token, logp)| (change(&token), logp)).collect());
        Kept { text: change(&self.text), finish: self.finish, first }
    }

    /// Nothing was answered.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.first.as_ref().is_none_or(Vec::is_empty)
    }

    pub(super) fn text(self) -> Reply<Generated> {
        match self.text.is_empty() {
            true => Err("the server's answer is empty".to_owned()),
            false => Ok(Generated { text: self.text, finish: self.finish }),
        }
    }

    /// The probabilities of the labels as the first token, normalized over them. `None` without log-probabilities.
    pub(super) fn distribution(&self, labels: &[&str]) -> Option<Reply<Vec<f64>>> {
        let first = self.first.as_ref()?;
        let weight = |label: &str| -> f64 {
            // Some tokenizers put the blank before a word into its token.
            let is = |token: &str| token == label || (!labels.contains(&token) && token.trim_start() == label);
            first.iter().filter(|(token, _)| is(token)).map(|(_, logp)| logp.exp()).sum()
        };
        let weights: Vec<f64> = labels.iter().map(|label| weight(label)).collect();
        if let Some(at) = weights.iter().position(|w| !(*w > 0.0 && w.is_finite())) {
            let label = plain(labels[at]);
            let count = first.len();
            return Some(Err(format!(
                "the label '{label}' is not among the server's {count} likeliest first tokens (a label must be one token \
                 there)"
            )));
        }
        let total: f64 = weights.iter().sum();
        Some(Ok(weights.into_iter().map(|w| w / total).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(first: &[(&str, f64)]) -> Kept {
        let first = first.iter().map(|(token, p)| ((*token).to_owned(), f64::ln(*p))).collect();
        Kept { text: "A".into(), finish: Finish::Stop, first: Some(first) }
    }

    #[test]
    fn labels_are_weighed_by_their_tokens_with_and_without_a_blank() {
        let kept = kept(&[("A", 0.2), (" A", 0.1), ("B", 0.3), ("Because", 0.4)]);
        let found = kept.distribution(&["A", "B"]).unwrap().unwrap();
        assert!(found.iter().all(|p| (p - 0.5).abs() < 1e-12), "{found:?}");
        // Both are labels: each has its own token alone.
        let found = kept.distribution(&["A", " A"]).unwrap().unwrap();
        assert!((found[0] - 2.0 / 3.0).abs() < 1e-12, "{found:?}");
        let reason = kept.distribution(&["A", "C"]).unwrap().unwrap_err();
        assert!(reason.contains("'C'") && reason.contains("4 likeliest"), "{reason}");
        assert_eq!(Kept { first: None, ..kept }.distribution(&["A"]), None);
    }
}
