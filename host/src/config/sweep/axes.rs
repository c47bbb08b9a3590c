//! What a sweep varies: named arms, the lists of its grid, and lists that advance together.

use std::path::Path;

use super::super::section::Section;
use super::super::source::{Node, Origin, Table, Value, entry, key_path};
use super::names;
use crate::error::{Error, Result};

/// A field and what it becomes.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub path: Vec<String>,
    pub value: Node,
}

impl Set {
    pub fn dotted(&self) -> String {
        dotted(&self.path)
    }
}

/// One of the choices of an axis.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// A part of the arm's name.
    pub name: String,
    pub sets: Vec<Set>,
}

/// What varies independently of other axes.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// The fields, each set by every point; empty for the named arms, whose fields are their own.
    pub paths: Vec<Vec<String>>,
    pub points: Vec<Point>,
}

/// Of every run these are the sweep's own.
const OWN: [(&str, &str); 6] = [
    ("seed", "write seeds = […] in [sweep]"),
    ("out", "write `out` in [sweep]; runs go to OUT/runs/ARM-seedN"),
    ("name", "runs are named after their arms"),
    ("store", "all runs of a sweep share one store, which is what makes it cheap"),
    ("threads", "results do not depend on it; `creamery sweep run` divides the cores among its jobs"),
    ("sweep", "a sweep has no sweeps in it"),
];

/// The named arms first, then the grid and the zips, in the order of the file.
pub(super) fn read(section: &Section<'_>, file: &Path) -> Result<Vec<Axis>> {
    let mut axes: Vec<Axis> = arms(section, file)?.into_iter().collect();
    if let Some(node) = section.get("grid") {
        let Value::Table(table) = &node.value else { return Err(section.wrong("grid", node, "a table [sweep.grid]")) };
        let mut lists = Vec::new();
        collect(table, &[], file, "sweep.grid", &mut lists)?;
        if lists.is_empty() {
            return Err(node.origin.error(file, "[sweep.grid] is empty").help("\"train.beta\" = [0.1, 0.2]"));
        }
        for (path, node, items) in lists {
            let points = items.iter().map(|item| point(&path, item, file)).collect::<Result<Vec<_>>>()?;
            let points = points.into_iter().map(|(name, set)| Point { name: name.text(), sets: vec![set] }).collect();
            let axis = Axis { paths: vec![path], points };
            distinct(&axis, &node.origin, file)?;
            axes.push(axis);
        }
    }
    for table in tables(section, "zip", file)? {
        axes.push(zip(table, file)?);
    }
    check_paths(&axes, file)?;
    Ok(axes)
}

/// The tables `[[sweep.KEY]]`, each with where it stands.
pub(super) fn tables<'a>(section: &Section<'a>, key: &str, file: &Path) -> Result<Vec<(&'a Table, &'a Origin)>> {
    let Some(node) = section.get(key) else { return Ok(Vec::new()) };
    let expected = || format!("a list of tables [[sweep.{key}]]");
    let Value::Array(items) = &node.value else { return Err(section.wrong(key, node, expected())) };
    let table = |item: &'a Node| match &item.value {
        Value::Table(table) if table.is_empty() => {
            Err(item.origin.error(file, format!("a [[sweep.{key}]] is empty")).help("remove it, or name fields in it"))
        }
        Value::Table(table) => Ok((table, &item.origin)),
        _ => Err(section.wrong(key, item, expected())),
    };
    items.iter().map(table).collect()
}

/// The path of a key under `above`, by TOML's own rules: `"train.beta"` is beta of train.
pub(super) fn path_under(above: &[String], key: &str, origin: &Origin, file: &Path) -> Result<Vec<String>> {
    let below = key_path(key).ok_or_else(|| {
        let error = origin.error(file, format!("{key:?} is no path of a field"));
        error.help("write it as in TOML: \"train.beta\"")
    })?;
    Ok([above, &below].concat())
}

pub(super) fn dotted(path: &[String]) -> String {
    path.join(".")
}

/// A field, its node, and the values of its list.
type List<'a> = (Vec<String>, &'a Node, &'a [Node]);

/// The lists in a table, by path; tables on the way are descended into.
fn collect<'a>(table: &'a Table, above: &[String], file: &Path, what: &str, lists: &mut Vec<List<'a>>) -> Result<()> {
    for (key, node) in table {
        let path = path_under(above, key, &node.origin, file)?;
        let shown = dotted(&path);
        let error = |message: String| node.origin.error(file, message);
        match &node.value {
            Value::Array(items) if items.is_empty() => {
                return Err(error(format!("`{shown}` in [{what}] is an empty list, expected the values to try")));
            }
            Value::Array(items) => lists.push((path, node, items)),
            Value::Table(inner) => collect(inner, &path, file, what, lists)?,
            other => {
                let found = other.describe();
                return Err(error(format!("`{shown}` in [{what}] is {found}, expected a list of the values to try"))
                    .help("a single value belongs to the base, outside of [sweep]"));
            }
        }
    }
    Ok(())
}

/// The part of a name that a value gives: chosen, or derived from it.
enum Name {
    Given(String),
    Derived(String),
}

impl Name {
    fn text(self) -> String {
        match self {
            Name::Given(text) | Name::Derived(text) => text,
        }
    }
}

/// A value of a list, with its name.
fn point(path: &[String], item: &Node, file: &Path) -> Result<(Name, Set)> {
    let set = |value: Node| Set { path: path.to_vec(), value };
    let derived = |value: &Value| Name::Derived(names::derived(path.last().map_or("", String::as_str), value));
    let Value::Table(table) = &item.value else { return Ok((derived(&item.value), set(item.clone()))) };
    let Some(at) = entry(table, "name") else { return Ok((derived(&item.value), set(item.clone()))) };
    let (_, given) = &table[at];
    let name = match &given.value {
        Value::String(name) if names::is_plain(name) => name.clone(),
        other => {
            let message = format!("the `name` of a value of `{}` is {}", dotted(path), other.describe());
            return Err(given.origin.error(file, message + ", expected letters, digits, '.', '_', '+' or '-'").help(
                "it becomes part of a folder's name; a table with a field `name` of its own is written \
                 { name = \"short\", value = { … } }",
            ));
        }
    };
    let value = match table.iter().filter(|(key, _)| key != "name").collect::<Vec<_>>()[..] {
        [] => {
            let message = format!("a value of `{}` has a name and nothing else", dotted(path));
            return Err(item.origin.error(file, message).help("write { name = \"low\", value = 0.1 }"));
        }
        [(key, value)] if key == "value" => value.clone(),
        _ => {
            let rest = table.iter().filter(|(key, _)| key != "name").cloned().collect();
            Node { value: Value::Table(rest), origin: item.origin.clone() }
        }
    };
    Ok((Name::Given(name), set(value)))
}

fn zip((table, origin): (&Table, &Origin), file: &Path) -> Result<Axis> {
    let mut lists = Vec::new();
    collect(table, &[], file, "[sweep.zip]", &mut lists)?;
    let Some((first, _, items)) = lists.first() else {
        return Err(origin.error(file, "a [[sweep.zip]] has no list").help("name at least two fields in it"));
    };
    let length = items.len();
    if let Some((path, node, items)) = lists.iter().find(|(.., items)| items.len() != length) {
        let (path, items) = (dotted(path), items.len());
        let message = format!("`{path}` in [[sweep.zip]] has {items} values, but `{}` has {length}", dotted(first));
        return Err(node.origin.error(file, message).help("lists that advance together are equally long"));
    }
    let mut points = Vec::with_capacity(length);
    for i in 0..length {
        let values: Vec<(Name, Set)> =
            lists.iter().map(|(path, _, items)| point(path, &items[i], file)).collect::<Result<_>>()?;
        // Where one is given, it says it all.
        let given = values.iter().any(|(name, _)| matches!(name, Name::Given(_)));
        let (mut parts, mut sets) = (Vec::new(), Vec::new());
        for (name, set) in values {
            sets.push(set);
            match name {
                Name::Derived(_) if given => {}
                name => parts.push(name.text()),
            }
        }
        points.push(Point { name: parts.join("-"), sets });
    }
    let axis = Axis { paths: lists.into_iter().map(|(path, ..)| path).collect(), points };
    distinct(&axis, origin, file)?;
    Ok(axis)
}

/// `[sweep.arms.NAME]`
fn arms(section: &Section<'_>, file: &Path) -> Result<Option<Axis>> {
    let Some(node) = section.get("arms") else { return Ok(None) };
    let expected = "tables [sweep.arms.NAME]";
    let Value::Table(table) = &node.value else { return Err(section.wrong("arms", node, expected)) };
    if table.is_empty() {
        return Err(node.origin.error(file, "[sweep.arms] is empty").help(format!("expected {expected}")));
    }
    let mut points = Vec::with_capacity(table.len());
    for (name, arm) in table {
        let Value::Table(values) = &arm.value else {
            let message = format!("`sweep.arms.{name}` is {}, expected a table", arm.value.describe());
            return Err(arm.origin.error(file, message).help(format!("write [sweep.arms.{name}]")));
        };
        if !names::is_plain(name) {
            let error = arm.origin.error(file, format!("the arm {name:?} cannot name a folder"));
            return Err(error.help("use letters, digits, '.', '_', '+' and '-'"));
        }
        let mut sets = Vec::new();
        changes(values, &[], file, &mut sets)?;
        points.push(Point { name: name.clone(), sets });
    }
    Ok(Some(Axis { paths: Vec::new(), points }))
}

/// The fields that an arm's tables change. A plugin's table is a value; others are merged.
fn changes(table: &Table, above: &[String], file: &Path, sets: &mut Vec<Set>) -> Result<()> {
    for (key, node) in table {
        let path = path_under(above, key, &node.origin, file)?;
        match &node.value {
            Value::Table(inner) if !inner.is_empty() && entry(inner, "plugin").is_none() => {
                changes(inner, &path, file, sets)?;
            }
            _ => sets.push(Set { path, value: node.clone() }),
        }
    }
    Ok(())
}

/// No two points of an axis have one name.
fn distinct(axis: &Axis, origin: &Origin, file: &Path) -> Result<()> {
    for (i, point) in axis.points.iter().enumerate() {
        if let Some(twin) = axis.points[..i].iter().find(|twin| twin.name.eq_ignore_ascii_case(&point.name)) {
            let shown = axis.paths.iter().map(|path| dotted(path)).collect::<Vec<_>>().join(", ");
            let at = point.sets.first().map_or(origin, |set| &set.value.origin);
            let message = format!("two values of `{shown}` are called {:?}", twin.name);
            return Err(at.error(file, message).help(
                "remove one if they are equal, or name them: { name = \"a\", plugin = … } or { name = \"b\", value = 0.1 }",
            ));
        }
    }
    Ok(())
}

/// No field is the sweep's own, or varied twice.
fn check_paths(axes: &[Axis], file: &Path) -> Result<()> {
    let mut known: Vec<(Vec<String>, usize)> = Vec::new();
    for (number, axis) in axes.iter().enumerate() {
        for set in axis.points.iter().flat_map(|point| &point.sets) {
            let error = |message: String| set.value.origin.error(file, message);
            if let Some((key, help)) = OWN.iter().find(|(key, _)| set.path[0] == **key) {
                return Err(error(format!("`{key}` cannot be varied")).help(*help));
            }
            match known.iter().find(|(path, _)| *path == set.path) {
                Some((_, other)) if *other != number => {
                    return Err(twice(error, &set.dotted()));
                }
                Some(_) => {}
                None => known.push((set.path.clone(), number)),
            }
        }
        let mut paths = axis.paths.clone();
        paths.sort();
        if let Some(pair) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
            let origin = &axis.points[0].sets[0].value.origin;
            return Err(twice(|message| origin.error(file, message), &dotted(&pair[0])));
        }
    }
    Ok(())
}

fn twice(error: impl Fn(String) -> Error, path: &str) -> Error {
    error(format!("`{path}` is varied twice in [sweep]")).help("leave it in one of grid, zip and arms")
}
