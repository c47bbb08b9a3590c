//! Python's methods of `str`. Positions count characters, not bytes.

use minijinja::value::{Tuple, Value};
use minijinja::{Error, ErrorKind, State};
use regex::Regex;
use std::sync::LazyLock;

use super::arguments::{Arguments, wrong};

type Result<T> = std::result::Result<T, Error>;

/// `text.method(args)`; `None` for a method that is not among these.
pub fn call(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Option<Value>> {
    let bind = |function, names: &[&'static str]| Arguments::bind(function, names, args);
    let plain = |function| bind(function, &[]).map(drop);
    let value = match method {
        "upper" => plain("upper").map(|()| Value::from(text.to_uppercase()))?,
        "lower" => plain("lower").map(|()| Value::from(text.to_lowercase()))?,
        "title" => plain("title").map(|()| Value::from(title(text)))?,
        "capitalize" => plain("capitalize").map(|()| Value::from(capitalize(text)))?,
        "swapcase" => plain("swapcase").map(|()| Value::from(swapcase(text)))?,
        "strip" => Value::from(strip(text, bind("strip", &["chars"])?.optional_text("chars")?, true, true)),
        "lstrip" => Value::from(strip(text, bind("lstrip", &["chars"])?.optional_text("chars")?, true, false)),
        "rstrip" => Value::from(strip(text, bind("rstrip", &["chars"])?.optional_text("chars")?, false, true)),
        "split" => list(split(text, &bind("split", &["sep", "maxsplit"])?, false)?),
        "rsplit" => list(split(text, &bind("rsplit", &["sep", "maxsplit"])?, true)?),
        "splitlines" => {
            let keep = bind("splitlines", &["keepends"])?.flag("keepends");
            list(
                lines(text)
                    .into_iter()
                    .map(|(line, end)| &text[line.start..if keep { end } else { line.end }])
                    .collect(),
            )
        }
        "partition" | "rpartition" => {
            let args = bind("partition", &["sep"])?;
            let sep = separator(args.text("sep")?)?;
            let last = method == "rpartition";
            let found = if last { text.rsplit_once(sep) } else { text.split_once(sep) };
            let (before, middle, after) = match found {
                Some((before, after)) => (before, sep, after),
                None if last => ("", "", text),
                None => (text, "", ""),
            };
            Value::from(Tuple::from([before, middle, after].map(Value::from)))
        }
        "startswith" | "endswith" => {
            let args = bind("startswith", &["prefix", "start", "end"])?;
            let whole = within(text, &args)?;
            Value::from(affix(args.required("prefix")?, |x| {
                whole
                    .is_some_and(|(_, part)| if method == "endswith" { part.ends_with(x) } else { part.starts_with(x) })
            })?)
        }
        "find" | "index" => find(text, method, &bind("find", &["sub", "start", "end"])?, |text, sub| text.find(sub))?,
        "rfind" | "rindex" => {
            find(text, method, &bind("rfind", &["sub", "start", "end"])?, |text, sub| text.rfind(sub))?
        }
        "count" => {
            let args = bind("count", &["sub", "start", "end"])?;
            let sub = args.text("sub")?;
            Value::from(within(text, &args)?.map_or(0, |(_, part)| part.matches(sub).count()))
        }
        "replace" => {
            let args = bind("replace", &["old", "new", "count"])?;
            Value::from(replace(state, text, args.text("old")?, args.text("new")?, args.integer("count")?)?)
        }
        "join" => Value::from(join(state, text, bind("join", &["iterable"])?.required("iterable")?)?),
        "removeprefix" => {
            let args = bind("removeprefix", &["prefix"])?;
            Value::from(text.strip_prefix(args.text("prefix")?).unwrap_or(text))
        }
        "removesuffix" => {
            let args = bind("removesuffix", &["suffix"])?;
            Value::from(text.strip_suffix(args.text("suffix")?).unwrap_or(text))
        }
        "center" => Value::from(pad(state, text, &bind("center", &["width", "fillchar"])?, Side::Both)?),
        "ljust" => Value::from(pad(state, text, &bind("ljust", &["width", "fillchar"])?, Side::Right)?),
        "rjust" => Value::from(pad(state, text, &bind("rjust", &["width", "fillchar"])?, Side::Left)?),
        "zfill" => {
            let width = bind("zfill", &["width"])?.integer("width")?.unwrap_or(0);
            let zeros = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
            reserve(state, zeros)?;
            let sign = usize::from(text.starts_with(['+', '-']));
            Value::from(format!("{}{}{}", &text[..sign], "0".repeat(zeros), &text[sign..]))
        }
        "isalpha" | "isalnum" | "isspace" | "isdigit" | "isdecimal" | "isnumeric" | "isascii" | "isupper"
        | "islower" | "istitle" => {
            Arguments::bind("is…", &[], args)?;
            Value::from(is(text, method))
        }
        _ => return Ok(None),
    };
    Ok(Some(value))
}

/// Makes sure that a result of this size may be made, before it is.
pub fn reserve(state: &State, bytes: usize) -> Result<()> {
    state.consume_fuel(bytes as u64 / 64)
}

/// White space as `str.strip` and `str.split` see it: Unicode's, and four separators.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Takes `chars`, or white space, off the ends.
pub fn strip<'t>(text: &'t str, chars: Option<&str>, left: bool, right: bool) -> &'t str {
    let drop = |c: char| chars.map_or_else(|| is_space(c), |set| set.contains(c));
    let text = if left { text.trim_start_matches(drop) } else { text };
    if right { text.trim_end_matches(drop) } else { text }
}

/// Replaces the first `count` places, all without a count.
pub fn replace(state: &State, text: &str, old: &str, new: &str, count: Option<i64>) -> Result<String> {
    let count = count.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let places = text.matches(old).take(count).count();
    reserve(state, places.saturating_mul(new.len()))?;
    Ok(text.replacen(old, new, count))
}

/// The lines without their ends, and where the ends end.
pub fn lines(text: &str) -> Vec<(std::ops::Range<usize>, usize)> {
    let (mut found, mut start) = (Vec::new(), 0);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            continue;
        }
        if c == '\r' {
            chars.next_if(|(_, next)| *next == '\n');
        }
        let end = chars.peek().map_or(text.len(), |(next, _)| *next);
        found.push((start..at, end));
        start = end;
    }
    if start < text.len() {
        found.push((start..text.len(), text.len()));
    }
    found
}

pub fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| title_case(first) + &chars.as_str().to_lowercase())
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.push_str(&title_case(c))
        }
        inside = is_cased(c);
    }
    out
}

/// A letter at the start of a word: of what upper case writes with several letters, only the first is one.
fn title_case(c: char) -> String {
    let mut upper = c.to_uppercase();
    let first = upper.next().into_iter();
    first.chain(upper.flat_map(char::to_lowercase)).collect()
}

fn swapcase(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_uppercase() { out.extend(c.to_lowercase()) } else { out.extend(c.to_uppercase()) }
    }
    out
}

fn is_cased(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase()
}

fn list(parts: Vec<&str>) -> Value {
    parts.into_iter().collect()
}

fn separator(sep: &str) -> Result<&str> {
    if sep.is_empty() { Err(wrong("empty separator")) } else { Ok(sep) }
}

fn split<'t>(text: &'t str, args: &Arguments, from_right: bool) -> Result<Vec<&'t str>> {
    let limit = args.integer("maxsplit")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX - 1);
    if let Some(sep) = args.optional_text("sep")? {
        let sep = separator(sep)?;
        if !from_right {
            return Ok(text.splitn(limit + 1, sep).collect());
        }
        let mut parts: Vec<&str> = text.rsplitn(limit + 1, sep).collect();
        parts.reverse();
        return Ok(parts);
    }
    // Runs of white space part the words; what is left when the limit is reached keeps its own.
    let trimmed = |text: &'t str| strip(text, None, !from_right, from_right);
    let (mut parts, mut rest) = (Vec::new(), trimmed(text));
    while !rest.is_empty() {
        let border = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(at) = border.filter(|_| parts.len() < limit) else {
            parts.push(rest);
            break;
        };
        let space = rest[at..].chars().next().map_or(1, char::len_utf8);
        let (word, others) = if from_right { (&rest[at + space..], &rest[..at]) } else { (&rest[..at], &rest[at..]) };
        parts.push(word);
        rest = trimmed(others);
    }
    if from_right {
        parts.reverse();
    }
    Ok(parts)
}

fn join(state: &State, sep: &str, items: &Value) -> Result<String> {
    let mut out = String::new();
    for (i, item) in items.try_iter()?.checked().enumerate() {
        let item = item?;
        let Some(text) = item.as_str() else {
            return Err(wrong(format!("join() takes strings; item {i} is {}", item.kind())));
        };
        reserve(state, sep.len() + text.len())?;
        if i > 0 {
            out.push_str(sep);
        }
        out.push_str(text);
    }
    Ok(out)
}

/// The part of the text between the arguments `start` and `end`, with the number of characters before it. `None`
/// where `start` lies behind the text.
fn within<'t>(text: &'t str, args: &Arguments) -> Result<Option<(usize, &'t str)>> {
    let (start, end) = (args.integer("start")?, args.integer("end")?);
    if start.is_none() && end.is_none() {
        return Ok(Some((0, text)));
    }
    let length = text.chars().count();
    let place = |at: i64| {
        let at = if at < 0 { at.saturating_add(length as i64).max(0) } else { at };
        usize::try_from(at).unwrap_or(usize::MAX)
    };
    let (start, end) = (start.map_or(0, place), end.map_or(length, place).min(length));
    if start > end {
        return Ok(None);
    }
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    Ok(Some((start, &text[byte(start)..byte(end)])))
}

/// `affix` is a string or a tuple of strings, one of which must fit.
fn affix(affix: &Value, fits: impl Fn(&str) -> bool) -> Result<bool> {
    if let Some(text) = affix.as_str() {
        return Ok(fits(text));
    }
    if !affix.is_tuple() {
        return Err(wrong(format!(
            "startswith() and endswith() take a string or a tuple of strings, found {}",
            affix.kind()
        )));
    }
    for one in affix.try_iter()?.checked() {
        let one = one?;
        match one.as_str() {
            Some(text) if fits(text) => return Ok(true),
            Some(_) => {}
            None => return Err(wrong(format!("the tuple must hold strings only, found {}", one.kind()))),
        }
    }
    Ok(false)
}

fn find(text: &str, method: &str, args: &Arguments, search: impl Fn(&str, &str) -> Option<usize>) -> Result<Value> {
    let sub = args.text("sub")?;
    let found =
        within(text, args)?.and_then(|(before, part)| search(part, sub).map(|at| before + part[..at].chars().count()));
    match found {
        Some(at) => Ok(Value::from(at)),
        None if method.ends_with("index") => Err(wrong("substring not found")),
        None => Ok(Value::from(-1)),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
    Both,
}

fn pad(state: &State, text: &str, args: &Arguments, side: Side) -> Result<String> {
    let width = args.integer("width")?.ok_or_else(|| Error::new(ErrorKind::MissingArgument, "a width is needed"))?;
    let fill = args.optional_text("fillchar")?.unwrap_or(" ");
    if fill.chars().count() != 1 {
        return Err(wrong("the fill character must be exactly one character long"));
    }
    padded(state, text, width, fill, side)
}

/// The text in the middle of `width` characters; an odd blank is on the left where the width is odd, as in Python.
pub fn center(state: &State, text: &str, width: i64) -> Result<String> {
    padded(state, text, width, " ", Side::Both)
}

fn padded(state: &State, text: &str, width: i64, fill: &str, side: Side) -> Result<String> {
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    reserve(state, missing.saturating_mul(fill.len()))?;
    let left = match side {
        Side::Left => missing,
        Side::Right => 0,
        Side::Both => missing / 2 + (missing & width & 1),
    };
    Ok(format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left)))
}

fn is(text: &str, method: &str) -> bool {
    static DECIMAL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").ok());
    let decimal = |c: char| {
        c.is_ascii_digit() || !c.is_ascii() && DECIMAL.as_ref().is_some_and(|r| r.is_match(c.encode_utf8(&mut [0; 4])))
    };
    let cased = || text.chars().any(is_cased);
    let all = |test: &dyn Fn(char) -> bool| !text.is_empty() && text.chars().all(test);
    match method {
        "isascii" => text.is_ascii(),
        "isalpha" => all(&char::is_alphabetic),
        "isalnum" => all(&|c| c.is_alphabetic() || c.is_numeric()),
        "isspace" => all(&is_space),
        "isdecimal" => all(&decimal),
        "isdigit" => all(&|c| decimal(c) || matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨')),
        "isnumeric" => all(&char::is_numeric),
        "isupper" => cased() && !text.chars().any(char::is_lowercase),
        "islower" => cased() && !text.chars().any(char::is_uppercase),
        // istitle: upper case exactly where a word starts.
        _ => {
            let mut inside = false;
            cased()
                && text.chars().all(|c| {
                    let fits = if c.is_uppercase() { !inside } else { !c.is_lowercase() || inside };
                    inside = is_cased(c);
                    fits
                })
        }
    }
}
