//! `creamery plugin`: a file per command.

mod bench;
mod build;
mod check;
mod inspect;
mod keygen;
mod lock;
mod new;
mod sign;
mod verify;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, Subcommand};

use super::plugin_args::PluginSettings;
use crate::author::Subject;
use crate::config::PluginConfig;
use crate::error::Result;
use crate::plugins::{self, Artifact, Descriptor, Found, Isolation, Kind, LoadOptions, LogFn, Params};
use crate::report::Progress;
use crate::round::load::load_from;

/// Plugins, for those who write them and those who want to know what they run
#[derive(Args)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    New(new::New),
    Build(build::Build),
    Check(check::Check),
    Bench(bench::Bench),
    Inspect(inspect::Inspect),
    Lock(lock::LockCommand),
    Keygen(keygen::Keygen),
    Sign(sign::Sign),
    Verify(verify::Verify),
}

impl Plugin {
    pub(super) fn run(self) -> Result<()> {
        match self.command {
            Command::New(command) => command.run(),
            Command::Build(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Inspect(command) => command.run(),
            Command::Lock(command) => command.run(),
            Command::Keygen(command) => command.run(),
            Command::Sign(command) => command.run(),
            Command::Verify(command) => command.run(),
        }
    }
}

/// A plugin as a command names it, found: a source folder is built.
struct Target {
    config: PluginConfig,
    options: LoadOptions,
    /// What the loader gets: the file, or builtin:NAME.
    source: String,
    kind: Kind,
    artifact: Artifact,
}

impl Target {
    fn find(plugin: &str, settings: &PluginSettings, max_steps: usize) -> Result<Self> {
        let config = settings.config("PLUGIN", plugin, false)?;
        let mut options = settings.options(&config, max_steps, &Progress::new());
        options.on_log = options.on_log.map(each_once);
        let found = load_from(find, &config.plugin.to_string(), &config, &options)?;
        let source = found.path.map_or_else(|| config.plugin.to_string(), |path| path.display().to_string());
        let Descriptor { kind, artifact, .. } = found.descriptor;
        Ok(Target { config, options, source, kind, artifact })
    }

    /// Where its calls run, if there is a choice.
    fn isolation(&self) -> Option<Isolation> {
        (self.artifact == Artifact::Native).then_some(self.options.isolation)
    }

    fn load(&self, options: &LoadOptions) -> Result<Subject> {
        let Target { config, source, .. } = self;
        Ok(match self.kind {
            Kind::Judge => Subject::Judge(load_from(plugins::load_judge, source, config, options)?),
            Kind::Ranker => Subject::Ranker(load_from(plugins::load_ranker, source, config, options)?),
            Kind::Regularizer => Subject::Regularizer(load_from(plugins::load_regularizer, source, config, options)?),
        })
    }
}

/// The calls of a command are many and much alike: what a plugin says in each of them is shown the first time.
fn each_once(show: LogFn) -> LogFn {
    /// Others are not shown: a plugin may say something else each time.
    const MOST: usize = 100;
    let said = Mutex::new(BTreeSet::new());
    Arc::new(move |name, level, message| {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < MOST && said.insert(message.to_owned()) {
            show(name, level, message);
        }
    })
}

/// A loader that only looks.
fn find(source: &str, base: &Path, _: &Params, options: &LoadOptions) -> Result<Found> {
    plugins::find(source, base, options)
}
