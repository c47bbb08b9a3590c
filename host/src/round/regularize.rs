//! Regularizing: how far each pair is to be trusted, from the agreement of the viewpoints.

use std::collections::{BTreeMap, BTreeSet};

use creamery_plugin::{Message, Metric, Pair, Records, RoundRecord};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::groups::{self, LabelledPair, RankedGroup, SampledGroup, by_id, for_plugins, joined};
use super::judge::{Scores, ViewpointScores};
use super::rank::{Ranking, Usable};
use super::sample::Samples;
use super::setup::Run;
use super::summary::RunSummary;
use crate::error::{Error, Result};
use crate::plugins::RegularizerPlugin;
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
}

impl Labels {
    pub fn read(&self) -> Result<Vec<LabelledPair>> {
        groups::read(&self.artifact.path.join("pairs.jsonl"))
    }

    pub fn counts(&self) -> Result<LabelCounts> {
        let counts = groups::read(&self.artifact.path.join("labels.json"))?;
        Ok(counts.into_iter().next().unwrap_or_default())
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
    let info = run.regularizer.info();
    let key = json!({
        "ranking": ranking.artifact.id, "round": t, "history": history, "plugin": info.digest, "params": info.params,
    });
    let artifact = run.stage(&format!("round {t}: regularize"), "regularize", key, |run, folder| {
        let sampled = samples.read()?;
        let scored = scores.iter().map(Scores::of_viewpoint).collect::<Result<Vec<_>>>()?;
        let ranked = ranking.read()?;
        let (rows, counts) = label(&mut *run.regularizer, t, history, &sampled, &scored, &ranked)?;
        groups::write(&folder.join("pairs.jsonl"), &rows)?;
        groups::write_one(&folder.join("labels.json"), &counts)
    })?;
    Ok(Labels { artifact })
}

/// Pairs → labelled pairs, in the order of the groups. `history` is of the rounds before `t`.
pub fn label(
    regularizer: &mut dyn RegularizerPlugin,
    t: usize,
    history: Vec<RoundRecord>,
    sampled: &[SampledGroup],
    scored: &[ViewpointScores],
    ranked: &[RankedGroup],
) -> Result<(Vec<LabelledPair>, LabelCounts)> {
    let usable = Usable::new(sampled, scored)?;
    let mut records = Records { round: t as u32, history, ..Records::default() };
    records.groups = for_plugins(usable.groups.iter().copied());
    records.scores = usable.scores();
    let ranks = by_id(ranked, |r| &r.id);
    for v in 0..scored.len() {
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
        for reason in ranked.iter().filter_map(|row| row.dropped.clone()) {
            *reasons.entry(reason).or_default() += 1;
        }
        return Err(nothing_left(t, "the ranker dropped every group", &reasons));
    }

    let labels = regularizer.label(&records)?;
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
        rows.push(row(usable.groups[g], local, labels.consistency[i], pair.weight * labels.weights[i]));
    }
    if rows.is_empty() {
        return Err(nothing_left(t, "the regularizer dropped every pair", &counts.dropped));
    }
    name_apart(&mut rows);
    counts.pairs = rows.len();
    Ok((rows, counts))
}

fn row(group: &SampledGroup, (chosen, rejected): (usize, usize), consistency: f64, weight: f64) -> LabelledPair {
    let said = |r: usize| vec![Message::assistant(&group.responses[r].text)];
    LabelledPair {
        id: group.id.clone(),
        prompt: group.prompt.clone(),
        chosen: said(chosen),
        rejected: said(rejected),
        consistency,
        weight,
        group: group.id.clone(),
        chosen_index: chosen,
        rejected_index: rejected,
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
        row.id = format!("{}#{}>{}", row.group, row.chosen_index, row.rejected_index);
        while !taken.insert(row.id.clone()) {
            row.id.push('\'');
        }
    }
}

fn nothing_left(t: usize, what: &str, reasons: &BTreeMap<String, usize>) -> Error {
    let list: Vec<String> = reasons.iter().map(|(reason, n)| format!("{n} × {reason}")).collect();
    Error::run(format!("round {t} has no pair to train on: {what} ({})", list.join("; ")))
        .help("sample more or at a higher temperature, or loosen the ranker's and the regularizer's parameters")
}
