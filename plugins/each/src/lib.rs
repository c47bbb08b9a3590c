//! Each response in exactly two pairs: a cycle through the order by the scores of viewpoint 0, the current model.
//!
//! With responses sorted by score, y_(1) … y_(n), the pairs are (y_(1), y_(2)), (y_(2), y_(3)), …, (y_(n−1), y_(n)) and
//! (y_(1), y_(n)), each of weight ½, so that every response weighs 1; of two responses there is one pair of weight 1.
//! It is for losses that are a sum over responses, each with a target of its own, written as a loss of pairs: half of
//! the two terms of a pair, twice, is each term once. So it is with SPPO's square (arXiv 2405.00675, eq. 4.6).
//!
//! Worked example: scores 3, 1, 2 give (0, 2), (2, 1), (0, 1), each of weight ½.
//!
//! Responses with equal scores make a pair too, since each has its target: the one that stands first is chosen.
//! Where a loss looks at which one is chosen, as DPO's, `on-tie = "drop"` leaves these pairs out, and `all-pairs` or
//! `top-bottom` suit better. Every ordering of a group has two pairs a response, so no response is left out but for
//! abstentions and, as parameters say, duplicates and those that were cut off.

use creamery_plugin::pairing::{Group, OnTie, Selection, rank, rank_numbers};
use creamery_plugin::params::parse;
use creamery_plugin::{Groups, NumbersView, Pair, PluginError, RankContext, Ranker, Ranking, Scores};
use serde::Deserialize;

/// The ranker; [`Each::new`](Ranker::new) takes the parameters that `params.schema.json` describes.
pub struct Each {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    deduplicate: bool,
    on_tie: OnTie,
    require_complete: bool,
}

impl Default for Params {
    fn default() -> Self {
        Params { deduplicate: true, on_tie: OnTie::First, require_complete: false }
    }
}

impl Ranker for Each {
    fn new(params: &str) -> Result<Self, PluginError> {
        Ok(Each { params: parse(params)? })
    }

    fn rank(&self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, PluginError> {
        rank(context, groups, scores, self.selection(), |group| self.pick(group))
    }

    fn rank_numbers(&self, context: &RankContext, numbers: NumbersView<'_>) -> Result<Option<Ranking>, PluginError> {
        if self.params.on_tie == OnTie::Random {
            return Ok(None);
        }
        rank_numbers(context, numbers, self.selection(), |group| self.pick(group)).map(Some)
    }
}

impl Each {
    fn selection(&self) -> Selection {
        let Params { deduplicate, require_complete, .. } = self.params;
        Selection { deduplicate, require_complete }
    }

    fn pick(&self, group: &Group) -> Result<Vec<Pair>, String> {
        let Params { on_tie, .. } = self.params;
        let sorted = group.sorted(group.candidates()?, on_tie);
        let last = sorted.len() - 1;
        let mut cycle: Vec<_> = sorted.windows(2).map(|two| (&two[0], &two[1])).collect();
        if last > 1 {
            cycle.push((&sorted[0], &sorted[last]));
        }
        let weight = if last > 1 { 0.5 } else { 1.0 };
        let kept = cycle.into_iter().filter(|(c, r)| on_tie != OnTie::Drop || c.score > r.score);
        let pairs: Vec<_> = kept.map(|(c, r)| group.pair(c, r, weight)).collect();
        if pairs.is_empty() { Err("all scores tie".into()) } else { Ok(pairs) }
    }
}

creamery_plugin::export_plugin! {
    kind: ranker,
    type: Each,
    name: "each",
    summary: "A cycle by the current viewpoint's order: every response is in exactly two pairs.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
