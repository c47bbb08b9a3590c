//! The rows of a data file: JSONL with TRL's field names.
//!
//! | file | fields |
//! |---|---|
//! | prompts | `prompt` |
//! | supervised | `prompt`, `completion` |
//! | scoring | `input_ids` and `response_start`, or `prompt` and `completion` |
//! | preference | `prompt`, `chosen`, `rejected` |
//! | evaluation | `prompt`, `answer`, optional `task`, `choices` |
//! | conversations | `messages` or `prompt` |
//!
//! `prompt` is a list of messages `{"role", "content"}`; a plain string means one user message. `completion`, `chosen`
//! and `rejected` are a string or a list of one assistant message. Every row may have an `id` (a string or an
//! integer); without one it is called by its place, `row-000012`. Other fields are left alone, except those that
//! other tools give a meaning to and that would change the prompt (`tools`, `images`, …): they are errors.

mod training;

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Map, Value};

use creamery_plugin::Message;

use super::completion;
use super::lines::Lines;
use super::strict_json;
use super::template::ChatFormat;
use crate::error::{Error, Result};

pub use training::{PairRow, TrainingLine, TrainingRows, TrainingText, read_pair_training, read_sft_training};

/// A prompt to sample responses to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptRow {
    pub id: String,
    pub prompt: Vec<Message>,
    /// Where in the file it stands, from 1.
    pub line: usize,
}

/// A prompt with the one response to imitate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SftRow {
    pub id: String,
    pub prompt: Vec<Message>,
    pub completion: String,
}

/// A prompt whose answer is known. `task` groups rows in the result table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalRow {
    pub id: String,
    pub prompt: Vec<Message>,
    pub answer: String,
    pub task: Option<String>,
    /// The texts of the choices A, B, C …; empty where there are none.
    pub choices: Vec<String>,
    /// Where in the file it stands, from 1.
    pub line: usize,
}

/// A conversation as it stands: any roles in any order, also texts that are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    pub id: String,
    pub messages: Vec<Message>,
    /// Where in the file it stands, from 1.
    pub line: usize,
}

/// All rows of a prompts file. An answer in a row is not looked at.
pub fn read_prompts(path: &Path) -> Result<Vec<PromptRow>> {
    read_prompts_from(path, 0)
}

/// As [`read_prompts`], with missing ids counted on from `first`: for a file that follows others.
pub fn read_prompts_from(path: &Path, first: usize) -> Result<Vec<PromptRow>> {
    read_lines(path, first, |id, line, row| Ok(PromptRow { id, prompt: row.prompt()?, line }))
}

/// All rows of a prompts file whose prompts are plain strings, as they stand: for text without a chat template.
pub fn read_texts(path: &Path) -> Result<Vec<PromptRow>> {
    read_lines(path, 0, |id, line, row| {
        let text = row.text("prompt").map_err(|what| format!("{what}; a prompt without a template is a string"))?;
        if text.is_empty() {
            return Err("the prompt is empty".into());
        }
        Ok(PromptRow { id, prompt: vec![Message::user(text)], line })
    })
}

/// All rows of a file for supervised fine-tuning.
pub fn read_sft(path: &Path) -> Result<Vec<SftRow>> {
    read(path, |id, row| Ok(SftRow { id, prompt: row.prompt()?, completion: row.response("completion")? }))
}

/// All rows of an evaluation file.
pub fn read_evaluation(path: &Path) -> Result<Vec<EvalRow>> {
    read_evaluation_from(path, 0)
}

/// As [`read_evaluation`], with missing ids counted on from `first`: for a file that follows others.
pub fn read_evaluation_from(path: &Path, first: usize) -> Result<Vec<EvalRow>> {
    read_lines(path, first, |id, line, row| {
        let answer = row.text("answer")?;
        if answer.trim().is_empty() {
            return Err("the field 'answer' is empty".into());
        }
        let task = row.has("task").then(|| row.text("task")).transpose()?;
        if task.as_ref().is_some_and(|task| task.trim().is_empty()) {
            return Err("the field 'task' is empty; leave it out for a row of no task".into());
        }
        Ok(EvalRow { id, prompt: row.prompt()?, answer, task, choices: row.choices()?, line })
    })
}

/// All rows of a file of conversations: `messages` or `prompt`. A plain string is one user message.
pub fn read_conversations(path: &Path) -> Result<Vec<ConversationRow>> {
    read_lines(path, 0, |id, line, row| {
        if row.has("messages") && row.has("prompt") {
            return Err("the row has 'messages' and 'prompt'; leave one of them out".into());
        }
        let name = if row.has("messages") { "messages" } else { "prompt" };
        let messages = match row.get(name)? {
            text @ Value::String(_) => vec![Message::user(string(text, &format!("the field '{name}'"))?)],
            list => messages(name, list)?,
        };
        if messages.is_empty() {
            return Err(format!("the field '{name}' is an empty list"));
        }
        Ok(ConversationRow { id, messages, line })
    })
}

/// A row to score, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoringLine {
    pub id: String,
    pub line: usize,
    pub row: ScoringRow,
}

/// A prompt with a response whose log-probabilities are asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum ScoringRow {
    /// Token ids; the response is `input_ids[response_start..]`.
    Ids { input_ids: Vec<u32>, response_start: usize },
    /// A conversation and the assistant's answer.
    Chat { prompt: Vec<Message>, completion: String },
    /// Text as it is.
    Text { prompt: String, completion: String },
}

impl ScoringRow {
    /// Prompt and response as token ids. Text needs `chat`; an answer ends with the last of the `stop` tokens.
    pub fn encode(&self, chat: Option<&ChatFormat>, stop: &[u32]) -> Result<(Vec<u32>, Vec<u32>)> {
        let chat = || chat.ok_or_else(|| Error::run("text cannot be scored without a tokenizer"));
        match self {
            ScoringRow::Ids { input_ids, response_start } => {
                let (prompt, response) = input_ids.split_at(*response_start);
                Ok((prompt.to_vec(), response.to_vec()))
            }
            ScoringRow::Chat { prompt, completion } => completion::conversation(chat()?, stop, prompt, completion),
            ScoringRow::Text { prompt, completion } => completion::plain(chat()?.tokenizer(), prompt, completion),
        }
    }
}

/// All rows of a file of `{"input_ids", "response_start"}` or `{"prompt", "completion"}`. Here two plain strings are
/// text without a template, TRL's "standard" format; lists of messages are a conversation.
pub fn read_scoring(path: &Path) -> Result<Vec<ScoringLine>> {
    let mut lines = Vec::new();
    read_lines(path, 0, |id, line, row| {
        lines.push(ScoringLine { id, line, row: row.scoring()? });
        Ok(())
    })?;
    Ok(lines)
}

/// What is wrong with a row; the caller adds file and line.
type RowResult<T> = std::result::Result<T, String>;

/// Calls `make` with the id and the fields of each row. Blank lines are no rows.
fn read<T>(path: &Path, make: impl Fn(String, &Row) -> RowResult<T>) -> Result<Vec<T>> {
    read_lines(path, 0, |id, _, row| make(id, row))
}

/// As [`read`], with the number of each row's line.
fn read_lines<T>(path: &Path, first: usize, make: impl FnMut(String, usize, &Row) -> RowResult<T>) -> Result<Vec<T>> {
    read_opened(&mut Lines::open(path)?, path, first, make)
}

/// As [`read_lines`], from a file that is open.
fn read_opened<T>(
    lines: &mut Lines,
    path: &Path,
    first: usize,
    mut make: impl FnMut(String, usize, &Row) -> RowResult<T>,
) -> Result<Vec<T>> {
    let (mut rows, mut ids) = (Vec::new(), HashSet::new());
    while let Some((line, text)) = lines.next_line()? {
        if text.trim().is_empty() {
            continue;
        }
        let at = |e: Error| e.file(path).line(line);
        let row = Row::parse(text).map_err(at)?;
        let id = row.id(first + rows.len()).map_err(|m| at(Error::input(m)))?;
        if !ids.insert(id.clone()) {
            return Err(at(Error::input(format!("the id '{id}' is already taken by an earlier row"))
                .help("results are joined by id: give each row its own, or leave ids out")));
        }
        rows.push(make(id, line, &row).map_err(|m| at(Error::input(m)))?);
    }
    if rows.is_empty() {
        return Err(Error::input("the file has no rows").file(path).help("one JSON object per line is expected"));
    }
    Ok(rows)
}

/// Fields that other tools define and that would change the meaning of a row if they were passed over.
const UNSUPPORTED: [&str; 8] =
    ["tools", "documents", "images", "image", "videos", "audios", "system", "chat_template_kwargs"];

/// The fields of one line.
struct Row(Map<String, Value>);

impl Row {
    fn parse(text: &str) -> Result<Row> {
        let value = strict_json::parse(text).map_err(|e| {
            // The text after "at line 1" is the column within the line; the line itself is named by the caller.
            let full = e.to_string();
            let message = full.split(" at line ").next().unwrap_or(&full);
            Error::input(format!("not a JSON object: {message} (column {})", e.column()))
                .help("a JSONL file holds one JSON object per line")
        })?;
        let Value::Object(map) = value else {
            return Err(Error::input(format!("a JSON object was expected, found {}", kind(&value)))
                .help("a JSONL file holds one JSON object per line, without a list around them"));
        };
        for name in UNSUPPORTED {
            if map.get(name).is_some_and(|v| !v.is_null()) {
                return Err(Error::input(format!("the field '{name}' is not supported")).help(
                    "it would change the prompt, so it cannot be passed over; take it out or put it into the messages",
                ));
            }
        }
        Ok(Row(map))
    }

    /// A field that is there and not null.
    fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|v| !v.is_null())
    }

    fn get(&self, name: &str) -> RowResult<&Value> {
        match self.0.get(name) {
            Some(value) => Ok(value),
            None if self.0.contains_key("messages") => {
                Err(format!("the field '{name}' is missing; 'messages' must be split into 'prompt' and the response"))
            }
            None => {
                let found: Vec<&str> = self.0.keys().map(String::as_str).collect();
                Err(format!("the field '{name}' is missing (found: {})", found.join(", ")))
            }
        }
    }

    fn text(&self, name: &str) -> RowResult<String> {
        string(self.get(name)?, &format!("the field '{name}'"))
    }

    fn id(&self, index: usize) -> RowResult<String> {
        match self.0.get("id") {
            None | Some(Value::Null) => Ok(format!("row-{index:06}")),
            Some(Value::Number(n)) if !n.is_f64() => Ok(n.to_string()),
            Some(value) => {
                let id = string(value, "the field 'id'")?;
                if id.trim().is_empty() { Err("the field 'id' is empty".into()) } else { Ok(id) }
            }
        }
    }

    /// The prompt's messages: at least one, none of them empty, the last one not the assistant's.
    fn prompt(&self) -> RowResult<Vec<Message>> {
        let value = self.get("prompt")?;
        let messages = match value {
            Value::String(_) => vec![Message::user(string(value, "the field 'prompt'")?)],
            Value::Array(_) => messages("prompt", value)?,
            other => {
                return Err(format!(
                    "the field 'prompt' must be a string or a list of messages, found {}",
                    kind(other)
                ));
            }
        };
        let Some(last) = messages.last() else {
            return Err("the field 'prompt' is an empty list".into());
        };
        if last.role == "assistant" {
            return Err("the prompt ends with an assistant message; a started answer cannot be continued".into());
        }
        if let Some(i) = messages.iter().position(|m| m.content.trim().is_empty()) {
            return Err(match value {
                Value::String(_) => "the prompt is empty".into(),
                _ => format!("the prompt is empty: message {} has no text", i + 1),
            });
        }
        Ok(messages)
    }

    fn scoring(&self) -> RowResult<ScoringRow> {
        if self.has("input_ids") {
            let (input_ids, response_start) = (self.token_ids("input_ids")?, self.get("response_start")?);
            let inside = response_start.as_u64().filter(|n| (1..input_ids.len() as u64).contains(n));
            let Some(response_start) = inside else {
                let length = input_ids.len();
                return Err(format!(
                    "'response_start' is {response_start}, expected an index from 1 to {}: prompt and response need a \
                     token each, and 'input_ids' has {length}",
                    length.saturating_sub(1)
                ));
            };
            return Ok(ScoringRow::Ids { input_ids, response_start: response_start as usize });
        }
        let completion = self.response("completion")?;
        let strings = ["prompt", "completion"].map(|name| self.0.get(name).is_some_and(Value::is_string));
        match strings {
            [true, true] => {
                let prompt = self.text("prompt")?;
                if prompt.is_empty() {
                    return Err("the prompt is empty".into());
                }
                Ok(ScoringRow::Text { prompt, completion })
            }
            [true, false] => Err("'prompt' is a string and 'completion' a list; give both in one form".into()),
            [false, _] => Ok(ScoringRow::Chat { prompt: self.prompt()?, completion }),
        }
    }

    /// A list of token ids; whether they fit the vocabulary is for the model to say.
    fn token_ids(&self, name: &str) -> RowResult<Vec<u32>> {
        let value = self.get(name)?;
        let Value::Array(items) = value else {
            return Err(format!("the field '{name}' must be a list of token ids, found {}", kind(value)));
        };
        let one = |(i, v): (usize, &Value)| {
            let id = v.as_u64().and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| format!("element {i} of '{name}' is {v}, expected a token id"))
        };
        items.iter().enumerate().map(one).collect()
    }

    /// The texts of 2 to 26 choices, all different; none where the row has no such field.
    fn choices(&self) -> RowResult<Vec<String>> {
        if !self.has("choices") {
            return Ok(Vec::new());
        }
        let Value::Array(items) = self.get("choices")? else {
            let found = kind(self.get("choices")?);
            return Err(format!("the field 'choices' must be a list of the choices' texts, found {found}"));
        };
        if !(2..=26).contains(&items.len()) {
            return Err(format!("the field 'choices' has {} entries, expected 2 to 26", items.len()));
        }
        let mut choices: Vec<String> = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let text = string(item, &format!("choice {} of 'choices'", i + 1))?;
            if text.trim().is_empty() || choices.contains(&text) {
                return Err(format!("choice {} of 'choices' is empty or there twice", i + 1));
            }
            choices.push(text);
        }
        Ok(choices)
    }

    /// A response: a string, or a list of exactly one assistant message.
    fn response(&self, name: &str) -> RowResult<String> {
        let value = self.get(name)?;
        let text = match value {
            Value::Array(_) => match messages(name, value)?.as_mut_slice() {
                [one] if one.role == "assistant" => std::mem::take(&mut one.content),
                [one] => return Err(format!("the message in '{name}' must be the assistant's, found '{}'", one.role)),
                more => {
                    return Err(format!(
                        "the field '{name}' must hold one assistant message, found {} messages; what comes before it \
                         belongs into 'prompt'",
                        more.len()
                    ));
                }
            },
            Value::String(_) => string(value, &format!("the field '{name}'"))?,
            other => {
                return Err(format!(
                    "the field '{name}' must be a string or one assistant message, found {}",
                    kind(other)
                ));
            }
        };
        if text.is_empty() { Err(format!("the field '{name}' is empty")) } else { Ok(text) }
    }
}

/// The messages of a list. A field beside role and content is an error: a template might use it, and we would not.
fn messages(name: &str, value: &Value) -> RowResult<Vec<Message>> {
    let Value::Array(items) = value else { return Err(format!("the field '{name}' must be a list of messages")) };
    let mut list = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let place = format!("message {} of '{name}'", i + 1);
        let Value::Object(fields) = item else {
            return Err(format!("{place} must be an object with role and content, found {}", kind(item)));
        };
        if let Some((other, _)) = fields.iter().find(|(k, v)| !matches!(k.as_str(), "role" | "content") && !v.is_null())
        {
            return Err(format!("{place} has the field '{other}', which is not supported"));
        }
        let field = |key: &str| {
            let value = fields.get(key).ok_or_else(|| format!("{place} has no '{key}'"))?;
            string(value, &format!("'{key}' of {place}"))
        };
        let (role, content) = (field("role")?, field("content")?);
        if role.trim().is_empty() {
            return Err(format!("'role' of {place} is empty"));
        }
        list.push(Message { role, content });
    }
    Ok(list)
}

fn string(value: &Value, what: &str) -> RowResult<String> {
    let Value::String(text) = value else { return Err(format!("{what} must be a string, found {}", kind(value))) };
    if text.contains('\0') {
        return Err(format!("{what} holds a NUL character"));
    }
    Ok(text.clone())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
