//! The environment that a template runs in: transformers' settings, functions and methods.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, Value, ValueKind, from_args};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State};

use super::arguments::{Arguments, wrong};
use super::filters::Given;
use super::{date, filters, repr, strings};

type Result<T> = std::result::Result<T, Error>;

/// An environment without templates.
pub fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(print);
    environment.set_unknown_method_callback(method);
    environment.remove_global("debug");
    environment.add_function("raise_exception", |message: &Value| -> Result<Value> { Err(wrong(repr::str(message)?)) });
    environment.add_function("dict", |args: Given| dict(&args.into_values()));
    environment.add_function("namespace", |args: Given| {
        let (start,) = from_args(&[dict(&args.into_values())?])?;
        minijinja::functions::namespace(start)
    });
    environment.add_function("cycler", |Rest(items): Rest<Value>| minijinja_contrib::globals::cycler(items));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    filters::install(&mut environment);
    Ok(environment)
}

/// Sets what `strftime_now` tells.
pub fn set_date(environment: &mut Environment<'static>, unix_seconds: i64) {
    environment
        .add_function("strftime_now", move |format: String| date::strftime(&format, unix_seconds).map_err(wrong));
}

/// Prints a value as Python does.
fn print(out: &mut Output, _: &mut State, value: &Value) -> Result<()> {
    match value.as_str() {
        Some(text) => out.write_str(text),
        None => out.write_str(&repr::str(value)?),
    }
    .map_err(Error::from)
}

/// `dict(mapping or pairs, key=value, …)`
fn dict(args: &[Value]) -> Result<Value> {
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    for (i, arg) in args.iter().enumerate() {
        let named = arg.is_kwargs();
        if i > 0 && !named {
            return Err(wrong("dict() takes one mapping, or pairs, and named values"));
        }
        for item in arg.try_iter()?.checked() {
            let item = item?;
            let (key, value) = if named || arg.kind() == ValueKind::Map {
                let value = arg.get_item(&item)?;
                (item, value)
            } else {
                match item.try_iter()?.checked().collect::<Result<Vec<_>>>()?.as_slice() {
                    [key, value] => (key.clone(), value.clone()),
                    _ => return Err(wrong("dict() takes pairs of key and value")),
                }
            };
            match pairs.iter_mut().find(|(k, _)| *k == key) {
                Some((_, old)) => *old = value,
                None => pairs.push((key, value)),
            }
        }
    }
    Ok(Value::from_pairs(pairs))
}

/// Python's methods of strings, lists and dictionaries. Those that would change a value are errors, as in
/// transformers' sandbox.
fn method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value> {
    if let Some(text) = value.as_str()
        && let Some(result) = strings::call(state, text, method, args)?
    {
        return Ok(result);
    }
    match (value.kind(), method) {
        (ValueKind::Seq | ValueKind::Iterable | ValueKind::Map, "copy") => {
            Arguments::bind("copy", &[], args)?;
            Ok(value.clone())
        }
        (ValueKind::Seq | ValueKind::Iterable, "index") => {
            let args = Arguments::bind("index", &["value"], args)?;
            let wanted = args.required("value")?;
            for (i, item) in value.try_iter()?.checked().enumerate() {
                if item? == *wanted {
                    return Ok(Value::from(i));
                }
            }
            Err(wrong("index(): the value is not in the list"))
        }
        (
            ValueKind::Seq | ValueKind::Iterable,
            "append" | "extend" | "insert" | "pop" | "remove" | "clear" | "sort" | "reverse",
        )
        | (ValueKind::Map, "update" | "pop" | "popitem" | "setdefault" | "clear") => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("{method}() would change a value, which chat templates must not do"),
        )),
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
    }
}
