//! Training: supervised fine-tuning and preference optimization of a [`Decoder`].
//!
//! A step takes a global batch, in micro-batches of at most `micro_batch_tokens` rows; its gradient is that of the
//! whole batch at once. Everything is a function of the model, the data, the configuration and the seed: the same
//! bits whatever the number of threads, and whether it ran through or went on from a checkpoint.

use serde::Serialize;

use crate::config;
use crate::error::{Error, Result};
use crate::model::{Batch, Decoder, Forward, Gradients, Group, Noise, ops};

mod checkpoint;
mod dpo;
pub mod encode;
pub mod job;
mod optimizer;
mod order;
mod schedule;
mod sft;
mod state;
mod steps;

pub use checkpoint::Checkpoints;
pub use dpo::{DpoConfig, Objective, PreferencePair, Reference, dpo, dpo_with_checkpoints};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use schedule::{LearningRate, Schedule, Warmup};
pub use sft::{SftRow, sft, sft_with_checkpoints};

/// What supervised and preference training share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingConfig {
    pub epochs: usize,
    /// Steps in place of `epochs`: as many epochs as they need, the last one perhaps in part.
    pub max_steps: Option<usize>,
    /// Rows or pairs of one optimizer step; the last step of an epoch may have fewer.
    pub batch_size: usize,
    /// Rows of one forward and backward pass: decides memory, not results (to rounding).
    pub micro_batch_tokens: usize,
    /// A new order in each epoch; else the rows' own order in all of them.
    pub shuffle: bool,
    /// Keeps only each layer's input for the backward pass, which computes the layer again: less memory, the same
    /// bits, about a third more time.
    #[serde(skip)] // decides no bit, so a checkpoint may be taken up with or without it
    pub gradient_checkpointing: bool,
    /// Decides the order of the data in each epoch.
    pub seed: u64,
    pub optimizer: OptimizerConfig,
    pub schedule: Schedule,
    pub warmup: Warmup,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        TrainingConfig {
            epochs: 1,
            max_steps: None,
            batch_size: 32,
            micro_batch_tokens: 8192,
            shuffle: true,
            gradient_checkpointing: false,
            seed: 0,
            optimizer: OptimizerConfig::default(),
            schedule: Schedule::Cosine,
            warmup: Warmup::Ratio(0.1),
        }
    }
}

impl TrainingConfig {
    /// The settings of a config file's section.
    pub fn of(settings: &config::OptimConfig, seed: u64) -> Self {
        TrainingConfig {
            epochs: settings.epochs,
            batch_size: settings.batch_size,
            micro_batch_tokens: settings.micro_batch_tokens,
            gradient_checkpointing: settings.gradient_checkpointing,
            seed,
            optimizer: OptimizerConfig {
                learning_rate: settings.learning_rate,
                betas: settings.adam_betas,
                eps: settings.adam_eps,
                weight_decay: settings.weight_decay,
                decay_all: settings.decay_all,
                max_grad_norm: settings.max_grad_norm,
            },
            schedule: match settings.schedule {
                config::Schedule::Cosine => Schedule::Cosine,
                config::Schedule::Linear => Schedule::Linear,
                config::Schedule::Constant => Schedule::ConstantWithWarmup,
            },
            warmup: Warmup::Ratio(settings.warmup_ratio),
            ..TrainingConfig::default()
        }
    }

    /// Fails if `rows` rows make so few steps that all of them lie in the warm-up, at learning rate 0.
    pub fn check_learns(&self, rows: usize) -> Result<()> {
        let learning_rate = self.learning_rate(rows);
        if learning_rate.peak > 0.0 && (0..learning_rate.total_steps).all(|step| learning_rate.lr_at(step) == 0.0) {
            let steps = learning_rate.total_steps;
            return Err(Error::run(format!(
                "{rows} rows make {steps} step(s), all within the warm-up at learning rate 0"
            ))
            .help("nothing would be learnt: lower batch-size, or set warmup-ratio = 0"));
        }
        Ok(())
    }

    fn check(&self, rows: usize) -> Result<()> {
        if rows == 0 {
            return Err(Error::run("nothing to train on: there are no rows"));
        }
        if self.epochs == 0 || self.max_steps == Some(0) || self.batch_size == 0 || self.micro_batch_tokens == 0 {
            return Err(Error::config("epochs, steps, batch size and micro-batch tokens must be at least 1"));
        }
        Ok(())
    }

    /// Optimizer steps that `rows` rows make.
    pub fn total_steps(&self, rows: usize) -> usize {
        self.max_steps.unwrap_or(self.epochs * rows.div_ceil(self.batch_size))
    }

    fn learning_rate(&self, rows: usize) -> LearningRate {
        let total_steps = self.total_steps(rows);
        let warmup_steps = self.warmup.steps(total_steps);
        LearningRate { peak: self.optimizer.learning_rate, schedule: self.schedule, warmup_steps, total_steps }
    }
}

/// Every name that a step's metrics may have: those of TRL's trainers that cost nothing to compute, and `nll_loss`.
const METRICS: [&str; 12] = [
    "loss",
    "grad_norm",
    "learning_rate",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
    "nll_loss",
    "num_tokens",
    "epoch",
];

/// What a step did, under the names that TRL uses. `num_tokens` counts prompts and responses since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct StepMetrics {
    /// From 1.
    pub step: usize,
    pub total_steps: usize,
    pub values: Vec<(&'static str, f64)>,
}

impl StepMetrics {
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }
}

/// Σ of token log-probabilities, in double precision and in their order: the same for scoring and for training.
pub fn sequence_logp(token_logps: &[f32]) -> f64 {
    token_logps.iter().map(|x| f64::from(*x)).sum()
}

/// A model with its gradients and optimizer.
struct Trainer<'a> {
    model: &'a mut Decoder,
    gradients: Gradients,
    optimizer: Optimizer,
    checkpointing: bool,
    seed: u64,
}

impl<'a> Trainer<'a> {
    fn new(model: &'a mut Decoder, config: &TrainingConfig) -> Result<Self> {
        let (gradients, optimizer) = (Gradients::zeros(model)?, Optimizer::new(model, config.optimizer.clone())?);
        Ok(Trainer { model, gradients, optimizer, checkpointing: config.gradient_checkpointing, seed: config.seed })
    }

    /// The batch of some groups of a global batch, of which `first` is the first one's place. Its passes have the
    /// dropout of the step, if the model has any.
    fn batch(&self, groups: &[Group], step: usize, first: usize) -> Batch {
        let noise = Noise { seed: self.seed, step: step as u64, first_group: first as u64 };
        Batch { noise: self.model.has_dropout().then_some(noise), ..Batch::new(groups) }
    }

    fn logps(&self, batch: &Batch) -> Result<Vec<f32>> {
        ops::within_pool(|| self.model.logps(batch))
    }

    fn forward(&self, batch: &Batch) -> Result<Forward> {
        ops::within_pool(|| self.model.forward(batch, self.checkpointing))
    }

    /// Adds the gradient of `Σ g · logp`, one g for each target.
    fn backward(&self, batch: &Batch, pass: Forward, g: &[f32]) -> Result<()> {
        ops::within_pool(|| self.model.backward(batch, pass, g, &self.gradients))
    }

    /// Takes an optimizer step and clears the gradients; returns their norm before clipping.
    fn step(&mut self, learning_rate: f64) -> Result<f64> {
        let Trainer { model, gradients, optimizer, .. } = self;
        ops::within_pool(|| {
            let norm = optimizer.step(model, gradients, learning_rate)?;
            gradients.clear()?;
            Ok(norm)
        })
    }

    /// The weights must be numbers before anything is saved: the last step's are used by no later loss.
    fn check_finite(&self, step: usize) -> Result<()> {
        for (name, tensor) in self.model.parameters() {
            let sum = ops::within_pool(|| ops::sum_of_squares(&tensor))?;
            if !sum.is_finite() {
                return Err(Error::run(format!("step {step} left weights in '{name}' that are not finite"))
                    .help("lower the learning rate; nothing of this step was saved"));
            }
        }
        Ok(())
    }

    /// Every trainable tensor must receive a gradient of `Σ logp` of this group. The objective's own gradient would
    /// not do: it is 0 by right where, say, C = ½ and policy = reference.
    fn check_gradients(&self, group: &Group) -> Result<()> {
        // One row attends to itself alone: its queries and keys have no gradient, by right.
        if group.rows() < 3 {
            return Ok(());
        }
        let batch = Batch::new(std::slice::from_ref(group));
        let pass = self.forward(&batch)?;
        self.backward(&batch, pass, &vec![1.0; batch.targets.tokens.len()])?;
        let without = self.model.without_gradient()?;
        for (i, (name, _)) in self.model.parameters().iter().enumerate() {
            let sum = ops::sum_of_squares(&self.gradients.tensors[i])?;
            if (sum == 0.0 && !without[i]) || !sum.is_finite() {
                let what = if sum == 0.0 { "receives no gradient" } else { "has a gradient that is not finite" };
                return Err(Error::run(format!("tensor '{name}' {what}"))
                    .help("its weights, or weights that it feeds, are zero or not finite; check the checkpoint"));
            }
        }
        self.gradients.clear()
    }
}

/// The ids, shortened to the first few.
pub(crate) fn listed(ids: &[&str]) -> String {
    let shown = ids[..ids.len().min(8)].join("', '");
    let rest = if ids.len() > 8 { format!(" and {} more", ids.len() - 8) } else { String::new() };
    format!("'{shown}'{rest}")
}
