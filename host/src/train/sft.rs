//! Supervised fine-tuning: the mean negative log-likelihood of all response tokens of a batch. Prompts are masked.

use serde_json::json;

use crate::error::{Error, Result};
use crate::model::{Decoder, Group};
use crate::score::{batches, check};

use super::steps::{Data, Digest, Step, walk};
use super::{Checkpoints, StepMetrics, Trainer, TrainingConfig, sequence_logp};

/// A prompt and the response to learn, as token ids; the response ends with the end token if it is to be learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct SftRow {
    /// Names the row in errors.
    pub id: String,
    pub prompt: Vec<u32>,
    pub response: Vec<u32>,
}

/// Trains `model` in place. `on_step` sees each step: `loss`, `grad_norm`, `learning_rate`, `num_tokens`, `epoch`.
///
/// # Errors
/// A row that the model cannot take, a parameter without gradient, a loss or gradient that is not finite: the message
/// names the row or the step; and the first error of `on_step`.
pub fn sft(
    model: &mut Decoder,
    rows: &[SftRow],
    config: &TrainingConfig,
    on_step: &mut dyn FnMut(&StepMetrics) -> Result<()>,
) -> Result<()> {
    sft_with_checkpoints(model, rows, config, None, on_step)
}

/// As [`sft`], from the newest of the checkpoints on, and making new ones.
///
/// # Errors
/// Also a checkpoint of another training, and one that cannot be written.
pub fn sft_with_checkpoints(
    model: &mut Decoder,
    rows: &[SftRow],
    config: &TrainingConfig,
    checkpoints: Option<&Checkpoints>,
    on_step: &mut dyn FnMut(&StepMetrics) -> Result<()>,
) -> Result<()> {
    config.check(rows.len())?;
    let groups: Vec<Group> =
        rows.iter().map(|row| Group { prompt: &row.prompt, responses: vec![&row.response] }).collect();
    let mut digest = Digest::default();
    for (row, group) in rows.iter().zip(&groups) {
        let name = |what: String| Error::input(format!("row '{}', {what}", row.id));
        check(model, group).map_err(name)?;
        if row.response.is_empty() {
            return Err(name("response 0: it has no tokens".to_owned()));
        }
        digest.ids(&row.prompt);
        digest.ids(&row.response);
    }
    let ids = rows.iter().map(|row| row.id.as_str()).collect();
    let data = Data { what: "rows", ids, groups, digest: digest.finish() };
    let mut one = |trainer: &mut Trainer, step: &Step| {
        let groups: Vec<Group> = step.members.iter().map(|i| data.groups[*i].clone()).collect();
        let (loss, norm) = one_step(trainer, &groups, config, step)?;
        Ok(vec![("loss", loss), ("grad_norm", norm), ("learning_rate", step.learning_rate)])
    };
    walk(model, &data, config, json!(null), checkpoints, &mut one, on_step)
}

fn one_step(trainer: &mut Trainer, groups: &[Group], config: &TrainingConfig, step: &Step) -> Result<(f64, f64)> {
    let tokens: usize = groups.iter().map(|g| g.responses[0].len()).sum();
    let mut sum = 0.0;
    for part in batches(groups, config.micro_batch_tokens) {
        let batch = trainer.batch(&groups[part.clone()], step.number, part.start);
        let pass = trainer.forward(&batch)?;
        sum += sequence_logp(&pass.logps);
        let g = vec![(-1.0 / tokens as f64) as f32; batch.targets.tokens.len()];
        trainer.backward(&batch, pass, &g)?;
    }
    let loss = -sum / tokens as f64;
    if !loss.is_finite() {
        return Err(Error::run(format!("the loss is {loss}")).help("lower the learning rate, or look at these rows"));
    }
    Ok((loss, trainer.step(step.learning_rate)?))
}
