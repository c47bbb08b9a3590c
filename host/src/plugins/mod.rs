//! Plugins: found, checked, loaded and called. Only this module opens a library or runs a component.
//!
//! A plugin comes as a native library, as a component or linked in; each is turned at load into one of three
//! internal traits, and every answer is checked before the host uses it. Nothing a plugin returns is trusted.

mod build;
mod builtin;
mod check;
pub mod columns;
mod component;
pub mod descriptor;
mod held;
mod imports;
#[cfg(target_os = "linux")]
mod isolated;
mod languages;
mod limits;
mod load;
pub mod lock;
mod log;
mod native;
mod params;
mod private;
mod raw;
pub mod rehearsal;
pub mod signature;
mod sources;
mod timed;
mod trust;

use std::path::PathBuf;

use creamery_plugin::{
    Answer, Column, Groups, JudgeContext, JudgeReport, Labels, ObjectiveBatch, ObjectiveValue, RankContext, Ranking,
    Records, Scores, Sources, Step,
};
use serde_json::Value;

pub use builtin::names as builtin_names;
pub use check::BROKEN;
pub use descriptor::{Artifact, Descriptor, Kind};
pub use imports::{Imports, read as read_imports};
#[cfg(target_os = "linux")]
pub use isolated::{host_main, read_messages};
pub use limits::Limits;
pub use load::{Found, build, find, identify, inspect, load_judge, load_ranker, load_regularizer};
pub use log::LogFn;
pub use params::{Params, Place, resolve as resolve_params};
pub use sources::SourceDigest;
pub use timed::PluginClock;
pub use trust::Trust;

use crate::error::Result;
use load::configure_error;
use raw::{Failure, Raw, RawJudge, RawRanker, RawRegularizer};

/// A loaded judge. Every answer is checked.
pub trait JudgePlugin: Send {
    fn info(&self) -> &PluginInfo;

    /// What the last call used, where that is measured.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// The next step for `groups`: queries whose slots, indices and sizes are valid, or R finite scores and
    /// abstentions. `answers[k][i]` answers query `i` of the `k`-th `Ask`.
    fn step(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step>;

    /// What it says about a batch besides the scores, from the arguments that gave them. Nothing of a plugin older
    /// than 1.1.
    fn report(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<JudgeReport>;
}

/// A loaded ranker. Every answer is checked.
pub trait RankerPlugin: Send {
    fn info(&self) -> &PluginInfo;

    /// What the last call used, where that is measured.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Ranks, and for each group either pairs or a reason.
    fn rank(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking>;

    /// The same with the model that drew each response. A plugin older than 1.1 is not told.
    fn rank_sources(
        &mut self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking>;

    /// Whether [`rank`](Self::rank) works without texts, as far as its calls so far have shown.
    fn by_numbers(&self) -> bool;

    /// [`rank`](Self::rank) with texts, even where the plugin could do without: to see that both agree.
    fn rank_texts(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking>;
}

/// A loaded regularizer. Every answer is checked.
pub trait RegularizerPlugin: Send {
    fn info(&self) -> &PluginInfo;

    /// What the last call used, where that is measured.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// One label per pair: C in [0, 1], weight ≥ 0.
    fn label(&mut self, records: &Records) -> Result<Labels>;

    /// Finite loss and gradient per pair.
    fn objective(&mut self, batch: &ObjectiveBatch) -> Result<ObjectiveValue>;

    /// Further numbers for every pair. None of a plugin older than 1.1.
    fn columns(&mut self, records: &Records, labels: &Labels) -> Result<Vec<Column>>;

    /// The objective of pairs that have columns.
    fn objective_columns(&mut self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue>;

    /// False if the objective is [`creamery_plugin::objective::c_mix`], which the host may compute itself.
    fn has_objective(&self) -> bool;
}

/// What a call into a component used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Instructions of the call, as [`Limits::fuel`] counts them.
    pub fuel: u64,
    /// Linear memory of the plugin after the call; it never shrinks.
    pub memory_bytes: usize,
}

/// What is known about a loaded plugin.
#[derive(Clone, Debug)]
pub struct PluginInfo {
    pub descriptor: Descriptor,
    /// What was named: the loaded file, or the source folder that it was built from; none for a builtin plugin.
    pub path: Option<PathBuf>,
    /// BLAKE3 of the loaded file, in hex; for a builtin plugin of its name, its version and this program's version.
    pub digest: String,
    /// Of a plugin that was built from its sources: their digest, the same on every machine.
    pub sources: Option<SourceDigest>,
    /// The complete parameters: the schema's defaults filled in, keys sorted.
    pub params: Value,
}

impl PluginInfo {
    pub fn name(&self) -> &str {
        &self.descriptor.name
    }

    pub fn artifact(&self) -> Artifact {
        self.descriptor.artifact
    }

    /// The digest that a lock names: of the sources if it was built from any, which is the same on every machine.
    pub fn code(&self) -> &str {
        self.sources.as_ref().map_or(&self.digest, |sources| &sources.whole)
    }

    /// What the plugin is called in messages.
    pub fn title(&self) -> String {
        let Descriptor { name, version, artifact, .. } = &self.descriptor;
        format!("plugin '{name}' {version} ({artifact})")
    }

    /// Whether a judge's scores depend on all groups together, as its feature "whole-set", or
    /// "whole-set:PARAMETER=TEXT" where that is the parameter's value, says.
    pub fn wants_whole_set(&self) -> bool {
        let wants = |feature: &String| match feature.strip_prefix("whole-set") {
            Some("") => true,
            Some(when) => (when.strip_prefix(':').and_then(|when| when.split_once('=')))
                .is_some_and(|(name, value)| self.params.get(name).is_some_and(|v| v == value)),
            None => false,
        };
        self.descriptor.features.iter().any(wants)
    }
}

/// Where a native plugin runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// In this process: what it does, this program does.
    #[default]
    None,
    /// In a process of its own (Linux): a crash, a loop or a broken answer fails a call and nothing else.
    Process,
}

impl Isolation {
    /// As a config says it: "none" or "process".
    pub fn name(self) -> &'static str {
        match self {
            Isolation::None => "none",
            Isolation::Process => "process",
        }
    }
}

/// How plugins are loaded.
#[derive(Clone)]
pub struct LoadOptions {
    /// Native libraries run with all rights of this program, so they must be allowed.
    pub allow_native: bool,
    pub trust: Trust,
    /// Where builds and compiled components are kept. Only its owner should be able to write there.
    pub cache_dir: PathBuf,
    pub limits: Limits,
    /// A component may import WASI, of which nothing is granted.
    pub deny_wasi: bool,
    /// What a source folder is built into. None: `[package.metadata.creamery] artifact` of its Cargo.toml, or
    /// a component.
    pub artifact: Option<Artifact>,
    /// Only for native libraries: a component has its sandbox, and a builtin plugin is part of this program.
    pub isolation: Isolation,
    /// The `creamery` that processes of plugins run. None: the program that this is.
    pub plugin_host: Option<PathBuf>,
    /// The cargo that builds source folders. None: the one on the PATH.
    pub cargo: Option<PathBuf>,
    /// Takes the plugins' messages, the progress of builds and warnings.
    pub on_log: Option<LogFn>,
}

impl LoadOptions {
    /// No native plugins, default limits, no messages.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        LoadOptions {
            allow_native: false,
            trust: Trust::default(),
            cache_dir: cache_dir.into(),
            limits: Limits::default(),
            deny_wasi: false,
            artifact: None,
            isolation: Isolation::None,
            plugin_host: None,
            cargo: None,
            on_log: None,
        }
    }
}
