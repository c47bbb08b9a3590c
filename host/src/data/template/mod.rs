//! Chat templates: a conversation becomes the exact text, and so the exact ids, that transformers would make of it.
//!
//! A template comes from `chat_template.jinja` or the folder `additional_chat_templates`, or else from `chat_template`
//! in `tokenizer_config.json` (a string, or a list of named templates); without a name it is the one called `default`.
//! It runs in minijinja with transformers' settings, and with Python's methods, filters, texts of values and errors
//! where those differ. A template is foreign code, so it gets a bounded amount of work.

mod arguments;
mod date;
mod environment;
mod filters;
mod json;
mod repr;
mod rewrite;
mod source;
mod strings;

use std::cell::Cell;
use std::path::{Path, PathBuf};

use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use creamery_plugin::Message;

/// Steps (about 64 bytes or one instruction each) a template may take, plus the same again for each byte of input.
const BASE_FUEL: u64 = 2_000_000;

/// What `strftime_now` tells unless a date is given: the day that Llama's own templates fall back to. A template that
/// looked at the clock would give the same prompt other ids on another day.
pub const DEFAULT_DATE: &str = "2024-07-26";
const DEFAULT_MOMENT: i64 = 1_721_952_000;

const NAME: &str = "chat_template";

/// The variables that every template is given.
const OWN: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];

/// transformers' mark for the place up to which a message that goes on is printed.
const CONTINUE: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// Which template of a folder, and what it is told. The default is the folder's default template, told nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChatOptions {
    /// The template's name.
    #[serde(rename = "template", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The day, as `2024-07-26`, that `strftime_now` tells.
    #[serde(rename = "template-date", skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Variables of the template, as `apply_chat_template` takes them: `enable_thinking = false`.
    #[serde(rename = "template-args", skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Json>,
}

/// A tokenizer with the chat template that goes with it.
pub struct ChatFormat {
    tokenizer: Tokenizer,
    environment: Environment<'static>,
    path: PathBuf,
    args: Map<String, Json>,
}

impl ChatFormat {
    /// Reads tokenizer and chat template from a checkpoint folder.
    pub fn load(folder: &Path) -> Result<Self> {
        Self::load_with(folder, &ChatOptions::default())
    }

    /// The same, with another template than the default, variables, or another date.
    ///
    /// Fails on a template that is not there, and on a variable that the template does not know.
    pub fn load_with(folder: &Path, options: &ChatOptions) -> Result<Self> {
        let tokenizer = Tokenizer::load(folder)?;
        let (path, text) = source::find(folder, options.name.as_deref())?;
        let mut format = Self::new(tokenizer, &text, &path)?;
        check_args(&options.args, &text).map_err(|e| e.file(&path))?;
        format.args = options.args.clone();
        match options.date.as_deref().map(|text| (text, date::parse(text))) {
            None => Ok(format),
            Some((_, Some(moment))) => Ok(format.with_date(moment)),
            Some((text, None)) => {
                Err(Error::config(format!("the date '{text}' is not a day, expected is one like {DEFAULT_DATE}")))
            }
        }
    }

    /// A format from a template's source. `path` is where the source came from, for error messages.
    pub fn new(tokenizer: Tokenizer, source: &str, path: &Path) -> Result<Self> {
        let unreadable = |e: minijinja::Error| {
            let error = Error::input(format!("the chat template cannot be read: {}", describe(&e))).file(path);
            match e.line() {
                Some(line) => error.line(line),
                None => error,
            }
        };
        let mut environment = environment::environment().map_err(unreadable)?;
        environment::set_date(&mut environment, DEFAULT_MOMENT);
        let source = rewrite::rewrite(source)
            .map_err(|what| Error::input(format!("the chat template cannot be read: {what}")).file(path))?;
        deep(|| environment.add_template_owned(NAME, source))?.map_err(unreadable)?;
        Ok(ChatFormat { tokenizer, environment, path: path.to_owned(), args: Map::new() })
    }

    /// The same format with another moment for `strftime_now`, in seconds since 1970 (UTC).
    pub fn with_date(mut self, unix_seconds: i64) -> Self {
        environment::set_date(&mut self.environment, unix_seconds);
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
        // An argument may have the name of a special token, and then takes its place.
        let special = self.tokenizer.special_tokens().filter(|(name, _)| !self.args.contains_key(*name));
        variables.extend(special.map(|(name, text)| (name, Value::from(text))));
        variables.extend(self.args.iter().map(|(name, value)| (name.as_str(), Value::from(Serde(value)))));
        let variables = Value::from_pairs(variables);
        deep(|| environment.get_template(NAME)?.render(variables))?.map_err(|e| self.failed(&e))
    }

    /// The text of a conversation up to the end of its last message, which the model is to continue: without what the
    /// template writes after it. transformers' `continue_final_message`.
    pub fn render_to_continue(&self, messages: &[Message]) -> Result<String> {
        let mut messages = messages.to_vec();
        let Some(last) = messages.last_mut() else { return Err(Error::input("there is no message to continue")) };
        let content = last.content.clone();
        last.content.push_str(CONTINUE);
        let mut text = self.render(&messages, false)?;
        let at = text.rfind(CONTINUE.trim_end()).filter(|_| text.contains(content.trim()));
        let Some(at) = at else {
            return Err(Error::input(
                "the last message cannot be continued: the chat template does not print it whole",
            )
            .file(&self.path));
        };
        let spaced = text[at..].starts_with(CONTINUE);
        text.truncate(at);
        if !spaced {
            // The template trims messages, so the blanks before the mark would not be there without it.
            text.truncate(text.trim_end_matches(strings::is_space).len());
        }
        Ok(text)
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

/// Stack for templates: an expression or a value that nests deeply is read, and dropped again, by recursion. Only what
/// is used of it takes memory.
const STACK: usize = 256 << 20;

thread_local! {
    /// Whether this thread has such a stack.
    static DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` where no template can overflow the stack: on a thread of its own, unless this one is such a thread. Who
/// encodes many conversations does it within, so that one thread is started for all of them.
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    if DEEP.get() {
        return Ok(work());
    }
    let marked = || {
        DEEP.set(true);
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, marked);
        let thread = thread.map_err(|e| Error::run(format!("cannot start a thread for the chat template: {e}")))?;
        thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}

/// The files of a folder that hold chat templates, besides `tokenizer_config.json`: what a digest must read.
pub fn template_files(folder: &Path) -> Result<Vec<PathBuf>> {
    source::files(folder)
}

/// A variable that the template never names would change nothing, and so be a mistake.
fn check_args(args: &Map<String, Json>, source: &str) -> Result<()> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for name in args.keys() {
        if OWN.contains(&name.as_str()) {
            return Err(Error::config(format!("the template argument '{name}' is set by the conversation itself")));
        }
        if !source.split(|c: char| !is_word(c)).any(|word| word == name) {
            return Err(Error::config(format!(
                "the chat template has no variable '{name}', so the argument does nothing"
            ))
            .help("look for the right name in the template, or leave the argument out"));
        }
    }
    Ok(())
}

/// The innermost message of an error, which for `raise_exception` is the template's own text.
fn describe(e: &minijinja::Error) -> String {
    match e.detail() {
        Some(detail) if e.kind() == ErrorKind::InvalidOperation => detail.to_owned(),
        Some(detail) => format!("{}: {detail}", e.kind()),
        None => e.kind().to_string(),
    }
}
