//! `creamery.lock`: what the plugins of a config were when their user looked at them.
//!
//! It lies beside the config, as TOML, with an entry for each plugin of each config of that folder. An entry names the
//! code by digest: of the file; of a plugin that is a source folder, of its sources (its path dependencies, its
//! Cargo.lock and its workspace's manifest included), since what they build to differs between machines; of a builtin
//! plugin, of this program's sources.
//!
//! A native library whose code is that of its entry needs no `allow-native`. With `--locked` nothing of any plugin may
//! differ, parameters included. A command for a single stage has no config: there the entries of all configs count, and
//! a plugin must be in everything as one of its kind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sources::SourceDigest;
use super::{Artifact, LoadOptions, PluginInfo};
use crate::error::{Error, Result};

/// The file's name.
pub const NAME: &str = "creamery.lock";
const VERSION: i64 = 1;
const MAX_BYTES: u64 = 16 << 20;
const HEAD: &str =
    "# What the plugins are. Written by `creamery plugin lock CONFIG`; checked by `creamery run --locked`.\n";

/// A plugin as it was locked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Locked {
    /// The config file's name.
    pub config: String,
    /// Its table: "judge", "judges.NAME", …
    pub part: String,
    /// Where it was found, for readers: the digest decides.
    pub source: String,
    pub kind: String,
    pub name: String,
    pub version: String,
    /// As in "1.1".
    pub abi: String,
    /// "native", "component" or "builtin".
    pub artifact: String,
    /// BLAKE3, in hex.
    pub digest: String,
    pub features: Vec<String>,
    /// All parameters with their defaults, as JSON with sorted keys.
    pub params: String,
    /// "process", if a native library runs in a process of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    /// "deny", if a component may import WASI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasi: Option<String>,
    /// Of a source folder, its files with the beginnings of their digests: they only tell which one was changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

impl Locked {
    pub fn new(config: &Path, part: &str, source: &str, info: &PluginInfo, options: &LoadOptions) -> Self {
        let descriptor = &info.descriptor;
        let (major, minor) = descriptor.abi;
        Locked {
            config: file_name(config),
            part: part.to_owned(),
            source: source.to_owned(),
            kind: descriptor.kind.name().to_owned(),
            name: descriptor.name.clone(),
            version: descriptor.version.clone(),
            abi: format!("{major}.{minor}"),
            artifact: descriptor.artifact.name().to_owned(),
            digest: info.code().to_owned(),
            features: descriptor.features.clone(),
            params: info.params.to_string(),
            isolation: (options.isolation != super::Isolation::None).then(|| options.isolation.name().to_owned()),
            wasi: options.deny_wasi.then(|| "deny".to_owned()),
            files: info.sources.as_ref().map(|sources| sources.files.clone()).unwrap_or_default(),
        }
    }

    /// What of `found` is not as it was locked: its name, what was found, what was expected. The code comes first.
    fn difference(&self, found: &Locked) -> Option<(&'static str, String, String)> {
        let list = |features: &[String]| features.join(", ");
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        let parts = [
            ("name", found.name.clone(), self.name.clone()),
            ("digest", found.digest.clone(), self.digest.clone()),
            ("kind", found.kind.clone(), self.kind.clone()),
            ("version", found.version.clone(), self.version.clone()),
            ("ABI", found.abi.clone(), self.abi.clone()),
            ("form", found.artifact.clone(), self.artifact.clone()),
            ("features", list(&found.features), list(&self.features)),
            ("parameters", found.params.clone(), self.params.clone()),
            // Fewer rights than were locked will do.
            (
                "isolation",
                or_none(&found.isolation.clone().filter(|_| self.isolation.is_some())),
                or_none(&self.isolation),
            ),
            ("WASI", or_none(&found.wasi), or_none(&self.wasi)),
        ];
        parts.into_iter().find(|(_, found, expected)| found != expected)
    }
}

/// The entries of one config, or those of all configs of a lock file.
#[derive(Clone, Debug, PartialEq)]
pub struct Lock {
    file: PathBuf,
    /// None: the entries are those of all configs, and a plugin's part is its kind.
    config: Option<PathBuf>,
    entries: Vec<Locked>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Content {
    version: i64,
    #[serde(default)]
    plugin: Vec<Locked>,
}

impl Lock {
    /// Where the lock file of a config is.
    pub fn path(config: &Path) -> PathBuf {
        config.with_file_name(NAME)
    }

    /// Reads the entries of a config; `None` if there is no lock file, or nothing of this config in it.
    pub fn read(config: &Path) -> Result<Option<Lock>> {
        let file = Self::path(config);
        let name = file_name(config);
        let entries: Vec<Locked> = read(&file)?.into_iter().filter(|entry| entry.config == name).collect();
        Ok((!entries.is_empty()).then(|| Lock { file, config: Some(config.to_owned()), entries }))
    }

    /// Reads the entries of all configs, for a plugin that no config names. In [`Trust`](super::Trust) its part is its
    /// kind: "judge", "ranker" or "regularizer".
    ///
    /// # Errors
    /// No such file, or nothing in it.
    pub fn read_all(file: &Path) -> Result<Lock> {
        let entries = read(file)?;
        if entries.is_empty() {
            let what = if file.exists() { "there are no plugins in it" } else { "there is no such lock file" };
            return Err(Error::plugin(format!("--locked, but {what}"))
                .file(file)
                .help("write it with `creamery plugin lock CONFIG`, or name another with --lock"));
        }
        Ok(Lock { file: file.to_owned(), config: None, entries })
    }

    /// Puts entries in the place of those of their config; those of others stay.
    pub fn write(config: &Path, entries: Vec<Locked>) -> Result<PathBuf> {
        let file = Self::path(config);
        let name = file_name(config);
        let mut plugin: Vec<Locked> = read(&file)?.into_iter().filter(|entry| entry.config != name).collect();
        plugin.extend(entries);
        plugin.sort_by(|a, b| (&a.config, &a.part).cmp(&(&b.config, &b.part)));
        let text = toml::to_string(&Content { version: VERSION, plugin })
            .map_err(|e| Error::plugin(format!("the lock cannot be written as TOML: {e}")).file(&file))?;
        super::private::write(&file, format!("{HEAD}{text}").as_bytes()).map_err(|e| Error::io("write", &file, &e))?;
        Ok(file)
    }

    /// Writes the entries of `config` for these parts beside `run`, a config that is made of it, as that one's, if there
    /// are any.
    pub fn copy(config: &Path, run: &Path, parts: &BTreeSet<String>) -> Result<()> {
        let Some(lock) = Self::read(config)? else { return Ok(()) };
        let of_run = |entry: Locked| Locked { config: file_name(run), ..entry };
        let entries: Vec<Locked> =
            lock.entries.into_iter().filter(|entry| parts.contains(&entry.part)).map(of_run).collect();
        Self::write(run, entries).map(|_| ())
    }

    /// The entries that may say what the plugin of `part` is: one, those of the arms of a sweep, or those of its kind.
    fn entries(&self, part: &str) -> impl Iterator<Item = &Locked> {
        let by_kind = self.config.is_none();
        self.entries.iter().filter(move |entry| part == if by_kind { &entry.kind } else { &entry.part })
    }

    /// The entry that an error compares a plugin with, which is as none of them: one of the same code or else of the same
    /// name, where there are several.
    fn nearest(&self, part: &str, name: &str, digest: &str) -> Option<&Locked> {
        if self.config.is_some() {
            return self.entries(part).next();
        }
        let of_code = self.entries(part).find(|entry| entry.digest == digest);
        of_code.or_else(|| self.entries(part).find(|entry| entry.name == name))
    }

    /// With `--locked` the lock has no more parts than the config.
    pub fn check_parts(&self, parts: &BTreeSet<String>) -> Result<()> {
        match self.entries.iter().find(|entry| !parts.contains(&entry.part)) {
            Some(entry) => Err(Error::plugin(format!("it has [{}], which the config has not", entry.part))
                .file(&self.file)
                .help(again(self.config.as_deref()))),
            None => Ok(()),
        }
    }

    /// Whether the code of the plugin of `part`, a file's or sources', is what was locked in this form.
    pub(super) fn names(&self, part: &str, digest: &str, artifact: Artifact) -> bool {
        self.entries(part).any(|entry| entry.digest == digest && entry.artifact == artifact.name())
    }

    /// Why a native plugin whose code is not what was locked is refused.
    pub(super) fn refused(&self, part: &str, name: &str, digest: &str, sources: Option<&SourceDigest>) -> Error {
        self.other(part, name, digest, sources, Artifact::Native, "is a native library that is not locked")
    }

    /// A plugin of other code than what was locked, if anything was.
    fn other(
        &self,
        part: &str,
        name: &str,
        digest: &str,
        sources: Option<&SourceDigest>,
        artifact: Artifact,
        unlocked: &str,
    ) -> Error {
        match self.nearest(part, name, digest) {
            Some(entry) if entry.digest == digest => {
                changed(&self.file, name, "form", artifact.name(), &entry.artifact)
            }
            Some(entry) => {
                let files = sources.map(|sources| other_files(&sources.files, &entry.files)).unwrap_or_default();
                changed(&self.file, name, "digest", digest, &format!("{}{files}", entry.digest))
            }
            None => Error::plugin(format!("plugin '{name}'{} {unlocked}", self.of(part))).file(&self.file),
        }
        .help(again(self.config.as_deref()))
    }

    /// " of [ranker]", where a config has such a table.
    fn of(&self, part: &str) -> String {
        if self.config.is_some() { format!(" of [{part}]") } else { String::new() }
    }

    /// With `--locked` a plugin is in everything as it was locked.
    pub(super) fn check(&self, part: &str, info: &PluginInfo, options: &LoadOptions) -> Result<()> {
        let found = Locked::new(self.config.as_deref().unwrap_or(&self.file), part, "", info, options);
        if self.entries(part).any(|entry| entry.difference(&found).is_none()) {
            return Ok(());
        }
        let nearest = self.nearest(part, info.name(), &found.digest);
        let error = match nearest.and_then(|entry| entry.difference(&found)) {
            Some((what, found, expected)) => changed(&self.file, info.name(), what, &found, &expected),
            None => Error::plugin(format!("{}{} is not locked", info.title(), self.of(part))).file(&self.file),
        };
        Err(error.help(again(self.config.as_deref())))
    }

    /// The same for the code of a plugin alone, before anything else is known of it or it is built.
    pub(super) fn check_code(
        &self,
        part: &str,
        name: &str,
        digest: &str,
        sources: Option<&SourceDigest>,
        artifact: Artifact,
    ) -> Result<()> {
        match self.names(part, digest, artifact) {
            true => Ok(()),
            false => Err(self.other(part, name, digest, sources, artifact, "is not locked")),
        }
    }
}

/// What `creamery run --locked` says where there is nothing that could be compared.
pub fn missing(config: &Path) -> Error {
    Error::plugin(format!("--locked, but there are no plugins of {} in it", file_name(config)))
        .file(Lock::path(config))
        .help(again(Some(config)))
}

fn changed(file: &Path, name: &str, what: &str, found: &str, expected: &str) -> Error {
    Error::plugin(format!("plugin '{name}' is not what was locked: its {what} is {found}, expected {expected}"))
        .file(file)
}

/// In which files sources differ from those that were locked, as the end of a sentence; nothing where that is not known.
fn other_files(found: &BTreeMap<String, String>, locked: &BTreeMap<String, String>) -> String {
    const MOST: usize = 8;
    if locked.is_empty() {
        return String::new();
    }
    let mut differences: Vec<String> = Vec::new();
    for (name, digest) in found {
        match locked.get(name) {
            None => differences.push(format!("{name} is new")),
            Some(before) if before != digest => differences.push(format!("{name} was changed")),
            Some(_) => {}
        }
    }
    differences.extend(locked.keys().filter(|name| !found.contains_key(*name)).map(|name| format!("{name} is gone")));
    if differences.len() > MOST {
        let more = differences.len() - MOST;
        differences.truncate(MOST);
        differences.push(format!("and {more} more"));
    }
    // Names are the author's.
    if differences.is_empty() { String::new() } else { format!(": {}", super::log::tamed(&differences.join(", "))) }
}

fn again(config: Option<&Path>) -> String {
    match config {
        Some(config) => {
            format!("if you trust what it is now, run `creamery plugin lock {}` again", config.display())
        }
        None => {
            "if you trust what it is now, lock a config that uses it in this way: `creamery plugin lock CONFIG`".into()
        }
    }
}

fn read(file: &Path) -> Result<Vec<Locked>> {
    let metadata = match std::fs::metadata(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| Error::io("read", file, &e))?,
    };
    if metadata.len() > MAX_BYTES {
        let message = format!("it has {} bytes, a lock file has at most {MAX_BYTES}", metadata.len());
        return Err(Error::plugin(message).file(file).help(ANEW));
    }
    let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, &e))?;
    let wrong = |e: toml::de::Error| {
        let error = Error::plugin(format!("not a valid lock file: {}", e.message())).file(file).help(ANEW);
        match e.span() {
            Some(span) => error.line(text[..span.start.min(text.len())].lines().count().max(1)),
            None => error,
        }
    };
    let table: toml::Table = text.parse().map_err(wrong)?;
    match table.get("version").and_then(toml::Value::as_integer) {
        Some(VERSION) => {}
        Some(other) => {
            return Err(Error::plugin(format!("it is a lock file of version {other}, expected {VERSION}"))
                .file(file)
                .help("update creamery"));
        }
        None => return Err(Error::plugin("not a valid lock file: it has no `version`").file(file).help(ANEW)),
    }
    toml::from_str::<Content>(&text).map(|content| content.plugin).map_err(wrong)
}

const ANEW: &str = "remove it, and write it anew with `creamery plugin lock CONFIG`";

fn file_name(config: &Path) -> String {
    config.file_name().unwrap_or(config.as_os_str()).to_string_lossy().into_owned()
}
