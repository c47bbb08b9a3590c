//! Vote margin: pairs weigh as much as the votes for their answers differ (ScPO).
//!
//! Self-consistency preference optimization (A. Prasad et al., arXiv 2411.04109, section 2, eq. 3): the N sampled
//! responses to a prompt vote with their answers, V(y) is the number of responses with y's answer, and
//!
//! L = −w log σ(z) − α w log π_θ(y⁺) / |y⁺|, with w = (V(y⁺) − V(y⁻)) / N and α = 1.
//!
//! The votes are the current model's scores, from the judge `vote`, as shares V/N or as counts; the ranker pairs the most voted response with the
//! least voted one. All N responses of the group count, also identical ones and those without an answer.
//!
//! Worked example: 8 responses, the chosen answer has 5 votes and the rejected one 1: w = ½. At z = 0 with
//! log π_θ(y⁺) = −6 over 3 tokens: L = ½ (ln 2 + 2) = 1.347.
//!
//! C is 1. It needs one viewpoint. `[train] nll-weight` is another term of the same kind; leave it at 0.

use creamery_plugin::objective::{PreferenceLoss, add_nll};
use creamery_plugin::params::{out_of_range, parse, shown};
use creamery_plugin::{
    Dropped, Labels, Metric, ObjectiveBatch, ObjectiveValue, Pair, PluginError, Records, Regularizer, consistency,
    stats,
};
use serde::Deserialize;

/// The regularizer, with an objective of its own.
pub struct VoteMargin {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    votes: Votes,
    min_votes: f64,
    min_margin: f64,
    nll_weight: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Votes {
    Count,
    Share,
}

impl Default for Params {
    fn default() -> Self {
        Params { votes: Votes::Share, min_votes: 0.0, min_margin: 0.0, nll_weight: 1.0 }
    }
}

impl Regularizer for VoteMargin {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        for (name, value) in [("min-votes", params.min_votes), ("min-margin", params.min_margin)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(out_of_range(name, value, "a share of the votes, between 0 and 1"));
            }
        }
        if !(params.nll_weight >= 0.0 && params.nll_weight.is_finite()) {
            return Err(out_of_range("nll-weight", params.nll_weight, "at least 0"));
        }
        Ok(VoteMargin { params })
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let pairs = records.pairs.len();
        let mut labels = Labels { consistency: vec![1.0; pairs], ..Labels::default() };
        for (i, pair) in records.pairs.iter().enumerate() {
            let weight = match (self.share(records, pair, pair.chosen)?, self.share(records, pair, pair.rejected)?) {
                (Some(chosen), Some(rejected)) => self.weight(chosen, rejected),
                _ => Err("a response of the pair has no votes".to_owned()),
            };
            labels.weights.push(*weight.as_ref().unwrap_or(&0.0));
            if let Err(reason) = weight {
                labels.dropped.push(Dropped { index: i as u32, reason });
            }
        }
        labels.metrics = consistency::report(records)?;
        let used: Vec<f64> = labels.weights.iter().copied().filter(|w| *w > 0.0).collect();
        if let Some(value) = stats::mean(&used) {
            labels.metrics.push(Metric { name: "votes/mean_margin".into(), value });
        }
        Ok(labels)
    }

    fn objective(&self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, PluginError> {
        let mut value = PreferenceLoss::Dpo { label_smoothing: 0.0 }.evaluate(batch);
        add_nll(&mut value, batch, self.params.nll_weight);
        Ok(value)
    }
}

impl VoteMargin {
    /// The share of its group's votes that response `r` has; `None` where it has no score.
    fn share(&self, records: &Records, pair: &Pair, r: u32) -> Result<Option<f64>, PluginError> {
        let Some(score) = records.scores.scores.get(r as usize).and_then(|s| s.value()) else { return Ok(None) };
        let g = pair.group as usize;
        let count = records.groups.response_range(g).len() as f64;
        let share = match self.params.votes {
            Votes::Count => score / count,
            Votes::Share => score,
        };
        let whole = self.params.votes == Votes::Share || score == score.trunc();
        if whole && (0.0..=1.0).contains(&share) {
            return Ok(Some(share));
        }
        let expected = match self.params.votes {
            Votes::Count => format!("a whole number of votes from 0 to {count}"),
            Votes::Share => "a share of the votes from 0 to 1".to_owned(),
        };
        Err(PluginError::new(format!(
            "a response of '{}' has the score {}, expected {expected}: use a judge that counts votes ('vote'), or set \
             votes = \"count\" or \"share\" as it gives them",
            records.groups.ids[g],
            shown(score)
        )))
    }

    /// The pair's weight, or why it is dropped.
    fn weight(&self, chosen: f64, rejected: f64) -> Result<f64, String> {
        let weight = chosen - rejected;
        if weight <= 0.0 {
            Err("the chosen response has no more votes than the rejected one".to_owned())
        } else if chosen < self.params.min_votes {
            Err(format!("the chosen response has less than {} of the votes", self.params.min_votes))
        } else if weight < self.params.min_margin {
            Err(format!("the vote margin is below {}", self.params.min_margin))
        } else {
            Ok(weight)
        }
    }
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: VoteMargin,
    name: "vote-margin",
    summary: "ScPO: DPO and NLL on the chosen response, weighted by the pair's vote margin.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
