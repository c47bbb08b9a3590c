//! Jinja's filters and tests where minijinja's take other arguments or give other results.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State};

use super::arguments::{Arguments, wrong};
use super::{json, repr, strings};

type Result<T> = std::result::Result<T, Error>;

/// Arguments as they are given; the last one may hold those with a name.
pub type Given = Rest<ValueOrKwargs>;

/// Replaces filters and tests of `environment`, and takes away those that Jinja does not have.
pub fn install(environment: &mut Environment) {
    for name in ["split", "lines", "bool", "chain", "zip"] {
        environment.remove_filter(name);
    }
    for name in ["startingwith", "endingwith", "safe", "int"] {
        environment.remove_test(name);
    }
    environment.add_filter("string", |value: &Value| repr::str(value));
    environment.add_filter("tojson", |args: Given| to_json(&args.into_values()));
    environment.add_filter("trim", |args: Given| trim(&args.into_values()));
    environment.add_filter("default", |args: Given| default(&args.into_values()));
    environment.add_filter("d", |args: Given| default(&args.into_values()));
    environment.add_filter("join", |state: &State, args: Given| join(state, &args.into_values()));
    environment.add_filter("replace", |state: &State, args: Given| replace(state, &args.into_values()));
    environment.add_filter("indent", |state: &State, args: Given| indent(state, &args.into_values()));
    environment.add_filter("center", |state: &State, args: Given| {
        let args = Arguments::bind("center", &["value", "width"], &args.into_values())?;
        strings::center(state, &repr::str(args.required("value")?)?, args.integer("width")?.unwrap_or(80))
    });
    environment.add_filter("capitalize", |value: &Value| Ok(strings::capitalize(&repr::str(value)?)));
    environment.add_filter("int", |args: Given| int(&args.into_values()));
    environment.add_filter("float", |args: Given| float(&args.into_values()));
    environment.add_filter("round", |args: Given| round(&args.into_values()));
    environment.add_filter("wordcount", |value: &Value| {
        Ok(repr::str(value)?.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).count())
    });
    for name in ["e", "escape", "forceescape"] {
        environment.add_filter(name, escape);
    }
    // Python looks at attributes, which data has none of.
    environment.add_filter("attr", |_: &Value, _: &str| Value::UNDEFINED);
    environment.add_filter("sort", |state: &State, args: Given| {
        let (value, args) = named("sort", &["value", "reverse", "case_sensitive", "attribute"], &args.into_values())?;
        minijinja::filters::sort(state, value, args)
    });
    environment.add_filter("unique", |state: &State, args: Given| {
        let (value, args) = named("unique", &["value", "case_sensitive", "attribute"], &args.into_values())?;
        minijinja::filters::unique(state, value, args)
    });
    environment.add_filter("dictsort", |state: &State, args: Given| {
        let (value, args) = named("dictsort", &["value", "case_sensitive", "by", "reverse"], &args.into_values())?;
        strings::reserve(state, value.len().unwrap_or(0).saturating_mul(1024))?;
        minijinja::filters::dictsort(&value, args)
    });

    environment.add_test("callable", |value: &Value| {
        // Functions and macros are objects that are neither lists nor dictionaries.
        value.kind() == ValueKind::Plain
    });
    environment
        .add_test("iterable", |value: &Value| !value.is_none() && (value.is_undefined() || value.try_iter().is_ok()));
    environment.add_test("sequence", |value: &Value| match value.kind() {
        ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map => true,
        // A slice or a sum of lists, but not what a filter makes one by one.
        ValueKind::Iterable => value.len().is_some(),
        _ => false,
    });
}

/// The value, and all arguments by name, as minijinja's own filters want them.
fn named(function: &'static str, names: &[&'static str], args: &[Value]) -> Result<(Value, Kwargs)> {
    let args = Arguments::bind(function, names, args)?;
    let rest = names[1..].iter().filter_map(|name| Some((*name, args.some(name)?.clone()))).collect();
    Ok((args.required(names[0])?.clone(), rest))
}

fn to_json(args: &[Value]) -> Result<String> {
    let names = ["value", "ensure_ascii", "indent", "separators", "sort_keys"];
    let args = Arguments::bind("tojson", &names, args)?;
    let indent = match args.some("indent") {
        Some(text) if text.as_str().is_some() => text.as_str().map(str::to_owned),
        _ => args.integer("indent")?.map(|n| usize::try_from(n).unwrap_or(0)).map(|n| " ".repeat(n.min(1 << 10))),
    };
    let separators = args.some("separators").map(|pair| {
        let pair = pair.try_iter()?.checked().collect::<Result<Vec<_>>>()?;
        match pair.iter().map(Value::as_str).collect::<Option<Vec<_>>>().as_deref() {
            Some([item, key]) => Ok(((*item).to_owned(), (*key).to_owned())),
            _ => Err(wrong("tojson(): separators must be a pair of strings")),
        }
    });
    let style = json::Style {
        indent,
        separators: separators.transpose()?,
        sort_keys: args.flag("sort_keys"),
        ensure_ascii: args.flag("ensure_ascii"),
    };
    json::dumps(args.required("value")?, &style)
}

fn trim(args: &[Value]) -> Result<String> {
    let args = Arguments::bind("trim", &["value", "chars"], args)?;
    let text = repr::str(args.required("value")?)?;
    Ok(strings::strip(&text, args.optional_text("chars")?, true, true).to_owned())
}

fn default(args: &[Value]) -> Result<Value> {
    let args = Arguments::bind("default", &["value", "default_value", "boolean"], args)?;
    let value = args.required("value")?;
    let missing = value.is_undefined() || args.flag("boolean") && !value.is_true();
    let other = || args.get("default_value").cloned().unwrap_or_else(|| Value::from(""));
    Ok(if missing { other() } else { value.clone() })
}

fn join(state: &State, args: &[Value]) -> Result<String> {
    let args = Arguments::bind("join", &["value", "d", "attribute"], args)?;
    let sep = args.get("d").map(repr::str).transpose()?.unwrap_or_default();
    let mut out = String::new();
    let value = args.required("value")?;
    if value.is_undefined() {
        return Ok(out);
    }
    for (i, item) in value.try_iter()?.checked().enumerate() {
        let item = match args.some("attribute") {
            Some(attribute) => path(&item?, attribute)?,
            None => item?,
        };
        let text = repr::str(&item)?;
        strings::reserve(state, sep.len() + text.len())?;
        if i > 0 {
            out.push_str(&sep);
        }
        out.push_str(&text);
    }
    Ok(out)
}

/// An attribute as filters name it: `"a.b.0"`, or a number.
fn path(value: &Value, attribute: &Value) -> Result<Value> {
    let Some(text) = attribute.as_str() else { return value.get_item(attribute) };
    text.split('.').try_fold(value.clone(), |value, part| match part.parse::<usize>() {
        Ok(index) => value.get_item(&Value::from(index)),
        Err(_) => value.get_item(&Value::from(part)),
    })
}

fn replace(state: &State, args: &[Value]) -> Result<String> {
    let args = Arguments::bind("replace", &["value", "old", "new", "count"], args)?;
    let text = repr::str(args.required("value")?)?;
    let (old, new) = (repr::str(args.required("old")?)?, repr::str(args.required("new")?)?);
    strings::replace(state, &text, &old, &new, args.integer("count")?)
}

fn indent(state: &State, args: &[Value]) -> Result<String> {
    let args = Arguments::bind("indent", &["value", "width", "first", "blank"], args)?;
    let text = repr::str(args.required("value")?)?;
    let indent = match args.get("width").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => {
            let width = usize::try_from(args.integer("width")?.unwrap_or(4)).unwrap_or(0);
            strings::reserve(state, width)?;
            " ".repeat(width)
        }
    };
    // As in Jinja: a line end is added, so that a last one is kept as an empty line.
    let text = text + "\n";
    let lines = strings::lines(&text);
    strings::reserve(state, lines.len().saturating_mul(indent.len()))?;
    let mut out = if args.flag("first") { indent.clone() } else { String::new() };
    for (i, (line, _)) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
            if args.flag("blank") || !line.is_empty() {
                out.push_str(&indent);
            }
        }
        out.push_str(&text[line.clone()]);
    }
    Ok(out)
}

fn escape(value: &Value) -> Result<String> {
    let mut out = String::new();
    for c in repr::str(value)?.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            other => out.push(other),
        }
    }
    Ok(out)
}

/// The number that a value is or that its text says.
fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some(text) => text.trim().replace('_', "").parse().ok().filter(|x: &f64| x.is_finite()),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    }
}

fn int(args: &[Value]) -> Result<Value> {
    let args = Arguments::bind("int", &["value", "default", "base"], args)?;
    let value = args.required("value")?;
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if value.is_integer() {
        return Ok(value.clone());
    }
    let base = args.integer("base")?.unwrap_or(10);
    let whole = value.as_str().and_then(|text| {
        let text = text.trim().replace('_', "").to_lowercase();
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(&text)),
        };
        let prefixes = [("0x", 16), ("0o", 8), ("0b", 2)];
        let prefixed = prefixes.iter().find_map(|(p, b)| Some((digits.strip_prefix(p)?, *b)));
        let (digits, base) = match prefixed {
            Some((digits, b)) if base == 0 || base == b => (digits, b),
            _ => (digits, if base == 0 { 10 } else { base }),
        };
        let base = u32::try_from(base).ok().filter(|b| (2..=36).contains(b))?;
        if digits.starts_with(['+', '-']) { None } else { i128::from_str_radix(digits, base).ok().map(|n| sign * n) }
    });
    let cut = || number(value).filter(|x| x.abs() < 1e30).map(|x| x.trunc() as i128);
    Ok(match whole.or_else(cut) {
        Some(n) => i64::try_from(n).map_or_else(|_| Value::from(n), Value::from),
        None => args.get("default").cloned().unwrap_or_else(|| Value::from(0)),
    })
}

fn float(args: &[Value]) -> Result<Value> {
    let args = Arguments::bind("float", &["value", "default"], args)?;
    let value = args.required("value")?;
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    Ok(match number(value) {
        Some(x) => Value::from(x),
        None => args.get("default").cloned().unwrap_or_else(|| Value::from(0.0)),
    })
}

fn round(args: &[Value]) -> Result<Value> {
    let args = Arguments::bind("round", &["value", "precision", "method"], args)?;
    let value = args.required("value")?;
    let precision = args.integer("precision")?.unwrap_or(0);
    let digits = usize::try_from(precision).ok().filter(|p| *p <= 300);
    let digits = digits.ok_or_else(|| wrong("round(): the precision must be from 0 to 300"))?;
    let x = number(value).filter(|_| value.as_str().is_none()).ok_or_else(|| wrong("round() takes a number"))?;
    let scale = 10f64.powi(digits as i32);
    match args.optional_text("method")?.unwrap_or("common") {
        "common" if value.is_integer() => Ok(value.clone()),
        // Decimal text is rounded exactly, halves to the even neighbour, as Python does.
        "common" => format!("{x:.digits$}").parse().map(|x: f64| Value::from(x)).map_err(|_| wrong("round() failed")),
        "ceil" => Ok(Value::from((x * scale).ceil() / scale)),
        "floor" => Ok(Value::from((x * scale).floor() / scale)),
        other => Err(wrong(format!("round(): the method must be common, ceil or floor, found '{other}'"))),
    }
}
