//! Model slots of the judges' own: what a judge may ask besides the run's models, `[slots.NAME]` in the config.
//!
//! | backend | what it is | answers |
//! |---|---|---|
//! | [`own`] | a folder of a family that Creamery computes itself | `TextLogp`, `Choose`, `Generate`; `ResponseLogps` with M0's tokenizer |
//! | [`frozen`] | a folder of another family, or a GGUF file, through candle-transformers | `TextLogp`, `Choose`, `Generate` |
//! | `endpoint` | an OpenAI-compatible address | `Generate`; `Choose` if it gives log-probabilities |
//! | [`program`] | a process that reads and writes JSON lines | `Generate` |
//!
//! Whatever is behind a slot, a query's answer depends on the query alone, not on what is asked with it.

mod choose;
mod contents;
#[cfg(feature = "endpoint")]
mod endpoint;
mod foresee;
pub mod frozen;
mod open;
pub(crate) mod own;
mod program;

use std::collections::BTreeMap;

use creamery_plugin::{Generated, Logp, Message, Slot};
use serde_json::{Value, json};

pub(crate) use foresee::foreseen;
pub(crate) use open::Place;

use crate::error::{Error, Result};
use crate::score::ScoreGroup;

/// Names that the run's own models have; no `[slots.NAME]` may take one.
pub const OWN_NAMES: [&str; 3] = ["judge", "reference", "initial"];

/// Which queries a slot can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    pub response_logps: bool,
    pub text_logps: bool,
    pub choose: bool,
    pub generate: bool,
}

impl Capabilities {
    /// Of the run's own models.
    pub const ALL: Capabilities = Capabilities { response_logps: true, text_logps: true, choose: true, generate: true };

    /// The queries by the contract's names.
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            (self.response_logps, "ResponseLogps"),
            (self.text_logps, "TextLogp"),
            (self.choose, "Choose"),
            (self.generate, "Generate"),
        ];
        all.into_iter().filter(|(can, _)| *can).map(|(_, name)| name).collect()
    }
}

/// The answer to one query, or the reason why there is none; the judge is told.
pub(crate) type Reply<T> = std::result::Result<T, String>;

/// Texts after one conversation.
pub(crate) struct TextAsk<'a> {
    pub messages: &'a [Message],
    pub texts: Vec<&'a str>,
}

/// A conversation to be continued `count` times.
pub(crate) struct GenerateAsk<'a> {
    pub messages: &'a [Message],
    pub count: u32,
    pub max_new_tokens: u32,
    pub temperature: f64,
    pub top_p: f64,
}

/// With the content of a prompt, names the random streams of generation.
#[derive(Clone, Copy)]
pub(crate) struct Draws<'a> {
    pub seed: u64,
    pub round: u32,
    pub slot: &'a str,
    /// Of a run's own model, which may be another for each viewpoint: its name, so that two models do not draw with the
    /// same numbers, which would make them seem to agree, and one model does. Empty for a slot of the judges' own.
    pub model: &'a str,
}

/// What stands behind a slot. A method is called only where [`Capabilities`] say so; it gives one reply for each ask,
/// in order. An error ends the run; a reply's is the judge's to deal with.
pub(crate) trait Backend {
    fn capabilities(&self) -> Capabilities;

    /// Σ log p of each response, in nats, on these very tokens.
    fn response_logps(&mut self, _groups: &[ScoreGroup]) -> Result<Vec<Vec<f64>>> {
        Err(Error::run("this slot gives no log-probabilities of responses"))
    }

    /// Σ log p of each text as the next message.
    fn text_logps(&mut self, _asks: &[TextAsk]) -> Result<Vec<Reply<Vec<Logp>>>> {
        Err(Error::run("this slot gives no log-probabilities"))
    }

    /// The probabilities of the texts as what the next message begins with, normalized over the texts; see [`choose`].
    fn choose(&mut self, _asks: &[TextAsk]) -> Result<Vec<Reply<Vec<f64>>>> {
        Err(Error::run("this slot gives no probabilities of labels"))
    }

    fn generate(&mut self, asks: &[GenerateAsk], draws: &Draws) -> Result<Vec<Reply<Vec<Generated>>>>;

    /// The end of a stage: nothing more is asked in it.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// Nothing will be asked for a while: what is large goes out of memory, and comes back with the next query.
    fn release(&mut self) {}
}

/// The slots of a run, by name.
#[derive(Default)]
pub struct Slots {
    slots: BTreeMap<String, NamedSlot>,
}

struct NamedSlot {
    /// For messages: "the model DIR", "the endpoint http://…".
    what: String,
    /// Names the model, as in [`Slot::model`].
    model: String,
    /// Everything else that decides an answer.
    key: Value,
    backend: Box<dyn Backend>,
}

impl Slots {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.keys().map(String::as_str)
    }

    /// What the slot can answer; `None` if there is no such slot.
    pub fn capabilities(&self, name: &str) -> Option<Capabilities> {
        self.slots.get(name).map(|slot| slot.backend.capabilities())
    }

    /// As judges see them.
    pub fn described(&self) -> Vec<Slot> {
        self.slots.iter().map(|(name, slot)| Slot { name: name.clone(), model: slot.model.clone() }).collect()
    }

    /// What of the slots decides a judge's result, for the key of its stage. Null without slots.
    pub fn key(&self) -> Value {
        if self.slots.is_empty() {
            return Value::Null;
        }
        self.slots.iter().map(|(name, slot)| (name.clone(), json!({"model": slot.model, "by": slot.key}))).collect()
    }

    pub(crate) fn backend(&mut self, name: &str) -> Option<&mut dyn Backend> {
        Some(&mut *self.slots.get_mut(name)?.backend)
    }

    /// The end of a stage.
    ///
    /// # Errors
    /// A program that did not end as it should.
    pub fn finish(&mut self) -> Result<()> {
        self.slots.values_mut().try_for_each(|slot| slot.backend.finish())
    }

    /// Frees the models until they are asked again.
    pub fn release(&mut self) {
        self.slots.values_mut().for_each(|slot| slot.backend.release());
    }

    /// Fails unless the slot `name` can answer the query `query` of the contract.
    pub(crate) fn check(&self, name: &str, query: &str) -> Result<()> {
        let Some(slot) = self.slots.get(name) else { return Ok(()) };
        let can = slot.backend.capabilities().names();
        if can.contains(&query) {
            return Ok(());
        }
        let error = Error::plugin(format!(
            "the judge asks the slot '{name}' for {query}, but {} answers only {}",
            slot.what,
            can.join(", ")
        ));
        Err(match query {
            "ResponseLogps" => error.help("that takes a model with the very tokenizer of the run's model"),
            "Choose" if slot.what.starts_with("the endpoint") => {
                error.help("if the server gives log-probabilities, set logprobs = true in the slot's table")
            }
            _ => error.help("name another slot in the judge's parameters, or another judge"),
        })
    }
}
