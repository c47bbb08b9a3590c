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

use creamery_plugin::consistency::first_identical;
use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::stats::{argmax, argmin, competition_ranks};
use creamery_plugin::{Dropped, Finish, Groups, Pair, PluginError, RankContext, Ranker, Ranking, Scores};
use serde::Deserialize;

/// The ranker; [`BestWorst::new`](Ranker::new) takes the parameters that `params.schema.json` describes.
pub struct BestWorst {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    deduplicate: bool,
    on_tie: OnTie,
    min_margin: f64,
    require_complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OnTie {
    First,
    Drop,
}

impl Default for Params {
    fn default() -> Self {
        Params { deduplicate: true, on_tie: OnTie::First, min_margin: 0.0, require_complete: false }
    }
}

impl Ranker for BestWorst {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        if !(params.min_margin >= 0.0 && params.min_margin.is_finite()) {
            return Err(out_of_range("min-margin", params.min_margin, "a finite number of at least 0"));
        }
        Ok(BestWorst { params })
    }

    fn rank(&self, _: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, PluginError> {
        let (viewpoints, total) = (scores.viewpoints.len(), groups.responses.len());
        if viewpoints == 0 {
            return Err(PluginError::new("there is no viewpoint to rank by"));
        }
        if scores.scores.len() != viewpoints * total {
            let (n, expected) = (scores.scores.len(), viewpoints * total);
            return Err(PluginError::new(format!(
                "{n} scores for {viewpoints} viewpoints of {total} responses: expected {expected}"
            )));
        }
        let mut ranking = Ranking { ranks: vec![0; viewpoints * total], ..Ranking::default() };
        for g in 0..groups.len() {
            let start = groups.response_range(g).start;
            let source = self.score_source(groups, g);
            for v in 0..viewpoints {
                let score = |i: usize| scores.scores[v * total + start + i].value();
                let scored: Vec<usize> = (0..source.len()).filter(|&i| score(source[i]).is_some()).collect();
                let values: Vec<f64> = scored.iter().filter_map(|&i| score(source[i])).collect();
                for (&i, rank) in scored.iter().zip(competition_ranks(&values)) {
                    ranking.ranks[v * total + start + i] = rank;
                }
            }
            let score = |i: usize| scores.scores[start + i].value();
            match self.pick(groups, g, &source, score) {
                Ok((chosen, rejected)) => ranking.pairs.push(Pair {
                    group: g as u32,
                    chosen: (start + chosen) as u32,
                    rejected: (start + rejected) as u32,
                    weight: 1.0,
                }),
                Err(reason) => ranking.dropped.push(Dropped { index: g as u32, reason }),
            }
        }
        Ok(ranking)
    }
}

impl BestWorst {
    /// For each response of the group, the one whose score it carries.
    fn score_source(&self, groups: &Groups, g: usize) -> Vec<usize> {
        if self.params.deduplicate { first_identical(groups, g) } else { (0..groups.response_range(g).len()).collect() }
    }

    /// Places of chosen and rejected within the group, or why there is no pair.
    fn pick(
        &self,
        groups: &Groups,
        g: usize,
        source: &[usize],
        score: impl Fn(usize) -> Option<f64>,
    ) -> Result<(usize, usize), String> {
        let responses = &groups.responses[groups.response_range(g)];
        let distinct: Vec<usize> = (0..source.len()).filter(|&i| source[i] == i).collect();
        if distinct.len() < 2 && responses.len() >= 2 {
            return Err("all responses are identical".into());
        }
        let complete = |i: usize| responses[i].finish == Finish::Stop;
        let allowed = |i: usize| !self.params.require_complete || complete(i);
        let candidates: Vec<(usize, f64)> =
            distinct.into_iter().filter(|&i| allowed(i)).filter_map(|i| Some((i, score(i)?))).collect();
        let values: Vec<f64> = candidates.iter().map(|&(_, v)| v).collect();
        let (best, worst) = match (argmax(&values), argmin(&values)) {
            (Some(best), Some(worst)) if values.len() >= 2 => (best, worst),
            _ if self.params.require_complete => return Err("fewer than two complete scored responses".into()),
            _ => return Err("fewer than two scored responses".into()),
        };
        if values[best] == values[worst] {
            return Err("all scores tie".into());
        }
        if self.params.on_tie == OnTie::Drop {
            let equal = |k: usize| values.iter().filter(|&&v| v == values[k]).count();
            if equal(best) > 1 {
                return Err("the best score is tied".into());
            }
            if equal(worst) > 1 {
                return Err("the worst score is tied".into());
            }
        }
        if values[best] - values[worst] < self.params.min_margin {
            return Err("the margin is below min-margin".into());
        }
        Ok((candidates[best].0, candidates[worst].0))
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
