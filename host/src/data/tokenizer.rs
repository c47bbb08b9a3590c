//! The tokenizer of a checkpoint folder: `tokenizer.json` with the special tokens of `tokenizer_config.json`.
//!
//! Token ids are the single truth from sampling to the loss: text becomes ids once, for a prompt or a given response;
//! the ids of a sampled response are kept and never made again from its text.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::read_whole;
use super::strict_json;
use crate::error::{Error, Result};

/// Tokenizers of a quarter of a million tokens take some 30 MB.
const MAX_TOKENIZER: u64 = 1 << 30;
/// The largest configurations hold chat templates of some 20 kB.
const MAX_CONFIG: u64 = 64 << 20;

/// Special tokens that a chat template may name, in the order of transformers.
const SPECIAL_NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Text to token ids and back.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    special: Vec<(String, String)>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, where present, `tokenizer_config.json` and `special_tokens_map.json` from `folder`.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let bytes = read_whole(&path, MAX_TOKENIZER)?;
        let broken = |e: tokenizers::Error| {
            Error::input(format!("not a tokenizer that can be used: {e}"))
                .file(&path)
                .help("expected is a tokenizer.json of the Hugging Face tokenizers library; save the tokenizer again")
        };
        let mut inner = parse(&bytes).map_err(broken)?;
        // A stored truncation would cut prompts silently, a stored padding would lengthen them.
        inner.with_truncation(None).map_err(broken)?;
        inner.with_padding(None);

        let config = read_optional_json(&folder.join("tokenizer_config.json"))?;
        let older = read_optional_json(&folder.join("special_tokens_map.json"))?;
        let mut special = Vec::new();
        for name in SPECIAL_NAMES {
            for (file, source) in [("tokenizer_config.json", &config), ("special_tokens_map.json", &older)] {
                let Some(value) = source.as_ref().and_then(|s| s.get(name)) else { continue };
                let text = token_text(value).map_err(|found| {
                    Error::input(format!(
                        "the field '{name}' must be a string or an object with 'content', found {found}"
                    ))
                    .file(folder.join(file))
                })?;
                if let Some(text) = text {
                    special.push((name.to_owned(), text));
                    break;
                }
            }
        }
        special.extend(config.as_ref().map(named_tokens).unwrap_or_default());
        let tokenizer = Tokenizer { inner, path, special };
        for name in ["bos_token", "eos_token"] {
            if let Some(token) = tokenizer.special(name)
                && tokenizer.inner.token_to_id(token).is_none()
            {
                return Err(Error::input(format!("the {name} '{token}' is not in the vocabulary of tokenizer.json"))
                    .file(folder.join("tokenizer_config.json"))
                    .help("the two files belong to different tokenizers; copy both from one checkpoint"));
            }
        }
        Ok(tokenizer)
    }

    /// The ids of `text`, without special tokens added around it. Special tokens written out in the text become their ids.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, false).map_err(|e| self.failed("encode", &e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text that no template made, with the special tokens that the tokenizer puts around it (often a
    /// beginning-of-sequence token).
    pub fn encode_with_special(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, true).map_err(|e| self.failed("encode", &e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids` without special tokens: what judges and extractors read. As in transformers, an id that the
    /// tokenizer does not know (a model's vocabulary may be padded beyond it) has no text.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.decode_as(ids, true)
    }

    /// The text of `ids` with special tokens written out.
    pub fn decode_with_special(&self, ids: &[u32]) -> Result<String> {
        self.decode_as(ids, false)
    }

    fn decode_as(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.inner.decode(ids, skip_special).map_err(|e| self.failed("decode", &e))
    }

    /// The id of a token, exactly as written in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// A special token's text by its name, for example `eos_token`.
    pub fn special(&self, name: &str) -> Option<&str> {
        self.special.iter().find(|(n, _)| n == name).map(|(_, text)| text.as_str())
    }

    /// All special tokens that are set: name and text.
    pub fn special_tokens(&self) -> impl Iterator<Item = (&str, &str)> {
        self.special.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    pub fn bos_id(&self) -> Option<u32> {
        self.special("bos_token").and_then(|t| self.token_id(t))
    }

    pub fn eos_id(&self) -> Option<u32> {
        self.special("eos_token").and_then(|t| self.token_id(t))
    }

    pub fn pad_id(&self) -> Option<u32> {
        self.special("pad_token").and_then(|t| self.token_id(t))
    }

    /// Fails unless every id fits a model with `vocab_size` rows in its embedding.
    pub fn check_vocab(&self, vocab_size: usize) -> Result<()> {
        let largest = self.inner.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
        match largest {
            Some((token, id)) if id as usize >= vocab_size => Err(Error::input(format!(
                "the token '{token}' has id {id}, but the model's vocabulary has {vocab_size} entries"
            ))
            .file(&self.path)
            .help("the tokenizer and the model belong to different checkpoints")),
            _ => Ok(()),
        }
    }

    /// The ids that end a response, as transformers finds them: `eos_token_id` of `generation_config.json`, else of
    /// `config.json`, else the tokenizer's `eos_token`. Empty where nothing is named.
    pub fn stop_ids(&self, folder: &Path) -> Result<Vec<u32>> {
        for name in ["generation_config.json", "config.json"] {
            let path = folder.join(name);
            let Some(config) = read_optional_json(&path)? else { continue };
            let value = match config.get("eos_token_id") {
                None | Some(Value::Null) => continue,
                Some(value) => value,
            };
            let one = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
            let ids = match value {
                Value::Array(list) => list.iter().map(one).collect(),
                single => one(single).map(|id| vec![id]),
            };
            return ids.filter(|ids: &Vec<u32>| !ids.is_empty()).ok_or_else(|| {
                Error::input(format!("the field 'eos_token_id' must be a token id or a list of them, found {value}"))
                    .file(&path)
            });
        }
        Ok(self.eos_id().into_iter().collect())
    }

    fn failed(&self, doing: &str, e: &tokenizers::Error) -> Error {
        Error::input(format!("the tokenizer cannot {doing} this text: {e}")).file(&self.path)
    }
}

/// Reads a tokenizer.json. The library panics on some broken ones; that becomes an error like any other.
fn parse(bytes: &[u8]) -> tokenizers::Result<tokenizers::Tokenizer> {
    // Most of its panics come from text that is no JSON.
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes)?;
    std::panic::catch_unwind(|| tokenizers::Tokenizer::from_bytes(bytes))
        .unwrap_or_else(|_| Err("its parts do not fit together".into()))
}

/// A JSON object from a file; `None` when there is no such file.
pub(crate) fn read_optional_json(path: &Path) -> Result<Option<Value>> {
    if !path.exists() {
        return Ok(None);
    }
    let value = strict_json::read_file(path, MAX_CONFIG)?;
    if !value.is_object() {
        return Err(Error::input("a JSON object was expected").file(path));
    }
    Ok(Some(value))
}

/// Tokens with names of the model's own, which templates may use too: fields like `image_token`, and the named ones of
/// `extra_special_tokens`.
fn named_tokens(config: &Value) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let fields = config.as_object().into_iter().flatten();
    let own = fields.filter(|(name, value)| name.ends_with("_token") && value.is_string());
    let groups = ["model_specific_special_tokens", "extra_special_tokens"];
    let extra = groups.iter().filter_map(|group| config.get(group)?.as_object()).flatten();
    for (name, value) in own.chain(extra) {
        let Ok(Some(text)) = token_text(value) else { continue };
        if !SPECIAL_NAMES.contains(&name.as_str()) {
            found.retain(|(other, _)| other != name);
            found.push((name.clone(), text));
        }
    }
    found
}

/// A special token's text: a string, or an object with `content`; null means not set. The error is what was found.
fn token_text(value: &Value) -> std::result::Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Object(fields) => match fields.get("content") {
            Some(Value::String(text)) => Ok(Some(text.clone())),
            _ => Err(value.to_string()),
        },
        other => Err(other.to_string()),
    }
}
