//! Which runs belong together: the arms of a sweep, or run folders that differ in nothing but the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::collect::{CONFIG, RunData, State};
use crate::error::{Error, Result};

/// The file that makes a folder a sweep's.
pub const SWEEP: &str = "sweep.json";

/// Fields that do not make another arm.
const SAME: [&str; 5] = ["name", "seed", "out", "store", "threads"];

/// Everything that a report is about.
#[derive(Clone, Debug, Default)]
pub struct Experiment {
    pub title: String,
    pub arms: Vec<Arm>,
    /// The number of the arm that the others are compared with.
    pub baseline: usize,
    /// What the sweep asks about, if it says.
    pub metric: Option<String>,
    /// The sweep's file.
    pub sweep: Option<String>,
    pub notes: Vec<String>,
}

/// Runs of one config with several seeds.
#[derive(Clone, Debug, Default)]
pub struct Arm {
    pub name: String,
    /// What sets the arm apart, field by field.
    pub values: Vec<(String, String)>,
    /// In the order of their seeds.
    pub runs: Vec<RunData>,
}

/// What an arm has for a field that only others have.
const NOT_SET: &str = "not set";

#[derive(Deserialize)]
struct SweepFile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    config: Option<String>,
    #[serde(default)]
    baseline: Option<String>,
    #[serde(default)]
    metric: Option<String>,
    arms: Vec<SweepArm>,
}

#[derive(Deserialize)]
struct SweepArm {
    name: String,
    #[serde(default)]
    values: serde_json::Map<String, Value>,
    #[serde(default)]
    runs: Vec<SweepRun>,
}

#[derive(Deserialize)]
struct SweepRun {
    #[serde(default)]
    seed: u64,
    folder: PathBuf,
}

impl Experiment {
    /// Reads run folders and folders of sweeps. `baseline` names an arm.
    ///
    /// # Errors
    /// A folder that is neither, a `sweep.json` that cannot be read, a baseline that is no arm, two arms of one name.
    pub fn read(folders: &[PathBuf], baseline: Option<&str>) -> Result<Experiment> {
        let mut experiment = Experiment::default();
        let mut wanted = baseline.map(str::to_owned);
        let mut loose = Vec::new();
        for folder in folders {
            if folder.join(SWEEP).is_file() {
                let of_sweep = experiment.add_sweep(folder)?;
                wanted = wanted.or(of_sweep);
            } else if RunData::is_run(folder) {
                loose.push(RunData::read(folder)?);
            } else {
                return Err(Error::input(format!("neither a run's folder nor a sweep's: no {CONFIG} and no {SWEEP}"))
                    .file(folder)
                    .help("name the `out` of a run that has ended or been killed after a round, or a sweep's folder"));
            }
        }
        experiment.add_runs(loose);
        let mut names = BTreeSet::new();
        if let Some(twice) = experiment.arms.iter().find(|arm| !names.insert(arm.name.clone())) {
            return Err(Error::input(format!("two arms are named '{}'", twice.name))
                .help("report on the sweeps one by one, or give their arms other names"));
        }
        if let Some(name) = wanted {
            let known = || experiment.arms.iter().map(|arm| arm.name.as_str()).take(20).collect::<Vec<_>>().join(", ");
            let found = experiment.arms.iter().position(|arm| arm.name == name);
            experiment.baseline = found.ok_or_else(|| {
                Error::config(format!("the baseline '{name}' is no arm of these runs"))
                    .help(format!("arms are {}", known()))
            })?;
        }
        for arm in &mut experiment.arms {
            arm.sort(&mut experiment.notes);
        }
        name_folders(&mut experiment.arms);
        if experiment.title.is_empty() {
            experiment.title = match &experiment.arms[..] {
                arms if arms.len() <= 4 => arms.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>().join(", "),
                arms => format!("{} arms", arms.len()),
            };
        }
        Ok(experiment)
    }

    pub fn runs(&self) -> impl Iterator<Item = &RunData> {
        self.arms.iter().flat_map(|arm| &arm.runs)
    }

    /// Adds a sweep's arms; gives its baseline.
    fn add_sweep(&mut self, folder: &Path) -> Result<Option<String>> {
        let file = folder.join(SWEEP);
        let bytes = fs::read(&file).map_err(|e| Error::io("read", &file, &e))?;
        let sweep: SweepFile =
            serde_json::from_slice(&bytes).map_err(|e| Error::input(format!("not a sweep's file: {e}")).file(&file))?;
        if sweep.arms.is_empty() {
            return Err(Error::input("the sweep has no arms").file(&file));
        }
        for arm in sweep.arms {
            let values = arm.values.iter().map(|(field, value)| (field.clone(), shown(value))).collect();
            let mut runs = Vec::new();
            for run in arm.runs {
                let place = folder.join(&run.folder);
                // A config that is there but cannot be read is that run's trouble, not the others'.
                runs.push(match RunData::is_run(&place).then(|| RunData::read(&place)) {
                    Some(Ok(data)) => data,
                    Some(Err(e)) => {
                        let mut data = RunData::missing(&place, &arm.name, run.seed);
                        data.notes.push(e.message().to_owned());
                        data
                    }
                    None => RunData::missing(&place, &arm.name, run.seed),
                });
            }
            self.arms.push(Arm { name: arm.name, values, runs });
        }
        self.title = sweep.name;
        self.sweep = sweep.config;
        self.metric = self.metric.take().or(sweep.metric);
        Ok(sweep.baseline)
    }

    /// Groups runs without a sweep.
    fn add_runs(&mut self, runs: Vec<RunData>) {
        let mut groups: Vec<(BTreeMap<String, String>, Vec<RunData>)> = Vec::new();
        for run in runs {
            let mut fields = BTreeMap::new();
            for (key, value) in &run.config {
                if !SAME.contains(&key.as_str()) {
                    flatten(key, value, &mut fields);
                }
            }
            match groups.iter_mut().find(|(known, _)| *known == fields) {
                Some((_, members)) => members.push(run),
                None => groups.push((fields, vec![run])),
            }
        }
        let differing: BTreeSet<&String> = (groups.iter().flat_map(|(fields, _)| fields.keys()))
            .filter(|key| groups.iter().any(|(fields, _)| fields.get(*key) != groups[0].0.get(*key)))
            .collect();
        let values: Vec<Vec<(String, String)>> = (groups.iter())
            .map(|(fields, _)| {
                let value = |key: &String| fields.get(key).cloned().unwrap_or_else(|| NOT_SET.into());
                differing.iter().map(|key| ((*key).clone(), value(key))).collect()
            })
            .collect();
        let by_name: BTreeSet<&str> = groups.iter().map(|(_, runs)| runs[0].name.as_str()).collect();
        let named = by_name.len() == groups.len()
            && groups.iter().all(|(_, runs)| runs.iter().all(|run| run.name == runs[0].name));
        let mut arms = Vec::new();
        for (values, (_, runs)) in values.into_iter().zip(groups) {
            let name = match named {
                true => runs[0].name.clone(),
                false => values
                    .iter()
                    .filter(|(_, value)| value != NOT_SET)
                    .map(|(field, value)| format!("{field}={}", short(value)))
                    .collect::<Vec<_>>()
                    .join(" "),
            };
            arms.push(Arm { name, values, runs });
        }
        self.arms.extend(arms);
    }
}

impl Arm {
    /// Runs by seed; of two with one seed the finished one counts, or the first.
    fn sort(&mut self, notes: &mut Vec<String>) {
        self.runs.sort_by_key(|run| (run.seed, run.state != State::Finished));
        let mut seen = BTreeSet::new();
        let name = &self.name;
        self.runs.retain(|run| {
            let first = seen.insert(run.seed);
            if !first {
                notes.push(format!("{name} has several runs of seed {}; one of them is left out", run.seed));
            }
            first
        });
    }
}

/// The fields of a config as "train.beta" → "0.1".
pub fn flatten(path: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                flatten(&format!("{path}.{key}"), value, into);
            }
        }
        toml::Value::String(text) => drop(into.insert(path.to_owned(), text.clone())),
        other => drop(into.insert(path.to_owned(), other.to_string())),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The end of a path, or the value.
fn short(value: &str) -> &str {
    value.rsplit(['/', '\\']).next().filter(|end| !end.is_empty()).unwrap_or(value)
}

/// Run folders by their last part, with the part before where that is not enough.
fn name_folders(arms: &mut [Arm]) {
    let part = |run: &RunData, parts: usize| -> String {
        let names: Vec<String> =
            run.folder.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
        names[names.len().saturating_sub(parts)..].join("/")
    };
    let all: Vec<&RunData> = arms.iter().flat_map(|arm| &arm.runs).collect();
    let enough = (1..4).find(|parts| {
        let names: BTreeSet<String> = all.iter().map(|run| part(run, *parts)).collect();
        names.len() == all.len()
    });
    for run in arms.iter_mut().flat_map(|arm| &mut arm.runs) {
        run.shown = part(run, enough.unwrap_or(4));
    }
}
