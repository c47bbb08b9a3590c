//! Training: M_t becomes M_{t+1} on its own preference pairs, with M_t as the reference.

use std::path::Path;

use serde_json::{Value, json};

use super::groups;
use super::models::{CHECKPOINT, ModelRef};
use super::regularize::Labels;
use super::setup::Run;
use super::working::Working;
use crate::error::{Error, Result};
use crate::model::{Decoder, copy_tokenizer};
use crate::score::{ScoreGroup, group_logps};
use crate::store::Artifact;
use crate::train::{self, DpoConfig, PreferencePair, StepMetrics, sequence_logp};

/// A checkpoint with the metrics of its training steps.
pub struct Trained {
    pub model: ModelRef,
    pub artifact: Artifact,
}

impl Trained {
    pub fn steps(&self) -> Result<Vec<StepRow>> {
        groups::read(&self.artifact.path.join("steps.jsonl"))
    }
}

/// A line of `steps.jsonl`: the step's number and its metrics under TRL's names.
pub type StepRow = serde_json::Map<String, Value>;

pub fn step_row(step: &StepMetrics) -> StepRow {
    let number = ("step".to_owned(), json!(step.step));
    let metrics = step.values.iter().map(|(name, value)| (name.to_string(), json!(value)));
    std::iter::once(number).chain(metrics).collect()
}

/// The loss, for the progress bar.
pub fn loss_words(step: &StepMetrics) -> String {
    step.get("loss").map(|loss| format!("loss {loss:.4}")).unwrap_or_default()
}

pub fn stage(run: &mut Run, t: usize, policy: &ModelRef, labels: &Labels) -> Result<Trained> {
    let info = run.regularizer.info();
    let key = json!({
        "model": policy.id, "tokenizer": run.chat_digest, "pairs": labels.artifact.id,
        "train": run.config.train.deciding(), "lora": run.config.lora, "objective": info.digest,
        "params": info.params, "round": t,
        "seed": run.config.seed,
    });
    let artifact = run.stage(&format!("round {t}: train"), "train", key, |run, folder| {
        let mut model = run.trainable(policy)?;
        let pairs = preference_pairs(&model, labels)?;
        let config = run.dpo_config(t);
        config.training.check_learns(pairs.len())?;
        let steps = optimize(run, &mut model, &pairs, &config)?;
        groups::write(&folder.join("steps.jsonl"), &steps)?;
        save(&model, run.initial.root(), folder)
    })?;
    Ok(Trained { model: ModelRef::of_artifact(&artifact, policy)?, artifact })
}

fn optimize(run: &mut Run, model: &mut Decoder, pairs: &[PreferencePair], config: &DpoConfig) -> Result<Vec<StepRow>> {
    let mut steps = Vec::new();
    let working = Working::open(run, &run.config.train.optim.save)?;
    let checkpoints = working.as_ref().map(Working::checkpoints);
    let (progress, regularizer) = (&mut *run.progress, &mut run.regularizer);
    let objective = &mut |batch: &_| regularizer.objective(batch);
    train::dpo_with_checkpoints(model, pairs, objective, config, checkpoints.as_ref(), &mut |step| {
        progress.update_with(step.step, step.total_steps, &loss_words(step));
        steps.push(step_row(step));
        Ok(())
    })?;
    Ok(steps)
}

/// The labelled pairs as tokens, with the reference's log-probabilities: those of M_t before its first step.
fn preference_pairs(reference: &Decoder, labels: &Labels) -> Result<Vec<PreferencePair>> {
    let mut pairs: Vec<PreferencePair> = (labels.read()?.into_iter())
        .map(|row| PreferencePair {
            id: row.id,
            prompt: row.prompt_ids,
            chosen: row.chosen_ids,
            rejected: row.rejected_ids,
            reference_chosen: 0.0,
            reference_rejected: 0.0,
            consistency: row.consistency,
            weight: row.weight,
        })
        .collect();
    let logps = {
        let groups: Vec<ScoreGroup> =
            pairs.iter().map(|p| ScoreGroup { prompt: &p.prompt, responses: vec![&p.chosen, &p.rejected] }).collect();
        group_logps(reference, &groups)?
    };
    for (pair, logps) in pairs.iter_mut().zip(logps) {
        (pair.reference_chosen, pair.reference_rejected) = (sequence_logp(&logps[0]), sequence_logp(&logps[1]));
    }
    Ok(pairs)
}

/// Writes a checkpoint, or an adapter on `base`, with the files that turn text into tokens.
pub fn save(model: &Decoder, base: &ModelRef, folder: &Path) -> Result<()> {
    let to = folder.join(CHECKPOINT);
    std::fs::create_dir_all(&to).map_err(|e| Error::io("create", &to, &e))?;
    match model.adapter() {
        Some(_) => model.save_adapter(&to, &base.place()?)?,
        None => model.save(&to)?,
    }
    copy_tokenizer(&base.path, &to)
}
