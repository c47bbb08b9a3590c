//! Regularizing: how far each pair is to be trusted, from the agreement of the viewpoints. Pairs of judgments join the
//! pairs of responses here: nobody but their judge has an opinion of them, so they are certain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use creamery_plugin::{Message, Metric, Pair, Records, RoundRecord};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::groups::{
    self, ACTOR_ROLE, JUDGE_ROLE, LabelledPair, RankedGroup, SampledGroup, by_id, for_plugins, joined,
};
use super::judge::{JudgmentRow, Scores, ViewpointScores};
use super::rank::{Ranking, Usable};
use super::sample::Samples;
use super::setup::Run;
use super::summary::RunSummary;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::plugins::{PluginInfo, RegularizerPlugin, columns};
use crate::store::Artifact;

/// `pairs.jsonl` and `labels.json`.
pub struct Labels {
    pub artifact: Artifact,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelCounts {
    pub pairs: usize,
    /// Pairs that the regularizer left out, by reason.
    pub dropped: BTreeMap<String, usize>,
    /// The regularizer's metrics; "consistency" is the mean C.
    pub metrics: Vec<Metric>,
    /// `None` where the judge reported no pairs of judgments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_pairs: Option<JudgePairs>,
}

/// Pairs of judgments, which train the model as a judge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgePairs {
    pub pairs: usize,
    /// Pairs over `model.max-length` tokens, left out.
    pub too_long: usize,
}

impl LabelCounts {
    /// What later rounds' regularizers see of round `t`.
    pub fn record(&self, t: usize) -> RoundRecord {
        RoundRecord { round: t as u32, pairs: self.pairs as u32, metrics: self.metrics.clone() }
    }

    /// Of the folder of such an artifact.
    pub fn of_artifact(folder: &Path) -> Result<LabelCounts> {
        Ok(groups::read(&folder.join("labels.json"))?.into_iter().next().unwrap_or_default())
    }
}

impl Labels {
    pub fn read(&self) -> Result<Vec<LabelledPair>> {
        groups::read(&self.artifact.path.join("pairs.jsonl"))
    }

    pub fn counts(&self) -> Result<LabelCounts> {
        LabelCounts::of_artifact(&self.artifact.path)
    }
}

pub fn stage(
    run: &mut Run,
    t: usize,
    samples: &Samples,
    scores: &[Scores],
    ranking: &Ranking,
    earlier: &RunSummary,
) -> Result<Labels> {
    let history: Vec<RoundRecord> = earlier.rounds.iter().map(|r| r.record()).collect();
    let objective = run.objective.as_ref().map(|plugin| plugin.info());
    let key = key(run.config, t, &ranking.artifact.id, json!(history), run.regularizer.info(), objective);
    let artifact = run.stage(&format!("round {t}: regularize"), "regularize", key, |run, folder| {
        let sampled = samples.read()?;
        let scored = scores.iter().map(Scores::of_viewpoint).collect::<Result<Vec<_>>>()?;
        let ranked = ranking.read()?;
        let judgments = match scores.first() {
            // The model that is trained learns from its own judgments.
            Some(current) => current.judgments()?,
            None => Vec::new(),
        };
        let groups = Judged { sampled: &sampled, scored: &scored, ranked: &ranked, judgments: &judgments };
        let plugins = Labellers {
            regularizer: &mut *run.regularizer,
            objective: run.objective.as_mut().map(|plugin| &mut **plugin as _),
        };
        let (rows, counts) = plugins.label(t, history, &groups, run.config.model.max_length)?;
        groups::write(&folder.join("pairs.jsonl"), &rows)?;
        groups::write_one(&folder.join("labels.json"), &counts)
    })?;
    Ok(Labels { artifact })
}

/// What decides the labels of round `t`: the id of the ranking, and `history`, the records of the rounds before.
pub fn key(
    config: &RunConfig,
    t: usize,
    ranking: &str,
    history: Value,
    plugin: &PluginInfo,
    objective: Option<&PluginInfo>,
) -> Value {
    json!({
        "ranking": ranking, "round": t, "history": history, "plugin": plugin.digest, "params": plugin.params,
        "objective": objective.map(|plugin| (&plugin.digest, &plugin.params)),
        "max-length": config.model.max_length,
    })
}

/// What a regularizer's work is about.
pub struct Judged<'a> {
    pub sampled: &'a [SampledGroup],
    pub scored: &'a [ViewpointScores],
    pub ranked: &'a [RankedGroup],
    /// Of the current viewpoint's judge.
    pub judgments: &'a [JudgmentRow],
}

/// The plugins that say something about pairs.
pub struct Labellers<'a> {
    pub regularizer: &'a mut dyn RegularizerPlugin,
    /// The plugin whose objective is used, if it is not the regularizer: the columns are its own.
    pub objective: Option<&'a mut dyn RegularizerPlugin>,
}

impl Labellers<'_> {
    /// Pairs → labelled pairs, in the order of the groups, and after them the pairs of judgments of at most
    /// `max_length` tokens, prompt and judgment together. `history` is of the rounds before `t`.
    ///
    /// # Errors
    /// What a plugin fails with, no pair left to train on, columns that no objective reads, and pairs of judgments where
    /// the objective needs columns.
    pub fn label(
        self,
        t: usize,
        history: Vec<RoundRecord>,
        groups: &Judged,
        max_length: usize,
    ) -> Result<(Vec<LabelledPair>, LabelCounts)> {
        let usable = Usable::new(groups.sampled, groups.scored)?;
        let records = records(t, history, &usable, groups)?;
        let labels = self.regularizer.label(&records)?;
        let mut objective = self.objective;
        let columns = columns::of(self.regularizer, &mut objective, &records, &labels)?;
        let mut counts = LabelCounts { metrics: labels.metrics.clone(), ..LabelCounts::default() };
        let dropped: BTreeMap<u32, &String> = labels.dropped.iter().map(|d| (d.index, &d.reason)).collect();
        let mut rows = Vec::with_capacity(records.pairs.len());
        for (i, pair) in records.pairs.iter().enumerate() {
            if let Some(&reason) = dropped.get(&(i as u32)) {
                *counts.dropped.entry(reason.clone()).or_default() += 1;
                continue;
            }
            let g = pair.group as usize;
            let first = records.groups.response_range(g).start;
            let local = (pair.chosen as usize - first, pair.rejected as usize - first);
            let row = row(usable.groups[g], local, labels.consistency[i], pair.weight * labels.weights[i]);
            let columns = columns.iter().map(|column| (column.name.clone(), column.values[i])).collect();
            rows.push(LabelledPair { columns, ..row });
        }
        if rows.is_empty() {
            return Err(nothing_left(t, "the regularizer dropped every pair", &counts.dropped));
        }
        name_apart(&mut rows);
        counts.pairs = rows.len();
        if !groups.judgments.is_empty() {
            if let Some(column) = columns.first() {
                return Err(columns::no_columns_of_judgments(&column.name));
            }
            let (pairs, judge_pairs) = judge_pairs(groups.judgments, max_length, &rows);
            rows.iter_mut().for_each(|row| row.role = Some(ACTOR_ROLE.to_owned()));
            rows.extend(pairs);
            counts.judge_pairs = Some(judge_pairs);
        }
        Ok((rows, counts))
    }
}

fn records(t: usize, history: Vec<RoundRecord>, usable: &Usable, groups: &Judged) -> Result<Records> {
    let mut records = Records { round: t as u32, history, ..Records::default() };
    records.groups = for_plugins(usable.groups.iter().copied());
    records.scores = usable.scores();
    let ranks = by_id(groups.ranked, |r| &r.id);
    for v in 0..groups.scored.len() {
        for group in &usable.groups {
            records.ranks.extend(&joined(&ranks, &group.id)?.ranks[v]);
        }
    }
    for (g, group) in usable.groups.iter().enumerate() {
        let first = records.groups.response_range(g).start;
        let flat = |r: usize| (first + r) as u32;
        records.pairs.extend(joined(&ranks, &group.id)?.pairs.iter().map(|p| Pair {
            group: g as u32,
            chosen: flat(p.chosen),
            rejected: flat(p.rejected),
            weight: p.weight,
        }));
    }
    if records.pairs.is_empty() {
        let mut reasons = BTreeMap::new();
        for reason in groups.ranked.iter().filter_map(|row| row.dropped.clone()) {
            *reasons.entry(reason).or_default() += 1;
        }
        return Err(nothing_left(t, "the ranker dropped every group", &reasons));
    }
    Ok(records)
}

fn row(group: &SampledGroup, (chosen, rejected): (usize, usize), consistency: f64, weight: f64) -> LabelledPair {
    let said = |r: usize| vec![Message::assistant(&group.responses[r].text)];
    LabelledPair {
        id: group.id.clone(),
        role: None,
        prompt: group.prompt.clone(),
        chosen: said(chosen),
        rejected: said(rejected),
        consistency,
        weight,
        group: group.id.clone(),
        chosen_index: Some(chosen),
        rejected_index: Some(rejected),
        columns: BTreeMap::new(),
        prompt_ids: group.prompt_ids.clone(),
        chosen_ids: group.responses[chosen].ids.clone(),
        rejected_ids: group.responses[rejected].ids.clone(),
    }
}

/// Gives each pair of a group with several an id of its own: `ID#CHOSEN>REJECTED`.
fn name_apart(rows: &mut [LabelledPair]) {
    let mut pairs: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows.iter() {
        *pairs.entry(row.group.clone()).or_default() += 1;
    }
    let mut taken: BTreeSet<String> = pairs.keys().cloned().collect();
    for row in rows.iter_mut().filter(|row| pairs[&row.group] > 1) {
        let number = |index: Option<usize>| index.unwrap_or_default();
        row.id = format!("{}#{}>{}", row.group, number(row.chosen_index), number(row.rejected_index));
        while !taken.insert(row.id.clone()) {
            row.id.push('\'');
        }
    }
}

/// The pairs of judgments as rows, without those over `max_length` tokens, with ids that no row of `pairs` has.
fn judge_pairs(
    judgments: &[JudgmentRow],
    max_length: usize,
    pairs: &[LabelledPair],
) -> (Vec<LabelledPair>, JudgePairs) {
    let taken: BTreeSet<&str> = pairs.iter().map(|row| row.id.as_str()).collect();
    let mut ids: Vec<String> = Vec::with_capacity(judgments.len());
    for (k, judgment) in judgments.iter().enumerate() {
        let mut id = format!("{}#{k}", judgment.group);
        while taken.contains(id.as_str()) {
            id.push('\'');
        }
        ids.push(id);
    }
    let said = |text: &str| vec![Message::assistant(text)];
    let fits = |j: &JudgmentRow| j.prompt_ids.len() + j.chosen_ids.len().max(j.rejected_ids.len()) <= max_length;
    let rows: Vec<LabelledPair> = (judgments.iter().zip(ids))
        .filter(|(judgment, _)| fits(judgment))
        .map(|(judgment, id)| LabelledPair {
            id,
            role: Some(JUDGE_ROLE.to_owned()),
            prompt: judgment.prompt.clone(),
            chosen: said(&judgment.chosen),
            rejected: said(&judgment.rejected),
            consistency: 1.0,
            weight: judgment.weight,
            group: judgment.group.clone(),
            chosen_index: None,
            rejected_index: None,
            columns: BTreeMap::new(),
            prompt_ids: judgment.prompt_ids.clone(),
            chosen_ids: judgment.chosen_ids.clone(),
            rejected_ids: judgment.rejected_ids.clone(),
        })
        .collect();
    let counts = JudgePairs { pairs: rows.len(), too_long: judgments.len() - rows.len() };
    (rows, counts)
}

fn nothing_left(t: usize, what: &str, reasons: &BTreeMap<String, usize>) -> Error {
    Error::run(format!("round {t} has no pair to train on: {what} ({})", groups::reasons(reasons)))
        .help("sample more or at a higher temperature, or loosen the ranker's and the regularizer's parameters")
}
