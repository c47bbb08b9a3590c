//! `[sweep]`: one file that describes many runs. Everything else in the file is the base, which each arm changes.
//!
//! ```toml
//! [sweep]
//! out = "../.creamery/sweeps/ablation"   # default .creamery/sweeps/NAME in the current directory
//! seeds = [0, 1, 2]                      # every arm with every seed; default: the base's
//! baseline = "srlm-none"                 # the arm that others are compared with; default: the first
//! metric = "sampled"                     # what is compared
//!
//! [sweep.grid]                           # every combination; a field by its path
//! "train.beta" = [0.1, 0.2]
//! regularizer = [
//!     { plugin = "builtin:none" },
//!     { name = "avg", plugin = "builtin:cream", params = { form = "average" } },
//! ]
//!
//! [[sweep.zip]]                          # the lists of one table advance together
//! "train.learning-rate" = [1e-5, 5e-5]
//! "train.epochs" = [2, 1]
//!
//! [[sweep.exclude]]                      # combinations that are left out: by value or by its short name
//! "train.beta" = 0.2
//! regularizer = "avg"
//!
//! [sweep.arms.srlm]                      # named arms: tables as in the file, times the grid
//! judge.params.score = "mean-likelihood"
//! ```
//!
//! **Values.** A value takes the place of what the base has there: a table for `regularizer` replaces that section, so no
//! parameter of another plugin stays. In `[sweep.arms.NAME]` a table is merged into the base's, unless it has a
//! `plugin`: then it replaces it. Longer paths are set after shorter ones.
//!
//! **Names.** An arm is called after its values: arm, grid and zip in the order of the file, joined by `-`. A number or
//! boolean is called after its field (`beta0.1`), a text after itself, a plugin after itself and its parameters
//! (`cream-average`). `name` in a table names it otherwise; `{ name = "low", value = 0.1 }` names any value, and a table
//! that has a field `name` of its own.

mod arms;
mod axes;
mod names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::resolve::{self, ANY, Paths};
use super::section::{Section, nearest};
use super::source::{self, Node, Table, Value, entry};
use super::{RunConfig, SET};
use crate::error::{Error, Result};

/// More arms than this are a mistake in a grid.
pub const MAX_ARMS: usize = 100_000;

/// A sweep, checked: every arm's run is.
#[derive(Clone, Debug)]
pub struct SweepConfig {
    /// The config file.
    pub file: PathBuf,
    /// The base's name.
    pub name: String,
    /// Results: runs are in `out/runs/ARM-seedN`.
    pub out: PathBuf,
    /// The store of all runs.
    pub store: PathBuf,
    /// The name of the arm that others are compared with.
    pub baseline: String,
    pub metric: Metric,
    /// Every arm runs with each of them.
    pub seeds: Vec<u64>,
    /// In the order of the file; their names are unique, also where case does not count.
    pub arms: Vec<ArmConfig>,
}

/// What arms are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Accuracy of the last model's samples on the evaluation rows.
    Sampled,
    /// Accuracy of the last model's greedy answers.
    Greedy,
    /// Ranking accuracy of the last round.
    Ranking,
    /// Mean C of the last round.
    Consistency,
}

/// One arm of a sweep.
#[derive(Clone, Debug)]
pub struct ArmConfig {
    /// A folder's name.
    pub name: String,
    /// What it changes, by the fields' paths, as it is written.
    pub values: Map<String, Json>,
    /// With the base's seed, name and folder.
    pub config: RunConfig,
}

/// One run of a sweep: an arm with a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepRun {
    /// In [`SweepConfig::arms`].
    pub arm: usize,
    pub seed: u64,
}

impl SweepConfig {
    /// Reads and checks a config file with a `[sweep]`. `sets` work on the base, and on `sweep.…`.
    ///
    /// # Errors
    /// As [`RunConfig::load`], for any arm, which is named; and whatever is wrong in `[sweep]`.
    pub fn load(path: &Path, sets: &[String]) -> Result<SweepConfig> {
        let mut base = source::parse(&source::read(path)?, path)?;
        for set in sets {
            source::apply_set(&mut base, &SET, set, path)?;
        }
        let Some(at) = entry(&base, "sweep") else {
            return Err(Error::config("there is no [sweep] in this file, so it describes a single run")
                .file(path)
                .help(format!("use `creamery run {}`, or add [sweep]", path.display())));
        };
        let (_, sweep) = base.remove(at);
        let Value::Table(table) = &sweep.value else {
            let message = format!("`sweep` is {}, expected a table", sweep.value.describe());
            return Err(sweep.origin.error(path, message).help("write [sweep]"));
        };
        read(&base, &sweep, table, path)
    }

    /// Whether the file describes a sweep.
    ///
    /// # Errors
    /// It cannot be read, or is no TOML.
    pub fn is_in(path: &Path) -> Result<bool> {
        Ok(entry(&source::parse(&source::read(path)?, path)?, "sweep").is_some())
    }

    /// All runs: the arms with the first seed, then with the second, …
    pub fn runs(&self) -> Vec<SweepRun> {
        self.seeds.iter().flat_map(|seed| (0..self.arms.len()).map(|arm| SweepRun { arm, seed: *seed })).collect()
    }

    /// `ARM-seedN`, unique.
    pub fn name_of(&self, run: SweepRun) -> String {
        format!("{}-seed{}", self.arms[run.arm].name, run.seed)
    }

    /// The run folder.
    pub fn folder_of(&self, run: SweepRun) -> PathBuf {
        self.out.join("runs").join(self.name_of(run))
    }

    /// What the run does.
    pub fn config_of(&self, run: SweepRun) -> RunConfig {
        let mut config = self.arms[run.arm].config.clone();
        config.seed = run.seed;
        config.name = self.name_of(run);
        config.out = self.folder_of(run);
        config
    }
}

fn read(base: &Table, sweep: &Node, table: &Table, file: &Path) -> Result<SweepConfig> {
    let root = Node { value: Value::Table(table.clone()), origin: sweep.origin.clone() };
    let around: Table = vec![("sweep".to_owned(), root)];
    let section = Section::sweep(&around, file)?;
    if let Some((_, node)) = base.iter().find(|(key, _)| key == "out") {
        let error = node.origin.error(file, "`out` is the folder of a single run, but the file describes a sweep");
        return Err(error.help("write it as `out` of [sweep]; runs go to OUT/runs/ARM-seedN"));
    }
    let paths = Paths::new(file)?;
    let seeds = seeds(&section)?;
    let metric = section.choice(
        "metric",
        &[
            ("sampled", Metric::Sampled),
            ("greedy", Metric::Greedy),
            ("ranking", Metric::Ranking),
            ("consistency", Metric::Consistency),
        ],
        Metric::Sampled,
    )?;
    let axes = axes::read(&section, file)?;
    if axes.is_empty() && seeds.as_ref().is_none_or(|seeds| seeds.len() < 2) {
        return Err(section.origin().error(file, "[sweep] varies nothing").help(
            "give it several seeds, a [sweep.grid], [[sweep.zip]] or [sweep.arms.NAME]; a single run needs no sweep",
        ));
    }
    let arms = arms::expand(base, &axes, arms::excludes(&section, &axes, file)?, &paths)?;
    let first = &arms[0];
    if metric != Metric::Consistency
        && let Some(arm) = arms.iter().find(|arm| arm.config.eval.is_none())
    {
        let message = format!(
            "the arms are compared by \"{}\", which needs `data.eval`, and the arm '{}' has none",
            serde_json::json!(metric).as_str().unwrap_or_default(),
            arm.name
        );
        return Err(section.error("metric", message).help("add eval to [data], or set metric = \"consistency\""));
    }
    let baseline = match section.text("baseline")? {
        None => first.name.clone(),
        Some(name) if arms.iter().any(|arm| arm.name == name) => name.to_owned(),
        Some(name) => {
            let error = section.error("baseline", format!("`sweep.baseline` is {name:?}, but there is no such arm"));
            let names = || arms.iter().map(|arm| arm.name.as_str());
            let some: Vec<&str> = names().take(12).collect();
            let more = if arms.len() > some.len() { ", …" } else { "" };
            return Err(error.help(match nearest(name, names()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("the arms are {}{more}", some.join(", ")),
            }));
        }
    };
    let name = first.config.name.clone();
    let out = match section.text("out")? {
        Some(path) => paths.resolve(path),
        None => paths.here.join(".creamery/sweeps").join(&name),
    };
    Ok(SweepConfig {
        file: file.to_owned(),
        out,
        store: first.config.store.clone(),
        baseline,
        metric,
        seeds: seeds.unwrap_or_else(|| vec![first.config.seed]),
        name,
        arms,
    })
}

/// `None` where they are not given.
fn seeds(section: &Section<'_>) -> Result<Option<Vec<u64>>> {
    let Some(node) = section.get("seeds") else { return Ok(None) };
    let expected = "a list of whole numbers of at least 0, like [0, 1, 2]";
    let Value::Array(items) = &node.value else { return Err(section.wrong("seeds", node, expected)) };
    let mut seeds = Vec::with_capacity(items.len());
    for item in items {
        match item.value {
            Value::Integer(seed) if (0..=ANY as i64).contains(&seed) && !seeds.contains(&(seed as u64)) => {
                seeds.push(seed as u64);
            }
            Value::Integer(seed) if seed >= 0 => {
                return Err(item
                    .origin
                    .error(section.file(), format!("the seed {seed} stands twice in `sweep.seeds`")));
            }
            _ => return Err(section.wrong("seeds", item, expected)),
        }
    }
    if seeds.is_empty() {
        return Err(section.wrong("seeds", node, expected));
    }
    Ok(Some(seeds))
}

/// The resolved form of a base with changes.
fn resolved(base: &Table, sets: &[&axes::Set], paths: &Paths<'_>) -> Result<RunConfig> {
    let mut table = base.clone();
    let mut sets = sets.to_vec();
    sets.sort_by_key(|set| set.path.len());
    for set in sets {
        source::put(&mut table, &set.path, set.value.clone(), &set.value.origin, paths.file)?;
    }
    resolve::resolve_with(&table, paths)
}

/// Names of folders that do not differ on every file system.
type Taken = BTreeMap<String, usize>;
