//! Arguments by place and by name, as Python binds them.

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};

type Result<T> = std::result::Result<T, Error>;

/// The arguments of one call, by the names of its parameters.
pub struct Arguments {
    function: &'static str,
    values: Vec<(&'static str, Option<Value>)>,
}

impl Arguments {
    /// Binds `given`, whose last value may hold the named ones, to the parameters `names`.
    pub fn bind(function: &'static str, names: &[&'static str], given: &[Value]) -> Result<Self> {
        let (placed, named) = match given.split_last() {
            Some((last, placed)) if last.is_kwargs() => (placed, Some(Kwargs::try_from(last.clone())?)),
            _ => (given, None),
        };
        if placed.len() > names.len() {
            let message = format!("{function}() takes at most {} arguments, found {}", names.len(), placed.len());
            return Err(Error::new(ErrorKind::TooManyArguments, message));
        }
        let mut values: Vec<_> = names.iter().enumerate().map(|(i, name)| (*name, placed.get(i).cloned())).collect();
        for name in named.iter().flat_map(Kwargs::args) {
            let slot = values.iter_mut().find(|(n, _)| *n == name);
            let value = named.as_ref().map(|n| n.peek::<Value>(name)).transpose()?;
            match slot {
                Some((_, slot @ None)) => *slot = value,
                Some(_) => return Err(wrong(format!("{function}() got the argument '{name}' twice"))),
                None => return Err(wrong(format!("{function}() has no argument '{name}'"))),
            }
        }
        Ok(Arguments { function, values })
    }

    /// An argument that was given.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(n, _)| *n == name).and_then(|(_, value)| value.as_ref())
    }

    /// An argument that was given and is not `None`.
    pub fn some(&self, name: &str) -> Option<&Value> {
        self.get(name).filter(|value| !value.is_none())
    }

    pub fn required(&self, name: &str) -> Result<&Value> {
        self.get(name).ok_or_else(|| {
            Error::new(ErrorKind::MissingArgument, format!("{}() needs the argument '{name}'", self.function))
        })
    }

    /// A string that must be given.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.string(name, self.required(name)?)
    }

    /// A string that may be left out or `None`.
    pub fn optional_text(&self, name: &str) -> Result<Option<&str>> {
        self.some(name).map(|value| self.string(name, value)).transpose()
    }

    /// A whole number that may be left out or `None`.
    pub fn integer(&self, name: &str) -> Result<Option<i64>> {
        let read = |value: &Value| match value.kind() {
            minijinja::value::ValueKind::Bool => Some(i64::from(value.is_true())),
            _ if value.is_integer() => value.as_i64(),
            _ => None,
        };
        self.some(name).map(|value| read(value).ok_or_else(|| self.wrong_kind(name, "an integer", value))).transpose()
    }

    /// Whether an argument that may be left out holds.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(Value::is_true)
    }

    fn string<'v>(&self, name: &str, value: &'v Value) -> Result<&'v str> {
        value.as_str().ok_or_else(|| self.wrong_kind(name, "a string", value))
    }

    fn wrong_kind(&self, name: &str, expected: &str, found: &Value) -> Error {
        wrong(format!("the argument '{name}' of {}() must be {expected}, found {}", self.function, found.kind()))
    }
}

/// An error of a template that Python would have raised.
pub fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
