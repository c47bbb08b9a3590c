//! Python's `json.dumps`, for `tojson` in chat templates.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// The arguments of `json.dumps` that templates use.
#[derive(Default)]
pub struct Style {
    /// Spaces per level; without it everything stands on one line.
    pub indent: Option<usize>,
    pub sort_keys: bool,
    /// Between items, and between key and value. Python's default is `", "` and `": "`, with `indent` `","` and `": "`.
    pub separators: Option<Vec<String>>,
}

/// The JSON text of `value` as Python writes it with `ensure_ascii=False`.
pub fn dumps(value: &Value, style: &Style) -> Result<String, String> {
    let (item, key) = match style.separators.as_deref() {
        Some([item, key]) => (item.as_str(), key.as_str()),
        Some(_) => return Err("separators must be a pair of strings".into()),
        None if style.indent.is_some() => (",", ": "),
        None => (", ", ": "),
    };
    let mut bytes = Vec::new();
    let python = Python { indent: style.indent, item, key, level: 0, has_items: false };
    let sorted;
    let value = if style.sort_keys {
        sorted = sort_keys(value);
        &sorted
    } else {
        value
    };
    value.serialize(&mut Serializer::with_formatter(&mut bytes, python)).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|e| e.to_string())
}

fn sort_keys(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(k, v)| (k.clone(), sort_keys(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(sort_keys).collect()),
        other => other.clone(),
    }
}

struct Python<'a> {
    indent: Option<usize>,
    item: &'a str,
    key: &'a str,
    level: usize,
    has_items: bool,
}

impl Python<'_> {
    fn open<W: io::Write + ?Sized>(&mut self, w: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.level += 1;
        self.has_items = false;
        w.write_all(bracket)
    }

    fn close<W: io::Write + ?Sized>(&mut self, w: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.level -= 1;
        if self.has_items {
            self.line(w)?;
        }
        self.has_items = true;
        w.write_all(bracket)
    }

    fn next<W: io::Write + ?Sized>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.has_items = true;
        if !first {
            w.write_all(self.item.as_bytes())?;
        }
        self.line(w)
    }

    /// A line break with its indentation, where lines are broken.
    fn line<W: io::Write + ?Sized>(&self, w: &mut W) -> io::Result<()> {
        let Some(indent) = self.indent else { return Ok(()) };
        w.write_all(b"\n")?;
        (0..indent * self.level).try_for_each(|_| w.write_all(b" "))
    }
}

impl Formatter for Python<'_> {
    fn begin_array<W: io::Write + ?Sized>(&mut self, w: &mut W) -> io::Result<()> {
        self.open(w, b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, w: &mut W) -> io::Result<()> {
        self.close(w, b"]")
    }

    fn begin_array_value<W: io::Write + ?Sized>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.next(w, first)
    }

    fn end_array_value<W: io::Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_items = true;
        Ok(())
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, w: &mut W) -> io::Result<()> {
        self.open(w, b"{")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, w: &mut W) -> io::Result<()> {
        self.close(w, b"}")
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.next(w, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, w: &mut W) -> io::Result<()> {
        w.write_all(self.key.as_bytes())
    }

    fn end_object_value<W: io::Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_items = true;
        Ok(())
    }

    /// Python's `repr` of a float: plain between 1e-4 and 1e16, else with a signed exponent of two digits or more.
    fn write_f64<W: io::Write + ?Sized>(&mut self, w: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        if size == 0.0 || (1e-4..1e16).contains(&size) {
            return write!(w, "{value:?}");
        }
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(rest) => ('-', rest),
            None => ('+', exponent),
        };
        write!(w, "{digits}e{sign}{exponent:0>2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Expected texts are Python's: `json.dumps(value, ensure_ascii=False, ...)`.
    #[test]
    fn the_text_is_that_of_json_dumps() {
        let value = json!({"b": [1, 2.0, "é<&'\n"], "a": {}, "c": [], "d": {"x": null, "f": true}});
        let cases = [
            (
                Style::default(),
                r#"{"b": [1, 2.0, "é<&'\n"], "a": {}, "c": [], "d": {"x": null, "f": true}}"#.to_owned(),
            ),
            (
                Style { indent: Some(2), ..Style::default() },
                "{\n  \"b\": [\n    1,\n    2.0,\n    \"é<&'\\n\"\n  ],\n  \"a\": {},\n  \"c\": [],\n  \"d\": {\n    \
                 \"x\": null,\n    \"f\": true\n  }\n}"
                    .to_owned(),
            ),
            (
                Style { sort_keys: true, separators: Some(vec![",".into(), ":".into()]), ..Style::default() },
                r#"{"a":{},"b":[1,2.0,"é<&'\n"],"c":[],"d":{"f":true,"x":null}}"#.to_owned(),
            ),
        ];
        for (style, expected) in cases {
            assert_eq!(dumps(&value, &style).unwrap(), expected);
        }
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
            assert_eq!(dumps(&json!(value), &Style::default()).unwrap(), expected);
        }
    }
}
