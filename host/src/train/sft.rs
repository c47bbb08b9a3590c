//! Supervised fine-tuning: the mean negative log-likelihood of all response tokens of a batch. Prompts are masked.

use crate::error::{Error, Result};
use crate::model::{Batch, Decoder, Group};
use crate::score::{batches, check};

use super::order::permutation;
use super::{StepMetrics, Trainer, TrainingConfig, listed, sequence_logp};

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
    config.check(rows.len())?;
    let groups: Vec<Group> =
        rows.iter().map(|row| Group { prompt: &row.prompt, responses: vec![&row.response] }).collect();
    for (row, group) in rows.iter().zip(&groups) {
        let name = |what: String| Error::input(format!("row '{}', {what}", row.id));
        check(model, group).map_err(name)?;
        if row.response.is_empty() {
            return Err(name("response 0: it has no tokens".to_owned()));
        }
    }
    let learning_rate = config.learning_rate(rows.len());
    let steps_per_epoch = rows.len().div_ceil(config.batch_size);
    let mut trainer = Trainer::new(model, config)?;
    let mut step = 0;
    for epoch in 0..config.epochs {
        for chosen in permutation(config.seed, epoch, rows.len()).chunks(config.batch_size) {
            let groups: Vec<Group> = chosen.iter().map(|i| groups[*i].clone()).collect();
            if step == 0
                && let Some(longest) = groups.iter().max_by_key(|g| g.rows())
            {
                trainer.check_gradients(longest)?;
            }
            let lr = learning_rate.lr_at(step);
            let ids: Vec<&str> = chosen.iter().map(|i| rows[*i].id.as_str()).collect();
            let (loss, tokens, norm) = one_step(&mut trainer, &groups, config, lr)
                .map_err(|e| e.context(format!("training step {} on rows {}", step + 1, listed(&ids))))?;
            step += 1;
            on_step(&StepMetrics {
                step,
                total_steps: learning_rate.total_steps,
                values: vec![
                    ("loss", loss),
                    ("grad_norm", norm),
                    ("learning_rate", lr),
                    ("num_tokens", tokens as f64),
                    ("epoch", step as f64 / steps_per_epoch as f64),
                ],
            })?;
        }
    }
    Ok(())
}

fn one_step(trainer: &mut Trainer, groups: &[Group], config: &TrainingConfig, lr: f64) -> Result<(f64, usize, f64)> {
    let tokens: usize = groups.iter().map(|g| g.responses[0].len()).sum();
    let mut sum = 0.0;
    for part in batches(groups, config.micro_batch_tokens) {
        let batch = Batch::new(&groups[part]);
        let pass = trainer.forward(&batch)?;
        sum += sequence_logp(&pass.logps);
        let g = vec![(-1.0 / tokens as f64) as f32; batch.targets.tokens.len()];
        trainer.backward(&batch, pass, &g)?;
    }
    let loss = -sum / tokens as f64;
    if !loss.is_finite() {
        return Err(Error::run(format!("the loss is {loss}")).help("lower the learning rate, or look at these rows"));
    }
    Ok((loss, tokens, trainer.step(lr)?))
}
