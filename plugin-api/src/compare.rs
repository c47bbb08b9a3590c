//! From comparisons of pairs to one score per item.
//!
//! Items i = 0 … n−1 meet in pairs. w_ij ≥ 0 is how often i won against j: 1 and 0 for a win, ½ and ½ for a tie, or the
//! probabilities that i and that j is better. q_ij = w_ij / (w_ij + w_ji) is the result; pairs with w_ij + w_ji = 0 were
//! not played.
//!
//! [`Tournament::scores`] rounds to multiples of 2⁻³⁰, so that items with the same record tie, whatever the order in
//! which their results were added up.

use crate::math;
use serde::Deserialize;

/// How results become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    Copeland,
    BradleyTerry,
    Elo,
    WinRate,
}

/// The results among the items of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Tournament {
    n: usize,
    /// `[n × n]`, w_ij at i·n + j.
    won: Vec<f64>,
}

/// The games of one item against another.
struct Games {
    opponent: usize,
    won: f64,
    lost: f64,
}

impl Games {
    fn result(&self) -> f64 {
        self.won / (self.won + self.lost)
    }
}

impl Tournament {
    /// `n` items that have not played.
    pub fn new(n: usize) -> Self {
        Tournament { n, won: vec![0.0; n * n] }
    }

    /// Adds a game between i and j with `w_ij` = `won` and `w_ji` = `lost`. Panics if there is no item i or j.
    pub fn add(&mut self, i: usize, j: usize, won: f64, lost: f64) {
        self.won[i * self.n + j] += won;
        self.won[j * self.n + i] += lost;
    }

    fn games(&self, i: usize) -> impl Iterator<Item = Games> {
        let games =
            move |j: usize| Games { opponent: j, won: self.won[i * self.n + j], lost: self.won[j * self.n + i] };
        (0..self.n).map(games).filter(|g| g.won + g.lost > 0.0)
    }

    /// One score per item, higher is better; `None` for an item that has not played though there are others. An item
    /// alone has the score of one that ties with everybody.
    ///
    /// `weights` says how often each item is there (see [`Tournament::win_rates`]); the others count each once.
    pub fn scores(&self, aggregate: Aggregate, weights: &[f64]) -> Vec<Option<f64>> {
        let scores = match aggregate {
            Aggregate::Copeland => self.copeland(),
            Aggregate::BradleyTerry => self.bradley_terry(PRIOR),
            Aggregate::Elo => self.elo(PRIOR),
            Aggregate::WinRate => self.win_rates(weights),
        };
        let played = |i: usize| self.n == 1 || self.games(i).next().is_some();
        scores.into_iter().enumerate().map(|(i, s)| played(i).then(|| rounded(s))).collect()
    }

    /// Wins plus half the ties (Copeland 1951). A result counts as a win if q > ½. Of an item that did not play all others, the mean per game counts for those not played.
    ///
    /// Worked example: A beats B and C, B ties with C: 2, ½ and ½.
    pub fn copeland(&self) -> Vec<f64> {
        let points = |q: f64| if q > 0.5 { 1.0 } else { f64::from(u8::from(q == 0.5)) / 2.0 };
        let score = |i: usize| {
            let (sum, games) = self.games(i).fold((0.0, 0.0), |(s, n), g| (s + points(g.result()), n + 1.0));
            if games > 0.0 { sum * (self.n - 1) as f64 / games } else { 0.0 }
        };
        (0..self.n).map(score).collect()
    }

    /// The mean result against all other items, P(y ≻ π) as SPPO estimates it from samples of π (Wu et al.,
    /// arXiv 2405.00675, section 4), without the sample itself. `weights` `[n]` says how often each item is among the
    /// samples: a copy ties with its item.
    ///
    /// Worked example: A, sampled twice, beats B with probability 0.8. A: (½ + 0.8) / 2 = 0.65; B: 0.2.
    pub fn win_rates(&self, weights: &[f64]) -> Vec<f64> {
        let rate = |i: usize| {
            let copies = weights[i] - 1.0;
            let (sum, total) = self.games(i).fold((copies / 2.0, copies), |(sum, total), g| {
                (sum + weights[g.opponent] * g.result(), total + weights[g.opponent])
            });
            if total > 0.0 { sum / total } else { 0.5 }
        };
        (0..self.n).map(rate).collect()
    }

    /// ln of the Bradley–Terry strengths, P(i beats j) = p_i / (p_i + p_j), at the maximum of
    ///
    /// Σ_ij w_ij ln P(i beats j) + `prior` · Σ_i ln [p_i / (1 + p_i)²].
    ///
    /// The last term is a game lost and a game won, of weight `prior`, against an item of strength 1: it makes the
    /// maximum unique and finite, also for an item that won all its games (Bradley and Terry 1952; Hunter 2004,
    /// "MM algorithms for generalized Bradley–Terry models"). It is found by p_i ← Σ_j w_ij p_j/(p_i+p_j) /
    /// Σ_j w_ji/(p_i+p_j), which has the fixed points of Hunter's step and gets there much sooner (Newman,
    /// arXiv 2207.00076, eq. 10).
    ///
    /// Worked example: A beat B once, prior 0.2. p_B = 1/p_A by symmetry, and the derivative by ln p_A is
    /// 1/(1 + p_A²) − 0.2 · (p_A − 1)/(p_A + 1) = 0 at p_A = 3: 1/10 = 0.2 · 2/4. So the scores are ±ln 3.
    pub fn bradley_terry(&self, prior: f64) -> Vec<f64> {
        let mut p = vec![1.0; self.n];
        for _ in 0..STEPS {
            let mut moved: f64 = 0.0;
            for i in 0..self.n {
                let with_one = prior / (p[i] + 1.0);
                let (won, lost) = self.games(i).fold((with_one, with_one), |(won, lost), g| {
                    let other = p[g.opponent];
                    (won + g.won * other / (p[i] + other), lost + g.lost / (p[i] + other))
                });
                let next = won / lost;
                moved = moved.max((next - p[i]).abs() / p[i]);
                p[i] = next;
            }
            if moved < CONVERGED {
                break;
            }
        }
        p.into_iter().map(math::ln).collect()
    }

    /// The Bradley–Terry strengths on Elo's scale: 1500 + 400 · log₁₀ p, so that 400 points are odds of 10 to 1
    /// (Elo 1978). Meta-Rewarding fits Elo scores to a whole table of results by this likelihood (arXiv 2407.19594,
    /// section 2.3); unlike Elo's game-by-game rule it does not depend on the order of the games. So the order of the
    /// items is that of [`Tournament::bradley_terry`], and only the unit differs.
    pub fn elo(&self, prior: f64) -> Vec<f64> {
        let scale = 400.0 / math::ln(10.0);
        self.bradley_terry(prior).into_iter().map(|theta| 1500.0 + scale * theta).collect()
    }
}

/// The weight of the two games against an item of strength 1.
pub const PRIOR: f64 = 0.1;
/// The most steps of the fit, and the relative change at which it ends.
const STEPS: usize = 3000;
const CONVERGED: f64 = 1e-13;

fn rounded(x: f64) -> f64 {
    const UNIT: f64 = (1u64 << 30) as f64;
    (x * UNIT).round() / UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tournament(n: usize, results: &[(usize, usize, f64)]) -> Tournament {
        let mut made = Tournament::new(n);
        results.iter().for_each(|&(i, j, q)| made.add(i, j, q, 1.0 - q));
        made
    }

    fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-9), "{found:?}, expected {expected:?}");
    }

    #[test]
    fn copeland_counts_wins_and_half_the_ties() {
        let all = tournament(3, &[(0, 1, 1.0), (0, 2, 0.9), (1, 2, 0.5)]);
        assert_eq!(all.copeland(), [2.0, 0.5, 0.5]);
        // B and C have not met: B's one point in one game counts for two
        assert_eq!(tournament(3, &[(0, 1, 0.0), (0, 2, 1.0)]).copeland(), [1.0, 2.0, 0.0]);
    }

    #[test]
    fn win_rates_count_copies() {
        let pair = tournament(2, &[(0, 1, 0.8)]);
        near(&pair.win_rates(&[2.0, 1.0]), &[0.65, 0.2]);
        near(&pair.win_rates(&[1.0, 1.0]), &[0.8, 0.2]);
        assert_eq!(tournament(1, &[]).win_rates(&[3.0]), [0.5]);
    }

    #[test]
    fn bradley_terry_finds_the_maximum() {
        let ln3 = 3f64.ln();
        near(&tournament(2, &[(0, 1, 1.0)]).bradley_terry(0.2), &[ln3, -ln3]);
        near(&tournament(2, &[(0, 1, 1.0)]).elo(0.2), &[1500.0 + 400.0 * 3f64.log10(), 1500.0 - 400.0 * 3f64.log10()]);
        near(&tournament(3, &[(0, 1, 1.0), (1, 2, 1.0), (2, 0, 1.0)]).bradley_terry(PRIOR), &[0.0; 3]);
        // without a prior, two items with q = 0.8 have odds 4 to 1
        let theta = tournament(2, &[(0, 1, 0.8)]).bradley_terry(1e-12);
        assert!((theta[0] - theta[1] - 4f64.ln()).abs() < 1e-6, "{theta:?}");
        // the gradient vanishes, also with games that were not played and an item that won all of its own
        let (n, results) = (5, [(0, 1, 1.0), (0, 2, 1.0), (1, 2, 0.5), (2, 3, 0.75), (3, 4, 0.0), (1, 4, 0.25)]);
        let theta = tournament(n, &results).bradley_terry(PRIOR);
        let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
        for i in 0..n {
            let game = |&(a, b, q): &(usize, usize, f64)| match (a == i, b == i) {
                (true, _) => q - sigma(theta[a] - theta[b]),
                (_, true) => sigma(theta[a] - theta[b]) - q,
                _ => 0.0,
            };
            let gradient: f64 = results.iter().map(game).sum::<f64>() + PRIOR * (1.0 - 2.0 * sigma(theta[i]));
            assert!(gradient.abs() < 1e-9, "{i}: {gradient}");
        }
    }

    /// However many games were won in a row, scores are finite and in order.
    #[test]
    fn all_forms_agree_on_a_clear_order_and_stay_finite() {
        for n in [1, 2, 3, 5, 16] {
            let results: Vec<_> = (0..n).flat_map(|i| (0..i).map(move |j| (j, i, 1.0))).collect();
            for form in [Aggregate::Copeland, Aggregate::BradleyTerry, Aggregate::Elo, Aggregate::WinRate] {
                let scores: Option<Vec<f64>> =
                    tournament(n, &results).scores(form, &vec![1.0; n]).into_iter().collect();
                let scores = scores.expect("all have played");
                assert!(scores.iter().all(|s| s.is_finite()) && scores.windows(2).all(|w| w[0] > w[1]), "{scores:?}");
            }
        }
    }

    /// Renaming the items renames the scores, to the bit: equal records tie.
    #[test]
    fn permutations() {
        let q = [0.1, 0.7, 0.3, 0.5, 1.0, 0.2, 0.9, 0.4, 0.6, 0.8];
        let pairs: Vec<(usize, usize)> = (0..5).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
        let results: Vec<_> = pairs.iter().zip(q).map(|(&(i, j), q)| (i, j, q)).collect();
        let weights = [1.0, 2.0, 1.0, 3.0, 1.0];
        let to = [3, 0, 4, 1, 2];
        let renamed: Vec<_> = results.iter().rev().map(|&(i, j, q)| (to[i], to[j], q)).collect();
        let mut renamed_weights = [0.0; 5];
        (0..5).for_each(|i| renamed_weights[to[i]] = weights[i]);
        for form in [Aggregate::Copeland, Aggregate::BradleyTerry, Aggregate::Elo, Aggregate::WinRate] {
            let scores = tournament(5, &results).scores(form, &weights);
            let after = tournament(5, &renamed).scores(form, &renamed_weights);
            (0..5).for_each(|i| assert_eq!(scores[i], after[to[i]], "{form:?}"));
        }
        let none = tournament(3, &[(0, 1, 1.0)]).scores(Aggregate::Elo, &[1.0; 3]);
        assert!(none[2].is_none() && none[0].is_some(), "{none:?}");
    }
}
