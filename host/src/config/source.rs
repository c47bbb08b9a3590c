//! The config file as a tree in which every value knows where it came from.

use std::path::Path;
use std::rc::Rc;

use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result};

/// A config file larger than this is not a config file.
const MAX_BYTES: u64 = 4 << 20;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of the file, from 1.
    Line(usize),
    /// An argument of the command line, as it was typed: `--set train.beta=0.2`.
    Argument(Rc<str>),
}

impl Origin {
    /// An error about a value from here.
    pub(super) fn error(&self, file: &Path, message: impl AsRef<str>) -> Error {
        match self {
            Origin::Line(line) => Error::config(message.as_ref()).file(file).line(*line),
            Origin::Argument(argument) => Error::config(format!("{argument}: {}", message.as_ref())),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Value,
    pub origin: Origin,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// Entries in the order of the file.
pub(super) type Table = Vec<(String, Node)>;

impl Value {
    /// The value for an error message: its type and, where short, itself.
    pub(super) fn describe(&self) -> String {
        match self {
            Value::String(s) if s.chars().count() <= 60 => format!("the string {s:?}"),
            Value::String(s) => format!("a string of {} characters", s.chars().count()),
            Value::Integer(i) => i.to_string(),
            Value::Float(f) => format!("{f:?}"),
            Value::Boolean(b) => b.to_string(),
            Value::Datetime(d) => format!("the date {d}"),
            Value::Array(items) => format!("a list of {}", items.len()),
            Value::Table(_) => "a table".to_owned(),
        }
    }
}

/// Reads a config file: at most 4 MiB of UTF-8.
pub(super) fn read(file: &Path) -> Result<String> {
    let error = |e: std::io::Error| {
        if e.kind() == std::io::ErrorKind::NotFound {
            Error::config("there is no such config file").file(file).help("name a TOML file")
        } else {
            Error::io("read", file, &e)
        }
    };
    let metadata = std::fs::metadata(file).map_err(error)?;
    if metadata.is_dir() {
        return Err(Error::config("is a folder, expected a TOML file").file(file));
    }
    let mut bytes = Vec::new();
    let mut reader = std::io::Read::take(std::fs::File::open(file).map_err(error)?, MAX_BYTES + 1);
    std::io::Read::read_to_end(&mut reader, &mut bytes).map_err(error)?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("the file is larger than {} MiB, too large for a config file", MAX_BYTES >> 20);
        return Err(Error::config(message).file(file).help("name the TOML file, not a data file or a checkpoint"));
    }
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let line = line_at(e.as_bytes(), valid);
        let byte = e.as_bytes()[valid];
        Error::config(format!("the file is not UTF-8: found byte 0x{byte:02x}"))
            .file(file)
            .line(line)
            .help("save the file as UTF-8 text")
    })
}

/// Parses TOML into a tree with the line of every value.
pub(super) fn parse(text: &str, file: &Path) -> Result<Table> {
    let document = DeTable::parse(text).map_err(|e| {
        let line = e.span().map_or(1, |span| line_at(text.as_bytes(), span.start));
        let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
        let shown: String = shown.chars().take(100).collect();
        Error::config(format!("not valid TOML: {}, found `{shown}`", e.message())).file(file).line(line)
    })?;
    let lines = Lines::new(text);
    table(document.into_inner(), file, &mut |offset| Origin::Line(lines.line(offset)))
}

/// An option that sets one value of a tree, and how it is used right.
pub(super) struct Setter {
    pub option: &'static str,
    /// Arguments as examples: `train.beta=0.2`.
    pub examples: [&'static str; 2],
}

/// Applies one `a.b=value` of the option `setter`: the value is TOML, or else a plain string.
pub(super) fn apply_set(root: &mut Table, setter: &Setter, argument: &str, file: &Path) -> Result<()> {
    let Setter { option, examples } = setter;
    let origin = Origin::Argument(format!("{option} {argument}").into());
    let Some((key, text)) = argument.split_once('=') else {
        return Err(origin.error(file, "expected KEY=VALUE").help(format!("for example {option} {}", examples[0])));
    };
    let path = key_path(key).ok_or_else(|| {
        let keys = examples.map(|example| example.split('=').next().unwrap_or_default()).join(" or ");
        origin.error(file, "the part before '=' is not a key").help(format!("write it as in TOML: {keys}"))
    })?;
    let value = value(text, &origin, file)?;
    put(root, &path, value, &origin, file)
}

/// Applies an option that stands for one key: `--beta 0.2`. The value is TOML, or else a plain string.
pub(super) fn apply_option(root: &mut Table, option: &str, key: &str, text: &str, file: &Path) -> Result<()> {
    let origin = Origin::Argument(format!("{option} {text}").into());
    let path: Vec<String> = key.split('.').map(str::to_owned).collect();
    put(root, &path, value(text, &origin, file)?, &origin, file)
}

fn value(text: &str, origin: &Origin, file: &Path) -> Result<Node> {
    match DeTable::parse(&format!("value = {text}")) {
        Ok(parsed) if parsed.get_ref().len() == 1 => {
            let mut set = table(parsed.into_inner(), file, &mut |_| origin.clone())?;
            Ok(set.remove(0).1)
        }
        _ => Ok(Node { value: Value::String(text.to_owned()), origin: origin.clone() }),
    }
}

/// Puts a value at a path, and makes the tables on the way.
pub(super) fn put(root: &mut Table, path: &[String], value: Node, origin: &Origin, file: &Path) -> Result<()> {
    let mut here = root;
    let (last, parents) = path.split_last().expect("a key has at least one part");
    for (depth, part) in parents.iter().enumerate() {
        let index = entry(here, part).unwrap_or_else(|| {
            here.push((part.clone(), Node { value: Value::Table(Table::new()), origin: origin.clone() }));
            here.len() - 1
        });
        let node = &mut here[index].1;
        let found = node.value.describe();
        match &mut node.value {
            Value::Table(inner) => here = inner,
            _ => {
                let message = format!("`{}` is {found}, not a table", path[..=depth].join("."));
                return Err(origin.error(file, message));
            }
        }
    }
    match entry(here, last) {
        Some(index) => here[index].1 = value,
        None => here.push((last.clone(), value)),
    }
    Ok(())
}

/// The position of a key in a table.
pub(super) fn entry(table: &Table, key: &str) -> Option<usize> {
    table.iter().position(|(name, _)| name == key)
}

/// `a."b.c".d` → its parts, by TOML's own rules.
pub(super) fn key_path(key: &str) -> Option<Vec<String>> {
    if key.contains(['\n', '\r', '#', '[', '{']) {
        return None;
    }
    let text = format!("{key} = 0");
    let mut here = DeTable::parse(&text).ok()?.into_inner();
    let mut path = Vec::new();
    loop {
        let (name, value) = here.into_iter().next()?;
        path.push(name.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => here = inner,
            _ => return Some(path),
        }
    }
}

fn table(parsed: DeTable<'_>, file: &Path, origin: &mut impl FnMut(usize) -> Origin) -> Result<Table> {
    let mut entries = Table::with_capacity(parsed.len());
    for (key, value) in parsed {
        let origin_here = origin(key.span().start);
        let value = convert(value.into_inner(), &origin_here, file, origin)?;
        entries.push((key.into_inner().into_owned(), Node { value, origin: origin_here }));
    }
    Ok(entries)
}

fn convert(value: DeValue<'_>, here: &Origin, file: &Path, origin: &mut impl FnMut(usize) -> Origin) -> Result<Value> {
    Ok(match value {
        DeValue::String(s) => Value::String(s.into_owned()),
        DeValue::Integer(i) => match i64::from_str_radix(i.as_str(), i.radix()) {
            Ok(i) => Value::Integer(i),
            Err(_) => return Err(here.error(file, format!("the whole number {i} does not fit in 64 bits"))),
        },
        DeValue::Float(f) => match f.as_str().parse() {
            Ok(f) => Value::Float(f),
            Err(_) => return Err(here.error(file, format!("{f} is not a number"))),
        },
        DeValue::Boolean(b) => Value::Boolean(b),
        DeValue::Datetime(d) => Value::Datetime(d.to_string()),
        DeValue::Array(items) => {
            let mut nodes = Vec::with_capacity(items.len());
            for item in items {
                let origin_item = origin(item.span().start);
                let value = convert(item.into_inner(), &origin_item, file, origin)?;
                nodes.push(Node { value, origin: origin_item });
            }
            Value::Array(nodes)
        }
        DeValue::Table(inner) => Value::Table(table(inner, file, origin)?),
    })
}

/// Byte offsets → lines, by binary search.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Lines { starts: std::iter::once(0).chain(newlines).collect() }
    }

    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }
}

fn line_at(bytes: &[u8], offset: usize) -> usize {
    1 + bytes[..offset.min(bytes.len())].iter().filter(|b| **b == b'\n').count()
}
