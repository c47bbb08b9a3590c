//! Training: M_t becomes M_{t+1} on its own preference pairs, with M_t as the reference.

use std::path::Path;

use creamery_plugin::{Column, ObjectiveBatch, ObjectiveValue};
use serde_json::{Value, json};

use super::groups::{self, LabelledPair};
use super::models::{CHECKPOINT, ModelRef};
use super::rank::Ranking;
use super::regularize::Labels;
use super::setup::Run;
use super::working::Working;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::model::{Decoder, copy_tokenizer};
use crate::plugins::{PluginInfo, RegularizerPlugin};
use crate::score::{ScoreGroup, group_logps};
use crate::store::Artifact;
use crate::train::{self, DpoConfig, Objective, PreferencePair, Reference, StepMetrics, sequence_logp};

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

pub fn stage(run: &mut Run, t: usize, policy: &ModelRef, ranking: &Ranking, labels: &Labels) -> Result<Trained> {
    let key = key(run.config, t, &policy.id, &run.chat_digest, &labels.artifact.id, run.objective().info());
    let artifact = run.stage(&format!("round {t}: train"), "train", key, |run, folder| {
        let mut model = run.trainable(policy)?;
        let rows = labels.read()?;
        let columns = columns(&rows)?;
        let config = run.dpo_config(t);
        let mut pairs = preference_pairs(rows);
        if config.reference != Reference::Free {
            with_reference(&model, &mut pairs)?;
        }
        config.training.check_learns(pairs.len()).or_else(|e| Err(e.context(origin(ranking, labels)?)))?;
        let steps = optimize(run, &mut model, &pairs, &columns, &config)?;
        groups::write(&folder.join("steps.jsonl"), &steps)?;
        save(&model, run.initial.root(), folder)
    })?;
    Ok(Trained { model: ModelRef::of_artifact(&artifact, policy)?, artifact })
}

/// What decides M_{t+1}: the digests of M_t and of the tokenizer, the id of the labelled pairs, and the plugin whose
/// objective is used.
pub fn key(config: &RunConfig, t: usize, model: &str, tokenizer: &str, pairs: &str, objective: &PluginInfo) -> Value {
    json!({
        "model": model, "tokenizer": tokenizer, "pairs": pairs, "train": config.train.deciding(),
        "lora": config.lora, "objective": objective.digest, "params": objective.params, "round": t,
        "seed": config.seed,
    })
}

/// Where the pairs come from, and what gave none.
fn origin(ranking: &Ranking, labels: &Labels) -> Result<String> {
    let (ranked, labelled) = (ranking.counts()?, labels.counts()?);
    let mut text = format!("training on the pairs of {} groups", ranked.groups);
    for (who, dropped) in [("ranker", &ranked.dropped), ("regularizer", &labelled.dropped)] {
        if !dropped.is_empty() {
            text.push_str(&format!("; the {who} left out {}", groups::reasons(dropped)));
        }
    }
    Ok(text)
}

fn optimize(
    run: &mut Run,
    model: &mut Decoder,
    pairs: &[PreferencePair],
    columns: &[Column],
    config: &DpoConfig,
) -> Result<Vec<StepRow>> {
    let mut steps = Vec::new();
    let working = Working::open(run, &run.config.train.optim.save)?;
    let checkpoints = working.as_ref().map(Working::checkpoints);
    let (progress, plugin) = (&mut *run.progress, run.objective.as_mut().unwrap_or(&mut run.regularizer));
    let evaluate = &mut plugin_objective(&mut **plugin);
    train::dpo_with_checkpoints(
        model,
        pairs,
        &mut Objective { evaluate, columns },
        config,
        checkpoints.as_ref(),
        &mut |step| {
            progress.step(step.step, step.total_steps, &loss_words(step), &step.values);
            steps.push(step_row(step));
            Ok(())
        },
    )?;
    Ok(steps)
}

/// A plugin's objective, with columns where there are any.
pub fn plugin_objective(
    plugin: &mut dyn RegularizerPlugin,
) -> impl FnMut(&ObjectiveBatch, &[Column]) -> Result<ObjectiveValue> {
    |batch, columns| match columns {
        [] => plugin.objective(batch),
        _ => plugin.objective_columns(batch, columns),
    }
}

/// The columns of the pairs; all have those of the first.
fn columns(rows: &[LabelledPair]) -> Result<Vec<Column>> {
    let names = rows.first().map(|row| row.columns.keys()).into_iter().flatten();
    let column = |name: &String| {
        let value = |row: &LabelledPair| {
            row.columns.get(name).copied().ok_or_else(|| {
                Error::run(format!("pair '{}' lacks the column '{name}', which pair '{}' has", row.id, rows[0].id))
            })
        };
        Ok(Column { name: name.clone(), values: rows.iter().map(value).collect::<Result<_>>()? })
    };
    names.map(column).collect()
}

/// The labelled pairs as tokens, without a reference.
fn preference_pairs(rows: Vec<LabelledPair>) -> Vec<PreferencePair> {
    (rows.into_iter())
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
        .collect()
}

/// Gives the pairs the reference's log-probabilities: those of M_t before its first step.
fn with_reference(reference: &Decoder, pairs: &mut [PreferencePair]) -> Result<()> {
    let logps = {
        let groups: Vec<ScoreGroup> =
            pairs.iter().map(|p| ScoreGroup { prompt: &p.prompt, responses: vec![&p.chosen, &p.rejected] }).collect();
        group_logps(reference, &groups)?
    };
    for (pair, logps) in pairs.iter_mut().zip(logps) {
        (pair.reference_chosen, pair.reference_rejected) = (sequence_logp(&logps[0]), sequence_logp(&logps[1]));
    }
    Ok(())
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
