//! Evaluation on held-out rows: the only part that reads answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::groups::{self, RankedGroup, SampledGroup, ScoredGroup, by_id, joined};
use super::models::ModelRef;
use super::sample::{Draw, Samples};
use super::setup::{Prompt, Run};
use super::summary::ModelSummary;
use super::viewpoints::Viewpoint;
use super::{judge, rank};
use crate::config::EvalConfig;
use crate::error::{Error, Result};
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

/// How well a viewpoint's scores tell right responses from wrong ones, on M_t's evaluation samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Pairs of a right and a wrong response of one group, both with a score.
    pub pairs: usize,
    /// Share of pairs whose right response has the higher score; equal scores count one half. The area under the ROC
    /// curve, within groups. 0 of no pairs.
    pub agreement: f64,
    /// Its standard error over groups, whose pairs are not independent.
    pub error: f64,
    pub responses: usize,
    /// Share of responses without a score.
    pub unscored: f64,
}

/// What round t's judges and ranker make of M_t's evaluation samples.
#[derive(Clone, Debug)]
pub struct Preferences {
    pub ranking: RankingAccuracy,
    /// By viewpoint.
    pub agreement: BTreeMap<String, Agreement>,
}

/// Sampled and greedy accuracy of one model; `None` without evaluation rows.
pub fn model(run: &mut Run, name: &str, model: &ModelRef) -> Result<ModelSummary> {
    run.model = name.to_owned();
    evaluating(run, |run| accuracy(run, name, model))
}

/// Compares the round's judges and ranker with the truth, at work on M_t's evaluation samples; `None` without
/// evaluation rows.
pub fn preferences(
    run: &mut Run,
    t: usize,
    policy: &ModelRef,
    viewpoints: &[Viewpoint],
) -> Result<Option<Preferences>> {
    evaluating(run, |run| compared(run, t, policy, viewpoints))
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
    let key = accuracy_key(&sampled.artifact.id, &greedy.artifact.id, &run.eval_digest, &eval);
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

/// What decides the accuracy of a model: the ids of its samples and of its greedy answers, and a digest of the answers.
pub fn accuracy_key(sampled: &str, greedy: &str, answers: &str, eval: &EvalConfig) -> Value {
    json!({
        "sampled": sampled, "greedy": greedy, "answers": answers, "extractor": eval.extractor,
        "pattern": eval.pattern,
    })
}

/// What decides the ranking accuracy: the id of the ranking, and a digest of the answers.
pub fn ranking_key(ranking: &str, answers: &str, eval: &EvalConfig) -> Value {
    json!({"ranking": ranking, "answers": answers, "extractor": eval.extractor, "pattern": eval.pattern})
}

fn compared(run: &mut Run, t: usize, policy: &ModelRef, viewpoints: &[Viewpoint]) -> Result<Option<Preferences>> {
    let Some(eval) = run.config.eval.clone() else { return Ok(None) };
    let samples = draw(run, &eval, &format!("M{t}"), policy, false)?;
    let samples = with_sources(run, t, &eval, samples)?;
    let scores = judge::stages(run, t, &samples, viewpoints)?;
    let ranking = rank::stage(run, t, &samples, &scores)?;
    let key = ranking_key(&ranking.artifact.id, &run.eval_digest, &eval);
    let artifact = run.stage(&format!("round {t}: ranking accuracy"), "ranking-accuracy", key, |run, folder| {
        let (sampled, ranked) = (samples.read()?, ranking.read()?);
        let mut agreement = BTreeMap::new();
        for scores in &scores {
            let scored = scores.of_viewpoint()?;
            agreement.insert(scored.viewpoint, agreement_of(run, &sampled, &scored.rows)?);
        }
        groups::write_one(&folder.join("accuracy.json"), &compare(run, &sampled, &ranked)?)?;
        groups::write_one(&folder.join("agreement.json"), &agreement)
    })?;
    let missing = || Error::run("the artifact is empty").file(&artifact.path);
    Ok(Some(Preferences {
        ranking: groups::read(&artifact.path.join("accuracy.json"))?.pop().ok_or_else(missing)?,
        agreement: groups::read(&artifact.path.join("agreement.json"))?.pop().ok_or_else(missing)?,
    }))
}

fn agreement_of(run: &Run, sampled: &[SampledGroup], scored: &[ScoredGroup]) -> Result<Agreement> {
    let (questions, scored) = (by_id(&run.eval, |q| &q.prompt.id), by_id(scored, |s| &s.id));
    let mut groups = Vec::with_capacity(sampled.len());
    for group in sampled {
        let (question, scored) = (joined(&questions, &group.id)?, joined(&scored, &group.id)?);
        // Another model's responses would say how much the models differ, not what the judge sees.
        let own = group.responses.iter().zip(&scored.scores).filter(|(r, _)| r.source.is_none());
        groups.push(own.map(|(r, score)| (question.is_right(&run.extractor, &r.text), *score)).collect());
    }
    Ok(agreement(&groups))
}

/// Of groups of responses: is it right, and its score.
fn agreement(groups: &[Vec<(bool, Option<f64>)>]) -> Agreement {
    let (mut responses, mut unscored) = (0, 0);
    // Pairs and those the right way round, of groups with pairs.
    let mut counts: Vec<(f64, f64)> = Vec::new();
    for group in groups {
        responses += group.len();
        unscored += group.iter().filter(|(_, score)| score.is_none()).count();
        let of = |wanted: bool| group.iter().filter(move |(right, _)| *right == wanted).filter_map(|(_, score)| *score);
        let (mut pairs, mut ordered) = (0.0, 0.0);
        for right in of(true) {
            for wrong in of(false) {
                pairs += 1.0;
                ordered += if right > wrong { 1.0 } else { 0.5 * f64::from(u8::from(right == wrong)) };
            }
        }
        if pairs > 0.0 {
            counts.push((pairs, ordered));
        }
    }
    let pairs: f64 = counts.iter().map(|(pairs, _)| pairs).sum();
    let (share, error) = share_of(&counts);
    Agreement {
        pairs: pairs as usize,
        agreement: share,
        error,
        responses,
        unscored: if responses > 0 { unscored as f64 / responses as f64 } else { 0.0 },
    }
}

/// Σ of the second over Σ of the first numbers of all groups, and the standard error of that: pairs of one group are not
/// independent. Zeros where there are no pairs.
fn share_of(counts: &[(f64, f64)]) -> (f64, f64) {
    let pairs: f64 = counts.iter().map(|(pairs, _)| pairs).sum();
    let share = if pairs > 0.0 { counts.iter().map(|(_, ordered)| ordered).sum::<f64>() / pairs } else { 0.0 };
    let squares: f64 = counts.iter().map(|(pairs, ordered)| (ordered - share * pairs).powi(2)).sum();
    let n = counts.len() as f64;
    (share, if n > 1.0 { (squares * n / (n - 1.0)).sqrt() / pairs } else { 0.0 })
}

fn compare(run: &Run, sampled: &[SampledGroup], ranked: &[RankedGroup]) -> Result<RankingAccuracy> {
    let (questions, groups) = (by_id(&run.eval, |q| &q.prompt.id), by_id(sampled, |g| &g.id));
    // Pairs with exactly one right answer, and those of them that are the right way round, of groups with such pairs.
    let mut counts: Vec<(f64, f64)> = Vec::new();
    for row in ranked {
        let (question, group) = (joined(&questions, &row.id)?, joined(&groups, &row.id)?);
        let right = |i: usize| question.is_right(&run.extractor, &group.responses[i].text);
        let decided = row.pairs.iter().filter(|pair| right(pair.chosen) != right(pair.rejected));
        let (pairs, ordered) =
            decided.fold((0.0, 0.0), |(n, k), pair| (n + 1.0, k + f64::from(u8::from(right(pair.chosen)))));
        if pairs > 0.0 {
            counts.push((pairs, ordered));
        }
    }
    let (accuracy, error) = share_of(&counts);
    Ok(RankingAccuracy { pairs: counts.iter().map(|(pairs, _)| *pairs as usize).sum(), accuracy, error })
}

fn draw(run: &mut Run, eval: &EvalConfig, name: &str, model: &ModelRef, greedy: bool) -> Result<Samples> {
    let label = format!("{name}: {}", if greedy { "answer greedily" } else { "sample" });
    let prompts = prompts(run);
    draw_of(run.config.seed, eval, greedy).stage(run, &label, model, &prompts)
}

/// The samples of M_t with those of the models of `[[sample.from]]`: the pairs whose accuracy is measured are those that
/// the round's ranker makes, which may need the others' responses.
fn with_sources(run: &mut Run, t: usize, eval: &EvalConfig, own: Samples) -> Result<Samples> {
    let (draw, prompts) = (draw_of(run.config.seed, eval, false), prompts(run));
    draw.with_sources(run, t, &format!("M{t}: sample"), own, &prompts)
}

fn prompts(run: &Run) -> Vec<Prompt> {
    run.eval.iter().map(|row| row.prompt.clone()).collect()
}

/// What is drawn for evaluation.
pub fn draw_of(seed: u64, eval: &EvalConfig, greedy: bool) -> Draw<'static> {
    let sampling = SamplingConfig {
        // Of no matter to greedy answers, and so the same for all of them.
        temperature: if greedy { 1.0 } else { eval.temperature as f32 },
        top_p: 1.0,
        greedy,
        max_new_tokens: eval.max_new_tokens,
        ..SamplingConfig::default()
    };
    let n = if greedy { 1 } else { eval.samples };
    // The round is no part of the streams: every model answers with the same draws.
    let purpose = if greedy { "greedy" } else { "evaluate" };
    Draw { purpose, seed, round: 0, n, sampling }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_the_share_of_right_and_wrong_responses_in_order() {
        type Group = Vec<(bool, Option<f64>)>;
        // Groups, and pairs, agreement, error and share without a score.
        let cases: Vec<(Vec<Group>, usize, f64, f64, f64)> = vec![
            (vec![], 0, 0.0, 0.0, 0.0),
            // All right, or all wrong: no pair.
            (vec![vec![(true, Some(1.0)), (true, Some(2.0))], vec![(false, Some(0.0))]], 0, 0.0, 0.0, 0.0),
            // Right above one wrong response and level with the other.
            (vec![vec![(true, Some(1.0)), (false, Some(0.0)), (false, Some(1.0))]], 2, 0.75, 0.0, 0.0),
            // Without a score there is no pair.
            (vec![vec![(true, Some(1.0)), (false, None), (false, Some(2.0)), (true, None)]], 1, 0.0, 0.0, 0.5),
            // 1 of 1 and 1 of 3 pairs: ½ in all; residuals 1 − ½ and 1 − 3/2, so error √(2 · ½ / 1) / 4.
            (
                vec![
                    vec![(true, Some(1.0)), (false, Some(0.0))],
                    vec![(true, Some(1.0)), (false, Some(0.0)), (false, Some(2.0)), (false, Some(3.0))],
                ],
                4,
                0.5,
                0.25,
                0.0,
            ),
        ];
        for (groups, pairs, share, error, unscored) in cases {
            let found = agreement(&groups);
            assert_eq!((found.pairs, found.agreement, found.unscored), (pairs, share, unscored), "{groups:?}");
            assert!((found.error - error).abs() < 1e-15, "{groups:?}: {found:?}");
        }
    }
}
