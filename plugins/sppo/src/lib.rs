//! SPPO: a squared target for each response.
//!
//! Self-play preference optimization (Y. Wu et al., arXiv 2405.00675, eq. 4.4 to 4.7): the next policy minimizes the mean
//! over sampled responses of
//!
//! (log π_θ(y)/π_ref(y) − η (P(y ≻ π) − ½))²,
//!
//! with P(y ≻ π) the share of comparisons that y wins against the policy's own responses. Each response has a target of
//! its own, so the chosen log-probability has to rise and the rejected one to fall, which a loss of the difference alone
//! does not ask for. η is 1/β, so with hard labels P = 1 and 0 it is the loss "sppo-hard". π_ref is the policy that the
//! round starts from.
//!
//! P is the current model's score, so the judge must give win rates from 0 to 1: `pairwise` with
//! `aggregate = "win-rate"`. A pair's loss is the sum over its two responses. With the ranker `each` every response is in
//! exactly two pairs of weight ½, so the sum over pairs is the sum over responses; with `best-worst` only the two ends are
//! trained, as in the paper's experiments.
//!
//! Worked example: β = 0.1, so η = 10; win rates 0.8 and 0.4, so targets 3 and −1; log-ratios 1 and 0:
//! L = (1 − 3)² + (0 + 1)² = 5, with the gradient 2 (1 − 3) = −4 and 2 (0 + 1) = 2.
//!
//! C is 1 and not looked at. It needs one viewpoint. Pairs of a response without a score are dropped.

use creamery_plugin::params::{out_of_range, parse, shown};
use creamery_plugin::{
    Column, Dropped, Labels, ObjectiveBatch, ObjectiveValue, PluginError, Records, Regularizer, consistency,
};
use serde::Deserialize;

const CHOSEN: &str = "win_rate_chosen";
const REJECTED: &str = "win_rate_rejected";

/// The regularizer, with columns and an objective of its own.
pub struct Sppo {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    eta: Eta,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected \"auto\" or a number")]
enum Eta {
    Auto(Auto),
    Number(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auto {
    Auto,
}

impl Default for Params {
    fn default() -> Self {
        Params { eta: Eta::Auto(Auto::Auto) }
    }
}

impl Regularizer for Sppo {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        match params.eta {
            Eta::Number(eta) if !(eta > 0.0 && eta.is_finite()) => Err(out_of_range("eta", eta, "above 0")),
            _ => Ok(Sppo { params }),
        }
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let pairs = records.pairs.len();
        let mut labels = Labels { consistency: vec![1.0; pairs], weights: vec![1.0; pairs], ..Labels::default() };
        for (i, pair) in records.pairs.iter().enumerate() {
            if win_rate(records, pair.group, pair.chosen)?.and(win_rate(records, pair.group, pair.rejected)?).is_none()
            {
                labels.weights[i] = 0.0;
                let reason = "a response of the pair has no score".into();
                labels.dropped.push(Dropped { index: i as u32, reason });
            }
        }
        labels.metrics = consistency::report(records)?;
        Ok(labels)
    }

    fn objective(&self, _: &ObjectiveBatch) -> Result<ObjectiveValue, PluginError> {
        Err(PluginError::new(
            "the pairs have no win rates: sppo needs the columns 'win_rate_chosen' and 'win_rate_rejected', which it makes \
             itself as [regularizer] of a run; for hard labels use the loss \"sppo-hard\"",
        ))
    }

    fn columns(&self, records: &Records, _: &Labels) -> Result<Vec<Column>, PluginError> {
        let column = |name: &str, side: fn(&creamery_plugin::Pair) -> u32| {
            // A dropped pair has no win rate; its number is not used.
            let values = records.pairs.iter().map(|p| Ok(win_rate(records, p.group, side(p))?.unwrap_or(0.5)));
            Ok(Column { name: name.into(), values: values.collect::<Result<_, PluginError>>()? })
        };
        Ok(vec![column(CHOSEN, |p| p.chosen)?, column(REJECTED, |p| p.rejected)?])
    }

    fn objective_columns(&self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue, PluginError> {
        let pairs = batch.policy_chosen.len();
        let find = |name: &str| {
            let column = columns.iter().find(|c| c.name == name).filter(|c| c.values.len() == pairs);
            column.ok_or_else(|| PluginError::new(format!("there is no column '{name}' with {pairs} values")))
        };
        let (wins_chosen, wins_rejected) = (find(CHOSEN)?, find(REJECTED)?);
        if let Some(wins) =
            [wins_chosen, wins_rejected].iter().flat_map(|c| &c.values).find(|v| !(0.0..=1.0).contains(*v))
        {
            return Err(PluginError::new(format!("a pair has the win rate {wins}, expected 0 to 1")));
        }
        let eta = match self.params.eta {
            Eta::Auto(_) => 1.0 / batch.beta,
            Eta::Number(eta) => eta,
        };
        let mut value = ObjectiveValue::default();
        for i in 0..pairs {
            let target = |wins: &Column| eta * (wins.values[i] - 0.5);
            let chosen = batch.policy_chosen[i] - batch.reference_chosen[i] - target(wins_chosen);
            let rejected = batch.policy_rejected[i] - batch.reference_rejected[i] - target(wins_rejected);
            value.loss.push(batch.weight[i] * (chosen * chosen + rejected * rejected));
            value.d_chosen.push(batch.weight[i] * 2.0 * chosen);
            value.d_rejected.push(batch.weight[i] * 2.0 * rejected);
        }
        Ok(value)
    }
}

/// The current model's score of response `r` as P(y ≻ π); `None` where it abstained.
fn win_rate(records: &Records, group: u32, r: u32) -> Result<Option<f64>, PluginError> {
    match records.scores.scores.get(r as usize).and_then(|s| s.value()) {
        Some(score) if !(0.0..=1.0).contains(&score) => Err(PluginError::new(format!(
            "a response of '{}' has the score {}, but sppo needs win rates from 0 to 1: use the judge 'pairwise' with \
             aggregate = \"win-rate\"",
            records.groups.ids[group as usize],
            shown(score)
        ))),
        score => Ok(score),
    }
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: Sppo,
    name: "sppo",
    summary: "SPPO: a squared loss to a target per response, from win rates.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
