//! Judging: one score per response from each viewpoint. The same judge runs once per viewpoint, with that
//! viewpoint's model behind the slot "judge".

use std::collections::BTreeMap;

use creamery_plugin::{JudgeContext, Score, Slot, Step};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answers::Desk;
use super::groups::{self, SampledGroup, ScoredGroup, for_plugins};
use super::models::ModelRef;
use super::sample::Samples;
use super::setup::Run;
use crate::config::OnFailure;
use crate::error::{Error, Result};
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

impl Scores {
    pub fn read(&self) -> Result<Vec<ScoredGroup>> {
        groups::read(&self.artifact.path.join("scores.jsonl"))
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
        "slots": slots.iter().map(|(name, m)| (name, &m.id)).collect::<Vec<_>>(),
        "plugin": info.digest, "params": info.params, "tokenizer": run.chat_digest,
        "on-failure": run.config.judge.on_failure, "max-steps": run.config.judge.max_steps,
        // Where failures are kept as abstentions, what makes them decides too.
        "limits": (run.config.judge.on_failure != OnFailure::Stop).then_some(&run.config.judge.plugin.limits),
    });
    let label = format!("round {t}: judge as {viewpoint}");
    let artifact = run.stage(&label, "judge", key, |run, folder| {
        let context = JudgeContext {
            round: t as u32,
            viewpoint: viewpoint.to_owned(),
            slots: slots.iter().map(|(name, m)| Slot { name: name.to_string(), model: m.id.clone() }).collect(),
        };
        let sampled = samples.read()?;
        let mut session =
            Session { run, context, slots: &slots, policy: &samples.policy, counts: JudgeCounts::default() };
        let mut rows = Vec::with_capacity(sampled.len());
        for batch in sampled.chunks(BATCH) {
            rows.extend(session.judge(batch)?);
            session.run.progress.update(rows.len(), sampled.len());
        }
        groups::write(&folder.join("scores.jsonl"), &rows)?;
        groups::write_one(&folder.join("judge.json"), &session.counts)
    })?;
    Ok(Scores { viewpoint, artifact })
}

struct Session<'a, 'r> {
    run: &'a mut Run<'r>,
    context: JudgeContext,
    slots: &'a [(&'static str, ModelRef)],
    policy: &'a ModelRef,
    counts: JudgeCounts,
}

impl Session<'_, '_> {
    /// Judges a batch; a failure is narrowed down to the groups that cause it, unless the policy is to stop.
    fn judge(&mut self, batch: &[SampledGroup]) -> Result<Vec<ScoredGroup>> {
        let error = match self.steps(batch) {
            Ok(scores) => return Ok(self.scored(batch, scores)),
            Err(error) => error,
        };
        let policy = self.run.config.judge.on_failure;
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
        for _ in 0..=self.run.config.judge.max_steps {
            match self.run.judge.step(&self.context, &groups, &answers)? {
                Step::Scores(scores) => return Ok(scores),
                Step::Ask(queries) => {
                    self.counts.queries += queries.len();
                    let mut desk =
                        Desk { run: self.run, round: self.context.round, slots: self.slots, policy: self.policy };
                    answers.push(desk.answer(&queries, batch)?);
                }
            }
        }
        let name = self.run.judge.info().name();
        let max = self.run.config.judge.max_steps;
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
