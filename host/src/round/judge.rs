//! Judging: one score per response from each viewpoint. A viewpoint's judge runs with that viewpoint's model behind
//! the slot "judge". What it says besides its scores is kept with them: measures and preference pairs of judgments.

use std::collections::BTreeMap;

use creamery_plugin::{Answer, JudgeContext, JudgeReport, Message, Query, Score, Step};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::{Desk, Drawn};
use super::groups::{self, SampledGroup, ScoredGroup, for_plugins};
use super::sample::Samples;
use super::setup::Run;
use super::viewpoints::Viewpoint;
use crate::config::{JudgeConfig, OnFailure};
use crate::error::{Error, Result};
use crate::plugins::{JudgePlugin, PluginInfo};
use crate::store::Artifact;

/// The scores of one viewpoint: `scores.jsonl`, `judge.json`, `judgments.jsonl` and `said.jsonl`.
pub struct Scores {
    pub viewpoint: String,
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
    /// The judge's own measures by name, added up in the order of the batches.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: BTreeMap<String, MeasureSum>,
    /// Preference pairs of judgments.
    #[serde(default)]
    pub judgments: usize,
}

/// A mean over everything that was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasureSum {
    pub sum: f64,
    pub count: u64,
}

impl MeasureSum {
    /// `sum / count`; `None` of nothing.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// A line of `judgments.jsonl`: of two judgments to one judging prompt, one is better. Trains the model as a judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgmentRow {
    /// Names the judging prompt by its tokens, so that it is the same for equal prompts.
    pub group: String,
    /// The judging prompt.
    pub prompt: Vec<Message>,
    pub prompt_ids: Vec<u32>,
    pub chosen: String,
    pub rejected: String,
    /// As they were sampled, with the end-of-sequence token, if one was.
    pub chosen_ids: Vec<u32>,
    pub rejected_ids: Vec<u32>,
    pub weight: f64,
}

/// A line of `said.jsonl`: what a model wrote when the judge asked it, for people to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SaidRow {
    /// What it was asked.
    pub messages: Vec<Message>,
    pub texts: Vec<String>,
}

/// The rows of one viewpoint.
pub struct ViewpointScores {
    pub viewpoint: String,
    pub rows: Vec<ScoredGroup>,
}

impl Scores {
    pub fn of_viewpoint(&self) -> Result<ViewpointScores> {
        let rows = groups::read(&self.artifact.path.join("scores.jsonl"))?;
        Ok(ViewpointScores { viewpoint: self.viewpoint.clone(), rows })
    }

    pub fn counts(&self) -> Result<JudgeCounts> {
        let counts = groups::read(&self.artifact.path.join("judge.json"))?;
        Ok(counts.into_iter().next().unwrap_or_default())
    }

    /// The preference pairs of judgments, in the order of the batches. Those of "current" are of M_t's own judgments
    /// where its model is M_t.
    pub fn judgments(&self) -> Result<Vec<JudgmentRow>> {
        groups::read(&self.artifact.path.join("judgments.jsonl"))
    }
}

/// Scores from every viewpoint, the current one first.
pub fn stages(run: &mut Run, t: usize, samples: &Samples, viewpoints: &[Viewpoint]) -> Result<Vec<Scores>> {
    viewpoints.iter().map(|viewpoint| stage(run, t, samples, viewpoint)).collect()
}

/// Groups of one call to a judge: large enough to batch, small enough for a component's memory.
const BATCH: usize = 512;

/// Viewpoints of one judge and one model have artifacts of their own, since the judge is told the viewpoint's name.
fn stage(run: &mut Run, t: usize, samples: &Samples, viewpoint: &Viewpoint) -> Result<Scores> {
    let Viewpoint { name, judge, model } = viewpoint;
    let reference = match &run.scoring_reference {
        Some(model) => model.clone(),
        None => run.previous_of(t),
    };
    let slots = [("judge", model.clone()), ("reference", reference), ("initial", run.initial.clone())];
    let settings = run.judges[*judge].settings.clone();
    let info = run.judges[*judge].plugin.info();
    let key = JudgeKey {
        samples: &samples.artifact.id,
        viewpoint: name,
        round: t,
        seed: run.config.seed,
        slots: slots.each_ref().map(|(name, model)| (*name, model.id.as_str())),
        own_slots: &run.slots.key(),
        plugin: info,
        settings: &settings,
        tokenizer: &run.chat_digest,
    }
    .json();
    let label = format!("round {t}: judge as {name}");
    let artifact = run.stage(&label, "judge", key, |run, folder| {
        let mut desk = Desk {
            models: &mut run.models,
            slots: &slots,
            others: &mut run.slots,
            chat: &run.chat,
            eos: &run.eos,
            sampled_by: Some(&samples.drawn_by),
            seed: run.config.seed,
            round: t as u32,
        };
        let sampled = samples.read()?;
        let progress = &mut *run.progress;
        let work = Judging {
            judge: &mut *run.judges[*judge].plugin,
            viewpoint: name,
            desk: &mut desk,
            on_failure: settings.on_failure,
            max_steps: settings.max_steps,
        };
        let judged = work.scores(&sampled, &mut |done, all| progress.update(done, all))?;
        groups::write(&folder.join("scores.jsonl"), &judged.rows)?;
        groups::write(&folder.join("judgments.jsonl"), &judged.judgments)?;
        groups::write(&folder.join("said.jsonl"), &judged.said)?;
        groups::write_one(&folder.join("judge.json"), &judged.counts)
    })?;
    Ok(Scores { viewpoint: name.clone(), artifact })
}

/// What decides the scores of one viewpoint. Models are named by their digests.
pub struct JudgeKey<'a> {
    /// Of the artifact.
    pub samples: &'a str,
    pub viewpoint: &'a str,
    pub round: usize,
    pub seed: u64,
    /// The run's own models behind the judge's slots.
    pub slots: [(&'a str, &'a str); 3],
    /// As [`Slots::key`](crate::slots::Slots::key) has it.
    pub own_slots: &'a Value,
    pub plugin: &'a PluginInfo,
    pub settings: &'a JudgeConfig,
    pub tokenizer: &'a str,
}

impl JudgeKey<'_> {
    pub fn json(&self) -> Value {
        let JudgeKey { plugin, settings, .. } = self;
        json!({
            "samples": self.samples, "viewpoint": self.viewpoint, "round": self.round, "seed": self.seed,
            "slots": self.slots, "own-slots": self.own_slots, "plugin": plugin.digest, "params": plugin.params,
            "tokenizer": self.tokenizer, "on-failure": settings.on_failure, "max-steps": settings.max_steps,
            // Where failures are kept as abstentions, what makes them decides too.
            "limits": (settings.on_failure != OnFailure::Stop)
                .then_some((&settings.plugin.limits, settings.plugin.isolation)),
        })
    }
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

/// All that came of a viewpoint's judging.
#[derive(Default)]
pub struct Judged {
    /// One for each group, in order.
    pub rows: Vec<ScoredGroup>,
    pub counts: JudgeCounts,
    pub judgments: Vec<JudgmentRow>,
    /// Of the batches that were scored.
    pub said: Vec<SaidRow>,
}

impl Judging<'_, '_> {
    /// Judges in batches, or all at once where the judge wants that. `progress` is told how many of all groups are
    /// judged.
    pub fn scores(self, sampled: &[SampledGroup], progress: &mut dyn FnMut(usize, usize)) -> Result<Judged> {
        let context =
            JudgeContext { round: self.desk.round, viewpoint: self.viewpoint.to_owned(), slots: self.desk.described() };
        // Where a call on all groups fails it has failed on all of them: those at fault cannot be found by leaving others
        // out, which would change the scores of the rest.
        let whole = self.judge.info().wants_whole_set();
        let batch = if whole { sampled.len().max(1) } else { BATCH };
        let mut session = Session { work: self, context, whole, judged: Judged::default() };
        for batch in sampled.chunks(batch) {
            session.judge(batch)?;
            progress(session.judged.rows.len(), sampled.len());
        }
        session.work.desk.finish()?;
        Ok(session.judged)
    }
}

struct Session<'a, 'd> {
    work: Judging<'a, 'd>,
    context: JudgeContext,
    /// The judge has all groups in one call.
    whole: bool,
    judged: Judged,
}

/// What the judge said of a batch.
struct Verdict {
    scores: Vec<Score>,
    report: JudgeReport,
    judgments: Vec<JudgmentRow>,
    said: Vec<SaidRow>,
}

/// A step's queries, the host's answers' tokens, by query.
struct Asked {
    queries: Vec<Query>,
    drawn: BTreeMap<usize, Drawn>,
}

impl Session<'_, '_> {
    /// Judges a batch; a failure is narrowed down to the groups that cause it, unless the policy is to stop or the judge
    /// must see all groups.
    fn judge(&mut self, batch: &[SampledGroup]) -> Result<()> {
        let error = match self.steps(batch) {
            Ok(verdict) => {
                self.keep(batch, verdict);
                return Ok(());
            }
            Err(error) => error,
        };
        let policy = self.work.on_failure;
        if policy == OnFailure::Stop || error.kind() != crate::Kind::Plugin {
            let place = format!("judging round {} as {}", self.context.round, self.context.viewpoint);
            return Err(error.context(place));
        }
        if batch.len() == 1 || self.whole {
            let reason = format!("judge failed: {}", error.message());
            self.judged.counts.failed_groups += batch.len();
            let responses = batch.iter().map(|group| group.responses.len()).sum();
            let first = self.judged.rows.len();
            self.keep_scores(batch, vec![Score::Abstain(reason.clone()); responses]);
            for row in &mut self.judged.rows[first..] {
                row.skipped = (policy == OnFailure::Skip).then(|| reason.clone());
            }
            return Ok(());
        }
        let (left, right) = batch.split_at(batch.len() / 2);
        self.judge(left)?;
        self.judge(right)
    }

    /// Asks and answers until the judge has scored the batch, then asks for its report.
    fn steps(&mut self, batch: &[SampledGroup]) -> Result<Verdict> {
        let groups = for_plugins(batch);
        let (mut answers, mut asked) = (Vec::new(), Vec::new());
        // After the last answers the judge is called once more, for its scores.
        for _ in 0..=self.work.max_steps {
            match self.work.judge.step(&self.context, &groups, &answers)? {
                Step::Scores(scores) => {
                    let report = self.work.judge.report(&self.context, &groups, &answers)?;
                    let judgments = self.judgments(&report, &asked, &answers)?;
                    return Ok(Verdict { scores, report, judgments, said: said(&asked, &answers) });
                }
                Step::Ask(queries) => {
                    self.judged.counts.queries += queries.len();
                    let (answer, drawn) = self.work.desk.answer(&queries, batch)?;
                    answers.push(answer);
                    asked.push(Asked { queries, drawn });
                }
            }
        }
        let name = self.work.judge.info().name();
        let max = self.work.max_steps;
        Err(Error::plugin(format!("judge '{name}' asked {max} times and gave no scores"))
            .help("raise max-steps of the judge if it needs more steps"))
    }

    /// The pairs of a report, with the texts and tokens that they name.
    fn judgments(&self, report: &JudgeReport, asked: &[Asked], answers: &[Vec<Answer>]) -> Result<Vec<JudgmentRow>> {
        let mut rows = Vec::with_capacity(report.pairs.len());
        for (i, pair) in report.pairs.iter().enumerate() {
            let (step, query) = (pair.step as usize, pair.query as usize);
            let wrong =
                |what: String| Error::plugin(format!("{}: report: pair {i} {what}", self.work.judge.info().title()));
            let named = (asked.get(step), answers.get(step).and_then(|a| a.get(query)));
            let (Some(asked), Some(Answer::Texts(texts))) = named else {
                return Err(wrong(format!("is of step {step}, query {query}, which was not answered with texts")));
            };
            let (chosen, rejected) = (pair.chosen as usize, pair.rejected as usize);
            let (Some(Query::Generate { slot, messages, .. }), true) =
                (asked.queries.get(query), chosen.max(rejected) < texts.len() && chosen != rejected)
            else {
                return Err(wrong(format!("is of the texts {chosen} and {rejected} of {}", texts.len())));
            };
            let Some(drawn) = asked.drawn.get(&query) else {
                return Err(wrong(format!(
                    "is of judgments by the model slot '{slot}', whose tokens are not the trained model's"
                ))
                .help("judgments train the model that made them: let the judge ask the slot \"judge\""));
            };
            rows.push(JudgmentRow {
                group: format!("judgment-{}", name_of(&drawn.prompt_ids)),
                prompt: messages.clone(),
                prompt_ids: drawn.prompt_ids.clone(),
                chosen: texts[chosen].text.clone(),
                rejected: texts[rejected].text.clone(),
                chosen_ids: drawn.texts[chosen].clone(),
                rejected_ids: drawn.texts[rejected].clone(),
                weight: pair.weight,
            });
        }
        Ok(rows)
    }

    fn keep(&mut self, batch: &[SampledGroup], verdict: Verdict) {
        self.keep_scores(batch, verdict.scores);
        for measure in verdict.report.measures {
            let known = self.judged.counts.measures.entry(measure.name).or_default();
            // Stays a number that JSON can hold.
            known.sum = (known.sum + measure.sum).clamp(f64::MIN, f64::MAX);
            known.count = known.count.saturating_add(measure.count);
        }
        self.judged.counts.judgments += verdict.judgments.len();
        self.judged.judgments.extend(verdict.judgments);
        self.judged.said.extend(verdict.said);
    }

    fn keep_scores(&mut self, batch: &[SampledGroup], scores: Vec<Score>) {
        let Judged { rows, counts, .. } = &mut self.judged;
        let mut scores = scores.into_iter();
        for group in batch {
            let mut row =
                ScoredGroup { id: group.id.clone(), scores: Vec::new(), abstained: BTreeMap::new(), skipped: None };
            for (i, score) in scores.by_ref().take(group.responses.len()).enumerate() {
                counts.responses += 1;
                row.scores.push(score.value());
                if let Score::Abstain(reason) = score {
                    counts.abstentions += 1;
                    *counts.reasons.entry(reason.clone()).or_default() += 1;
                    row.abstained.insert(i, reason);
                }
            }
            rows.push(row);
        }
    }
}

/// The generated texts among the answers.
fn said(asked: &[Asked], answers: &[Vec<Answer>]) -> Vec<SaidRow> {
    let pairs = asked.iter().zip(answers).flat_map(|(asked, answers)| asked.queries.iter().zip(answers));
    pairs
        .filter_map(|(query, answer)| match (query, answer) {
            (Query::Generate { messages, .. }, Answer::Texts(texts)) => Some(SaidRow {
                messages: messages.clone(),
                texts: texts.iter().map(|text| text.text.clone()).collect(),
            }),
            _ => None,
        })
        .collect()
}

/// A short name of some tokens.
fn name_of(ids: &[u32]) -> String {
    let mut hasher = blake3::Hasher::new();
    for id in ids {
        hasher.update(&id.to_le_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests;
