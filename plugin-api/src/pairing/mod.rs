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

use std::borrow::Cow;

use serde::Deserialize;

use crate::numbers::{Numbers, NumbersView};
use crate::types::{Dropped, Groups, Pair, PluginError, RankContext, Ranking, Scores};

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

/// Groups of so many responses at most are small.
const FEW: usize = 16;
const NO_CANDIDATE: Candidate = Candidate { response: 0, score: 0.0, tokens: 0 };

/// One group at a time, for a ranker that makes its pairs.
pub struct Group<'a> {
    batch: &'a Batch<'a>,
    number: usize,
    candidates: &'a [Candidate],
    /// How many responses are no other's copy.
    distinct: usize,
}

/// All groups.
struct Batch<'a> {
    numbers: &'a NumbersView<'a>,
    /// None where the ranker got numbers alone.
    texts: Option<&'a Groups>,
    /// `[R]` by which pairs are made: NaN without a score; a copy has its original's.
    values: &'a [f64],
    selection: Selection,
    seed: u64,
}

impl<'a> Group<'a> {
    /// All candidates, in the order of the responses; at least two, else the reason why not.
    #[inline]
    pub fn candidates(&self) -> Result<&'a [Candidate], String> {
        if self.candidates.len() >= 2 { Ok(self.candidates) } else { Err(self.too_few()) }
    }

    #[cold]
    fn too_few(&self) -> String {
        let responses = self.batch.numbers.response_range(self.number).len();
        match self.batch.selection.require_complete {
            _ if responses >= 2 && self.distinct < 2 => "all responses are identical".into(),
            true => "fewer than two complete scored responses".into(),
            false => "fewer than two scored responses".into(),
        }
    }

    /// The candidates among some of the responses, named by their flat numbers. Of identical ones among them the
    /// first stays, with the score of the first in the whole group.
    pub fn candidates_among(&self, among: impl Fn(usize) -> bool) -> Vec<Candidate> {
        let Batch { numbers, values, selection, .. } = self.batch;
        let range = numbers.response_range(self.number);
        let first = |i: usize| if selection.deduplicate { numbers.first[range.start + i] as usize } else { i };
        let mut seen = vec![false; range.len()];
        let mut candidates = Vec::new();
        for (i, r) in range.clone().enumerate() {
            let new = among(r) && !std::mem::replace(&mut seen[first(i)], true);
            if new && counts(values[r], numbers.cut_off[r], *selection) {
                candidates.push(Candidate { response: r as u32, score: values[r], tokens: numbers.tokens[r] });
            }
        }
        candidates
    }

    /// A random number of this response in this run, for a rule of this name: the same wherever the response and
    /// the group stand.
    ///
    /// Panics in [`rank_numbers`], which has no texts: a rule that draws needs [`rank`].
    pub fn key(&self, rule: &str, candidate: &Candidate) -> u64 {
        let Batch { numbers, texts, seed, .. } = self.batch;
        let texts = texts.expect("a rule that draws by texts does not rank by numbers");
        let response = candidate.response as usize;
        let finish = if numbers.cut_off[response] == 0 { "stop" } else { "length" };
        key(*seed, &[rule, &texts.ids[self.number], finish, &texts.responses[response].text])
    }

    /// Candidates by score, the best first. Equal scores stand in the order of the responses or, with
    /// [`OnTie::Random`], in a random one.
    pub fn sorted(&self, candidates: &[Candidate], on_tie: OnTie) -> Vec<Candidate> {
        let mut candidates = candidates.to_vec();
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

/// Whether a response is scored and complete enough to be a candidate.
#[inline(always)]
fn counts(score: f64, cut_off: u8, selection: Selection) -> bool {
    !score.is_nan() & ((cut_off == 0) | !selection.require_complete)
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
///     let (best, worst) = extremes.pick(group, group.candidates()?)?;
///     Ok([group.pair(&best, &worst, 1.0)])
/// });
/// let ranking = ranking.unwrap();
/// assert_eq!(ranking.ranks, [2, 1, 3]);
/// assert_eq!(ranking.pairs, [testkit::pair(0, 1, 2)]);
/// ```
pub fn rank<P: IntoIterator<Item = Pair>>(
    context: &RankContext,
    groups: &Groups,
    scores: &Scores,
    selection: Selection,
    pick: impl Fn(&Group) -> Result<P, String>,
) -> Result<Ranking, PluginError> {
    check(groups, scores)?;
    Ok(ranking(context, &Numbers::of(groups, scores).view(), Some(groups), None, selection, pick))
}

/// The same by other values, `[R]`; the ranks stay each viewpoint's own.
pub fn rank_by<P: IntoIterator<Item = Pair>>(
    context: &RankContext,
    groups: &Groups,
    scores: &Scores,
    values: &[Option<f64>],
    selection: Selection,
    pick: impl Fn(&Group) -> Result<P, String>,
) -> Result<Ranking, PluginError> {
    check(groups, scores)?;
    let values: Vec<f64> = values.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
    Ok(ranking(context, &Numbers::of(groups, scores).view(), Some(groups), Some(&values), selection, pick))
}

/// [`rank`] for a rule that looks at numbers alone: `pick` must not ask for [`Group::key`].
pub fn rank_numbers<P: IntoIterator<Item = Pair>>(
    context: &RankContext,
    numbers: NumbersView<'_>,
    selection: Selection,
    pick: impl Fn(&Group) -> Result<P, String>,
) -> Result<Ranking, PluginError> {
    numbers.check()?;
    Ok(ranking(context, &numbers, None, None, selection, pick))
}

/// `values`, `[R]`: by which pairs are made, if not by the scores of viewpoint 0.
///
/// What it calls stays apart (`inline(never)`): as one function a component runs out of registers and is a third slower.
fn ranking<P: IntoIterator<Item = Pair>>(
    context: &RankContext,
    numbers: &NumbersView<'_>,
    texts: Option<&Groups>,
    values: Option<&[f64]>,
    selection: Selection,
    pick: impl Fn(&Group) -> Result<P, String>,
) -> Ranking {
    let carried = |values| if selection.deduplicate { carried(numbers, values) } else { Cow::Borrowed(values) };
    let scores = carried(numbers.scores);
    let other = values.map(carried);
    let values = other.as_deref().unwrap_or(&scores[..numbers.tokens.len()]);
    let ranks = ranks_by(numbers, &scores);
    let (mut pairs, mut dropped) = (Vec::with_capacity(numbers.len()), Vec::new());
    let batch = Batch { numbers, texts, values, selection, seed: context.seed };
    // One list for all groups, and none on the heap for small ones: a list each would cost more than the ranking.
    let (mut few, mut many) = ([NO_CANDIDATE; FEW], Vec::new());
    for number in 0..numbers.len() {
        let size = numbers.response_range(number).len();
        let candidates = match few.get_mut(..size) {
            Some(few) => few,
            None => {
                many.resize(size.max(many.len()), NO_CANDIDATE);
                &mut many[..]
            }
        };
        let (count, distinct) = gather(numbers, values, selection, number, candidates);
        match pick(&Group { batch: &batch, number, candidates: &candidates[..count], distinct }) {
            Ok(of_group) => pairs.extend(of_group),
            Err(reason) => dropped.push(Dropped { index: number as u32, reason }),
        }
    }
    Ranking { ranks, pairs, dropped }
}

/// Writes the candidates of a group; their number, and that of the responses that are no other's copy.
#[inline(always)]
fn gather(
    numbers: &NumbersView<'_>,
    values: &[f64],
    selection: Selection,
    number: usize,
    candidates: &mut [Candidate],
) -> (usize, usize) {
    let range = numbers.response_range(number);
    let (start, mut count, mut distinct) = (range.start, 0, 0);
    let responses = (values[range.clone()].iter())
        .zip(&numbers.tokens[range.clone()])
        .zip(&numbers.cut_off[range.clone()])
        .zip(&numbers.first[range]);
    for (i, (((score, tokens), cut_off), first)) in responses.enumerate() {
        let own = !selection.deduplicate | (*first as usize == i);
        // Written in any case, and the next one writes over what does not count: no branch depends on the data.
        candidates[count] = Candidate { response: (start + i) as u32, score: *score, tokens: *tokens };
        distinct += usize::from(own);
        count += usize::from(own & counts(*score, *cut_off, selection));
    }
    (count, distinct)
}

/// `[V × R]` competition ranks ("1, 2, 2, 4") within each group, 0 for a response without a score. With
/// `deduplicate`, identical responses carry the first one's score.
pub fn ranks(groups: &Groups, scores: &Scores, deduplicate: bool) -> Result<Vec<u32>, PluginError> {
    check(groups, scores)?;
    let numbers = Numbers::of(groups, scores);
    let numbers = numbers.view();
    let scores = if deduplicate { carried(&numbers, numbers.scores) } else { Cow::Borrowed(numbers.scores) };
    Ok(ranks_by(&numbers, &scores))
}

#[inline(never)]
fn ranks_by(numbers: &NumbersView<'_>, scores: &[f64]) -> Vec<u32> {
    let mut ranks = Vec::with_capacity(scores.len());
    let total = numbers.tokens.len().max(1);
    for scores in scores.chunks_exact(total) {
        for g in 0..numbers.len() {
            let scores = &scores[numbers.response_range(g)];
            match scores.len() {
                2 => few::<2>(scores, &mut ranks),
                3 => few::<3>(scores, &mut ranks),
                4 => few::<4>(scores, &mut ranks),
                5 => few::<5>(scores, &mut ranks),
                6 => few::<6>(scores, &mut ranks),
                8 => few::<8>(scores, &mut ranks),
                _ => ranks.extend(scores.iter().map(|score| rank_among(scores, *score))),
            }
        }
    }
    ranks
}

/// Without a score the rank is 0, and no score is below none: comparisons with NaN are false.
#[inline(always)]
fn rank_among(scores: &[f64], score: f64) -> u32 {
    let better: u32 = scores.iter().map(|other| u32::from(*other > score)).sum();
    if score.is_nan() { 0 } else { 1 + better }
}

/// The ranks of a group of a size that the compiler knows, for which it needs no loop.
fn few<const N: usize>(scores: &[f64], ranks: &mut Vec<u32>) {
    if let Ok(scores) = <&[f64; N]>::try_from(scores) {
        ranks.extend_from_slice(&scores.map(|score| rank_among(scores, score)));
    }
}

/// `values`, a number of lists `[R]`, where a response that is identical to an earlier one of its group has the value of
/// that one.
#[inline(never)]
fn carried<'v>(numbers: &NumbersView<'_>, values: &'v [f64]) -> Cow<'v, [f64]> {
    let mut values = Cow::Borrowed(values);
    let total = numbers.tokens.len();
    for g in 0..numbers.len() {
        let range = numbers.response_range(g);
        let start = range.start;
        let first = &numbers.first[range];
        if first.iter().enumerate().all(|(i, first)| *first as usize == i) {
            continue;
        }
        for list in values.to_mut().chunks_exact_mut(total) {
            for (i, first) in first.iter().enumerate() {
                list[start + i] = list[start + *first as usize];
            }
        }
    }
    values
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
