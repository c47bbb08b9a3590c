//! How a model wants to be sampled: its `generation_config.json`, read as transformers reads it.

use std::path::Path;

use serde_json::{Map, Value};

use super::SamplingConfig;
use crate::data::tokenizer::read_optional_json;
use crate::error::{Error, Result};

/// transformers' own, where the file names none and tokens are drawn.
const TOP_K: usize = 50;
/// Ours: transformers would stop after 20.
const MAX_NEW_TOKENS: usize = 256;

/// Fields that change what is generated and that we do not have, with the value that asks for nothing.
const OTHERS: [(&str, f64); 12] = [
    ("num_beams", 1.0),
    ("num_beam_groups", 1.0),
    ("typical_p", 1.0),
    ("epsilon_cutoff", 0.0),
    ("eta_cutoff", 0.0),
    ("top_h", 0.0),
    ("no_repeat_ngram_size", 0.0),
    ("encoder_repetition_penalty", 1.0),
    ("min_length", 0.0),
    ("min_new_tokens", 0.0),
    ("penalty_alpha", 0.0),
    ("guidance_scale", 1.0),
];

/// The same for fields that ask for nothing where they are not given.
const OTHER_LISTS: [&str; 7] = [
    "bad_words_ids",
    "force_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_eos_token_id",
    "sequence_bias",
    "stop_strings",
];

/// A model's way of sampling.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// With transformers' values for what the file leaves open: greedy, or temperature 1 and top-k 50. The number of
    /// new tokens is 256 where the file has no `max_new_tokens`.
    pub sampling: SamplingConfig,
    /// Whether there is such a file.
    pub found: bool,
    /// Settings of the file that are not supported, in words: `num_beams = 4`.
    pub unsupported: Vec<String>,
}

impl Defaults {
    /// Reads `generation_config.json` of a checkpoint folder, where there is one.
    ///
    /// Fails on a value of the wrong kind or outside its range, named.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("generation_config.json");
        let at = |e: Error| e.file(&path);
        let Some(Value::Object(fields)) = read_optional_json(&path)? else {
            let sampling = read(&Map::new())?;
            return Ok(Defaults { sampling, found: false, unsupported: Vec::new() });
        };
        let sampling = read(&fields).map_err(at)?;
        let off = |name: &str, nothing: f64| fields.get(name).and_then(Value::as_f64).is_none_or(|x| x == nothing);
        let numbers = OTHERS.iter().filter(|(name, nothing)| !off(name, *nothing)).map(|(name, _)| *name);
        let lists = OTHER_LISTS.iter().copied().filter(|name| fields.get(*name).is_some_and(|v| !v.is_null()));
        let unsupported = numbers.chain(lists).map(|name| format!("{name} = {}", fields[name])).collect();
        Ok(Defaults { sampling, found: true, unsupported })
    }
}

fn read(fields: &Map<String, Value>) -> Result<SamplingConfig> {
    let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let wrong = |name: &str, expected: &str, found: &Value| {
        Error::input(format!("the field '{name}' must be {expected}, found {found}"))
    };
    let number = |name: &str, default: f32| match given(name) {
        None => Ok(default),
        Some(value) => value.as_f64().map(|x| x as f32).ok_or_else(|| wrong(name, "a number", value)),
    };
    let count = |name: &str, default: usize| match given(name) {
        None => Ok(default),
        Some(value) => {
            let n = value.as_u64().and_then(|n| usize::try_from(n).ok());
            n.ok_or_else(|| wrong(name, "a whole number of 0 or more", value))
        }
    };
    let drawn = match given("do_sample") {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| wrong("do_sample", "true or false", value))?,
    };
    let sampling = SamplingConfig {
        temperature: number("temperature", 1.0)?,
        top_p: number("top_p", 1.0)?,
        top_k: count("top_k", TOP_K)?,
        min_p: number("min_p", 0.0)?,
        repetition_penalty: number("repetition_penalty", 1.0)?,
        max_new_tokens: count("max_new_tokens", MAX_NEW_TOKENS)?,
        greedy: !drawn,
    };
    sampling.validate().map_err(|e| Error::input(e.message()))?;
    Ok(sampling)
}
