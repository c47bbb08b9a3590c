//! From what a user names, a file, a source folder or `builtin:NAME`, to a plugin that is checked and configured.

use std::path::{Path, PathBuf};

use creamery_plugin::Level;

#[cfg(target_os = "linux")]
use super::isolated;
use super::raw::{Failure, Raw};
use super::sources::SourceDigest;
use super::{
    Artifact, Descriptor, Imports, Isolation, JudgePlugin, Kind, Limits, LoadOptions, Params, PluginInfo, RankerPlugin,
    RegularizerPlugin, builtin, check, component, descriptor, held, imports, languages, log, native, params,
};
use crate::error::{Error, Result};

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
    /// As [`PluginInfo::sources`].
    pub sources: Option<SourceDigest>,
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
    let named = base_dir.join(source);
    match locate(source, base_dir, options).map_err(outer)? {
        Located::Builtin(plugin) => {
            let descriptor = descriptor::parse(plugin.descriptor, Artifact::Builtin, None).map_err(outer)?;
            descriptor.check_kind(kind).map_err(outer)?;
            let digest = builtin_digest(&descriptor);
            info(descriptor, None, digest, None, params).map_err(outer)
        }
        Located::File(path, sources) => {
            let identify = || {
                let (bytes, descriptor) = read_file(&path, kind, options)?;
                let digest = blake3::hash(&bytes).to_hex().to_string();
                info(descriptor, Some(named.clone()), digest, sources, params)
            };
            identify().map_err(|e| outer(e.file(&named)))
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
            Ok(Found { descriptor, path: None, size, digest, sources: None, imports: Imports::None })
        }
        Located::File(path, sources) => {
            let bytes = descriptor::file_bytes(&path)?;
            let read = || -> Result<_> {
                let descriptor = descriptor::read_bytes(&bytes)?;
                params::check_schema(&descriptor.name, &descriptor.params)?;
                Ok((descriptor, imports::read(&bytes)?))
            };
            let (descriptor, imports) = read().map_err(|e| e.file(base_dir.join(source)))?;
            let digest = blake3::hash(&bytes).to_hex().to_string();
            Ok(Found { descriptor, path: Some(path), size: bytes.len() as u64, digest, sources, imports })
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
        true => super::build::build(folder, &options)?,
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

struct Loaded {
    raw: Raw,
    info: PluginInfo,
}

enum Located {
    Builtin(creamery_plugin::builtin::BuiltinPlugin),
    /// A file; if it was built, with the digest of its sources.
    File(PathBuf, Option<SourceDigest>),
}

fn locate(source: &str, base_dir: &Path, options: &LoadOptions) -> Result<Located> {
    if let Some(name) = source.strip_prefix("builtin:") {
        return builtin::find(name).map(Located::Builtin);
    }
    let path = base_dir.join(source);
    if path.join("Cargo.toml").is_file() {
        return super::build::build(&path, options).map(|(file, sources)| Located::File(file, Some(sources)));
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
    warn_of_unused(&descriptor, options);
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
    sources: Option<SourceDigest>,
    named: &Path,
    kind: Kind,
    params: &Params,
    options: &LoadOptions,
) -> Result<Loaded> {
    // Not the built file, which nobody has named.
    let at = |e: Error| e.file(named);
    let (bytes, descriptor) = read_file(&path, kind, options).map_err(at)?;
    // Whose it is comes first: the schema of its parameters is the plugin's word, too.
    options.trust.check_signature(&path, &bytes).map_err(at)?;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let (name, artifact) = (&descriptor.name, descriptor.artifact);
    let code = sources.as_ref().map_or(&digest, |sources| &sources.whole);
    if artifact == Artifact::Native && !options.allow_native {
        let otherwise = || {
            Error::plugin(format!(
                "plugin '{name}' is a native library, which would run with all rights of this program"
            ))
            .help(
                "if you trust it, lock it with `creamery plugin lock CONFIG`, or set `allow-native = true` in the \
                     config; or use its .wasm form, which runs in a sandbox",
            )
        };
        options.trust.check_native(name, code, sources.as_ref(), otherwise).map_err(at)?;
    }
    options.trust.check_code(name, code, sources.as_ref(), artifact).map_err(at)?;
    let info = info(descriptor, Some(named.to_owned()), digest, sources, params).map_err(at)?;
    options.trust.check(&info, options).map_err(at)?;
    warn_of_unused(&info.descriptor, options);
    let held = || held::hold(&path, &bytes, &info, options).map_err(at);
    let raw = match (info.artifact(), options.isolation) {
        (Artifact::Component, _) => component::load(&bytes, &info, options).map_err(at)?,
        #[cfg(target_os = "linux")]
        (_, Isolation::Process) => isolated::load(&held()?, &info, options).map_err(at)?,
        _ => native::load(&held()?, &bytes, &info, options).map_err(at)?,
    };
    Ok(Loaded { raw, info })
}

/// A file that may be loaded as a plugin of this kind, and what it says about itself. Nothing of it runs.
fn read_file(path: &Path, kind: Kind, options: &LoadOptions) -> Result<(Vec<u8>, Descriptor)> {
    let bytes = descriptor::file_bytes(path)?;
    let descriptor = descriptor::read_bytes(&bytes)?;
    descriptor.check_kind(kind)?;
    descriptor.check_platform()?;
    check_isolation(&descriptor, options)?;
    Ok((bytes, descriptor))
}

/// Says which settings do nothing for a plugin of this form.
fn warn_of_unused(descriptor: &Descriptor, options: &LoadOptions) {
    let (form, why) = match (descriptor.artifact, options.isolation) {
        (Artifact::Builtin, _) => (Form::Free, "it is part of this program"),
        (Artifact::Native, Isolation::None) => (Form::Free, "native code in this process cannot be stopped"),
        (Artifact::Native, Isolation::Process) => (Form::Process, "it is a native library in a process of its own"),
        (Artifact::Component, _) => (Form::Component, "it is a component"),
    };
    let (set, usual) = (&options.limits, Limits::default());
    let free = form == Form::Free;
    let unused: Vec<&str> = [
        ("limits.fuel", set.fuel != usual.fuel && form != Form::Component),
        ("limits.memory-mib", set.memory_bytes != usual.memory_bytes && free),
        ("limits.deadline-seconds", set.deadline != usual.deadline && free),
        ("limits.output-mib", set.output_bytes != usual.output_bytes && free),
        ("limits.restarts", set.restarts != usual.restarts && form != Form::Process),
        ("wasi", options.deny_wasi && form != Form::Component),
    ]
    .into_iter()
    .filter_map(|(name, is_unused)| is_unused.then_some(name))
    .collect();
    if !unused.is_empty() {
        let message = format!("{} without effect: {why}", unused.join(", "));
        log::host(options, &descriptor.name, Level::Warn, &message);
    }
}

/// What a plugin's settings can reach.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Component,
    Process,
    /// Neither counted nor bounded.
    Free,
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
    sources: Option<SourceDigest>,
    params: &Params,
) -> Result<PluginInfo> {
    let params = params::resolve(&descriptor.name, &descriptor.params, params)?;
    Ok(PluginInfo { descriptor, path, digest, sources, params })
}

/// A plugin that did not accept its parameters.
pub(super) fn configure_error(info: &PluginInfo, failure: Failure) -> Error {
    let error = Error::plugin(format!("{}: configure: {}", info.title(), failure.message));
    match failure.help {
        Some(help) => error.help(help),
        None => error.help("check the plugin's parameters"),
    }
}

fn not_of_kind(info: &PluginInfo, expected: Kind) -> Error {
    Error::plugin(format!("{} is not a {expected}, although its descriptor says so", info.title()))
        .help("this is a mistake of the plugin, for its author to mend")
}
