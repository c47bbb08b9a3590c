//! What is fixed during a run: data, tokenizer, plugins, the store.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::folders::Folders;
use super::inputs;
use super::models::{ModelRef, Models, NamedBase};
use super::parts::{self, LoadedJudge, Parts};
use crate::config::{ModelName, RunConfig, ScoringReference, TrainReference};
use crate::data::{self, ChatFormat, ChatOptions, Extractor, Message};
use crate::error::{Error, Kind, Result};
use crate::eval::Question;
use crate::model::{self, Decoder};
use crate::plugins::rehearsal::SlotAbilities;
use crate::plugins::{PluginClock, RankerPlugin, RegularizerPlugin};
use crate::report::Progress;
use crate::slots::{self, Slots};
use crate::store::{Artifact, RunRecord, Store, WORKING_KEPT};
use crate::train::{self, DpoConfig, TrainingConfig};

/// A digest of the sources that decide what a stage makes of its inputs: those of the stages, the model and the
/// linked-in plugins. It goes into every key, so that no artifact of another version is taken for one of this.
pub(crate) const SOURCES: &str = env!("CREAMERY_SOURCES");

/// The key of an artifact: what a stage says that decides it, and what decides every stage's work.
pub(crate) fn whole_key(inputs: Value) -> Value {
    // Kernels follow the instruction set, and with it the last bits of their results.
    static INSTRUCTION_SET: OnceLock<String> = OnceLock::new();
    let instruction_set = INSTRUCTION_SET.get_or_init(model::instruction_set).as_str();
    json!({"sources": SOURCES, "instruction-set": instruction_set, "inputs": inputs})
}

/// A prompt with its tokens.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub id: String,
    pub messages: Vec<Message>,
    pub ids: Vec<u32>,
}

pub struct Run<'r> {
    pub config: &'r RunConfig,
    pub progress: &'r mut Progress,
    pub chat: ChatFormat,
    /// Of tokenizer and template: what turns text into tokens.
    pub chat_digest: String,
    /// End-of-sequence tokens.
    pub eos: Vec<u32>,
    /// The model's context, in tokens.
    pub context: usize,
    /// M0.
    pub initial: ModelRef,
    /// What the judges' slot "reference" holds; `None` is the round's previous model.
    pub scoring_reference: Option<ModelRef>,
    /// M0, M1, … as far as they are made.
    pub policies: Vec<ModelRef>,
    pub models: Models,
    /// Of the judges' own: `[slots.NAME]`.
    pub slots: Slots,
    /// `[judge]`, if a viewpoint uses it, and `[judges.NAME]`.
    pub judges: Vec<LoadedJudge>,
    /// "current" first.
    pub viewpoints: Vec<LoadedViewpoint>,
    /// The models that answer prompts besides the policy.
    pub sources: Vec<LoadedSource>,
    /// E_0 = M0, E_1, … as far as they are made.
    pub averages: Vec<ModelRef>,
    pub ranker: Box<dyn RankerPlugin>,
    pub regularizer: Box<dyn RegularizerPlugin>,
    /// The plugin whose objective is used, if it is not the regularizer.
    pub objective: Option<Box<dyn RegularizerPlugin>>,
    pub eval: Vec<Question>,
    pub eval_digest: String,
    pub extractor: Extractor,
    /// What the plugins take.
    pub clock: PluginClock,
    /// Every stage so far.
    pub timings: Vec<Timing>,
    /// The artifacts of these stages.
    pub artifacts: Vec<ArtifactRow>,
    /// The model that is being made or evaluated.
    pub model: String,
    /// The round that makes it, if one does.
    pub round: Option<usize>,
    /// Judging and ranking are for the evaluation's sake.
    pub evaluating: bool,
    /// Where the present stage may keep what it would go on from.
    pub working: PathBuf,
    /// The id of the artifact that the present stage makes.
    pub making: String,
    prompts: Vec<Prompt>,
    store: Rc<Store>,
    /// Keeps the run's artifacts in the store.
    record: RunRecord,
}

/// A viewpoint, whose model may be another in each round.
pub struct LoadedViewpoint {
    pub name: String,
    /// In [`Run::judges`].
    pub judge: usize,
    pub model: ModelName,
    /// The model, if it is none of the run's own.
    pub external: Option<ModelRef>,
}

/// A model that answers prompts besides the policy; it may be another in each round.
#[derive(Clone)]
pub struct LoadedSource {
    pub name: String,
    pub model: ModelName,
    /// Responses to each prompt.
    pub n: usize,
    /// The model, if it is none of the run's own.
    pub external: Option<ModelRef>,
}

/// How long a stage took, when it was made.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Timing {
    /// The model that the work was for.
    pub model: String,
    pub label: String,
    /// "sft", "sample", "judge", "rank", "regularize", "train" or "evaluate".
    pub part: &'static str,
    /// Of the artifact's making, also if this run only found it.
    pub seconds: f64,
    /// The artifact was there already.
    pub reused: bool,
    /// Of these, inside calls of plugins; of a stage that was found in the store nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_seconds: Option<f64>,
}

/// Where a stage's files are: `STORE/STAGE/ID`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ArtifactRow {
    /// The model that the work was for.
    pub model: String,
    pub label: String,
    /// As in [`Timing`].
    pub part: &'static str,
    pub stage: &'static str,
    pub id: String,
    /// The round that makes the model, if one does.
    pub round: Option<usize>,
    /// Of judging.
    pub viewpoint: Option<String>,
}

impl<'r> Run<'r> {
    /// Reads and checks everything that a run needs, so that what can fail early does.
    pub fn new(config: &'r RunConfig, folders: &Folders, progress: &'r mut Progress) -> Result<Run<'r>> {
        let device = model::device(&config.device.to_string())?;
        let initial = ModelRef::of_folder(&folders.initial)?;
        let mut models = Models::new(device.clone());
        if initial.base.is_some() {
            return Err(Error::input("`model.path` is an adapter, expected a whole model")
                .file(&folders.initial)
                .help("make one of it: creamery merge --model BASE --adapter DIR --out DIR"));
        }
        let m0 = models.get(&initial)?;
        if let Some(lora) = &config.lora {
            m0.add_adapter(&lora.adapter(), config.seed)
                .map_err(|e| e.with_kind(Kind::Config).file(&config.file).context("setting up [lora] on the model"))?;
        }
        let chat = ChatFormat::load_with(&folders.initial, &config.model.chat)?;
        chat.tokenizer().check_vocab(m0.config.vocab_size)?;
        let (eos, context) = (chat.tokenizer().stop_ids(&folders.initial)?, m0.max_positions());
        if eos.is_empty() {
            return Err(Error::input(
                "no end-of-sequence token is named in generation_config.json, config.json or the tokenizer",
            )
            .file(&folders.initial)
            .help("without one no response would ever end; add eos_token_id to generation_config.json"));
        }

        let scoring_reference = match (&config.model.scoring_reference, &folders.scoring_reference) {
            (_, Some(folder)) => {
                Some(external_model(folder, "the scoring reference", &initial, &mut models, progress)?)
            }
            (ScoringReference::Previous, None) => None,
            (_, None) => Some(initial.clone()),
        };

        let store = Store::open(&config.store)?.on_warning(progress.warner()).on_waiting(progress.teller());
        let place = slots::Place {
            device: &device,
            initial: &initial,
            initial_model: &m0,
            store: store.root(),
            warn: Arc::new(progress.warner()),
        };
        let mut slots = Slots::open(&config.slots, &folders.slots, &place)?;

        let prompts = inputs::prompts(config, &chat, context)?;
        let (eval, extractor) = inputs::questions(config, &chat, context)?;
        let eval_digest = inputs::answers_digest(&eval);

        let mut parts = Parts::load(config, progress)?;
        let mut viewpoints = Vec::new();
        for ((viewpoint, judge), folder) in config.viewpoints.iter().zip(&parts.judge_of).zip(&folders.viewpoints) {
            let what = format!("the viewpoint '{}'", viewpoint.name);
            let external = (folder.as_ref())
                .map(|folder| external_model(folder, &what, &initial, &mut models, progress))
                .transpose()?;
            let (name, model) = (viewpoint.name.clone(), viewpoint.model.clone());
            viewpoints.push(LoadedViewpoint { name, judge: *judge, model, external });
        }
        let mut sources = Vec::new();
        for (source, folder) in config.sample.from.iter().zip(&folders.sources) {
            let what = format!("the source '{}'", source.name);
            let external = (folder.as_ref())
                .map(|folder| external_model(folder, &what, &initial, &mut models, progress))
                .transpose()?;
            let (name, model) = (source.name.clone(), source.model.clone());
            sources.push(LoadedSource { name, model, n: source.n, external });
        }
        inputs::check_enough(config, prompts.len())?;
        let further = |name| Some(SlotAbilities::new(name, slots.capabilities(name)?));
        let warn = progress.warner();
        parts::warn_of_missing_models(config, &warn);
        let further = slots.names().filter_map(further).collect();
        parts.rehearse(config, prompts.iter().map(|p| p.messages.as_slice()), further, &warn)?;
        // Fine-tuning comes first, or sampling.
        slots.release();
        let Parts { judges, ranker, regularizer, objective, clock, .. } = parts;
        Ok(Run {
            chat_digest: chat_digest(&folders.initial, &config.model.chat)?,
            judges,
            viewpoints,
            sources,
            averages: vec![initial.clone()],
            ranker,
            regularizer,
            objective,
            clock,
            scoring_reference,
            policies: vec![initial.clone()],
            timings: Vec::new(),
            artifacts: Vec::new(),
            model: "M0".into(),
            round: None,
            evaluating: false,
            working: PathBuf::new(),
            making: String::new(),
            record: RunRecord::open(&store, &config.out)?,
            store: Rc::new(store),
            config,
            progress,
            chat,
            eos,
            context,
            initial,
            models,
            slots,
            eval,
            eval_digest,
            extractor,
            prompts,
        })
    }

    /// From now on M1 is made, or the model of round `t`.
    pub fn makes(&mut self, round: Option<usize>) {
        self.round = round;
        self.model = format!("M{}", round.unwrap_or(0) + 1);
    }

    /// For the end of a run: removes what killed runs left in the store and will hardly ask for again, so late that none
    /// loses its own; and artifacts of earlier runs in its folder are no longer kept for it.
    pub fn finish(&mut self) -> Result<()> {
        self.store.clean_working(WORKING_KEPT);
        self.record.finish()
    }

    /// The prompts of round `t`, from 1.
    pub fn round_prompts(&self, t: usize) -> Result<Vec<Prompt>> {
        Ok(inputs::of_round(self.config, &self.prompts, t).to_vec())
    }

    /// M_{t−1} in round `t`.
    pub fn previous_of(&self, t: usize) -> ModelRef {
        self.policies[t - 1].clone()
    }

    /// What a training stage starts from: a copy of the model or, with `[lora]`, its base, shared, with a copy of its
    /// adapter or a fresh one.
    pub fn trainable(&mut self, model: &ModelRef) -> Result<Decoder> {
        let model = self.models.get(model)?;
        match &self.config.lora {
            Some(lora) if model.adapter().is_none() => model.add_adapter(&lora.adapter(), self.config.seed),
            _ => model.copy(),
        }
    }

    /// Finds the artifact of a stage, or makes it.
    pub fn stage(
        &mut self,
        label: &str,
        stage: &'static str,
        key: Value,
        make: impl FnOnce(&mut Self, &Path) -> Result<()>,
    ) -> Result<Artifact> {
        let store = self.store.clone();
        let viewpoint = key["viewpoint"].as_str().map(str::to_owned);
        let key = whole_key(key);
        let label = if self.evaluating { format!("{label}, for evaluation") } else { label.to_owned() };
        self.making = Store::id(stage, &key)?;
        self.working = store.working(stage, &self.making);
        self.progress.start(&label);
        let before = self.clock.spent();
        let artifact = store.stage(stage, &key, |folder| make(self, folder))?;
        store.remove_working(&self.working)?;
        self.progress.finish(artifact.hit, artifact.seconds);
        let (seconds, reused) = (artifact.seconds, artifact.hit);
        let part = if self.evaluating { "evaluate" } else { stage };
        self.record.add(stage, &artifact.id)?;
        let (model, id) = (self.model.clone(), artifact.id.clone());
        let row = ArtifactRow { model, label: label.clone(), part, stage, id, round: self.round, viewpoint };
        self.artifacts.push(row);
        let plugin_seconds = (!reused).then(|| (self.clock.spent() - before).as_secs_f64());
        self.timings.push(Timing { model: self.model.clone(), label, part, seconds, reused, plugin_seconds });
        Ok(artifact)
    }

    /// The plugin whose objective is used.
    pub fn objective(&self) -> &dyn RegularizerPlugin {
        &**self.objective.as_ref().unwrap_or(&self.regularizer)
    }

    pub fn dpo_config(&self, t: usize) -> DpoConfig {
        let config = &self.config.train;
        DpoConfig {
            // Every round has an order of its own.
            training: TrainingConfig::of(&config.optim, self.config.seed.wrapping_add((t as u64) << 32)),
            beta: config.beta,
            nll_weight: config.nll_weight,
            // An objective of the plugin's own may start anywhere.
            expect_ln2: !self.objective().has_objective(),
            reference: match config.reference {
                TrainReference::Start => train::Reference::Start,
                TrainReference::None => train::Reference::Free,
            },
        }
    }
}

/// A digest of what turns text into tokens: files, and what the chat template is told.
pub(crate) fn chat_digest(folder: &Path, options: &ChatOptions) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut files: Vec<_> =
        ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"].map(|name| folder.join(name)).into();
    files.extend(data::template::template_files(folder)?);
    for file in files {
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io("read", &file, &e)),
        };
        let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy();
        hasher.update(name.as_bytes()).update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
    }
    if *options != ChatOptions::default() {
        hasher.update(json!(options).to_string().as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// As [`external_model`], by its name alone.
pub fn external_ref(path: &Path, what: &str, initial: &ModelRef, warn: &dyn Fn(&str)) -> Result<ModelRef> {
    match ModelRef::named_base(path)? {
        NamedBase::Missing(name) => {
            let base = initial.root();
            let place = base.path.display();
            warn(&format!("the base '{name}' of {what} is no model folder here; its adapter is used on {place}"));
            base.with_adapter(path)
        }
        _ => ModelRef::of_folder(path),
    }
}

/// A model of the user's own beside M0. It scores M_t's token ids, so it must read them as M0 does. `what` names it:
/// "the scoring reference". An adapter whose base is not found where it says is taken to be M0's.
pub fn external_model(
    path: &Path,
    what: &str,
    initial: &ModelRef,
    models: &mut Models,
    progress: &Progress,
) -> Result<ModelRef> {
    let other = external_ref(path, what, initial, &progress.warner())?;
    let (theirs, ours) = (models.get(&other)?, models.get(initial)?);
    // An adapter has its base's tokenizer.
    let (theirs_at, ours_at) = (&other.root().path, &initial.root().path);
    let differs = |part: &str, found: usize, expected: usize| {
        Error::input(format!("{what} has {part} {found}, the model has {expected}"))
            .file(path)
            .help("it must have the model's tokenizer and a context as long; use a checkpoint of the same family")
    };
    if theirs.config.vocab_size != ours.config.vocab_size {
        return Err(differs("a vocabulary of", theirs.config.vocab_size, ours.config.vocab_size));
    }
    if theirs.max_positions() < ours.max_positions() {
        return Err(differs("a context of", theirs.max_positions(), ours.max_positions()));
    }
    let tokenizer = |folder: &Path| {
        let file = folder.join("tokenizer.json");
        std::fs::read(&file).map_err(|e| Error::io("read", &file, &e))
    };
    if tokenizer(theirs_at)? != tokenizer(ours_at)? {
        return Err(Error::input(format!("{what} has another tokenizer.json than the model"))
            .file(path)
            .help("token ids would mean other text; use a checkpoint with the model's tokenizer"));
    }
    Ok(other)
}

/// A prompt in the model's template; it must leave room for a response in a context of so many tokens.
pub fn encode(chat: &ChatFormat, context: usize, id: String, messages: Vec<Message>) -> Result<Prompt> {
    let place = |e: Error| e.context(format!("encoding the prompt '{id}'"));
    let ids = chat.encode(&messages, true).map_err(place)?;
    if ids.is_empty() {
        return Err(place(Error::input("the templated prompt has no tokens")));
    }
    if ids.len() >= context {
        let message = format!("the prompt has {} tokens, the model's context is {context}", ids.len());
        return Err(place(Error::input(message).help("shorten the prompt or remove the row")));
    }
    Ok(Prompt { id, messages, ids })
}
