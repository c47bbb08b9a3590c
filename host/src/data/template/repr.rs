//! Values as Python prints them: `str` and `repr`.

use std::fmt::Write;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

type Result<T> = std::result::Result<T, Error>;

/// Deeper than Python's own limit no value is printed.
const DEPTH: usize = 200;

/// `str(value)`: what `{{ value }}` prints.
pub fn str(value: &Value) -> Result<String> {
    match value.kind() {
        ValueKind::Undefined => Ok(String::new()),
        _ if value.as_str().is_some() => Ok(value.as_str().unwrap_or_default().to_owned()),
        _ => {
            let mut out = String::new();
            write(&mut out, value, 0)?;
            Ok(out)
        }
    }
}

/// `repr` of a float: plain between 1e-4 and 1e16, else with a signed exponent of two digits or more.
pub fn float(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Fails where a value lies deeper than any data of a template does.
pub fn check_depth(depth: usize) -> Result<()> {
    if depth < DEPTH {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOperation, "a value is nested too deeply to be printed"))
}

fn write(out: &mut String, value: &Value, depth: usize) -> Result<()> {
    check_depth(depth)?;
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::Number if !value.is_integer() => out.push_str(&float(f64::try_from(value.clone())?)),
        ValueKind::String => quoted(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
            out.push(open);
            let mut count = 0;
            for item in value.try_iter()?.checked() {
                if count > 0 {
                    out.push_str(", ");
                }
                write(out, &item?, depth + 1)?;
                count += 1;
            }
            if count == 1 && value.is_tuple() {
                out.push(',');
            }
            out.push(close);
        }
        ValueKind::Map => {
            out.push('{');
            for (i, key) in value.try_iter()?.checked().enumerate() {
                let key = key?;
                if i > 0 {
                    out.push_str(", ");
                }
                write(out, &key, depth + 1)?;
                out.push_str(": ");
                write(out, &value.get_item(&key)?, depth + 1)?;
            }
            out.push('}');
        }
        ValueKind::Invalid => value.try_iter().map(drop)?,
        _ => {
            // A string cannot fail to be written to.
            let _ = write!(out, "{value}");
        }
    }
    Ok(())
}

/// A string literal: single quotes, unless the text has only single ones.
fn quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if c == quote => out.extend(['\\', c]),
            _ if is_printable(c) => out.push(c),
            _ => {
                let code = u32::from(c);
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// Neither a control, format, private nor unassigned character, nor white space other than the blank.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    // The standard library knows the same classes. A letter before it, since a text's first character is told
    // otherwise: a combining mark is escaped there.
    let mut pair = [b'a', 0, 0, 0, 0];
    let length = c.encode_utf8(&mut pair[1..]).len();
    std::str::from_utf8(&pair[..=length]).is_ok_and(|text| text.escape_debug().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected texts are Python's.
    #[test]
    fn values_print_as_in_python() {
        let text = |s: &str| Value::from(vec![Value::from(s)]);
        for (value, expected) in [
            (text("it's"), r#"["it's"]"#),
            (text("a\"b'c\\"), r#"['a"b\'c\\']"#),
            (
                text("\u{0}\u{7f}\u{a0}\u{200b}é🚀a\u{301}\u{e000}\u{10ffff}\n"),
                "['\\x00\\x7f\\xa0\\u200bé🚀a\u{301}\\ue000\\U0010ffff\\n']",
            ),
            (Value::from(vec![1e16, 1e-5, 100.0, -0.0, f64::INFINITY]), "[1e+16, 1e-05, 100.0, -0.0, inf]"),
            (
                Value::from(vec![Value::from(()), Value::from(true), Value::from(3), Value::UNDEFINED]),
                "[None, True, 3, Undefined]",
            ),
        ] {
            assert_eq!(str(&value).unwrap(), expected);
        }
        assert_eq!(str(&Value::UNDEFINED).unwrap(), "");
    }
}
