//! The plugin of a command for a single stage: which one, its parameters, its limits.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::trust_args::TrustArgs;
use crate::config::{ArtifactKind, Isolation, Limits, Params, PluginConfig, PluginSource, Wasi};
use crate::error::{Error, Kind, Result};
use crate::plugins::{self, Kind as PluginKind, RegularizerPlugin};
use crate::report::Progress;
use crate::round::load::{Loader, load_from, options};

/// What a plugin's command takes; the meaning is that of a config's `[judge]`, `[ranker]` or `[regularizer]`.
#[derive(Args)]
pub(super) struct PluginArgs {
    /// builtin:NAME, a .wasm component, a native library, or a folder with a plugin's source, which is built
    #[arg(long, value_name = "PLUGIN")]
    plugin: Option<String>,
    #[command(flatten)]
    settings: PluginSettings,
    #[command(flatten)]
    trust: TrustArgs,
}

/// How a plugin is loaded, whichever it is.
#[derive(Args)]
pub(super) struct PluginSettings {
    /// A parameter of the plugin, as often as you like: --param form=sample. The value is TOML, or else plain text
    #[arg(long, value_name = "KEY=VALUE")]
    param: Vec<String>,
    /// The plugin's parameters from a TOML or JSON file; --param goes over them
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Allow a native library, which runs with all your rights
    #[arg(long)]
    allow_native: bool,
    /// What a source folder is built to [default: component]
    #[arg(long, value_enum)]
    artifact: Option<Built>,
    /// Where a native library runs [default: none; in `creamery plugin check` on Linux: process]
    #[arg(long, value_enum)]
    isolation: Option<Isolated>,
    /// Load a component that imports WASI, and grant it nothing
    #[arg(long, value_enum)]
    wasi: Option<WasiArg>,
    /// Bound on a component's call: wasmtime's units, about one for each instruction
    #[arg(long, value_name = "N", default_value_t = 20_000_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    fuel: u64,
    /// Bound on the memory of a component, or of a native library in a process of its own
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=4096))]
    memory_mib: u64,
    /// Bound on what a call of such a plugin may return
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    output_mib: u64,
    /// Bound on a call of such a plugin in wall-clock time
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    deadline_seconds: f64,
    /// How often the process of a native library is started again after it ended [default: 100; in `creamery plugin
    /// check`: no bound]
    #[arg(long, value_name = "N")]
    restarts: Option<u64>,
}

/// A regularizer plugin whose objective is used: a config's `[objective]`.
#[derive(Args)]
pub(super) struct ObjectiveArgs {
    /// A regularizer plugin whose objective is used: builtin:NAME, a .wasm component, a native library, or a folder with
    /// a plugin's source
    #[arg(long, value_name = "PLUGIN")]
    objective: Option<String>,
    /// A parameter of that plugin, as often as you like
    #[arg(long, value_name = "KEY=VALUE", requires = "objective")]
    objective_param: Vec<String>,
    /// That plugin's parameters from a TOML or JSON file; --objective-param goes over them
    #[arg(long, value_name = "FILE", requires = "objective")]
    objective_params: Option<PathBuf>,
    /// Allow that plugin to be a native library, which runs with all your rights
    #[arg(long, requires = "objective")]
    objective_native: bool,
}

impl ObjectiveArgs {
    pub(super) fn is_given(&self) -> bool {
        self.objective.is_some()
    }

    /// Loads the plugin, if one is named. A source folder is built to a component.
    pub(super) fn load(&self, trust: &TrustArgs, progress: &Progress) -> Result<Option<Box<dyn RegularizerPlugin>>> {
        let Some(plugin) = &self.objective else { return Ok(None) };
        let plugin = PluginConfig {
            plugin: source("--objective", plugin)?,
            artifact: None,
            isolation: Isolation::None,
            wasi: None,
            limits: Limits::default(),
            params: Params::from_arguments(
                "--objective-param",
                self.objective_params.as_deref(),
                &self.objective_param,
            )?,
        };
        let allowed = self.objective_native || trust.is_locked();
        let plugin = with_artifact(plugin, None, allowed, "--objective-native")?;
        let mut options = options(&plugin, self.objective_native, 1, progress);
        options.trust = trust.of(PluginKind::Regularizer)?;
        load_from(plugins::load_regularizer, &plugin.plugin.to_string(), &plugin, &options).map(Some)
    }
}

/// Where a native library runs.
#[derive(Clone, Copy, ValueEnum)]
enum Isolated {
    /// In this process, with all your rights
    None,
    /// In a process of its own, without rights (Linux)
    Process,
}

/// What a component that imports WASI gets.
#[derive(Clone, Copy, ValueEnum)]
enum WasiArg {
    /// Every function of it fails; clocks stand still, and random numbers are always the same
    Deny,
}

/// What a source folder is built to.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Built {
    Native,
    Component,
}

impl PluginArgs {
    /// `--allow-native`
    pub(super) fn allows_native(&self) -> bool {
        self.settings.allow_native
    }

    /// `--locked` and what goes with it
    pub(super) fn trust(&self) -> &TrustArgs {
        &self.trust
    }

    /// Loads the plugin, of this kind, or `default` where none is named. `max_steps` is how often a judge may ask.
    pub(super) fn load<T>(
        &self,
        (kind, loader): (PluginKind, Loader<T>),
        default: &str,
        max_steps: usize,
        progress: &Progress,
    ) -> Result<T> {
        let settings = &self.settings;
        let named = self.plugin.as_deref().unwrap_or(default);
        let plugin = settings.config("--plugin", named, self.trust.is_locked())?;
        let mut options = settings.options(&plugin, max_steps, progress);
        options.trust = self.trust.of(kind)?;
        load_from(loader, &plugin.plugin.to_string(), &plugin, &options)
    }
}

impl PluginSettings {
    /// Where a native library runs, if that was said.
    pub(super) fn isolation(&self) -> Option<Isolation> {
        self.isolation.map(|isolation| match isolation {
            Isolated::None => Isolation::None,
            Isolated::Process => Isolation::Process,
        })
    }

    /// How often its process is started again, if that was said.
    pub(super) fn restarts(&self) -> Option<u64> {
        self.restarts
    }

    /// The plugin that `option` names, with these settings. `locked`: which native libraries are allowed is seen later.
    pub(super) fn config(&self, option: &str, plugin: &str, locked: bool) -> Result<PluginConfig> {
        let plugin = PluginConfig {
            plugin: source(option, plugin)?,
            artifact: None,
            isolation: self.isolation().unwrap_or(Isolation::None),
            wasi: self.wasi.map(|WasiArg::Deny| Wasi::Deny),
            limits: Limits {
                fuel: self.fuel,
                memory_mib: self.memory_mib,
                deadline_seconds: self.deadline_seconds,
                output_mib: self.output_mib,
                restarts: self.restarts.unwrap_or(Limits::default().restarts),
            },
            params: Params::from_arguments("--param", self.params.as_deref(), &self.param)?,
        };
        with_artifact(plugin, self.artifact, self.allow_native || locked, "--allow-native")
    }

    /// How that plugin is loaded. `max_steps` is how often a judge may ask.
    pub(super) fn options(&self, plugin: &PluginConfig, max_steps: usize, progress: &Progress) -> plugins::LoadOptions {
        options(plugin, self.allow_native, max_steps, progress)
    }
}

/// The plugin that `option` names, to be read or built but not run, so that any form will do.
pub(super) fn unloaded(option: &str, plugin: &str, built: Option<Built>) -> Result<PluginConfig> {
    let plugin = PluginConfig {
        plugin: source(option, plugin)?,
        artifact: None,
        isolation: Isolation::None,
        wasi: None,
        limits: Limits::default(),
        params: Params::from_arguments("--param", None, &[])?,
    };
    with_artifact(plugin, built, true, "--allow-native")
}

/// The plugin with what it is built to, if it is a folder. `option` allows a native library.
fn with_artifact(mut plugin: PluginConfig, built: Option<Built>, native: bool, option: &str) -> Result<PluginConfig> {
    let built = built.map(|built| match built {
        Built::Native => ArtifactKind::Native,
        Built::Component => ArtifactKind::Component,
    });
    plugin.artifact = match (&plugin.plugin, built) {
        (PluginSource::Folder(_), built) => Some(built.unwrap_or(ArtifactKind::Component)),
        (_, None) => None,
        (other, Some(_)) => {
            let message = format!("--artifact is only for a source folder, but the plugin is {other}");
            return Err(Error::config(message).help("leave it out"));
        }
    };
    let needed = matches!(plugin.plugin, PluginSource::Library(_)) || plugin.artifact == Some(ArtifactKind::Native);
    if needed && !native {
        let message = format!("{} is a native library, which runs with all your rights", plugin.plugin);
        return Err(Error::config(message).help(format!("add {option} if you trust it, or use a component")));
    }
    Ok(plugin)
}

fn source(option: &str, text: &str) -> Result<PluginSource> {
    let forms = "expected builtin:NAME, a .so, .dylib, .dll or .wasm file, or a folder with a plugin's source";
    if let Some(name) = text.strip_prefix("builtin:") {
        return Ok(PluginSource::Builtin(name.to_owned()));
    }
    let path = Path::new(text);
    if path.is_dir() {
        return Ok(PluginSource::Folder(path.to_owned()));
    }
    let wrong = |what: String| Error::new(Kind::Plugin, what).help(forms);
    if !path.exists() {
        return Err(wrong(format!("{option} {text}: there is nothing at this path")));
    }
    match path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default().as_str() {
        "so" | "dylib" | "dll" => Ok(PluginSource::Library(path.to_owned())),
        "wasm" => Ok(PluginSource::Component(path.to_owned())),
        _ => Err(wrong(format!("{option} {text}: this file is no plugin"))),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e6 => Ok(seconds),
        _ => Err("expected a number above 0 and at most 1000000".to_owned()),
    }
}
