//! Measures of agreement between two viewpoints, group by group.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Ties, check, first_identical};
use crate::stats;
use crate::types::{PluginError, Records, Scores};

/// A statistic of two score lists over the same responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Kendall's τ-b, CREAM's own: [`stats::kendall_tau_b`]. C = (τ + 1) / 2.
    Kendall,
    /// Spearman's ρ: [`stats::spearman_rho`]. C = (ρ + 1) / 2.
    Spearman,
    /// The same best and the same worst: [`stats::top_order`]. It is C.
    TopOrder,
    /// Rank-biased overlap: [`stats::rank_biased_overlap`]. It is C.
    Rbo,
}

impl Measure {
    /// As in a message.
    pub fn title(self) -> &'static str {
        match self {
            Measure::Kendall => "Kendall's tau",
            Measure::Spearman => "Spearman's rho",
            Measure::TopOrder => "top order",
            Measure::Rbo => "rank-biased overlap",
        }
    }

    /// As in the name of a metric.
    pub fn symbol(self) -> &'static str {
        match self {
            Measure::Kendall => "tau",
            Measure::Spearman => "rho",
            Measure::TopOrder => "top_order",
            Measure::Rbo => "rbo",
        }
    }

    /// C ∈ [0, 1] of a value of the statistic.
    pub fn consistency(self, statistic: f64) -> f64 {
        match self {
            Measure::Kendall | Measure::Spearman => super::from_tau(statistic),
            Measure::TopOrder | Measure::Rbo => statistic,
        }
    }
}

/// Which viewpoints are compared.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected \"all\", or two viewpoints by name or number")]
pub enum Viewpoints {
    /// Each other one with viewpoint 0, the current model; the statistic is the mean of those that are defined.
    All(All),
    Two([Viewpoint; 2]),
}

/// The word "all".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum All {
    All,
}

/// A viewpoint, by its name or its number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Viewpoint {
    Number(usize),
    Name(String),
}

impl Viewpoints {
    /// The current and the second viewpoint: the current and the previous model, if the config names no others.
    pub fn first_two() -> Self {
        Viewpoints::Two([Viewpoint::Number(0), Viewpoint::Number(1)])
    }

    /// The pairs of viewpoints to compare, by number.
    fn resolve(&self, scores: &Scores) -> Result<Vec<(usize, usize)>, PluginError> {
        let names = &scores.viewpoints;
        let find = |viewpoint: &Viewpoint| {
            let (found, shown) = match viewpoint {
                Viewpoint::Number(v) => (Some(*v).filter(|v| *v < names.len()), v.to_string()),
                Viewpoint::Name(name) => (names.iter().position(|n| n == name), format!("'{name}'")),
            };
            found.ok_or_else(|| {
                PluginError::new(format!(
                    "parameter 'viewpoints' names {shown}, but the scores come from {} (0 to {}): name one of these, or \
                     add it to [[viewpoints]]",
                    names.join(", "),
                    names.len() - 1
                ))
            })
        };
        match self {
            Viewpoints::All(_) => Ok((1..names.len()).map(|v| (0, v)).collect()),
            Viewpoints::Two([a, b]) => {
                let (a, b) = (find(a)?, find(b)?);
                if a == b {
                    let message = format!("parameter 'viewpoints' compares '{}' with itself: name two", names[a]);
                    return Err(PluginError::new(message));
                }
                Ok(vec![(a, b)])
            }
        }
    }
}

/// How agreement is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    pub measure: Measure,
    /// p of [`Measure::Rbo`].
    pub persistence: f64,
    pub ties: Ties,
    pub viewpoints: Viewpoints,
}

impl Default for Agreement {
    /// CREAM's: Kendall's τ-b between the first two viewpoints.
    fn default() -> Self {
        let viewpoints = Viewpoints::first_two();
        Agreement { measure: Measure::Kendall, persistence: 0.5, ties: Ties::TauB, viewpoints }
    }
}

impl Agreement {
    /// The statistic for every group that has a pair, by group number. `None` where it is undefined: fewer than two
    /// different responses scored by both viewpoints, or a constant list.
    ///
    /// The error says which part of the records or of the parameters does not fit.
    pub fn by_group(&self, records: &Records) -> Result<BTreeMap<u32, Option<f64>>, PluginError> {
        check(records)?;
        let compared = self.viewpoints.resolve(&records.scores)?;
        let groups: BTreeSet<u32> = records.pairs.iter().map(|p| p.group).collect();
        let of_group = |g: u32| {
            let mut values = compared.iter().filter_map(|two| self.of_two(records, g as usize, *two));
            match compared.len() {
                1 => values.next_back(),
                _ => stats::mean(&values.collect::<Vec<_>>()),
            }
        };
        Ok(groups.into_iter().map(|g| (g, of_group(g))).collect())
    }

    /// The statistic of two score lists.
    pub fn of_scores(&self, a: &[f64], b: &[f64]) -> Option<f64> {
        match self.ties {
            Ties::TauB => match self.measure {
                Measure::Kendall => stats::kendall_tau_b(a, b),
                Measure::Spearman => stats::spearman_rho(a, b),
                Measure::TopOrder => stats::top_order(a, b),
                Measure::Rbo => stats::rank_biased_overlap(a, b, self.persistence),
            },
            Ties::Ordinal => {
                let (a, b) = (stats::ordinal_ranks(a), stats::ordinal_ranks(b));
                match self.measure {
                    Measure::Kendall => stats::kendall_tau_b(&a, &b),
                    Measure::Spearman => stats::spearman_rho(&a, &b),
                    Measure::TopOrder => stats::top_order_by_place(&a, &b),
                    Measure::Rbo => stats::rank_biased_overlap(&a, &b, self.persistence),
                }
            }
        }
    }

    fn of_two(&self, records: &Records, g: usize, (first, second): (usize, usize)) -> Option<f64> {
        let (groups, scores) = (&records.groups, &records.scores.scores);
        let total = groups.responses.len();
        let original = first_identical(groups, g);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for (i, r) in groups.response_range(g).enumerate() {
            if self.ties == Ties::TauB && original[i] != i {
                continue;
            }
            if let (Some(x), Some(y)) = (scores[first * total + r].value(), scores[second * total + r].value()) {
                a.push(x);
                b.push(y);
            }
        }
        self.of_scores(&a, &b)
    }
}
