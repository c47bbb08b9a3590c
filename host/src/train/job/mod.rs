//! One training from files to files: `creamery train`.
//!
//! ```text
//! OUT.partial/checkpoint-N/…   while it goes: checkpoints, metrics.jsonl, tensorboard/, the reference's numbers
//! OUT/…                        when it is done: that folder under its final name, with the model in it
//! OUT/train.json               settings, digests, rows dropped, the last metrics
//! OUT/metrics.jsonl            a line a step, under TRL's names
//! ```

mod goal;
mod output;
mod reference;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use creamery_plugin::Column;
use serde_json::{Map, Value, json};

use super::encode::{Encoded, Encoder};
use super::{
    Checkpoints, DpoConfig, Objective, PreferencePair, Reference, SftRow, StepMetrics, TrainingConfig,
    dpo_with_checkpoints, sft_with_checkpoints,
};
use crate::config::TrainingSettings;
use crate::data::rows::{self, TrainingLine, TrainingText};
use crate::data::{ChatFormat, ChatOptions};
use crate::error::{Error, Kind, Result};
use crate::model::{self, Decoder};
use crate::plugins::RegularizerPlugin;
use crate::report::Progress;
use crate::round::models::ModelRef;
use crate::round::setup::{SOURCES, chat_digest};
use goal::Goal;
use output::Output;

/// What to train, from what, into what.
pub struct Job<'a> {
    pub settings: &'a TrainingSettings,
    /// The folder of the model that training starts from.
    pub model: &'a Path,
    /// The adapter on it, whose training goes on.
    pub adapter: Option<&'a Path>,
    /// Loads the two.
    pub load: &'a dyn Fn() -> Result<Decoder>,
    pub data: &'a Path,
    /// Which chat template makes text of conversations, and what it is told.
    pub chat: ChatOptions,
    /// Another model to take the reference's log-probabilities from. `None`: the model that training starts from.
    pub reference: Option<&'a Path>,
    /// There is to be no reference, for an objective that looks at none.
    pub no_reference: bool,
    /// The plugin whose objective takes the place of a loss by name.
    pub objective: Option<RefCell<Box<dyn RegularizerPlugin>>>,
    pub out: &'a Path,
    /// Go on from an unfinished training in the same place.
    pub resume: bool,
}

/// What came of a job.
#[derive(Debug)]
pub enum Outcome {
    /// The same command had been run to its end before.
    WasDone,
    Done {
        steps: Vec<StepMetrics>,
    },
}

/// What was read once, to train from.
struct Inputs<'a> {
    lines: Lines,
    base: ModelRef,
    reference: Option<ModelRef>,
    identity: &'a Value,
}

enum Lines {
    Sft(Vec<TrainingLine<TrainingText<1>>>),
    Pairs(Vec<TrainingLine<rows::PairRow>>),
}

impl Job<'_> {
    /// # Errors
    /// Anything wrong with the files and settings, before an output is made; and what training itself may fail with,
    /// after which an unfinished output stands only if it holds a checkpoint.
    pub fn run(&self, progress: &mut Progress) -> Result<Outcome> {
        let (lines, digest) = match &self.settings.dpo {
            None => {
                let rows = rows::read_sft_training(self.data)?;
                (Lines::Sft(rows.lines), rows.digest)
            }
            Some(_) => {
                let rows = rows::read_pair_training(self.data)?;
                (Lines::Pairs(rows.lines), rows.digest)
            }
        };
        let base = ModelRef::of_folder(self.model)?;
        let reference = self.reference.map(|folder| ModelRef::of_folder_or_on(folder, &base)).transpose()?;
        let identity = self.identity(&base, reference.as_ref(), &digest)?;
        let from = Inputs { lines, base, reference, identity: &identity };
        let Some(output) = Output::open(self.out, &identity, self.resume)? else { return Ok(Outcome::WasDone) };
        match self.train(&from, &output, progress) {
            Ok(steps) => {
                output.finish()?;
                Ok(Outcome::Done { steps })
            }
            Err(e) => {
                // A call that resumes knows of --resume, and would fail again.
                let kept = output.abandon() && !self.resume;
                Err(if kept { e.help("with --resume the same command goes on from the last checkpoint") } else { e })
            }
        }
    }

    fn train(&self, from: &Inputs, output: &Output, progress: &mut Progress) -> Result<Vec<StepMetrics>> {
        let Inputs { lines, base, identity, .. } = from;
        let mut model = self.trainable()?;
        let chat = self.chat(lines, &model)?;
        let stop = match &chat {
            Some(chat) => chat.tokenizer().stop_ids(self.model)?,
            None => model.eos_token_ids().to_vec(),
        };
        let context = model.max_positions();
        let max_length = self.settings.max_length.unwrap_or(context).min(context);
        let encoder = Encoder {
            file: self.data,
            chat: chat.as_ref(),
            vocab_size: model.config.vocab_size,
            padding: padding(chat.as_ref(), &model, &stop),
            max_length,
        };
        let mut training = TrainingConfig::of(&self.settings.optim, self.settings.seed);
        (training.max_steps, training.shuffle) = (self.settings.max_steps, self.settings.shuffle);

        let warn = progress.warner();
        let save = self.settings.save();
        let checkpoints = Checkpoints {
            folder: output.folder().to_owned(),
            save_steps: save.save_steps,
            save_total_limit: save.save_total_limit,
            inputs: (*identity).clone(),
            export: &|model, folder| self.export(model, base, folder),
            warn: &warn,
        };
        // Made with the first step, so that a call that fails before leaves the one before it as it was.
        let mut log = None;
        let mut steps = Vec::new();
        let mut on_step = |progress: &mut Progress, step: &StepMetrics| {
            let log = match &mut log {
                Some(log) => log,
                none => none.insert(output.log()?),
            };
            log.write(step)?;
            let loss = step.get("loss").unwrap_or(f64::NAN);
            progress.update_with(step.step, step.total_steps, &format!("loss {loss:.4}"));
            steps.push(step.clone());
            Ok(())
        };
        let rows = match (lines, &self.settings.dpo) {
            (Lines::Pairs(lines), Some(settings)) => {
                let goal = Goal::of(settings, self.objective.as_ref());
                let encoded = encoder.pairs(lines, goal.needs_consistency())?;
                let columns = goal.columns(lines, &encoded.kept).map_err(|e| e.file(self.data))?;
                let reference = self.reference_kind(&goal, &encoded.rows, &columns, settings.beta)?;
                if let (Goal::Loss(_), Some(name)) = (&goal, lines.first().and_then(|l| l.row.columns.keys().next())) {
                    warn(&format!("the pairs have columns ('{name}' is one), which a loss by name does not look at"));
                }
                let counts = self.report(&encoded, lines.len(), max_length, progress);
                if encoded.rows.iter().all(|pair| pair.weight == 0.0) {
                    return Err(Error::run("nothing to train on: every pair has weight 0").file(self.data));
                }
                training.check_learns(encoded.rows.len())?;
                let pairs = self.referenced(encoded.rows, &model, reference, from, output, progress)?;
                let config = DpoConfig {
                    training,
                    beta: settings.beta,
                    nll_weight: settings.nll_weight,
                    expect_ln2: goal.starts_at_ln2(),
                    reference,
                };
                progress.start("train");
                let evaluate = &mut |batch: &_, columns: &[_]| goal.evaluate(batch, columns);
                let objective = &mut Objective { evaluate, columns: &columns };
                let on_step = &mut |step: &_| on_step(progress, step);
                dpo_with_checkpoints(&mut model, &pairs, objective, &config, Some(&checkpoints), on_step)?;
                counts
            }
            (Lines::Sft(lines), _) => {
                let encoded = encoder.sft(lines)?;
                let counts = self.report(&encoded, lines.len(), max_length, progress);
                warn_without_end(&encoded.rows, &stop, progress);
                training.check_learns(encoded.rows.len())?;
                progress.start("train");
                let on_step = &mut |step: &_| on_step(progress, step);
                sft_with_checkpoints(&mut model, &encoded.rows, &training, Some(&checkpoints), on_step)?;
                counts
            }
            (Lines::Pairs(_), None) => return Err(Error::run("preference rows without settings for them")),
        };
        self.export(&model, base, output.folder())?;
        let last: Map<String, Value> = (steps.last().into_iter())
            .flat_map(|step| step.values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))))
            .collect();
        output.record(&json!({
            "creamery": env!("CARGO_PKG_VERSION"),
            "method": if self.settings.dpo.is_some() { "dpo" } else { "sft" },
            "model": self.model, "adapter": self.adapter, "data": self.data, "reference": self.reference,
            "identity": identity,
            "settings": self.settings,
            "rows": rows,
            "steps": steps.len(),
            "last": last,
        }))?;
        Ok(steps)
    }

    /// Everything that decides the result, so that nothing else is ever taken for it.
    fn identity(&self, base: &ModelRef, reference: Option<&ModelRef>, data: &str) -> Result<Value> {
        let model = match self.adapter {
            Some(adapter) => base.with_adapter(adapter)?.id,
            None => base.id.clone(),
        };
        let objective = self.objective.as_ref().map(|plugin| {
            let plugin = plugin.borrow();
            let info = plugin.info();
            json!({ "name": info.name(), "digest": info.digest, "params": info.params })
        });
        Ok(json!({
            "model": model,
            "tokenizer": chat_digest(self.model, &self.chat)?,
            "reference": reference.map(|r| &r.id),
            "objective": objective,
            "no-reference": self.no_reference.then_some(true),
            "data": data,
            "settings": self.settings.deciding(),
            "sources": SOURCES,
            "instruction-set": model::instruction_set(),
        }))
    }

    /// The model with what is trained of it: all, its adapter, or a fresh one.
    fn trainable(&self) -> Result<Decoder> {
        let model = (self.load)()?;
        match &self.settings.lora {
            None => Ok(model),
            Some(_) if model.adapter().is_some() => {
                Err(Error::config("the model has an adapter already, and [lora] asks for a new one")
                    .help("leave the lora settings out to go on with the adapter, or merge it into the model first"))
            }
            Some(lora) => model
                .add_adapter(&lora.adapter(), self.settings.seed)
                .map_err(|e| e.with_kind(Kind::Config).context("setting up [lora] on the model")),
        }
    }

    /// Rows of token ids alone need no tokenizer.
    fn chat(&self, lines: &Lines, model: &Decoder) -> Result<Option<ChatFormat>> {
        fn ids_alone<const N: usize>(row: &TrainingText<N>) -> bool {
            matches!(row, TrainingText::Ids { texts, .. } if texts.iter().all(Option::is_none))
        }
        let ids_alone = match lines {
            Lines::Sft(lines) => lines.iter().all(|line| ids_alone(&line.row)),
            Lines::Pairs(lines) => lines.iter().all(|line| ids_alone(&line.row.text)),
        };
        if ids_alone {
            return Ok(None);
        }
        let chat = ChatFormat::load_with(self.model, &self.chat)?;
        chat.tokenizer().check_vocab(model.config.vocab_size)?;
        Ok(Some(chat))
    }

    fn report<T>(&self, encoded: &Encoded<T>, read: usize, max_length: usize, progress: &mut Progress) -> Value {
        let warn = progress.warner();
        let dropped = encoded.too_long.len();
        if dropped > 0 {
            let named = super::listed(&encoded.too_long.iter().map(String::as_str).collect::<Vec<_>>());
            warn(&format!("{dropped} of {read} rows have more than {max_length} tokens and are dropped: {named}"));
        }
        if encoded.cut_prompts > 0 {
            warn(&format!(
                "in {} rows the template writes the end of the prompt otherwise when an answer follows; it is left out",
                encoded.cut_prompts
            ));
        }
        json!({
            "read": read,
            "used": encoded.rows.len(),
            "max-length": max_length,
            "too-long": encoded.too_long,
            "cut-prompts": encoded.cut_prompts,
        })
    }

    /// Where the reference's numbers come from. A plugin does not say whether its objective looks at them, so it is
    /// tried.
    ///
    /// # Errors
    /// What the objective fails with, a reference that it does not look at, and none where it looks at one.
    fn reference_kind(
        &self,
        goal: &Goal,
        pairs: &[PreferencePair],
        columns: &[Column],
        beta: f64,
    ) -> Result<Reference> {
        let depends = goal.looks_at_reference(pairs, columns, beta)?;
        let what = goal.title();
        match (self.reference.is_some(), self.no_reference, depends) {
            (true, _, false) => Err(Error::config(format!("{what} has no reference, so --reference has no meaning"))
                .help("leave it out, or choose another --loss or --objective")),
            (_, true, true) => Err(Error::config(format!("{what} looks at a reference, and --no-reference is given"))
                .help("leave it out, or choose another --loss or --objective")),
            (true, _, true) => Ok(Reference::Other),
            (false, true, false) => Ok(Reference::Free),
            // By name it is known for sure; a plugin's gets one, as it may look at it later.
            (false, false, _) if goal.reference_free() => Ok(Reference::Free),
            (false, false, _) => Ok(Reference::Start),
        }
    }

    fn referenced(
        &self,
        pairs: Vec<PreferencePair>,
        start: &Decoder,
        reference: Reference,
        from: &Inputs,
        output: &Output,
        progress: &mut Progress,
    ) -> Result<Vec<PreferencePair>> {
        let identity = from.identity;
        let cache = output.folder().join("reference.json");
        match (reference, &from.reference) {
            (Reference::Free, _) => Ok(pairs),
            (_, None) => reference::fill(pairs, || Ok(None), start, identity, &cache, progress),
            (_, Some(named)) => {
                let load = || reference::load_like(named, &from.base, start).map(Some);
                reference::fill(pairs, load, start, identity, &cache, progress)
            }
        }
    }

    /// The model in Hugging Face form, or its adapter in PEFT's, with the tokenizer.
    fn export(&self, model: &Decoder, base: &ModelRef, folder: &Path) -> Result<()> {
        match model.adapter() {
            Some(_) => model.save_adapter(folder, &base.place()?)?,
            None => model.save(folder)?,
        }
        model::copy_tokenizer(self.model, folder)
    }
}

/// The token that fills up rows and does nothing else: many models end their responses with it.
fn padding(chat: Option<&ChatFormat>, model: &Decoder, stop: &[u32]) -> Option<u32> {
    let eos = chat.and_then(|chat| chat.tokenizer().eos_id());
    let named = match chat {
        Some(chat) => chat.tokenizer().pad_id(),
        None => model.config.json.get("pad_token_id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok()),
    };
    named.filter(|id| !stop.contains(id) && Some(*id) != eos)
}

/// A model that never learns to end its answers is rarely meant.
fn warn_without_end(rows: &[SftRow], stop: &[u32], progress: &Progress) {
    let ends = |row: &SftRow| row.response.iter().any(|id| stop.contains(id));
    if !stop.is_empty() && !rows.iter().any(ends) {
        let warn = progress.warner();
        warn("no row's response has an end-of-sequence token, so the model will not learn to stop");
    }
}

/// Where an unfinished output stands.
pub fn partial(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{name}.partial"))
}
