//! Best against random: the chosen response has the highest score, the rejected one is drawn among those with less.
//!
//! y⁺ = argmax_i s_i, y⁻ uniform over {i : s_i < s(y⁺), s(y⁺) − s_i ≥ min-margin}, with s the scores of viewpoint 0.
//! Source: the pairs of Zephyr (arXiv 2310.16944, section 3: the best of four answers against one of the others at
//! random, "to encourage diversity"), with an answer as good as the best one never rejected.
//!
//! Worked example: scores 0.3, 1.2, −0.5, 1.2. Response 1, the first of the two best, is chosen; the rejected one is 0
//! or 2, each with probability ½. With `min-margin = 1` only 2 is left (1.2 − 0.3 < 1 ≤ 1.2 + 0.5).
//!
//! Every response draws a number from the run's seed, the round, the prompt's id and its text, and the smallest
//! number is rejected: so the choice does not depend on where the prompt or the response stands, and adding a prompt
//! changes no other pair.

use creamery_plugin::pairing::{Candidate, Extremes, ExtremesParams, Selection, rank};
use creamery_plugin::params::parse;
use creamery_plugin::{Groups, PluginError, RankContext, Ranker, Ranking, Scores};

/// The ranker; [`BestRandom::new`](Ranker::new) takes the parameters that `params.schema.json` describes.
pub struct BestRandom {
    selection: Selection,
    extremes: Extremes,
}

impl Ranker for BestRandom {
    fn new(params: &str) -> Result<Self, PluginError> {
        let (selection, extremes) = parse::<ExtremesParams>(params)?.rules()?;
        Ok(BestRandom { selection, extremes })
    }

    fn rank(&self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, PluginError> {
        rank(context, groups, scores, self.selection, |group| {
            let candidates = group.candidates()?;
            if candidates.iter().all(|c| c.score == candidates[0].score) {
                return Err("all scores tie".into());
            }
            let best = self.extremes.best(group, candidates)?;
            let worse: Vec<&Candidate> = candidates.iter().filter(|c| c.score < best.score).collect();
            if worse.is_empty() {
                return Err("length control leaves no better response".into());
            }
            let far = worse.into_iter().filter(|c| self.extremes.margin(&best, c).is_ok());
            let rejected = far.min_by_key(|c| group.key("rejected", c)).ok_or("the margin is below min-margin")?;
            Ok([group.pair(&best, rejected, 1.0)])
        })
    }
}

creamery_plugin::export_plugin! {
    kind: ranker,
    type: BestRandom,
    name: "best-random",
    summary: "The best response by the current viewpoint against a worse one drawn at random.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
