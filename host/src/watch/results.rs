//! The results in a run folder, as far as there are any. Every field may be missing: other versions write others.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::files;
use crate::report::live::{StageRecord, StageState};

/// Far above what a run writes; summaries grow with rounds, metrics with steps.
const MAX_SUMMARY: u64 = 16 << 20;
const MAX_METRICS: u64 = 64 << 20;
/// Points of a curve: more than any screen shows.
const MAX_POINTS: usize = 2000;
const MAX_CURVES: usize = 400;
const METRICS: [&str; 4] = ["loss", "rewards/margins", "rewards/accuracies", "grad_norm"];

/// What the finished rounds have left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// There was something.
    pub any: bool,
    pub name: Option<String>,
    pub seed: Option<u64>,
    pub models: Vec<ModelRow>,
    pub curves: Vec<TrainingCurve>,
    pub stages: Vec<StageRecord>,
    pub unreadable: Vec<String>,
}

/// A model, and the round that made it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelRow {
    pub name: String,
    pub pairs: Option<u64>,
    /// Mean C.
    pub consistency: Option<f64>,
    /// Share of pairs, and its standard error.
    pub ranking_accuracy: Option<(f64, f64)>,
    pub sampled_accuracy: Option<(f64, f64)>,
    pub greedy_accuracy: Option<(f64, f64)>,
    pub abstentions: Option<u64>,
    pub first_loss: Option<f64>,
    pub last_loss: Option<f64>,
}

/// A metric of one training by step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrainingCurve {
    /// "sft", "round 1: train"
    pub stage: String,
    /// "loss", "rewards/margins"
    pub metric: String,
    pub points: Vec<(u64, f64)>,
}

impl TrainingCurve {
    pub fn new(stage: String, metric: String, points: Vec<(u64, f64)>) -> TrainingCurve {
        TrainingCurve { stage, metric, points }
    }
}

impl Results {
    /// The files that decide what [`Results::read`] gives.
    pub const FILES: [&str; 3] = ["summary.json", "metrics.jsonl", "timings.json"];

    pub fn read(folder: &Path) -> Results {
        let mut results = Results::default();
        let [summary, metrics, timings] = Results::FILES.map(|name| folder.join(name));
        match files::json::<Value>(&summary, MAX_SUMMARY) {
            Ok(Some(summary)) => results.take_summary(&summary),
            Ok(None) => {}
            Err(e) => results.unreadable.push(e),
        }
        match files::lines(&metrics, MAX_METRICS, |row| results.take_metrics(&row)) {
            Ok(found) => results.any |= found,
            Err(e) => results.unreadable.push(e),
        }
        match files::json::<Value>(&timings, MAX_SUMMARY) {
            Ok(Some(timings)) => results.take_timings(&timings),
            Ok(None) => {}
            Err(e) => results.unreadable.push(e),
        }
        results
    }

    fn take_summary(&mut self, summary: &Value) {
        self.any = true;
        self.name = text(&summary["name"]);
        self.seed = summary["seed"].as_u64();
        let none = Vec::new();
        let (models, rounds) = (summary["models"].as_array(), summary["rounds"].as_array());
        let (models, rounds) = (models.unwrap_or(&none), rounds.unwrap_or(&none));
        // The last models are those of the rounds.
        let first = models.len().saturating_sub(rounds.len());
        for (i, model) in models.iter().enumerate() {
            let round = i.checked_sub(first).and_then(|r| rounds.get(r)).unwrap_or(&Value::Null);
            let pair = |of: &Value, value: &str, error: &str| Some((of[value].as_f64()?, of[error].as_f64()?));
            let (accuracy, ranking) = (&model["accuracy"], &round["ranking_accuracy"]);
            let judging = round["judging"].as_object();
            self.models.push(ModelRow {
                name: text(&model["name"]).unwrap_or_else(|| format!("M{i}")),
                pairs: round["pairs"].as_u64(),
                consistency: round["consistency"].as_f64(),
                ranking_accuracy: pair(ranking, "accuracy", "error"),
                sampled_accuracy: pair(accuracy, "sampled", "sampled_error"),
                greedy_accuracy: pair(accuracy, "greedy", "greedy_error"),
                abstentions: judging
                    .map(|by| by.values().filter_map(|j| j["abstentions"].as_u64()).fold(0, u64::saturating_add)),
                first_loss: round["first_loss"].as_f64(),
                last_loss: round["last_loss"].as_f64(),
            });
        }
    }

    fn take_metrics(&mut self, row: &Value) {
        let stage = match row["stage"].as_str() {
            Some("sft") => "sft".to_owned(),
            Some("train") => format!("round {}: train", row["round"].as_u64().unwrap_or(0)),
            _ => return,
        };
        let Some(step) = row["step"].as_u64() else { return };
        for metric in METRICS {
            let Some(value) = row[metric].as_f64() else { continue };
            let known = self.curves.iter().rposition(|c| c.stage == stage && c.metric == metric);
            let at = match known {
                Some(at) => at,
                None if self.curves.len() >= MAX_CURVES => continue,
                None => {
                    self.curves.push(TrainingCurve::new(stage.clone(), metric.to_owned(), Vec::new()));
                    self.curves.len() - 1
                }
            };
            let points = &mut self.curves[at].points;
            points.push((step, value));
            if points.len() >= 2 * MAX_POINTS {
                // The last one stays.
                let mut odd = true;
                points.retain(|_| {
                    odd = !odd;
                    odd
                });
            }
        }
    }

    fn take_timings(&mut self, timings: &Value) {
        for row in timings.as_array().into_iter().flatten() {
            let Some(label) = text(&row["label"]) else { continue };
            let state = if row["reused"].as_bool() == Some(true) { StageState::Reused } else { StageState::Done };
            let seconds = row["seconds"].as_f64().unwrap_or(0.0);
            self.stages.push(StageRecord { label, state, seconds, ..StageRecord::default() });
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
