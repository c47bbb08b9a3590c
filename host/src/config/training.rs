//! The settings of `creamery train sft` and `creamery train dpo`: a TOML file without tables but `[lora]`, arguments
//! of the command line over it, and the resolved [`TrainingSettings`].

use std::path::Path;

use serde::Serialize;

use super::resolve::{self, ANY, MAX_TOKENS};
use super::section::{Interval, Section};
use super::source::{self, Setter, Table};
use super::{LoraConfig, OptimConfig, SaveConfig};
use crate::error::Result;

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Sft,
    Dpo,
    /// As `Dpo`, with the objective of a plugin.
    Objective,
}

/// All settings of one training, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrainingSettings {
    /// Decides the order of the rows. Default 0.
    pub seed: u64,
    /// Prompt and response together, in tokens; longer rows are dropped and counted. Default: the model's context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// Optimizer steps in place of epochs. Default: as many as the epochs make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    /// A new order of the rows in each epoch; false keeps that of the file. Default true.
    pub shuffle: bool,
    #[serde(flatten)]
    pub optim: OptimConfig,
    /// Only for `dpo`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub dpo: Option<DpoSettings>,
    /// Trains an adapter on the model, which stays as it is. Default `None`: all weights are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
}

/// What only preference training has.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DpoSettings {
    /// Default `dpo`; `None` where a plugin has the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// Default 0.1; for `simpo` 2.
    pub beta: f64,
    /// ε of `dpo` and `robust`, below ½. Default 0; for `robust` 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_smoothing: Option<f64>,
    /// γ of `simpo`. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// Weight of the chosen response's negative log-likelihood, per token and times the row's weight; 0 is off.
    /// Default 0.
    pub nll_weight: f64,
}

/// The preference losses by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    Dpo,
    Cream,
    Ipo,
    IpoSeq,
    Hinge,
    Robust,
    Simpo,
    SignedWeight,
    Orpo,
    SppoHard,
}

const LOSSES: [(&str, Loss); 11] = [
    ("dpo", Loss::Dpo),
    ("sigmoid", Loss::Dpo), // TRL's name
    ("cream", Loss::Cream),
    ("ipo", Loss::Ipo),
    ("ipo-seq", Loss::IpoSeq),
    ("hinge", Loss::Hinge),
    ("robust", Loss::Robust),
    ("simpo", Loss::Simpo),
    ("signed-weight", Loss::SignedWeight),
    ("orpo", Loss::Orpo),
    ("sppo-hard", Loss::SppoHard),
];

const SET: Setter = Setter { option: "--set", examples: ["learning-rate=1e-5", "lora.r=8"] };

/// One setting given by an option of its own: `--beta 0.2` is ("--beta", "beta", "0.2").
pub type Given = (&'static str, &'static str, String);

impl TrainingSettings {
    /// Reads the settings of a file, if there is one, under `sets` (`key=value`) under `given` options.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::Kind::Config) for anything wrong, with the line or the argument.
    pub fn load(method: Method, file: Option<&Path>, sets: &[String], given: &[Given]) -> Result<TrainingSettings> {
        let path = file.unwrap_or(Path::new(""));
        let mut table = match file {
            Some(file) => source::parse(&source::read(file)?, file)?,
            None => Table::new(),
        };
        for set in sets {
            source::apply_set(&mut table, &SET, set, path)?;
        }
        for (option, key, value) in given {
            source::apply_option(&mut table, option, key, value, path)?;
        }
        resolve(method, &table, path)
    }

    /// When checkpoints are made.
    pub fn save(&self) -> &SaveConfig {
        &self.optim.save
    }
}

fn resolve(method: Method, table: &Table, file: &Path) -> Result<TrainingSettings> {
    let (kind, epochs, learning_rate) = match method {
        Method::Sft => ("train sft", 3, 5e-5),
        Method::Dpo | Method::Objective => ("train dpo", 1, 1e-6),
    };
    let root = Section::root_of(table, file, kind)?;
    let lora = root.section("lora", "lora")?;
    let dpo = match method {
        Method::Sft => None,
        Method::Dpo => Some(dpo(&root)?),
        Method::Objective => Some(with_objective(&root)?),
    };
    Ok(TrainingSettings {
        seed: root.whole("seed", 0..=ANY)?.unwrap_or(0),
        max_length: root.whole("max-length", 2..=MAX_TOKENS as u64)?.map(|n| n as usize),
        max_steps: root.whole("max-steps", 1..=1 << 40)?.map(|n| n as usize),
        shuffle: root.boolean("shuffle", true)?,
        optim: resolve::optim(&root, epochs, learning_rate)?,
        dpo,
        lora: if lora.is_present() { Some(resolve::lora(&lora)?) } else { None },
    })
}

fn dpo(root: &Section<'_>) -> Result<DpoSettings> {
    let loss = root.choice("loss", &LOSSES, Loss::Dpo)?;
    let name = LOSSES.iter().find(|(_, known)| *known == loss).map_or("", |(name, _)| *name);
    let only_for = |key: &str, fits: bool, losses: &str| match root.has(key) && !fits {
        true => Err(root
            .error(key, format!("`{key}` has no meaning for the loss {name:?}, only for {losses}"))
            .help("remove it, or choose another loss")),
        false => Ok(()),
    };
    let smooths = matches!(loss, Loss::Dpo | Loss::Robust);
    only_for("label-smoothing", smooths, "\"dpo\" and \"robust\"")?;
    only_for("gamma", loss == Loss::Simpo, "\"simpo\"")?;
    let smoothing = if loss == Loss::Robust { 0.1 } else { 0.0 };
    let beta = if loss == Loss::Simpo { 2.0 } else { 0.1 };
    Ok(DpoSettings {
        loss: Some(loss),
        beta: root.number("beta", Interval::above(0.0).to(1000.0), beta)?,
        label_smoothing: match smooths {
            true => Some(root.number("label-smoothing", Interval::from(0.0).below(0.5), smoothing)?),
            false => None,
        },
        gamma: match loss {
            Loss::Simpo => Some(root.number("gamma", Interval::from(0.0).to(1000.0), 1.0)?),
            _ => None,
        },
        nll_weight: root.number("nll-weight", Interval::from(0.0).to(1000.0), 0.0)?,
    })
}

/// Loss and parameters are the plugin's.
fn with_objective(root: &Section<'_>) -> Result<DpoSettings> {
    if let Some(key) = ["loss", "label-smoothing", "gamma"].into_iter().find(|key| root.has(key)) {
        return Err(root
            .error(key, format!("`{key}` has no meaning where a plugin has the objective"))
            .help("remove it, or --objective; a plugin's parameters are given with --objective-param"));
    }
    Ok(DpoSettings {
        loss: None,
        beta: root.number("beta", Interval::above(0.0).to(1000.0), 0.1)?,
        label_smoothing: None,
        gamma: None,
        nll_weight: root.number("nll-weight", Interval::from(0.0).to(1000.0), 0.0)?,
    })
}
