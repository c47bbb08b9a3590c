//! The parameters: those of the judge, and with "meta-" those of the meta-judge.

use creamery_plugin::PluginError;
use creamery_plugin::params::out_of_range;
use creamery_plugin::prompt::{Ask, Comparer, Occurrence, Prompt, Rater, Sampling, ScoreRule};
use serde::Deserialize;

use super::{DEFAULT_META_PROMPT, DEFAULT_PROMPT, MetaJudge};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Params {
    pub k: u32,
    pub temperature: f64,
    pub top_p: f64,
    pub max_new_tokens: u32,
    pub prompt: String,
    pub system: String,
    pub slot: String,
    pub marker: String,
    pub parse: Occurrence,
    pub min_score: f64,
    pub max_score: f64,
    pub min_parsed: u32,
    pub per_group: u32,
    pub position_weight: bool,
    pub max_length_ratio: f64,
    pub meta_prompt: String,
    pub meta_system: String,
    pub meta_slot: String,
    pub meta_ask: How,
    pub meta_labels: Vec<String>,
    pub meta_verdicts: Vec<String>,
    pub meta_max_new_tokens: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    Choose,
    Generate,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            k: 3,
            temperature: 0.7,
            top_p: 0.9,
            max_new_tokens: 256,
            prompt: DEFAULT_PROMPT.into(),
            system: String::new(),
            slot: "judge".into(),
            marker: "Score:".into(),
            parse: Occurrence::Last,
            min_score: 0.0,
            max_score: 5.0,
            min_parsed: 1,
            per_group: 1,
            position_weight: true,
            max_length_ratio: 2.0,
            meta_prompt: DEFAULT_META_PROMPT.into(),
            meta_system: String::new(),
            meta_slot: "judge".into(),
            meta_ask: How::Choose,
            meta_labels: ["A", "B"].map(String::from).into(),
            meta_verdicts: ["[[A]]", "[[B]]", "[[C]]"].map(String::from).into(),
            meta_max_new_tokens: 256,
        }
    }
}

impl Params {
    /// Fails on a parameter out of range, and on one that would do nothing as the others are.
    pub fn judge(self) -> Result<MetaJudge, PluginError> {
        self.unused()?;
        let Params { k, temperature, top_p, max_new_tokens, .. } = self;
        let sampling = Sampling { k, temperature, top_p, max_new_tokens };
        let rule = ScoreRule { marker: self.marker, occurrence: self.parse, min: self.min_score, max: self.max_score };
        let prompt = Prompt::new(&self.prompt, &self.system, Rater::sample(&rule), &["response"])?;
        let rater = Rater { prompt, slot: self.slot, sampling, rule, min_parsed: self.min_parsed };
        rater.check()?;
        if k < 2 {
            return Err(out_of_range("k", k, "at least 2, as judgments of a response are compared"));
        }
        if self.per_group == 0 {
            return Err(out_of_range("per-group", self.per_group, "at least 1"));
        }
        let ratio = self.max_length_ratio;
        if ratio != 0.0 && !(ratio >= 1.0 && ratio.is_finite()) {
            return Err(out_of_range("max-length-ratio", ratio, "at least 1, or 0 for no limit"));
        }
        let (ask, parameter) = match self.meta_ask {
            How::Choose => (Ask::Choose { labels: self.meta_labels }, "meta-labels"),
            How::Generate => {
                let max_new_tokens = self.meta_max_new_tokens;
                if max_new_tokens == 0 {
                    return Err(out_of_range("meta-max-new-tokens", 0, "at least 1"));
                }
                let sampling = Sampling { k: 1, temperature: 0.0, top_p: 1.0, max_new_tokens };
                (Ask::Generate { verdicts: self.meta_verdicts, sampling }, "meta-verdicts")
            }
        };
        ask.check(parameter)?;
        let own = ask.sample().and(&Rater::sample(&rater.rule)).text("judging_prompt", "a judging prompt");
        let (prompt, system) = (("meta-prompt", &*self.meta_prompt), ("meta-system", &*self.meta_system));
        let prompt = Prompt::named(prompt, system, own, &["a", "b"])?;
        Ok(MetaJudge {
            rater,
            comparer: Comparer { prompt, slot: self.meta_slot, ask },
            per_group: self.per_group as usize,
            position_weight: self.position_weight,
            max_length_ratio: ratio,
        })
    }

    fn unused(&self) -> Result<(), PluginError> {
        let default = Params::default();
        let (other, unused) = match self.meta_ask {
            How::Choose if self.meta_verdicts != default.meta_verdicts => ("generate", "meta-verdicts"),
            How::Choose if self.meta_max_new_tokens != default.meta_max_new_tokens => {
                ("generate", "meta-max-new-tokens")
            }
            How::Generate if self.meta_labels != default.meta_labels => ("choose", "meta-labels"),
            _ => return Ok(()),
        };
        Err(PluginError::new(format!(
            "parameter '{unused}' only has a meaning with meta-ask = \"{other}\": set that, or leave '{unused}' out"
        )))
    }
}
