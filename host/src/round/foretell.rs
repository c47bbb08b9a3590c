//! Which artifacts a run will need, told without making any. It follows the run of [`super::run`] step by step and asks
//! the stages themselves what decides their artifacts.
//!
//! An artifact's **name** is the hash of its key in which every model that a stage makes is named by that stage's
//! artifact. Two runs that give an artifact one name will share it. Where everything that an artifact is made of is in
//! the store already, its **id** is known as well, which is what it is called there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Value, json};

use super::folders::Folders;
use super::inputs;
use super::models::{ModelRef, Models};
use super::regularize::LabelCounts;
use super::sample::{Draw, digest, merged_key, source_purpose};
use super::setup::{chat_digest, external_ref, whole_key};
use super::{dpo, evaluate, judge, rank, regularize, sample, sft, viewpoints};
use crate::config::{EvalConfig, ModelName, PluginConfig, RunConfig, ScoringReference};
use crate::data::ChatFormat;
use crate::error::{Error, Result};
use crate::model::{self, ModelConfig};
use crate::plugins::{self, PluginInfo};
use crate::report::Progress;
use crate::slots::{self, Slots};
use crate::store::{Artifact, Shelf, Store, canonical_json};

/// An artifact that a run will need.
#[derive(Clone, Debug)]
pub(crate) struct Foretold {
    pub stage: &'static str,
    /// The stage, or "evaluate" for whatever is done for the evaluation's sake.
    pub part: &'static str,
    pub name: Rc<str>,
    /// How long it took to make, if it is in the store.
    pub made: Option<f64>,
    /// What it has in common with artifacts that take about as long.
    pub like: Rc<str>,
}

/// Foretells runs of one store. What runs have in common is read once: data, models, plugins.
pub(crate) struct Foreteller<'p> {
    shelf: Shelf,
    progress: &'p mut Progress,
    /// Every artifact of any run so far.
    pub artifacts: Vec<Foretold>,
    by_name: HashMap<Rc<str>, usize>,
    ids: Vec<Option<Rc<str>>>,
    data: HashMap<String, Rc<Data>>,
    plugins: HashMap<String, Rc<PluginInfo>>,
    models: HashMap<PathBuf, ModelRef>,
    slots: HashMap<String, Rc<Value>>,
    trained: HashMap<Rc<str>, Option<ModelRef>>,
}

/// What a run reads of files, as digests.
struct Data {
    initial: ModelRef,
    tokenizer: String,
    /// By round, from 1.
    prompts: Vec<String>,
    sft: String,
    questions: String,
    answers: String,
}

/// A name, and the id if it is known.
#[derive(Clone, Debug, PartialEq)]
struct Name {
    name: Rc<str>,
    id: Option<Rc<str>>,
}

impl Name {
    fn known(id: &str) -> Name {
        let id: Rc<str> = id.into();
        Name { name: id.clone(), id: Some(id) }
    }
}

/// A model of the run.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    name: Name,
    /// Known as soon as its id is.
    folder: Option<ModelRef>,
}

impl Model {
    fn of(model: &ModelRef) -> Model {
        Model { name: Name::known(&model.id), folder: Some(model.clone()) }
    }
}

/// A run while it is followed.
struct Followed<'c> {
    config: &'c RunConfig,
    data: Rc<Data>,
    evaluating: bool,
    policies: Vec<Model>,
    averages: Vec<Model>,
    reference: Option<Model>,
    own_slots: Rc<Value>,
    judges: BTreeMap<String, Rc<PluginInfo>>,
    external_viewpoints: Vec<Option<Model>>,
    external_sources: Vec<Option<Model>>,
    ranker: Rc<PluginInfo>,
    regularizer: Rc<PluginInfo>,
    objective: Option<Rc<PluginInfo>>,
    /// The records of the rounds so far, as JSON.
    history: Vec<(Value, Option<Value>)>,
    /// In the order of the run, each once.
    needed: Vec<usize>,
}

impl<'p> Foreteller<'p> {
    pub(crate) fn new(store: &Path, progress: &'p mut Progress) -> Foreteller<'p> {
        Foreteller {
            shelf: Shelf::new(store),
            progress,
            artifacts: Vec::new(),
            by_name: HashMap::new(),
            ids: Vec::new(),
            data: HashMap::new(),
            plugins: HashMap::new(),
            models: HashMap::new(),
            slots: HashMap::new(),
            trained: HashMap::new(),
        }
    }

    /// The artifacts that a run of the config needs, by their numbers in [`Foreteller::artifacts`], in the order of the
    /// run, each once.
    ///
    /// # Errors
    /// What the run would find wrong with its data, its plugins and their parameters.
    pub(crate) fn run(&mut self, config: &RunConfig) -> Result<Vec<usize>> {
        let (config, folders) = &Folders::find(config, self.progress)?;
        let run = &mut self.follow(config, folders)?;
        let m0 = run.policies[0].clone();
        let m1 = self.sft(run)?;
        self.accuracy(run, &m0)?;
        if m1.name.name != m0.name.name {
            self.accuracy(run, &m1)?;
        }
        run.policies.push(m1.clone());
        let mut policy = m1;
        for t in 1..=config.rounds.count {
            policy = self.round(run, t, &policy)?;
            run.policies.push(policy.clone());
            self.accuracy(run, &policy)?;
        }
        Ok(std::mem::take(&mut run.needed))
    }

    fn round(&mut self, run: &mut Followed, t: usize, policy: &Model) -> Result<Model> {
        let models = self.viewpoint_models(run, t)?;
        let draw = sample::of_round(run.config, t);
        let prompts = run.data.prompts[t - 1].clone();
        let samples = self.draw(run, &draw, policy, &prompts)?;
        let samples = self.with_sources(run, t, &draw, samples, &prompts)?;
        let scores = self.judge(run, t, &samples, &models)?;
        let ranking = self.rank(run, t, &samples, &scores)?;
        let labels = self.regularize(run, t, &ranking)?;
        let next = self.train(run, t, policy, &labels)?;
        if let Some(eval) = run.config.eval.clone() {
            run.evaluating = true;
            self.preferences(run, t, &eval, policy, &models)?;
            run.evaluating = false;
        }
        Ok(next)
    }

    fn sft(&mut self, run: &mut Followed) -> Result<Model> {
        let m0 = run.policies[0].clone();
        let Some(sft) = run.config.sft.clone() else { return Ok(m0) };
        let (config, data) = (run.config, run.data.clone());
        let key = |names: &[&str]| sft::key(config, &sft, names[0], &data.tokenizer, &data.sft);
        let artifact = self.stage(run, "sft", &[&m0.name], &key)?;
        self.model_of(run, "sft", artifact, &m0)
    }

    fn draw(&mut self, run: &mut Followed, draw: &Draw, model: &Model, prompts: &str) -> Result<Name> {
        let data = run.data.clone();
        self.stage(run, "sample", &[&model.name], &|names| draw.key(names[0], &data.tokenizer, prompts))
    }

    fn with_sources(&mut self, run: &mut Followed, t: usize, draw: &Draw, own: Name, prompts: &str) -> Result<Name> {
        let sources = run.config.sample.from.clone();
        if sources.is_empty() {
            return Ok(own);
        }
        let mut all = vec![own];
        for (s, source) in sources.iter().enumerate() {
            let external = run.external_sources[s].clone();
            let model = self.model(run, t, &source.model, external)?;
            let purpose = source_purpose(draw.purpose, &source.name);
            let theirs = Draw { purpose: &purpose, n: draw.n_of(run.config, source.n), ..draw.clone() };
            all.push(self.draw(run, &theirs, &model, prompts)?);
        }
        let inputs: Vec<&Name> = all.iter().collect();
        self.stage(run, "sample", &inputs, &|names| {
            let sources = std::iter::once(None).chain(sources.iter().map(|source| Some(source.name.as_str())));
            merged_key(sources.zip(names.iter().copied()))
        })
    }

    fn judge(&mut self, run: &mut Followed, t: usize, samples: &Name, models: &[Model]) -> Result<Vec<Name>> {
        let reference = run.reference.clone().unwrap_or_else(|| run.policies[t - 1].clone());
        let (config, data, own_slots) = (run.config, run.data.clone(), run.own_slots.clone());
        let mut scores = Vec::with_capacity(models.len());
        for (viewpoint, model) in config.viewpoints.iter().zip(models) {
            let plugin = run.judges[&part_of(viewpoint.judge.as_deref())].clone();
            let initial = run.policies[0].name.clone();
            let key = |names: &[&str]| {
                judge::JudgeKey {
                    samples: names[0],
                    viewpoint: &viewpoint.name,
                    round: t,
                    seed: config.seed,
                    slots: [("judge", names[1]), ("reference", names[2]), ("initial", names[3])],
                    own_slots: &own_slots,
                    plugin: &plugin,
                    settings: config.judge_of(viewpoint),
                    tokenizer: &data.tokenizer,
                }
                .json()
            };
            scores.push(self.stage(run, "judge", &[samples, &model.name, &reference.name, &initial], &key)?);
        }
        Ok(scores)
    }

    fn rank(&mut self, run: &mut Followed, t: usize, samples: &Name, scores: &[Name]) -> Result<Name> {
        let (config, plugin) = (run.config, run.ranker.clone());
        let inputs: Vec<&Name> = std::iter::once(samples).chain(scores).collect();
        self.stage(run, "rank", &inputs, &|names| {
            let viewpoints = config.viewpoints.iter().map(|viewpoint| viewpoint.name.as_str());
            rank::key(config, t, names[0], viewpoints.zip(names[1..].iter().copied()), &plugin)
        })
    }

    fn regularize(&mut self, run: &mut Followed, t: usize, ranking: &Name) -> Result<Name> {
        let (config, plugin, objective) = (run.config, run.regularizer.clone(), run.objective.clone());
        let foretold = json!(run.history.iter().map(|(name, _)| name).collect::<Vec<_>>());
        let known: Option<Vec<&Value>> = run.history.iter().map(|(_, record)| record.as_ref()).collect();
        let name = canonical_json(&foretold).into();
        let history = Name { name, id: known.map(|records| canonical_json(&json!(records)).into()) };
        let labels = self.stage(run, "regularize", &[ranking, &history], &|names| {
            let history = serde_json::from_str(names[1]).unwrap_or_default();
            regularize::key(config, t, names[0], history, &plugin, objective.as_deref())
        })?;
        let record = labels.id.as_ref().and_then(|id| {
            let counts = LabelCounts::of_artifact(&self.shelf.path("regularize", id)).ok()?;
            serde_json::to_value(counts.record(t)).ok()
        });
        run.history.push((json!(&*labels.name), record));
        Ok(labels)
    }

    fn train(&mut self, run: &mut Followed, t: usize, policy: &Model, labels: &Name) -> Result<Model> {
        let (config, data) = (run.config, run.data.clone());
        let objective = run.objective.clone().unwrap_or_else(|| run.regularizer.clone());
        let key = |names: &[&str]| dpo::key(config, t, names[0], &data.tokenizer, names[1], &objective);
        let artifact = self.stage(run, "train", &[&policy.name, labels], &key)?;
        self.model_of(run, "train", artifact, policy)
    }

    fn accuracy(&mut self, run: &mut Followed, model: &Model) -> Result<()> {
        let Some(eval) = run.config.eval.clone() else { return Ok(()) };
        run.evaluating = true;
        let (config, data) = (run.config, run.data.clone());
        let mut drawn = Vec::with_capacity(2);
        for greedy in [false, true] {
            let draw = evaluate::draw_of(config.seed, &eval, greedy);
            drawn.push(self.draw(run, &draw, model, &data.questions)?);
        }
        let key = |names: &[&str]| evaluate::accuracy_key(names[0], names[1], &data.answers, &eval);
        self.stage(run, "evaluate", &[&drawn[0], &drawn[1]], &key)?;
        run.evaluating = false;
        Ok(())
    }

    fn preferences(
        &mut self,
        run: &mut Followed,
        t: usize,
        eval: &EvalConfig,
        policy: &Model,
        models: &[Model],
    ) -> Result<()> {
        let data = run.data.clone();
        let draw = evaluate::draw_of(run.config.seed, eval, false);
        let samples = self.draw(run, &draw, policy, &data.questions)?;
        let samples = self.with_sources(run, t, &draw, samples, &data.questions)?;
        let scores = self.judge(run, t, &samples, models)?;
        let ranking = self.rank(run, t, &samples, &scores)?;
        let key = |names: &[&str]| evaluate::ranking_key(names[0], &data.answers, eval);
        self.stage(run, "ranking-accuracy", &[&ranking], &key)?;
        Ok(())
    }

    fn viewpoint_models(&mut self, run: &mut Followed, t: usize) -> Result<Vec<Model>> {
        let viewpoints = run.config.viewpoints.clone();
        let external = run.external_viewpoints.clone();
        viewpoints.iter().zip(external).map(|(viewpoint, other)| self.model(run, t, &viewpoint.model, other)).collect()
    }

    fn model(&mut self, run: &mut Followed, t: usize, name: &ModelName, external: Option<Model>) -> Result<Model> {
        Ok(match (external, name) {
            (Some(model), _) => model,
            (None, ModelName::Back(k)) => run.policies[t.saturating_sub(*k)].clone(),
            (None, ModelName::Numbered(k)) => run.policies[*k].clone(),
            (None, ModelName::Ema) => self.average(run, t)?,
            (None, ModelName::Path(path)) => return Err(Error::run("a model that is named was not found").file(path)),
        })
    }

    fn average(&mut self, run: &mut Followed, t: usize) -> Result<Model> {
        let Some(ema) = run.config.ema.clone() else { return Err(Error::run("no [ema] for the model \"ema\"")) };
        while run.averages.len() <= t {
            let s = run.averages.len();
            let (mean, policy) = (run.averages[s - 1].clone(), run.policies[s].clone());
            let next = if mean.name.name == policy.name.name {
                mean
            } else {
                let key = |names: &[&str]| viewpoints::average_key(names[0], names[1], &ema);
                let artifact = self.stage(run, "ema", &[&mean.name, &policy.name], &key)?;
                let m0 = run.policies[0].clone();
                self.model_of(run, "ema", artifact, &m0)?
            };
            run.averages.push(next);
        }
        Ok(run.averages[t].clone())
    }

    /// The artifact of a stage. `key` is what decides it, given the names of the inputs, or their ids.
    fn stage(
        &mut self,
        run: &mut Followed,
        stage: &'static str,
        inputs: &[&Name],
        key: &dyn Fn(&[&str]) -> Value,
    ) -> Result<Name> {
        let names: Vec<&str> = inputs.iter().map(|input| &*input.name).collect();
        let name: Rc<str> = Store::id_of(stage, &whole_key(key(&names))).into();
        let number = match self.by_name.get(&name) {
            Some(number) => *number,
            None => {
                let ids: Option<Vec<&str>> = inputs.iter().map(|input| input.id.as_deref()).collect();
                let id: Option<Rc<str>> = match ids {
                    Some(ids) if ids == names => Some(name.clone()),
                    Some(ids) => Some(Store::id_of(stage, &whole_key(key(&ids))).into()),
                    None => None,
                };
                let made = id.as_ref().and_then(|id| self.shelf.seconds(stage, id));
                let part = if run.evaluating { "evaluate" } else { stage };
                let like = like(&key(&names)).into();
                self.artifacts.push(Foretold { stage, part, name: name.clone(), made, like });
                self.ids.push(id);
                self.by_name.insert(name.clone(), self.artifacts.len() - 1);
                self.artifacts.len() - 1
            }
        };
        if !run.needed.contains(&number) {
            run.needed.push(number);
        }
        Ok(Name { name, id: self.ids[number].clone() })
    }

    /// The model that a training stage makes; its id is known if the artifact is there.
    fn model_of(&mut self, run: &Followed, stage: &'static str, artifact: Name, base: &Model) -> Result<Model> {
        let made = self.by_name.get(&artifact.name).and_then(|number| self.artifacts[*number].made);
        let folder = match (self.trained.get(&artifact.name), made, &artifact.id) {
            (Some(known), ..) => known.clone(),
            (None, Some(seconds), Some(id)) => {
                let path = self.shelf.path(stage, id);
                let artifact = Artifact { id: id.to_string(), path, hit: true, seconds };
                let base = base.folder.as_ref().unwrap_or(&run.data.initial);
                // A damaged artifact will be made again.
                ModelRef::of_artifact(&artifact, base).ok()
            }
            _ => None,
        };
        self.trained.insert(artifact.name.clone(), folder.clone());
        let name = format!("made by {stage} {}", artifact.name).into();
        Ok(Model { name: Name { name, id: folder.as_ref().map(|model| model.id.as_str().into()) }, folder })
    }

    fn follow<'c>(&mut self, config: &'c RunConfig, folders: &Folders) -> Result<Followed<'c>> {
        let data = self.data(config, folders)?;
        let m0 = Model::of(&data.initial);
        let reference = match (&config.model.scoring_reference, &folders.scoring_reference) {
            (_, Some(folder)) => Some(self.external(folder, "the scoring reference", &data)?),
            (ScoringReference::Previous, None) => None,
            (_, None) => Some(m0.clone()),
        };
        let mut external_viewpoints = Vec::new();
        for (viewpoint, folder) in config.viewpoints.iter().zip(&folders.viewpoints) {
            let what = format!("the viewpoint '{}'", viewpoint.name);
            external_viewpoints.push(folder.as_ref().map(|f| self.external(f, &what, &data)).transpose()?);
        }
        let mut external_sources = Vec::new();
        for (source, folder) in config.sample.from.iter().zip(&folders.sources) {
            let what = format!("the source '{}'", source.name);
            external_sources.push(folder.as_ref().map(|f| self.external(f, &what, &data)).transpose()?);
        }
        let mut judges = BTreeMap::new();
        for viewpoint in &config.viewpoints {
            let part = part_of(viewpoint.judge.as_deref());
            if let Entry::Vacant(place) = judges.entry(part.clone()) {
                let settings = config.judge_of(viewpoint);
                let load = |config: &RunConfig, progress: &Progress, part: &str| {
                    let (plugin, steps) = (&settings.plugin, settings.max_steps);
                    Ok(super::parts::load(config, progress, plugin, steps, part, plugins::load_judge)?.info().clone())
                };
                let info = self.plugin(config, &part, &settings.plugin, &load)?;
                place.insert(info);
            }
        }
        let ranker = self.plugin(config, "ranker", &config.ranker, &|config, progress, part| {
            Ok(super::parts::load(config, progress, &config.ranker, 0, part, plugins::load_ranker)?.info().clone())
        })?;
        let mut regularizer = |part: &str, plugin: &PluginConfig| {
            self.plugin(config, part, plugin, &|config, progress, part| {
                let loaded = super::parts::load(config, progress, plugin, 0, part, plugins::load_regularizer)?;
                Ok(loaded.info().clone())
            })
        };
        Ok(Followed {
            config,
            evaluating: false,
            policies: vec![m0.clone()],
            averages: vec![m0],
            reference,
            judges,
            external_viewpoints,
            external_sources,
            ranker,
            regularizer: regularizer("regularizer", &config.regularizer)?,
            objective: config.objective.as_ref().map(|plugin| regularizer("objective", plugin)).transpose()?,
            own_slots: self.slots(config, folders, &data)?,
            history: Vec::new(),
            needed: Vec::new(),
            data,
        })
    }

    /// Loads each distinct plugin once.
    fn plugin(
        &mut self,
        config: &RunConfig,
        part: &str,
        plugin: &PluginConfig,
        load: &dyn Fn(&RunConfig, &Progress, &str) -> Result<PluginInfo>,
    ) -> Result<Rc<PluginInfo>> {
        let key = json!([part, plugin, config.allow_native]).to_string();
        if let Some(known) = self.plugins.get(&key) {
            return Ok(known.clone());
        }
        let info = Rc::new(load(config, self.progress, part)?);
        self.plugins.insert(key, info.clone());
        Ok(info)
    }

    fn external(&mut self, folder: &Path, what: &str, data: &Data) -> Result<Model> {
        if !self.models.contains_key(folder) {
            let model = external_ref(folder, what, &data.initial, &self.progress.warner())?;
            self.models.insert(folder.to_owned(), model);
        }
        Ok(Model::of(&self.models[folder]))
    }

    /// What of the judges' own slots decides scores. Opens them, which needs M0.
    fn slots(&mut self, config: &RunConfig, folders: &Folders, data: &Data) -> Result<Rc<Value>> {
        if config.slots.is_empty() {
            return Ok(Rc::new(Value::Null));
        }
        let key = json!([config.slots, folders.initial, config.device.to_string()]).to_string();
        if let Some(known) = self.slots.get(&key) {
            return Ok(known.clone());
        }
        let device = model::device(&config.device.to_string())?;
        let initial_model = &*Models::new(device.clone()).get(&data.initial)?;
        let place = slots::Place {
            device: &device,
            initial: &data.initial,
            initial_model,
            store: &config.store,
            warn: std::sync::Arc::new(self.progress.warner()),
        };
        let opened = Rc::new(Slots::open(&config.slots, &folders.slots, &place)?.key());
        self.slots.insert(key, opened.clone());
        Ok(opened)
    }

    /// Reads each distinct set of data once.
    fn data(&mut self, config: &RunConfig, folders: &Folders) -> Result<Rc<Data>> {
        let model = (&folders.initial, &config.model.chat);
        let key = json!([model, config.data, config.rounds, config.eval, config.sft.is_some()]).to_string();
        if let Some(known) = self.data.get(&key) {
            return Ok(known.clone());
        }
        let initial = ModelRef::of_folder(&folders.initial)?;
        let chat = ChatFormat::load_with(&folders.initial, &config.model.chat)?;
        let eos = chat.tokenizer().stop_ids(&folders.initial)?;
        let context = ModelConfig::load(&folders.initial)?.max_positions;
        let prompts = inputs::prompts(config, &chat, context)?;
        inputs::check_enough(config, prompts.len())?;
        let rounds = 1..=config.rounds.count;
        let sft = match &config.sft {
            Some(_) => sft::digest(&sft::encode(config, &chat, &eos, context, &self.progress.warner())?),
            None => String::new(),
        };
        let (questions, _) = inputs::questions(config, &chat, context)?;
        let answers = inputs::answers_digest(&questions);
        let asked: Vec<_> = questions.into_iter().map(|question| question.prompt).collect();
        let prompts = match config.rounds.prompts_per_round {
            None => vec![digest(&prompts); config.rounds.count],
            Some(_) => rounds.map(|t| digest(inputs::of_round(config, &prompts, t))).collect(),
        };
        let tokenizer = chat_digest(&folders.initial, &config.model.chat)?;
        let data = Rc::new(Data { initial, tokenizer, prompts, sft, questions: digest(&asked), answers });
        self.data.insert(key, data.clone());
        Ok(data)
    }
}

fn part_of(judge: Option<&str>) -> String {
    judge.map_or_else(|| "judge".to_owned(), |name| format!("judges.{name}"))
}

/// What of a key says how much work there is: all but which models and artifacts, and which of many like it.
const WHICH: [&str; 13] = [
    "model", "seed", "round", "samples", "scores", "ranking", "history", "pairs", "merged", "mean", "sampled",
    "greedy", "slots",
];

/// The part of a key, as a stage has it, that artifacts have in common which take about as long.
pub(crate) fn like(inputs: &Value) -> String {
    let mut key = inputs.clone();
    if let Some(key) = key.as_object_mut() {
        WHICH.iter().for_each(|name| {
            key.shift_remove(*name);
        });
    }
    canonical_json(&key)
}
