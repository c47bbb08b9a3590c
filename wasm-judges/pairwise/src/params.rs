//! The parameters.

use creamery_plugin::PluginError;
use creamery_plugin::compare::Aggregate;
use creamery_plugin::prompt::{Ask, Comparer, Prompt, Sampling};
use serde::Deserialize;

use super::DEFAULT_PROMPT;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Params {
    pub prompt: String,
    pub system: String,
    pub slot: String,
    pub ask: How,
    pub labels: Vec<String>,
    pub verdicts: Vec<String>,
    pub k: u32,
    pub temperature: f64,
    pub top_p: f64,
    pub max_new_tokens: u32,
    pub orders: Orders,
    pub disagreement: Disagreement,
    pub aggregate: Aggregate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    Choose,
    Generate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orders {
    Both,
    One,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disagreement {
    Tie,
    Mean,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            prompt: DEFAULT_PROMPT.into(),
            system: String::new(),
            slot: "judge".into(),
            ask: How::Choose,
            labels: ["A", "B"].map(String::from).into(),
            verdicts: ["[[A]]", "[[B]]", "[[C]]"].map(String::from).into(),
            k: 1,
            temperature: 0.0,
            top_p: 1.0,
            max_new_tokens: 256,
            orders: Orders::Both,
            disagreement: Disagreement::Tie,
            aggregate: Aggregate::Copeland,
        }
    }
}

impl Params {
    /// The comparer. Fails on a parameter out of range, and on one that would do nothing as `ask` is.
    pub fn comparer(&self) -> Result<Comparer, PluginError> {
        let default = Params::default();
        let unused = match self.ask {
            How::Choose => [
                ("verdicts", self.verdicts != default.verdicts),
                ("k", self.k != default.k),
                ("temperature", self.temperature != default.temperature),
                ("top-p", self.top_p != default.top_p),
                ("max-new-tokens", self.max_new_tokens != default.max_new_tokens),
            ]
            .into_iter()
            .find(|(_, given)| *given),
            How::Generate => Some(("labels", self.labels != default.labels)).filter(|(_, given)| *given),
        };
        if let Some((name, _)) = unused {
            let other = if self.ask == How::Choose { "generate" } else { "choose" };
            return Err(PluginError::new(format!(
                "parameter '{name}' only has a meaning with ask = \"{other}\": set that, or leave '{name}' out"
            )));
        }
        if self.orders == Orders::One && self.disagreement != default.disagreement {
            return Err(PluginError::new(
                "parameter 'disagreement' only has a meaning with orders = \"both\": set that, or leave 'disagreement' out",
            ));
        }
        let (ask, parameter) = match self.ask {
            How::Choose => (Ask::Choose { labels: self.labels.clone() }, "labels"),
            How::Generate => {
                let Params { k, temperature, top_p, max_new_tokens, .. } = *self;
                let sampling = Sampling { k, temperature, top_p, max_new_tokens };
                (Ask::Generate { verdicts: self.verdicts.clone(), sampling }, "verdicts")
            }
        };
        ask.check(parameter)?;
        let prompt = Prompt::new(&self.prompt, &self.system, ask.sample(), &["a", "b"])?;
        Ok(Comparer { prompt, slot: self.slot.clone(), ask })
    }
}
