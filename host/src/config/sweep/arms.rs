//! Axes → arms: every combination that is not excluded, each with its checked config.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Number, Value as Json};

use super::super::resolve::Paths;
use super::super::section::Section;
use super::super::source::{Node, Origin, Table, Value};
use super::axes::{Axis, Point, Set, dotted, path_under, tables};
use super::{ArmConfig, MAX_ARMS, Taken, resolved};
use crate::error::{Error, Result};

/// A combination that is left out: what each of these axes has.
pub(super) struct Exclude<'a> {
    origin: &'a Origin,
    /// The axis, and the points of it that are meant.
    at: Vec<(usize, Vec<usize>)>,
}

/// The tables `[[sweep.exclude]]`.
pub(super) fn excludes<'a>(section: &Section<'a>, axes: &[Axis], file: &Path) -> Result<Vec<Exclude<'a>>> {
    let mut excludes = Vec::new();
    for (table, origin) in tables(section, "exclude", file)? {
        let mut at = Vec::new();
        meant(table, &[], axes, file, &mut at)?;
        excludes.push(Exclude { origin, at });
    }
    Ok(excludes)
}

fn meant(table: &Table, above: &[String], axes: &[Axis], file: &Path, at: &mut Vec<(usize, Vec<usize>)>) -> Result<()> {
    for (key, node) in table {
        let path = path_under(above, key, &node.origin, file)?;
        let arms = path == ["arm"] && axes.first().is_some_and(|axis| axis.paths.is_empty());
        let axis = if arms { Some(0) } else { axes.iter().position(|axis| axis.paths.contains(&path)) };
        let Some(axis) = axis else {
            if let Value::Table(inner) = &node.value {
                meant(inner, &path, axes, file, at)?;
                continue;
            }
            let shown: Vec<String> = axes.iter().flat_map(|axis| &axis.paths).map(|path| dotted(path)).collect();
            let message = format!("`{}` in [[sweep.exclude]] is nothing that the sweep varies", dotted(&path));
            return Err(node.origin.error(file, message).help(match shown.is_empty() {
                true => "write arm = \"NAME\" for one of [sweep.arms]".to_owned(),
                false => format!("it varies {}", shown.join(", ")),
            }));
        };
        let fits = |point: &Point| {
            let named = matches!(&node.value, Value::String(name) if *name == point.name);
            named || point.sets.iter().any(|set| !arms && set.path == path && equal(&set.value.value, &node.value))
        };
        let points: Vec<usize> =
            axes[axis].points.iter().enumerate().filter(|(_, p)| fits(p)).map(|(i, _)| i).collect();
        if points.is_empty() {
            let message = format!("`{}` in [[sweep.exclude]] is none of the sweep's values of it", dotted(&path));
            let names: Vec<&str> = axes[axis].points.iter().map(|point| point.name.as_str()).collect();
            let help = format!("write the value as it stands in the list, or its name: {}", names.join(", "));
            return Err(node.origin.error(file, message).help(help));
        }
        at.push((axis, points));
    }
    Ok(())
}

/// All arms, in the order of the axes: the last varies fastest.
pub(super) fn expand(
    base: &Table,
    axes: &[Axis],
    excludes: Vec<Exclude<'_>>,
    paths: &Paths<'_>,
) -> Result<Vec<ArmConfig>> {
    let file = paths.file;
    let combinations = axes.iter().fold(1usize, |product, axis| product.saturating_mul(axis.points.len()));
    if combinations > MAX_ARMS {
        let shown = match combinations {
            usize::MAX => "far more than".to_owned(),
            _ => format!("{combinations} arms, more than"),
        };
        return Err(Error::config(format!("the sweep has {shown} {MAX_ARMS} arms"))
            .file(file)
            .help("vary less at once"));
    }
    let mut matched = vec![false; excludes.len()];
    let (mut arms, mut taken, mut seen) = (Vec::new(), Taken::new(), HashMap::new());
    for number in 0..combinations {
        let at = digits(number, axes);
        let mut excluded = false;
        for (exclude, matched) in excludes.iter().zip(&mut matched) {
            if exclude.at.iter().all(|(axis, points)| points.contains(&at[*axis])) {
                (*matched, excluded) = (true, true);
            }
        }
        if excluded {
            continue;
        }
        let points: Vec<&Point> = axes.iter().zip(&at).map(|(axis, i)| &axis.points[*i]).collect();
        let arm = arm(base, &points, paths)?;
        let origin = points.iter().rev().flat_map(|point| &point.sets).map(|set| &set.value.origin).next();
        let error = |message: String| match origin {
            Some(origin) => origin.error(file, message),
            None => Error::config(message).file(file),
        };
        if let Some(other) = taken.insert(arm.name.to_lowercase(), arms.len()) {
            let ArmConfig { name, .. } = &arms[other];
            return Err(error(format!("two arms are called {name:?}")).help("name their values otherwise"));
        }
        if let Some(other) = seen.insert(digest(&arm)?, arms.len()) {
            let ArmConfig { name, .. }: &ArmConfig = &arms[other];
            let message = format!("the arms {name:?} and {:?} are the same run: no field differs", arm.name);
            return Err(error(message).help("remove one, or leave it out with [[sweep.exclude]]"));
        }
        arms.push(arm);
    }
    if let Some(at) = matched.iter().position(|matched| !matched) {
        let error = excludes[at].origin.error(file, "this [[sweep.exclude]] matches no combination");
        return Err(error.help("remove it, or name values that stand together"));
    }
    if arms.is_empty() {
        return Err(Error::config("[[sweep.exclude]] leaves no arm").file(file).help("exclude less"));
    }
    Ok(arms)
}

/// Which point of each axis.
fn digits(mut number: usize, axes: &[Axis]) -> Vec<usize> {
    let mut at = vec![0; axes.len()];
    for (digit, axis) in at.iter_mut().zip(axes).rev() {
        *digit = number % axis.points.len();
        number /= axis.points.len();
    }
    at
}

fn arm(base: &Table, points: &[&Point], paths: &Paths<'_>) -> Result<ArmConfig> {
    let name = points.iter().map(|point| point.name.as_str()).collect::<Vec<_>>().join("-");
    let name = if name.is_empty() { "base".to_owned() } else { name };
    if name.len() > 160 {
        return Err(Error::config(format!("the name of the arm {name:?} is too long for a folder's"))
            .file(paths.file)
            .help("give values short names: { name = \"a\", plugin = … } or { name = \"b\", value = 0.1 }"));
    }
    let sets: Vec<&Set> = points.iter().flat_map(|point| &point.sets).collect();
    let config = resolved(base, &sets, paths).map_err(|e| e.context(format!("resolving the arm '{name}'")))?;
    let values = sets.iter().map(|set| (set.dotted(), json(&set.value))).collect::<Map<_, _>>();
    Ok(ArmConfig { name, values, config })
}

/// Of everything that decides the run's result.
fn digest(arm: &ArmConfig) -> Result<blake3::Hash> {
    let mut config = arm.config.clone();
    config.about = Default::default();
    let text = serde_json::to_vec(&config);
    Ok(blake3::hash(&text.map_err(|e| Error::config(format!("the arm '{}' cannot be written: {e}", arm.name)))?))
}

/// Equal values, wherever they stand; numbers by their value.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) | (Value::Datetime(a), Value::Datetime(b)) => a == b,
        (Value::Integer(a), Value::Integer(b)) => a == b,
        (Value::Integer(a), Value::Float(b)) | (Value::Float(b), Value::Integer(a)) => *a as f64 == *b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Boolean(a), Value::Boolean(b)) => a == b,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(&a.value, &b.value))
        }
        (Value::Table(a), Value::Table(b)) => {
            let has = |(key, node): &(String, Node)| b.iter().any(|(k, n)| k == key && equal(&n.value, &node.value));
            a.len() == b.len() && a.iter().all(has)
        }
        _ => false,
    }
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::String(text) | Value::Datetime(text) => Json::from(text.as_str()),
        Value::Integer(i) => Json::from(*i),
        Value::Float(f) => Number::from_f64(*f).map_or_else(|| Json::from(f.to_string()), Json::Number),
        Value::Boolean(b) => Json::from(*b),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Table(table) => table.iter().map(|(key, node)| (key.clone(), json(node))).collect(),
    }
}
