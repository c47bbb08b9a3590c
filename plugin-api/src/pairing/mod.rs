//! From scores to preference pairs: what the rankers of this repository share.
//!
//! * Candidates of a group: its scored responses, identical ones (same text, same reason to end) merged into the
//!   first one, which lends them its score; on demand without those that the token limit cut off.
//! * Ranks `[V × R]` of every viewpoint.
//! * The best and the worst candidate, with rules for ties, margins and lengths: [`Extremes`].
//! * Random choices that depend on the run's seed, the group's id and the response's text, never on a position.

mod extremes;
mod random;

pub use extremes::{Extremes, ExtremesParams, OnTie, check_margin};
pub use random::key;

use serde::Deserialize;

use crate::consistency::identical;
use crate::types::{Dropped, Finish, Groups, Pair, PluginError, RankContext, Ranking, Score, Scores};

/// The weights of a group's pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// Every pair weighs 1, so a group with more pairs weighs more.
    One,
    /// 1 / (number of the group's pairs), so all groups weigh 1 (as the loss over all pairs of K answers in
    /// InstructGPT, arXiv 2203.02155, eq. 1).
    Share,
}

/// Which responses of a group count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Merge identical responses: they carry the first one's score.
    pub deduplicate: bool,
    /// Choose and reject only responses that ended by themselves.
    pub require_complete: bool,
}

/// A response that may be chosen or rejected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its flat number.
    pub response: u32,
    /// Finite.
    pub score: f64,
    /// Its length.
    pub tokens: u32,
}

/// One group at a time, for a ranker that makes its pairs.
pub struct Group<'a> {
    groups: &'a Groups,
    number: usize,
    /// `[R]`
    values: &'a [Option<f64>],
    /// For each response of the group, the place within the group of the one whose score it carries.
    first: &'a [u32],
    selection: Selection,
    seed: u64,
}

impl Group<'_> {
    /// All candidates, in the order of the responses; at least two, else the reason why not.
    pub fn candidates(&self) -> Result<Vec<Candidate>, String> {
        let originals = (0..self.first.len()).filter(|&i| self.first[i] as usize == i);
        if self.first.len() >= 2 && originals.clone().count() < 2 {
            return Err("all responses are identical".into());
        }
        let mut candidates = Vec::with_capacity(self.first.len());
        candidates.extend(originals.filter_map(|i| self.candidate(i)));
        match candidates.len() {
            0 | 1 if self.selection.require_complete => Err("fewer than two complete scored responses".into()),
            0 | 1 => Err("fewer than two scored responses".into()),
            _ => Ok(candidates),
        }
    }

    /// The candidates among some of the responses, named by their flat numbers. Of identical ones among them the
    /// first stays, with the score of the first in the whole group.
    pub fn candidates_among(&self, among: impl Fn(usize) -> bool) -> Vec<Candidate> {
        let start = self.groups.response_range(self.number).start;
        let among: Vec<bool> = (0..self.first.len()).map(|i| among(start + i)).collect();
        let is_first = |i: usize| !(0..i).any(|j| among[j] && self.first[j] == self.first[i]);
        (0..self.first.len()).filter(|&i| among[i] && is_first(i)).filter_map(|i| self.candidate(i)).collect()
    }

    /// The response at place `i` of the group, if it is scored and complete enough.
    fn candidate(&self, i: usize) -> Option<Candidate> {
        let start = self.groups.response_range(self.number).start;
        let response = &self.groups.responses[start + i];
        let complete = response.finish == Finish::Stop;
        let score = self.values[start + self.first[i] as usize];
        let score = score.filter(|_| complete || !self.selection.require_complete)?;
        Some(Candidate { response: (start + i) as u32, score, tokens: response.tokens })
    }

    /// A random number of this response in this run, for a rule of this name: the same wherever the response and
    /// the group stand.
    pub fn key(&self, rule: &str, candidate: &Candidate) -> u64 {
        let response = &self.groups.responses[candidate.response as usize];
        let finish = if response.finish == Finish::Stop { "stop" } else { "length" };
        key(self.seed, &[rule, &self.groups.ids[self.number], finish, &response.text])
    }

    /// Candidates by score, the best first. Equal scores stand in the order of the responses or, with
    /// [`OnTie::Random`], in a random one.
    pub fn sorted(&self, mut candidates: Vec<Candidate>, on_tie: OnTie) -> Vec<Candidate> {
        if on_tie == OnTie::Random {
            candidates.sort_by_cached_key(|c| self.key("order", c));
        }
        // + 0.0 makes one zero of the two.
        candidates.sort_by(|a, b| (b.score + 0.0).total_cmp(&(a.score + 0.0)));
        candidates
    }

    /// A pair of this group.
    pub fn pair(&self, chosen: &Candidate, rejected: &Candidate, weight: f64) -> Pair {
        Pair { group: self.number as u32, chosen: chosen.response, rejected: rejected.response, weight }
    }

    /// Of the given pairs, chosen first, those whose scores differ by at least `min_margin` and are not equal; where
    /// none do, "the margin is below min-margin".
    pub fn pairs<'c>(
        &self,
        pairs: impl Iterator<Item = (&'c Candidate, &'c Candidate)>,
        min_margin: f64,
        weights: Weights,
    ) -> Result<Vec<Pair>, String> {
        let apart = |(c, r): &(&Candidate, &Candidate)| c.score > r.score && c.score - r.score >= min_margin;
        let mut pairs: Vec<Pair> = pairs.filter(apart).map(|(c, r)| self.pair(c, r, 1.0)).collect();
        if pairs.is_empty() {
            return Err("the margin is below min-margin".into());
        }
        if weights == Weights::Share {
            let weight = 1.0 / pairs.len() as f64;
            pairs.iter_mut().for_each(|pair| pair.weight = weight);
        }
        Ok(pairs)
    }
}

/// For each response, the place within its group of the one whose score it carries. `[R]`
fn merged(groups: &Groups, deduplicate: bool) -> Vec<u32> {
    let mut first = Vec::with_capacity(groups.responses.len());
    for g in 0..groups.len() {
        let places = groups.response_range(g).len();
        match deduplicate {
            true => first.extend(identical(groups, g).map(|place| place as u32)),
            false => first.extend(0..places as u32),
        }
    }
    first
}

/// A whole ranking by the scores of viewpoint 0, the current model: ranks of every viewpoint, and for each group the
/// pairs that `pick` makes or the reason why there are none.
///
/// ```
/// use creamery_plugin::pairing::{Extremes, OnTie, Selection, rank};
/// use creamery_plugin::{RankContext, testkit};
///
/// let groups = testkit::groups(&[("x", &["a", "b", "c"])]);
/// let scores = testkit::scores(&[("current", &[Some(0.5), Some(2.0), Some(-1.0)])]);
/// let selection = Selection { deduplicate: true, require_complete: false };
/// let extremes = Extremes { on_tie: OnTie::First, min_margin: 0.0, length_control: 0.0 };
/// let ranking = rank(&RankContext::default(), &groups, &scores, selection, |group| {
///     let (best, worst) = extremes.pick(group, &group.candidates()?)?;
///     Ok(vec![group.pair(&best, &worst, 1.0)])
/// });
/// let ranking = ranking.unwrap();
/// assert_eq!(ranking.ranks, [2, 1, 3]);
/// assert_eq!(ranking.pairs, [testkit::pair(0, 1, 2)]);
/// ```
pub fn rank(
    context: &RankContext,
    groups: &Groups,
    scores: &Scores,
    selection: Selection,
    pick: impl Fn(&Group) -> Result<Vec<Pair>, String>,
) -> Result<Ranking, PluginError> {
    check(groups, scores)?;
    let values: Vec<Option<f64>> = scores.scores[..groups.responses.len()].iter().map(Score::value).collect();
    rank_by(context, groups, scores, &values, selection, pick)
}

/// The same by other values, `[R]`; the ranks stay each viewpoint's own.
pub fn rank_by(
    context: &RankContext,
    groups: &Groups,
    scores: &Scores,
    values: &[Option<f64>],
    selection: Selection,
    pick: impl Fn(&Group) -> Result<Vec<Pair>, String>,
) -> Result<Ranking, PluginError> {
    check(groups, scores)?;
    let first = merged(groups, selection.deduplicate);
    let mut ranking = Ranking { ranks: ranks_by(groups, scores, &first), ..Ranking::default() };
    for number in 0..groups.len() {
        let first = &first[groups.response_range(number)];
        match pick(&Group { groups, number, values, first, selection, seed: context.seed }) {
            Ok(pairs) => ranking.pairs.extend(pairs),
            Err(reason) => ranking.dropped.push(Dropped { index: number as u32, reason }),
        }
    }
    Ok(ranking)
}

/// `[V × R]` competition ranks ("1, 2, 2, 4") within each group, 0 for a response without a score. With
/// `deduplicate`, identical responses carry the first one's score.
pub fn ranks(groups: &Groups, scores: &Scores, deduplicate: bool) -> Result<Vec<u32>, PluginError> {
    check(groups, scores)?;
    Ok(ranks_by(groups, scores, &merged(groups, deduplicate)))
}

/// [`ranks`] where each response carries the score of the one that `first`, `[R]`, names.
fn ranks_by(groups: &Groups, scores: &Scores, first: &[u32]) -> Vec<u32> {
    let total = groups.responses.len();
    let mut ranks = vec![0; scores.scores.len()];
    let mut values = Vec::new();
    for v in 0..scores.viewpoints.len() {
        for g in 0..groups.len() {
            let range = groups.response_range(g);
            values.clear();
            values.extend(
                first[range.clone()].iter().map(|&i| scores.scores[v * total + range.start + i as usize].value()),
            );
            for (rank, value) in ranks[v * total..][range].iter_mut().zip(&values) {
                if let Some(value) = value {
                    *rank = 1 + values.iter().flatten().filter(|other| *other > value).count() as u32;
                }
            }
        }
    }
    ranks
}

/// Whether there are scores, as many as viewpoints and responses ask for.
fn check(groups: &Groups, scores: &Scores) -> Result<(), PluginError> {
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
    Ok(())
}

#[cfg(test)]
mod tests;
