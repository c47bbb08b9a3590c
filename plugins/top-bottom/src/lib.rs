//! Top against bottom: each of the `top` best responses against each of the `bottom` worst, by the scores of
//! viewpoint 0, the current model.
//!
//! With top = bottom = 1 these are the pairs of best–worst (Self-Rewarding Language Models, arXiv 2401.10020,
//! section 2.4). More of them use more of a group's responses and depend less on its one best and one worst score.
//!
//! Worked example: scores 4, 1, 3, 2, 0 with top = 2 and bottom = 2. The best two are 0 and 2, the worst two 4 and 1,
//! so the pairs are (0, 4), (0, 1), (2, 4), (2, 1): the better response first, against the worst first.
//!
//! No response is in both lists: where a group has fewer than top + bottom candidates, the larger number shrinks, the
//! bottom first where they are equal, until they fit. Two responses with equal scores make no pair.

use creamery_plugin::pairing::{Group, OnTie, Selection, Weights, check_margin, rank, rank_numbers};
use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::{Groups, NumbersView, Pair, PluginError, RankContext, Ranker, Ranking, Scores};
use serde::Deserialize;

/// The ranker; [`TopBottom::new`](Ranker::new) takes the parameters that `params.schema.json` describes.
pub struct TopBottom {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    top: u32,
    bottom: u32,
    weights: Weights,
    deduplicate: bool,
    on_tie: OnTie,
    min_margin: f64,
    require_complete: bool,
}

impl Default for Params {
    fn default() -> Self {
        let (deduplicate, require_complete) = (true, false);
        let (weights, on_tie, min_margin) = (Weights::One, OnTie::First, 0.0);
        Params { top: 2, bottom: 2, weights, deduplicate, on_tie, min_margin, require_complete }
    }
}

impl Ranker for TopBottom {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        for (name, value) in [("top", params.top), ("bottom", params.bottom)] {
            if value == 0 {
                return Err(out_of_range(name, value, "at least 1"));
            }
        }
        check_margin(params.min_margin)?;
        Ok(TopBottom { params })
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

impl TopBottom {
    fn selection(&self) -> Selection {
        let Params { deduplicate, require_complete, .. } = self.params;
        Selection { deduplicate, require_complete }
    }

    fn pick(&self, group: &Group) -> Result<Vec<Pair>, String> {
        let Params { on_tie, min_margin, weights, .. } = self.params;
        let sorted = group.sorted(group.candidates()?, on_tie);
        let n = sorted.len();
        let (top, bottom) = self.sizes(n);
        if sorted[0].score == sorted[n - 1].score {
            return Err("all scores tie".into());
        }
        if on_tie == OnTie::Drop {
            if top < n && sorted[top - 1].score == sorted[top].score {
                return Err("the border of the best is tied".into());
            }
            if bottom < n && sorted[n - bottom].score == sorted[n - bottom - 1].score {
                return Err("the border of the worst is tied".into());
            }
        }
        let (best, worst) = (&sorted[..top], &sorted[n - bottom..]);
        let all = best.iter().flat_map(|c| worst.iter().rev().map(move |r| (c, r)));
        group.pairs(all, min_margin, weights)
    }
}

impl TopBottom {
    /// How many of `n` candidates, at least two, are the best and the worst.
    fn sizes(&self, n: usize) -> (usize, usize) {
        let (mut top, mut bottom) = ((self.params.top as usize).min(n), (self.params.bottom as usize).min(n));
        while top + bottom > n {
            if top > bottom { top -= 1 } else { bottom -= 1 }
        }
        (top, bottom)
    }
}

creamery_plugin::export_plugin! {
    kind: ranker,
    type: TopBottom,
    name: "top-bottom",
    summary: "Each of the best few responses by the current viewpoint against each of the worst few.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
