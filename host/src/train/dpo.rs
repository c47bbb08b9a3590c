//! Preference optimization with any objective of the sequences' log-probabilities (DPO, arXiv 2305.18290, and CREAM's
//! mix, arXiv 2410.12735).
//!
//! The objective gives the loss of each pair and its gradient g with respect to the policy's log-probability of the
//! chosen and of the rejected response. The model's gradient is that of the surrogate `Σ g · logp` with g held fixed,
//! averaged over the pairs of the global batch.

use std::f64::consts::LN_2;

use creamery_plugin::{ObjectiveBatch, ObjectiveValue};

use crate::error::{Error, Result};
use crate::model::{Batch, Decoder, Group};
use crate::score::{batches, check};

use super::order::permutation;
use super::{StepMetrics, Trainer, TrainingConfig, listed, sequence_logp};

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
    /// Weight of the mean negative log-likelihood of the chosen response's tokens, added to each pair's loss.
    pub nll_weight: f64,
    /// The objective is DPO's or a mix of DPO's: with policy = reference its loss is ln 2 times the weight, and a run
    /// that starts elsewhere has a wrong reference, template or mask.
    pub expect_ln2: bool,
}

/// Trains `model` in place. `objective` gets the pairs of each global batch at once. `on_step` sees each step, under
/// TRL's names: `loss`, `grad_norm`, `learning_rate`, `rewards/chosen`, `rewards/rejected`, `rewards/margins`,
/// `rewards/accuracies`, `logps/chosen`, `logps/rejected`, `nll_loss` (if weighted), `epoch`.
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
    let training = &config.training;
    training.check(pairs.len())?;
    let groups: Vec<Group> =
        pairs.iter().map(|p| Group { prompt: &p.prompt, responses: vec![&p.chosen, &p.rejected] }).collect();
    for (pair, group) in pairs.iter().zip(&groups) {
        check_pair(model, pair, group)?;
    }
    let learning_rate = training.learning_rate(pairs.len());
    let steps_per_epoch = pairs.len().div_ceil(training.batch_size);
    let mut trainer = Trainer::new(model, training)?;
    let mut step = 0;
    for epoch in 0..training.epochs {
        for members in permutation(training.seed, epoch, pairs.len()).chunks(training.batch_size) {
            let lr = learning_rate.lr_at(step);
            let part = Part {
                pairs: members.iter().map(|i| &pairs[*i]).collect(),
                groups: members.iter().map(|i| groups[*i].clone()).collect(),
            };
            if step == 0
                && let Some(longest) = part.groups.iter().max_by_key(|g| g.rows())
            {
                trainer.check_gradients(longest)?;
            }
            let mut values = one_step(&mut trainer, &part, objective, config, step, lr).map_err(|e| {
                let ids: Vec<&str> = part.pairs.iter().map(|p| p.id.as_str()).collect();
                e.context(format!("training step {} on pairs {}", step + 1, listed(&ids)))
            })?;
            step += 1;
            values.push(("epoch", step as f64 / steps_per_epoch as f64));
            on_step(&StepMetrics { step, total_steps: learning_rate.total_steps, values })?;
        }
    }
    Ok(())
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

/// The pairs of a global batch.
struct Part<'a> {
    pairs: Vec<&'a PreferencePair>,
    groups: Vec<Group<'a>>,
}

fn one_step(
    trainer: &mut Trainer,
    part: &Part,
    objective: &mut dyn FnMut(&ObjectiveBatch) -> Result<ObjectiveValue>,
    config: &DpoConfig,
    step: usize,
    lr: f64,
) -> Result<Vec<(&'static str, f64)>> {
    let runs = batches(&part.groups, config.training.micro_batch_tokens);
    let micros: Vec<Batch> = runs.iter().map(|run| Batch::new(&part.groups[run.clone()])).collect();
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
    let value = objective(&batch)?;
    check_value(part, &batch, &value)?;
    if step == 0 {
        check_first(&batch, config.expect_ln2.then_some(&value))?;
    }
    let count = part.pairs.len() as f64;
    for (run, micro) in runs.iter().zip(&micros) {
        let mut g = vec![0f32; micro.targets.tokens.len()];
        for (i, both) in run.clone().zip(micro.sequences.chunks_exact(2)) {
            let nll = config.nll_weight / f64::from(batch.chosen_tokens[i]);
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

/// β times the log-ratio to the reference.
fn rewards<'a>(policy: &'a [f64], reference: &'a [f64], beta: f64) -> impl Iterator<Item = f64> + 'a {
    policy.iter().zip(reference).map(move |(p, r)| beta * (p - r))
}

fn margins(batch: &ObjectiveBatch) -> impl Iterator<Item = f64> + '_ {
    let chosen = rewards(&batch.policy_chosen, &batch.reference_chosen, batch.beta);
    chosen.zip(rewards(&batch.policy_rejected, &batch.reference_rejected, batch.beta)).map(|(c, r)| c - r)
}

/// With policy = reference every margin is 0 and, where `value` is given, the loss is ln 2 times the weight, whatever C.
fn check_first(batch: &ObjectiveBatch, value: Option<&ObjectiveValue>) -> Result<()> {
    let margin = margins(batch).map(f64::abs).fold(0.0, f64::max);
    let mut found = format!("the largest margin is {margin:.6}, expected 0");
    let mut wrong = margin > FIRST_LOSS;
    if let Some(value) = value {
        let (loss, weight) = (mean(value.loss.iter().copied()), mean(batch.weight.iter().copied()));
        wrong |= (loss - weight * LN_2).abs() > FIRST_LOSS * weight.max(1.0);
        let expected = weight * LN_2;
        found =
            format!("the first loss is {loss:.6}, expected {expected:.6} (ln 2 times the mean weight), and {found}");
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
    let nll = mean(batch.policy_chosen.iter().zip(&batch.chosen_tokens).map(|(logp, n)| -logp / f64::from(*n)));
    let mut values = vec![
        ("loss", mean(value.loss.iter().copied()) + config.nll_weight * nll),
        ("grad_norm", norm),
        ("learning_rate", lr),
        ("rewards/chosen", mean(rewards(&batch.policy_chosen, &batch.reference_chosen, batch.beta))),
        ("rewards/rejected", mean(rewards(&batch.policy_rejected, &batch.reference_rejected, batch.beta))),
        ("rewards/margins", mean(margins(batch))),
        ("rewards/accuracies", mean(margins(batch).map(|m| if m > 0.0 { 1.0 } else { 0.0 }))),
        ("logps/chosen", mean(batch.policy_chosen.iter().copied())),
        ("logps/rejected", mean(batch.policy_rejected.iter().copied())),
    ];
    if config.nll_weight > 0.0 {
        values.push(("nll_loss", nll));
    }
    values
}
