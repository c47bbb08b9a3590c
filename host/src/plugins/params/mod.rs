//! A plugin's parameters: checked against its JSON Schema, completed with the schema's defaults.

mod bounds;
mod expected;

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::file_of;
use crate::error::{Error, Result};

/// Parameters as the user wrote them.
pub struct Params<'a> {
    /// A JSON object.
    pub value: &'a Value,
    /// Where a field was written, by JSON pointer ("/beta"; "" is the whole object).
    pub place_of: &'a dyn Fn(&str) -> Option<Place>,
    /// What the path of a `{"file": PATH}` means that stands at a JSON pointer.
    pub path_of: &'a dyn Fn(&str, &str) -> PathBuf,
}

/// Where a parameter was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// File and line, from 1.
    Line(PathBuf, usize),
    /// An argument of the command line, as it was given.
    Argument(String),
}

impl Params<'_> {
    /// Parameters without a place in a file.
    pub fn of(value: &Value) -> Params<'_> {
        Params { value, place_of: &|_| None, path_of: &|_, path| PathBuf::from(path) }
    }
}

/// The longest file that a parameter may name.
const MAX_FILE: u64 = 16 << 20;

/// The complete parameters of `plugin`: defaults filled in, keys sorted. `schema` is the descriptor's. Where it wants a
/// string, `{"file": PATH}` is replaced by that file's text, so that plugins and digests see the text alone.
pub fn resolve(plugin: &str, schema: &Value, params: &Params) -> Result<Value> {
    let at = |pointer: &str, error: Error| match nearest_place(params, pointer) {
        Some(Place::Line(file, line)) => error.file(file).line(line),
        // An argument stands where the file's name would.
        Some(Place::Argument(argument)) => error.file(argument),
        None => error,
    };
    let validator = validator(plugin, schema)?;
    if !params.value.is_object() {
        let message =
            format!("the parameters of plugin '{plugin}' must be a table, found {}", expected::shown(params.value));
        return Err(at("", Error::config(message)));
    }
    let mut value = params.value.clone();
    read_files(plugin, schema, &mut value, "", params).map_err(|(pointer, e)| at(&pointer, e))?;
    if let Some((pointer, key, known)) = unknown_key(schema, &value, String::new()) {
        let help = match nearest(&key, known.iter().map(String::as_str)) {
            Some(name) => format!("did you mean '{name}'?"),
            None if known.is_empty() => "this plugin has no parameters here".to_owned(),
            None => format!("known parameters: {}", known.join(", ")),
        };
        return Err(at(&pointer, Error::config(format!("plugin '{plugin}' has no parameter '{key}'")).help(help)));
    }
    fill_defaults(schema, &mut value);
    if let Some(error) = validator.iter_errors(&value).next() {
        let pointer = error.instance_path().as_str().to_owned();
        return Err(at(&pointer, unfit(plugin, schema, &pointer, error.instance(), &error.to_string())));
    }
    sort_keys(&mut value);
    Ok(value)
}

/// Whether `schema` can be one of `plugin`: valid, of an object, its defaults as it wants them itself.
pub fn check_schema(plugin: &str, schema: &Value) -> Result<()> {
    validator(plugin, schema).map(drop)
}

fn validator(plugin: &str, schema: &Value) -> Result<jsonschema::Validator> {
    let wrong = |what: String| {
        Error::plugin(format!("the parameter schema of plugin '{plugin}' {what}"))
            .help("this is a mistake of the plugin, for its author to mend, as a rule in params.schema.json")
    };
    bounds::check(schema).map_err(wrong)?;
    let validator = jsonschema::validator_for(schema).map_err(|e| {
        let place = match e.instance_path().as_str() {
            "" => String::new(),
            pointer => format!(" at {pointer}"),
        };
        wrong(format!("is not a valid JSON Schema{place}: {e}"))
    })?;
    match schema.get("type") {
        None => {}
        Some(Value::String(name)) if name == "object" => {}
        Some(other) => return Err(wrong(format!("has the type {}, expected \"object\"", expected::shown(other)))),
    }
    let mut defaults = Value::Object(Map::new());
    fill_defaults(schema, &mut defaults);
    // Errors of the whole are about what has no default.
    let misfit = validator.iter_errors(&defaults).find(|e| e.instance_path().as_str().len() > 1);
    match misfit {
        Some(e) => {
            let field = e.instance_path().as_str().trim_start_matches('/').replace('/', ".");
            let found = expected::shown(e.instance());
            let said = match schema_at(schema, e.instance_path().as_str()).and_then(expected::describe) {
                Some(wanted) => format!("the schema expects {wanted}"),
                None => e.to_string(),
            };
            Err(wrong(format!("has a default that does not fit it: '{field}' is {found}, but {said}")))
        }
        None => Ok(validator),
    }
}

/// The error of a value that does not fit; `said` is the validator's word, for schemas that cannot be told in others.
fn unfit(plugin: &str, schema: &Value, pointer: &str, found: &Value, said: &str) -> Error {
    let field = pointer.trim_start_matches('/').replace('/', ".");
    let name = if field.is_empty() { String::new() } else { format!(" '{field}'") };
    let here = schema_at(schema, pointer);
    let message = match here.and_then(expected::describe) {
        Some(wanted) => {
            let or_file = if here.is_some_and(wants_text) { " or { file = \"PATH\" }" } else { "" };
            format!("parameter{name} of plugin '{plugin}' is {}, expected {wanted}{or_file}", expected::shown(found))
        }
        None => format!("parameter{name} of plugin '{plugin}': {said}"),
    };
    let error = Error::config(message);
    let meant = here.zip(found.as_str()).and_then(|(here, found)| nearest(found, expected::words(here).into_iter()));
    if let Some(word) = meant {
        return error.help(format!("did you mean \"{word}\"?"));
    }
    if let (true, Some(keys)) = (here.is_some_and(wants_text), found.as_object())
        && let Some(key) = keys.keys().find(|key| nearest(key, ["file"].into_iter()).is_some())
    {
        return error.help(match keys.len() {
            1 => format!("did you mean 'file' by '{key}'?"),
            _ => "'file' must stand alone in its table".to_owned(),
        });
    }
    match here.and_then(|schema| schema.get("description")).and_then(Value::as_str) {
        Some(text) if !field.is_empty() => error.help(format!("'{field}': {text}")),
        _ => error,
    }
}

/// The name that is most like `found`, if one is like it at all.
fn nearest<'n>(found: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (strsim::jaro_winkler(name, found), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, name)| name)
}

/// Puts texts in the place of files. An error comes with the JSON pointer of its parameter.
fn read_files(
    plugin: &str,
    schema: &Value,
    value: &mut Value,
    pointer: &str,
    params: &Params,
) -> Result<(), (String, Error)> {
    if let (true, Some(path)) = (wants_text(schema), file_of(value)) {
        let path = (params.path_of)(&format!("{pointer}/file"), path);
        let field = pointer.trim_start_matches('/').replace('/', ".");
        let text = text_of(&path).map_err(|found| {
            let message = format!("parameter '{field}' of plugin '{plugin}': the file {} {found}", path.display());
            let help =
                "a string parameter may be { file = \"PATH\" }; in a config file, relative paths start at its folder";
            (pointer.to_owned(), Error::config(message).help(help))
        })?;
        *value = Value::String(text);
        return Ok(());
    }
    match value {
        Value::Object(object) => {
            for (key, inner) in object.iter_mut() {
                let listed = schema.get("properties").and_then(|properties| properties.get(key));
                if let Some(schema) = listed.or_else(|| schema.get("additionalProperties")) {
                    let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                    read_files(plugin, schema, inner, &pointer, params)?;
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                let listed = schema.get("prefixItems").and_then(|items| items.get(i));
                if let Some(schema) = listed.or_else(|| schema.get("items")) {
                    read_files(plugin, schema, item, &format!("{pointer}/{i}"), params)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether the schema takes a string here, and no table.
fn wants_text(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(name)) => name == "string",
        Some(Value::Array(names)) => names.iter().any(|n| n == "string") && names.iter().all(|n| n != "object"),
        _ => false,
    }
}

/// The text of a file, or what is wrong with it.
fn text_of(path: &Path) -> Result<String, String> {
    let cannot = |e: std::io::Error| format!("cannot be read: {e}");
    if path.is_dir() {
        return Err("is a folder".to_owned());
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("has more than {} MiB", MAX_FILE >> 20));
    }
    String::from_utf8(bytes).map_err(|e| format!("is not UTF-8 text (byte {})", e.utf8_error().valid_up_to()))
}

/// The place of the field, or of the closest table around it that has one.
fn nearest_place(params: &Params, pointer: &str) -> Option<Place> {
    let mut pointer = pointer;
    loop {
        if let Some(place) = (params.place_of)(pointer) {
            return Some(place);
        }
        pointer = &pointer[..pointer.rfind('/')?];
    }
}

/// The first key that the schema does not list: its pointer, the key, and the keys listed there.
/// A schema opens an object by `"additionalProperties"` of its own or `"patternProperties"`.
fn unknown_key(schema: &Value, value: &Value, pointer: String) -> Option<(String, String, Vec<String>)> {
    let (Value::Object(object), Some(schema)) = (value, schema.as_object()) else { return None };
    // A table where the schema wants something else has no unknown keys: it is of the wrong type.
    if schema
        .get("type")
        .is_some_and(|t| t != "object" && !t.as_array().is_some_and(|ts| ts.iter().any(|t| t == "object")))
    {
        return None;
    }
    let empty = Map::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let composed = ["patternProperties", "$ref", "allOf", "anyOf", "oneOf"].iter().any(|k| schema.contains_key(*k));
    let open = composed || schema.get("additionalProperties").is_some_and(|a| *a != Value::Bool(false));
    for (key, inner) in object {
        let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        match known.get(key) {
            Some(schema) => {
                if let Some(found) = unknown_key(schema, inner, pointer) {
                    return Some(found);
                }
            }
            None if open => {}
            None => return Some((pointer, key.clone(), known.keys().cloned().collect())),
        }
    }
    None
}

/// Adds the `default` of every property that is absent, at every depth.
fn fill_defaults(schema: &Value, value: &mut Value) {
    let (Some(properties), Value::Object(object)) = (schema.get("properties").and_then(Value::as_object), value) else {
        return;
    };
    for (key, schema) in properties {
        if let (None, Some(default)) = (object.get(key), schema.get("default")) {
            object.insert(key.clone(), default.clone());
        }
        if let Some(inner) = object.get_mut(key) {
            fill_defaults(schema, inner);
        }
    }
}

fn schema_at<'a>(schema: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(schema, |schema, key| {
        let key = key.replace("~1", "/").replace("~0", "~");
        let named = schema.get("properties").and_then(|properties| properties.get(&key));
        let number = || key.parse::<usize>().ok();
        let listed = || schema.get("prefixItems").and_then(|items| items.get(number()?));
        named.or_else(listed).or_else(|| schema.get("items").filter(|_| number().is_some()))
    })
}

/// One order for equal parameters, so that they hash alike.
fn sort_keys(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.sort_keys();
            object.values_mut().for_each(sort_keys);
        }
        Value::Array(items) => items.iter_mut().for_each(sort_keys),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_that_no_plugin_can_have() {
        for (schema, said) in [
            (
                json!({"type": "object", "properties": {"n": {"type": "bool"}}}),
                "not a valid JSON Schema at /properties/n",
            ),
            (json!({"type": "array"}), "has the type \"array\", expected \"object\""),
            (
                json!({"type": "object", "properties": {"n": {"type": "integer", "maximum": 64, "default": 600}}}),
                "has a default that does not fit it: 'n' is 600, but the schema expects",
            ),
            (
                json!({"properties": {"t": {"type": "object", "properties": {"x": {"type": "string", "default": 1}}, "default": {}}}}),
                "'t.x' is 1",
            ),
        ] {
            let error = check_schema("mine", &schema).unwrap_err();
            assert!(error.message().starts_with("the parameter schema of plugin 'mine'"), "{error}");
            assert!(error.message().contains(said), "{schema}: {error}");
            // It is nothing that the user wrote.
            let params = json!({});
            assert_eq!(resolve("mine", &schema, &Params::of(&params)).unwrap_err().to_string(), error.to_string());
        }
        for schema in [
            json!({}),
            json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}),
            json!({"type": "object", "properties": {"n": {"type": "integer", "default": 3}}, "additionalProperties": false}),
        ] {
            check_schema("mine", &schema).unwrap();
        }
    }
}
