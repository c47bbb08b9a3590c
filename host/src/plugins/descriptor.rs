//! Reads what a plugin says about itself from its file, without running any of it.

use std::fmt;
use std::io::Read;
use std::path::Path;

use creamery_plugin::descriptor::{ELF_SECTION, HEADER, MACHO_SECTION, MAGIC, PE_SECTION, WASM_SECTION};
use object::{Object, ObjectSection};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// The newest minor version of ABI 1 that this host knows.
pub const ABI_MAJOR: u32 = 1;
pub const ABI_MINOR: u32 = 1;

/// What this host can do for a plugin that `requires` it.
pub const HOST_FEATURES: &[&str] = &["response-logps", "text-logp", "generate", "choose", "log", "history"];

/// What a plugin does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Judge,
    Ranker,
    Regularizer,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Judge => "judge",
            Kind::Ranker => "ranker",
            Kind::Regularizer => "regularizer",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The form in which a plugin comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Artifact {
    /// A shared library, loaded into this process with all its rights.
    Native,
    /// A WebAssembly component, run in a sandbox.
    Component,
    /// Linked into this program.
    Builtin,
}

impl Artifact {
    pub fn name(self) -> &'static str {
        match self {
            Artifact::Native => "native",
            Artifact::Component => "component",
            Artifact::Builtin => "builtin",
        }
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a plugin says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    pub kind: Kind,
    pub name: String,
    pub version: String,
    /// (major, minor)
    pub abi: (u32, u32),
    /// The version of `creamery-plugin` it was built with.
    pub api: String,
    /// What it offers; names that this host does not know mean nothing.
    pub features: Vec<String>,
    /// What it needs of the host.
    pub requires: Vec<String>,
    pub summary: String,
    /// Names separated by ':'; empty where it does not say, as are the next two.
    pub authors: String,
    pub license: String,
    pub repository: String,
    /// A JSON Schema.
    pub params: Value,
    /// A panic of this native plugin would end the whole program.
    pub panic_aborts: bool,
    pub artifact: Artifact,
    /// Of a native library: what it was built for, as in "linux-x86_64".
    pub platform: Option<String>,
}

/// Reads the descriptor of the component or native library at `path`.
///
/// Fails if the file is missing, is not a plugin, or is of an ABI that this host cannot read.
/// It does not check that a native library is for this machine: see [`Descriptor::check_platform`].
pub fn read(path: &Path) -> Result<Descriptor> {
    read_bytes(&file_bytes(path)?).map_err(|e| e.file(path))
}

/// The bytes of a plugin's file.
pub(super) fn file_bytes(path: &Path) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::io("read", path, &e).context("opening a plugin"))?;
    if metadata.is_dir() {
        return Err(Error::plugin("not a plugin: this is a folder without a Cargo.toml or plugin.toml")
            .file(path)
            .help("name a .so, .dylib, .dll or .wasm file, a folder with the plugin's Cargo.toml or plugin.toml, or builtin:NAME"));
    }
    if !metadata.is_file() {
        return Err(Error::plugin("not a plugin: this is no file but a device or a pipe").file(path));
    }
    if metadata.len() > MAX_FILE {
        let found = metadata.len();
        return Err(
            Error::plugin(format!("not a plugin: it has {found} bytes, a plugin has at most {MAX_FILE}")).file(path)
        );
    }
    let failed = |e: std::io::Error| Error::io("read", path, &e).context("opening a plugin");
    let mut bytes = Vec::new();
    // It may grow while it is read.
    let mut file = std::fs::File::open(path).map_err(failed)?.take(MAX_FILE);
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Of a plugin's file, in bytes. Compiling a component takes many times its size.
const MAX_FILE: u64 = 512 << 20;

/// Of a descriptor, in bytes. As parsed JSON it takes some 50 times as much.
const MAX_DESCRIPTOR: usize = 1 << 20;

/// Reads the descriptor from the bytes of a component or native library.
pub fn read_bytes(bytes: &[u8]) -> Result<Descriptor> {
    let (artifact, platform, sections) = match file_type(bytes)? {
        FileType::Wasm => (Artifact::Component, None, component_sections(bytes)?),
        FileType::Native => {
            let (platform, section) = native_section(bytes)?;
            (Artifact::Native, Some(platform), section.into_iter().collect())
        }
    };
    match sections.as_slice() {
        [] => Err(no_descriptor(artifact)),
        [section] => parse(section, artifact, platform),
        _ => Err(Error::plugin("it holds several plugins' descriptors").help("build one plugin into one file")),
    }
}

/// Reads a descriptor's section. `artifact` and `platform` say where it was found.
pub(super) fn parse(section: &[u8], artifact: Artifact, platform: Option<String>) -> Result<Descriptor> {
    let body = section.strip_prefix(&MAGIC).ok_or_else(|| no_descriptor(artifact))?;
    let (length, body) = body.split_at_checked(HEADER - MAGIC.len()).ok_or_else(truncated)?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    if section.len() > MAX_DESCRIPTOR {
        return Err(too_large(section.len()));
    }
    let (json, rest) = body.split_at_checked(length).ok_or_else(truncated)?;
    if rest.windows(MAGIC.len()).any(|w| w == MAGIC) {
        return Err(Error::plugin("it holds several plugins' descriptors").help("build one plugin into one file"));
    }
    let value: Value = serde_json::from_slice(json).map_err(|e| {
        Error::plugin(format!("its descriptor is not valid JSON: {e}"))
            .help("check that the `schema` given to export_plugin! is a JSON object, and build it again")
    })?;

    // The ABI first: all else may differ in a version that this host does not know.
    let abi = value.get("abi").and_then(Value::as_str).unwrap_or_default();
    let abi = parse_abi(abi).ok_or_else(|| {
        Error::plugin(format!("its descriptor has no valid ABI version (found {abi:?}, expected \"1.0\")"))
            .help(REBUILD)
    })?;
    check_abi(abi, &value)?;
    let raw: RawDescriptor = serde_json::from_value(value)
        .map_err(|e| Error::plugin(format!("its descriptor is not valid: {e}")).help(REBUILD))?;
    if raw.name.is_empty() || !raw.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(Error::plugin(format!("its descriptor has the name {:?}", raw.name))
            .help("a plugin's name consists of letters, digits, '-' and '_'"));
    }
    if !raw.params.is_object() {
        return Err(Error::plugin(format!("the parameter schema of plugin '{}' is not a JSON object", raw.name)));
    }
    Ok(Descriptor {
        kind: raw.kind,
        name: raw.name,
        version: raw.version,
        abi,
        api: raw.api,
        features: raw.features,
        requires: raw.requires,
        summary: raw.summary,
        authors: raw.authors,
        license: raw.license,
        repository: raw.repository,
        params: raw.params,
        panic_aborts: raw.panic == "abort" && artifact == Artifact::Native,
        artifact,
        platform,
    })
}

impl Descriptor {
    /// Fails unless the plugin is of the kind that is wanted.
    pub fn check_kind(&self, expected: Kind) -> Result<()> {
        if self.kind == expected {
            return Ok(());
        }
        let found = self.kind;
        Err(Error::plugin(format!("plugin '{}' is a {found}, but a {expected} is expected here", self.name))
            .help(format!("move it to the [{found}] part of the config, or name a {expected} here")))
    }

    /// Fails if this is a native library for another processor or operating system.
    pub fn check_platform(&self) -> Result<()> {
        let here = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        match &self.platform {
            Some(platform) if !same_platform(platform) => Err(Error::plugin(format!(
                "plugin '{}' is built for {platform}, but this program runs on {here}",
                self.name
            ))
            .help(
                "build it on this machine, name its source folder instead, or use its .wasm form, which runs anywhere",
            )),
            _ => Ok(()),
        }
    }

    pub fn has_feature(&self, name: &str) -> bool {
        self.features.iter().any(|f| f == name)
    }
}

#[derive(Deserialize)]
struct RawDescriptor {
    kind: Kind,
    name: String,
    version: String,
    #[serde(default)]
    api: String,
    #[serde(default)]
    panic: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    authors: String,
    #[serde(default)]
    license: String,
    #[serde(default)]
    repository: String,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    requires: Vec<String>,
    params: Value,
}

const REBUILD: &str = "build the plugin again with a released version of creamery-plugin 1.x";

fn parse_abi(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The same major version; a newer minor only if it needs nothing that this host does not have.
fn check_abi((major, minor): (u32, u32), descriptor: &Value) -> Result<()> {
    let name = descriptor.get("name").and_then(Value::as_str).unwrap_or("?");
    if major != ABI_MAJOR {
        let help = match major > ABI_MAJOR {
            true => "update creamery, or build the plugin with creamery-plugin 1.x",
            false => REBUILD,
        };
        return Err(Error::plugin(format!(
            "plugin '{name}' has ABI {major}.{minor}, but this program supports ABI {ABI_MAJOR}.0 to {ABI_MAJOR}.x"
        ))
        .help(help));
    }
    let requires = descriptor.get("requires").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let unknown: Vec<&str> = requires.iter().filter_map(Value::as_str).filter(|r| !HOST_FEATURES.contains(r)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::plugin(format!(
        "plugin '{name}' (ABI {major}.{minor}) requires {}, which this program (ABI {ABI_MAJOR}.{ABI_MINOR}) does not offer",
        unknown.join(", ")
    ))
    .help(format!("update creamery; it offers {}", HOST_FEATURES.join(", "))))
}

enum FileType {
    Wasm,
    Native,
}

fn file_type(bytes: &[u8]) -> Result<FileType> {
    if bytes.is_empty() {
        return Err(not_a_plugin("the file is empty"));
    }
    match bytes {
        [0, b'a', b's', b'm', ..] => return Ok(FileType::Wasm),
        // A component compiled by wasmtime is an ELF file; running one from outside would run arbitrary code.
        [0x7f, b'E', b'L', b'F', ..] if is_compiled_wasm(bytes) => {
            return Err(Error::plugin("this is a component compiled ahead of time (.cwasm), which is never loaded")
                .help("name the .wasm file itself; compiled code is cached automatically"));
        }
        [0x7f, b'E', b'L', b'F', ..] | [b'M', b'Z', ..] => return Ok(FileType::Native),
        [0xcf, 0xfa, 0xed, 0xfe, ..] | [0xce, 0xfa, 0xed, 0xfe, ..] => return Ok(FileType::Native),
        [0xca, 0xfe, 0xba, 0xbe | 0xbf, ..] => {
            return Err(not_a_plugin("universal Mach-O files are not supported")
                .help("extract the part for this processor with `lipo -thin`"));
        }
        _ => {}
    }
    let start = &bytes[..bytes.len().min(512)];
    let what = match std::str::from_utf8(start) {
        Ok(_) => "this is a text file",
        Err(e) if e.error_len().is_none() => "this is a text file",
        Err(_) => "this is neither a shared library nor a WebAssembly component",
    };
    Err(not_a_plugin(what))
}

fn not_a_plugin(why: &str) -> Error {
    Error::plugin(format!("not a plugin: {why}"))
        .help("name a .so, .dylib, .dll or .wasm file built with creamery-plugin, its source folder, or builtin:NAME")
}

fn no_descriptor(artifact: Artifact) -> Error {
    let what = match artifact {
        Artifact::Component => "a WebAssembly file",
        Artifact::Native | Artifact::Builtin => "a shared library or program",
    };
    Error::plugin(format!("not a plugin: {what} without a plugin descriptor"))
        .help("a plugin calls creamery_plugin::export_plugin! at the root of its crate, with crate-type \"cdylib\"")
}

fn too_large(found: usize) -> Error {
    Error::plugin(format!("not a plugin: its descriptor has {found} bytes, at most {MAX_DESCRIPTOR} are allowed"))
        .help("what a plugin says about itself is its name, a summary and the schema of its parameters")
}

fn truncated() -> Error {
    Error::plugin("not a plugin: the file is truncated or damaged").help("copy or build it again")
}

fn is_compiled_wasm(bytes: &[u8]) -> bool {
    match object::File::parse(bytes) {
        Ok(file) => file.sections().any(|s| s.name().is_ok_and(|n| n.starts_with(".wasmtime"))),
        Err(_) => false,
    }
}

/// The platform of a native library, and its descriptor section.
fn native_section(bytes: &[u8]) -> Result<(String, Option<Vec<u8>>)> {
    use object::{Architecture, BinaryFormat};
    let damaged = |e: object::Error| {
        Error::plugin(format!("not a plugin: the shared library is truncated or damaged ({e})"))
            .help("copy or build it again")
    };
    let file = object::File::parse(bytes).map_err(damaged)?;
    let (os, name) = match file.format() {
        BinaryFormat::MachO => ("macos", MACHO_SECTION),
        BinaryFormat::Pe | BinaryFormat::Coff => ("windows", PE_SECTION),
        _ => ("linux", ELF_SECTION),
    };
    let arch = match file.architecture() {
        Architecture::X86_64 | Architecture::X86_64_X32 => "x86_64".to_owned(),
        Architecture::I386 => "x86".to_owned(),
        Architecture::Aarch64 | Architecture::Aarch64_Ilp32 => "aarch64".to_owned(),
        Architecture::Arm => "arm".to_owned(),
        Architecture::Unknown => "an unknown processor".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    let section = match file.section_by_name(name) {
        Some(section) => match section.data().map_err(damaged)? {
            data if data.len() > MAX_DESCRIPTOR => return Err(too_large(data.len())),
            data => Some(data.to_vec()),
        },
        None => None,
    };
    Ok((format!("{os}-{arch}"), section))
}

/// Whether a library for `platform` can be loaded here. All ELF systems are called "linux" in it.
fn same_platform(platform: &str) -> bool {
    let Some((os, arch)) = platform.split_once('-') else { return false };
    let format = match std::env::consts::OS {
        "macos" | "ios" => "macos",
        "windows" => "windows",
        _ => "linux",
    };
    os == format && arch == std::env::consts::ARCH
}

/// All descriptor sections of a component or module, those of inner modules included.
fn component_sections(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut is_component = None;
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|e| {
            Error::plugin(format!("not a plugin: the WebAssembly file is truncated or damaged ({e})"))
                .help("copy or build it again")
        })?;
        match payload {
            wasmparser::Payload::Version { encoding, .. } if is_component.is_none() => {
                is_component = Some(encoding == wasmparser::Encoding::Component);
            }
            wasmparser::Payload::CustomSection(section) if section.name() == WASM_SECTION => {
                if section.data().len() > MAX_DESCRIPTOR {
                    return Err(too_large(section.data().len()));
                }
                if found.len() == 2 {
                    // More than one is an error anyway.
                    continue;
                }
                found.push(section.data().to_vec());
            }
            _ => {}
        }
    }
    if is_component != Some(true) {
        return Err(Error::plugin("not a plugin: a WebAssembly module, but not a component").help(
            "link it with wasm-component-ld: set CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-component-ld \
             and build for wasm32-unknown-unknown, or name its source folder",
        ));
    }
    Ok(found)
}
