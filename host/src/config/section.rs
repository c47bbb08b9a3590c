//! Reading one table of the config: typed values, ranges, and errors that say what was expected.

use std::ops::RangeInclusive;
use std::path::Path;

use super::source::{Node, Origin, Table, Value};
use crate::error::{Error, Result};

/// What decides how a model is trained, in whichever table.
const OPTIM: &[&str] = &[
    "epochs",
    "learning-rate",
    "batch-size",
    "micro-batch-tokens",
    "gradient-checkpointing",
    "schedule",
    "warmup-ratio",
    "weight-decay",
    "decay-all",
    "adam-betas",
    "adam-eps",
    "max-grad-norm",
    "save-steps",
    "save-total-limit",
];

/// What `creamery train` takes besides.
const JOB: &[&str] = &["lora", "seed", "max-length", "max-steps", "shuffle"];

/// What a slot takes, whatever is behind it.
const SLOT: &[&str] = &[
    "model",
    "gguf",
    "tokenizer",
    "template",
    "template-args",
    "template-date",
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
    "program",
    "folder",
    "deadline-seconds",
    "files",
];

/// The keys of every table. A key that is not here is an error with the nearest name.
const KEYS: &[(&str, &[&[&str]])] = &[
    (
        "",
        &[&[
            "name",
            "seed",
            "device",
            "threads",
            "out",
            "store",
            "allow-native",
            "trust",
            "about",
            "model",
            "data",
            "sft",
            "lora",
            "rounds",
            "sample",
            "judge",
            "judges",
            "viewpoints",
            "ema",
            "ranker",
            "regularizer",
            "objective",
            "train",
            "eval",
            "slots",
            "sweep",
        ]],
    ),
    ("[sweep]", &[&["out", "seeds", "baseline", "metric", "grid", "zip", "exclude", "arms"]]),
    ("[around a sweep]", &[&["sweep"]]),
    ("about", &[&["method", "source", "note"]]),
    ("trust", &[&["keys", "require-signature"]]),
    ("model", &[&["path", "max-length", "scoring-reference", "template", "template-args", "template-date"]]),
    ("data", &[&["prompts", "sft", "eval"]]),
    ("lora", &[&["r", "alpha", "dropout", "rslora", "target-modules"]]),
    ("rounds", &[&["count", "prompts-per-round"]]),
    ("sample", &[&["n", "temperature", "top-p", "top-k", "min-p", "max-new-tokens", "from"]]),
    ("[[sample.from]]", &[&["name", "model", "n"]]),
    ("judge", &[&["plugin", "artifact", "isolation", "wasi", "limits", "params", "on-failure", "max-steps"]]),
    ("[[viewpoints]]", &[&["name", "model", "judge"]]),
    ("ema", &[&["decay"]]),
    ("ranker", &[&["plugin", "artifact", "isolation", "wasi", "limits", "params"]]),
    ("regularizer", &[&["plugin", "artifact", "isolation", "wasi", "limits", "params"]]),
    ("objective", &[&["plugin", "artifact", "isolation", "wasi", "limits", "params"]]),
    ("limits", &[&["fuel", "memory-mib", "deadline-seconds", "output-mib", "restarts"]]),
    ("sft", &[OPTIM]),
    ("train", &[&["beta", "nll-weight", "reference"], OPTIM]),
    ("train sft", &[JOB, OPTIM]),
    ("train dpo", &[&["loss", "beta", "label-smoothing", "gamma", "nll-weight"], JOB, OPTIM]),
    ("slot", &[SLOT]),
    ("slots file", &[&["allow-native", "slots"]]),
    ("eval", &[&["extractor", "pattern", "suffix", "samples", "temperature", "max-new-tokens", "limit"]]),
];

/// One table, or an absent one (all defaults).
pub(super) struct Section<'a> {
    file: &'a Path,
    /// Dotted path of the table, empty for the root.
    path: String,
    table: &'a [(String, Node)],
    origin: Origin,
    keys: Vec<&'static str>,
    present: bool,
    /// A file of one training's settings, without a run's tables.
    whole_file: bool,
}

/// An interval of real numbers.
#[derive(Clone, Copy)]
pub(super) struct Interval {
    low: f64,
    low_open: bool,
    high: f64,
    high_open: bool,
}

impl Interval {
    pub(super) const fn above(low: f64) -> Self {
        Interval { low, low_open: true, high: f64::MAX, high_open: false }
    }

    pub(super) const fn from(low: f64) -> Self {
        Interval { low, low_open: false, high: f64::MAX, high_open: false }
    }

    pub(super) const fn to(self, high: f64) -> Self {
        Interval { high, high_open: false, ..self }
    }

    pub(super) const fn below(self, high: f64) -> Self {
        Interval { high, high_open: true, ..self }
    }

    fn contains(&self, x: f64) -> bool {
        let low = if self.low_open { x > self.low } else { x >= self.low };
        let high = if self.high_open { x < self.high } else { x <= self.high };
        low && high && x.is_finite()
    }

    fn describe(&self) -> String {
        let low = format!("{} {}", if self.low_open { "above" } else { "of at least" }, self.low);
        if self.high == f64::MAX {
            return format!("a number {low}");
        }
        format!("a number {low} and {} {}", if self.high_open { "below" } else { "at most" }, self.high)
    }
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a Table, file: &'a Path) -> Result<Self> {
        Self::root_of(table, file, "")
    }

    /// A whole file whose keys are those listed for `kind`.
    pub(super) fn root_of(table: &'a Table, file: &'a Path, kind: &str) -> Result<Self> {
        Self::new(table, file, String::new(), Origin::Line(1), kind, true)
    }

    /// `[sweep]` of a table that holds nothing else.
    pub(super) fn sweep(table: &'a Table, file: &'a Path) -> Result<Self> {
        Self::new(table, file, String::new(), Origin::Line(1), "[around a sweep]", true)?.section("sweep", "[sweep]")
    }

    pub(super) fn file(&self) -> &'a Path {
        self.file
    }

    /// The table under `key`, whose keys are those listed for `kind`. An absent table has no entries.
    pub(super) fn section(&self, key: &str, kind: &str) -> Result<Section<'a>> {
        let path = self.dotted(key);
        let Some(node) = self.get(key) else {
            return Section::new(&[], self.file, path, self.origin.clone(), kind, false);
        };
        let Value::Table(table) = &node.value else {
            return Err(self.wrong(key, node, "a table"));
        };
        Section::new(table, self.file, path, node.origin.clone(), kind, true)
    }

    /// The tables `[KEY.NAME]`, each with its name; their keys are those listed for `kind`.
    pub(super) fn named(&self, key: &str, kind: &str) -> Result<Vec<(&'a str, Section<'a>)>> {
        let Some(node) = self.get(key) else { return Ok(Vec::new()) };
        let path = self.dotted(key);
        let Value::Table(table) = &node.value else {
            return Err(self.wrong(key, node, format!("tables [{path}.NAME]")));
        };
        let section = |(name, node): &'a (String, Node)| {
            let (name, path) = (name.as_str(), format!("{path}.{name}"));
            match &node.value {
                Value::Table(table) => {
                    Ok((name, Section::new(table, self.file, path, node.origin.clone(), kind, true)?))
                }
                other => {
                    let message = format!("`{path}` is {}, expected a table", other.describe());
                    Err(node.origin.error(self.file, message).help(format!("write [{path}], with a name of your own")))
                }
            }
        };
        table.iter().map(section).collect()
    }

    /// The tables `[[KEY]]`, in order; their keys are those listed for `kind`.
    pub(super) fn list(&self, key: &str, kind: &str) -> Result<Vec<Section<'a>>> {
        let Some(node) = self.get(key) else { return Ok(Vec::new()) };
        let path = self.dotted(key);
        let expected = || format!("a list of tables [[{path}]]");
        let items = match &node.value {
            Value::Array(items) if !items.is_empty() => items,
            _ => return Err(self.wrong(key, node, expected())),
        };
        let section = |(i, item): (usize, &'a Node)| match &item.value {
            Value::Table(table) => {
                Section::new(table, self.file, format!("{path}.{i}"), item.origin.clone(), kind, true)
            }
            _ => Err(self.wrong(key, item, expected())),
        };
        items.iter().enumerate().map(section).collect()
    }

    /// The keys that are written, in order.
    pub(super) fn given(&self) -> impl Iterator<Item = &'a str> {
        self.table.iter().map(|(key, _)| key.as_str())
    }

    /// A list of at least one string, the first of which is not empty.
    pub(super) fn words(&self, key: &str, expected: &str) -> Result<Vec<String>> {
        let Some(node) = self.get(key) else { return Err(self.missing(key, expected)) };
        let Value::Array(items) = &node.value else { return Err(self.wrong(key, node, expected)) };
        let mut words = Vec::with_capacity(items.len());
        for item in items {
            match &item.value {
                Value::String(word) if !word.contains('\0') => words.push(word.clone()),
                _ => return Err(self.wrong(key, item, expected)),
            }
        }
        match words.first() {
            Some(first) if !first.is_empty() => Ok(words),
            _ => Err(self.wrong(key, node, expected)),
        }
    }

    fn new(
        table: &'a [(String, Node)],
        file: &'a Path,
        path: String,
        origin: Origin,
        kind: &str,
        present: bool,
    ) -> Result<Self> {
        let keys = KEYS.iter().find(|(name, _)| *name == kind).expect("every table is listed in KEYS").1.concat();
        let unknown = table.iter().find(|(key, _)| !keys.contains(&key.as_str()));
        let section = Section { file, path, table, origin, keys, present, whole_file: kind.contains(' ') };
        match unknown {
            Some((key, node)) => Err(section.unknown(key, node)),
            None => Ok(section),
        }
    }

    /// Where the table was written; for an absent one, where the table around it was.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Was the table written at all?
    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        assert!(self.keys.contains(&key), "`{key}` is read but not listed in KEYS");
        self.table.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Node { value: Value::String(s), .. }) => Ok(Some(s)),
            Some(node) => {
                let error = self.wrong(key, node, "a string");
                Err(match &node.origin {
                    Origin::Argument(argument) => match argument.split_once(' ').zip(argument.split_once('=')) {
                        Some(((option, _), (name, value))) => {
                            let key = &name[option.len() + 1..];
                            error.help(format!("for a string write {option} '{key}=\"{value}\"'"))
                        }
                        None => error,
                    },
                    Origin::Line(_) => error,
                })
            }
        }
    }

    /// A string with at least one character.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.string(key)? {
            Some("") => Err(self.error(key, format!("`{}` is empty", self.dotted(key)))),
            other => Ok(other),
        }
    }

    pub(super) fn boolean(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Node { value: Value::Boolean(b), .. }) => Ok(*b),
            Some(node) => Err(self.wrong(key, node, "true or false")),
        }
    }

    pub(super) fn whole(&self, key: &str, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        let expected = || match *range.end() {
            end if end == i64::MAX as u64 => format!("a whole number of at least {}", range.start()),
            end => format!("a whole number from {} to {end}", range.start()),
        };
        match self.get(key) {
            None => Ok(None),
            Some(node) => match node.value {
                Value::Integer(i) if u64::try_from(i).is_ok_and(|i| range.contains(&i)) => Ok(Some(i as u64)),
                _ => Err(self.wrong(key, node, expected())),
            },
        }
    }

    pub(super) fn count(&self, key: &str, range: RangeInclusive<usize>, default: usize) -> Result<usize> {
        let range = *range.start() as u64..=*range.end() as u64;
        Ok(self.whole(key, range)?.map_or(default, |n| n as usize))
    }

    pub(super) fn number(&self, key: &str, interval: Interval, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(node) => self.number_of(key, node, interval),
        }
    }

    pub(super) fn number_of(&self, key: &str, node: &Node, interval: Interval) -> Result<f64> {
        let number = match node.value {
            Value::Integer(i) => i as f64,
            Value::Float(f) => f,
            _ => return Err(self.wrong(key, node, interval.describe())),
        };
        if interval.contains(number) { Ok(number) } else { Err(self.wrong(key, node, interval.describe())) }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)], default: T) -> Result<T> {
        let Some(node) = self.get(key) else { return Ok(default) };
        let expected = || {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
            format!("one of {}", names.join(", "))
        };
        let Value::String(found) = &node.value else { return Err(self.wrong(key, node, expected())) };
        match choices.iter().find(|(name, _)| name == found) {
            Some((_, choice)) => Ok(*choice),
            None => {
                let error = self.wrong(key, node, expected());
                Err(match nearest(found, choices.iter().map(|(name, _)| *name)) {
                    Some(name) => error.help(format!("did you mean {name:?}?")),
                    None => error,
                })
            }
        }
    }

    /// One string or a list of strings, each with its node.
    pub(super) fn strings(&self, key: &str) -> Result<Vec<(&'a str, &'a Node)>> {
        let Some(node) = self.get(key) else { return Ok(Vec::new()) };
        let expected = "a path or a list of paths";
        match &node.value {
            Value::String(s) if !s.is_empty() => Ok(vec![(s, node)]),
            Value::Array(items) if !items.is_empty() => items
                .iter()
                .map(|item| match &item.value {
                    Value::String(s) if !s.is_empty() => Ok((s.as_str(), item)),
                    _ => Err(self.wrong(key, item, expected)),
                })
                .collect(),
            _ => Err(self.wrong(key, node, expected)),
        }
    }

    /// An error about the value under `key`, or about the table where there is none.
    pub(super) fn error(&self, key: &str, message: impl AsRef<str>) -> Error {
        self.get(key).map_or(&self.origin, |node| &node.origin).error(self.file, message)
    }

    pub(super) fn missing(&self, key: &str, what: &str) -> Error {
        let message = format!("`{}` is missing, expected {what}", self.dotted(key));
        self.origin.error(self.file, message)
    }

    pub(super) fn wrong(&self, key: &str, node: &Node, expected: impl AsRef<str>) -> Error {
        let message = format!("`{}` is {}, expected {}", self.dotted(key), node.value.describe(), expected.as_ref());
        node.origin.error(self.file, message)
    }

    pub(super) fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn unknown(&self, key: &str, node: &Node) -> Error {
        let error = node.origin.error(self.file, format!("unknown key `{}`", self.dotted(key)));
        let homes: Vec<String> = KEYS
            .iter()
            .filter(|(table, keys)| {
                !table.is_empty() && !matches!(*table, "limits" | "slot") && keys.concat().contains(&key)
            })
            // Those with a space are files of their own, whose keys belong to no table.
            .filter(|(table, _)| !table.contains([' ', '[']) && !self.whole_file)
            .map(|(table, _)| format!("[{table}]"))
            .collect();
        if !homes.is_empty() {
            return error.help(format!("`{key}` belongs to {}", homes.join(" or ")));
        }
        if let Some(name) = nearest(key, self.keys.iter().copied()) {
            return error.help(format!("did you mean `{}`?", self.dotted(name)));
        }
        error.help(format!("the keys here are {}", self.keys.join(", ")))
    }
}

/// The name nearest to `found`, if one is near enough to be a slip of the keyboard.
pub(super) fn nearest<'n>(found: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let found = found.to_lowercase().replace('_', "-");
    let mut best: Option<(usize, &str)> = None;
    for name in names {
        let distance = strsim::damerau_levenshtein(&found, name);
        let allowed = 1 + name.chars().count().min(found.chars().count()) / 4;
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}
