//! The best and the worst of a group.
//!
//! y⁺ = argmax s, y⁻ = argmin s (Self-Rewarding Language Models, arXiv 2401.10020, section 2.4).
//!
//! Length control (Meta-Rewarding, arXiv 2407.19594, section 2.2, as NeMo-Aligner's recipe of it has it too): with a
//! share ρ of the range of scores, y⁺ is the shortest response with a score in
//! [(1 − ρ)·s_max + ρ·s_min, s_max], and y⁻ the longest with one in [s_min, (1 − ρ)·s_min + ρ·s_max].
//!
//! Worked example: scores 5, 4.8, 3, 1 with 90, 40, 20, 30 tokens. The range is 4; with ρ = 0.1 the upper tier is
//! [4.6, 5], whose shortest is the second response, and the lower tier [1, 1.4] is the last one alone. With ρ = 0.5
//! the lower tier is [1, 3]: its longest is still the last one, with 30 tokens against 20.

use serde::Deserialize;

use super::{Candidate, Group, Selection};
use crate::params::out_of_range;
use crate::types::PluginError;

/// What to do where several candidates are equally good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnTie {
    /// Take the first one, in the order of sampling.
    First,
    /// Take one at random, by the run's seed, the group's id and the response's text.
    Random,
    /// Drop the group.
    Drop,
}

/// How the best and the worst candidate of a group are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extremes {
    pub on_tie: OnTie,
    /// Drop a pair whose scores differ by less. At least 0.
    pub min_margin: f64,
    /// ρ in [0, 1]. 0 does not look at lengths at all. Among equally short (or long) candidates of a tier those
    /// with the best (or worst) score count, and only where that is equal too is there a tie.
    pub length_control: f64,
}

/// The parameters of a ranker that takes the best of a group's candidates, as a user writes them: those of
/// [`Selection`] and [`Extremes`].
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ExtremesParams {
    pub deduplicate: bool,
    pub on_tie: OnTie,
    pub min_margin: f64,
    pub require_complete: bool,
    pub length_control: f64,
}

impl Default for ExtremesParams {
    fn default() -> Self {
        ExtremesParams {
            deduplicate: true,
            on_tie: OnTie::First,
            min_margin: 0.0,
            require_complete: false,
            length_control: 0.0,
        }
    }
}

impl ExtremesParams {
    /// The two rules that they make; the error names the parameter that is out of range.
    pub fn rules(self) -> Result<(Selection, Extremes), PluginError> {
        let ExtremesParams { deduplicate, on_tie, min_margin, require_complete, length_control } = self;
        let extremes = Extremes { on_tie, min_margin, length_control };
        extremes.check()?;
        Ok((Selection { deduplicate, require_complete }, extremes))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Best,
    Worst,
}

impl Extremes {
    /// Whether the parameters are in range; the error names the one that is not.
    pub fn check(&self) -> Result<(), PluginError> {
        check_margin(self.min_margin)?;
        if !(0.0..=1.0).contains(&self.length_control) {
            return Err(out_of_range("length-control", self.length_control, "a number from 0 to 1"));
        }
        Ok(())
    }

    /// Whether a rule draws by texts, so that [`rank_numbers`](super::rank_numbers) cannot be used.
    pub fn needs_texts(&self) -> bool {
        self.on_tie == OnTie::Random
    }

    /// The best and the worst candidate, or why there is no pair: "all scores tie", "the best score is tied",
    /// "the worst score is tied", "length control leaves no better response", "the margin is below min-margin".
    /// There must be at least two candidates.
    pub fn pick(&self, group: &Group, candidates: &[Candidate]) -> Result<(Candidate, Candidate), String> {
        let (first_worst, first_best) = ends(candidates).ok_or("there is no response")?;
        if first_best.score == first_worst.score {
            return Err("all scores tie".into());
        }
        let (best, worst) = match self.on_tie {
            OnTie::First if self.length_control == 0.0 => (first_best, first_worst),
            _ => (self.best(group, candidates)?, self.worst(group, candidates)?),
        };
        if best.score <= worst.score {
            return Err("length control leaves no better response".into());
        }
        self.margin(&best, &worst)?;
        Ok((best, worst))
    }

    /// The best of at least one candidate, or "the best score is tied".
    pub fn best(&self, group: &Group, candidates: &[Candidate]) -> Result<Candidate, String> {
        self.extreme(group, candidates, Side::Best)
    }

    /// The worst of at least one candidate, or "the worst score is tied".
    pub fn worst(&self, group: &Group, candidates: &[Candidate]) -> Result<Candidate, String> {
        self.extreme(group, candidates, Side::Worst)
    }

    /// Whether the margin of a pair is large enough.
    pub fn margin(&self, chosen: &Candidate, rejected: &Candidate) -> Result<(), String> {
        match chosen.score - rejected.score < self.min_margin {
            true => Err("the margin is below min-margin".into()),
            false => Ok(()),
        }
    }

    fn extreme(&self, group: &Group, candidates: &[Candidate], side: Side) -> Result<Candidate, String> {
        let (length, score) = self.tier(candidates, side);
        let mut left = candidates.iter().filter(|c| c.score == score && length.is_none_or(|length| c.tokens == length));
        let (what, rule) = if side == Side::Best { ("best", "best of ties") } else { ("worst", "worst of ties") };
        let one = match self.on_tie {
            OnTie::First => left.next(),
            OnTie::Drop if left.clone().nth(1).is_some() => return Err(format!("the {what} score is tied")),
            OnTie::Drop => left.next(),
            OnTie::Random => left.min_by_key(|c| group.key(rule, c)),
        };
        one.copied().ok_or_else(|| format!("there is no {what} response"))
    }

    /// The length, with length control, and the score of the best or the worst.
    fn tier(&self, candidates: &[Candidate], side: Side) -> (Option<u32>, f64) {
        let (min, max) = range(candidates.iter());
        let rho = self.length_control;
        if rho == 0.0 {
            return (None, if side == Side::Best { max } else { min });
        }
        // Rounding must not put the best or the worst score itself out of its tier.
        let tier = match side {
            Side::Best => (max * (1.0 - rho) + min * rho).min(max)..=max,
            Side::Worst => min..=(min * (1.0 - rho) + max * rho).max(min),
        };
        let in_tier = candidates.iter().filter(|c| tier.contains(&c.score));
        let lengths = in_tier.clone().map(|c| c.tokens);
        let length = if side == Side::Best { lengths.min() } else { lengths.max() };
        let (min, max) = range(in_tier.filter(|c| Some(c.tokens) == length));
        (length, if side == Side::Best { max } else { min })
    }
}

/// Whether the parameter `min-margin` is in range.
pub fn check_margin(min_margin: f64) -> Result<(), PluginError> {
    match min_margin >= 0.0 && min_margin.is_finite() {
        true => Ok(()),
        false => Err(out_of_range("min-margin", min_margin, "a finite number of at least 0")),
    }
}

/// The first of the worst and the first of the best.
fn ends(candidates: &[Candidate]) -> Option<(Candidate, Candidate)> {
    let (mut worst, mut best) = (candidates.first()?, candidates.first()?);
    for candidate in candidates {
        best = if candidate.score > best.score { candidate } else { best };
        worst = if candidate.score < worst.score { candidate } else { worst };
    }
    Some((*worst, *best))
}

/// The smallest and the largest score.
fn range<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> (f64, f64) {
    candidates.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), c| (min.min(c.score), max.max(c.score)))
}
