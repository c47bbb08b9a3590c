//! Judging: one score per response from each viewpoint. The same judge runs once per viewpoint, with that
//! viewpoint's model behind the slot "judge".

use std::collections::BTreeMap;

use creamery_plugin::{JudgeContext, Score, Step};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answers::Desk;
use super::groups::{self, SampledGroup, ScoredGroup, for_plugins};
use super::models::ModelRef;
use super::sample::Samples;
use super::setup::Run;
use crate::config::OnFailure;
use crate::error::{Error, Result};
use crate::plugins::JudgePlugin;
use crate::store::Artifact;

/// The scores of one viewpoint: `scores.jsonl` and `judge.json`.
pub struct Scores {
    pub viewpoint: &'static str,
    pub artifact: Artifact,
}

/// What a judge did, besides scoring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgeCounts {
    pub responses: usize,
    pub abstentions: usize,
    /// Abstentions by reason.
    pub reasons: BTreeMap<String, usize>,
    /// Groups on which the judge failed and the policy was not to stop.
    pub failed_groups: usize,
    /// Queries that the host answered.
    pub queries: usize,
}

/// The rows of one viewpoint.
pub struct ViewpointScores {
    pub viewpoint: String,
    pub rows: Vec<ScoredGroup>,
}

impl Scores {
    pub fn of_viewpoint(&self) -> Result<ViewpointScores> {
        let rows = groups::read(&self.artifact.path.join("scores.jsonl"))?;
        Ok(ViewpointScores { viewpoint: self.viewpoint.to_owned(), rows })
    }

    pub fn counts(&self) -> Result<JudgeCounts> {
        let counts = groups::read(&self.artifact.path.join("judge.json"))?;
        Ok(counts.into_iter().next().unwrap_or_default())
    }
}

/// Scores from every viewpoint, the current one first.
pub fn stages(
    run: &mut Run,
    t: usize,
    samples: &Samples,
    viewpoints: [(&'static str, &ModelRef); 2],
) -> Result<Vec<Scores>> {
    viewpoints.into_iter().map(|(name, model)| stage(run, t, samples, name, model)).collect()
}

/// Groups of one call to a judge: large enough to batch, small enough for a component's memory.
const BATCH: usize = 512;

fn stage(run: &mut Run, t: usize, samples: &Samples, viewpoint: &'static str, model: &ModelRef) -> Result<Scores> {
    let reference = match &run.scoring_reference {
        Some(model) => model.clone(),
        None => run.previous_of(t),
    };
    let slots = [("judge", model.clone()), ("reference", reference), ("initial", run.initial.clone())];
    let info = run.judge.info();
    let key = json!({
        "samples": samples.artifact.id, "viewpoint": viewpoint, "round": t, "seed": run.config.seed,
        "slots": slots.iter().map(|(name, m)| (name, &m.id)).collect::<Vec<_>>(), "own-slots": run.slots.key(),
        "plugin": info.digest, "params": info.params, "tokenizer": run.chat_digest,
        "on-failure": run.config.judge.on_failure, "max-steps": run.config.judge.max_steps,
        // Where failures are kept as abstentions, what makes them decides too.
        "limits": (run.config.judge.on_failure != OnFailure::Stop).then_some(&run.config.judge.plugin.limits),
    });
    let label = format!("round {t}: judge as {viewpoint}");
    let artifact = run.stage(&label, "judge", key, |run, folder| {
        let mut desk = Desk {
            models: &mut run.models,
            slots: &slots,
            others: &mut run.slots,
            chat: &run.chat,
            eos: &run.eos,
            sampled_by: Some(&samples.policy),
            seed: run.config.seed,
            round: t as u32,
        };
        let sampled = samples.read()?;
        let progress = &mut *run.progress;
        let work = Judging {
            judge: &mut *run.judge,
            viewpoint,
            desk: &mut desk,
            on_failure: run.config.judge.on_failure,
            max_steps: run.config.judge.max_steps,
        };
        let (rows, counts) = work.scores(&sampled, &mut |done, all| progress.update(done, all))?;
        groups::write(&folder.join("scores.jsonl"), &rows)?;
        groups::write_one(&folder.join("judge.json"), &counts)
    })?;
    Ok(Scores { viewpoint, artifact })
}

/// A judge at work for one viewpoint, whose model is behind the desk's slot "judge".
pub struct Judging<'a, 'd> {
    pub judge: &'a mut dyn JudgePlugin,
    pub viewpoint: &'a str,
    pub desk: &'a mut Desk<'d>,
    pub on_failure: OnFailure,
    /// How often the judge may ask before it must have scored.
    pub max_steps: usize,
}

impl Judging<'_, '_> {
    /// A row per group, in order. `progress` is told how many of all groups are judged.
    pub fn scores(
        self,
        sampled: &[SampledGroup],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(Vec<ScoredGroup>, JudgeCounts)> {
        let context =
            JudgeContext { round: self.desk.round, viewpoint: self.viewpoint.to_owned(), slots: self.desk.described() };
        let mut session = Session { work: self, context, counts: JudgeCounts::default() };
        let mut rows = Vec::with_capacity(sampled.len());
        for batch in sampled.chunks(BATCH) {
            rows.extend(session.judge(batch)?);
            progress(rows.len(), sampled.len());
        }
        session.work.desk.finish()?;
        Ok((rows, session.counts))
    }
}

struct Session<'a, 'd> {
    work: Judging<'a, 'd>,
    context: JudgeContext,
    counts: JudgeCounts,
}

impl Session<'_, '_> {
    /// Judges a batch; a failure is narrowed down to the groups that cause it, unless the policy is to stop.
    fn judge(&mut self, batch: &[SampledGroup]) -> Result<Vec<ScoredGroup>> {
        let error = match self.steps(batch) {
            Ok(scores) => return Ok(self.scored(batch, scores)),
            Err(error) => error,
        };
        let policy = self.work.on_failure;
        if policy == OnFailure::Stop || error.kind() != crate::Kind::Plugin {
            let place = format!("judging round {} as {}", self.context.round, self.context.viewpoint);
            return Err(error.context(place));
        }
        if let [group] = batch {
            let reason = format!("judge failed: {}", error.message());
            self.counts.failed_groups += 1;
            let n = group.responses.len();
            let mut row = self.scored(batch, vec![Score::Abstain(reason.clone()); n]).remove(0);
            row.skipped = (policy == OnFailure::Skip).then_some(reason);
            return Ok(vec![row]);
        }
        let (left, right) = batch.split_at(batch.len() / 2);
        let mut rows = self.judge(left)?;
        rows.extend(self.judge(right)?);
        Ok(rows)
    }

    /// Asks and answers until the judge has scored the batch.
    fn steps(&mut self, batch: &[SampledGroup]) -> Result<Vec<Score>> {
        let groups = for_plugins(batch);
        let mut answers = Vec::new();
        // After the last answers the judge is called once more, for its scores.
        for _ in 0..=self.work.max_steps {
            match self.work.judge.step(&self.context, &groups, &answers)? {
                Step::Scores(scores) => return Ok(scores),
                Step::Ask(queries) => {
                    self.counts.queries += queries.len();
                    answers.push(self.work.desk.answer(&queries, batch)?);
                }
            }
        }
        let name = self.work.judge.info().name();
        let max = self.work.max_steps;
        Err(Error::plugin(format!("judge '{name}' asked {max} times and gave no scores"))
            .help("raise judge.max-steps if the judge needs more steps"))
    }

    fn scored(&mut self, batch: &[SampledGroup], scores: Vec<Score>) -> Vec<ScoredGroup> {
        let mut scores = scores.into_iter();
        let mut rows = Vec::with_capacity(batch.len());
        for group in batch {
            let mut row =
                ScoredGroup { id: group.id.clone(), scores: Vec::new(), abstained: BTreeMap::new(), skipped: None };
            for (i, score) in scores.by_ref().take(group.responses.len()).enumerate() {
                self.counts.responses += 1;
                row.scores.push(score.value());
                if let Score::Abstain(reason) = score {
                    self.counts.abstentions += 1;
                    *self.counts.reasons.entry(reason.clone()).or_default() += 1;
                    row.abstained.insert(i, reason);
                }
            }
            rows.push(row);
        }
        rows
    }
}
