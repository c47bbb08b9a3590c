//! Responses are compared in pairs, each pair in both orders, and the results become one score per response.
//!
//! # A comparison
//! The prompt shows two responses as `a` and `b`. p(a, b) ∈ [0, 1] says how far the first one is better:
//! * `ask = "choose"`: p = P(label A) + ½ P(tie label), from the probabilities of the labels, in one forward pass
//! * `ask = "generate"`: the mean over k texts that hold a verdict: 1 for a, 0 for b, ½ for a tie
//!
//! # A pair
//! Judges prefer places as well as texts, so each pair is asked in both orders: the result q(i, j) is the mean of
//! p(i, j) and 1 − p(j, i). With `disagreement = "tie"` it is ½ where the two orders do not name the same winner
//! (Zheng et al., arXiv 2306.05685, section 3.4: a win counts if it holds in both orders). A pair with a comparison that
//! has no result is not played. With `orders = "one"` each pair is asked once, the earlier response first where the sum
//! of their places in the group is odd, so that every response stands first about as often as second.
//!
//! # A score
//! `aggregate` makes scores of the results, as [`Tournament`](creamery_plugin::compare::Tournament) describes:
//! * "copeland": wins + ½ ties
//! * "bradley-terry": ln of the strengths in P(i beats j) = p_i / (p_i + p_j), fitted to all results, with a small prior
//! * "elo": the same on Elo's scale, 1500 + 400 log₁₀ p, fitted as Meta-Rewarding does (arXiv 2407.19594, section 2.3)
//! * "win-rate": the mean result against the group's other responses, P(y ≻ π), the target of SPPO (arXiv 2405.00675)
//!
//! Worked example: p(A, B) = 0.9 and p(B, A) = 0.3: A wins in both orders, q = (0.9 + 0.7) / 2 = 0.8. p(A, C) = 0.8 and
//! p(C, A) = 0.6: each order prefers the first, so a tie, q = ½ (as a mean it would be 0.6). p(B, C) = 0.5 = p(C, B): a
//! tie. Copeland: A 1½, B ½, C 1. Win rates: A 0.65, B 0.35, C 0.5.
//!
//! Identical responses are compared as one, and a copy ties with its original, which only win rates count. A response
//! none of whose pairs has a result abstains.
//!
//! The report measures `first_position_wins` (the share of decided comparisons won by the text shown first; ½ without
//! bias), `orders_disagree` (the share of pairs) and `unanswered` (the share of comparisons). In the example: 3 of 4
//! decided comparisons, 1 of 3 pairs, none.

mod params;

use creamery_plugin::compare::{Aggregate, Tournament};
use creamery_plugin::prompt::{Comparer, Distinct, Fields, answered, winner};
use creamery_plugin::{Answer, Groups, Judge, JudgeContext, JudgeReport, PluginError, Score, Step};
use params::{Disagreement, Orders, Params};

/// The built-in prompt.
pub const DEFAULT_PROMPT: &str = include_str!("default_prompt.jinja");

/// The judge; [`Pairwise::new`](Judge::new) takes the parameters that `params.schema.json` describes.
pub struct Pairwise {
    comparer: Comparer,
    orders: Orders,
    disagreement: Disagreement,
    aggregate: Aggregate,
}

/// Two distinct responses of a group.
struct Meeting {
    group: usize,
    /// Places among the distinct responses of the group.
    places: [usize; 2],
    /// Flat numbers, in the order of the first comparison.
    shown: [usize; 2],
    /// Whether the first comparison shows the later response first.
    reversed: bool,
}

impl Judge for Pairwise {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = creamery_plugin::params::parse(params)?;
        Ok(Pairwise {
            comparer: params.comparer()?,
            orders: params.orders,
            disagreement: params.disagreement,
            aggregate: params.aggregate,
        })
    }

    fn step(&self, _: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError> {
        let distinct = Distinct::new(groups);
        let meetings = self.meetings(groups, &distinct);
        let asked = match answers.first() {
            Some(answers) => answers.as_slice(),
            None if meetings.is_empty() => &[],
            None => return self.queries(groups, &meetings).map(Step::Ask),
        };
        let compared = self.compared(asked, meetings.len())?;
        let mut tournaments: Vec<Tournament> =
            (0..groups.len()).map(|g| Tournament::new(distinct.of_group(groups, g).len())).collect();
        for (meeting, p) in meetings.iter().zip(&compared) {
            let Some(q) = self.result(p) else { continue };
            let q = if meeting.reversed { 1.0 - q } else { q };
            let [i, j] = meeting.places;
            tournaments[meeting.group].add(i, j, q, 1.0 - q);
        }
        let mut scores = Vec::with_capacity(distinct.responses().len());
        for (g, tournament) in tournaments.iter().enumerate() {
            let weights: Vec<f64> =
                distinct.of_group(groups, g).iter().map(|&r| distinct.copies(groups, g, r) as f64).collect();
            let unplayed = || Score::Abstain("no comparison with another response of the group has a result".into());
            let of_group = tournament.scores(self.aggregate, &weights);
            scores.extend(of_group.into_iter().map(|s| s.map_or_else(unplayed, Score::Value)));
        }
        Ok(Step::Scores(distinct.spread(&scores)?))
    }

    fn report(&self, _: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<JudgeReport, PluginError> {
        let Some(answers) = answers.first() else { return Ok(JudgeReport::default()) };
        let meetings = self.meetings(groups, &Distinct::new(groups));
        let compared = self.compared(answers, meetings.len())?;
        Ok(JudgeReport { measures: Comparer::measures(&compared), pairs: Vec::new() })
    }
}

impl Pairwise {
    /// All pairs of distinct responses of every group, in order.
    fn meetings(&self, groups: &Groups, distinct: &Distinct) -> Vec<Meeting> {
        let mut meetings = Vec::new();
        for group in 0..groups.len() {
            let start = groups.response_range(group).start;
            let responses = distinct.of_group(groups, group);
            for j in 1..responses.len() {
                for i in 0..j {
                    let (a, b) = (responses[i], responses[j]);
                    let reversed = self.orders == Orders::One && (a - start + b - start).is_multiple_of(2);
                    let shown = if reversed { [b, a] } else { [a, b] };
                    meetings.push(Meeting { group, places: [i, j], shown, reversed });
                }
            }
        }
        meetings
    }

    fn queries(&self, groups: &Groups, meetings: &[Meeting]) -> Result<Vec<creamery_plugin::Query>, PluginError> {
        let mut queries = Vec::new();
        let mut fields: Option<(usize, Fields)> = None;
        for meeting in meetings {
            let of_group = match fields.take() {
                Some((group, fields)) if group == meeting.group => fields,
                _ => Fields::group(groups, meeting.group).and(&self.comparer.ask.sample()),
            };
            let [a, b] = meeting.shown.map(|r| groups.responses[r].text.as_str());
            queries.push(self.comparer.query(&of_group, a, b)?);
            if self.orders == Orders::Both {
                queries.push(self.comparer.query(&of_group, b, a)?);
            }
            fields = Some((meeting.group, of_group));
        }
        Ok(queries)
    }

    /// For each meeting the p of each order that was asked, where there is one.
    fn compared(&self, answers: &[Answer], meetings: usize) -> Result<Vec<Vec<Option<f64>>>, PluginError> {
        let orders = if self.orders == Orders::Both { 2 } else { 1 };
        let answers = answered(answers, meetings * orders)?;
        let read = |a: &Answer| Ok(self.comparer.read(a)?.ok());
        answers.chunks(orders).map(|pair| pair.iter().map(read).collect()).collect()
    }

    /// How far the text that was shown first in the first comparison is better.
    fn result(&self, p: &[Option<f64>]) -> Option<f64> {
        match *p {
            [p] => p,
            [Some(p), Some(swapped)] => {
                let disagree = winner(p) != winner(1.0 - swapped);
                Some(if disagree && self.disagreement == Disagreement::Tie { 0.5 } else { (p + (1.0 - swapped)) / 2.0 })
            }
            _ => None,
        }
    }
}

creamery_plugin::export_plugin! {
    kind: judge,
    type: Pairwise,
    name: "pairwise",
    summary: "Responses are compared in pairs, in both orders; Copeland, Bradley-Terry, Elo or win-rate scores.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
