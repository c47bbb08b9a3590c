//! Python's `json.dumps`, for `tojson`.

use std::fmt::Write;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::repr;

type Result<T> = std::result::Result<T, Error>;

/// The arguments of `json.dumps` that templates use.
#[derive(Default)]
pub struct Style {
    /// What each level is indented by; without it everything stands on one line.
    pub indent: Option<String>,
    /// Between items, and between key and value. Python's default is `", "` and `": "`, with `indent` `","` and `": "`.
    pub separators: Option<(String, String)>,
    pub sort_keys: bool,
    /// Characters beyond ASCII are written as `\u` escapes.
    pub ensure_ascii: bool,
}

/// The JSON text of `value`. Fails on what has none: a function, an undefined value.
pub fn dumps(value: &Value, style: &Style) -> Result<String> {
    let (item, key) = match &style.separators {
        Some((item, key)) => (item.as_str(), key.as_str()),
        None if style.indent.is_some() => (",", ": "),
        None => (", ", ": "),
    };
    let mut writer = Writer { out: String::new(), style, item, key };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer<'s> {
    out: String,
    style: &'s Style,
    item: &'s str,
    key: &'s str,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        repr::check_depth(depth)?;
        match value.kind() {
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.checked().collect::<Result<Vec<_>>>()?;
                self.list('[', ']', &items, depth, |this, item| this.value(item, depth + 1))?;
            }
            ValueKind::Map => {
                let mut keys = value.try_iter()?.checked().collect::<Result<Vec<_>>>()?;
                if self.style.sort_keys {
                    keys.sort();
                }
                self.list('{', '}', &keys, depth, |this, key| {
                    let name = match key.kind() {
                        ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
                        _ => scalar(key)?,
                    };
                    this.string(&name);
                    this.out.push_str(this.key);
                    this.value(&value.get_item(key)?, depth + 1)
                })?;
            }
            _ => self.out.push_str(&scalar(value)?),
        }
        Ok(())
    }

    fn list(
        &mut self,
        open: char,
        close: char,
        items: &[Value],
        depth: usize,
        mut write: impl FnMut(&mut Self, &Value) -> Result<()>,
    ) -> Result<()> {
        self.out.push(open);
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.push_str(self.item);
            }
            self.line(depth + 1);
            write(self, item)?;
        }
        if !items.is_empty() {
            self.line(depth);
        }
        self.out.push(close);
        Ok(())
    }

    /// A line break with its indentation, where lines are broken.
    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.style.indent {
            self.out.push('\n');
            (0..depth).for_each(|_| self.out.push_str(indent));
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.out.extend(['\\', c]),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\x08' => self.out.push_str("\\b"),
                '\x0c' => self.out.push_str("\\f"),
                _ if c < ' ' || self.style.ensure_ascii && c > '~' => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // A string cannot fail to be written to.
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                _ => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn scalar(value: &Value) -> Result<String> {
    match value.kind() {
        ValueKind::None => Ok("null".into()),
        ValueKind::Bool => Ok(if value.is_true() { "true" } else { "false" }.into()),
        ValueKind::Number if value.is_integer() => Ok(value.to_string()),
        ValueKind::Number => Ok(match f64::try_from(value.clone())? {
            x if x.is_nan() => "NaN".into(),
            x if x.is_infinite() => if x > 0.0 { "Infinity" } else { "-Infinity" }.into(),
            x => repr::float(x),
        }),
        other => Err(Error::new(ErrorKind::BadSerialization, format!("tojson cannot write {other} as JSON"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Expected texts are Python's: `json.dumps(value, ...)`.
    #[test]
    fn the_text_is_that_of_json_dumps() {
        let value = Value::from(minijinja::value::Serde(
            json!({"b": [1, 2.0, "é<&'\n\u{7f}🚀"], "a": {}, "c": [], "d": {"x": null, "f": true}}),
        ));
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        let cases = [
            (
                Style::default(),
                "{\"b\": [1, 2.0, \"é<&'\\n\u{7f}🚀\"], \"a\": {}, \"c\": [], \"d\": {\"x\": null, \"f\": true}}",
            ),
            (
                Style { indent: Some("  ".into()), ..Style::default() },
                "{\n  \"b\": [\n    1,\n    2.0,\n    \"é<&'\\n\u{7f}🚀\"\n  ],\n  \"a\": {},\n  \"c\": [],\n  \"d\": {\n    \
                 \"x\": null,\n    \"f\": true\n  }\n}",
            ),
            (
                Style { sort_keys: true, separators: pair(",", ":"), ensure_ascii: true, ..Style::default() },
                r#"{"a":{},"b":[1,2.0,"\u00e9<&'\n\u007f\ud83d\ude80"],"c":[],"d":{"f":true,"x":null}}"#,
            ),
        ];
        for (style, expected) in cases {
            assert_eq!(dumps(&value, &style).unwrap(), expected);
        }
        assert!(dumps(&Value::UNDEFINED, &Style::default()).is_err());
    }

    #[test]
    fn floats_are_written_as_python_does() {
        for (value, expected) in [
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (123456.75, "123456.75"),
            (0.0, "0.0"),
        ] {
            assert_eq!(dumps(&Value::from(value), &Style::default()).unwrap(), expected);
        }
    }
}
