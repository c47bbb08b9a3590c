//! Best against worst: the chosen response has the highest score, the rejected one the lowest.
//!
//! y⁺ = argmax_i s_i, y⁻ = argmin_i s_i, with s the scores of viewpoint 0, the current model, alone.
//! Source: CREAM (arXiv 2410.12735, section 4) and Self-Rewarding Language Models (arXiv 2401.10020,
//! section 2.4), which drops a pair whose scores are equal.
//!
//! Worked example: scores 0.3, 1.2, −0.5, 1.2 rank 3, 1, 4, 1. Responses 1 and 3 tie at the top; the first one
//! is chosen, so the pair is (1, 2), its margin 1.2 − (−0.5) = 1.7.
//!
//! Identical responses (same text, same reason to end) are merged first: they carry the first one's score.
//!
//! Length control (Meta-Rewarding, arXiv 2407.19594, section 2.2): with ρ > 0 the chosen response is the shortest
//! whose score lies in the upper share ρ of the group's range, [(1 − ρ)·s_max + ρ·s_min, s_max], and the rejected one
//! the longest in the lower share. Worked example: scores 5, 4.8, 1 with 90, 40, 30 tokens and ρ = 0.1: the upper
//! tier is [4.6, 5], so the second response is chosen.

use creamery_plugin::pairing::{Extremes, ExtremesParams, Group, Selection, rank, rank_numbers};
use creamery_plugin::params::parse;
use creamery_plugin::{Groups, NumbersView, Pair, PluginError, RankContext, Ranker, Ranking, Scores};

/// The ranker; [`BestWorst::new`](Ranker::new) takes the parameters that `params.schema.json` describes.
pub struct BestWorst {
    selection: Selection,
    extremes: Extremes,
}

impl Ranker for BestWorst {
    fn new(params: &str) -> Result<Self, PluginError> {
        let (selection, extremes) = parse::<ExtremesParams>(params)?.rules()?;
        Ok(BestWorst { selection, extremes })
    }

    fn rank(&self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, PluginError> {
        rank(context, groups, scores, self.selection, |group| self.pick(group))
    }

    fn rank_numbers(&self, context: &RankContext, numbers: NumbersView<'_>) -> Result<Option<Ranking>, PluginError> {
        if self.extremes.needs_texts() {
            return Ok(None);
        }
        rank_numbers(context, numbers, self.selection, |group| self.pick(group)).map(Some)
    }
}

impl BestWorst {
    fn pick(&self, group: &Group) -> Result<[Pair; 1], String> {
        let (best, worst) = self.extremes.pick(group, group.candidates()?)?;
        Ok([group.pair(&best, &worst, 1.0)])
    }
}

creamery_plugin::export_plugin! {
    kind: ranker,
    type: BestWorst,
    name: "best-worst",
    summary: "The best response by the current viewpoint against the worst.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
