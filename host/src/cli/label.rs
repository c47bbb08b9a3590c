//! `creamery label`

use std::path::{Path, PathBuf};

use clap::Args;
use creamery_plugin::RoundRecord;
use creamery_plugin::contract::MAX_WEIGHT;
use serde::Deserialize;

use super::plugin_args::{ObjectiveArgs, PluginArgs};
use super::stage::OutArgs;
use crate::data::Lines;
use crate::error::{Error, Result};
use crate::plugins;
use crate::round::exchange::{CURRENT, GroupFile};
use crate::round::groups::reasons;
use crate::round::judge::JudgmentRow;
use crate::round::regularize::{Judged, Labellers};

const EXAMPLES: &str = r#"Rows: what `creamery rank` writes.

Result, one line a pair; `creamery train dpo` and TRL's DPOTrainer read it:
  {"id", "prompt": [messages], "chosen": [message], "rejected": [message],
   "consistency": 0.9, "weight": 1.0,                   C, and the ranker's weight times the regularizer's
   "group", "chosen_index", "rejected_index",           where the pair comes from
   "prompt_ids", "chosen_ids", "rejected_ids",          the sampled tokens, so that nothing is tokenized again
   "columns": {"target": 0.5},                          if the objective needs more numbers
   "role": "actor"}                                     with --judgments, whose pairs have the role "judge", and C = 1

Examples:
  creamery label --groups out/compared.jsonl --out out/pairs.jsonl
  creamery label --plugin builtin:cream --param form=sample --groups out/compared.jsonl --record out/round-1.jsonl \
    --out out/pairs-sample.jsonl
  creamery label --plugin builtin:none --groups out/ranking.jsonl --history out/round-1.jsonl --round 2"#;

/// Preference pairs with a confidence C, by a regularizer plugin; no model is needed
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Label {
    /// JSON Lines of groups with scores, ranks and pairs
    #[arg(long, value_name = "FILE")]
    groups: PathBuf,
    /// What --record wrote in earlier rounds, a line a round, for regularizers that look back
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Write this round's record, with the regularizer's metrics, to this file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Preference pairs of judgments, which join the pairs of responses: what `creamery judge --judgments` wrote; those
    /// of the viewpoint "current"
    #[arg(long, value_name = "FILE")]
    judgments: Option<PathBuf>,
    /// Pairs of judgments with more tokens, prompt and judgment together, are left out and counted
    #[arg(long, value_name = "TOKENS", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(2..))]
    max_length: u32,
    /// The round that the regularizer is told, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    round: u32,
    #[command(flatten)]
    plugin: PluginArgs,
    #[command(flatten)]
    objective: ObjectiveArgs,
    #[command(flatten)]
    out: OutArgs,
}

impl Label {
    pub(super) fn run(self) -> Result<()> {
        let file = GroupFile::read(&self.groups)?;
        let scores = file.scores()?;
        let ranking = file.ranking(&scores)?;
        let history = self.history.as_deref().map_or(Ok(Vec::new()), |path| read_history(path, self.round))?;
        let judgments = self.judgments.as_deref().map_or(Ok(Vec::new()), read_judgments)?;
        let mut progress = self.out.progress();
        let mut regularizer =
            self.plugin.load((plugins::Kind::Regularizer, plugins::load_regularizer), "builtin:cream", 1, &progress)?;
        let mut objective = self.objective.load(self.plugin.trust(), &progress)?;
        let others = self.history.iter().chain(&self.record).chain(&self.judgments);
        let others: Vec<&Path> = others.map(PathBuf::as_path).collect();
        let out = self.out.open(&[&[self.groups.as_path()], others.as_slice()].concat())?;
        let plugins = Labellers {
            regularizer: &mut *regularizer,
            objective: objective.as_mut().map(|plugin| &mut **plugin as _),
        };
        let groups = Judged { sampled: &file.sampled, scored: &scores, ranked: &ranking, judgments: &judgments };
        let (pairs, counts) = plugins
            .label(self.round as usize, history, &groups, self.max_length as usize)
            .map_err(|e| e.file(&self.groups))?;
        if let Some(path) = &self.record {
            let metrics = counts.metrics.clone();
            let record = RoundRecord { round: self.round, pairs: counts.pairs as u32, metrics };
            crate::round::write_record(path, &record)?;
        }
        let dropped: usize = counts.dropped.values().sum();
        let mut line = format!("{} pairs, {dropped} dropped", counts.pairs);
        if dropped > 0 {
            line += &format!(" ({})", reasons(&counts.dropped));
        }
        if let Some(judge) = &counts.judge_pairs {
            line +=
                &format!("; {} pairs of judgments, {} over {} tokens", judge.pairs, judge.too_long, self.max_length);
        }
        for metric in &counts.metrics {
            line += &format!("; {} {:.4}", metric.name, metric.value);
        }
        progress.line(&line);
        out.write_all(pairs)
    }
}

/// A line of `creamery judge --judgments`.
#[derive(Deserialize)]
struct JudgmentLine {
    viewpoint: Option<String>,
    #[serde(flatten)]
    row: JudgmentRow,
}

fn read_judgments(path: &Path) -> Result<Vec<JudgmentRow>> {
    let mut lines = Lines::open(path)?;
    let mut rows: Vec<JudgmentRow> = Vec::new();
    while let Some((line, text)) = lines.next_line()? {
        if text.trim().is_empty() {
            continue;
        }
        let at = |message: String| Error::input(message).file(path).line(line);
        let JudgmentLine { viewpoint, row } = serde_json::from_str(text).map_err(|e| {
            at(format!("not a pair of judgments: {e}")).help("give what `creamery judge --judgments` wrote")
        })?;
        // The model that is trained learns from its own judgments.
        if viewpoint.is_some_and(|name| name != CURRENT) {
            continue;
        }
        let parts =
            [("prompt_ids", &row.prompt_ids), ("chosen_ids", &row.chosen_ids), ("rejected_ids", &row.rejected_ids)];
        if let Some((name, _)) = parts.into_iter().find(|(_, ids)| ids.is_empty()) {
            return Err(at(format!("'{name}' has no tokens")));
        }
        if !(row.weight > 0.0 && row.weight <= MAX_WEIGHT) {
            let found = format!("'weight' is {:?}", row.weight);
            return Err(at(format!("{found}, expected a number above 0 and at most {MAX_WEIGHT:e}")));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn read_history(path: &Path, round: u32) -> Result<Vec<RoundRecord>> {
    let mut lines = Lines::open(path)?;
    let mut records: Vec<RoundRecord> = Vec::new();
    while let Some((line, text)) = lines.next_line()? {
        if text.trim().is_empty() {
            continue;
        }
        let at = |message: String| Error::input(message).file(path).line(line);
        let record: RoundRecord = serde_json::from_str(text).map_err(|e| {
            at(format!("not the record of a round: {e}")).help("give what `creamery label --record` wrote")
        })?;
        if record.round >= round {
            let message = format!("this is round {}, expected one before round {round}", record.round);
            return Err(at(message).help("name the present round with --round"));
        }
        if records.last().is_some_and(|last| last.round >= record.round) {
            return Err(at(format!("round {} is not after the one in the line before", record.round)));
        }
        records.push(record);
    }
    Ok(records)
}
