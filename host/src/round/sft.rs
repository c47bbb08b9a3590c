//! Supervised fine-tuning: M0 becomes M1.

use serde_json::{Value, json};

use super::dpo::{StepRow, loss_words, save, step_row};
use super::groups;
use super::models::ModelRef;
use super::setup::Run;
use super::working::Working;
use crate::config::{OptimConfig, RunConfig};
use crate::data::template::deep;
use crate::data::{self, ChatFormat, completion};
use crate::error::{Error, Result};
use crate::train::{self, SftRow, TrainingConfig, listed};

/// M1 and the steps that made it; without data for fine-tuning it is M0 itself.
pub fn stage(run: &mut Run) -> Result<(ModelRef, Vec<StepRow>)> {
    let Some(config) = run.config.sft.clone() else { return Ok((run.initial.clone(), Vec::new())) };
    let rows = encode(run.config, &run.chat, &run.eos, run.context, &run.progress.warner())?;
    let initial = run.initial.clone();
    let key = key(run.config, &config, &initial.id, &run.chat_digest, &digest(&rows));
    let artifact = run.stage("sft", "sft", key, |run, folder| {
        let mut model = run.trainable(&initial)?;
        let settings = TrainingConfig::of(&config, run.config.seed);
        settings.check_learns(rows.len())?;
        let mut steps = Vec::new();
        let working = Working::open(run, &config.save)?;
        let checkpoints = working.as_ref().map(Working::checkpoints);
        let progress = &mut *run.progress;
        train::sft_with_checkpoints(&mut model, &rows, &settings, checkpoints.as_ref(), &mut |step| {
            progress.step(step.step, step.total_steps, &loss_words(step), &step.values);
            steps.push(step_row(step));
            Ok(())
        })?;
        groups::write(&folder.join("steps.jsonl"), &steps)?;
        save(&model, &initial, folder)
    })?;
    Ok((ModelRef::of_artifact(&artifact, &run.initial)?, groups::read(&artifact.path.join("steps.jsonl"))?))
}

/// What decides M1. `model`, `tokenizer` and `rows` are digests.
pub fn key(config: &RunConfig, sft: &OptimConfig, model: &str, tokenizer: &str, rows: &str) -> Value {
    json!({
        "model": model, "tokenizer": tokenizer, "rows": rows, "sft": sft.deciding(), "lora": config.lora,
        "seed": config.seed,
    })
}

/// A digest of the rows, in order.
pub fn digest(rows: &[SftRow]) -> String {
    let mut hasher = blake3::Hasher::new();
    for row in rows {
        for ids in [&row.prompt, &row.response] {
            hasher.update(&(ids.len() as u64).to_le_bytes());
            ids.iter().for_each(|id| {
                hasher.update(&id.to_le_bytes());
            });
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// The rows as tokens. Those over the model's context, in tokens, are left out, and counted in a warning.
pub fn encode(
    config: &RunConfig,
    chat: &ChatFormat,
    eos: &[u32],
    context: usize,
    warn: &dyn Fn(&str),
) -> Result<Vec<SftRow>> {
    let (rows, too_long) = deep(|| conversations(config, chat, eos, context))??;
    if !too_long.is_empty() {
        let (dropped, all) = (too_long.len(), too_long.len() + rows.len());
        let named = listed(&too_long.iter().map(String::as_str).collect::<Vec<_>>());
        let what = format!("{dropped} of {all} rows of data.sft have more than the model's {context} tokens");
        if rows.is_empty() {
            return Err(Error::input(what).help("shorten the rows, or use a model with a longer context"));
        }
        warn(&format!("{what} and are dropped: {named}"));
    }
    let ends = |row: &SftRow| row.response.last().is_some_and(|id| eos.contains(id));
    if !rows.is_empty() && !rows.iter().any(ends) {
        return Err(Error::input(
            "no row's response ends with an end-of-sequence token, so the model would never stop",
        )
        .file(&config.model.path)
        .help(
            "name the token that the chat template writes after an answer as eos_token_id in generation_config.json",
        ));
    }
    Ok(rows)
}

/// The rows that fit in the context, and the ids of the others.
fn conversations(
    config: &RunConfig,
    chat: &ChatFormat,
    eos: &[u32],
    context: usize,
) -> Result<(Vec<SftRow>, Vec<String>)> {
    let (mut rows, mut too_long) = (Vec::new(), Vec::new());
    for file in &config.data.sft {
        for row in data::rows::read_sft(file)? {
            let place = |e: Error| e.context(format!("encoding the row '{}' of {}", row.id, file.display()));
            let (prompt, response) =
                completion::conversation(chat, eos, &row.prompt, &row.completion).map_err(place)?;
            if prompt.len() + response.len() > context {
                too_long.push(row.id.clone());
                continue;
            }
            rows.push(SftRow { id: row.id.clone(), prompt, response });
        }
    }
    Ok((rows, too_long))
}
