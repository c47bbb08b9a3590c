//! Best against worst by several viewpoints together.
//!
//! With s_v(y) the score of response y from viewpoint v, of V viewpoints, s̄ their mean and
//! σ² = (1/V)·Σ_v (s_v − s̄)²:
//! * "mean": s̄
//! * "min": min_v s_v, worst-case optimization (WCO)
//! * "mean-variance": s̄ − k·σ², uncertainty-weighted optimization (UWO; the paper writes λ for k)
//! * "mean-std": s̄ − k·σ, the same in the units of the scores
//!
//! Then best–worst by the combined score. Source: Reward Model Ensembles Help Mitigate Overoptimization (Coste et al.,
//! arXiv 2310.02743, section 3), where the ensemble is of reward models; here it is of viewpoints, each a judge with
//! a model.
//!
//! Worked example, not standardized: two viewpoints score a response 1 and 3. Mean 2, min 1, σ² = 1, so with k = ½
//! both mean-variance and mean-std give 1.5.
//!
//! # Units
//! Viewpoints may score in different units (a summed log-ratio and a mean likelihood, say), and then the one with the
//! larger numbers decides. `standardize = true` turns each viewpoint's scores of a group into z-scores first,
//! (s − mean) / standard deviation over the group's distinct scored responses, 0 where they are all equal; a viewpoint
//! then only says how a response compares with the others of its group. The combination does not change if a
//! viewpoint's scores are shifted, or multiplied by a positive number.

use creamery_plugin::consistency::first_identical;
use creamery_plugin::pairing::{Extremes, OnTie, Selection, rank_by};
use creamery_plugin::params::{out_of_range, parse};
use creamery_plugin::stats::{mean, standard_deviation};
use creamery_plugin::{Groups, PluginError, RankContext, Ranker, Ranking, Scores};
use serde::Deserialize;

/// The ranker; [`Ensemble::new`](Ranker::new) takes the parameters that `params.schema.json` describes.
pub struct Ensemble {
    params: Params,
    extremes: Extremes,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    combine: Combine,
    k: f64,
    standardize: bool,
    viewpoints: Vec<String>,
    missing: Missing,
    deduplicate: bool,
    on_tie: OnTie,
    min_margin: f64,
    require_complete: bool,
    length_control: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Combine {
    Mean,
    Min,
    MeanStd,
    MeanVariance,
}

/// What becomes of a response on which a viewpoint abstains.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Missing {
    /// It has no combined score.
    Drop,
    /// The others' scores are combined.
    Ignore,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            combine: Combine::Mean,
            k: 1.0,
            standardize: true,
            viewpoints: Vec::new(),
            missing: Missing::Drop,
            deduplicate: true,
            on_tie: OnTie::First,
            min_margin: 0.0,
            require_complete: false,
            length_control: 0.0,
        }
    }
}

impl Ranker for Ensemble {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        let Params { on_tie, min_margin, length_control, k, .. } = params;
        if !(k >= 0.0 && k.is_finite()) {
            return Err(out_of_range("k", k, "a finite number of at least 0"));
        }
        if let Some(i) = (1..params.viewpoints.len()).find(|&i| params.viewpoints[..i].contains(&params.viewpoints[i]))
        {
            return Err(PluginError::new(format!("parameter 'viewpoints' names \"{}\" twice", params.viewpoints[i])));
        }
        if params.viewpoints.len() == 1 {
            return Err(out_of_range("viewpoints", "one name", "at least two names, or none for all viewpoints"));
        }
        let extremes = Extremes { on_tie, min_margin, length_control };
        extremes.check()?;
        Ok(Ensemble { params, extremes })
    }

    fn rank(&self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, PluginError> {
        let members = self.members(&scores.viewpoints)?;
        let values = match scores.scores.len() == scores.viewpoints.len() * groups.responses.len() {
            true => self.combined(groups, scores, &members),
            // `rank_by` says what does not fit.
            false => Vec::new(),
        };
        let Params { deduplicate, require_complete, .. } = self.params;
        rank_by(context, groups, scores, &values, Selection { deduplicate, require_complete }, |group| {
            let (best, worst) = self.extremes.pick(group, group.candidates()?)?;
            Ok([group.pair(&best, &worst, 1.0)])
        })
    }
}

impl Ensemble {
    /// The numbers of the viewpoints that are combined.
    fn members(&self, names: &[String]) -> Result<Vec<usize>, PluginError> {
        let known = names.join(", ");
        let find = |name: &String| {
            names.iter().position(|n| n == name).ok_or_else(|| {
                PluginError::new(format!(
                    "parameter 'viewpoints' names \"{name}\", but the scores come from {known}: add a [[viewpoints]] \
                     with this name to the config"
                ))
            })
        };
        let members = match self.params.viewpoints.is_empty() {
            true => (0..names.len()).collect(),
            false => self.params.viewpoints.iter().map(find).collect::<Result<Vec<_>, _>>()?,
        };
        match members.len() {
            0 | 1 => Err(PluginError::new(format!(
                "an ensemble needs the scores of at least two viewpoints, but they come from {} ({known}): add \
                 [[viewpoints]] to the config, or use the ranker best-worst",
                members.len()
            ))),
            _ => Ok(members),
        }
    }

    /// `[R]` the combined scores.
    fn combined(&self, groups: &Groups, scores: &Scores, members: &[usize]) -> Vec<Option<f64>> {
        let total = groups.responses.len();
        let mut combined = Vec::with_capacity(total);
        for g in 0..groups.len() {
            let range = groups.response_range(g);
            let first = match self.params.deduplicate {
                true => first_identical(groups, g),
                false => (0..range.len()).collect(),
            };
            let member = |&v: &usize| -> Vec<Option<f64>> {
                let own = |i: &usize| scores.scores[v * total + range.start + i].value();
                let values: Vec<Option<f64>> = first.iter().map(own).collect();
                if self.params.standardize { standardized(values, &first) } else { values }
            };
            let columns: Vec<Vec<Option<f64>>> = members.iter().map(member).collect();
            combined.extend((0..range.len()).map(|i| self.combine(columns.iter().map(|c| c[i]))));
        }
        combined
    }

    /// One response's scores, member by member.
    fn combine(&self, scores: impl Iterator<Item = Option<f64>>) -> Option<f64> {
        let scores: Vec<Option<f64>> = scores.collect();
        let known: Vec<f64> = scores.iter().copied().flatten().collect();
        if self.params.missing == Missing::Drop && known.len() < scores.len() {
            return None;
        }
        let (mean, deviation) = (mean(&known)?, standard_deviation(&known)?);
        let value = match self.params.combine {
            Combine::Mean => mean,
            Combine::Min => known.iter().copied().fold(f64::INFINITY, f64::min),
            Combine::MeanStd => mean - self.params.k * deviation,
            Combine::MeanVariance => mean - self.params.k * (deviation * deviation),
        };
        // Finite scores may still sum to more than there are numbers for.
        value.is_finite().then_some(value)
    }
}

/// z-scores over the responses that are their own `first`; 0 where their scores are all equal.
fn standardized(values: Vec<Option<f64>>, first: &[usize]) -> Vec<Option<f64>> {
    let distinct: Vec<f64> = (0..first.len()).filter(|&i| first[i] == i).filter_map(|i| values[i]).collect();
    let (Some(mean), Some(deviation)) = (mean(&distinct), standard_deviation(&distinct)) else { return values };
    // The mean of equal numbers may differ from them in the last bit, which must not become a z-score.
    let constant = distinct.iter().all(|v| *v == distinct[0]) || !(deviation > 0.0 && deviation.is_finite());
    let z = |v: f64| if constant { 0.0 } else { (v - mean) / deviation };
    values.into_iter().map(|v| v.map(z)).collect()
}

creamery_plugin::export_plugin! {
    kind: ranker,
    type: Ensemble,
    name: "ensemble",
    summary: "Best against worst by the mean, the minimum or the mean less the spread of several viewpoints.",
    schema: include_str!("../params.schema.json"),
}

#[cfg(test)]
mod tests;
