//! What a plugin says about itself and needs, as text and as JSON.

use serde_json::{Map, Value, json};

use crate::plugins::descriptor::{ABI_MAJOR, ABI_MINOR};
use crate::plugins::{Descriptor, Found, Imports};

/// One parameter of a plugin, from its JSON Schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// With dots for parameters within others: "weights.first".
    pub name: String,
    /// As the schema has it: "number", "string or array"; "any" where it does not say.
    pub kind: String,
    /// JSON; none where the parameter must be given.
    pub default: Option<String>,
    /// Values or bounds, in words; empty where all of its type will do.
    pub allowed: String,
    pub description: String,
    pub required: bool,
}

/// All that can be known of a plugin without running it.
pub struct Report {
    found: Found,
}

impl Report {
    pub fn new(found: Found) -> Self {
        Report { found }
    }

    /// One object; fields are only ever added.
    pub fn json(&self) -> Value {
        let Found { descriptor: d, path, size, digest, sources, imports } = &self.found;
        let (imports, exports) = match imports {
            Imports::Component { imports, exports } => (json!({ "interfaces": imports }), json!(exports)),
            Imports::Native { libraries, symbols } => {
                (json!({"libraries": libraries, "symbols": symbols}), Value::Null)
            }
            Imports::None => (Value::Null, Value::Null),
        };
        json!({
            "kind": d.kind.name(), "name": d.name, "version": d.version, "summary": d.summary,
            "form": d.artifact.name(), "platform": d.platform, "path": path, "size": size, "digest": digest,
            "sources-digest": sources.as_ref().map(|s| &s.whole),
            "abi": format!("{}.{}", d.abi.0, d.abi.1), "api": d.api, "panic-aborts": d.panic_aborts,
            "authors": authors(d), "license": optional(&d.license), "repository": optional(&d.repository),
            "features": d.features, "requires": d.requires, "imports": imports, "exports": exports,
            "params": d.params,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let Found { descriptor: d, path, size, digest, sources, imports } = &self.found;
        let mut text = format!("{} {}: a {}, {}\n", d.name, d.version, d.kind, form(d));
        if !d.summary.is_empty() {
            text += &format!("{}\n", d.summary);
        }
        text.push('\n');
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                text += &format!("{name:<11} {value}\n");
            }
        };
        if let Some(path) = path {
            line("file", &path.display().to_string());
            line("size", &bytes(*size));
        }
        line("digest", digest);
        // A lock names a source folder by this one: files that are built differ between machines.
        line("of sources", sources.as_ref().map(|s| s.whole.as_str()).unwrap_or_default());
        line("platform", d.platform.as_deref().unwrap_or_default());
        line("ABI", &format!("{}.{} (this program: {ABI_MAJOR}.{ABI_MINOR})", d.abi.0, d.abi.1));
        line("built with", &format!("creamery-plugin {}", d.api));
        line("authors", &authors(d).join(", "));
        line("license", &d.license);
        line("repository", &d.repository);
        line("features", &d.features.join(", "));
        line("requires", &d.requires.join(", "));
        match imports {
            Imports::Component { imports, exports } => {
                line("imports", &list(imports));
                line("exports", &list(exports));
            }
            Imports::Native { libraries, symbols } => {
                line("imports", &format!("{symbols} symbols from {}", list(libraries)));
                let panics = if d.panic_aborts { "end the whole program" } else { "become errors" };
                line("panics", panics);
            }
            Imports::None => {}
        }
        text.push('\n');
        text += &parameter_table(&parameters(&d.params));
        text
    }
}

fn form(d: &Descriptor) -> String {
    use crate::plugins::Artifact::{Builtin, Component, Native};
    match d.artifact {
        Native => "as a native library".to_owned(),
        Component => "as a component".to_owned(),
        Builtin => "part of this program".to_owned(),
    }
}

fn authors(d: &Descriptor) -> Vec<&str> {
    d.authors.split(':').map(str::trim).filter(|a| !a.is_empty()).collect()
}

fn optional(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// "1.5 MiB"
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        _ => format!("{:.1} MiB", n as f64 / 1_048_576.0),
    }
}

/// The parameters that a schema lists, in its order, those within tables after them.
pub fn parameters(schema: &Value) -> Vec<Parameter> {
    let mut found = Vec::new();
    collect(schema, "", &mut found);
    found
}

/// Deeper schemas are not listed: nobody would read them as a table.
const MAX_DEPTH: usize = 8;

fn collect(schema: &Value, prefix: &str, found: &mut Vec<Parameter>) {
    if prefix.split('.').count() > MAX_DEPTH {
        return;
    }
    let empty = Map::new();
    let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (key, inner) in schema.get("properties").and_then(Value::as_object).unwrap_or(&empty) {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        found.push(Parameter {
            kind: kind(inner),
            default: inner.get("default").map(shown_default),
            allowed: allowed(inner),
            description: inner.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
            required: required.iter().any(|r| r == key),
            name: name.clone(),
        });
        collect(inner, &name, found);
    }
}

fn kind(schema: &Value) -> String {
    let of = |schema: &Value| match schema.get("type") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    };
    match (of(schema).as_str(), schema.get("items"), schema.get("enum").and_then(Value::as_array)) {
        ("array", Some(items), _) if of(items) != "any" => format!("array of {}", of(items)),
        ("any", _, Some(values)) if values.iter().all(Value::is_string) => "string".to_owned(),
        (kind, ..) => kind.to_owned(),
    }
}

/// Long texts, templates say, are cut.
fn shown_default(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain("…".chars()).collect()
}

fn allowed(schema: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        parts.push(values.iter().map(Value::to_string).collect::<Vec<_>>().join(", "));
    }
    let bounds = [
        ("minimum", "≥ "),
        ("exclusiveMinimum", "> "),
        ("maximum", "≤ "),
        ("exclusiveMaximum", "< "),
        ("minLength", "length ≥ "),
        ("maxLength", "length ≤ "),
        ("minItems", "items ≥ "),
        ("maxItems", "items ≤ "),
        ("pattern", "matches "),
    ];
    for (key, words) in bounds {
        match schema.get(key) {
            Some(Value::String(text)) => parts.push(format!("{words}{text}")),
            Some(value) => parts.push(format!("{words}{value}")),
            None => {}
        }
    }
    parts.join(", ")
}

fn parameter_table(parameters: &[Parameter]) -> String {
    if parameters.is_empty() {
        return "no parameters\n".to_owned();
    }
    let width = |cell: fn(&Parameter) -> usize, header: &str| {
        parameters.iter().map(cell).chain([header.chars().count()]).max().unwrap_or(0)
    };
    let names = width(|p| p.name.chars().count(), "parameter");
    let kinds = width(|p| p.kind.chars().count(), "type");
    let mut text = format!("{:names$}  {:kinds$}  default\n", "parameter", "type");
    for p in parameters {
        let default = match (&p.default, p.required) {
            (Some(value), _) => value.as_str(),
            (None, true) => "(required)",
            (None, false) => "(none)",
        };
        text += format!("{:names$}  {:kinds$}  {default}", p.name, p.kind).trim_end();
        text.push('\n');
        if !p.allowed.is_empty() {
            text += &wrapped(&format!("allowed: {}", p.allowed));
        }
        text += &wrapped(&p.description);
    }
    text
}

/// Lines of up to 100 characters, indented.
fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 96 {
            lines += &format!("    {line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    if !line.is_empty() {
        lines += &format!("    {line}\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_schema() {
        let schema = json!({
            "required": ["path"],
            "properties": {
                "path": {"type": "string", "description": "A file."},
                "mode": {"enum": ["a", "b"], "default": "a"},
                "weights": {"type": "object", "properties": {"first": {"type": "number", "minimum": 0, "default": 1}}},
                "labels": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            },
        });
        let found: Vec<String> = (parameters(&schema).iter())
            .map(|p| format!("{}|{}|{:?}|{}|{}", p.name, p.kind, p.default, p.allowed, p.required))
            .collect();
        let expected = [
            "path|string|None||true",
            "mode|string|Some(\"\\\"a\\\"\")|\"a\", \"b\"|false",
            "weights|object|None||false",
            "weights.first|number|Some(\"1\")|≥ 0|false",
            "labels|array of string|None|items ≥ 2|false",
        ];
        assert_eq!(found, expected);
    }
}
