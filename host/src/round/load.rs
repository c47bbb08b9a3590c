//! Plugins as a config, or the command line, describes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use creamery_plugin::Level;

use crate::config::{ArtifactKind, Isolation, PluginConfig, RunConfig, Wasi};
use crate::error::Result;
use crate::plugins;
use crate::plugins::lock::{self, Lock};
use crate::report::Progress;

/// One of the loaders of [`plugins`].
pub type Loader<T> = fn(&str, &Path, &plugins::Params, &plugins::LoadOptions) -> Result<T>;

/// Loads a plugin. `max_steps` is how often a judge may ask. Its messages go to `progress`.
pub fn load<T>(
    loader: Loader<T>,
    plugin: &PluginConfig,
    allow_native: bool,
    max_steps: usize,
    progress: &Progress,
) -> Result<T> {
    // Paths are resolved already.
    load_from(loader, &plugin.plugin.to_string(), plugin, &options(plugin, allow_native, max_steps, progress))
}

/// How `plugin` is loaded.
pub fn options(
    plugin: &PluginConfig,
    allow_native: bool,
    max_steps: usize,
    progress: &Progress,
) -> plugins::LoadOptions {
    let (limits, tell, warn) = (&plugin.limits, progress.teller(), progress.warner());
    plugins::LoadOptions {
        allow_native,
        trust: plugins::Trust::default(),
        cache_dir: cache_dir(),
        limits: plugins::Limits {
            fuel: limits.fuel,
            deadline: std::time::Duration::from_secs_f64(limits.deadline_seconds),
            memory_bytes: (limits.memory_mib as usize) << 20,
            output_bytes: (limits.output_mib as usize) << 20,
            steps: max_steps,
            restarts: limits.restarts,
            ..plugins::Limits::default()
        },
        deny_wasi: plugin.wasi == Some(Wasi::Deny),
        artifact: plugin.artifact.map(|artifact| match artifact {
            ArtifactKind::Native => plugins::Artifact::Native,
            ArtifactKind::Component => plugins::Artifact::Component,
        }),
        isolation: match plugin.isolation {
            Isolation::None => plugins::Isolation::None,
            Isolation::Process => plugins::Isolation::Process,
        },
        plugin_host: None,
        cargo: None,
        on_log: Some(Arc::new(move |name, level, message| match level {
            Level::Debug => {}
            Level::Info => tell(&format!("{name}: {message}")),
            Level::Warn | Level::Error => warn(&format!("{name}: {message}")),
        })),
    }
}

/// What a run's config, and the lock beside it, say of the plugin of `part`.
pub fn trust(config: &RunConfig, part: &str) -> Result<plugins::Trust> {
    let lock = Lock::read(&config.file)?;
    match &lock {
        Some(lock) if config.locked => {
            lock.check_parts(&config.plugins().into_iter().map(|(part, ..)| part).collect())?;
        }
        None if config.locked => return Err(lock::missing(&config.file)),
        _ => {}
    }
    Ok(plugins::Trust {
        lock: lock.map(|lock| (Arc::new(lock), part.to_owned())),
        locked: config.locked,
        keys: config.trust.keys.clone(),
        require_signature: config.trust.require_signature,
    })
}

/// Loads `source` with the parameters of `plugin`.
pub fn load_from<T>(
    loader: Loader<T>,
    source: &str,
    plugin: &PluginConfig,
    options: &plugins::LoadOptions,
) -> Result<T> {
    let written = &plugin.params;
    let place_of = |pointer: &str| match (written.line_of(pointer), written.argument_of(pointer)) {
        (Some(line), _) => Some(plugins::Place::Line(written.file.clone(), line)),
        (None, Some(argument)) => Some(plugins::Place::Argument(argument.to_owned())),
        (None, None) => None,
    };
    let path_of = |pointer: &str, path: &str| written.path_of(pointer, path);
    let params = plugins::Params { value: &written.value, place_of: &place_of, path_of: &path_of };
    loader(source, Path::new(""), &params, options)
}

/// Where builds of plugins and compiled components are kept, for all runs of this user.
fn cache_dir() -> PathBuf {
    let of = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    of("CREAMERY_CACHE")
        .or_else(|| of("XDG_CACHE_HOME").or_else(|| of("LOCALAPPDATA")).map(|d| d.join("creamery")))
        .or_else(|| std::env::home_dir().map(|d| d.join(".cache/creamery")))
        .unwrap_or_else(|| PathBuf::from(".creamery/cache"))
}
