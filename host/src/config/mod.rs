//! The configuration of a run: a TOML file, `--set` arguments, and the resolved [`RunConfig`].
//!
//! Keys are in kebab-case; the field `max_new_tokens` below is `max-new-tokens` in the file. Relative paths
//! start at the folder of the config file, also those of `--set`. Every error names the file and line, or the
//! `--set` argument, the key, what was found and what was expected.
//!
//! Every part serializes, so that a stage can hash just the part that it depends on.

mod about;
mod params;
mod resolve;
mod section;
mod slots;
mod source;
mod sources;
mod sweep;
mod training;
mod trust;
mod values;
mod viewpoints;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use about::AboutConfig;
pub use params::Params;
pub(crate) use params::file_of;
pub use slots::{EndpointSlot, GgufSlot, ModelSlot, ProgramSlot, SlotConfig, SlotsFile};
pub use sources::SourceConfig;
pub use sweep::{ArmConfig, MAX_ARMS, Metric, SweepConfig, SweepRun};
pub use training::{DpoSettings, Given, Loss, Method, TrainingSettings};
pub use trust::TrustConfig;
pub use values::{
    ArtifactKind, Device, Extractor, Isolation, OnFailure, PluginSource, Schedule, ScoringReference, TargetModules,
    TrainReference,
};
pub use viewpoints::{CURRENT, EmaConfig, ModelName, ViewpointConfig};

use crate::data::ChatOptions;
use crate::error::{Error, Result};
use crate::plugins;

/// Everything that decides a run, checked.
///
/// The smallest file:
/// ```toml
/// [model]
/// path = "model"
/// [data]
/// prompts = "prompts.jsonl"
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunConfig {
    /// The config file itself. Not part of the resolved form.
    #[serde(skip)]
    pub file: PathBuf,
    /// The run's name. Default: the file's name without its ending.
    pub name: String,
    /// Every random stream of the run derives from it. Default 0.
    pub seed: u64,
    /// Default `auto`: the first CUDA device if this build can use one, else the CPU.
    pub device: Device,
    /// Worker threads; 0 means all cores. The results do not depend on it. Default 0.
    pub threads: usize,
    /// The run folder: tables, `metrics.jsonl`, `config.resolved.toml`, final checkpoints.
    /// Default: `.creamery/runs/NAME` in the current directory.
    pub out: PathBuf,
    /// The artifact store, which runs share. Default: `.creamery/store` in the current directory.
    pub store: PathBuf,
    /// Allows plugins that are native libraries: they run with all rights of the user. Default false.
    pub allow_native: bool,
    /// `[trust]`: whose plugins are loaded. Default: anybody's.
    #[serde(skip_serializing_if = "TrustConfig::is_default")]
    pub trust: TrustConfig,
    /// Every plugin must be what `creamery.lock` beside the file says. Of the command line, so not of the resolved form.
    #[serde(skip)]
    pub locked: bool,
    /// Says what the config is for; decides nothing.
    #[serde(skip_serializing_if = "AboutConfig::is_empty")]
    pub about: AboutConfig,
    pub model: ModelConfig,
    pub data: DataConfig,
    /// Supervised fine-tuning of M0 to M1. `None` without `data.sft`: then M1 is a copy of M0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sft: Option<OptimConfig>,
    /// Trains low-rank adapters on M0, which stays as it is. `None` without the section: all weights are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    pub rounds: RoundsConfig,
    pub sample: SampleConfig,
    /// The judge of the viewpoints that name no other.
    pub judge: JudgeConfig,
    /// `[judges.NAME]`: further judges, each of a viewpoint or several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub judges: BTreeMap<String, JudgeConfig>,
    /// Default: "current" and "previous".
    pub viewpoints: Vec<ViewpointConfig>,
    /// The mean of the models so far. `None` without the section: then no viewpoint may have the model "ema".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaConfig>,
    pub ranker: PluginConfig,
    pub regularizer: PluginConfig,
    /// A regularizer plugin whose objective is used, while `[regularizer]` labels. Default `None`: that of
    /// `[regularizer]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<PluginConfig>,
    pub train: TrainConfig,
    /// `None` without `data.eval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval: Option<EvalConfig>,
    /// `[slots.NAME]`: models of the judges' own, by name. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub slots: BTreeMap<String, SlotConfig>,
}

/// `[model]`
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModelConfig {
    /// Folder of M0 in Hugging Face form: `config.json`, safetensors, tokenizer files. Or its name on the hub,
    /// `hf:owner/name[@revision]`, as it is.
    pub path: PathBuf,
    /// Prompt and response together, in tokens; longer pairs are dropped and counted. Default 2048.
    pub max_length: usize,
    /// The model under the logarithm's other side in the implicit reward. Default `initial`.
    pub scoring_reference: ScoringReference,
    /// `template`, `template-args` and `template-date`: which chat template, and what it is told. Default: the
    /// model's default template, told nothing.
    #[serde(flatten)]
    pub chat: ChatOptions,
}

/// `[data]`: JSONL files; where the file has one path, a list of them is as good.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DataConfig {
    /// Prompts for self-rewarding; at least one file.
    pub prompts: Vec<PathBuf>,
    /// Rows for supervised fine-tuning; empty for none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sft: Vec<PathBuf>,
    /// Held-out rows with answers; empty for no evaluation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub eval: Vec<PathBuf>,
}

/// `[rounds]`
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RoundsConfig {
    /// Rounds of sample → judge → rank → regularize → train. Default 2.
    pub count: usize,
    /// Round t takes the t-th slice of this many prompts. Default `None`: all prompts in every round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts_per_round: Option<usize>,
}

/// `[sample]`: how responses are drawn from M_t. Defaults: the paper's.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SampleConfig {
    /// Responses to each prompt, at least 2. Default 5.
    pub n: usize,
    /// Above 0. Default 0.8.
    pub temperature: f64,
    /// Nucleus: above 0, at most 1 (off). Default 0.95.
    pub top_p: f64,
    /// The k most likely tokens; 0 is off. Default 0.
    pub top_k: usize,
    /// Tokens less likely than this share of the likeliest are left out; 0 is off. Default 0.
    pub min_p: f64,
    /// Default 768.
    pub max_new_tokens: usize,
    /// `[[sample.from]]`: other models that answer the prompts, in the policy's groups. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<SourceConfig>,
}

/// `[judge]` and `[judges.NAME]`
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct JudgeConfig {
    #[serde(flatten)]
    pub plugin: PluginConfig,
    /// What happens to a group whose judge fails; one with the feature "whole-set" fails on all. Default `stop`.
    pub on_failure: OnFailure,
    /// How often the judge may be asked before it must have scored. Default 8.
    pub max_steps: usize,
}

/// `[ranker]`, `[regularizer]`, `[objective]`, and the common part of `[judge]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginConfig {
    /// Defaults: `builtin:implicit-reward`, `builtin:best-worst`, `builtin:cream`.
    pub plugin: PluginSource,
    /// What a source folder is built to. Only for source folders, where the default is `component`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactKind>,
    /// What becomes of WASI that a component imports. Default: such a component is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wasi: Option<Wasi>,
    /// Where a native library runs. Default `none`: in this process.
    #[serde(skip_serializing_if = "Isolation::is_none")]
    pub isolation: Isolation,
    /// Bounds on a component and, but for the fuel, on a native plugin in a process of its own. Others have none.
    pub limits: Limits,
    /// Checked by the plugin's own schema.
    pub params: Params,
}

/// What a component gets of WASI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wasi {
    /// Nothing, but it loads: what it calls fails, except for a clock that stands still and random numbers that are the
    /// same in every call.
    Deny,
}

/// What one call of a component may use.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// wasmtime's units, about one per instruction; decides the outcome, the same on every machine.
    /// Default 20 000 000 000.
    pub fuel: u64,
    /// Linear memory. Default 256.
    pub memory_mib: u64,
    /// Wall clock, against a hanging machine; choose the fuel so that it ends first. Default 60.
    pub deadline_seconds: f64,
    /// What a call may return. Default 64.
    pub output_mib: u64,
    /// How often the process of a native plugin (`isolation = "process"`) is started again after it ended; 0 is never.
    /// Default 100.
    pub restarts: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { fuel: 20_000_000_000, memory_mib: 256, deadline_seconds: 60.0, output_mib: 64, restarts: 100 }
    }
}

/// The optimiser and its schedule: `[sft]`, and the common part of `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OptimConfig {
    /// Default 1, for `[sft]` 3.
    pub epochs: usize,
    /// The peak. Default 1e-6, for `[sft]` 5e-5.
    pub learning_rate: f64,
    /// Rows or pairs of one optimiser step. Default 32.
    pub batch_size: usize,
    /// Tokens of one forward and backward pass; decides memory. Default 8192.
    pub micro_batch_tokens: usize,
    /// The backward pass computes each layer again instead of keeping it: less memory, the same bits, about a third
    /// more time. Default false.
    pub gradient_checkpointing: bool,
    /// After the warm-up. Default `cosine`.
    pub schedule: Schedule,
    /// Share of all steps in which the learning rate rises. Default 0.1.
    pub warmup_ratio: f64,
    /// Default 0.01.
    pub weight_decay: f64,
    /// Also decays norms and biases. Default false.
    pub decay_all: bool,
    /// β₁ and β₂ of AdamW. Default [0.9, 0.999].
    pub adam_betas: [f64; 2],
    /// Default 1e-8.
    pub adam_eps: f64,
    /// The gradient is scaled down to this norm. Default 1.0.
    pub max_grad_norm: f64,
    #[serde(flatten)]
    pub save: SaveConfig,
}

/// When the state of a training is saved, so that it can go on from there. No result depends on it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SaveConfig {
    /// Optimiser steps from one checkpoint to the next; 0 makes none. Default 0.
    pub save_steps: usize,
    /// How many of the newest are kept. Default `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_total_limit: Option<usize>,
}

impl OptimConfig {
    /// The settings that decide what is learnt: without those that only say how much memory or which checkpoints
    /// the way there takes.
    pub fn deciding(&self) -> serde_json::Value {
        deciding(serde_json::json!(self))
    }
}

impl TrainConfig {
    /// As [`OptimConfig::deciding`].
    pub fn deciding(&self) -> serde_json::Value {
        deciding(serde_json::json!(self))
    }
}

impl TrainingSettings {
    /// As [`OptimConfig::deciding`].
    pub fn deciding(&self) -> serde_json::Value {
        deciding(serde_json::json!(self))
    }
}

fn deciding(mut settings: serde_json::Value) -> serde_json::Value {
    if let Some(map) = settings.as_object_mut() {
        for key in ["save-steps", "save-total-limit", "gradient-checkpointing"] {
            map.shift_remove(key);
        }
    }
    settings
}

/// `[lora]` (arXiv 2106.09685): M1 is M0 with an adapter, and each M_{t+1} continues the adapter of M_t.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoraConfig {
    /// The rank. Default 8.
    pub r: usize,
    /// The adapter's part counts α / r times. Default 2·r.
    pub alpha: f64,
    /// Share of the adapters' inputs that is left out in training. Default 0.
    pub dropout: f64,
    /// α / √r in place of α / r. Default false.
    pub rslora: bool,
    /// `"all-linear"`, or a list of names like `["q_proj", "v_proj"]`. Default `"all-linear"`: all but the head.
    pub target_modules: TargetModules,
}

/// `[train]`: preference optimisation of M_t to M_{t+1}.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrainConfig {
    /// β of DPO. Default 0.1.
    pub beta: f64,
    /// Weight of the chosen response's negative log-likelihood, per token and times the pair's weight; 0 is off.
    /// Default 0.
    pub nll_weight: f64,
    /// Default `start`. `none` spares a pass over the pairs; then the objective must be one that looks at no reference,
    /// which is checked before any work.
    pub reference: TrainReference,
    #[serde(flatten)]
    pub optim: OptimConfig,
}

/// `[eval]`
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EvalConfig {
    /// How the answer is read from a response. Default `exact`.
    pub extractor: Extractor,
    /// The pattern of the extractor `regex`, `None` for all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Appended to the last user message. Default empty.
    pub suffix: String,
    /// Samples to each row for the sampled accuracy, at top-p 1. Default 4.
    pub samples: usize,
    /// Temperature of those samples. Default 0.8.
    pub temperature: f64,
    /// Default: that of `[sample]`.
    pub max_new_tokens: usize,
    /// The first rows only; 0 is all. Default 0.
    pub limit: usize,
}

const SET: source::Setter =
    source::Setter { option: "--set", examples: ["train.beta=0.2", "judge.params.score=mean-likelihood"] };

impl RunConfig {
    /// Reads and checks a config file; `sets` are `a.b=value` arguments, applied before the checks.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::Kind::Config) for anything wrong in the file or the arguments,
    /// [`Kind::Input`](crate::Kind::Input) and [`Kind::Plugin`](crate::Kind::Plugin) for a path that leads nowhere.
    pub fn load(path: &Path, sets: &[String]) -> Result<RunConfig> {
        Self::from_toml(&source::read(path)?, path, sets)
    }

    /// The same from text; `path` is where the text would stand.
    pub fn from_toml(text: &str, path: &Path, sets: &[String]) -> Result<RunConfig> {
        let mut table = source::parse(text, path)?;
        if table.is_empty() && sets.is_empty() {
            return Err(Error::config("the file is empty, expected at least [model] and [data]")
                .file(path)
                .line(1)
                .help("start with:\n    [model]\n    path = \"model\"\n    [data]\n    prompts = \"prompts.jsonl\""));
        }
        for set in sets {
            source::apply_set(&mut table, &SET, set, path)?;
        }
        resolve::resolve(&table, path)
    }

    /// The resolved form as TOML, every default written out and every path absolute. It loads to the same
    /// [`RunConfig`], from whatever folder.
    pub fn to_toml(&self) -> Result<String> {
        // A judge that no viewpoint uses would be an error where it stands.
        let unused = self.viewpoints.iter().all(|viewpoint| viewpoint.judge.is_some());
        let text = match unused {
            false => toml::to_string(self),
            true => toml::Table::try_from(self).and_then(|mut table| {
                table.remove("judge");
                toml::to_string(&table)
            }),
        };
        text.map_err(|e| {
            Error::config(format!("the configuration cannot be written as TOML: {e}"))
                .file(&self.file)
                .help("use paths that are UTF-8 text")
        })
    }

    /// The plugins that a run uses, each with its table: "judge", "judges.NAME", "ranker", "regularizer", "objective".
    pub fn plugins(&self) -> Vec<(String, plugins::Kind, &PluginConfig)> {
        use plugins::Kind::{Judge, Ranker, Regularizer};
        let mut used: BTreeMap<String, (plugins::Kind, &PluginConfig)> = BTreeMap::new();
        for viewpoint in &self.viewpoints {
            let part = viewpoint.judge.as_ref().map_or_else(|| "judge".to_owned(), |name| format!("judges.{name}"));
            used.insert(part, (Judge, &self.judge_of(viewpoint).plugin));
        }
        used.insert("ranker".to_owned(), (Ranker, &self.ranker));
        used.insert("regularizer".to_owned(), (Regularizer, &self.regularizer));
        if let Some(objective) = &self.objective {
            used.insert("objective".to_owned(), (Regularizer, objective));
        }
        used.into_iter().map(|(part, (kind, plugin))| (part, kind, plugin)).collect()
    }

    /// The judge of a viewpoint.
    pub fn judge_of(&self, viewpoint: &ViewpointConfig) -> &JudgeConfig {
        viewpoint.judge.as_ref().and_then(|name| self.judges.get(name)).unwrap_or(&self.judge)
    }
}

impl LoraConfig {
    /// The settings as the model knows them.
    pub fn adapter(&self) -> crate::model::LoraConfig {
        crate::model::LoraConfig {
            r: self.r,
            alpha: self.alpha,
            dropout: self.dropout,
            rslora: self.rslora,
            target_modules: match &self.target_modules {
                TargetModules::AllLinear => crate::model::TargetModules::AllLinear,
                TargetModules::Names(names) => crate::model::TargetModules::Names(names.clone()),
            },
            ..crate::model::LoraConfig::default()
        }
    }
}
