//! Confidence from the score margin: a pair is trusted as far as its scores differ.
//!
//! C = σ((s⁺ − s⁻) / T), with s the current model's scores of the chosen and the rejected response and T a temperature.
//! With T = 1 and Bradley–Terry scores it is the probability that the pair is the right way round, and the C-mix is DPO
//! with soft labels (conservative DPO with a label of its own for each pair; H. Furuta et al., "Geometric-averaged
//! preference optimization for soft preference labels", arXiv 2409.06691).
//!
//! T = "auto" is the standard deviation of the margins of the set's pairs, so C does not depend on the scores' unit; where
//! all margins are equal it is their size, so C = σ(1) = 0.731 for all. No score is better than another: C = ½.
//!
//! Worked example: margins 1 and 3 with T = "auto": mean 2, standard deviation 1, so C = σ(1) = 0.731 and σ(3) = 0.953.
//!
//! It needs one viewpoint. Pairs of a response without a score are dropped.

use creamery_plugin::objective::sigmoid;
use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::{Dropped, Labels, Metric, PluginError, Records, Regularizer, consistency, stats};
use serde::Deserialize;

/// The regularizer; its objective is the default one, [`c_mix`](creamery_plugin::objective::c_mix).
pub struct Confidence {
    params: Params,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    temperature: Temperature,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected \"auto\" or a number")]
enum Temperature {
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
        Params { temperature: Temperature::Auto(Auto::Auto) }
    }
}

impl Regularizer for Confidence {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        match params.temperature {
            Temperature::Number(t) if !(t > 0.0 && t.is_finite()) => Err(out_of_range("temperature", t, "above 0")),
            _ => Ok(Confidence { params }),
        }
    }

    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        let score = |r: u32| records.scores.scores.get(r as usize).and_then(|s| s.value());
        let margins: Vec<Option<f64>> =
            // Greater margins would have no standard deviation in 64 bits, and are as sure as this.
            records.pairs.iter().map(|p| Some((score(p.chosen)? - score(p.rejected)?).clamp(-1e150, 1e150))).collect();
        let defined: Vec<f64> = margins.iter().flatten().copied().collect();
        let temperature = match self.params.temperature {
            Temperature::Number(t) => t,
            Temperature::Auto(_) => spread(&defined),
        };
        let mut labels = Labels { weights: vec![1.0; margins.len()], ..Labels::default() };
        for (i, margin) in margins.iter().enumerate() {
            match margin {
                // no spread: all margins are 0
                Some(margin) if temperature > 0.0 => labels.consistency.push(sigmoid(margin / temperature)),
                Some(_) => labels.consistency.push(0.5),
                None => {
                    labels.consistency.push(0.5);
                    labels.weights[i] = 0.0;
                    let reason = "a response of the pair has no score".into();
                    labels.dropped.push(Dropped { index: i as u32, reason });
                }
            }
        }
        labels.metrics = consistency::report(records)?;
        let used = labels.consistency.iter().zip(&margins).filter(|(_, margin)| margin.is_some()).map(|(c, _)| *c);
        if let Some(value) = stats::mean(&used.collect::<Vec<_>>()) {
            labels.metrics.push(Metric { name: "confidence".into(), value });
            labels.metrics.push(Metric { name: "confidence/temperature".into(), value: temperature });
        }
        Ok(labels)
    }
}

/// The standard deviation of the margins; where they are all equal, their size.
fn spread(margins: &[f64]) -> f64 {
    match margins {
        [] => 0.0,
        [first, rest @ ..] if rest.iter().all(|m| m == first) => first.abs(),
        // defined: the list is not empty
        _ => stats::standard_deviation(margins).unwrap_or(0.0),
    }
}

creamery_plugin::export_plugin! {
    kind: regularizer,
    type: Confidence,
    name: "confidence",
    summary: "Confidence from the current model's score margin: C = sigmoid(margin / T).",
    schema: include_str!("../params.schema.json"),
    features: ["c-mix"],
}

#[cfg(test)]
mod tests;
