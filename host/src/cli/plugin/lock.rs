//! `creamery plugin lock`

use clap::Args;

use crate::cli::{ConfigArgs, print};
use crate::config::SweepConfig;
use crate::error::Result;
use crate::plugins::lock::{Lock, Locked};
use crate::plugins::{self, PluginInfo};
use crate::report::Progress;
use crate::round::load::{load_from, options};

const EXAMPLES: &str = "\
Examples:
  creamery plugin lock examples/methods/scpo.toml";

/// Write down what the plugins of a config are, in creamery.lock beside it
///
/// Of a sweep, the plugins of every arm. Nothing of a plugin is run; source folders are built, which runs what their builds run. A native library that is
/// locked needs no `allow-native`; `creamery run --locked` refuses every change.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LockCommand {
    #[command(flatten)]
    config: ConfigArgs,
}

impl LockCommand {
    pub(super) fn run(mut self) -> Result<()> {
        // To lock a native library is to allow it; nothing of it runs here.
        self.config.set.push("allow-native=true".to_owned());
        let configs = match SweepConfig::is_in(&self.config.config)? {
            true => self.config.load_sweep()?.arms.into_iter().map(|arm| arm.config).collect(),
            false => vec![self.config.load()?],
        };
        let progress = Progress::new();
        let file = &self.config.config;
        let folder = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let mut locked: Vec<Locked> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for (part, kind, plugin) in configs.iter().flat_map(|config| config.plugins()) {
            if !seen.insert(serde_json::json!([part, plugin]).to_string()) {
                continue;
            }
            let options = options(plugin, true, 1, &progress);
            let source = plugin.plugin.to_string();
            let identify = match kind {
                plugins::Kind::Judge => identify_judge,
                plugins::Kind::Ranker => identify_ranker,
                plugins::Kind::Regularizer => identify_regularizer,
            };
            let info = load_from(identify, &source, plugin, &options)
                .map_err(|e| e.file(file).context(format!("locking [{part}]")))?;
            let near = folder.parent().and_then(|folder| std::path::Path::new(&source).strip_prefix(folder).ok());
            let source = near.map_or_else(|| source.clone(), |near| near.display().to_string());
            if info.sources.as_ref().is_some_and(|sources| sources.packages) {
                progress.warner()(&format!(
                    "[{part}] {source}: packages are installed for it, which no lock holds and --locked does not use; to use \
                     them, build it (`creamery plugin build`) and name the .wasm file in the config"
                ));
            }
            locked.push(Locked::new(file, &part, &source, &info, &options));
        }
        drop(progress);
        let lines: String = (locked.iter())
            .map(|p| format!("[{}] {} {} ({}) {}\n", p.part, p.name, p.version, p.artifact, &p.digest[..16]))
            .collect();
        let file = Lock::write(file, locked)?;
        print(&format!("{lines}locked in {}\n", file.display()))
    }
}

macro_rules! identify {
    ($($name:ident $kind:ident)*) => {$(
        fn $name(
            source: &str,
            base: &std::path::Path,
            params: &plugins::Params,
            options: &plugins::LoadOptions,
        ) -> Result<PluginInfo> {
            plugins::identify(source, base, plugins::Kind::$kind, params, options)
        }
    )*};
}

identify! { identify_judge Judge identify_ranker Ranker identify_regularizer Regularizer }
