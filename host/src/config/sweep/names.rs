//! What values are called in the names of arms, which are folders' names.

use super::super::source::{Table, Value, entry};

/// A longer name would be no help to a reader.
const LONGEST: usize = 60;

/// Whether a text can be part of a folder's name everywhere.
pub(super) fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    !text.is_empty() && text.len() <= LONGEST && text.chars().all(plain) && !text.starts_with(['.', '-'])
}

/// The name of a value of `field`: `beta0.1`, `cream-average`.
pub(super) fn derived(field: &str, value: &Value) -> String {
    let mut name = plain(&text(field, value));
    name.truncate(LONGEST);
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() { plain(field) } else { name }
}

fn text(field: &str, value: &Value) -> String {
    match value {
        Value::String(text) => stem(text).to_owned(),
        Value::Table(table) => of_table(table),
        Value::Array(items) => {
            let parts: Vec<String> = items.iter().map(|item| text("", &item.value)).collect();
            let number = items.iter().any(|item| matches!(item.value, Value::Integer(_) | Value::Float(_)));
            format!("{}{}", if number { field } else { "" }, parts.join("+"))
        }
        Value::Integer(i) => format!("{field}{i}"),
        Value::Float(f) => format!("{field}{f:?}"),
        Value::Boolean(b) => format!("{field}-{b}"),
        Value::Datetime(date) => date.clone(),
    }
}

/// The plugin first, then what else is there.
fn of_table(table: &Table) -> String {
    let plugin = entry(table, "plugin").map(|at| text("plugin", &table[at].1.value));
    let rest = table.iter().filter(|(key, _)| key != "plugin").map(|(key, node)| text(key, &node.value));
    plugin.into_iter().chain(rest).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// `builtin:cream` is cream, and a path its last part without the ending.
fn stem(text: &str) -> &str {
    let text = text.strip_prefix("builtin:").unwrap_or(text);
    let last = text.trim_end_matches('/').rsplit(['/', '\\']).next().unwrap_or(text);
    let endings = [".wasm", ".so", ".dylib", ".dll", ".jsonl", ".toml"];
    endings.iter().find_map(|ending| last.strip_suffix(ending)).unwrap_or(last)
}

fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        let kept = c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
        match (kept, plain.ends_with('-')) {
            (true, true) if c == '-' => {}
            (true, _) => plain.push(c),
            (false, true) => {}
            (false, false) => plain.push('-'),
        }
    }
    plain
}
