//! Ranking: scores of all viewpoints become ranks and preference pairs.

use std::collections::BTreeMap;

use creamery_plugin::{RankContext, Ranking as PluginRanking, Score, Scores as PluginScores};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::groups::{self, RankedGroup, RankedPair, SampledGroup, ScoredGroup, by_id, for_plugins, joined};
use super::judge::{Scores, ViewpointScores};
use super::sample::Samples;
use super::setup::Run;
use crate::config::RunConfig;
use crate::error::Result;
use crate::plugins::{PluginInfo, RankerPlugin};
use crate::store::Artifact;

/// `ranking.jsonl` and `rank.json`.
pub struct Ranking {
    pub artifact: Artifact,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankCounts {
    pub groups: usize,
    pub pairs: usize,
    /// Groups without a pair, by reason.
    pub dropped: BTreeMap<String, usize>,
    /// Pairs over `model.max-length` tokens, left out of groups that keep another pair.
    pub too_long: usize,
}

impl Ranking {
    pub fn read(&self) -> Result<Vec<RankedGroup>> {
        groups::read(&self.artifact.path.join("ranking.jsonl"))
    }

    pub fn counts(&self) -> Result<RankCounts> {
        let counts = groups::read(&self.artifact.path.join("rank.json"))?;
        Ok(counts.into_iter().next().unwrap_or_default())
    }
}

pub fn stage(run: &mut Run, t: usize, samples: &Samples, scores: &[Scores]) -> Result<Ranking> {
    let named = scores.iter().map(|s| (s.viewpoint.as_str(), s.artifact.id.as_str()));
    let key = key(run.config, t, &samples.artifact.id, named, run.ranker.info());
    let artifact = run.stage(&format!("round {t}: rank"), "rank", key, |run, folder| {
        let sampled = samples.read()?;
        let scored = scores.iter().map(Scores::of_viewpoint).collect::<Result<Vec<_>>>()?;
        let context = context(run.config.seed, t);
        let (rows, counts) = rank(&mut *run.ranker, &context, run.config.model.max_length, &sampled, &scored)?;
        groups::write(&folder.join("ranking.jsonl"), &rows)?;
        groups::write_one(&folder.join("rank.json"), &counts)
    })?;
    Ok(Ranking { artifact })
}

/// What decides the ranking of round `t`: the ids of the samples and of the scores by viewpoint.
pub fn key<'a>(
    config: &RunConfig,
    t: usize,
    samples: &str,
    scores: impl Iterator<Item = (&'a str, &'a str)>,
    plugin: &PluginInfo,
) -> Value {
    let (viewpoints, scores): (Vec<&str>, Vec<&str>) = scores.unzip();
    json!({
        "samples": samples, "scores": scores, "viewpoints": viewpoints, "round": t, "seed": config.seed,
        "plugin": plugin.digest, "params": plugin.params, "max-length": config.model.max_length,
    })
}

/// Scores → ranks and pairs: a row per group, those that the judge skipped at the end. Pairs over `max_length`
/// tokens, prompt and response together, are left out and counted. The weights of a group's other pairs stay as the
/// ranker gave them: only it knows what they mean. Where they share out one prompt's weight ("share") such a prompt counts
/// less, and where each response weighs 1 ("each") to scale them up would be wrong.
pub fn rank(
    ranker: &mut dyn RankerPlugin,
    context: &RankContext,
    max_length: usize,
    sampled: &[SampledGroup],
    scored: &[ViewpointScores],
) -> Result<(Vec<RankedGroup>, RankCounts)> {
    let usable = Usable::new(sampled, scored)?;
    let scores = usable.scores();
    let batch = for_plugins(usable.groups.iter().copied());
    let ranking = match groups::sources(&usable.groups) {
        _ if usable.groups.is_empty() => PluginRanking::default(),
        Some(sources) => ranker.rank_sources(context, &batch, &scores, &sources)?,
        None => ranker.rank(context, &batch, &scores)?,
    };

    let responses = batch.responses.len();
    let mut counts = RankCounts { groups: sampled.len(), ..RankCounts::default() };
    let mut rows = Vec::with_capacity(sampled.len());
    for (g, group) in usable.groups.iter().enumerate() {
        let range = batch.response_range(g);
        let ranks = (0..scored.len()).map(|v| ranking.ranks[v * responses..][range.clone()].to_vec()).collect();
        rows.push(RankedGroup { id: group.id.clone(), ranks, pairs: Vec::new(), dropped: None });
    }
    for dropped in &ranking.dropped {
        rows[dropped.index as usize].dropped = Some(dropped.reason.clone());
    }
    let mut too_long = vec![0; rows.len()];
    for pair in &ranking.pairs {
        let g = pair.group as usize;
        let (group, first) = (usable.groups[g], batch.response_range(g).start);
        let (chosen, rejected) = (pair.chosen as usize - first, pair.rejected as usize - first);
        let longer = group.responses[chosen].ids.len().max(group.responses[rejected].ids.len());
        if group.prompt_ids.len() + longer > max_length {
            too_long[g] += 1;
            continue;
        }
        rows[g].pairs.push(RankedPair { chosen, rejected, weight: pair.weight });
    }
    counts.too_long = rows.iter().zip(&too_long).filter(|(row, _)| !row.pairs.is_empty()).map(|(_, n)| n).sum();
    for row in rows.iter_mut().filter(|r| r.pairs.is_empty()) {
        row.dropped.get_or_insert_with(|| format!("every pair is over {max_length} tokens"));
    }
    for (id, reason) in usable.skipped {
        rows.push(RankedGroup { id, ranks: Vec::new(), pairs: Vec::new(), dropped: Some(reason) });
    }
    for row in &rows {
        counts.pairs += row.pairs.len();
        if let Some(reason) = &row.dropped {
            *counts.dropped.entry(reason.clone()).or_default() += 1;
        }
    }
    Ok((rows, counts))
}

/// What a ranker knows of round `t` of a run.
pub fn context(seed: u64, t: usize) -> RankContext {
    RankContext { round: t as u32, seed: seed_of_round(seed, t) }
}

/// A seed of this run and round.
fn seed_of_round(seed: u64, t: usize) -> u64 {
    let mut bytes = [0; 8];
    let mut hasher = blake3::Hasher::new_derive_key("creamery 1.0 seed of a ranker");
    hasher.update(&seed.to_le_bytes()).update(&(t as u64).to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// The groups that a judge has not skipped, with the scores of every viewpoint joined by id.
pub struct Usable<'a> {
    pub groups: Vec<&'a SampledGroup>,
    viewpoints: Vec<String>,
    /// `[viewpoints][groups]`
    scores: Vec<Vec<&'a ScoredGroup>>,
    /// Ids of skipped groups, with the reason.
    skipped: Vec<(String, String)>,
}

impl<'a> Usable<'a> {
    pub fn new(sampled: &'a [SampledGroup], scored: &'a [ViewpointScores]) -> Result<Self> {
        let tables: Vec<_> = scored.iter().map(|v| by_id(&v.rows, |r| &r.id)).collect();
        let viewpoints = scored.iter().map(|v| v.viewpoint.clone()).collect();
        let scores = vec![Vec::new(); scored.len()];
        let mut usable = Usable { groups: Vec::new(), viewpoints, scores, skipped: Vec::new() };
        for group in sampled {
            let rows = tables.iter().map(|table| joined(table, &group.id)).collect::<Result<Vec<_>>>()?;
            if let Some(reason) = rows.iter().find_map(|row| row.skipped.clone()) {
                usable.skipped.push((group.id.clone(), reason));
                continue;
            }
            usable.groups.push(group);
            for (list, row) in usable.scores.iter_mut().zip(rows) {
                list.push(row);
            }
        }
        Ok(usable)
    }

    /// `[viewpoints × responses]`, as plugins see them.
    pub fn scores(&self) -> PluginScores {
        let reason = |row: &ScoredGroup, i: usize| row.abstained.get(&i).cloned().unwrap_or_default();
        let of = |row: &ScoredGroup| -> Vec<Score> {
            let score = |(i, s): (usize, &Option<f64>)| s.map_or_else(|| Score::Abstain(reason(row, i)), Score::Value);
            row.scores.iter().enumerate().map(score).collect()
        };
        let scores = self.scores.iter().flatten().flat_map(|row| of(row)).collect();
        PluginScores { viewpoints: self.viewpoints.clone(), scores }
    }
}
