//! Every pair of responses whose scores differ enough, by the scores of viewpoint 0, the current model.
//!
//! {(i, j) : s_i > s_j, s_i − s_j ≥ min-margin}. Source: all K(K−1)/2 comparisons of K ranked answers, as InstructGPT
//! trains its reward model on (arXiv 2203.02155, section 3.5, eq. 1); a threshold on the margin of sampled responses
//! as in RS-DPO (arXiv 2402.10038), there on σ of the margin.
//!
//! Worked example: scores 2, 0, 1.5 with min-margin = 1 give the pairs (0, 1), margin 2, and (2, 1), margin 1.5;
//! (0, 2) has a margin of 0.5 only. Pairs are ordered by the rank of the chosen, then of the rejected response.

use creamery_plugin::pairing::{Group, OnTie, Selection, Weights, check_margin, rank, rank_numbers};
use creamery_plugin::params::parse;
use creamery_plugin::{Groups, NumbersView, Pair, PluginError, RankContext, Ranker, Ranking, Scores};
use serde::Deserialize;

/// The ranker; [`AllPairs::new`](Ranker::new) takes the parameters that `params.schema.json` describes.
pub struct AllPairs {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    min_margin: f64,
    weights: Weights,
    deduplicate: bool,
    require_complete: bool,
}

impl Default for Params {
    fn default() -> Self {
        Params { min_margin: 0.0, weights: Weights::One, deduplicate: true, require_complete: false }
    }
}

impl Ranker for AllPairs {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        check_margin(params.min_margin)?;
        Ok(AllPairs { params })
    }

    fn rank(&self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, PluginError> {
        rank(context, groups, scores, self.selection(), |group| self.pick(group))
    }

    fn rank_numbers(&self, context: &RankContext, numbers: NumbersView<'_>) -> Result<Option<Ranking>, PluginError> {
        rank_numbers(context, numbers, self.selection(), |group| self.pick(group)).map(Some)
    }
}

impl AllPairs {
    fn selection(&self) -> Selection {
        let Params { deduplicate, require_complete, .. } = self.params;
        Selection { deduplicate, require_complete }
    }

    fn pick(&self, group: &Group) -> Result<Vec<Pair>, String> {
        let Params { min_margin, weights, .. } = self.params;
        let sorted = group.sorted(group.candidates()?, OnTie::First);
        if sorted[0].score == sorted[sorted.len() - 1].score {
            return Err("all scores tie".into());
        }
        let all = (0..sorted.len()).flat_map(|i| (i + 1..sorted.len()).map(move |j| (i, j)));
        group.pairs(all.map(|(i, j)| (&sorted[i], &sorted[j])), min_margin, weights)
    }
}

creamery_plugin::export_plugin! {
    kind: ranker,
    type: AllPairs,
    name: "all-pairs",
    summary: "Every pair of responses whose scores by the current viewpoint differ enough.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
