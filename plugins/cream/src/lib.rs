//! CREAM: trust a preference as far as two viewpoints agree on the ranking it comes from.
//!
//! C_i = (τ_i + 1) / 2, with τ_i Kendall's rank correlation between the scores of the current and of the previous
//! model for the responses to prompt i. Average form: one C = mean_i C_i for the whole set. Sample form: C_i for
//! the pairs of prompt i. The loss is the C-mix,
//!
//! L = C · L_DPO(x, y⁺, y⁻) + (1 − C) · L_DPO(x, y⁻, y⁺).
//!
//! Source: CREAM, arXiv 2410.12735, section 4: consistency rate, and the consistency regularized loss (eq. 10).
//!
//! Worked example: five responses that the current model scores 5, 4, 3, 2, 1 and the previous one 4, 5, 3, 2, 1:
//! one of the ten pairs of responses is discordant, so τ = (9 − 1) / 10 = 0.8 and C = 0.9. At z = β · margin = 0
//! the loss is ln 2 for every C; its minimum lies at z* = logit(0.9) = 2.197 instead of DPO's infinity.
//!
//! τ is τ-b on the raw scores of the responses that both viewpoints scored, identical responses counted once.
//! Groups are joined to pairs by their number. Viewpoints after the second are not used.

use std::collections::BTreeMap;

use creamery_plugin::consistency::{self, Ties};
use creamery_plugin::params::parse;
use creamery_plugin::{Dropped, Labels, Metric, PluginError, Records, Regularizer, stats};
use serde::Deserialize;

/// The regularizer; [`Cream::new`](Regularizer::new) takes the parameters that `params.schema.json` describes.
/// Its objective is the default one, [`c_mix`](creamery_plugin::objective::c_mix).
pub struct Cream {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    form: Form,
    clamp: [f64; 2],
    undefined: Undefined,
    reference_compat: Compat,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Average,
    Sample,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Undefined {
    Half,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Compat {
    None,
    Ordinal,
}

impl Default for Params {
    fn default() -> Self {
        Params { form: Form::Average, clamp: [0.0, 1.0], undefined: Undefined::Skip, reference_compat: Compat::None }
    }
}

impl Regularizer for Cream {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        let [low, high] = params.clamp;
        if !(0.0 <= low && low <= high && high <= 1.0) {
            return Err(PluginError::new(format!(
                "parameter 'clamp' is [{low}, {high}], but must be [lowest, highest] with 0 ≤ lowest ≤ highest ≤ 1"
            )));
        }
        Ok(Cream { params })
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let ties = match self.params.reference_compat {
            Compat::None => Ties::TauB,
            Compat::Ordinal => Ties::Ordinal,
        };
        let taus = consistency::taus(records, ties)?;
        let by_group: BTreeMap<u32, Option<f64>> = taus.iter().map(|(&g, &tau)| (g, self.of_group(tau))).collect();
        let pairs = records.pairs.len();
        let mut labels = Labels { weights: vec![1.0; pairs], ..Labels::default() };
        match self.params.form {
            Form::Average => {
                let c = if pairs == 0 { 0.5 } else { average(&by_group)? };
                labels.consistency = vec![self.clamp(c); pairs];
            }
            Form::Sample => {
                for (i, pair) in records.pairs.iter().enumerate() {
                    // the check of `taus` makes sure that every pair's group is there
                    let c = by_group.get(&pair.group).copied().flatten();
                    labels.consistency.push(self.clamp(c.unwrap_or(0.5)));
                    if c.is_none() {
                        labels.weights[i] = 0.0;
                        let reason = "Kendall's tau is undefined for the group".into();
                        labels.dropped.push(Dropped { index: i as u32, reason });
                    }
                }
            }
        }
        let used = labels.consistency.iter().zip(&labels.weights).filter(|(_, w)| **w > 0.0).map(|(c, _)| *c);
        if let Some(value) = stats::mean(&used.collect::<Vec<_>>()) {
            labels.metrics.push(Metric { name: "consistency".into(), value });
        }
        labels.metrics.extend(consistency::metrics(&taus));
        Ok(labels)
    }
}

impl Cream {
    fn of_group(&self, tau: Option<f64>) -> Option<f64> {
        match (tau, self.params.undefined) {
            (Some(tau), _) => Some(consistency::from_tau(tau)),
            (None, Undefined::Half) => Some(0.5),
            (None, Undefined::Skip) => None,
        }
    }

    fn clamp(&self, c: f64) -> f64 {
        c.clamp(self.params.clamp[0], self.params.clamp[1])
    }
}

fn average(by_group: &BTreeMap<u32, Option<f64>>) -> Result<f64, PluginError> {
    let defined: Vec<f64> = by_group.values().flatten().copied().collect();
    stats::mean(&defined).ok_or_else(|| {
        PluginError::new(format!(
            "Kendall's tau is undefined for all {} groups that have a pair: a viewpoint scored fewer than two \
             responses of each, or gave them equal scores; use a judge whose scores differ in both viewpoints, or \
             set undefined = \"half\"",
            by_group.len()
        ))
    })
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: Cream,
    name: "cream",
    summary: "CREAM: trust pairs as far as two viewpoints rank alike (Kendall), C-mix loss.",
    schema: include_str!("../params.schema.json"),
    features: ["c-mix"],
}

#[cfg(test)]
mod tests;
