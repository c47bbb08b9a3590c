//! What a run folder says, read leniently: a folder of an older version, of a run that was killed, or with a damaged
//! file is read as far as it goes, and what is missing is said.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};

/// The file without which a folder is no run folder.
pub const CONFIG: &str = "config.resolved.toml";

/// A file larger than this is none of a run's tables.
const MAX_FILE: u64 = 1 << 30;

/// A value by model or round: M0 is 0; round t, which makes M_{t+1}, is t.
pub type Points = BTreeMap<u32, f64>;

/// One run.
#[derive(Clone, Debug, Default)]
pub struct RunData {
    pub folder: PathBuf,
    /// The folder's last part, or two where one does not tell the runs apart.
    pub shown: String,
    pub name: String,
    pub seed: u64,
    pub config: toml::Table,
    pub state: State,
    /// Rounds of the config.
    pub rounds: u32,
    /// M0, M1, … with their ids.
    pub models: Vec<(String, String)>,
    /// The results by metric, under the names of `metrics.jsonl`.
    pub points: BTreeMap<String, Points>,
    /// The losses by step: of fine-tuning under `None`, then of the rounds.
    pub losses: BTreeMap<Option<u32>, Points>,
    pub plugins: Vec<PluginRow>,
    pub timings: Vec<TimingRow>,
    /// `None` of a folder that does not name them.
    pub artifacts: Option<Vec<ArtifactRow>>,
    pub tensorboard: bool,
    /// What cannot be read.
    pub notes: Vec<String>,
}

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    Finished,
    /// Rounds done, of all.
    Unfinished(usize, usize),
    /// There is no such run folder, or nothing in it.
    Missing,
}

impl State {
    /// In words.
    pub fn text(&self) -> String {
        match self {
            State::Finished => "finished".into(),
            State::Unfinished(done, all) => format!("unfinished: {done} of {all} rounds"),
            State::Missing => "not started, or its folder is gone".into(),
        }
    }
}

/// A row of `plugins.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PluginRow {
    /// Not in folders of the first versions.
    #[serde(default)]
    pub part: String,
    pub name: String,
    pub kind: String,
    pub version: String,
    pub artifact: String,
    pub digest: String,
    #[serde(default)]
    pub params: Value,
}

/// A row of `timings.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TimingRow {
    pub model: String,
    pub label: String,
    pub part: String,
    pub seconds: f64,
    pub reused: bool,
    /// Inside calls of plugins; not in older folders, nor of stages that were found in the store.
    #[serde(default)]
    pub plugin_seconds: Option<f64>,
}

/// A row of `artifacts.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ArtifactRow {
    pub model: String,
    pub label: String,
    pub part: String,
    pub stage: String,
    pub id: String,
    #[serde(default)]
    pub round: Option<u32>,
    #[serde(default)]
    pub viewpoint: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    models: Vec<SummaryModel>,
    rounds: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SummaryModel {
    name: String,
    id: String,
}

impl RunData {
    /// Is this the folder of a run?
    pub fn is_run(folder: &Path) -> bool {
        folder.join(CONFIG).is_file()
    }

    /// A run of which there is nothing.
    pub fn missing(folder: &Path, name: &str, seed: u64) -> RunData {
        let (folder, name) = (folder.to_owned(), name.to_owned());
        RunData { folder, name, seed, state: State::Missing, ..RunData::default() }
    }

    /// Reads a folder.
    ///
    /// # Errors
    /// It has no resolved config, or one that is not TOML. All else that cannot be read is noted.
    pub fn read(folder: &Path) -> Result<RunData> {
        let config = folder.join(CONFIG);
        let text = read_text(&config)?;
        let config: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| Error::input(format!("not TOML: {}", e.message())).file(config))?;
        let name = config.get("name").and_then(|n| n.as_str()).unwrap_or("run").to_owned();
        let seed = config.get("seed").and_then(|s| s.as_integer()).unwrap_or(0).max(0) as u64;
        let rounds = config.get("rounds").and_then(|r| r.get("count")).and_then(|c| c.as_integer()).unwrap_or(0);
        let mut run = RunData { folder: folder.to_owned(), name, seed, config, ..RunData::default() };
        let summary: Summary = run.json("summary.json").unwrap_or_default();
        run.plugins = run.json("plugins.json").unwrap_or_default();
        run.timings = run.json("timings.json").unwrap_or_default();
        run.artifacts = match folder.join("artifacts.json").exists() {
            true => run.json("artifacts.json"),
            false => None,
        };
        run.tensorboard = folder.join("tensorboard").is_dir();
        run.rounds = rounds.clamp(0, u32::MAX.into()) as u32;
        let rounds = run.rounds as usize;
        if summary.rounds.len() < rounds || summary.models.is_empty() {
            run.state = State::Unfinished(summary.rounds.len(), rounds);
        }
        run.models = summary.models.into_iter().map(|model| (model.name, model.id)).collect();
        run.read_metrics();
        run.add_totals();
        run.add_times();
        Ok(run)
    }

    /// A metric of the last model or round, if the run is done. An earlier one's would be another thing.
    pub fn last(&self, metric: &str) -> Option<f64> {
        let at = match metric.starts_with("eval/") {
            true => self.models.last()?.0.strip_prefix('M')?.parse().ok()?,
            false => self.rounds,
        };
        match self.state {
            State::Finished => self.points.get(metric)?.get(&at).copied(),
            _ => None,
        }
    }

    /// What it would take to make the run alone: the seconds of its stages, each once, those found in the store as long
    /// as they once took.
    pub fn seconds(&self) -> Option<f64> {
        let mut stages: BTreeMap<&str, f64> = BTreeMap::new();
        for row in &self.timings {
            stages.entry(&row.label).or_insert(row.seconds);
        }
        (!stages.is_empty()).then(|| stages.values().sum())
    }

    /// A field of the config, by its path.
    pub fn field(&self, path: &str) -> Option<&toml::Value> {
        let mut parts = path.split('.');
        let first = self.config.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    fn json<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let parsed = read_text(&self.folder.join(name))
            .and_then(|text| serde_json::from_str(&text).map_err(|e| Error::input(format!("cannot be read: {e}"))));
        parsed.map_err(|e| self.notes.push(format!("{name}: {}", e.message()))).ok()
    }

    fn read_metrics(&mut self) {
        let text = match read_text(&self.folder.join("metrics.jsonl")) {
            Ok(text) => text,
            Err(e) => return self.notes.push(format!("metrics.jsonl: {}", e.message())),
        };
        // Of each round, the values of every step.
        let mut steps: BTreeMap<(String, u32), Vec<f64>> = BTreeMap::new();
        for (i, line) in text.lines().enumerate() {
            let row: Value = match serde_json::from_str(line) {
                Ok(row @ Value::Object(_)) => row,
                _ => {
                    self.notes.push(format!("metrics.jsonl: line {} is no JSON object", i + 1));
                    continue;
                }
            };
            let number = |name: &str| row[name].as_u64().map(|n| n.min(u32::MAX.into()) as u32);
            match row["stage"].as_str() {
                Some(stage @ ("sft" | "train")) => {
                    let round = if stage == "sft" { None } else { number("round") };
                    if let (Some(step), Some(loss)) = (number("step"), row["loss"].as_f64()) {
                        self.losses.entry(round).or_default().insert(step, loss);
                    }
                    let Some(round) = round else { continue };
                    for (name, value) in row.as_object().into_iter().flatten() {
                        if let (false, Some(x)) = (["step", "round"].contains(&name.as_str()), value.as_f64()) {
                            steps.entry((name.clone(), round)).or_default().push(x);
                        }
                    }
                }
                Some("round") => {
                    let Some(round) = number("round") else { continue };
                    self.keep(&row, round, &["round", "stage"]);
                }
                Some("evaluate") => {
                    let model = row["model"].as_str().and_then(|m| m.strip_prefix('M')).and_then(|m| m.parse().ok());
                    let Some(model) = model else { continue };
                    self.keep(&row, model, &["model", "stage"]);
                }
                _ => {}
            }
        }
        for ((name, round), values) in steps {
            // Where training has come to: the last tenth of the steps.
            let last = &values[values.len() - values.len().div_ceil(10)..];
            let mean = last.iter().sum::<f64>() / last.len() as f64;
            self.points.entry(name).or_default().insert(round, mean);
        }
    }

    /// The numbers of a row of results, those of tables within it under joined names.
    fn keep(&mut self, row: &Value, at: u32, not: &[&str]) {
        for (name, value) in row.as_object().into_iter().flatten() {
            match value {
                Value::Number(x) if !not.contains(&name.as_str()) => {
                    let x = x.as_f64().filter(|x| x.is_finite());
                    x.map(|x| self.points.entry(name.clone()).or_default().insert(at, x));
                }
                Value::Object(inner) => {
                    for (key, value) in inner {
                        if let Some(x) = value.as_f64() {
                            self.points.entry(format!("{name}/{key}")).or_default().insert(at, x);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Abstentions and failures over all viewpoints.
    fn add_totals(&mut self) {
        for total in ["abstentions", "judge_failures"] {
            let mut sums = Points::new();
            for (name, points) in &self.points {
                if name.strip_prefix(total).is_some_and(|rest| rest.starts_with('/')) {
                    points.iter().for_each(|(at, x)| *sums.entry(*at).or_default() += x);
                }
            }
            if !sums.is_empty() {
                self.points.insert(total.to_owned(), sums);
            }
        }
    }

    /// Seconds by round, and of these the plugins' where they are known of every stage.
    fn add_times(&mut self) {
        let (mut all, mut plugins) = (Points::new(), BTreeMap::<u32, Option<f64>>::new());
        let mut seen = BTreeSet::new();
        for row in self.timings.iter().filter(|row| seen.insert(&row.label)) {
            // Round t makes M_{t+1}.
            let number = row.model.strip_prefix('M').and_then(|m| m.parse::<u32>().ok());
            let Some(round) = number.and_then(|m| m.checked_sub(1)).filter(|t| *t > 0) else { continue };
            if row.part == "evaluate" {
                continue;
            }
            *all.entry(round).or_default() += row.seconds;
            let sum = plugins.entry(round).or_insert(Some(0.0));
            *sum = sum.zip(row.plugin_seconds).map(|(a, b)| a + b);
        }
        let plugins: Points = plugins.into_iter().filter_map(|(round, sum)| Some((round, sum?))).collect();
        for (name, points) in [("seconds", all), ("plugin_seconds", plugins)] {
            if !points.is_empty() {
                self.points.insert(name.to_owned(), points);
            }
        }
    }
}

fn read_text(path: &Path) -> Result<String> {
    let failed = |e| Error::io("read", path, &e);
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE {
        return Err(Error::input(format!("has {size} bytes, which no run writes")).file(path));
    }
    fs::read_to_string(path).map_err(failed)
}
