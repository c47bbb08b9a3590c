//! What a run found: the tables, `metrics.jsonl` and the checkpoints in the run folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use creamery_plugin::RoundRecord;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::dpo::{StepRow, Trained};
use super::evaluate::{Accuracy, Agreement, Preferences, RankingAccuracy};
use super::judge::{JudgeCounts, Scores};
use super::models::ModelRef;
use super::rank::{RankCounts, Ranking};
use super::regularize::{LabelCounts, Labels};
use super::sample::Samples;
use super::setup::{Run, Timing};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::model::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};
use crate::plugins::PluginInfo;
use crate::report::{EventWriter, Table};
use crate::store::{copy_atomic, write_atomic};

#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    pub name: String,
    pub seed: u64,
    /// M0, M1, …
    pub models: Vec<ModelSummary>,
    pub rounds: Vec<RoundSummary>,
    /// Of supervised fine-tuning.
    #[serde(skip)]
    pub sft_steps: Vec<StepRow>,
    #[serde(skip)]
    pub timings: Vec<Timing>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ModelSummary {
    pub name: String,
    pub id: String,
    #[serde(skip)]
    pub path: PathBuf,
    pub accuracy: Option<Accuracy>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RoundSummary {
    /// From 1; round t makes M_{t+1} of M_t.
    pub round: usize,
    pub pairs: usize,
    /// Mean C, as the regularizer reports it.
    pub consistency: Option<f64>,
    pub ranking_accuracy: Option<RankingAccuracy>,
    pub ranking: RankCounts,
    pub labels: LabelCounts,
    /// By viewpoint.
    pub judging: BTreeMap<String, JudgeCounts>,
    /// By viewpoint; empty without evaluation rows.
    pub agreement: BTreeMap<String, Agreement>,
    /// The viewpoints in the config's order.
    #[serde(skip)]
    viewpoints: Vec<String>,
    pub mean_response_tokens: f64,
    pub first_loss: f64,
    pub last_loss: f64,
    #[serde(skip)]
    steps: Vec<StepRow>,
}

/// Puts together what the stages of round `t` left.
pub fn round(
    t: usize,
    samples: &Samples,
    scores: &[Scores],
    ranking: &Ranking,
    labels: &Labels,
    trained: &Trained,
    quality: Option<Preferences>,
) -> Result<RoundSummary> {
    let (steps, labels) = (trained.steps()?, labels.counts()?);
    let (ranking_accuracy, agreement) = quality.map(|q| (q.ranking, q.agreement)).unzip();
    let sampled = samples.read()?;
    let own = sampled.iter().flat_map(|g| &g.responses).filter(|r| r.source.is_none());
    let lengths: Vec<usize> = own.map(|r| r.ids.len()).collect();
    let loss = |step: Option<&StepRow>| step.and_then(|s| s.get("loss")).and_then(Value::as_f64).unwrap_or(f64::NAN);
    Ok(RoundSummary {
        round: t,
        pairs: labels.pairs,
        consistency: labels.metrics.iter().find(|m| m.name == "consistency").map(|m| m.value),
        ranking_accuracy: ranking_accuracy.filter(|r: &RankingAccuracy| r.pairs > 0),
        ranking: ranking.counts()?,
        labels,
        judging: scores.iter().map(|s| Ok((s.viewpoint.clone(), s.counts()?))).collect::<Result<_>>()?,
        agreement: agreement.unwrap_or_default(),
        viewpoints: scores.iter().map(|s| s.viewpoint.clone()).collect(),
        mean_response_tokens: lengths.iter().sum::<usize>() as f64 / lengths.len().max(1) as f64,
        first_loss: loss(steps.first()),
        last_loss: loss(steps.last()),
        steps,
    })
}

impl RoundSummary {
    /// What later rounds' regularizers see of this one.
    pub fn record(&self) -> RoundRecord {
        self.labels.record(self.round)
    }

    /// The entries of a map by viewpoint, in the config's order.
    fn by_viewpoint<'a, T>(&'a self, map: &'a BTreeMap<String, T>) -> impl Iterator<Item = (&'a str, &'a T)> {
        self.viewpoints.iter().filter_map(|name| Some((name.as_str(), map.get(name)?)))
    }

    /// Groups and pairs that were not used.
    pub fn drops(&self) -> usize {
        let of = |reasons: &BTreeMap<String, usize>| reasons.values().sum::<usize>();
        of(&self.ranking.dropped) + self.ranking.too_long + of(&self.labels.dropped)
    }

    /// Responses without a score, over all viewpoints.
    pub fn abstentions(&self) -> usize {
        self.judging.values().map(|j| j.abstentions).sum()
    }

    fn metrics(&self) -> Value {
        // The plugin's metrics first: they never replace the host's.
        let mut row = Value::Object(self.labels.metrics.iter().map(|m| (m.name.clone(), json!(m.value))).collect());
        row["round"] = self.round.into();
        row["stage"] = "round".into();
        row["pairs"] = self.pairs.into();
        row["drops"] = self.drops().into();
        if let Some(judge) = &self.labels.judge_pairs {
            row["judge_pairs"] = judge.pairs.into();
            row["judge_pairs_too_long"] = judge.too_long.into();
        }
        row["completions/mean_length"] = self.mean_response_tokens.into();
        for (viewpoint, counts) in &self.judging {
            row[format!("abstentions/{viewpoint}")] = counts.abstentions.into();
            row[format!("judge_failures/{viewpoint}")] = counts.failed_groups.into();
            for (name, measure) in &counts.measures {
                row[format!("judge/{name}/{viewpoint}")] = json!(measure.mean());
            }
        }
        for (viewpoint, agreement) in &self.agreement {
            row[format!("agreement_pairs/{viewpoint}")] = agreement.pairs.into();
            row[format!("agreement_unscored/{viewpoint}")] = json!(agreement.unscored);
            if agreement.pairs > 0 {
                row[format!("agreement/{viewpoint}")] = json!(agreement.agreement);
                row[format!("agreement_stderr/{viewpoint}")] = json!(agreement.error);
            }
        }
        if let Some(ranking) = &self.ranking_accuracy {
            row["ranking_accuracy"] = json!(ranking.accuracy);
            row["ranking_accuracy_stderr"] = json!(ranking.error);
            row["ranking_accuracy_pairs"] = json!(ranking.pairs);
        }
        row
    }
}

impl RunSummary {
    pub fn new(config: &RunConfig) -> Self {
        let (models, rounds, timings) = (Vec::new(), Vec::new(), Vec::new());
        RunSummary { name: config.name.clone(), seed: config.seed, models, rounds, sft_steps: Vec::new(), timings }
    }

    /// Writes the run folder as far as the run has come.
    pub fn write(&mut self, run: &Run) -> Result<()> {
        let out = &run.config.out;
        std::fs::create_dir_all(out).map_err(|e| Error::io("create", out, &e))?;
        self.timings = run.timings.clone();
        let put = |name: &str, text: String| write_atomic(out.join(name), text.as_bytes());
        put("config.resolved.toml", run.config.to_toml()?)?;
        put("metrics.jsonl", self.metrics_jsonl()?)?;
        put("table.txt", self.tables().join("\n"))?;
        put("summary.json", pretty(self)?)?;
        put("artifacts.json", pretty(&run.artifacts)?)?;
        put("timings.json", pretty(&self.timings)?)?;
        let judges = run.judges.iter().map(|judge| (judge.part.as_str(), judge.plugin.info()));
        let others = [("ranker", run.ranker.info()), ("regularizer", run.regularizer.info())];
        let others = others.into_iter().chain(run.objective.iter().map(|plugin| ("objective", plugin.info())));
        put("plugins.json", pretty(&judges.chain(others).map(plugin_row).collect::<Vec<_>>())?)?;
        self.write_events(&out.join("tensorboard"))?;
        remove_checkpoints_from(out, self.models.len())?;
        for model in self.models.iter().filter(|m| m.path != run.initial.path) {
            copy_checkpoint(&model.path, &out.join(&model.name), &run.initial)?;
        }
        Ok(())
    }

    /// The training steps of each model as TensorBoard's scalars, a folder a model.
    fn write_events(&self, folder: &Path) -> Result<()> {
        let first = self.models.len() - self.rounds.len();
        let by_round = self.rounds.iter().zip(&self.models[first..]).map(|(round, model)| (&*model.name, &round.steps));
        for (name, steps) in std::iter::once(("M1", &self.sft_steps)).chain(by_round) {
            if steps.is_empty() {
                continue;
            }
            let mut events = EventWriter::create(&folder.join(name))?;
            for row in steps {
                let number = row.get("step").and_then(Value::as_u64).unwrap_or(0) as usize;
                let values = row.iter().filter(|(name, _)| *name != "step");
                let tagged: Vec<(String, f64)> =
                    values.filter_map(|(name, x)| Some((format!("train/{name}"), x.as_f64()?))).collect();
                events.scalars(number, tagged.iter().map(|(tag, x)| (tag.as_str(), *x)))?;
            }
        }
        Ok(())
    }

    /// The training steps and the results of every round, one JSON object a line.
    fn metrics_jsonl(&self) -> Result<String> {
        let mut rows: Vec<Value> = self.sft_steps.iter().map(|step| step_row("sft", step)).collect();
        for (i, model) in self.models.iter().enumerate() {
            if let Some(round) = i.checked_sub(self.models.len() - self.rounds.len()).map(|r| &self.rounds[r]) {
                for step in &round.steps {
                    let mut row = step_row("train", step);
                    row["round"] = round.round.into();
                    rows.push(row);
                }
                rows.push(round.metrics());
            }
            if let Some(accuracy) = &model.accuracy {
                let mut row = json!({"stage": "evaluate", "model": model.name});
                for (name, value) in as_map(accuracy)? {
                    row[format!("eval/{name}")] = value;
                }
                rows.push(row);
            }
        }
        Ok(rows.into_iter().map(|row| row.to_string() + "\n").collect())
    }

    /// One line per model: how it was made, and how good it is.
    pub fn table(&self) -> String {
        // Only judges that report pairs of judgments have that column.
        let judges = self.rounds.iter().any(|round| round.labels.judge_pairs.is_some());
        let mut columns = vec![
            "model",
            "pairs",
            "consistency",
            "ranking acc.",
            "sampled acc.",
            "greedy acc.",
            "drops",
            "abstentions",
            "loss",
        ];
        if judges {
            columns.insert(2, "judge pairs");
        }
        let mut table = Table::new(&columns);
        let made_by = |i: usize| i.checked_sub(self.models.len() - self.rounds.len()).map(|r| &self.rounds[r]);
        for (i, model) in self.models.iter().enumerate() {
            let round = made_by(i);
            let of = |f: &dyn Fn(&RoundSummary) -> Option<String>| round.and_then(f).unwrap_or_else(|| "–".into());
            let accuracy = |f: &dyn Fn(&Accuracy) -> (f64, f64)| {
                model
                    .accuracy
                    .as_ref()
                    .map(f)
                    .map_or_else(|| "–".into(), |(value, error)| format!("{value:.3} ± {error:.3}"))
            };
            let mut row = vec![
                model.name.clone(),
                of(&|r| Some(r.pairs.to_string())),
                of(&|r| r.consistency.map(|c| format!("{c:.3}"))),
                of(&|r| r.ranking_accuracy.as_ref().map(|a| format!("{:.3} ± {:.3}", a.accuracy, a.error))),
                accuracy(&|a| (a.sampled, a.sampled_error)),
                accuracy(&|a| (a.greedy, a.greedy_error)),
                of(&|r| Some(r.drops().to_string())),
                of(&|r| Some(r.abstentions().to_string())),
                of(&|r| Some(format!("{:.4} → {:.4}", r.first_loss, r.last_loss))),
            ];
            if judges {
                let pairs = |r: &RoundSummary| r.labels.judge_pairs.as_ref().map(|judge| judge.pairs.to_string());
                row.insert(2, of(&pairs));
            }
            table.row(row);
        }
        table.render()
    }

    /// All tables of results, without those that would be empty.
    pub fn tables(&self) -> Vec<String> {
        let tables =
            [self.table(), self.abstention_table(), self.agreement_table(), self.measure_table(), self.task_table()];
        tables.into_iter().filter(|table| !table.is_empty()).collect()
    }

    /// Why responses have no score, by round: the most frequent reasons of each viewpoint; empty if all have one.
    pub fn abstention_table(&self) -> String {
        let mut table = Table::new(&["no score because", "judging", "viewpoint", "responses"]);
        let mut rows = 0;
        for round in &self.rounds {
            for (viewpoint, counts) in round.by_viewpoint(&round.judging) {
                let mut reasons: Vec<_> = counts.reasons.iter().collect();
                reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), *reason));
                let others: usize = reasons.iter().skip(REASONS).map(|(_, count)| **count).sum();
                let mut row = |reason: &str, count: usize| {
                    let shown: String = reason.chars().take(MAX_REASON).collect();
                    let cut = if shown.len() < reason.len() { "…" } else { "" };
                    table.row([shown + cut, format!("M{}", round.round), viewpoint.to_owned(), count.to_string()]);
                    rows += 1;
                };
                reasons.iter().take(REASONS).for_each(|(reason, count)| row(reason, **count));
                if others > 0 {
                    row("other reasons", others);
                }
            }
        }
        if rows > 0 { table.render() } else { String::new() }
    }

    /// How well each viewpoint's scores tell right responses from wrong ones, by round; empty without evaluation rows.
    pub fn agreement_table(&self) -> String {
        let mut table = Table::new(&["judging", "viewpoint", "agreement", "pairs", "no score"]);
        let mut rows = 0;
        for round in &self.rounds {
            for (viewpoint, a) in round.by_viewpoint(&round.agreement) {
                let share = match a.pairs {
                    0 => "–".to_owned(),
                    _ => format!("{:.3} ± {:.3}", a.agreement, a.error),
                };
                let unscored = format!("{:.3}", a.unscored);
                table.row([format!("M{}", round.round), viewpoint.to_owned(), share, a.pairs.to_string(), unscored]);
                rows += 1;
            }
        }
        if rows > 0 { table.render() } else { String::new() }
    }

    /// What the judges measured themselves, by round; empty if they measured nothing.
    pub fn measure_table(&self) -> String {
        let mut table = Table::new(&["judging", "viewpoint", "measure", "mean", "of"]);
        let mut rows = 0;
        for round in &self.rounds {
            for (viewpoint, counts) in round.by_viewpoint(&round.judging) {
                for (name, measure) in &counts.measures {
                    let mean = measure.mean().map_or_else(|| "–".to_owned(), |mean| format!("{mean:.3}"));
                    let model = format!("M{}", round.round);
                    table.row([model, viewpoint.to_owned(), name.clone(), mean, measure.count.to_string()]);
                    rows += 1;
                }
            }
        }
        if rows > 0 { table.render() } else { String::new() }
    }

    /// Sampled accuracy by task; empty if no evaluation row names one.
    pub fn task_table(&self) -> String {
        let accuracies: Vec<_> = self.models.iter().filter_map(|m| Some((&m.name, m.accuracy.as_ref()?))).collect();
        let Some((_, first)) = accuracies.first().filter(|(_, a)| !a.by_task.is_empty()) else { return String::new() };
        let header: Vec<&str> =
            std::iter::once("sampled acc.").chain(first.by_task.keys().map(String::as_str)).collect();
        let mut table = Table::new(&header);
        for (name, accuracy) in accuracies {
            let cells = accuracy.by_task.values().map(|share| format!("{share:.3}"));
            table.row(std::iter::once(name.to_string()).chain(cells));
        }
        table.render()
    }

    /// Seconds by model and stage. What was found in the store counts as nothing; a dash where there was no work.
    pub fn timing_table(&self) -> String {
        let shown = |part: &&str| *part != "ema" || self.timings.iter().any(|t| t.part == "ema");
        let parts: Vec<&str> = PARTS.into_iter().filter(shown).collect();
        let mut table = Table::new(&[&["seconds"], parts.as_slice(), &["total"]].concat());
        let seconds = |of: &dyn Fn(&Timing) -> bool| -> String {
            let made = self.timings.iter().filter(|t| !t.reused && of(t)).map(|t| t.seconds);
            made.reduce(|a, b| a + b).map_or_else(|| "–".into(), |sum| format!("{sum:.2}"))
        };
        let mut models: Vec<&str> = self.timings.iter().map(|t| t.model.as_str()).collect();
        models.sort_unstable_by_key(|m| (m.len(), *m));
        models.dedup();
        for model in models {
            let parts = parts.iter().map(|part| seconds(&|t| t.model == model && t.part == *part));
            let total = seconds(&|t| t.model == model);
            table.row([model.to_owned()].into_iter().chain(parts).chain([total]));
        }
        let parts = parts.iter().map(|part| seconds(&|t| t.part == *part));
        table.row(["all".to_owned()].into_iter().chain(parts).chain([seconds(&|_| true)]));
        table.render()
    }
}

/// Of a viewpoint's reasons for abstentions, so many are shown, each with so many characters.
const REASONS: usize = 5;
const MAX_REASON: usize = 120;

/// The stages, in the order of a round.
const PARTS: [&str; 8] = ["sft", "ema", "sample", "judge", "rank", "regularize", "train", "evaluate"];

/// A training step as a row of `metrics.jsonl`.
fn step_row(stage: &str, step: &StepRow) -> Value {
    let mut row = json!({"stage": stage});
    for (name, value) in step {
        row[name] = value.clone();
    }
    row
}

/// What a reader needs to know which plugin ran.
fn plugin_row((part, info): (&str, &PluginInfo)) -> Value {
    let d = &info.descriptor;
    json!({
        "part": part,
        "name": d.name, "kind": d.kind.to_string(), "version": d.version, "artifact": info.artifact().to_string(),
        "digest": info.digest, "params": info.params,
    })
}

fn as_map<T: Serialize>(value: &T) -> Result<Map<String, Value>> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::run("a metric is not a JSON object")),
        Err(e) => Err(Error::run(format!("a metric cannot be written as JSON: {e}"))),
    }
}

fn pretty<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    Ok(text.map_err(|e| Error::run(format!("a result cannot be written as JSON: {e}")))? + "\n")
}

/// Removes the checkpoints M`first` and later of an earlier, longer run in the same folder.
fn remove_checkpoints_from(out: &Path, first: usize) -> Result<()> {
    let mut number = first;
    loop {
        let folder = out.join(format!("M{number}"));
        let weights = ["model.safetensors", "model.safetensors.index.json", ADAPTER_WEIGHTS];
        if !weights.iter().any(|name| folder.join(name).is_file()) {
            return Ok(());
        }
        std::fs::remove_dir_all(&folder).map_err(|e| Error::io("remove", &folder, &e))?;
        number += 1;
    }
}

/// Copies a checkpoint file by file, each atomically, unless it is there already with the same bytes. An adapter names
/// the base where this run found it.
fn copy_checkpoint(from: &Path, to: &Path, base: &ModelRef) -> Result<()> {
    std::fs::create_dir_all(to).map_err(|e| Error::io("create", to, &e))?;
    let files = |folder: &Path| -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(folder).map_err(|e| Error::io("read", folder, &e))?;
        entries.map(|entry| entry.map(|e| e.path()).map_err(|e| Error::io("read", folder, &e))).collect()
    };
    for source in files(from)? {
        let Some(name) = source.file_name() else { continue };
        // More chat templates.
        if source.is_dir() {
            copy_checkpoint(&source, &to.join(name), base)?;
            continue;
        }
        let target = to.join(name);
        if name != ADAPTER_CONFIG {
            copy_atomic(&source, &target)?;
            continue;
        }
        let settings = std::fs::read(&source).map_err(|e| Error::io("read", &source, &e))?;
        let settings = with_base(&settings, &base.place()?).map_err(|e| e.file(&source))?;
        if std::fs::read(&target).ok().as_deref() != Some(&settings) {
            write_atomic(&target, &settings)?;
        }
    }
    // Weights, settings and templates of an earlier run, of another kind, would be taken for this one's.
    for stale in files(to)? {
        let name = stale.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let endings = [".safetensors", "index.json", "config.json", ".jinja"];
        let decides = endings.iter().any(|ending| name.ends_with(ending)) && stale.is_file();
        if decides && !from.join(name).exists() {
            std::fs::remove_file(&stale).map_err(|e| Error::io("remove", &stale, &e))?;
        }
    }
    Ok(())
}

/// An adapter's settings, with another place of its base.
fn with_base(settings: &[u8], base: &str) -> Result<Vec<u8>> {
    let mut settings: Value =
        serde_json::from_slice(settings).map_err(|e| Error::run(format!("not valid JSON: {e}")))?;
    settings["base_model_name_or_path"] = base.into();
    Ok(format!("{settings:#}\n").into_bytes())
}
