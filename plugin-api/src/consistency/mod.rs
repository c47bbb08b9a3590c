//! How far two viewpoints agree on the order of a group's responses: a statistic by group, joined to the
//! pairs by group number, never by position.
//!
//! C_i = (τ_i + 1) / 2 is CREAM's consistency of prompt i (arXiv 2410.12735, section 4), with Kendall's τ: 1 where the
//! current model (viewpoint 0) and the previous one (viewpoint 1) order the responses alike, 0 where one reverses the
//! other. [`Agreement`] has other measures and other viewpoints; [`Rule`] makes labels of them.

mod agreement;
mod bucket;
mod rule;

use std::collections::BTreeMap;

pub use agreement::{Agreement, All, Measure, Viewpoint, Viewpoints};
pub use bucket::{Bucket, assign};
pub use rule::{Compat, Form, Rule, Running, Undefined, check_rbo_p};

use crate::stats;
use crate::types::{Groups, Metric, PluginError, Records};

/// What counts as a tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// τ-b (or another measure's own treatment of ties) on the raw scores; identical responses are counted once, with
    /// the first one's scores.
    TauB,
    /// As in the released code of CREAM: ordinal ranks (ties by index) of all responses, duplicates included.
    /// Ties then look like agreement, so C comes out too high. Top order then compares the ranks of the first and of
    /// the last response: [`stats::top_order_by_place`].
    Ordinal,
}

/// Kendall's τ between viewpoints 0 and 1 for every group that has a pair, by group number. `None` where it is
/// undefined: fewer than two responses scored by both viewpoints, or a constant list.
///
/// The error says which part of the records does not fit.
pub fn taus(records: &Records, ties: Ties) -> Result<BTreeMap<u32, Option<f64>>, PluginError> {
    Agreement { ties, ..Agreement::default() }.by_group(records)
}

/// C = (τ + 1) / 2.
pub fn from_tau(tau: f64) -> f64 {
    (tau + 1.0) / 2.0
}

/// The metrics that every regularizer gives alike, over the groups that have a pair and a defined τ:
/// `consistency/mean_tau`, `consistency/std` (of C_i, as a whole population), and `consistency/undefined`, the
/// number of groups left out. The first two are missing where no τ is defined.
pub fn metrics(taus: &BTreeMap<u32, Option<f64>>) -> Vec<Metric> {
    agreement_metrics(Measure::Kendall, taus)
}

/// [`metrics`] of any measure: the first one is then `consistency/mean_rho`, `consistency/mean_top_order` or
/// `consistency/mean_rbo`.
pub fn agreement_metrics(measure: Measure, statistics: &BTreeMap<u32, Option<f64>>) -> Vec<Metric> {
    let defined: Vec<f64> = statistics.values().flatten().copied().collect();
    let consistencies: Vec<f64> = defined.iter().map(|s| measure.consistency(*s)).collect();
    let named = |name: String, value: Option<f64>| value.map(|value| Metric { name, value });
    [
        named(format!("consistency/mean_{}", measure.symbol()), stats::mean(&defined)),
        named("consistency/std".into(), stats::standard_deviation(&consistencies)),
        named("consistency/undefined".into(), Some((statistics.len() - defined.len()) as f64)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What regularizers report whose labels are not made of Kendall's τ, so that methods compare: `consistency`, CREAM's
/// average C of the first two viewpoints, and [`metrics`]. Nothing where there is one viewpoint.
pub fn report(records: &Records) -> Result<Vec<Metric>, PluginError> {
    if records.scores.viewpoints.len() < 2 {
        return Ok(Vec::new());
    }
    let rest = metrics(&taus(records, Ties::TauB)?);
    let tau = rest.iter().find(|m| m.name == "consistency/mean_tau");
    let mean = tau.map(|tau| Metric { name: "consistency".into(), value: from_tau(tau.value) });
    Ok(mean.into_iter().chain(rest).collect())
}

/// For each response of group `g`, the place within the group of the first response that is identical to it
/// (same text, same reason to end): its own place where there is none before it.
pub fn first_identical(groups: &Groups, g: usize) -> Vec<usize> {
    identical(groups, g).collect()
}

/// [`first_identical`], one by one.
pub(crate) fn identical(groups: &Groups, g: usize) -> impl Iterator<Item = usize> {
    let responses = &groups.responses[groups.response_range(g)];
    let same = |i: usize, j: usize| {
        let (a, b) = (&responses[i], &responses[j]);
        equal(a.text.as_bytes(), b.text.as_bytes()) && a.finish == b.finish
    };
    (0..responses.len()).map(move |i| (0..i).find(|&j| same(i, j)).unwrap_or(i))
}

/// Answers to one prompt that differ do so at their ends more often than at their beginnings.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.last_chunk::<8>() == b.last_chunk::<8>() && a == b
}

fn check(records: &Records) -> Result<(), PluginError> {
    let (v, r, g) = (records.scores.viewpoints.len(), records.groups.responses.len(), records.groups.len());
    if v < 2 {
        let names = records.scores.viewpoints.join(", ");
        return Err(PluginError::new(format!(
            "consistency compares two viewpoints, the current and the previous model, but the scores come from {v} \
             ({names}): judge from both viewpoints, or use the regularizer 'none'"
        )));
    }
    if records.scores.scores.len() != v * r {
        let n = records.scores.scores.len();
        return Err(PluginError::new(format!("{n} scores for {v} viewpoints of {r} responses: expected {}", v * r)));
    }
    match records.pairs.iter().find(|p| p.group as usize >= g) {
        Some(p) => Err(PluginError::new(format!("a pair names group {}, but there are {g} groups", p.group))),
        None => Ok(()),
    }
}
