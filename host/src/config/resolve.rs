//! The tree of the file → the checked [`RunConfig`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::section::{Interval, Section, nearest};
use super::slots;
use super::source::{Node, Table, Value};
use super::sources::sources;
use super::viewpoints;
use super::{
    AboutConfig, ArtifactKind, DataConfig, Device, EmaConfig, EvalConfig, Extractor, Isolation, JudgeConfig, Limits,
    LoraConfig, ModelConfig, OnFailure, OptimConfig, Params, PluginConfig, PluginSource, RoundsConfig, RunConfig,
    SampleConfig, SaveConfig, Schedule, ScoringReference, TargetModules, TrainConfig, TrainReference, TrustConfig,
    Wasi,
};
use crate::data::ChatOptions;
use crate::error::{Error, Kind, Result};
use crate::hub;
use crate::plugins::lock::Lock;

pub(super) const ANY: u64 = i64::MAX as u64;
pub(super) const MAX_TOKENS: usize = 1 << 24;

pub(super) fn resolve(table: &Table, file: &Path) -> Result<RunConfig> {
    resolve_with(table, &Paths::new(file)?)
}

/// The same for one of many configs of a file, whose paths are looked at once.
pub(super) fn resolve_with(table: &Table, paths: &Paths<'_>) -> Result<RunConfig> {
    let file = paths.file;
    let root = Section::root(table, file)?;
    if root.has("sweep") {
        let shown = file.display();
        let error = root.error("sweep", "this file has a [sweep]: it describes many runs, and not one");
        return Err(error.help(format!("use `creamery sweep run {shown}`, or `creamery sweep plan {shown}` to look")));
    }
    // The whole shape first, so that a misspelt key is reported as such and not as a missing one.
    let trust = root.section("trust", "trust")?;
    let about = root.section("about", "about")?;
    let model = root.section("model", "model")?;
    let data = root.section("data", "data")?;
    let sft = root.section("sft", "sft")?;
    let lora = root.section("lora", "lora")?;
    let rounds = root.section("rounds", "rounds")?;
    let sample = root.section("sample", "sample")?;
    let judge = root.section("judge", "judge")?;
    let judges = root.named("judges", "judge")?;
    let ranker = root.section("ranker", "ranker")?;
    let regularizer = root.section("regularizer", "regularizer")?;
    let objective = root.section("objective", "objective")?;
    let train = root.section("train", "train")?;
    let eval = root.section("eval", "eval")?;

    let name = name(&root, file)?;
    let here = &paths.here;
    let out = root.text("out")?.map_or_else(|| here.join(".creamery/runs").join(&name), |p| paths.resolve(p));
    let store = root.text("store")?.map_or_else(|| here.join(".creamery/store"), |p| paths.resolve(p));
    let allow_native = root.boolean("allow-native", false)?;

    let model = self::model(&model, paths)?;
    let data = self::data(&data, paths)?;
    let ema = viewpoints::ema(&root)?;
    let sample = self::sample(&sample, ema.as_ref(), paths)?;
    let sft = match (sft.is_present(), data.sft.is_empty()) {
        (true, true) => {
            let message = "[sft] is given, but `data.sft` is not, so there is nothing to fine-tune on";
            return Err(root.error("sft", message).help("add sft = \"FILE.jsonl\" to [data], or remove [sft]"));
        }
        (_, false) => Some(optim(&sft, 3, 5e-5)?),
        (false, true) => None,
    };
    let eval = match (eval.is_present(), data.eval.is_empty()) {
        (true, true) => {
            let message = "[eval] is given, but `data.eval` is not, so there is nothing to evaluate on";
            return Err(root.error("eval", message).help("add eval = \"FILE.jsonl\" to [data], or remove [eval]"));
        }
        (_, false) => Some(self::eval(&eval, sample.max_new_tokens)?),
        (false, true) => None,
    };
    let judges = (judges.iter())
        .map(|(name, section)| Ok((name.to_string(), self::judge(section, allow_native, paths)?)))
        .collect::<Result<_>>()?;
    let viewpoints = viewpoints::viewpoints(&root, &judges, ema.as_ref(), &sample.from, paths)?;
    Ok(RunConfig {
        file: file.to_owned(),
        name,
        seed: root.whole("seed", 0..=ANY)?.unwrap_or(0),
        device: device(&root)?,
        threads: root.count("threads", 0..=4096, 0)?,
        out,
        store,
        allow_native,
        trust: TrustConfig::read(&trust)?,
        locked: false,
        about: AboutConfig::read(&about)?,
        model,
        data,
        sft,
        lora: if lora.is_present() { Some(self::lora(&lora)?) } else { None },
        rounds: RoundsConfig {
            count: rounds.count("count", 1..=1000, 2)?,
            prompts_per_round: rounds.whole("prompts-per-round", 1..=ANY)?.map(|n| n as usize),
        },
        sample,
        judge: self::judge(&judge, allow_native, paths)?,
        judges,
        viewpoints,
        ema,
        ranker: plugin(&ranker, "best-worst", allow_native, paths)?,
        regularizer: plugin(&regularizer, "cream", allow_native, paths)?,
        objective: self::objective(&objective, allow_native, paths)?,
        train: TrainConfig {
            beta: train.number("beta", Interval::above(0.0).to(1000.0), 0.1)?,
            nll_weight: train.number("nll-weight", Interval::from(0.0).to(1000.0), 0.0)?,
            reference: train.choice(
                "reference",
                &[("start", TrainReference::Start), ("none", TrainReference::None)],
                TrainReference::Start,
            )?,
            optim: optim(&train, 1, 1e-6)?,
        },
        eval,
        slots: slots::slots(&root, paths, allow_native)?,
    })
}

fn name(root: &Section<'_>, file: &Path) -> Result<String> {
    let given = root.text("name")?;
    let name = match given {
        Some(name) => name.to_owned(),
        None => file.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned()),
    };
    let plain = !name.chars().any(|c| matches!(c, '/' | '\\' | ':') || c.is_control()) && !name.starts_with('.');
    if given.is_some() && !plain {
        let message = format!("`name` is {name:?}, expected a name that can be a folder's");
        return Err(root.error("name", message).help("use letters, digits, '-', '_' and spaces"));
    }
    Ok(if plain { name } else { "run".to_owned() })
}

fn device(root: &Section<'_>) -> Result<Device> {
    let Some(text) = root.string("device")? else { return Ok(Device::Auto) };
    let cuda = text.strip_prefix("cuda:").filter(|n| n.len() <= 4 && n.bytes().all(|b| b.is_ascii_digit()));
    match (text, cuda.and_then(|n| n.parse().ok())) {
        ("auto", _) => Ok(Device::Auto),
        ("cpu", _) => Ok(Device::Cpu),
        (_, Some(index)) => Ok(Device::Cuda(index)),
        _ => {
            let message = format!("`device` is {text:?}, expected \"auto\", \"cpu\" or \"cuda:N\"");
            let error = root.error("device", message);
            Err(match (text, nearest(text, ["auto", "cpu", "cuda:0"].into_iter())) {
                ("cuda" | "gpu", _) => error.help("for the first GPU write \"cuda:0\""),
                (_, Some(name)) => error.help(format!("did you mean {name:?}?")),
                _ => error,
            })
        }
    }
}

fn model(section: &Section<'_>, paths: &Paths<'_>) -> Result<ModelConfig> {
    let path = section
        .text("path")?
        .ok_or_else(|| section.missing("path", "the folder of the initial model").help("[model]\n    path = \"…\""))?;
    Ok(ModelConfig {
        path: paths.model(path, section, "path")?,
        max_length: section.count("max-length", 2..=MAX_TOKENS, 2048)?,
        chat: chat(section, paths)?,
        scoring_reference: match section.text("scoring-reference")? {
            None | Some("initial") => ScoringReference::Initial,
            Some("previous") => ScoringReference::Previous,
            Some(path) => ScoringReference::Path(paths.model(path, section, "scoring-reference").map_err(|e| {
                e.help("expected \"initial\", \"previous\" or the path or hub name of a Hugging Face folder")
            })?),
        },
    })
}

/// What the chat template is told. Names in `template-args` are the template's own.
pub(super) fn chat(section: &Section<'_>, paths: &Paths<'_>) -> Result<ChatOptions> {
    let (key, file) = ("template-args", paths.file.to_owned());
    let args = Params::read(section.get(key), section.origin(), section.dotted(key), file)?;
    let serde_json::Value::Object(args) = args.value else {
        return Err(section.error(key, "`template-args` must be a table"));
    };
    let text = |key: &str| Ok::<_, Error>(section.text(key)?.map(str::to_owned));
    Ok(ChatOptions { name: text("template")?, args, date: text("template-date")? })
}

fn data(section: &Section<'_>, paths: &Paths<'_>) -> Result<DataConfig> {
    let files = |key: &str| -> Result<Vec<PathBuf>> {
        let list = section.strings(key)?;
        list.into_iter().map(|(path, node)| paths.data_file(path, node, &section.dotted(key))).collect()
    };
    if !section.has("prompts") {
        let error = section.missing("prompts", "a JSONL file of prompts");
        return Err(error.help("[data]\n    prompts = \"prompts.jsonl\""));
    }
    Ok(DataConfig { prompts: files("prompts")?, sft: files("sft")?, eval: files("eval")? })
}

fn sample(section: &Section<'_>, ema: Option<&EmaConfig>, paths: &Paths<'_>) -> Result<SampleConfig> {
    let n = section.count("n", 2..=1024, 5)?;
    Ok(SampleConfig {
        n,
        temperature: section.number("temperature", Interval::above(0.0).to(100.0), 0.8)?,
        top_p: section.number("top-p", Interval::above(0.0).to(1.0), 0.95)?,
        top_k: section.count("top-k", 0..=MAX_TOKENS, 0)?,
        min_p: section.number("min-p", Interval::from(0.0).to(1.0), 0.0)?,
        max_new_tokens: section.count("max-new-tokens", 1..=MAX_TOKENS, 768)?,
        from: sources(section, n, ema, paths)?,
    })
}

pub(super) fn optim(section: &Section<'_>, epochs: usize, learning_rate: f64) -> Result<OptimConfig> {
    let schedules = [("cosine", Schedule::Cosine), ("linear", Schedule::Linear), ("constant", Schedule::Constant)];
    Ok(OptimConfig {
        epochs: section.count("epochs", 1..=10_000, epochs)?,
        learning_rate: section.number("learning-rate", Interval::above(0.0).to(1.0), learning_rate)?,
        batch_size: section.count("batch-size", 1..=1 << 20, 32)?,
        micro_batch_tokens: section.count("micro-batch-tokens", 1..=MAX_TOKENS, 8192)?,
        gradient_checkpointing: section.boolean("gradient-checkpointing", false)?,
        schedule: section.choice("schedule", &schedules, Schedule::Cosine)?,
        warmup_ratio: section.number("warmup-ratio", Interval::from(0.0).to(1.0), 0.1)?,
        weight_decay: section.number("weight-decay", Interval::from(0.0).to(100.0), 0.01)?,
        decay_all: section.boolean("decay-all", false)?,
        adam_betas: adam_betas(section)?,
        adam_eps: section.number("adam-eps", Interval::above(0.0).to(1.0), 1e-8)?,
        max_grad_norm: section.number("max-grad-norm", Interval::above(0.0), 1.0)?,
        save: SaveConfig {
            save_steps: section.count("save-steps", 0..=ANY as usize, 0)?,
            save_total_limit: section.whole("save-total-limit", 1..=ANY)?.map(|n| n as usize),
        },
    })
}

pub(super) fn lora(section: &Section<'_>) -> Result<LoraConfig> {
    let r = section.count("r", 1..=1 << 16, 8)?;
    Ok(LoraConfig {
        r,
        alpha: section.number("alpha", Interval::above(0.0).to(1e6), 2.0 * r as f64)?,
        dropout: section.number("dropout", Interval::from(0.0).below(1.0), 0.0)?,
        rslora: section.boolean("rslora", false)?,
        target_modules: target_modules(section)?,
    })
}

fn target_modules(section: &Section<'_>) -> Result<TargetModules> {
    let Some(node) = section.get("target-modules") else { return Ok(TargetModules::AllLinear) };
    let names = match &node.value {
        Value::String(text) if text == "all-linear" => return Ok(TargetModules::AllLinear),
        Value::Array(items) if !items.is_empty() => items
            .iter()
            .map(|item| match &item.value {
                Value::String(name) if !name.is_empty() => Some(name.clone()),
                _ => None,
            })
            .collect(),
        _ => None,
    };
    let expected = r#""all-linear" or a list of names, like ["q_proj", "v_proj"]"#;
    names.map(TargetModules::Names).ok_or_else(|| section.wrong("target-modules", node, expected))
}

fn adam_betas(section: &Section<'_>) -> Result<[f64; 2]> {
    let Some(node) = section.get("adam-betas") else { return Ok([0.9, 0.999]) };
    match &node.value {
        Value::Array(items) if items.len() == 2 => {
            let beta = |item: &Node| section.number_of("adam-betas", item, Interval::from(0.0).below(1.0));
            Ok([beta(&items[0])?, beta(&items[1])?])
        }
        _ => Err(section.wrong("adam-betas", node, "a list of two numbers, like [0.9, 0.999]")),
    }
}

fn eval(section: &Section<'_>, max_new_tokens: usize) -> Result<EvalConfig> {
    let extractors = [
        ("exact", Extractor::Exact),
        ("number", Extractor::Number),
        ("choice", Extractor::Choice),
        ("regex", Extractor::Regex),
    ];
    let extractor = section.choice("extractor", &extractors, Extractor::Exact)?;
    let pattern = section.text("pattern")?.map(str::to_owned);
    match (extractor, &pattern) {
        (Extractor::Regex, None) => {
            let message = "`eval.extractor` is \"regex\", but `eval.pattern` is missing";
            return Err(section.error("extractor", message).help("add pattern = 'Answer: (.*)' to [eval]"));
        }
        (Extractor::Exact | Extractor::Number | Extractor::Choice, Some(_)) => {
            let message = "`eval.pattern` is used only with extractor = \"regex\"";
            return Err(section.error("pattern", message).help("set extractor = \"regex\", or remove the pattern"));
        }
        (Extractor::Regex, Some(text)) => {
            if let Err(e) = regex::Regex::new(text) {
                let message = format!("`eval.pattern` is not a regular expression: {e}");
                return Err(section.error("pattern", message).help("see https://docs.rs/regex for the syntax"));
            }
        }
        _ => {}
    }
    Ok(EvalConfig {
        extractor,
        pattern,
        suffix: section.string("suffix")?.unwrap_or_default().to_owned(),
        samples: section.count("samples", 1..=1024, 4)?,
        temperature: section.number("temperature", Interval::above(0.0).to(100.0), 0.8)?,
        max_new_tokens: section.count("max-new-tokens", 1..=MAX_TOKENS, max_new_tokens)?,
        limit: section.count("limit", 0..=ANY as usize, 0)?,
    })
}

/// No plugin is a default here: without the section the objective is the regularizer's.
fn objective(section: &Section<'_>, allow_native: bool, paths: &Paths<'_>) -> Result<Option<PluginConfig>> {
    match (section.is_present(), section.has("plugin")) {
        (false, _) => Ok(None),
        (true, true) => Ok(Some(plugin(section, "", allow_native, paths)?)),
        (true, false) => {
            let error = section.missing("plugin", "the regularizer plugin whose objective is used");
            Err(error.help("[objective]\n    plugin = \"builtin:preference-loss\""))
        }
    }
}

fn judge(section: &Section<'_>, allow_native: bool, paths: &Paths<'_>) -> Result<JudgeConfig> {
    let policies = [("stop", OnFailure::Stop), ("abstain", OnFailure::Abstain), ("skip", OnFailure::Skip)];
    Ok(JudgeConfig {
        plugin: plugin(section, "implicit-reward", allow_native, paths)?,
        on_failure: section.choice("on-failure", &policies, OnFailure::Stop)?,
        max_steps: section.count("max-steps", 1..=1000, 8)?,
    })
}

fn plugin(section: &Section<'_>, builtin: &str, allow_native: bool, paths: &Paths<'_>) -> Result<PluginConfig> {
    let key = section.dotted("plugin");
    let plugin = match section.text("plugin")? {
        None => PluginSource::Builtin(builtin.to_owned()),
        Some(text) => plugin_source(text, section, paths)?,
    };
    let given = match section.has("artifact") {
        true => Some(section.choice(
            "artifact",
            &[("native", ArtifactKind::Native), ("component", ArtifactKind::Component)],
            ArtifactKind::Component,
        )?),
        false => None,
    };
    let artifact = match (&plugin, given) {
        (PluginSource::Folder(_), given) => Some(given.unwrap_or(ArtifactKind::Component)),
        (_, None) => None,
        (_, Some(_)) => {
            let message =
                format!("`{}` is only for a source folder, but the plugin is {plugin}", section.dotted("artifact"));
            return Err(section.error("artifact", message).help(format!("remove it, or name a folder in `{key}`")));
        }
    };
    let native = matches!(plugin, PluginSource::Library(_)) || artifact == Some(ArtifactKind::Native);
    // With a lock, loading finds out.
    if native && !allow_native && !Lock::path(paths.file).is_file() {
        let message =
            format!("`{key}` is a native library, which runs with all your rights, and `allow-native` is false");
        return Err(section
            .error("plugin", message)
            .help("if you trust it, lock it with `creamery plugin lock CONFIG` or set allow-native = true; or use a component"));
    }
    let isolations = [("none", Isolation::None), ("process", Isolation::Process)];
    let isolation = section.choice("isolation", &isolations, Isolation::None)?;
    if isolation == Isolation::Process && !native {
        let what = match plugin {
            PluginSource::Builtin(_) => "part of this program",
            _ => "a component, which has a sandbox already",
        };
        let message = format!("`{}` is only for a native library, but {plugin} is {what}", section.dotted("isolation"));
        return Err(section.error("isolation", message).help("remove it"));
    }
    let wasi = match section.has("wasi") {
        true => Some(section.choice("wasi", &[("deny", Wasi::Deny)], Wasi::Deny)?),
        false => None,
    };
    let limits = section.section("limits", "limits")?;
    Ok(PluginConfig {
        plugin,
        artifact,
        isolation,
        wasi,
        limits: Limits {
            fuel: limits.whole("fuel", 1..=ANY)?.unwrap_or(20_000_000_000),
            memory_mib: limits.whole("memory-mib", 1..=4096)?.unwrap_or(256),
            deadline_seconds: limits.number("deadline-seconds", Interval::above(0.0).to(1e6), 60.0)?,
            output_mib: limits.whole("output-mib", 1..=4096)?.unwrap_or(64),
            restarts: limits.whole("restarts", 0..=ANY)?.unwrap_or(100),
        },
        params: Params::read(section.get("params"), section.origin(), section.dotted("params"), paths.file.to_owned())?,
    })
}

fn plugin_source(text: &str, section: &Section<'_>, paths: &Paths<'_>) -> Result<PluginSource> {
    let key = section.dotted("plugin");
    let forms = "expected builtin:NAME, a .so, .dylib, .dll or .wasm file, or a folder with a plugin's source";
    if let Some(name) = text.strip_prefix("builtin:") {
        if name.is_empty() {
            return Err(section.error("plugin", format!("`{key}` names no builtin, {forms}")));
        }
        return Ok(PluginSource::Builtin(name.to_owned()));
    }
    let path = paths.resolve(text);
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if paths.found(&path) == Found::Folder {
        return Ok(PluginSource::Folder(path));
    }
    if paths.found(&path) == Found::Nothing {
        let error = section.error("plugin", format!("`{key}` is {text:?}, but there is nothing at {}", path.display()));
        return Err(error.with_kind(Kind::Plugin).help(format!("{forms}; paths start at the config file's folder")));
    }
    match ending.as_str() {
        "so" | "dylib" | "dll" => Ok(PluginSource::Library(path)),
        "wasm" => Ok(PluginSource::Component(path)),
        _ => Err(section.error("plugin", format!("`{key}` is {text:?}, {forms}")).with_kind(Kind::Plugin)),
    }
}

/// Resolves paths against the config file's folder.
pub(super) struct Paths<'a> {
    pub(super) file: &'a Path,
    pub(super) base: PathBuf,
    /// The current directory.
    pub(super) here: PathBuf,
    seen: RefCell<HashMap<PathBuf, Found>>,
    links: RefCell<HashMap<PathBuf, bool>>,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Folder,
    /// Or a pipe or device, which is as good to read.
    File,
}

impl<'a> Paths<'a> {
    pub(super) fn new(file: &'a Path) -> Result<Self> {
        let absolute = std::path::absolute(file).map_err(|e| Error::io("find the folder of", file, &e))?;
        let here = std::env::current_dir().map_err(|e| Error::io("find the current directory of", ".", &e))?;
        let base = absolute.parent().map_or_else(|| absolute.clone(), Path::to_owned);
        Ok(Paths { file, base, here, seen: RefCell::default(), links: RefCell::default() })
    }

    /// What is at a path; each is looked at once.
    pub(super) fn found(&self, path: &Path) -> Found {
        if let Some(found) = self.seen.borrow().get(path) {
            return *found;
        }
        let found = match std::fs::metadata(path) {
            Err(_) => Found::Nothing,
            Ok(metadata) if metadata.is_dir() => Found::Folder,
            Ok(_) => Found::File,
        };
        self.seen.borrow_mut().insert(path.to_owned(), found);
        found
    }

    fn is_link(&self, path: &Path) -> bool {
        *self.links.borrow_mut().entry(path.to_owned()).or_insert_with(|| path.is_symlink())
    }

    /// Absolute, without `.` and, unless a link is involved, without `..`.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let mut clean = PathBuf::new();
        for part in self.base.join(path).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir if clean.file_name().is_some() && !self.is_link(&clean) => {
                    clean.pop();
                }
                other => clean.push(other),
            }
        }
        clean
    }

    /// A model's folder, or its name on the hub as it is: nothing is fetched to read a config.
    pub(super) fn model(&self, text: &str, section: &Section<'_>, key: &str) -> Result<PathBuf> {
        let name = PathBuf::from(text);
        match hub::is_name(&name) {
            Ok(true) => Ok(name),
            Ok(false) => self.folder(text, section, key),
            Err(e) => {
                let error = section.error(key, format!("`{}`: {}", section.dotted(key), e.message()));
                Err(e.help_text().iter().fold(error, |error, help| error.help(*help)))
            }
        }
    }

    pub(super) fn folder(&self, text: &str, section: &Section<'_>, key: &str) -> Result<PathBuf> {
        let path = self.resolve(text);
        let found = match self.found(&path) {
            Found::Folder => return Ok(path),
            Found::File => "a file",
            Found::Nothing => "nothing",
        };
        let message = format!(
            "`{}` is {text:?}, but there is {found} at {}, expected a folder",
            section.dotted(key),
            path.display()
        );
        Err(section.error(key, message).with_kind(Kind::Input))
    }

    fn data_file(&self, text: &str, node: &Node, key: &str) -> Result<PathBuf> {
        let path = self.resolve(text);
        let found = match self.found(&path) {
            Found::File => return Ok(path),
            Found::Folder => "a folder",
            Found::Nothing => "nothing",
        };
        let message = format!("`{key}` is {text:?}, but there is {found} at {}, expected a JSONL file", path.display());
        Err(node.origin.error(self.file, message).with_kind(Kind::Input))
    }
}
