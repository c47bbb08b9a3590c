//! `creamery judge`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::chat::TemplateArgs;
use super::plugin_args::PluginArgs;
use super::stage::{ModelArgs, OutArgs, RowWriter};
use crate::config::{ModelSlot, OnFailure, SlotConfig, SlotsFile};
use crate::data::{ChatFormat, ChatOptions};
use crate::error::{Error, Result};
use crate::hub;
use crate::model::Decoder;
use crate::plugins;
use crate::plugins::rehearsal::{self, SlotAbilities};
use crate::report::Progress;
use crate::round::answers::Desk;
use crate::round::exchange::{CURRENT, GroupFile};
use crate::round::groups::reasons;
use crate::round::judge::{Judged, Judging, JudgmentRow, ViewpointScores};
use crate::round::models::{ModelRef, Models};
use crate::round::setup::external_model;
use crate::score::{ScoreGroup, check_group};
use crate::slots::{self, Capabilities, OWN_NAMES, Slots};

const EXAMPLES: &str = r#"Rows, as `creamery generate` writes them:
  {"id", "prompt": [messages], "prompt_ids": [1, 5], "responses": [{"text", "ids": [9, 2], "finish": "stop"}, …]}

Result, the same lines and:
  "scores": {"current": [-0.5, null], "previous": [-0.7, -0.1]}    one entry for each response; null: no score
  "abstained": {"current": {"1": "why there is no score"}}
  "skipped": {"current": "why the judge failed on this group"}     with --on-failure skip

Examples:
  creamery judge --model examples/quickstart/model --groups examples/stages/groups.jsonl \
    --param score=mean-likelihood --out out/scores.jsonl
  creamery judge --plugin builtin:implicit-reward --model examples/quickstart/model \
    --viewpoint previous=examples/quickstart/model --reference examples/quickstart/model \
    --groups examples/stages/groups.jsonl --out out/viewpoints.jsonl"#;

/// Scores of responses by a judge plugin, from one viewpoint or several
///
/// The judge runs once for each viewpoint, with that viewpoint's model behind its slot "judge". The response's tokens
/// are scored as they stand in the row; nothing is tokenized again. Where an adapter (LoRA) is given as a viewpoint,
/// reference or initial model and the base that it names is not here, it is used on the model's base, with a warning.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Judge {
    /// JSON Lines of prompts with their responses
    #[arg(long, value_name = "FILE")]
    groups: PathBuf,
    /// The model is the viewpoint "current", by whose scores responses are chosen
    #[command(flatten)]
    model: ModelArgs,
    /// Another viewpoint, as often as you like: --viewpoint previous=DIR
    #[arg(long, value_name = "NAME=DIR")]
    viewpoint: Vec<String>,
    /// The model behind the judge's slot "reference" [default: that of --initial]
    #[arg(long, value_name = "DIR")]
    reference: Option<PathBuf>,
    /// The model behind the judge's slot "initial"
    #[arg(long, value_name = "DIR")]
    initial: Option<PathBuf>,
    /// The model behind a slot of the judge's own, of whatever family: --slot grader=DIR. As often as you like
    #[arg(long, value_name = "NAME=DIR")]
    slot: Vec<String>,
    /// More slots of the judge's own, from a TOML file with tables [slots.NAME] as in a run's config: models, GGUF files,
    /// servers, programs
    #[arg(long, value_name = "FILE")]
    slots: Option<PathBuf>,
    /// Where answers of servers are kept, so that nothing is asked twice
    #[arg(long, value_name = "DIR", default_value = ".creamery/store")]
    store: PathBuf,
    /// What happens to a group on which the judge fails: end, count every response as abstained, or mark the group to
    /// be dropped. A judge that must see all groups at once fails on all of them
    #[arg(long, value_enum, default_value = "stop")]
    on_failure: Failure,
    /// How often the judge may ask the models before it must have scored
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    max_steps: u16,
    /// Names the random streams, where the judge lets a model generate
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The round that the judge is told, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    round: u32,
    /// Write the preference pairs of judgments, which a judge may report, to this file: JSON Lines of "viewpoint", "group",
    /// "prompt", "chosen" and "rejected", with their tokens, and "weight"
    #[arg(long, value_name = "FILE")]
    judgments: Option<PathBuf>,
    #[command(flatten)]
    template: TemplateArgs,
    #[command(flatten)]
    plugin: PluginArgs,
    #[command(flatten)]
    out: OutArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Failure {
    Stop,
    Abstain,
    Skip,
}

/// A line of `--judgments`.
#[derive(Serialize)]
struct JudgmentLine<'a> {
    viewpoint: &'a str,
    #[serde(flatten)]
    pair: &'a JudgmentRow,
}

impl Judge {
    pub(super) fn run(self) -> Result<()> {
        let file = GroupFile::read(&self.groups)?;
        let mut progress = self.out.progress();
        let max_steps = usize::from(self.max_steps);
        let mut judge = self.plugin.load(
            (plugins::Kind::Judge, plugins::load_judge),
            "builtin:implicit-reward",
            max_steps,
            &progress,
        )?;

        let folder = self.model.fetch(&mut progress)?;
        let mut models = Models::new(self.model.start()?);
        let mut current = ModelRef::of_folder(&folder)?;
        if let Some(adapter) = self.model.adapter()? {
            current = current.with_adapter(&adapter)?;
        }
        let chat = ChatFormat::load_with(&current.root().path, &self.template.options()?)?;
        let viewpoints = self.viewpoints(&current, &mut models, &mut progress)?;
        let slots = self.slots(&current, &mut models, &mut progress)?;
        let decoder = models.get(&current)?;
        chat.tokenizer().check_vocab(decoder.config.vocab_size)?;
        for (g, group) in file.sampled.iter().enumerate() {
            let responses = group.responses.iter().map(|r| r.ids.as_slice()).collect();
            check_group(&decoder, &ScoreGroup { prompt: &group.prompt_ids, responses })
                .map_err(|what| file.error(g, what).help("judge with the model's family that sampled the responses"))?;
        }
        let mut others = self.others(&current, &decoder, &mut progress)?;
        drop(decoder);
        let eos = chat.tokenizer().stop_ids(&current.root().path)?;
        let on_failure = match self.on_failure {
            Failure::Stop => OnFailure::Stop,
            Failure::Abstain => OnFailure::Abstain,
            Failure::Skip => OnFailure::Skip,
        };
        let own = std::iter::once("judge").chain(slots.iter().map(|(name, _)| *name));
        let own = own.map(|name| SlotAbilities::new(name, Capabilities::ALL));
        let further = others.names().filter_map(|name| Some(SlotAbilities::new(name, others.capabilities(name)?)));
        let abilities: Vec<_> = own.chain(further).collect();
        let prompts = file.sampled.iter().map(|group| group.prompt.as_slice());
        let made_up = rehearsal::groups(prompts, file.sampled.first().map_or(2, |g| g.responses.len()));
        let mut played = Vec::with_capacity(viewpoints.len());
        for (viewpoint, _) in &viewpoints {
            let performance = rehearsal::judge(&mut *judge, "judge", viewpoint, &abilities, &made_up, max_steps);
            played.push(performance.map_err(|e| self.slot_help(e))?);
        }
        let warn = progress.warner();
        for name in rehearsal::unasked(others.names(), &played) {
            warn(&format!("the judge does not ask the slot '{name}'; its parameters name the slots that it asks"));
        }

        let kept = self.judgments.iter().map(PathBuf::as_path);
        let out = self.out.open(&std::iter::once(self.groups.as_path()).chain(kept).collect::<Vec<_>>())?;
        let mut judgments = match &self.judgments {
            Some(file) => Some(RowWriter::beside(file, "--judgments", &[&self.groups])?),
            None => None,
        };
        let mut scores = Vec::with_capacity(viewpoints.len());
        for (viewpoint, model) in viewpoints {
            progress.start(&format!("judge as {viewpoint}"));
            let started = std::time::Instant::now();
            let slots = [&[("judge", model)], slots.as_slice()].concat();
            let mut desk = Desk {
                models: &mut models,
                slots: &slots,
                others: &mut others,
                chat: &chat,
                eos: &eos,
                // The rows do not say which model their log-probabilities are of.
                sampled_by: None,
                seed: self.seed,
                round: self.round,
            };
            let work = Judging { judge: &mut *judge, viewpoint: &viewpoint, desk: &mut desk, on_failure, max_steps };
            let judged = work.scores(&file.sampled, &mut |done, all| progress.update(done, all));
            let Judged { rows, counts, judgments: pairs, .. } = judged.map_err(|e| self.slot_help(e))?;
            progress.finish(false, started.elapsed().as_secs_f64());
            let mut line =
                format!("{viewpoint}: {} responses, {} without a score", counts.responses, counts.abstentions);
            if counts.abstentions > 0 {
                line += &format!(" ({})", reasons(&counts.reasons));
            }
            progress.line(&format!("{line}; {} failed groups, {} queries", counts.failed_groups, counts.queries));
            for (name, measure) in &counts.measures {
                let mean = measure.mean().map_or_else(|| "–".to_owned(), |mean| format!("{mean:.4}"));
                progress.line(&format!("{viewpoint}: {name} {mean}, the mean of {}", measure.count));
            }
            if counts.judgments > 0 {
                let kept = if judgments.is_some() { "" } else { "; --judgments FILE keeps them" };
                progress.line(&format!("{viewpoint}: {} preference pairs of judgments{kept}", counts.judgments));
            }
            if let Some(writer) = &mut judgments {
                for pair in &pairs {
                    writer.write(&JudgmentLine { viewpoint: &viewpoint, pair })?;
                }
            }
            scores.push(ViewpointScores { viewpoint, rows });
        }
        out.write_all(file.with_scores(&scores))?;
        judgments.map_or(Ok(()), RowWriter::finish)
    }

    /// Names and models, the current one first.
    fn viewpoints(
        &self,
        current: &ModelRef,
        models: &mut Models,
        progress: &mut Progress,
    ) -> Result<Vec<(String, ModelRef)>> {
        let mut viewpoints = vec![(CURRENT.to_owned(), current.clone())];
        for argument in &self.viewpoint {
            let wrong = |what: &str| Error::config(format!("--viewpoint {argument}: {what}"));
            let (name, folder) = match argument.split_once('=') {
                Some((name, folder)) if !name.is_empty() && !folder.is_empty() => (name, folder),
                _ => return Err(wrong("expected NAME=DIR").help("for example --viewpoint previous=models/M0")),
            };
            if viewpoints.iter().any(|(known, _)| known == name) {
                let help = format!("each viewpoint needs a name of its own; \"{CURRENT}\" is the model of --model");
                return Err(wrong("there is such a viewpoint already").help(help));
            }
            let what = format!("the viewpoint '{name}'");
            let folder = hub::folder(folder.as_ref(), hub::Part::Model, progress)?;
            viewpoints.push((name.to_owned(), external_model(&folder, &what, current, models, progress)?));
        }
        Ok(viewpoints)
    }

    /// The slots beside "judge" that have a model.
    fn slots(
        &self,
        current: &ModelRef,
        models: &mut Models,
        progress: &mut Progress,
    ) -> Result<Vec<(&'static str, ModelRef)>> {
        let mut slots = Vec::new();
        let reference = self.reference.as_ref().or(self.initial.as_ref());
        for (name, folder) in [("reference", reference), ("initial", self.initial.as_ref())] {
            if let Some(folder) = folder {
                let folder = &hub::folder(folder, hub::Part::Model, progress)?;
                let what = format!("the {name} model");
                slots.push((name, external_model(folder, &what, current, models, progress)?));
            }
        }
        Ok(slots)
    }

    /// The slots of the judge's own.
    fn others(&self, current: &ModelRef, model: &Decoder, progress: &mut Progress) -> Result<Slots> {
        let mut configs = match &self.slots {
            Some(file) => SlotsFile::load(file, self.plugin.allows_native())?.slots,
            None => BTreeMap::new(),
        };
        for argument in &self.slot {
            let wrong = |what: &str| Error::config(format!("--slot {argument}: {what}"));
            let (name, folder) = match argument.split_once('=') {
                Some((name, folder)) if !name.is_empty() && !folder.is_empty() => (name, folder),
                _ => return Err(wrong("expected NAME=DIR").help("for example --slot grader=models/grader")),
            };
            if OWN_NAMES.contains(&name) {
                return Err(wrong("this slot has an option of its own").help("--model, --reference or --initial"));
            }
            let slot = SlotConfig::Model(ModelSlot { model: folder.into(), chat: ChatOptions::default() });
            if configs.insert(name.to_owned(), slot).is_some() {
                return Err(wrong("there is such a slot already"));
            }
        }
        let mut folders = BTreeMap::new();
        for (name, slot) in &configs {
            if let SlotConfig::Model(slot) = slot {
                folders.insert(name.clone(), hub::folder(&slot.model, hub::Part::Model, progress)?);
            }
        }
        let place = slots::Place {
            device: model.device(),
            initial: current,
            initial_model: model,
            store: &self.store,
            warn: Arc::new(progress.warner()),
        };
        Slots::open(&configs, &folders, &place)
    }

    fn slot_help(&self, error: Error) -> Error {
        if error.message().contains("slot") && (self.reference.is_none() || self.initial.is_none()) {
            return error.help("--reference DIR and --initial DIR name the models behind these slots of the judge");
        }
        error
    }
}
