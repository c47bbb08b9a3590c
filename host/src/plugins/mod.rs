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
pub mod lock;
mod log;
mod native;
mod params;
mod private;
pub mod rehearsal;
pub mod signature;
mod sources;
mod timed;
mod trust;

use std::path::{Path, PathBuf};

use creamery_plugin::{
    Answer, Column, Groups, JudgeContext, JudgeReport, Labels, NumbersView, ObjectiveBatch, ObjectiveValue,
    PluginError, RankContext, Ranking, Records, Scores, Sources, Step,
};
use serde_json::Value;

pub use builtin::names as builtin_names;
pub use check::BROKEN;
pub(crate) use check::MAX_WEIGHT;
pub use descriptor::{Artifact, Descriptor, Kind};
pub use imports::{Imports, read as read_imports};
#[cfg(target_os = "linux")]
pub use isolated::{host_main, read_messages};
pub use limits::Limits;
pub use log::LogFn;
pub use params::{Params, Place, resolve as resolve_params};
pub use timed::PluginClock;
pub use trust::Trust;

use crate::error::{Error, Result};

/// The checks of what plugins give, each alone. An error says what was found and what was expected.
pub mod answers {
    pub use super::check::{
        check_columns as columns, check_labels as labels, check_objective as objective, check_queries as queries,
        check_ranking as ranking, check_report as report, check_scores as scores,
    };
}

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
    /// The loaded file; none for a builtin plugin.
    pub path: Option<PathBuf>,
    /// BLAKE3 of the file, in hex; for a builtin plugin of its name, its version and this program's version.
    pub digest: String,
    /// Of a plugin that was built from its sources: their digest, the same on every machine.
    pub sources: Option<String>,
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

/// Loads a judge. `source` is the path of a `.so`, `.dylib`, `.dll` or `.wasm` file or of a source folder,
/// relative to `base_dir`, or `builtin:NAME`.
pub fn load_judge(
    source: &str,
    base_dir: &Path,
    params: &Params,
    options: &LoadOptions,
) -> Result<Box<dyn JudgePlugin>> {
    let loaded = load(source, base_dir, Kind::Judge, params, options)?;
    match loaded.raw {
        Raw::Judge(raw) => Ok(Box::new(check::Checked::new(raw, loaded.info, options))),
        _ => Err(not_of_kind(&loaded.info, Kind::Judge)),
    }
}

/// Loads a ranker: see [`load_judge`].
pub fn load_ranker(
    source: &str,
    base_dir: &Path,
    params: &Params,
    options: &LoadOptions,
) -> Result<Box<dyn RankerPlugin>> {
    let loaded = load(source, base_dir, Kind::Ranker, params, options)?;
    match loaded.raw {
        Raw::Ranker(raw) => Ok(Box::new(check::Checked::new(raw, loaded.info, options))),
        _ => Err(not_of_kind(&loaded.info, Kind::Ranker)),
    }
}

/// Loads a regularizer: see [`load_judge`].
pub fn load_regularizer(
    source: &str,
    base_dir: &Path,
    params: &Params,
    options: &LoadOptions,
) -> Result<Box<dyn RegularizerPlugin>> {
    let loaded = load(source, base_dir, Kind::Regularizer, params, options)?;
    match loaded.raw {
        Raw::Regularizer(raw) => Ok(Box::new(check::Checked::new(raw, loaded.info, options))),
        _ => Err(not_of_kind(&loaded.info, Kind::Regularizer)),
    }
}

/// The descriptor of `source`, as [`load_judge`] takes it, without running the plugin. A source folder is built.
pub fn inspect(source: &str, base_dir: &Path, options: &LoadOptions) -> Result<Descriptor> {
    match locate(source, base_dir, options)? {
        Located::Builtin(plugin) => descriptor::parse(plugin.descriptor, Artifact::Builtin, None),
        Located::File(path, _) => descriptor::read(&path),
    }
}

/// A plugin that was found and read, but not run.
pub struct Found {
    pub descriptor: Descriptor,
    /// The file; none for a builtin plugin.
    pub path: Option<PathBuf>,
    /// Its length in bytes; of a builtin plugin that of its descriptor.
    pub size: u64,
    /// As [`PluginInfo::digest`].
    pub digest: String,
    pub imports: Imports,
}

/// What a plugin with these parameters is, without running it, whoever it is from: for a lock. A source folder is built,
/// which runs what its build runs.
pub fn identify(
    source: &str,
    base_dir: &Path,
    kind: Kind,
    params: &Params,
    options: &LoadOptions,
) -> Result<PluginInfo> {
    let outer = |e: Error| e.context(format!("looking at the {kind} {source:?}"));
    match locate(source, base_dir, options).map_err(outer)? {
        Located::Builtin(plugin) => {
            let descriptor = descriptor::parse(plugin.descriptor, Artifact::Builtin, None).map_err(outer)?;
            descriptor.check_kind(kind).map_err(outer)?;
            let digest = builtin_digest(&descriptor);
            info(descriptor, None, digest, None, params).map_err(outer)
        }
        Located::File(path, sources) => {
            identify_file(&path, sources, kind, params, options).map(|(_, info)| info).map_err(|e| outer(e.file(&path)))
        }
    }
}

/// What can be known of `source`, as [`load_judge`] takes it, without running it. A source folder is built.
pub fn find(source: &str, base_dir: &Path, options: &LoadOptions) -> Result<Found> {
    match locate(source, base_dir, options)? {
        Located::Builtin(plugin) => {
            let descriptor = descriptor::parse(plugin.descriptor, Artifact::Builtin, None)?;
            let digest = builtin_digest(&descriptor);
            let size = plugin.descriptor.len() as u64;
            Ok(Found { descriptor, path: None, size, digest, imports: Imports::None })
        }
        Located::File(path, _) => {
            let bytes = descriptor::file_bytes(&path)?;
            let read = || -> Result<_> {
                let descriptor = descriptor::read_bytes(&bytes)?;
                params::check_schema(&descriptor.name, &descriptor.params)?;
                Ok((descriptor, imports::read(&bytes)?))
            };
            let (descriptor, imports) = read().map_err(|e| e.file(&path))?;
            let digest = blake3::hash(&bytes).to_hex().to_string();
            Ok(Found { descriptor, path: Some(path), size: bytes.len() as u64, digest, imports })
        }
    }
}

/// Builds the plugin in a source folder and gives the file, which stays in the cache. Nothing of it is loaded, so that
/// native libraries need no permission; what a build runs (build scripts, macros) runs with all rights in any form.
pub fn build(folder: &Path, options: &LoadOptions) -> Result<PathBuf> {
    let options = LoadOptions { allow_native: true, ..options.clone() };
    if !["Cargo.toml", languages::MANIFEST].iter().any(|name| folder.join(name).is_file()) {
        let message = format!("there is neither a Cargo.toml nor a {} in this folder", languages::MANIFEST);
        return Err(Error::plugin(message).file(folder).help("name the folder of a plugin's source"));
    }
    let (file, _) = match folder.join("Cargo.toml").is_file() {
        true => build::build(folder, &options)?,
        false => languages::build(folder, &options)?,
    };
    let check = || {
        let bytes = descriptor::file_bytes(&file)?;
        let descriptor = descriptor::read_bytes(&bytes)?;
        params::check_schema(&descriptor.name, &descriptor.params)?;
        check_exports(&descriptor, &imports::read(&bytes)?)
    };
    check().map_err(|e| e.file(folder))?;
    Ok(file)
}

/// Whether a component is of the kind that its descriptor says.
fn check_exports(descriptor: &Descriptor, imports: &Imports) -> Result<()> {
    let Imports::Component { exports, .. } = imports else { return Ok(()) };
    let (name, kind) = (&descriptor.name, descriptor.kind);
    let wanted = format!("creamery:plugin/{kind}@1.");
    match exports.iter().any(|export| export.starts_with(&wanted)) {
        true => Ok(()),
        false => Err(Error::plugin(format!(
            "plugin '{name}' is said to be a {kind}, but exports {}, not {wanted}x",
            if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
        ))
        .help("the kind and the exported interface must agree")),
    }
}

/// Why a call into a plugin failed; [`check::Checked`] adds which plugin and function.
struct Failure {
    message: String,
    help: Option<String>,
    /// The wall clock decided, so the same call may succeed another time.
    timed_out: bool,
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        let message = match error.message.trim().is_empty() {
            true => "it failed without saying why".to_owned(),
            false => log::tamed(&error.message),
        };
        Failure { message, help: None, timed_out: false }
    }
}

/// The plugin's own functions, unchecked, whatever its form.
trait RawJudge: Send {
    fn usage(&self) -> Option<Usage> {
        None
    }

    fn step(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, Failure>;

    fn report(
        &mut self,
        context: &JudgeContext,
        groups: &Groups,
        answers: &[Vec<Answer>],
    ) -> Result<JudgeReport, Failure>;
}

trait RawRanker: Send {
    fn usage(&self) -> Option<Usage> {
        None
    }

    fn rank(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, Failure>;

    fn rank_sources(
        &mut self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking, Failure>;

    /// Whether [`RawRanker::rank_numbers`] is worth a try: linked in, texts cost nothing.
    fn takes_numbers(&self) -> bool {
        false
    }

    /// None where the plugin needs texts, whatever the groups.
    fn rank_numbers(&mut self, _: &RankContext, _: NumbersView<'_>) -> Result<Option<Ranking>, Failure> {
        Ok(None)
    }
}

trait RawRegularizer: Send {
    fn usage(&self) -> Option<Usage> {
        None
    }

    fn label(&mut self, records: &Records) -> Result<Labels, Failure>;
    fn objective(&mut self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, Failure>;
    fn columns(&mut self, records: &Records, labels: &Labels) -> Result<Vec<Column>, Failure>;
    fn objective_columns(&mut self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue, Failure>;
}

enum Raw {
    Judge(Box<dyn RawJudge>),
    Ranker(Box<dyn RawRanker>),
    Regularizer(Box<dyn RawRegularizer>),
}

struct Loaded {
    raw: Raw,
    info: PluginInfo,
}

enum Located {
    Builtin(creamery_plugin::builtin::BuiltinPlugin),
    /// A file; if it was built, with the digest of its sources.
    File(PathBuf, Option<String>),
}

fn locate(source: &str, base_dir: &Path, options: &LoadOptions) -> Result<Located> {
    if let Some(name) = source.strip_prefix("builtin:") {
        return builtin::find(name).map(Located::Builtin);
    }
    let path = base_dir.join(source);
    if path.join("Cargo.toml").is_file() {
        return build::build(&path, options).map(|(file, sources)| Located::File(file, Some(sources)));
    }
    if path.join(languages::MANIFEST).is_file() {
        return languages::build(&path, options).map(|(file, sources)| Located::File(file, Some(sources)));
    }
    Ok(Located::File(path, None))
}

fn load(source: &str, base_dir: &Path, kind: Kind, params: &Params, options: &LoadOptions) -> Result<Loaded> {
    let outer = |e: Error| e.context(format!("loading the {kind} {source:?}"));
    let folder = base_dir.join(source);
    if !source.starts_with("builtin:") && folder.is_dir() {
        options.trust.check_unsigned(&folder).map_err(outer)?;
    }
    match locate(source, base_dir, options).map_err(outer)? {
        Located::Builtin(plugin) => load_builtin(plugin, kind, params, options).map_err(outer),
        Located::File(path, sources) => load_file(path, sources, &folder, kind, params, options).map_err(outer),
    }
}

fn load_builtin(
    plugin: creamery_plugin::builtin::BuiltinPlugin,
    kind: Kind,
    params: &Params,
    options: &LoadOptions,
) -> Result<Loaded> {
    let descriptor = descriptor::parse(plugin.descriptor, Artifact::Builtin, None)?;
    descriptor.check_kind(kind)?;
    check_isolation(&descriptor, options)?;
    let digest = builtin_digest(&descriptor);
    let info = info(descriptor, None, digest, None, params)?;
    options.trust.check(&info, options)?;
    let raw = log::loading(&info, options, || builtin::make(plugin.make, &info.params));
    Ok(Loaded { raw: raw.map_err(|e| configure_error(&info, e))?, info })
}

fn builtin_digest(descriptor: &Descriptor) -> String {
    let identity = format!("builtin:{}:{}:{}", descriptor.name, descriptor.version, env!("CREAMERY_SOURCES"));
    blake3::hash(identity.as_bytes()).to_hex().to_string()
}

fn load_file(
    path: PathBuf,
    sources: Option<String>,
    named: &Path,
    kind: Kind,
    params: &Params,
    options: &LoadOptions,
) -> Result<Loaded> {
    // Not the built file, which nobody has named.
    let at = |e: Error| e.file(named);
    let (bytes, info) = identify_file(&path, sources, kind, params, options).map_err(at)?;
    if info.artifact() == Artifact::Native && !options.allow_native {
        let code = info.sources.as_ref().unwrap_or(&info.digest);
        let otherwise = || {
            let name = info.name();
            Error::plugin(format!(
                "plugin '{name}' is a native library, which would run with all rights of this program"
            ))
            .help(
                "if you trust it, lock it with `creamery plugin lock CONFIG`, or set `allow-native = true` in the \
                     config; or use its .wasm form, which runs in a sandbox",
            )
        };
        options.trust.check_native(info.name(), code, otherwise).map_err(at)?;
    }
    options.trust.check(&info, options).map_err(at)?;
    options.trust.check_signature(&path, &bytes).map_err(at)?;
    let held = || held::hold(&path, &bytes, &info, options).map_err(at);
    let raw = match (info.artifact(), options.isolation) {
        (Artifact::Component, _) => component::load(&bytes, &info, options).map_err(at)?,
        #[cfg(target_os = "linux")]
        (_, Isolation::Process) => isolated::load(&held()?, &info, options).map_err(at)?,
        _ => native::load(&held()?, &bytes, &info, options).map_err(at)?,
    };
    Ok(Loaded { raw, info })
}

/// What a file is: nothing of it runs, and nothing is asked of its origin.
fn identify_file(
    path: &Path,
    sources: Option<String>,
    kind: Kind,
    params: &Params,
    options: &LoadOptions,
) -> Result<(Vec<u8>, PluginInfo)> {
    let bytes = descriptor::file_bytes(path)?;
    let descriptor = descriptor::read_bytes(&bytes)?;
    descriptor.check_kind(kind)?;
    descriptor.check_platform()?;
    check_isolation(&descriptor, options)?;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let info = info(descriptor, Some(path.to_owned()), digest, sources, params)?;
    Ok((bytes, info))
}

/// A process of its own is for native libraries.
fn check_isolation(descriptor: &Descriptor, options: &LoadOptions) -> Result<()> {
    let what = match (options.isolation, descriptor.artifact) {
        (Isolation::None, _) => return Ok(()),
        (_, Artifact::Native) if cfg!(target_os = "linux") => return Ok(()),
        (_, Artifact::Native) => {
            let message = "native plugins run in processes of their own on Linux only, for now";
            return Err(Error::config(message).help("leave out `isolation`, or use the plugin's component"));
        }
        (_, Artifact::Component) => "is a component, which has a sandbox already",
        (_, Artifact::Builtin) => "is part of this program",
    };
    Err(Error::config(format!("plugin '{}' {what}, so `isolation = \"process\"` is not for it", descriptor.name))
        .help("leave out `isolation`; it is for native libraries"))
}

fn info(
    descriptor: Descriptor,
    path: Option<PathBuf>,
    digest: String,
    sources: Option<String>,
    params: &Params,
) -> Result<PluginInfo> {
    let params = params::resolve(&descriptor.name, &descriptor.params, params)?;
    Ok(PluginInfo { descriptor, path, digest, sources, params })
}

/// A plugin that did not accept its parameters.
fn configure_error(info: &PluginInfo, failure: Failure) -> Error {
    let error = Error::plugin(format!("{}: configure: {}", info.title(), failure.message));
    match failure.help {
        Some(help) => error.help(help),
        None => error.help("check the plugin's parameters"),
    }
}

fn not_of_kind(info: &PluginInfo, expected: Kind) -> Error {
    Error::plugin(format!("{} is not a {expected}, although its descriptor says so", info.title()))
        .help("this is a mistake of the plugin; tell its author")
}
