//! A plugin's parameters: a JSON value that remembers the line of every part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value as Json};

use super::source::{self, Node, Origin, Setter, Table, Value};
use crate::data::strict_json;
use crate::error::{Error, Result};

/// The `[….params]` table of a plugin. Serializes as its value alone, so the lines enter no hash.
#[derive(Clone, Debug)]
pub struct Params {
    /// Always an object.
    pub value: Json,
    /// The config file.
    pub file: PathBuf,
    /// The table's dotted path, for messages: `judge.params`.
    path: String,
    /// JSON pointer → where that part was written. `""` is the table itself.
    origins: BTreeMap<String, Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Line(usize),
    Argument(String),
}

impl From<&Origin> for Place {
    fn from(origin: &Origin) -> Self {
        match origin {
            Origin::Line(line) => Place::Line(*line),
            Origin::Argument(argument) => Place::Argument(argument.to_string()),
        }
    }
}

impl Params {
    /// Parameters that come from no file, for tests and programs that build a configuration themselves.
    pub fn from_json(value: Json) -> Self {
        Params { value, file: PathBuf::new(), path: "params".to_owned(), origins: BTreeMap::new() }
    }

    /// Parameters of the command line: those of a TOML or JSON file, and over them `KEY=VALUE` arguments of `option`,
    /// which is "--param" or ends in "-param"; that of the file has an "s" more.
    pub fn from_arguments(option: &'static str, file: Option<&Path>, arguments: &[String]) -> Result<Self> {
        let path = file.unwrap_or(Path::new(""));
        let (mut table, origin) = match file {
            None => (Table::new(), Origin::Argument(option.into())),
            Some(file) if file.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) => {
                (json(&source::read(file)?, file, option)?, json_origin(file, option))
            }
            Some(file) => (source::parse(&source::read(file)?, file)?, Origin::Line(1)),
        };
        for argument in arguments {
            source::apply_set(&mut table, &Setter { option, examples: EXAMPLES }, argument, path)?;
        }
        let node = Node { value: Value::Table(table), origin: origin.clone() };
        Params::read(Some(&node), &origin, "params".to_owned(), path.to_owned())
    }

    /// The line of the part at a JSON pointer (`/weights/0`), or of the nearest part around it.
    /// `None` if it came from the command line.
    pub fn line_of(&self, json_pointer: &str) -> Option<usize> {
        match self.place(json_pointer)? {
            Place::Line(line) => Some(*line),
            Place::Argument(_) => None,
        }
    }

    /// The argument of the command line that the part at a JSON pointer, or the nearest part around it, came from:
    /// `--set judge.params.score=mean-likelihood`.
    pub fn argument_of(&self, json_pointer: &str) -> Option<&str> {
        match self.place(json_pointer)? {
            Place::Line(_) => None,
            Place::Argument(argument) => Some(argument),
        }
    }

    /// An error about the part at a JSON pointer, which names the file and line, or the argument.
    pub fn error(&self, json_pointer: &str, message: impl AsRef<str>) -> Error {
        let parts = json_pointer.split('/').skip(1).map(unescape);
        let dotted = std::iter::once(self.path.clone()).chain(parts).collect::<Vec<_>>().join(".");
        let message = format!("`{dotted}`: {}", message.as_ref());
        match self.place(json_pointer) {
            Some(Place::Line(line)) => Error::config(message).file(&self.file).line(*line),
            Some(Place::Argument(argument)) => Error::config(format!("{argument}: {message}")),
            None if self.file.as_os_str().is_empty() => Error::config(message),
            None => Error::config(message).file(&self.file),
        }
    }

    /// What the path of a `{ file = "PATH" }` at a JSON pointer means: it starts at the folder of the file that it stands
    /// in, or at the current one for a `--param` argument.
    pub fn path_of(&self, json_pointer: &str, path: &str) -> PathBuf {
        let of_argument = self
            .argument_of(json_pointer)
            .is_some_and(|a| a.split(' ').next().is_some_and(|option| option.ends_with("-param")));
        let folder = self.file.parent().filter(|_| !of_argument).unwrap_or(Path::new(""));
        let path = folder.join(path);
        std::path::absolute(&path).unwrap_or(path)
    }

    /// The value with the paths of its `{ file = "PATH" }` absolute where there is such a file, so that it means the
    /// same wherever it is written.
    fn anywhere(&self) -> Json {
        let mut value = self.value.clone();
        self.make_absolute(&mut value, &mut String::new());
        value
    }

    fn make_absolute(&self, value: &mut Json, pointer: &mut String) {
        if let Some(path) = file_of(value) {
            let path = self.path_of(&format!("{pointer}/file"), path);
            if let (true, Some(text)) = (path.is_file(), path.to_str()) {
                value["file"] = Json::from(text);
            }
            return;
        }
        let length = pointer.len();
        let mut inside = |key: &str, inner: &mut Json| {
            pointer.push('/');
            pointer.push_str(key);
            self.make_absolute(inner, pointer);
            pointer.truncate(length);
        };
        match value {
            Json::Object(object) => object.iter_mut().for_each(|(key, inner)| inside(&escape(key), inner)),
            Json::Array(items) => items.iter_mut().enumerate().for_each(|(i, item)| inside(&i.to_string(), item)),
            _ => {}
        }
    }

    fn place(&self, json_pointer: &str) -> Option<&Place> {
        let mut pointer = json_pointer;
        loop {
            if let Some(place) = self.origins.get(pointer) {
                return Some(place);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }

    /// Reads the table `node`; without one, the parameters are an empty object placed at `around`.
    pub(super) fn read(node: Option<&Node>, around: &Origin, path: String, file: PathBuf) -> Result<Self> {
        let mut params = Params { value: Json::Object(Map::new()), file, path, origins: BTreeMap::new() };
        match node {
            None => {
                params.origins.insert(String::new(), around.into());
            }
            Some(node) => {
                if !matches!(node.value, Value::Table(_)) {
                    let message = format!("`{}` is {}, expected a table", params.path, node.value.describe());
                    return Err(node.origin.error(&params.file, message));
                }
                params.value = params.convert(node, String::new())?;
            }
        }
        Ok(params)
    }

    fn convert(&mut self, node: &Node, pointer: String) -> Result<Json> {
        self.origins.insert(pointer.clone(), (&node.origin).into());
        Ok(match &node.value {
            Value::String(s) => Json::String(s.clone()),
            Value::Integer(i) => Json::from(*i),
            Value::Float(f) => match Number::from_f64(*f) {
                Some(number) => Json::Number(number),
                None => return Err(self.error(&pointer, format!("is {f}, expected a finite number"))),
            },
            Value::Boolean(b) => Json::Bool(*b),
            Value::Datetime(d) => Json::String(d.clone()),
            Value::Array(items) => Json::Array(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| self.convert(item, format!("{pointer}/{i}")))
                    .collect::<Result<_>>()?,
            ),
            Value::Table(entries) => {
                let mut object = Map::new();
                for (key, entry) in entries {
                    let value = self.convert(entry, format!("{pointer}/{}", escape(key)))?;
                    object.insert(key.clone(), value);
                }
                Json::Object(object)
            }
        })
    }
}

impl PartialEq for Params {
    /// Equal values; where they were written does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.anywhere() == other.anywhere()
    }
}

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.anywhere().serialize(serializer)
    }
}

/// The path of a table whose only key is `file`, which may stand for the text of that file.
pub(crate) fn file_of(value: &Json) -> Option<&str> {
    match value.as_object() {
        Some(object) if object.len() == 1 => object.get("file")?.as_str(),
        _ => None,
    }
}

const EXAMPLES: [&str; 2] = ["form=sample", "weights.length=0.5"];

/// JSON comes without lines, so its values are placed at the argument that named the file.
fn json_origin(file: &Path, option: &str) -> Origin {
    Origin::Argument(format!("{option}s {}", file.display()).into())
}

fn json(text: &str, file: &Path, option: &str) -> Result<Table> {
    let wrong =
        |message: String| Error::config(message).file(file).help("expected one JSON object, {\"KEY\": VALUE, …}");
    let value = strict_json::parse(text).map_err(|e| wrong(format!("not valid JSON: {e}")))?;
    match node(value, "params", &json_origin(file, option)).map_err(wrong)? {
        Value::Table(table) => Ok(table),
        other => Err(wrong(format!("found {}", other.describe()))),
    }
}

fn node(value: Json, path: &str, origin: &Origin) -> std::result::Result<Value, String> {
    let inner = |value, path: &str| Ok(Node { value: node(value, path, origin)?, origin: origin.clone() });
    Ok(match value {
        Json::Null => return Err(format!("`{path}` is null, expected a value")),
        Json::Bool(b) => Value::Boolean(b),
        Json::String(s) => Value::String(s),
        Json::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => Value::Integer(i),
            (None, Some(f)) if !n.is_u64() => Value::Float(f),
            _ => return Err(format!("`{path}` is {n}, which does not fit in 64 bits")),
        },
        Json::Array(items) => {
            Value::Array(items.into_iter().map(|item| inner(item, path)).collect::<std::result::Result<_, String>>()?)
        }
        Json::Object(entries) => {
            let mut table = Table::new();
            for (key, value) in entries {
                let value = inner(value, &format!("{path}.{key}"))?;
                table.push((key, value));
            }
            Value::Table(table)
        }
    })
}

/// RFC 6901: `~` and `/` inside a key.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}
