//! Chat templates: a conversation becomes the exact text, and so the exact ids, that transformers would make of it.
//!
//! A template comes from `chat_template.jinja`, or else from `chat_template` in `tokenizer_config.json` (a string, or a
//! list of named templates of which `default` is used). It runs in minijinja with transformers' settings:
//! `trim_blocks`, `lstrip_blocks`, loop controls, Python's string and dictionary methods, `raise_exception`,
//! `strftime_now` and an unescaped `tojson`. A template is foreign code, so it gets a bounded amount of work.

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State};
use serde_json::Value as Json;

use super::template_json::{self, Style};
use super::tokenizer::{Tokenizer, read_optional_json};
use crate::error::{Error, Result};
use creamery_plugin::Message;

/// Steps (about 64 bytes or one instruction each) a template may take, plus the same again for each byte of input.
const BASE_FUEL: u64 = 2_000_000;

/// What `strftime_now` tells: 26 July 2024, the day that Llama's own templates fall back to. A template that looked
/// at the clock would give the same prompt other ids on another day.
const DEFAULT_DATE: i64 = 1_721_952_000;

const NAME: &str = "chat_template";

/// A tokenizer with the chat template that goes with it.
pub struct ChatFormat {
    tokenizer: Tokenizer,
    environment: Environment<'static>,
    path: PathBuf,
}

impl ChatFormat {
    /// Reads tokenizer and chat template from a checkpoint folder.
    pub fn load(folder: &Path) -> Result<Self> {
        let tokenizer = Tokenizer::load(folder)?;
        let (path, source) = find_template(folder)?;
        Self::new(tokenizer, &source, &path)
    }

    /// A format from a template's source. `path` is where the source came from, for error messages.
    pub fn new(tokenizer: Tokenizer, source: &str, path: &Path) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()
                .map_err(|e| Error::input(format!("the chat template's syntax cannot be set: {e}")).file(path))?,
        );
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_formatter(python_formatter);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_filter("tojson", tojson);
        set_date(&mut environment, DEFAULT_DATE);
        environment.add_template_owned(NAME, without_generation_tags(source)).map_err(|e| {
            let error = Error::input(format!("the chat template cannot be read: {}", describe(&e))).file(path);
            match e.line() {
                Some(line) => error.line(line),
                None => error,
            }
        })?;
        Ok(ChatFormat { tokenizer, environment, path: path.to_owned() })
    }

    /// The same format with another moment for `strftime_now`, in seconds since 1970 (UTC).
    pub fn with_date(mut self, unix_seconds: i64) -> Self {
        set_date(&mut self.environment, unix_seconds);
        self
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The text of a conversation. With `add_generation_prompt` it ends where the assistant's answer begins.
    ///
    /// Fails where the template raises (an unknown role, a wrong order of turns) or does not come to an end.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let mut environment = self.environment.clone();
        let bytes: usize = messages.iter().map(|m| m.role.len() + m.content.len()).sum();
        environment.set_fuel(Some(BASE_FUEL.saturating_add((bytes as u64).saturating_mul(256))));
        let list: Value = messages
            .iter()
            .map(|m| Value::from_pairs([("role", m.role.as_str()), ("content", m.content.as_str())]))
            .collect();
        let none = Value::from(());
        let mut variables = vec![
            ("messages", list),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
            ("tools", none.clone()),
            ("documents", none),
        ];
        variables.extend(self.tokenizer.special_tokens().map(|(name, text)| (name, Value::from(text))));
        let template = environment.get_template(NAME).map_err(|e| self.failed(&e))?;
        template.render(Value::from_pairs(variables)).map_err(|e| self.failed(&e))
    }

    /// The token ids of a conversation: [`Self::render`], then the tokenizer without special tokens added, since the
    /// template has written them (a second beginning-of-sequence token would change every probability).
    pub fn encode(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<u32>> {
        self.tokenizer.encode(&self.render(messages, add_generation_prompt)?)
    }

    fn failed(&self, e: &minijinja::Error) -> Error {
        let message = match e.kind() {
            ErrorKind::OutOfFuel => "the chat template takes too many steps; does it loop forever?".to_owned(),
            _ => format!("the chat template failed: {}", describe(e)),
        };
        let error = Error::input(message).file(&self.path);
        match e.line() {
            Some(line) => error.line(line),
            None => error,
        }
    }
}

/// The template's source and the file it is from.
fn find_template(folder: &Path) -> Result<(PathBuf, String)> {
    let path = folder.join("chat_template.jinja");
    match std::fs::read(&path) {
        Ok(bytes) => {
            let source = String::from_utf8(bytes).map_err(|_| Error::input("not valid UTF-8").file(&path))?;
            return Ok((path, source));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::io("read", &path, &e)),
    }
    let path = folder.join("tokenizer_config.json");
    let config = read_optional_json(&path)?;
    let wrong = |message: &str| {
        Err(Error::input(message).file(&path).help(
            "put the template into chat_template.jinja, or into 'chat_template' as a string or a list of {name, template}",
        ))
    };
    match config.as_ref().and_then(|c| c.get("chat_template")) {
        Some(Json::String(source)) => Ok((path, source.clone())),
        Some(Json::Array(list)) => {
            let default = list.iter().find(|t| t.get("name").and_then(Json::as_str) == Some("default"));
            match default.and_then(|t| t.get("template")).and_then(Json::as_str) {
                Some(source) => Ok((path, source.to_owned())),
                None => wrong("the list 'chat_template' has no template named 'default'"),
            }
        }
        None | Some(Json::Null) => wrong("this tokenizer has no chat template"),
        Some(_) => wrong("the field 'chat_template' must be a string or a list of named templates"),
    }
}

/// `{% generation %}` marks the assistant's tokens for transformers' training masks and prints nothing. It becomes a
/// block that is always taken, so that the whitespace rules of its tags stay.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = tag.find("%}").map(|e| e + 2) else {
            rest = tag;
            break;
        };
        let inner = &tag[2..end - 2];
        let word = inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        match word {
            "generation" => out.push_str(&format!("{{%{}%}}", inner.replace(word, "if true"))),
            "endgeneration" => out.push_str(&format!("{{%{}%}}", inner.replace(word, "endif"))),
            _ => {
                // Only this opening is passed: the text up to the next one may hold another tag.
                out.push_str("{%");
                rest = &tag[2..];
                continue;
            }
        }
        rest = &tag[end..];
    }
    out.push_str(rest);
    out
}

/// Prints values the way Python does where minijinja differs: `True`, `False` and `None`.
fn python_formatter(out: &mut Output, state: &mut State, value: &Value) -> std::result::Result<(), minijinja::Error> {
    let text = match value.kind() {
        ValueKind::Bool if value.is_true() => "True",
        ValueKind::Bool => "False",
        ValueKind::None => "None",
        _ => return minijinja::escape_formatter(out, state, value),
    };
    out.write_str(text).map_err(minijinja::Error::from)
}

fn raise_exception(message: String) -> std::result::Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

/// transformers' `tojson`: Python's `json.dumps` with `ensure_ascii=False` and no HTML escapes.
fn tojson(value: &Value, args: Kwargs) -> std::result::Result<Value, minijinja::Error> {
    let bad = |e: &dyn std::fmt::Display| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string());
    let style = Style {
        indent: args.get::<Option<usize>>("indent")?,
        sort_keys: args.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        separators: args.get::<Option<Vec<String>>>("separators")?,
    };
    // Non-ASCII text is always written as it is; asking for the other form would change the ids.
    if args.get::<Option<bool>>("ensure_ascii")? == Some(true) {
        return Err(minijinja::Error::new(
            ErrorKind::InvalidOperation,
            "tojson with ensure_ascii=true is not supported",
        ));
    }
    args.assert_all_used()?;
    let json = serde_json::to_value(value).map_err(|e| bad(&e))?;
    template_json::dumps(&json, &style).map(Value::from).map_err(|e| bad(&e))
}

fn set_date(environment: &mut Environment<'static>, unix_seconds: i64) {
    environment.add_function("strftime_now", move |format: String| {
        super::template_date::strftime(&format, unix_seconds)
            .map_err(|m| minijinja::Error::new(ErrorKind::InvalidOperation, m))
    });
}

/// The innermost message of an error, which for `raise_exception` is the template's own text.
fn describe(e: &minijinja::Error) -> String {
    match e.detail() {
        Some(detail) if e.kind() == ErrorKind::InvalidOperation => detail.to_owned(),
        Some(detail) => format!("{}: {detail}", e.kind()),
        None => e.kind().to_string(),
    }
}
