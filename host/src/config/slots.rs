//! `[slots.NAME]`: models that judges ask besides the run's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::resolve::{self, Paths};
use super::section::{Interval, Section};
use super::source;
use crate::data::ChatOptions;
use crate::error::{Kind, Result};
use crate::slots::OWN_NAMES;

/// `[slots.NAME]`: exactly one of `model`, `gguf`, `endpoint` and `program`, and what goes with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SlotConfig {
    Model(ModelSlot),
    Gguf(GgufSlot),
    Endpoint(EndpointSlot),
    Program(ProgramSlot),
}

/// A frozen judge model, of a family of Creamery's own or of candle-transformers'.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModelSlot {
    /// A Hugging Face folder with its tokenizer and chat template, or its name on the hub.
    pub model: PathBuf,
    /// As in `[model]`, for this model's chat template.
    #[serde(flatten)]
    pub chat: ChatOptions,
}

/// A quantized model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GgufSlot {
    pub gguf: PathBuf,
    /// A folder with `tokenizer.json`, `tokenizer_config.json` and the chat template.
    pub tokenizer: PathBuf,
    #[serde(flatten)]
    pub chat: ChatOptions,
}

/// A model behind an OpenAI-compatible server: `ENDPOINT/chat/completions`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EndpointSlot {
    /// `http://HOST:PORT/v1` or `https://…`.
    pub endpoint: String,
    /// The model's name there.
    pub served_model: String,
    /// The environment variable that holds the key. Default `None`: no key is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// For a whole answer. Default 120.
    pub timeout_seconds: f64,
    /// After the first attempt, where waiting may help: a lost connection, 408, 429 and 5xx. Default 5.
    pub retries: usize,
    /// Default 0: no limit.
    pub requests_per_minute: usize,
    /// Requests at a time. Default 4.
    pub concurrency: usize,
    /// The server gives log-probabilities, so that the slot can answer `Choose`. Default false.
    pub logprobs: bool,
    /// Sends a seed made of the run's, so that a server that knows it draws the same again. Default true.
    pub seed: bool,
    /// Keeps answers in the store, so that nothing is asked twice. Default true.
    pub cache: bool,
}

/// A verifier: a process that reads a JSON line for each query and writes one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProgramSlot {
    /// The program and its arguments.
    pub program: Vec<String>,
    /// Where it runs. Default: the config file's folder.
    pub folder: PathBuf,
    /// For each line. Default 60.
    pub deadline_seconds: f64,
    /// Files and folders that it reads besides those among its arguments, from `folder`: modules, data. Scores are kept
    /// by their contents; whatever else it reads is its author's to watch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// The slots of a file of their own, for `creamery judge`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SlotsFile {
    /// `allow-native`: allows slots that are programs.
    pub allow_native: bool,
    pub slots: BTreeMap<String, SlotConfig>,
}

impl SlotsFile {
    /// Reads a TOML file with `[slots.NAME]` tables and perhaps `allow-native`.
    ///
    /// # Errors
    /// [`Kind::Config`] for anything wrong, with its line.
    pub fn load(path: &Path, allow_native: bool) -> Result<SlotsFile> {
        let table = source::parse(&source::read(path)?, path)?;
        let root = Section::root_of(&table, path, "slots file")?;
        let allow_native = root.boolean("allow-native", allow_native)? || allow_native;
        let slots = slots(&root, &Paths::new(path)?, allow_native)?;
        if slots.is_empty() {
            return Err(root.missing("slots", "at least one table [slots.NAME]"));
        }
        Ok(SlotsFile { allow_native, slots })
    }
}

const MODEL: [&str; 4] = ["model", "template", "template-args", "template-date"];
const GGUF: [&str; 5] = ["gguf", "tokenizer", "template", "template-args", "template-date"];
const ENDPOINT: [&str; 10] = [
    "endpoint",
    "served-model",
    "api-key-env",
    "timeout-seconds",
    "retries",
    "requests-per-minute",
    "concurrency",
    "logprobs",
    "seed",
    "cache",
];
const PROGRAM: [&str; 4] = ["program", "folder", "deadline-seconds", "files"];

/// Reads the tables under `slots`.
pub(super) fn slots(root: &Section<'_>, paths: &Paths<'_>, allow_native: bool) -> Result<BTreeMap<String, SlotConfig>> {
    let mut slots = BTreeMap::new();
    for (name, section) in root.named("slots", "slot")? {
        let here = |message: String| section.origin().error(paths.file, message);
        if OWN_NAMES.contains(&name) {
            return Err(here(format!("`slots.{name}`: the slot '{name}' is the run's own"))
                .help("choose another name, and give it to the judge: [judge.params] slot = \"NAME\""));
        }
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            return Err(here(format!("`slots.{name:?}` is no name of a slot")).help("use letters, digits, '-' and '_'"));
        }
        slots.insert(name.to_owned(), slot(&section, paths, allow_native)?);
    }
    Ok(slots)
}

fn slot(section: &Section<'_>, paths: &Paths<'_>, allow_native: bool) -> Result<SlotConfig> {
    let kinds: [(&str, &[&str]); 4] =
        [("model", &MODEL), ("gguf", &GGUF), ("endpoint", &ENDPOINT), ("program", &PROGRAM)];
    let given: Vec<_> = kinds.iter().filter(|(kind, _)| section.has(kind)).collect();
    let (kind, keys) = match given.as_slice() {
        [one] => **one,
        [] => return Err(section.missing("model", "one of `model`, `gguf`, `endpoint` and `program`")),
        [first, second, ..] => {
            let message = format!("`{}` and `{}`: a slot is one of both", section.dotted(first.0), second.0);
            return Err(section.error(second.0, message).help("make two slots of it"));
        }
    };
    if let Some(key) = section.given().find(|key| !keys.contains(key)) {
        let message = format!("`{}` has no meaning for a slot with `{kind}`", section.dotted(key));
        return Err(section.error(key, message).help(format!("the keys here are {}", keys.join(", "))));
    }
    Ok(match kind {
        "model" => SlotConfig::Model(ModelSlot {
            model: paths.model(section.text("model")?.unwrap_or_default(), section, "model")?,
            chat: resolve::chat(section, paths)?,
        }),
        "gguf" => SlotConfig::Gguf(gguf(section, paths)?),
        "endpoint" => SlotConfig::Endpoint(endpoint(section)?),
        _ => SlotConfig::Program(program(section, paths, allow_native)?),
    })
}

fn gguf(section: &Section<'_>, paths: &Paths<'_>) -> Result<GgufSlot> {
    let text = section.text("gguf")?.unwrap_or_default();
    let file = paths.resolve(text);
    if !file.is_file() {
        let found = if file.exists() { "no file" } else { "nothing" };
        let message = format!("`{}` is {text:?}, but there is {found} at {}", section.dotted("gguf"), file.display());
        return Err(section.error("gguf", message).with_kind(Kind::Input));
    }
    let Some(tokenizer) = section.text("tokenizer")? else {
        return Err(section.missing("tokenizer", "a folder with the model's tokenizer.json and chat template"));
    };
    let tokenizer = paths.folder(tokenizer, section, "tokenizer")?;
    Ok(GgufSlot { gguf: file, tokenizer, chat: resolve::chat(section, paths)? })
}

fn endpoint(section: &Section<'_>) -> Result<EndpointSlot> {
    let endpoint = section.text("endpoint")?.unwrap_or_default().trim_end_matches('/');
    let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
    // What stands before an @ may be a password: the error shows nothing.
    let plain = |rest: &str| {
        !rest.is_empty()
            && !rest.starts_with(['/', ':'])
            && rest.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '@' | '?' | '#' | '"' | '<' | '>' | '\\'))
    };
    if !rest.is_some_and(plain) {
        let message = format!(
            "`{}` is no address that can be used, expected one like \"http://localhost:8000/v1\"",
            section.dotted("endpoint")
        );
        return Err(section
            .error("endpoint", message)
            .help("without a user name, a query or a fragment; a key comes from api-key-env"));
    }
    if endpoint.ends_with("/chat/completions") {
        let message = format!("`{}` ends with /chat/completions", section.dotted("endpoint"));
        return Err(section.error("endpoint", message).help("leave that out: it is added"));
    }
    #[cfg(not(feature = "endpoint"))]
    {
        let message = format!("`{}`: this build cannot reach a server", section.dotted("endpoint"));
        Err(section
            .error("endpoint", message)
            .help("build with: cargo build --release --bin creamery --features endpoint"))
    }
    #[cfg(feature = "endpoint")]
    {
        let Some(served_model) = section.text("served-model")? else {
            return Err(section.missing("served-model", "the model's name on that server"));
        };
        let api_key_env = section.text("api-key-env")?;
        let is_name = |name: &str| {
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        if api_key_env.is_some_and(|name| !is_name(name)) {
            // It may be the key itself.
            let message = format!("`{}` is not the name of an environment variable", section.dotted("api-key-env"));
            return Err(section
                .error("api-key-env", message)
                .help("put the key into a variable and name that here; a key in a file is soon everybody's"));
        }
        Ok(EndpointSlot {
            endpoint: endpoint.to_owned(),
            served_model: served_model.to_owned(),
            api_key_env: api_key_env.map(str::to_owned),
            timeout_seconds: section.number("timeout-seconds", Interval::above(0.0).to(86_400.0), 120.0)?,
            retries: section.count("retries", 0..=100, 5)?,
            requests_per_minute: section.count("requests-per-minute", 0..=resolve::MAX_TOKENS, 0)?,
            concurrency: section.count("concurrency", 1..=256, 4)?,
            logprobs: section.boolean("logprobs", false)?,
            seed: section.boolean("seed", true)?,
            cache: section.boolean("cache", true)?,
        })
    }
}

fn program(section: &Section<'_>, paths: &Paths<'_>, allow_native: bool) -> Result<ProgramSlot> {
    let program =
        section.words("program", "a list of a program and its arguments, like [\"python3\", \"verify.py\"]")?;
    if !allow_native {
        let message = format!(
            "`{}` is a program, which runs with all your rights, and `allow-native` is false",
            section.dotted("program")
        );
        return Err(section.error("program", message).help("set allow-native = true if you trust it"));
    }
    let folder = match section.text("folder")? {
        Some(folder) => paths.folder(folder, section, "folder")?,
        None => paths.base.clone(),
    };
    let deadline_seconds = section.number("deadline-seconds", Interval::above(0.0).to(1e6), 60.0)?;
    if let Some(found) = program.first().and_then(|name| cannot_start(name, &folder)) {
        let message = format!("`{}` is {:?}, but {found}", section.dotted("program"), program[0]);
        return Err(section
            .error("program", message)
            .with_kind(Kind::Input)
            .help("check that it is installed; a path starts at the slot's folder, a name is looked up on the PATH"));
    }
    let mut files = Vec::new();
    for (file, node) in section.strings("files")? {
        let path = folder.join(file);
        if !path.is_file() && !path.is_dir() {
            let message = format!(
                "`{}` names {file:?}, but there is no file or folder at {}",
                section.dotted("files"),
                path.display()
            );
            let error = node.origin.error(paths.file, message).with_kind(Kind::Input);
            return Err(error.help("paths start at the folder in which the program runs"));
        }
        files.push(file.to_owned());
    }
    Ok(ProgramSlot { program, folder, deadline_seconds, files })
}

/// Why a program cannot be started, as far as the files tell: a path starts at the folder, a name is looked up as in a
/// shell.
fn cannot_start(name: &str, folder: &Path) -> Option<String> {
    let can_run = |path: &Path| path.is_file() && is_executable(path);
    if name.contains(['/', '\\']) {
        let path = folder.join(name);
        return match (can_run(&path), path.is_file()) {
            (true, _) => None,
            (false, true) => Some(format!("{} is not executable", path.display())),
            (false, false) => Some(format!("there is no program at {}", path.display())),
        };
    }
    let with_ending = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let folders = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&folders).any(|f| can_run(&f.join(name)) || can_run(&f.join(&with_ending)));
    (!found).then(|| "there is no such program on the PATH".to_owned())
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> bool {
    true
}
