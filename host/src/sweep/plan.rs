//! What a sweep will do: its runs, what they share, and what that costs.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::json;

use super::Shard;
use super::measure::Measured;
use crate::config::{SweepConfig, SweepRun};
use crate::error::{Error, Result};
use crate::report::{Progress, Table};
use crate::round::foretell::{Foreteller, Foretold};
use crate::store::Shelf;

/// The runs of a sweep, or of one of its shards, and the artifacts that they need.
pub struct Plan {
    pub name: String,
    pub arms: usize,
    pub seeds: usize,
    pub runs: Vec<PlannedRun>,
    /// In the order of a round.
    pub stages: Vec<StageCost>,
    /// Seconds by artifact, where they can be told.
    pub(super) seconds: Vec<Option<f64>>,
    /// By artifact: it is in the store.
    pub(super) made: Vec<bool>,
}

/// A run and what it needs.
pub struct PlannedRun {
    pub run: SweepRun,
    /// `ARM-seedN`
    pub name: String,
    /// The artifacts, by number, in the order of the run.
    pub(super) needs: Vec<usize>,
    /// Another one, and the run has to be done again: names all that it is made of.
    pub(super) fingerprint: String,
}

/// Artifacts of one stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StageCost {
    /// As the store calls it.
    pub stage: String,
    /// For the evaluation's sake.
    pub evaluation: bool,
    /// Artifacts if every run made its own.
    pub separate: usize,
    /// Different ones among them: so many are made.
    pub shared: usize,
    /// In the store already, of the shared ones.
    pub in_store: usize,
    /// Estimates; `None` where nothing like it was measured yet.
    pub separate_seconds: Option<f64>,
    pub shared_seconds: Option<f64>,
    /// Of what is not in the store.
    pub missing_seconds: Option<f64>,
}

impl Plan {
    /// Plans the runs of a shard. Data, models and plugins are read once, and no model is loaded.
    ///
    /// # Errors
    /// What a run would find wrong with its data, plugins and parameters, with the arm's name.
    pub fn make(sweep: &SweepConfig, shard: Shard, progress: &mut Progress) -> Result<Plan> {
        let all = sweep.runs();
        let mut foreteller = Foreteller::new(&sweep.store, progress);
        let mut runs = Vec::new();
        for run in shard.of(&all) {
            let arm = &sweep.arms[run.arm];
            let mut config = arm.config.clone();
            config.seed = run.seed;
            let needs = foreteller.run(&config).map_err(|e| e.context(format!("planning the arm '{}'", arm.name)))?;
            runs.push((*run, needs));
        }
        let artifacts = std::mem::take(&mut foreteller.artifacts);
        let mut kinds: Vec<&'static str> = artifacts.iter().map(|artifact| artifact.stage).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let measured = Measured::of(&Shelf::new(&sweep.store), &kinds);
        let seconds: Vec<Option<f64>> = artifacts.iter().map(|artifact| measured.estimate(artifact)).collect();
        let mut planned = Vec::with_capacity(runs.len());
        for (run, needs) in runs {
            let fingerprint = fingerprint(sweep, run, needs.iter().map(|number| &artifacts[*number]))?;
            planned.push(PlannedRun { run, name: sweep.name_of(run), needs, fingerprint });
        }
        Ok(Plan {
            name: sweep.name.clone(),
            arms: sweep.arms.len(),
            seeds: sweep.seeds.len(),
            stages: costs(&planned, &artifacts, &seconds),
            runs: planned,
            made: artifacts.iter().map(|artifact| artifact.made.is_some()).collect(),
            seconds,
        })
    }

    /// Artifacts: of all runs apart, shared, and of the shared ones in the store.
    pub fn counts(&self) -> (usize, usize, usize) {
        let sum = |of: fn(&StageCost) -> usize| self.stages.iter().map(of).sum();
        (sum(|s| s.separate), sum(|s| s.shared), sum(|s| s.in_store))
    }

    /// Estimated seconds: of all runs apart, shared, and of what is missing. Without stages that nothing is known of.
    pub fn seconds(&self) -> (f64, f64, f64) {
        let sum = |of: fn(&StageCost) -> Option<f64>| {
            self.stages.iter().filter_map(of).fold(0.0, |sum, seconds| sum + seconds)
        };
        (sum(|s| s.separate_seconds), sum(|s| s.shared_seconds), sum(|s| s.missing_seconds))
    }

    /// Stages of which nothing is known.
    pub fn unmeasured(&self) -> Vec<&str> {
        let unknown = self.stages.iter().filter(|stage| stage.separate_seconds.is_none());
        let mut names: Vec<&str> = Vec::new();
        for stage in unknown {
            if !names.contains(&stage.stage.as_str()) {
                names.push(&stage.stage);
            }
        }
        names
    }

    /// What the sweep costs of all runs apart: in seconds if every stage was measured, else in artifacts.
    pub fn ratio(&self) -> f64 {
        let (separate, shared) = match self.unmeasured().is_empty() {
            true => (self.seconds().0, self.seconds().1),
            false => (self.counts().0 as f64, self.counts().1 as f64),
        };
        if separate > 0.0 { shared / separate } else { 1.0 }
    }

    pub fn json(&self) -> serde_json::Value {
        let ((separate, shared, in_store), (alone, together, missing)) = (self.counts(), self.seconds());
        json!({
            "name": self.name, "arms": self.arms, "seeds": self.seeds, "runs": self.runs.len(),
            "artifacts": {"separate": separate, "shared": shared, "in-store": in_store},
            "seconds": {"separate": alone, "shared": together, "missing": missing},
            "ratio": self.ratio(), "unmeasured": self.unmeasured(), "stages": self.stages,
            "names": self.runs.iter().map(|run| &run.name).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let header = ["stage", "apart", "shared", "in store", "s apart", "s shared", "s to do"];
        let mut table = Table::new(&header);
        let seconds = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"));
        for stage in &self.stages {
            let name = format!("{}{}", stage.stage, if stage.evaluation { ", for evaluation" } else { "" });
            table.row([
                name,
                stage.separate.to_string(),
                stage.shared.to_string(),
                stage.in_store.to_string(),
                seconds(stage.separate_seconds),
                seconds(stage.shared_seconds),
                seconds(stage.missing_seconds),
            ]);
        }
        let ((separate, shared, in_store), (alone, together, missing)) = (self.counts(), self.seconds());
        let counts = [separate, shared, in_store].map(|n| n.to_string());
        let unmeasured = self.unmeasured();
        let known = self.stages.iter().any(|stage| stage.separate_seconds.is_some());
        let sums = [alone, together, missing].map(|sum| seconds(known.then_some(sum)));
        table.row(std::iter::once("all".to_owned()).chain(counts).chain(sums));
        let measure = match unmeasured.is_empty() {
            true => "time that they would take apart".to_owned(),
            false => {
                format!("artifacts that they would need apart; no seconds are known yet of {}", unmeasured.join(", "))
            }
        };
        format!(
            "{}: {} arms, {} seeds, {} runs here\n\n{}\nthe runs share: {:.0} % of the {measure}\n",
            self.name,
            self.arms,
            self.seeds,
            self.runs.len(),
            table.render(),
            100.0 * self.ratio(),
        )
    }
}

/// Where rows come from, in the order of a round.
const ORDER: [&str; 9] =
    ["sft", "ema", "sample", "judge", "rank", "regularize", "train", "evaluate", "ranking-accuracy"];

fn costs(runs: &[PlannedRun], artifacts: &[Foretold], seconds: &[Option<f64>]) -> Vec<StageCost> {
    let mut by_stage: BTreeMap<(bool, usize, &str), StageCost> = BTreeMap::new();
    let mut seen = HashSet::new();
    let add = |sum: &mut Option<f64>, seconds: Option<f64>| *sum = sum.zip(seconds).map(|(a, b)| a + b);
    for number in runs.iter().flat_map(|run| &run.needs) {
        let Foretold { stage, part, made, .. } = &artifacts[*number];
        let evaluation = *part == "evaluate";
        let place = ORDER.iter().position(|name| name == stage).unwrap_or(ORDER.len());
        let cost = by_stage.entry((evaluation, place, stage)).or_insert_with(|| StageCost {
            stage: stage.to_string(),
            evaluation,
            separate_seconds: Some(0.0),
            shared_seconds: Some(0.0),
            missing_seconds: Some(0.0),
            ..StageCost::default()
        });
        cost.separate += 1;
        add(&mut cost.separate_seconds, seconds[*number]);
        if seen.insert(*number) {
            cost.shared += 1;
            add(&mut cost.shared_seconds, seconds[*number]);
            match made {
                Some(_) => cost.in_store += 1,
                None => add(&mut cost.missing_seconds, seconds[*number]),
            }
        }
    }
    by_stage.into_values().collect()
}

fn fingerprint<'a>(sweep: &SweepConfig, run: SweepRun, needs: impl Iterator<Item = &'a Foretold>) -> Result<String> {
    let mut hasher = blake3::Hasher::new_derive_key("creamery 1.0 run of a sweep");
    let config = serde_json::to_vec(&sweep.config_of(run));
    let wrong =
        |e: serde_json::Error| Error::config(format!("a run's config cannot be written: {e}")).file(&sweep.file);
    hasher.update(&config.map_err(wrong)?);
    for artifact in needs {
        hasher.update(artifact.name.as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}
