//! What a schema wants, in words, for the keywords that plugins' schemas are made of.

use serde_json::{Map, Value};

/// What a value of this schema is: "a number above 0", "one of \"a\", \"b\"". `None` where the schema says it in
/// keywords that are not known here.
pub(super) fn describe(schema: &Value) -> Option<String> {
    let schema = schema.as_object()?;
    const KNOWN: [&str; 16] = [
        "type",
        "enum",
        "const",
        "oneOf",
        "anyOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "items",
        "minItems",
        "maxItems",
        "uniqueItems",
        "description",
        "default",
    ];
    if let Some(value) = schema.get("const") {
        return Some(value.to_string());
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return Some(format!("one of {}", list(values)));
    }
    if let Some(forms) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
        let forms: Option<Vec<String>> = forms.iter().map(describe).collect();
        return Some(forms?.join(", or "));
    }
    if !schema.keys().all(|key| KNOWN.contains(&key.as_str())) {
        return None;
    }
    match schema.get("type")? {
        Value::String(name) => of_type(name, schema),
        Value::Array(names) => {
            let forms: Option<Vec<String>> = names.iter().map(|name| of_type(name.as_str()?, schema)).collect();
            Some(forms?.join(" or "))
        }
        _ => None,
    }
}

fn of_type(name: &str, schema: &Map<String, Value>) -> Option<String> {
    Some(match name {
        "null" => "null".to_owned(),
        "boolean" => "true or false".to_owned(),
        "string" if schema.get("minLength").and_then(Value::as_u64).unwrap_or(0) > 0 => "a text, not empty".to_owned(),
        "string" => "a text".to_owned(),
        "integer" => format!("a whole number{}", range(schema)),
        "number" => format!("a number{}", range(schema)),
        "array" => {
            let count = |key: &str| schema.get(key).and_then(Value::as_u64);
            let count = match (count("minItems"), count("maxItems")) {
                (Some(low), Some(high)) if low == high => format!(" of {low}"),
                (Some(low), Some(high)) => format!(" of {low} to {high}"),
                (Some(0), None) | (None, None) => String::new(),
                (Some(low), None) => format!(" of at least {low}"),
                (None, Some(high)) => format!(" of at most {high}"),
            };
            let items = schema.get("items").and_then(describe).map(|item| format!(", each {item}")).unwrap_or_default();
            let unique = if schema.get("uniqueItems") == Some(&Value::Bool(true)) { ", none twice" } else { "" };
            format!("a list{count}{items}{unique}")
        }
        "object" => "a table".to_owned(),
        _ => return None,
    })
}

fn range(schema: &Map<String, Value>) -> String {
    let bounds = [
        ("minimum", "of at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    ];
    let said: Vec<String> =
        bounds.iter().filter_map(|(key, words)| Some(format!("{words} {}", schema.get(*key)?))).collect();
    if said.is_empty() { String::new() } else { format!(" {}", said.join(" and ")) }
}

fn list(values: &[Value]) -> String {
    values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

/// The words that a schema takes, where it takes words.
pub(super) fn words(schema: &Value) -> Vec<&str> {
    let one = |schema: &'_ Value| schema.get("const").and_then(Value::as_str).is_some();
    let mut words: Vec<&str> =
        schema.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for key in ["oneOf", "anyOf"] {
        let forms = schema.get(key).and_then(Value::as_array).into_iter().flatten();
        for form in forms {
            if one(form) {
                words.extend(form.get("const").and_then(Value::as_str));
            } else {
                words.extend(self::words(form));
            }
        }
    }
    words
}

/// A value as it was found.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(items) if value.to_string().len() > 60 => format!("a list of {}", items.len()),
        Value::String(text) if text.chars().count() > 60 => format!("a text of {} characters", text.chars().count()),
        Value::Object(table) => match table.keys().next() {
            Some(key) if table.len() == 1 => format!("a table with the key '{key}'"),
            Some(_) => format!("a table with the keys {}", table.keys().cloned().collect::<Vec<_>>().join(", ")),
            None => "an empty table".to_owned(),
        },
        other => other.to_string(),
    }
}
