//! From the config's tables to slots that can answer: everything that can fail early fails here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use serde_json::{Value, json};

use super::contents;
use super::frozen::{FrozenModel, Source, config_file, is_own_family};
use super::own::OwnModel;
use super::program::Program;
use super::{Backend, NamedSlot, Slots};
use crate::config::{GgufSlot, ModelSlot, SlotConfig};
use crate::data::files::open_ordinary;
use crate::data::{ChatFormat, ChatOptions};
use crate::error::{Error, Result};
use crate::model::{Decoder, is_adapter};
use crate::round::models::{ModelRef, Models};
use crate::round::setup::chat_digest;

/// What slots are opened with.
pub(crate) struct Place<'a> {
    pub device: &'a Device,
    /// M0: whose token ids the samples are.
    pub initial: &'a ModelRef,
    pub initial_model: &'a Decoder,
    /// The root of the store, where answers of servers are kept.
    #[cfg_attr(not(feature = "endpoint"), allow(dead_code))]
    pub store: &'a Path,
    #[cfg_attr(not(feature = "endpoint"), allow(dead_code))]
    pub warn: std::sync::Arc<dyn Fn(&str) + Send + Sync>,
}

impl Slots {
    /// Opens every slot. `folders` are the folders of those that are models, fetched if need be.
    ///
    /// # Errors
    /// The first slot that cannot be used, with its name.
    pub(crate) fn open(
        configs: &BTreeMap<String, SlotConfig>,
        folders: &BTreeMap<String, PathBuf>,
        place: &Place,
    ) -> Result<Slots> {
        // Programs do not get the keys of servers.
        let secrets: Vec<String> = configs
            .values()
            .filter_map(|config| match config {
                SlotConfig::Endpoint(slot) => slot.api_key_env.clone(),
                _ => None,
            })
            .collect();
        let mut slots = BTreeMap::new();
        for (name, config) in configs {
            let slot = open(config, folders.get(name), &secrets, place);
            let slot = slot.map_err(|e| e.context(format!("opening [slots.{name}]")));
            slots.insert(name.clone(), slot?);
        }
        Ok(Slots { slots })
    }
}

fn open(config: &SlotConfig, folder: Option<&PathBuf>, secrets: &[String], place: &Place) -> Result<NamedSlot> {
    match config {
        SlotConfig::Model(slot) => model(slot, folder.unwrap_or(&slot.model), place),
        SlotConfig::Gguf(slot) => gguf(slot),
        SlotConfig::Program(slot) => {
            let program = Program::new(slot, secrets);
            let (what, model) = (format!("the program {}", program.name()), contents::digest(slot)?);
            Ok(NamedSlot { what, model, key: Value::Null, backend: Box::new(program) })
        }
        #[cfg(feature = "endpoint")]
        SlotConfig::Endpoint(slot) => {
            let what = format!("the endpoint {}", slot.endpoint);
            let digest = blake3::hash(serde_json::json!([slot.endpoint, slot.served_model]).to_string().as_bytes());
            let key = serde_json::json!({"logprobs": slot.logprobs, "seed": slot.seed});
            let endpoint = super::endpoint::Endpoint::open(slot, place.store, place.warn.clone())?;
            Ok(NamedSlot { what, model: digest.to_hex().to_string(), key, backend: Box::new(endpoint) })
        }
        #[cfg(not(feature = "endpoint"))]
        SlotConfig::Endpoint(_) => Err(Error::config("this build cannot reach a server")
            .help("build with: cargo build --release --bin creamery --features endpoint")),
    }
}

fn model(slot: &ModelSlot, folder: &Path, place: &Place) -> Result<NamedSlot> {
    let what = format!("the model {}", slot.model.display());
    if !is_adapter(folder) && !is_own_family(&config_file(folder)?) {
        let model = ModelRef::of_folder(folder)?.id;
        let (backend, key) = frozen(Source::Folder(folder.to_owned()), folder, &slot.chat)?;
        return Ok(NamedSlot { what, model, key, backend });
    }
    let reference = ModelRef::of_folder_or_on(folder, place.initial)?;
    let model = Models::new(place.device.clone()).get(&reference)?;
    let root = &reference.root().path;
    let chat = ChatFormat::load_with(root, &slot.chat)?;
    chat.tokenizer().check_vocab(model.config.vocab_size)?;
    let eos = chat.tokenizer().stop_ids(root)?;
    if eos.is_empty() {
        return Err(no_eos(root));
    }
    let tokenizer = |folder: &Path| std::fs::read(folder.join("tokenizer.json")).ok();
    let ours = place.initial_model;
    let same_tokens = tokenizer(root).is_some_and(|theirs| Some(theirs) == tokenizer(&place.initial.root().path))
        && model.config.vocab_size == ours.config.vocab_size
        && model.max_positions() >= ours.max_positions();
    let key = chat_digest(root, &slot.chat)?.into();
    let id = reference.id.clone();
    let backend = Box::new(OwnModel::new(reference, model, chat, eos, same_tokens));
    Ok(NamedSlot { what, model: id, key, backend })
}

fn gguf(slot: &GgufSlot) -> Result<NamedSlot> {
    let what = format!("the model {}", slot.gguf.display());
    let (bytes, _) = open_ordinary(&slot.gguf)?;
    let mut hasher = blake3::Hasher::new_derive_key("creamery 1.0 gguf");
    hasher.update_reader(bytes).map_err(|e| Error::io("read", &slot.gguf, &e))?;
    let (backend, key) = frozen(Source::Gguf(slot.gguf.clone()), &slot.tokenizer, &slot.chat)?;
    Ok(NamedSlot { what, model: hasher.finalize().to_hex().to_string(), key, backend })
}

/// A frozen model with the tokenizer, template and end tokens of a folder, and what of these decides its answers.
fn frozen(source: Source, folder: &Path, options: &ChatOptions) -> Result<(Box<dyn Backend>, Value)> {
    let chat = ChatFormat::load_with(folder, options)?;
    let eos = chat.tokenizer().stop_ids(folder)?;
    let key = json!({"chat": chat_digest(folder, options)?, "eos": &eos});
    let Some(model) = FrozenModel::new(source, chat, eos)? else { return Err(no_eos(folder)) };
    let backend: Box<dyn Backend> = Box::new(model);
    Ok((backend, key))
}

fn no_eos(folder: &Path) -> Error {
    Error::input("no end-of-sequence token is named in generation_config.json, config.json or the tokenizer")
        .file(folder)
        .help("without one no answer would ever end; add eos_token_id to generation_config.json")
}
