//! The rows that `creamery train` reads: TRL's, in any of their forms, with what Creamery adds to them.
//!
//! | | conversation | plain text | token ids |
//! |---|---|---|---|
//! | supervised | `prompt`: messages; `completion`: a message or text | both strings | `prompt_ids`, `completion_ids` |
//! | preference | `prompt`: messages; `chosen`, `rejected`: a message or text | all strings | `prompt_ids`, `chosen_ids`, `rejected_ids` |
//! | preference without `prompt` | `chosen`, `rejected`: whole conversations; their common start is the prompt | – | – |
//!
//! Where a row has token ids, they count: a sampled response is never tokenized again. Text beside them must be theirs.
//! Preference rows may have a `consistency` from 0 to 1, a `weight` of at least 0, and `columns`: an object of numbers
//! for objectives that need them.

use std::collections::BTreeMap;
use std::path::Path;

use creamery_plugin::contract::MAX_WEIGHT;
use serde_json::Value;

use super::{Message, Row, RowResult, kind, messages, read_opened};
use crate::data::Lines;
use crate::error::Result;

/// All rows of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingRows<T> {
    pub lines: Vec<TrainingLine<T>>,
    /// BLAKE3 of the bytes that were read, in hex.
    pub digest: String,
}

/// A row and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingLine<T> {
    pub id: String,
    pub line: usize,
    pub row: T,
}

/// A prompt with N responses: the completion, or chosen and rejected.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainingText<const N: usize> {
    /// With the responses' texts, where the row has them too.
    Ids {
        prompt: Vec<u32>,
        responses: [Vec<u32>; N],
        texts: [Option<String>; N],
    },
    Chat {
        prompt: Vec<Message>,
        responses: [String; N],
    },
    Text {
        prompt: String,
        responses: [String; N],
    },
}

/// A preference row.
#[derive(Clone, Debug, PartialEq)]
pub struct PairRow {
    pub text: TrainingText<2>,
    pub consistency: Option<f64>,
    pub weight: Option<f64>,
    pub columns: BTreeMap<String, f64>,
}

/// All rows of a file for supervised fine-tuning.
pub fn read_sft_training(path: &Path) -> Result<TrainingRows<TrainingText<1>>> {
    read(path, |row| row.training(["completion"], ["completion_ids"]))
}

/// All rows of a preference file.
pub fn read_pair_training(path: &Path) -> Result<TrainingRows<PairRow>> {
    read(path, |row| {
        let text = match row.has("prompt") || row.has("prompt_ids") {
            true => row.training(["chosen", "rejected"], ["chosen_ids", "rejected_ids"])?,
            false => row.common_prompt()?,
        };
        let consistency = row.number("consistency", 0.0, 1.0)?;
        let weight = row.number("weight", 0.0, MAX_WEIGHT)?;
        Ok(PairRow { text, consistency, weight, columns: row.columns()? })
    })
}

/// The file is read once, also for the digest: it may be a pipe.
fn read<T>(path: &Path, make: impl Fn(&Row) -> RowResult<T>) -> Result<TrainingRows<T>> {
    let mut file = Lines::open(path)?;
    let one = |id, line, row: &Row| Ok(TrainingLine { id, line, row: make(row)? });
    let lines = read_opened(&mut file, path, 0, one)?;
    Ok(TrainingRows { lines, digest: file.digest() })
}

impl Row {
    fn training<const N: usize>(&self, names: [&str; N], id_names: [&str; N]) -> RowResult<TrainingText<N>> {
        let all_ids = || std::iter::once("prompt_ids").chain(id_names);
        if all_ids().any(|name| self.has(name)) {
            if let Some(missing) = all_ids().find(|name| !self.has(name)) {
                let names: Vec<&str> = all_ids().collect();
                return Err(format!(
                    "the field '{missing}' is missing; token ids must be given all: {}",
                    names.join(", ")
                ));
            }
            let prompt = self.some_ids("prompt_ids")?;
            let responses = each(id_names, |name| self.some_ids(name))?;
            let texts = each(names, |name| self.has(name).then(|| self.response(name)).transpose())?;
            return Ok(TrainingText::Ids { prompt, responses, texts });
        }
        let responses = each(names, |name| self.response(name))?;
        let is_text = |name: &str| self.0.get(name).is_some_and(Value::is_string);
        match (is_text("prompt"), names.iter().find(|name| !is_text(name))) {
            (false, _) => Ok(TrainingText::Chat { prompt: self.prompt()?, responses }),
            (true, Some(name)) => {
                Err(format!("'prompt' is a string and '{name}' a list of messages; give both in one form"))
            }
            (true, None) => {
                let prompt = self.text("prompt")?;
                if prompt.is_empty() {
                    Err("the prompt is empty".into())
                } else {
                    Ok(TrainingText::Text { prompt, responses })
                }
            }
        }
    }

    /// TRL's preference rows without a prompt: two conversations that begin with the same messages.
    fn common_prompt(&self) -> RowResult<TrainingText<2>> {
        let conversation = |name: &str| match self.get(name)? {
            value @ Value::Array(_) => messages(name, value),
            other => Err(format!(
                "the row has no 'prompt', so '{name}' must be a whole conversation, a list of messages, found {}",
                kind(other)
            )),
        };
        let (chosen, rejected) = (conversation("chosen")?, conversation("rejected")?);
        let common = chosen.iter().zip(&rejected).take_while(|(a, b)| a == b).count();
        let answer = |name: &str, messages: &[Message]| match messages {
            [one] if one.role == "assistant" && !one.content.is_empty() => Ok(one.content.clone()),
            [one] if one.role == "assistant" => Err(format!("the last message of '{name}' is empty")),
            rest => Err(format!(
                "'{name}' has {} messages after those that it shares with the other, expected one of the assistant",
                rest.len()
            )),
        };
        let responses = [answer("chosen", &chosen[common..])?, answer("rejected", &rejected[common..])?];
        if common == 0 {
            return Err("'chosen' and 'rejected' share no message, so there is no prompt".into());
        }
        Ok(TrainingText::Chat { prompt: chosen[..common].to_vec(), responses })
    }

    fn some_ids(&self, name: &str) -> RowResult<Vec<u32>> {
        let ids = self.token_ids(name)?;
        if ids.is_empty() { Err(format!("the field '{name}' is an empty list")) } else { Ok(ids) }
    }

    fn columns(&self) -> RowResult<BTreeMap<String, f64>> {
        let fields = match self.0.get("columns") {
            None | Some(Value::Null) => return Ok(BTreeMap::new()),
            Some(Value::Object(fields)) => fields,
            Some(other) => {
                return Err(format!("the field 'columns' must be an object of numbers by name, found {}", kind(other)));
            }
        };
        let one = |(name, value): (&String, &Value)| match value.as_f64().filter(|x| x.is_finite()) {
            Some(x) => Ok((name.clone(), x)),
            None => Err(format!("'{name}' of the field 'columns' is {value}, expected a number")),
        };
        fields.iter().map(one).collect()
    }

    fn number(&self, name: &str, low: f64, high: f64) -> RowResult<Option<f64>> {
        if !self.has(name) {
            return Ok(None);
        }
        let value = self.get(name)?;
        let expected = match high {
            f64::MAX => format!("a number of at least {low}"),
            _ => format!("a number from {low} to {high}"),
        };
        match value.as_f64().filter(|x| (low..=high).contains(x)) {
            Some(x) => Ok(Some(x)),
            None => Err(format!("the field '{name}' is {value}, expected {expected}")),
        }
    }
}

fn each<T, const N: usize>(names: [&str; N], get: impl Fn(&str) -> RowResult<T>) -> RowResult<[T; N]> {
    let values = names.iter().map(|name| get(name)).collect::<RowResult<Vec<T>>>()?;
    Ok(values.try_into().unwrap_or_else(|_| unreachable!("one value for each name")))
}
