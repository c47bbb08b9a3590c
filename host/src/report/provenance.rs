//! Where the numbers come from: configs, plugins, models, versions, artifacts, and how to make them again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde_json::Value;

use super::arms::{Experiment, flatten};
use super::collect::{PluginRow, RunData};

/// Everything for the last section of a page.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// The resolved config of the baseline's first run, paths from a folder that they share.
    pub config: String,
    /// Of the others: arm, field, value, and what the baseline has.
    pub differences: Vec<(String, String, String, String)>,
    /// Arms, part of the config, plugin.
    pub plugins: Vec<(String, String, PluginRow)>,
    /// Arm, seed, state, folder, version and instruction set, last model.
    pub runs: Vec<RunRow>,
    /// Of the baseline's first run: model, label, stage, id.
    pub artifacts: Vec<(String, String, String, String)>,
    pub commands: Vec<String>,
    /// Any run has TensorBoard's files.
    pub tensorboard: bool,
}

#[derive(Clone, Debug)]
pub struct RunRow {
    pub arm: String,
    pub seed: u64,
    pub state: String,
    pub folder: String,
    pub made_by: String,
    pub model: String,
    pub notes: Vec<String>,
}

impl Provenance {
    /// `arms` are those whose configs are compared in full.
    pub fn new(experiment: &Experiment, arms: &[usize]) -> Provenance {
        let base = experiment.arms[experiment.baseline].runs.iter().find(|run| !run.config.is_empty());
        let base = base.or_else(|| experiment.runs().find(|run| !run.config.is_empty()));
        let fields = |run: &RunData| {
            let root = shared_folder(run);
            let mut fields = BTreeMap::new();
            run.config.iter().for_each(|(key, value)| flatten(key, value, &mut fields));
            fields.values_mut().for_each(|value| *value = relative(value, &root));
            ["name", "seed", "out", "store"].iter().for_each(|key| drop(fields.remove(*key)));
            fields
        };
        let mut provenance = Provenance::default();
        if let Some(base) = base {
            let root = shared_folder(base);
            let mut table = base.config.clone();
            shorten(&mut table, &root);
            provenance.config = toml::to_string(&table).unwrap_or_default();
            let ours = fields(base);
            for number in arms.iter().filter(|number| **number != experiment.baseline) {
                let arm = &experiment.arms[*number];
                let Some(run) = arm.runs.iter().find(|run| !run.config.is_empty()) else { continue };
                let theirs = fields(run);
                for key in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
                    let value =
                        |of: &BTreeMap<String, String>| of.get(key).cloned().unwrap_or_else(|| "not set".into());
                    if ours.get(key) != theirs.get(key) {
                        provenance.differences.push((arm.name.clone(), key.clone(), value(&theirs), value(&ours)));
                    }
                }
            }
            for artifact in base.artifacts.iter().flatten() {
                let (model, label) = (artifact.model.clone(), artifact.label.clone());
                provenance.artifacts.push((model, label, artifact.stage.clone(), artifact.id.clone()));
            }
        }
        provenance.plugins = plugins(experiment);
        provenance.runs =
            experiment.arms.iter().flat_map(|arm| arm.runs.iter().map(|run| row(&arm.name, run))).collect();
        provenance.commands = commands(experiment);
        provenance.tensorboard = experiment.runs().any(|run| run.tensorboard);
        provenance
    }
}

/// Each plugin once, with the arms that use it.
fn plugins(experiment: &Experiment) -> Vec<(String, String, PluginRow)> {
    let mut found: Vec<(Vec<&str>, PluginRow)> = Vec::new();
    for arm in &experiment.arms {
        for plugin in arm.runs.iter().flat_map(|run| &run.plugins) {
            match found.iter_mut().find(|(_, known)| known == plugin) {
                Some((arms, _)) if arms.last() == Some(&arm.name.as_str()) => {}
                Some((arms, _)) => arms.push(&arm.name),
                None => found.push((vec![&arm.name], plugin.clone())),
            }
        }
    }
    found.sort_by(|(_, a), (_, b)| (&a.kind, &a.name, &a.digest).cmp(&(&b.kind, &b.name, &b.digest)));
    let all = experiment.arms.iter().filter(|arm| arm.runs.iter().any(|run| !run.plugins.is_empty())).count();
    let arms = |arms: &[&str]| match arms.len() {
        n if n == all && n > 1 => "all".to_owned(),
        n if n > 4 => format!("{} and {} more", arms[..3].join(", "), n - 3),
        _ => arms.join(", "),
    };
    let part = |plugin: &PluginRow| if plugin.part.is_empty() { plugin.kind.clone() } else { plugin.part.clone() };
    found.into_iter().map(|(of, plugin)| (arms(&of), part(&plugin), plugin)).collect()
}

fn row(arm: &str, run: &RunData) -> RunRow {
    RunRow {
        arm: arm.to_owned(),
        seed: run.seed,
        state: run.state.text(),
        folder: run.shown.clone(),
        made_by: made_by(run).unwrap_or_else(|| "not recorded".into()),
        model: run
            .models
            .last()
            .map_or_else(|| "–".into(), |(name, id)| format!("{name} {}", id.get(..12).unwrap_or(id))),
        notes: run.notes.clone(),
    }
}

/// Version and instruction set, as the last artifact of a run says.
fn made_by(run: &RunData) -> Option<String> {
    let store = run.field("store")?.as_str()?;
    let artifact = run.artifacts.as_ref()?.last()?;
    let path = Path::new(store).join(&artifact.stage).join(&artifact.id).join("artifact.json");
    // No manifest is that long.
    let file = BufReader::new(File::open(path).ok()?).take(64 << 20);
    let manifest: Value = serde_json::from_reader(file).ok()?;
    let set = manifest["key"]["instruction-set"].as_str().unwrap_or("unknown instruction set");
    Some(format!("creamery {} on {set}", manifest["creamery"].as_str()?))
}

fn commands(experiment: &Experiment) -> Vec<String> {
    let mut commands = Vec::new();
    if let Some(sweep) = &experiment.sweep {
        commands.push(format!("creamery sweep run {}", quoted(last_part(sweep))));
    }
    let runs: Vec<&RunData> = experiment.runs().filter(|run| !run.config.is_empty()).collect();
    for run in runs.iter().take(12) {
        commands.push(format!("creamery run {}", quoted(&format!("{}/{}", run.shown, super::collect::CONFIG))));
    }
    if runs.len() > 12 {
        commands.push(format!("# and the same for the other {} run folders", runs.len() - 12));
    }
    commands
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn last_part(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// The folder in which all that a config names lies, so that a page does not tell where on a machine that is.
fn shared_folder(run: &RunData) -> String {
    let mut paths: Vec<&str> = Vec::new();
    for field in ["out", "store", "model.path"] {
        paths.extend(run.field(field).and_then(|v| v.as_str()));
    }
    let absolute: Vec<&str> = paths.into_iter().filter(|path| path.starts_with('/')).collect();
    let Some(first) = absolute.first() else { return String::new() };
    let mut shared: &str = first;
    while !absolute.iter().all(|path| path.strip_prefix(shared).is_some_and(|rest| rest.starts_with('/'))) {
        shared = shared.rfind('/').map_or("", |end| &shared[..end]);
        if shared.is_empty() {
            return String::new();
        }
    }
    shared.to_owned()
}

/// Paths in a value without that folder; a list is text here.
fn relative(value: &str, root: &str) -> String {
    if root.is_empty() { value.to_owned() } else { value.replace(&format!("{root}/"), "") }
}

fn shorten(table: &mut toml::Table, root: &str) {
    fn value(of: &mut toml::Value, root: &str) {
        match of {
            toml::Value::String(text) => *text = relative(text, root),
            toml::Value::Array(items) => items.iter_mut().for_each(|item| value(item, root)),
            toml::Value::Table(table) => shorten(table, root),
            _ => {}
        }
    }
    table.iter_mut().for_each(|(_, v)| value(v, root));
}
