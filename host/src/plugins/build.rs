//! Plugins from source: a folder with a Cargo.toml is built on first use and kept by the digest of its sources.
//!
//! The build uses target folders of its own, so it never waits for a cargo that runs this program. Cargo tells
//! packages at the root of different workspaces apart by name and version only, and new sources by their time, so
//! a copy of a package could get the other one's library. Hence the digest of the sources is an argument of each
//! build, and only packages with the same path dependencies share a target folder.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use creamery_plugin::Level;
use serde_json::Value;

use super::descriptor::Artifact;
use super::sources::{self, Manifest, SourceDigest, Sources};
use super::{LoadOptions, log, private};
use crate::error::{Error, Result};

const WASM: &str = "wasm32-unknown-unknown";

/// The built artifact of the plugin in `folder`, from the cache or built now, and the digest of its sources.
pub(super) fn build(folder: &Path, options: &LoadOptions) -> Result<(PathBuf, SourceDigest)> {
    let folder = folder.canonicalize().map_err(|e| Error::io("open", folder, &e))?;
    let manifest = Manifest::read(&folder)?;
    let Some(package) = manifest.package_name() else {
        return Err(Error::plugin("this Cargo.toml has no [package] name")
            .file(&manifest.file)
            .help("name the folder of one plugin, not of a workspace"));
    };
    let artifact = artifact(&manifest, options)?;
    let found = sources::locked(&folder)?;
    if artifact == Artifact::Native && !options.allow_native {
        let otherwise = || {
            Error::plugin(format!(
                "plugin '{package}' would be built as a native library, which runs with all rights of this program"
            ))
            .help(
                "if you trust it, lock it with `creamery plugin lock CONFIG`, or set `allow-native = true` in the \
                 config; or build it as a component",
            )
        };
        options
            .trust
            .check_native(package, &found.whole, Some(&found), otherwise)
            .map_err(|e| e.file(&manifest.file))?;
    }
    options.trust.check_code(package, &found.whole, Some(&found), artifact)?;
    let built = options.cache_dir.join("built");
    private::folder(&built)
        .map_err(|why| Error::plugin(format!("cannot keep built plugins in this folder: {why}")).file(&built))?;

    let compiler = compiler(&folder, options)?;
    // A source that changes during its build is built again.
    for _ in 0..3 {
        let sources = sources::read(&folder)?;
        if sources::locked(&folder)? != found {
            return Err(Error::plugin(format!("the sources of plugin '{package}' change while they are looked at"))
                .file(&folder)
                .help("run the same command again"));
        }
        let key = || {
            let identity =
                [artifact.name().as_bytes(), compiler.as_bytes(), sources.digest.as_bytes(), &sources::lock(&folder)];
            let mut hasher = blake3::Hasher::new();
            for part in identity {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            hasher.finalize().to_hex()[..32].to_owned()
        };
        if let Some(file) = kept(&built.join(key())) {
            return Ok((file, found));
        }
        let message = format!("building {} as a {artifact} plugin, on first use", folder.display());
        log::host(options, package, Level::Info, &message);
        // One at a time: packages of one name share a file in the target folder.
        static BUILDING: Mutex<()> = Mutex::new(());
        let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = kept(&built.join(key())) {
            return Ok((file, found));
        }
        let output = cargo(&folder, package, artifact, &sources, options)?;
        if sources::read(&folder)?.digest != sources.digest {
            continue;
        }
        if let Some(file) = unlisted(&output, &sources, options) {
            return Err(Error::plugin(format!(
                "the build of plugin '{package}' reads a file that is not among its sources"
            ))
            .file(file)
            .help("move it into the package's folder, not into a hidden one; or make its folder a path dependency"));
        }
        // The build may have written Cargo.lock.
        let place = built.join(key());
        let bytes = std::fs::read(&output).map_err(|e| Error::io("read", &output, &e))?;
        let name = output.file_name().unwrap_or(output.as_os_str());
        return Ok((keep(&bytes, &place.join(name))?, sources::locked(&folder)?));
    }
    Err(Error::plugin(format!("the sources of plugin '{package}' keep changing while they are built")).file(&folder))
}

/// Where cargo works: closed to others, as what it makes is executed.
fn target(options: &LoadOptions) -> PathBuf {
    options.cache_dir.join("built/target")
}

/// A file that the build has read and that the digest of the sources does not know, as cargo's dep-info tells.
fn unlisted(output: &Path, sources: &Sources, options: &LoadOptions) -> Option<PathBuf> {
    // What cargo does not tell cannot be known to be among the sources.
    let list = output.with_extension("d");
    let (Ok(text), Ok(target)) = (std::fs::read_to_string(&list), target(options).canonicalize()) else {
        return Some(list);
    };
    let read = text.lines().find_map(|line| line.split_once(": ")).map_or("", |(_, files)| files);
    // Spaces in names are escaped.
    let names = read.replace("\\ ", "\0");
    let files = names.split(' ').map(|name| name.replace('\0', " ")).filter(|name| !name.is_empty());
    files.filter_map(|name| Path::new(&name).canonicalize().ok()).find(|file| {
        file.is_file() && !file.starts_with(&target) && !sources.files.contains(file) && !sources.locks.contains(file)
    })
}

fn artifact(manifest: &Manifest, options: &LoadOptions) -> Result<Artifact> {
    match (options.artifact, manifest.wanted_artifact()) {
        (Some(artifact @ (Artifact::Native | Artifact::Component)), _) => Ok(artifact),
        (_, None) => Ok(Artifact::Component),
        (_, Some(value)) => match value.as_str() {
            Some("component") => Ok(Artifact::Component),
            Some("native") => Ok(Artifact::Native),
            _ => Err(Error::plugin(format!("[package.metadata.creamery] artifact is {value}"))
                .file(&manifest.file)
                .help("expected \"component\" or \"native\"")),
        },
    }
}

/// What cargo says about itself; its toolchain's rustc comes with it.
fn compiler(folder: &Path, options: &LoadOptions) -> Result<String> {
    let output = command(options).arg("-vV").current_dir(folder).output().map_err(|e| no_cargo(folder, &e))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(Error::plugin(format!("cargo does not work in this folder: {}", stderr.trim())).file(folder));
    }
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    Ok(format!("{}{flags}", String::from_utf8_lossy(&output.stdout)))
}

fn command(options: &LoadOptions) -> Command {
    Command::new(options.cargo.as_deref().unwrap_or(Path::new("cargo")))
}

fn no_cargo(folder: &Path, e: &std::io::Error) -> Error {
    Error::plugin(format!("this plugin is a source folder, but cargo cannot be started: {e}"))
        .file(folder)
        .help("install Rust from https://rustup.rs, or name a built .wasm file or builtin:NAME instead")
}

/// Builds the plugin and returns the file that cargo made.
fn cargo(
    folder: &Path,
    package: &str,
    artifact: Artifact,
    sources: &Sources,
    options: &LoadOptions,
) -> Result<PathBuf> {
    let mut run = run_cargo(folder, package, artifact, sources, options)?;
    if !run.success && artifact == Artifact::Component && run.messages.contains("target may not be installed") {
        log::host(options, package, Level::Info, &format!("installing the Rust target {WASM}"));
        let rustup = Command::new("rustup").args(["target", "add", WASM]).current_dir(folder).output();
        if !rustup.is_ok_and(|output| output.status.success()) {
            return Err(Error::plugin(format!("the Rust target {WASM} is not installed"))
                .file(folder)
                .help(format!("run `rustup target add {WASM}`")));
        }
        run = run_cargo(folder, package, artifact, sources, options)?;
    }
    if !run.success {
        return Err(
            Error::plugin(format!("building plugin '{package}' failed:\n{}", run.messages.trim_end())).file(folder)
        );
    }
    run.file.ok_or_else(|| {
        Error::plugin(format!("building plugin '{package}' gave no library"))
            .file(folder.join("Cargo.toml"))
            .help("add to it: [lib] crate-type = [\"cdylib\", \"rlib\"]")
    })
}

struct Run {
    success: bool,
    /// What cargo printed.
    messages: String,
    file: Option<PathBuf>,
}

fn run_cargo(
    folder: &Path,
    package: &str,
    artifact: Artifact,
    sources: &Sources,
    options: &LoadOptions,
) -> Result<Run> {
    let manifest = folder.join("Cargo.toml");
    let mut command = command(options);
    command
        .args(["rustc", "--release", "--lib", "--message-format=json-render-diagnostics", "--color=never"])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(target(options).join(&sources.dependencies))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Settings of a cargo that runs this program are not meant for the plugin.
    for name in ["CARGO_BUILD_TARGET", "CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS"] {
        command.env_remove(name);
    }
    if artifact == Artifact::Component {
        command.args(["--target", WASM]);
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-component-ld");
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    }
    if options.trust.locked {
        // Cargo.lock is among what was locked.
        command.arg("--locked");
    }
    command.arg("--").arg(format!("-Cmetadata={}", sources.digest.to_hex()));
    let mut child = command.spawn().map_err(|e| no_cargo(folder, &e))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (package, log_options) = (package.to_owned(), options.clone());
    let printed = std::thread::spawn(move || {
        let mut text = String::new();
        for line in stderr.map(BufReader::new).into_iter().flat_map(|r| r.split(b'\n')).map_while(|l| l.ok()) {
            let line = String::from_utf8_lossy(&line);
            log::host(&log_options, &package, Level::Debug, line.trim_end());
            text.push_str(&line);
            text.push('\n');
        }
        text
    });
    let mut reports = Vec::new();
    if let Some(mut stdout) = stdout {
        stdout.read_to_end(&mut reports).map_err(|e| Error::io("read", folder, &e))?;
    }
    let status = child.wait().map_err(|e| no_cargo(folder, &e))?;
    let messages = printed.join().unwrap_or_default();
    let file = reports.split(|b| *b == b'\n').filter_map(|line| made(line, &manifest, artifact)).next_back();
    Ok(Run { success: status.success(), messages, file })
}

/// The library that a line of cargo's report names, if it is this package's.
fn made(line: &[u8], manifest: &Path, artifact: Artifact) -> Option<PathBuf> {
    let report: Value = serde_json::from_slice(line).ok()?;
    let ours = report["reason"] == "compiler-artifact" && Path::new(report["manifest_path"].as_str()?) == manifest;
    if !ours || !report["target"]["crate_types"].as_array()?.iter().any(|t| t == "cdylib") {
        return None;
    }
    let wanted: &[&str] = match artifact {
        Artifact::Component => &["wasm"],
        _ => &["so", "dylib", "dll"],
    };
    let files = report["filenames"].as_array()?.iter().filter_map(|f| f.as_str().map(PathBuf::from));
    files.into_iter().find(|f| f.extension().and_then(|e| e.to_str()).is_some_and(|e| wanted.contains(&e)))
}

/// The file in a finished folder of the cache.
pub(super) fn kept(place: &Path) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(place).ok()?.filter_map(|e| Some(e.ok()?.path())).collect();
    entries.retain(|p| p.extension().is_some_and(|e| e == "so" || e == "dylib" || e == "dll" || e == "wasm"));
    entries.sort();
    entries.into_iter().next()
}

/// Writes a built file into a folder of the cache, whole or not at all.
pub(super) fn keep(bytes: &[u8], file: &Path) -> Result<PathBuf> {
    let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| private::write(file, bytes));
    written.map_err(|e| Error::io("write", file, &e))?;
    Ok(file.to_owned())
}
