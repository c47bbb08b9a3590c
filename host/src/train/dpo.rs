//! Preference optimization with any objective of the sequences' log-probabilities (DPO, arXiv 2305.18290, and CREAM's
//! mix, arXiv 2410.12735).
//!
//! The objective gives the loss of each pair and its gradient g with respect to the policy's log-probability of the
//! chosen and of the rejected response. The model's gradient is that of the surrogate `Σ g · logp` with g held fixed,
//! averaged over the pairs of the global batch.

use std::f64::consts::LN_2;
use std::ops::Range;

use creamery_plugin::{Column, ObjectiveBatch, ObjectiveValue};
use serde_json::json;

use crate::error::{Error, Result};
use crate::model::{Batch, Decoder, Group};
use crate::score::{batches, check};

use super::steps::{Data, Digest, Step, walk};
use super::{Checkpoints, StepMetrics, Trainer, TrainingConfig, sequence_logp};

/// How far the first loss may be from ln 2, and the first margins from 0.
const FIRST_LOSS: f64 = 1e-4;

/// A prompt with a better and a worse response, as token ids.
#[derive(Clone, Debug, PartialEq)]
pub struct PreferencePair {
    /// Names the pair in errors.
    pub id: String,
    pub prompt: Vec<u32>,
    pub chosen: Vec<u32>,
    pub rejected: Vec<u32>,
    /// Σ log-probability of the chosen response under the reference, in nats: [`super::sequence_logp`] of its scores.
    pub reference_chosen: f64,
    pub reference_rejected: f64,
    /// C: the confidence that the pair is the right way round, handed to the objective.
    pub consistency: f64,
    /// Handed to the objective.
    pub weight: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DpoConfig {
    pub training: TrainingConfig,
    /// Strength of the pull to the reference.
    pub beta: f64,
    /// α of the chosen response's negative log-likelihood: each pair's loss gets `α · weight · (−logp / tokens)`. The
    /// pair's weight counts for both terms, as in ScPO's loss (arXiv 2411.04109); with weight 1 it is IRPO's loss
    /// (arXiv 2404.19733, eq. 1). An objective may have such a term of its own instead, in its `d_chosen`.
    pub nll_weight: f64,
    /// The objective is DPO's or a mix of DPO's: with policy = reference its loss is ln 2 times the weight, and a run
    /// that starts elsewhere has a wrong reference, template or mask.
    pub expect_ln2: bool,
    pub reference: Reference,
}

/// Where the pairs' reference log-probabilities come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The model that training starts from: the first margins are 0, or something is wrong.
    Start,
    /// Another model.
    Other,
    /// Nowhere: the objective does not look at them. A response's reward is then β times its mean token
    /// log-probability (SimPO, arXiv 2405.14734, eq. 4).
    Free,
}

/// What is minimized.
pub struct Objective<'a> {
    /// Loss and gradient of a batch's pairs, and the columns of these pairs.
    pub evaluate: &'a mut dyn FnMut(&ObjectiveBatch, &[Column]) -> Result<ObjectiveValue>,
    /// Further numbers for every pair of the training; `evaluate` gets those of its batch.
    pub columns: &'a [Column],
}

impl Objective<'_> {
    fn of(&mut self, part: &Part, batch: &ObjectiveBatch) -> Result<ObjectiveValue> {
        let of_part = |column: &Column| Column {
            name: column.name.clone(),
            values: part.members.iter().map(|i| column.values[*i]).collect(),
        };
        let columns: Vec<Column> = self.columns.iter().map(of_part).collect();
        let value = (self.evaluate)(batch, &columns)?;
        check_value(part, batch, &value)?;
        Ok(value)
    }
}

/// Trains `model` in place. `objective` gets the pairs of each global batch at once. `on_step` sees each step, under
/// TRL's names: `loss`, `grad_norm`, `learning_rate`, `rewards/chosen`, `rewards/rejected`, `rewards/margins`,
/// `rewards/accuracies`, `logps/chosen`, `logps/rejected`, `nll_loss` (if it is a part of the loss, which is the
/// objective's + `nll_weight` · `nll_loss`), `num_tokens`, `epoch`.
///
/// # Errors
/// A pair that the model cannot take, a parameter without gradient, a first loss that is not ln 2, numbers that are not
/// finite: the message names the pairs and the step; and the first error of `objective` or `on_step`.
pub fn dpo(
    model: &mut Decoder,
    pairs: &[PreferencePair],
    objective: &mut dyn FnMut(&ObjectiveBatch) -> Result<ObjectiveValue>,
    config: &DpoConfig,
    on_step: &mut dyn FnMut(&StepMetrics) -> Result<()>,
) -> Result<()> {
    let mut objective = Objective { evaluate: &mut |batch, _| objective(batch), columns: &[] };
    dpo_with_checkpoints(model, pairs, &mut objective, config, None, on_step)
}

/// As [`dpo`], with an objective that may need columns, from the newest of the checkpoints on, and making new ones.
///
/// # Errors
/// Also a column without a finite number for each pair, a checkpoint of another training, and one that cannot be
/// written.
pub fn dpo_with_checkpoints(
    model: &mut Decoder,
    pairs: &[PreferencePair],
    objective: &mut Objective,
    config: &DpoConfig,
    checkpoints: Option<&Checkpoints>,
    on_step: &mut dyn FnMut(&StepMetrics) -> Result<()>,
) -> Result<()> {
    let training = &config.training;
    training.check(pairs.len())?;
    let groups: Vec<Group> =
        pairs.iter().map(|p| Group { prompt: &p.prompt, responses: vec![&p.chosen, &p.rejected] }).collect();
    let mut digest = Digest::default();
    for (pair, group) in pairs.iter().zip(&groups) {
        check_pair(model, pair, group)?;
        [&pair.prompt, &pair.chosen, &pair.rejected].into_iter().for_each(|ids| digest.ids(ids));
        [pair.reference_chosen, pair.reference_rejected, pair.consistency, pair.weight]
            .into_iter()
            .for_each(|x| digest.number(x));
    }
    for column in objective.columns {
        check_column(column, pairs)?;
        digest.ids(&column.name.bytes().map(u32::from).collect::<Vec<_>>());
        column.values.iter().for_each(|x| digest.number(*x));
    }
    let ids = pairs.iter().map(|p| p.id.as_str()).collect();
    let data = Data { what: "pairs", ids, groups, digest: digest.finish() };
    let settings = json!({ "beta": config.beta, "nll_weight": config.nll_weight });
    let mut one = |trainer: &mut Trainer, step: &Step| {
        let part = Part {
            members: step.members,
            pairs: step.members.iter().map(|i| &pairs[*i]).collect(),
            groups: step.members.iter().map(|i| data.groups[*i].clone()).collect(),
        };
        one_step(trainer, &part, objective, config, step.number, step.learning_rate)
    };
    walk(model, &data, training, settings, checkpoints, &mut one, on_step)
}

fn check_pair(model: &Decoder, pair: &PreferencePair, group: &Group) -> Result<()> {
    let fail = |what: String| Err(Error::input(format!("pair '{}', {what}", pair.id)));
    if let Err(what) = check(model, group) {
        return fail(what.replace("response 0", "chosen response").replace("response 1", "rejected response"));
    }
    for (name, response) in [("chosen", &pair.chosen), ("rejected", &pair.rejected)] {
        if response.is_empty() {
            return fail(format!("{name} response: it has no tokens"));
        }
    }
    let numbers = [
        ("reference_chosen", pair.reference_chosen),
        ("reference_rejected", pair.reference_rejected),
        ("consistency", pair.consistency),
        ("weight", pair.weight),
    ];
    match numbers.iter().find(|(_, x)| !x.is_finite()) {
        Some((name, x)) => fail(format!("{name} is {x}, expected a finite number")),
        None => Ok(()),
    }
}

fn check_column(column: &Column, pairs: &[PreferencePair]) -> Result<()> {
    let (name, found, expected) = (&column.name, column.values.len(), pairs.len());
    if found != expected {
        return Err(Error::input(format!("the column '{name}' has {found} values for {expected} pairs")));
    }
    match column.values.iter().position(|x| !x.is_finite()) {
        Some(i) => {
            let (id, x) = (&pairs[i].id, column.values[i]);
            Err(Error::input(format!("pair '{id}': the column '{name}' is {x}, expected a finite number")))
        }
        None => Ok(()),
    }
}

/// The pairs of a global batch.
struct Part<'a> {
    /// By their place among all pairs.
    members: &'a [usize],
    pairs: Vec<&'a PreferencePair>,
    groups: Vec<Group<'a>>,
}

fn one_step(
    trainer: &mut Trainer,
    part: &Part,
    objective: &mut Objective,
    config: &DpoConfig,
    step: usize,
    lr: f64,
) -> Result<Vec<(&'static str, f64)>> {
    let runs = batches(&part.groups, config.training.micro_batch_tokens);
    let micros: Vec<Batch> = runs.iter().map(|run| trainer.batch(&part.groups[run.clone()], step, run.start)).collect();
    // An objective may look at the whole batch, so all log-probabilities come first. One micro-batch keeps its
    // activations; several are computed again for their gradients.
    let mut kept = if let [only] = &micros[..] { Some(trainer.forward(only)?) } else { None };
    let mut sums = Vec::with_capacity(2 * part.pairs.len());
    for micro in &micros {
        let computed;
        let logps = match &kept {
            Some(pass) => &pass.logps,
            None => {
                computed = trainer.logps(micro)?;
                &computed
            }
        };
        sums.extend(micro.sequences.iter().map(|range| sequence_logp(&logps[range.clone()])));
    }
    let batch = objective_batch(part, &sums, config.beta);
    let value = objective.of(part, &batch)?;
    if step == 0 && config.reference == Reference::Start {
        let expect_ln2 = config.expect_ln2;
        if micros.iter().any(|micro| micro.noise.is_some()) {
            // The reference was scored without dropout.
            let sums = without_dropout(trainer, part, &runs)?;
            let batch = objective_batch(part, &sums, config.beta);
            let value = objective.of(part, &batch)?;
            check_first(&batch, expect_ln2.then_some(&value))?;
        } else {
            check_first(&batch, expect_ln2.then_some(&value))?;
        }
    }
    let count = part.pairs.len() as f64;
    for (run, micro) in runs.iter().zip(&micros) {
        let mut g = vec![0f32; micro.targets.tokens.len()];
        for (i, both) in run.clone().zip(micro.sequences.chunks_exact(2)) {
            let nll = config.nll_weight * batch.weight[i] / f64::from(batch.chosen_tokens[i]);
            g[both[0].clone()].fill(((value.d_chosen[i] - nll) / count) as f32);
            g[both[1].clone()].fill((value.d_rejected[i] / count) as f32);
        }
        let pass = match kept.take() {
            Some(pass) => pass,
            None => trainer.forward(micro)?,
        };
        trainer.backward(micro, pass, &g)?;
    }
    let norm = trainer.step(lr)?;
    Ok(metrics(&batch, &value, config, norm, lr))
}

/// The log-probabilities of all responses, chosen and rejected in turn, as scoring computes them.
fn without_dropout(trainer: &Trainer, part: &Part, runs: &[Range<usize>]) -> Result<Vec<f64>> {
    let mut sums = Vec::with_capacity(2 * part.pairs.len());
    for run in runs {
        let micro = Batch::new(&part.groups[run.clone()]);
        let logps = trainer.logps(&micro)?;
        sums.extend(micro.sequences.iter().map(|range| sequence_logp(&logps[range.clone()])));
    }
    Ok(sums)
}

fn objective_batch(part: &Part, sums: &[f64], beta: f64) -> ObjectiveBatch {
    let of = |f: fn(&PreferencePair) -> f64| part.pairs.iter().map(|p| f(p)).collect();
    let tokens = |f: fn(&PreferencePair) -> usize| part.pairs.iter().map(|p| f(p) as u32).collect();
    ObjectiveBatch {
        beta,
        policy_chosen: sums.iter().step_by(2).copied().collect(),
        policy_rejected: sums.iter().skip(1).step_by(2).copied().collect(),
        reference_chosen: of(|p| p.reference_chosen),
        reference_rejected: of(|p| p.reference_rejected),
        chosen_tokens: tokens(|p| p.chosen.len()),
        rejected_tokens: tokens(|p| p.rejected.len()),
        consistency: of(|p| p.consistency),
        weight: of(|p| p.weight),
    }
}

fn check_value(part: &Part, batch: &ObjectiveBatch, value: &ObjectiveValue) -> Result<()> {
    let count = part.pairs.len();
    let arrays = [("loss", &value.loss), ("d_chosen", &value.d_chosen), ("d_rejected", &value.d_rejected)];
    if let Some((name, array)) = arrays.iter().find(|(_, array)| array.len() != count) {
        return Err(Error::plugin(format!(
            "the objective returned {} values of {name} for {count} pairs",
            array.len()
        )));
    }
    let policy = [("log-probability of chosen", &batch.policy_chosen), ("of rejected", &batch.policy_rejected)];
    for (name, array) in policy.iter().chain(&arrays) {
        if let Some(i) = array.iter().position(|x| !x.is_finite()) {
            return Err(Error::run(format!("pair '{}': the {name} is {}", part.pairs[i].id, array[i]))
                .help("lower the learning rate, or look at this pair"));
        }
    }
    Ok(())
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    sum / count
}

/// The implicit rewards of chosen and rejected: β times the log-ratio to the reference, or what [`Reference::Free`]
/// says.
fn rewards(batch: &ObjectiveBatch, reference: Reference) -> (Vec<f64>, Vec<f64>) {
    let of = |policy: &[f64], known: &[f64], tokens: &[u32]| -> Vec<f64> {
        let one = |i: usize| match reference {
            Reference::Free => policy[i] / f64::from(tokens[i]),
            Reference::Start | Reference::Other => policy[i] - known[i],
        };
        (0..policy.len()).map(|i| batch.beta * one(i)).collect()
    };
    (
        of(&batch.policy_chosen, &batch.reference_chosen, &batch.chosen_tokens),
        of(&batch.policy_rejected, &batch.reference_rejected, &batch.rejected_tokens),
    )
}

/// With policy = reference every margin is 0 and, where `value` is given, the loss is ln 2 times the weight, whatever C.
fn check_first(batch: &ObjectiveBatch, value: Option<&ObjectiveValue>) -> Result<()> {
    let (chosen, rejected) = rewards(batch, Reference::Start);
    let margin = chosen.iter().zip(&rejected).map(|(c, r)| (c - r).abs()).fold(0.0, f64::max);
    let mut found = format!("the largest margin is {margin:.6}, expected 0");
    let mut wrong = margin > FIRST_LOSS;
    if let Some(value) = value {
        let (loss, weight) = (mean(value.loss.iter().copied()), mean(batch.weight.iter().copied()));
        wrong |= (loss - weight * LN_2).abs() > FIRST_LOSS * weight.max(1.0);
        let expected = weight * LN_2;
        found =
            format!("the first loss is {loss:.6}, expected {expected:.6} (ln 2 times the mean weight), and {found}");
    }
    if wrong && margin <= FIRST_LOSS {
        return Err(Error::run(format!("the objective is not the C-mix: {found}"))
            .help("a regularizer with an objective of its own must not have the feature \"c-mix\""));
    }
    if wrong {
        return Err(Error::run(format!("wrong reference, template or mask: {found}"))
            .help("the reference must be the model that training starts from, on the same token ids"));
    }
    Ok(())
}

fn metrics(
    batch: &ObjectiveBatch,
    value: &ObjectiveValue,
    config: &DpoConfig,
    norm: f64,
    lr: f64,
) -> Vec<(&'static str, f64)> {
    let nll = |i: usize| batch.weight[i] * (-batch.policy_chosen[i] / f64::from(batch.chosen_tokens[i]));
    let nll = mean((0..batch.weight.len()).map(nll));
    let (chosen, rejected) = rewards(batch, config.reference);
    let margins = || chosen.iter().zip(&rejected).map(|(c, r)| c - r);
    let mut values = vec![
        ("loss", mean(value.loss.iter().copied()) + config.nll_weight * nll),
        ("grad_norm", norm),
        ("learning_rate", lr),
        ("rewards/chosen", mean(chosen.iter().copied())),
        ("rewards/rejected", mean(rejected.iter().copied())),
        ("rewards/margins", mean(margins())),
        ("rewards/accuracies", mean(margins().map(|m| if m > 0.0 { 1.0 } else { 0.0 }))),
        ("logps/chosen", mean(batch.policy_chosen.iter().copied())),
        ("logps/rejected", mean(batch.policy_rejected.iter().copied())),
    ];
    if config.nll_weight > 0.0 {
        values.push(("nll_loss", nll));
    }
    values
}
