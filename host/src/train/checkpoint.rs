//! Checkpoints in the middle of training: `checkpoint-N` after optimizer step N.
//!
//! ```text
//! checkpoint-40/state.safetensors     the trainable weights and AdamW's moments
//! checkpoint-40/trainer_state.json    steps taken, and the metrics of each
//! checkpoint-40/artifact.json         what it belongs to, and every file's size and checksum
//! checkpoint-40/…                     what the caller adds, like the model in Hugging Face form
//! ```
//!
//! The position in the data and every random stream are functions of the seed and the step, so the number of the step
//! holds them all. A training that goes on from a checkpoint ends with the same bytes as one that ran through.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::state::{self, State};
use super::{METRICS, StepMetrics, Trainer};
use crate::error::{Error, Result};
use crate::model::Decoder;
use crate::store::{check_folder, remove_folder, remove_leftovers, write_atomic, write_folder};

const KIND: &str = "checkpoint";
const STEPS: &str = "trainer_state.json";

/// Where and how often a training saves its state. The folder must belong to one program at a time.
pub struct Checkpoints<'a> {
    /// The folder in which `checkpoint-N` appear.
    pub folder: PathBuf,
    /// Optimizer steps from one to the next; 0 makes none.
    pub save_steps: usize,
    /// How many of the newest are kept; `None` keeps all.
    pub save_total_limit: Option<usize>,
    /// What decides the result beside the rows and the training configuration: digests of the starting model and of
    /// the sources, the objective, the instruction set. An object, so that a difference can be named.
    pub inputs: Value,
    /// Adds files to a checkpoint, for example the model in Hugging Face form.
    pub export: &'a dyn Fn(&Decoder, &Path) -> Result<()>,
    /// Hears of damaged checkpoints.
    pub warn: &'a dyn Fn(&str),
}

/// What a checkpoint holds beside the tensors' values.
pub(super) struct Resumed {
    pub state: State,
    pub steps: Vec<StepMetrics>,
}

impl Checkpoints<'_> {
    /// Is a checkpoint to be made after this many steps?
    pub(super) fn due(&self, steps: usize) -> bool {
        self.save_steps > 0 && steps.is_multiple_of(self.save_steps)
    }

    /// The newest whole checkpoint. Damaged ones are named and passed over; one of another training is an error.
    pub(super) fn latest(&self, model: &Decoder, identity: &Value) -> Result<Option<Resumed>> {
        remove_leftovers(&self.folder);
        for (number, folder) in self.list()?.into_iter().rev() {
            let damaged = |what: String| {
                (self.warn)(&format!("{} is damaged ({what}); it is passed over", folder.display()));
            };
            let key = match check_folder(&folder, KIND) {
                Ok(key) => key,
                Err(what) => {
                    damaged(what);
                    continue;
                }
            };
            if let Some(difference) = difference("", &key["identity"], identity) {
                return Err(Error::config(format!("the checkpoint belongs to another training: {difference}"))
                    .file(&folder)
                    .help("go on with the settings and files that it was made with, or remove it to start anew"));
            }
            match read_steps(&folder, number)
                .and_then(|steps| Ok(Resumed { state: state::load(model, &folder)?, steps }))
            {
                Ok(resumed) => return Ok(Some(resumed)),
                Err(what) => damaged(what),
            }
        }
        Ok(None)
    }

    /// Writes the checkpoint after the last of `steps`, and removes those over the limit.
    pub(super) fn save(&self, trainer: &Trainer, steps: &[StepMetrics], identity: &Value) -> Result<()> {
        let number = steps.len();
        let key = json!({ "identity": identity, "step": number });
        write_folder(&self.folder.join(format!("checkpoint-{number}")), KIND, &key, |folder| {
            state::save(trainer, folder)?;
            write_steps(folder, steps)?;
            (self.export)(trainer.model, folder)
        })?;
        let all = self.list()?;
        let keep = self.save_total_limit.unwrap_or(all.len()).max(1);
        // Those after this step are of a run that was broken off, and are about to be made again.
        let (older, newer): (Vec<_>, Vec<_>) = all.into_iter().partition(|(n, _)| *n <= number);
        let old = older.len().saturating_sub(keep);
        older[..old].iter().chain(&newer).try_for_each(|(_, folder)| remove_folder(folder))
    }

    /// The checkpoints by number.
    fn list(&self) -> Result<Vec<(usize, PathBuf)>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("list", &self.folder, &e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| Error::io("list", &self.folder, &e))?.path();
            let name = path.file_name().and_then(|n| n.to_str());
            if let Some(number) = name.and_then(|n| n.strip_prefix("checkpoint-")).and_then(|n| n.parse().ok()) {
                found.push((number, path));
            }
        }
        found.sort();
        Ok(found)
    }
}

fn write_steps(folder: &Path, steps: &[StepMetrics]) -> Result<()> {
    let history: Vec<Value> = steps
        .iter()
        .map(|s| {
            let step = std::iter::once(("step".to_owned(), json!(s.step)));
            Value::Object(step.chain(s.values.iter().map(|(name, x)| (name.to_string(), json!(x)))).collect())
        })
        .collect();
    let max_steps = steps.last().map_or(0, |s| s.total_steps);
    let state = json!({ "global_step": steps.len(), "max_steps": max_steps, "log_history": history });
    write_atomic(folder.join(STEPS), format!("{state:#}\n"))
}

/// The steps' metrics, bit for bit as they were; or what is wrong with them.
fn read_steps(folder: &Path, number: usize) -> Result<Vec<StepMetrics>, String> {
    let text = fs::read_to_string(folder.join(STEPS)).map_err(|e| format!("{STEPS}: {e}"))?;
    let state: Value = serde_json::from_str(&text).map_err(|e| format!("{STEPS}: {e}"))?;
    let wrong = |what: &str| format!("{STEPS} has no {what}");
    let total_steps = state["max_steps"].as_u64().ok_or_else(|| wrong("max_steps"))? as usize;
    let history = state["log_history"].as_array().ok_or_else(|| wrong("log_history"))?;
    if history.len() != number {
        return Err(format!("{STEPS} has {} steps, expected {number}", history.len()));
    }
    let one = |(i, row): (usize, &Value)| {
        let row = row.as_object().ok_or_else(|| wrong("metrics"))?;
        let values: Option<Vec<_>> = row.iter().filter(|(name, _)| *name != "step").map(metric).collect();
        Ok(StepMetrics { step: i + 1, total_steps, values: values.ok_or_else(|| wrong("known metrics"))? })
    };
    history.iter().enumerate().map(one).collect()
}

fn metric((name, value): (&String, &Value)) -> Option<(&'static str, f64)> {
    Some((METRICS.iter().copied().find(|known| known == name)?, value.as_f64()?))
}

/// The first place where two JSON values differ, in words.
fn difference(path: &str, theirs: &Value, ours: &Value) -> Option<String> {
    if theirs == ours {
        return None;
    }
    if let (Value::Object(a), Value::Object(b)) = (theirs, ours) {
        let missing = |m: &Map<String, Value>, key: &str| m.get(key).cloned().unwrap_or(Value::Null);
        let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
        return keys
            .filter_map(|key| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                difference(&path, &missing(a, key), &missing(b, key))
            })
            .next();
    }
    let short = |value: &Value| {
        let text = value.to_string();
        if text.chars().count() > 40 { format!("{}…", text.chars().take(40).collect::<String>()) } else { text }
    };
    Some(format!("'{path}' is {} there and {} now", short(theirs), short(ours)))
}
