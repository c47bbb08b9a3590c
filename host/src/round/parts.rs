//! The plugins of a run: loaded, and made to work together once before any work.

use std::collections::BTreeMap;

use super::load::Loader;
use crate::config::{self, JudgeConfig, ModelName, PluginConfig, RunConfig, SlotConfig, TrainReference};
use crate::data::{self, Message};
use crate::error::{Error, Result};
use crate::plugins::rehearsal::{self, Performance, SlotAbilities};
use crate::plugins::{self, JudgePlugin, PluginClock, RankerPlugin, RegularizerPlugin};
use crate::report::Progress;
use crate::slots;

/// A judge of the run.
pub struct LoadedJudge {
    /// Its table in the config: "judge" or "judges.NAME".
    pub part: String,
    pub plugin: Box<dyn JudgePlugin>,
    pub settings: JudgeConfig,
}

/// Judges, ranker, regularizer and objective.
pub struct Parts {
    /// `[judge]`, if a viewpoint uses it, and `[judges.NAME]`.
    pub judges: Vec<LoadedJudge>,
    /// `[V]` the judge of each viewpoint, in `judges`.
    pub judge_of: Vec<usize>,
    pub ranker: Box<dyn RankerPlugin>,
    pub regularizer: Box<dyn RegularizerPlugin>,
    /// The plugin whose objective is used, if it is not the regularizer.
    pub objective: Option<Box<dyn RegularizerPlugin>>,
    /// What all of them take.
    pub clock: PluginClock,
}

impl Parts {
    pub fn load(config: &RunConfig, progress: &Progress) -> Result<Parts> {
        let clock = PluginClock::default();
        let (judges, judge_of) = judges(config, progress, &clock)?;
        let ranker = load(config, progress, &config.ranker, 0, "ranker", plugins::load_ranker)?;
        let regularizer = load(config, progress, &config.regularizer, 0, "regularizer", plugins::load_regularizer)?;
        let objective = (config.objective.as_ref())
            .map(|plugin| load(config, progress, plugin, 0, "objective", plugins::load_regularizer))
            .transpose()?;
        Ok(Parts {
            judges,
            judge_of,
            ranker: clock.ranker(ranker),
            regularizer: clock.regularizer(regularizer),
            objective: objective.map(|plugin| clock.regularizer(plugin)),
            clock,
        })
    }

    /// Lets the parts work once on made-up responses to `prompts`, so that those that do not go together are an error
    /// now. `further` are the slots of the judges' own. See [`rehearsal`].
    pub fn rehearse<'p>(
        &mut self,
        config: &RunConfig,
        prompts: impl Iterator<Item = &'p [Message]>,
        further: Vec<SlotAbilities>,
        warn: &dyn Fn(&str),
    ) -> Result<()> {
        let at = |e: Error| e.file(&config.file);
        let n = config.sample.n;
        let sources: Vec<_> = match config.sample.from.is_empty() {
            true => Vec::new(),
            false => std::iter::once((config::CURRENT.to_owned(), n))
                .chain(config.sample.from.iter().map(|s| (s.name.clone(), s.n)))
                .collect(),
        };
        let groups = rehearsal::groups(prompts, n + config.sample.from.iter().map(|s| s.n).sum::<usize>());
        let slots = [SlotAbilities::own(), further].concat();
        let known: Vec<&str> = slots.iter().map(|s| s.name.as_str()).collect();
        let mut judged: Vec<Performance> = Vec::with_capacity(self.judge_of.len());
        for (viewpoint, judge) in config.viewpoints.iter().zip(&self.judge_of) {
            let LoadedJudge { part, plugin, settings } = &mut self.judges[*judge];
            let help = format!("the slots of a judge are {}; see [{part}.params]", known.join(", "));
            let played = rehearsal::judge(&mut **plugin, part, &viewpoint.name, &slots, &groups, settings.max_steps);
            judged.push(played.map_err(|e| at(e).help(help))?);
        }
        for name in rehearsal::unasked(config.slots.keys().map(String::as_str), &judged) {
            warn(&format!("no judge asks the slot [slots.{name}]; judges name theirs in their parameters"));
        }
        let parts = rehearsal::Rest {
            ranker: &mut *self.ranker,
            regularizer: &mut *self.regularizer,
            objective: self.objective.as_mut().map(|plugin| &mut **plugin as _),
            viewpoints: config.viewpoints.iter().map(|v| v.name.clone()).collect(),
            judged: &judged,
            sources,
            beta: config.train.beta,
            has_reference: config.train.reference != TrainReference::None,
        };
        rehearsal::rest(parts, &groups).map_err(at)
    }
}

/// Finds without any model what a run of this config would find wrong with its plugins.
///
/// # Errors
/// A plugin that cannot be loaded, parts that do not go together, and prompts that cannot be read.
pub fn check(config: &RunConfig, progress: &Progress) -> Result<()> {
    let mut parts = Parts::load(config, progress)?;
    let mut prompts = Vec::new();
    for file in &config.data.prompts {
        prompts.extend(data::rows::read_prompts_from(file, prompts.len())?);
    }
    let warn = progress.warner();
    warn_of_missing_models(config, &warn);
    let further =
        |(name, slot): (&String, &SlotConfig)| SlotAbilities::new(name, slots::foreseen(slot, &config.model.path));
    let further = config.slots.iter().map(further).collect();
    parts.rehearse(config, prompts.iter().map(|row| row.prompt.as_slice()), further, &warn)
}

/// In the first rounds there is no M_{t−k} for a large k.
pub fn warn_of_missing_models(config: &RunConfig, warn: &dyn Fn(&str)) {
    let viewpoints = config.viewpoints.iter().map(|v| ("viewpoint", &v.name, &v.model));
    let sources = config.sample.from.iter().map(|s| ("source", &s.name, &s.model));
    let mut told = BTreeMap::new();
    for (what, name, model) in viewpoints.chain(sources) {
        if let ModelName::Back(k @ 2..) = *model {
            let last = (k - 1).min(config.rounds.count);
            let rounds = if last == 1 { "round 1".to_owned() } else { format!("rounds 1 to {last}") };
            told.entry(format!("the {what} '{name}' is \"{model}\", which does not exist in {rounds}: it is M0 there"))
                .or_insert(());
        }
    }
    told.keys().for_each(|line| warn(line));
}

/// The judges that viewpoints use, each loaded once, and which of them is each viewpoint's.
fn judges(config: &RunConfig, progress: &Progress, clock: &PluginClock) -> Result<(Vec<LoadedJudge>, Vec<usize>)> {
    let mut judges: Vec<LoadedJudge> = Vec::new();
    let mut judge_of = Vec::with_capacity(config.viewpoints.len());
    for viewpoint in &config.viewpoints {
        let part = viewpoint.judge.as_ref().map_or_else(|| "judge".to_owned(), |name| format!("judges.{name}"));
        judge_of.push(match judges.iter().position(|known| known.part == part) {
            Some(known) => known,
            None => {
                let settings = config.judge_of(viewpoint).clone();
                let plugin = load(config, progress, &settings.plugin, settings.max_steps, &part, plugins::load_judge)?;
                judges.push(LoadedJudge { part, plugin: clock.judge(plugin), settings });
                judges.len() - 1
            }
        });
    }
    Ok((judges, judge_of))
}

/// Loads a plugin of the config's table `part`. `max_steps` is how often a judge may ask.
pub fn load<T>(
    config: &RunConfig,
    progress: &Progress,
    plugin: &PluginConfig,
    max_steps: usize,
    part: &str,
    loader: Loader<T>,
) -> Result<T> {
    let mut options = super::load::options(plugin, config.allow_native, max_steps, progress);
    let loaded = super::load::trust(config, part).and_then(|trust| {
        options.trust = trust;
        super::load::load_from(loader, &plugin.plugin.to_string(), plugin, &options)
    });
    loaded.map_err(|e| e.file(&config.file).context(format!("setting up [{part}]")))
}
