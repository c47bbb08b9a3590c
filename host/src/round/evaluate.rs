//! Evaluation on held-out rows: the only part that reads answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::groups::{self, RankedGroup, SampledGroup, by_id, joined};
use super::models::ModelRef;
use super::sample::{Draw, Samples};
use super::setup::{Prompt, Run};
use super::summary::ModelSummary;
use super::{judge, rank};
use crate::config::EvalConfig;
use crate::error::Result;
use crate::eval::{mean, standard_error};
use crate::generate::SamplingConfig;

/// How right a model's answers are, and, of its preference pairs, how many are the right way round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    pub rows: usize,
    /// Share of right samples, the mean over rows of the share in each row.
    pub sampled: f64,
    /// Standard error of `sampled` over rows.
    pub sampled_error: f64,
    pub greedy: f64,
    pub greedy_error: f64,
    /// Mean tokens of a sampled response.
    pub mean_tokens: f64,
    /// Share of sampled responses cut off by the token limit.
    pub truncated: f64,
    /// `sampled` by the rows' field "task", for rows that have one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_task: BTreeMap<String, f64>,
}

/// Share of pairs whose chosen response is right, among pairs with exactly one right response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankingAccuracy {
    pub pairs: usize,
    pub accuracy: f64,
    pub error: f64,
}

/// Sampled and greedy accuracy of one model; `None` without evaluation rows.
pub fn model(run: &mut Run, name: &str, model: &ModelRef) -> Result<ModelSummary> {
    run.model = name.to_owned();
    evaluating(run, |run| accuracy(run, name, model))
}

/// Share of pairs that are the right way round, when the round's judge and ranker work on M_t's evaluation samples;
/// `None` without evaluation rows.
pub fn ranking_accuracy(
    run: &mut Run,
    t: usize,
    viewpoints: [(&'static str, &ModelRef); 2],
) -> Result<Option<RankingAccuracy>> {
    evaluating(run, |run| ranking(run, t, viewpoints))
}

/// Counts the stages of `work` as evaluation.
fn evaluating<T>(run: &mut Run, work: impl FnOnce(&mut Run) -> Result<T>) -> Result<T> {
    run.evaluating = true;
    let done = work(run);
    run.evaluating = false;
    done
}

fn accuracy(run: &mut Run, name: &str, model: &ModelRef) -> Result<ModelSummary> {
    let mut summary =
        ModelSummary { name: name.to_owned(), id: model.id.clone(), path: model.path.clone(), accuracy: None };
    let Some(eval) = run.config.eval.clone() else { return Ok(summary) };
    let sampled = draw(run, &eval, name, model, false)?;
    let greedy = draw(run, &eval, name, model, true)?;
    let key = json!({
        "sampled": sampled.artifact.id, "greedy": greedy.artifact.id, "answers": run.eval_digest,
        "extractor": eval.extractor, "pattern": eval.pattern,
    });
    let artifact = run.stage(&format!("{name}: compare"), "evaluate", key, |run, folder| {
        let questions = by_id(&run.eval, |q| &q.prompt.id);
        let share_right = |group: &SampledGroup| -> Result<f64> {
            let question = joined(&questions, &group.id)?;
            let right = group.responses.iter().filter(|r| question.is_right(&run.extractor, &r.text)).count();
            Ok(right as f64 / group.responses.len() as f64)
        };
        let sampled = sampled.read()?;
        let shares = sampled.iter().map(share_right).collect::<Result<Vec<_>>>()?;
        let greedy = greedy.read()?.iter().map(share_right).collect::<Result<Vec<_>>>()?;
        let mut tasks: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (group, share) in sampled.iter().zip(&shares) {
            if let Some(task) = &joined(&questions, &group.id)?.task {
                tasks.entry(task.clone()).or_default().push(*share);
            }
        }
        let responses: Vec<_> = sampled.iter().flat_map(|g| &g.responses).collect();
        let count = responses.len() as f64;
        let accuracy = Accuracy {
            rows: shares.len(),
            sampled: mean(&shares),
            sampled_error: standard_error(&shares),
            greedy: mean(&greedy),
            greedy_error: standard_error(&greedy),
            mean_tokens: responses.iter().map(|r| r.ids.len() as f64).sum::<f64>() / count,
            truncated: responses.iter().filter(|r| r.finish == creamery_plugin::Finish::Length).count() as f64 / count,
            by_task: tasks.into_iter().map(|(task, shares)| (task, mean(&shares))).collect(),
        };
        groups::write_one(&folder.join("accuracy.json"), &accuracy)
    })?;
    summary.accuracy = groups::read(&artifact.path.join("accuracy.json"))?.pop();
    Ok(summary)
}

fn ranking(run: &mut Run, t: usize, viewpoints: [(&'static str, &ModelRef); 2]) -> Result<Option<RankingAccuracy>> {
    let Some(eval) = run.config.eval.clone() else { return Ok(None) };
    let samples = draw(run, &eval, &format!("M{t}"), viewpoints[0].1, false)?;
    let scores = judge::stages(run, t, &samples, viewpoints)?;
    let ranking = rank::stage(run, t, &samples, &scores)?;
    let key = json!({
        "ranking": ranking.artifact.id, "answers": run.eval_digest,
        "extractor": eval.extractor, "pattern": eval.pattern,
    });
    let artifact = run.stage(&format!("round {t}: ranking accuracy"), "ranking-accuracy", key, |run, folder| {
        let (sampled, ranked) = (samples.read()?, ranking.read()?);
        groups::write_one(&folder.join("accuracy.json"), &compare(run, &sampled, &ranked)?)
    })?;
    Ok(groups::read(&artifact.path.join("accuracy.json"))?.pop())
}

fn compare(run: &Run, sampled: &[SampledGroup], ranked: &[RankedGroup]) -> Result<RankingAccuracy> {
    let (questions, groups) = (by_id(&run.eval, |q| &q.prompt.id), by_id(sampled, |g| &g.id));
    let mut outcomes = Vec::new();
    for row in ranked {
        let (question, group) = (joined(&questions, &row.id)?, joined(&groups, &row.id)?);
        let right = |i: usize| question.is_right(&run.extractor, &group.responses[i].text);
        for pair in &row.pairs {
            match (right(pair.chosen), right(pair.rejected)) {
                (true, false) => outcomes.push(1.0),
                (false, true) => outcomes.push(0.0),
                _ => {}
            }
        }
    }
    Ok(RankingAccuracy { pairs: outcomes.len(), accuracy: mean(&outcomes), error: standard_error(&outcomes) })
}

fn draw(run: &mut Run, eval: &EvalConfig, name: &str, model: &ModelRef, greedy: bool) -> Result<Samples> {
    let sampling = SamplingConfig {
        // Of no matter to greedy answers, and so the same for all of them.
        temperature: if greedy { 1.0 } else { eval.temperature as f32 },
        top_p: 1.0,
        greedy,
        max_new_tokens: eval.max_new_tokens,
        ..SamplingConfig::default()
    };
    let n = if greedy { 1 } else { eval.samples };
    let label = format!("{name}: {}", if greedy { "answer greedily" } else { "sample" });
    let prompts: Vec<Prompt> = run.eval.iter().map(|row| row.prompt.clone()).collect();
    // The round is no part of the streams: every model answers with the same draws.
    let purpose = if greedy { "greedy" } else { "evaluate" };
    Draw { purpose, seed: run.config.seed, round: 0, n, sampling }.stage(run, &label, model, &prompts)
}
