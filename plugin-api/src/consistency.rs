//! How far two viewpoints agree on the order of a group's responses: Kendall's τ by group, joined to the
//! pairs by group number, never by position.
//!
//! C_i = (τ_i + 1) / 2 is CREAM's consistency of prompt i (arXiv 2410.12735, section 4): 1 where the current
//! model (viewpoint 0) and the previous one (viewpoint 1) order the responses alike, 0 where one reverses the
//! other.

use std::collections::{BTreeMap, BTreeSet};

use crate::stats;
use crate::types::{Groups, Metric, PluginError, Records, Scores};

/// What counts as a tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// τ-b on the raw scores; identical responses are counted once, with the first one's scores.
    TauB,
    /// As in the released code of CREAM: ordinal ranks (ties by index) of all responses, duplicates included.
    /// Ties then look like agreement, so C comes out too high.
    Ordinal,
}

/// Kendall's τ between viewpoints 0 and 1 for every group that has a pair, by group number. `None` where it is
/// undefined: fewer than two responses scored by both viewpoints, or a constant list.
///
/// The error says which part of the records does not fit.
pub fn taus(records: &Records, ties: Ties) -> Result<BTreeMap<u32, Option<f64>>, PluginError> {
    check(records)?;
    let groups: BTreeSet<u32> = records.pairs.iter().map(|p| p.group).collect();
    Ok(groups.into_iter().map(|g| (g, tau(&records.groups, &records.scores, g as usize, ties))).collect())
}

/// C = (τ + 1) / 2.
pub fn from_tau(tau: f64) -> f64 {
    (tau + 1.0) / 2.0
}

/// The metrics that every regularizer gives alike, over the groups that have a pair and a defined τ:
/// `consistency/mean_tau`, `consistency/std` (of C_i, as a whole population), and `consistency/undefined`, the
/// number of groups left out. The first two are missing where no τ is defined.
pub fn metrics(taus: &BTreeMap<u32, Option<f64>>) -> Vec<Metric> {
    let defined: Vec<f64> = taus.values().flatten().copied().collect();
    let consistencies: Vec<f64> = defined.iter().copied().map(from_tau).collect();
    let named = |name: &str, value: Option<f64>| value.map(|value| Metric { name: name.into(), value });
    [
        named("consistency/mean_tau", stats::mean(&defined)),
        named("consistency/std", stats::standard_deviation(&consistencies)),
        named("consistency/undefined", Some((taus.len() - defined.len()) as f64)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// For each response of group `g`, the place within the group of the first response that is identical to it
/// (same text, same reason to end): its own place where there is none before it.
pub fn first_identical(groups: &Groups, g: usize) -> Vec<usize> {
    let responses = &groups.responses[groups.response_range(g)];
    let same =
        |i: usize, j: usize| responses[i].text == responses[j].text && responses[i].finish == responses[j].finish;
    (0..responses.len()).map(|i| (0..i).find(|&j| same(i, j)).unwrap_or(i)).collect()
}

fn tau(groups: &Groups, scores: &Scores, g: usize, ties: Ties) -> Option<f64> {
    let range = groups.response_range(g);
    let total = groups.responses.len();
    let first = first_identical(groups, g);
    let (mut current, mut previous) = (Vec::new(), Vec::new());
    for (i, r) in range.enumerate() {
        if ties == Ties::TauB && first[i] != i {
            continue;
        }
        if let (Some(c), Some(p)) = (scores.scores[r].value(), scores.scores[total + r].value()) {
            current.push(c);
            previous.push(p);
        }
    }
    match ties {
        Ties::TauB => stats::kendall_tau_b(&current, &previous),
        Ties::Ordinal => stats::kendall_tau_b(&stats::ordinal_ranks(&current), &stats::ordinal_ranks(&previous)),
    }
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
