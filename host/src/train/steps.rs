//! The walk over epochs and steps that all kinds of training share.

use serde_json::{Value, json};

use super::order::permutation;
use super::{Checkpoints, StepMetrics, Trainer, TrainingConfig, listed};
use crate::error::{Error, Result};
use crate::model::{Decoder, Group};

/// What is trained on.
pub(super) struct Data<'a> {
    /// "rows" or "pairs", for errors.
    pub what: &'static str,
    pub ids: Vec<&'a str>,
    pub groups: Vec<Group<'a>>,
    /// Of everything in the rows that decides the result.
    pub digest: String,
}

/// One optimizer step.
pub(super) struct Step<'a> {
    /// From 0.
    pub number: usize,
    pub learning_rate: f64,
    /// The rows of the global batch, by their place in the data.
    pub members: &'a [usize],
}

/// Takes an optimizer step and gives its metrics.
pub(super) type OneStep<'a> = dyn FnMut(&mut Trainer, &Step) -> Result<Vec<(&'static str, f64)>> + 'a;

/// Takes all steps, from the newest checkpoint on where there is one. `on_step` sees every step, those before the
/// checkpoint too, as they were.
pub(super) fn walk(
    model: &mut Decoder,
    data: &Data,
    config: &TrainingConfig,
    settings: Value,
    checkpoints: Option<&Checkpoints>,
    one_step: &mut OneStep,
    on_step: &mut dyn FnMut(&StepMetrics) -> Result<()>,
) -> Result<()> {
    let rows = data.groups.len();
    let learning_rate = config.learning_rate(rows);
    let (steps_per_epoch, total_steps) = (rows.div_ceil(config.batch_size), learning_rate.total_steps);
    let identity = checkpoints.map(|c| {
        let mut identity = json!({
            "inputs": c.inputs, "kind": data.what, "data": data.digest, "training": config, "settings": settings,
        });
        if let Some(adapter) = model.adapter() {
            identity["adapter"] = json!(adapter);
        }
        identity
    });

    let resumed = match (checkpoints, &identity) {
        (Some(checkpoints), Some(identity)) => checkpoints.latest(model, identity)?,
        _ => None,
    };
    let mut done: Vec<StepMetrics> = Vec::new();
    let mut moments = None;
    if let Some(resumed) = resumed {
        for ((name, _), weights) in model.parameters().iter().zip(&resumed.state.weights) {
            model.set_parameter(name, weights)?;
        }
        (done, moments) = (resumed.steps, Some(resumed.state.moments));
    }
    let mut trainer = Trainer::new(model, config)?;
    if let Some(moments) = moments {
        trainer.optimizer.restore(done.len() as u64, &moments)?;
    }
    done.iter().try_for_each(&mut *on_step)?;

    let mut tokens = done.last().and_then(|s| s.get("num_tokens")).unwrap_or(0.0);
    let mut order: Option<(usize, Vec<usize>)> = None;
    for number in done.len()..total_steps {
        let (epoch, at) = (number / steps_per_epoch, number % steps_per_epoch);
        if order.as_ref().is_none_or(|(known, _)| *known != epoch) {
            let new = if config.shuffle { permutation(config.seed, epoch, rows) } else { (0..rows).collect() };
            order = Some((epoch, new));
        }
        let Some((_, order)) = &order else { continue };
        let members = &order[at * config.batch_size..rows.min((at + 1) * config.batch_size)];
        if number == 0
            && let Some(longest) = members.iter().map(|i| &data.groups[*i]).max_by_key(|g| g.rows())
        {
            trainer.check_gradients(longest)?;
        }
        let place = |e: Error| {
            let ids: Vec<&str> = members.iter().map(|i| data.ids[*i]).collect();
            e.context(format!("training step {} on {} {}", number + 1, data.what, listed(&ids)))
        };
        let step = Step { number, learning_rate: learning_rate.lr_at(number), members };
        let mut values = one_step(&mut trainer, &step).map_err(place)?;
        tokens += members.iter().map(|i| seen(&data.groups[*i]) as f64).sum::<f64>();
        values.push(("num_tokens", tokens));
        values.push(("epoch", (number + 1) as f64 / steps_per_epoch as f64));
        let metrics = StepMetrics { step: number + 1, total_steps, values };
        on_step(&metrics)?;
        done.push(metrics);
        if number + 1 == total_steps || checkpoints.is_some_and(|c| c.due(number + 1)) {
            trainer.check_finite(number + 1).map_err(place)?;
        }
        if let (Some(checkpoints), Some(identity)) = (checkpoints, &identity)
            && checkpoints.due(number + 1)
        {
            checkpoints.save(&trainer, &done, identity)?;
        }
    }
    Ok(())
}

/// Tokens of a group as a trainer without shared prompts feeds them, which is how TRL counts.
fn seen(group: &Group) -> usize {
    group.responses.iter().map(|r| group.prompt.len() + r.len()).sum()
}

/// A digest of lists of token ids and of numbers, in their order.
#[derive(Default)]
pub(super) struct Digest(blake3::Hasher);

impl Digest {
    pub(super) fn ids(&mut self, ids: &[u32]) {
        self.0.update(&(ids.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| {
            self.0.update(&id.to_le_bytes());
        });
    }

    pub(super) fn number(&mut self, x: f64) {
        self.0.update(&x.to_bits().to_le_bytes());
    }

    pub(super) fn finish(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}
