//! The α for which chosen and rejected responses are equally long (DICE, arXiv 2406.09760).
//!
//! D(α) = mean over groups of |y⁺| − |y⁻|, with y⁺ and y⁻ the best and the worst response by r − α·|y|. A larger α
//! never makes a best response longer nor a worst one shorter, so D falls in steps. Where D(0) ≤ 0 there is nothing to
//! penalize and α = 0, as in the paper's search from 0 upwards. Else D is halved in on from [0, α₁], where
//! α₁ is above every difference of rewards within a group, so that a single token outweighs it and D(α₁) ≤ 0; after
//! [`STEPS`] halvings the end with the smaller |D| is taken, the lower one where they are equal.
//!
//! Since D has steps it may have no zero; α is then where it changes its sign. Few groups mean few, high steps. Groups
//! count that have at least two distinct scored responses whose penalized scores are not all equal; abstentions and
//! cut-off copies do not. Without such groups, or where all responses of each group are equally long, α = 0.
//!
//! Worked example: two groups, rewards 3, 2 with 10, 4 tokens, and 5, 0 with 2, 8. D(0) = ((10 − 4) + (2 − 8)) / 2 = 0,
//! so α = 0. With the first group alone D(0) = 6, and above α = 1/6 it is −6: both are equally far from 0, and α is the
//! last number found below 1/6.

use creamery_plugin::Groups;
use creamery_plugin::consistency::first_identical;

/// Enough to tell neighbouring numbers apart.
const STEPS: usize = 100;

/// Rewards and lengths of the responses that count.
pub(crate) struct Lengths {
    /// By group, in order; at least two in each.
    groups: Vec<Vec<(f64, u32)>>,
}

/// r − α·|y|
pub(crate) fn penalized(reward: f64, tokens: u32, alpha: f64) -> f64 {
    reward - alpha * f64::from(tokens)
}

impl Lengths {
    /// `rewards`: `[R]` with the number of tokens, `None` for an abstention.
    pub(crate) fn new(groups: &Groups, rewards: &[Option<(f64, u32)>]) -> Self {
        let of_group = |g: usize| -> Vec<(f64, u32)> {
            let first = first_identical(groups, g);
            let range = groups.response_range(g);
            range.enumerate().filter(|(i, _)| first[*i] == *i).filter_map(|(_, r)| rewards[r]).collect()
        };
        Lengths { groups: (0..groups.len()).map(of_group).filter(|list| list.len() >= 2).collect() }
    }

    /// Σ (|y⁺| − |y⁻|) and the number of groups.
    pub(crate) fn difference(&self, alpha: f64) -> (f64, u64) {
        let (mut sum, mut count) = (0.0, 0);
        for group in &self.groups {
            let score = |i: usize| penalized(group[i].0, group[i].1, alpha);
            let (mut best, mut worst) = (0, 0);
            for i in 1..group.len() {
                if score(i) > score(best) {
                    best = i;
                }
                if score(i) < score(worst) {
                    worst = i;
                }
            }
            if score(best) > score(worst) {
                sum += f64::from(group[best].1) - f64::from(group[worst].1);
                count += 1;
            }
        }
        (sum, count)
    }

    /// α ≥ 0 with the mean difference closest to 0.
    pub(crate) fn equalize(&self) -> f64 {
        let mean = |alpha: f64| match self.difference(alpha) {
            (_, 0) => 0.0,
            (sum, count) => sum / count as f64,
        };
        if mean(0.0) <= 0.0 {
            return 0.0;
        }
        let range = |group: &Vec<(f64, u32)>| {
            let rewards = || group.iter().map(|(r, _)| *r);
            rewards().fold(f64::NEG_INFINITY, f64::max) - rewards().fold(f64::INFINITY, f64::min)
        };
        let largest = self.groups.iter().map(range).fold(0.0, f64::max);
        let (mut low, mut high) = (0.0, (2.0 * largest).min(f64::MAX));
        for _ in 0..STEPS {
            let middle = low + (high - low) / 2.0;
            if mean(middle) > 0.0 { low = middle } else { high = middle }
        }
        if mean(low).abs() <= mean(high).abs() { low } else { high }
    }
}
