//! Rank statistics over the scores of one group. All inputs are finite, all sums run in index order, and
//! only `+ - × ÷ √` are used, so the results have the same bits on every target.

mod overlap;

pub use overlap::{rank_biased_overlap, top_order, top_order_by_place};

/// Kendall's τ-b between two score lists of equal length, on raw scores:
///
/// τ-b = (P − Q) / √((n₀ − n₁)(n₀ − n₂)), with P concordant and Q discordant pairs of items,
/// n₀ = n(n−1)/2 pairs in all, and n₁, n₂ the pairs tied in the first and in the second list
/// (Kendall 1945, "The treatment of ties in ranking problems"). Without ties this is τ = (P − Q) / n₀.
///
/// `None` where it is undefined: fewer than two items, or a list in which all items tie.
///
/// ```
/// use creamery_plugin::stats::kendall_tau_b;
/// // six pairs: five concordant, one discordant
/// assert_eq!(kendall_tau_b(&[4.0, 3.0, 2.0, 1.0], &[4.0, 3.0, 1.0, 2.0]), Some(4.0 / 6.0));
/// assert_eq!(kendall_tau_b(&[1.0, 2.0], &[5.0, 5.0]), None);
/// ```
///
/// Panics if the lengths differ.
pub fn kendall_tau_b(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "two lists over the same items");
    let (mut difference, mut untied_a, mut untied_b) = (0i64, 0u64, 0u64);
    for i in 0..a.len() {
        for j in 0..i {
            let (x, y) = (sign(a[i] - a[j]), sign(b[i] - b[j]));
            difference += x * y;
            untied_a += x.unsigned_abs();
            untied_b += y.unsigned_abs();
        }
    }
    let scale = (untied_a as f64 * untied_b as f64).sqrt();
    (scale > 0.0).then(|| (difference as f64 / scale).clamp(-1.0, 1.0))
}

/// Spearman's ρ (C. Spearman 1904, "The proof and measurement of association between two things"): Pearson's
/// correlation of the ranks, where ties share their average rank. Without ties ρ = 1 − 6 Σd² / (n(n² − 1)), with d the
/// difference of an item's two ranks. `None` for fewer than two items or a constant list.
///
/// ```
/// use creamery_plugin::stats::spearman_rho;
/// // d = 0, 0, 1, 1: 1 − 6·2/60
/// assert_eq!(spearman_rho(&[4.0, 3.0, 2.0, 1.0], &[4.0, 3.0, 1.0, 2.0]), Some(0.8));
/// ```
///
/// Panics if the lengths differ.
pub fn spearman_rho(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "two lists over the same items");
    let (a, b) = (average_ranks(a), average_ranks(b));
    let middle = (a.len() as f64 + 1.0) / 2.0;
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(&b) {
        ab += (x - middle) * (y - middle);
        aa += (x - middle) * (x - middle);
        bb += (y - middle) * (y - middle);
    }
    let scale = (aa * bb).sqrt();
    (scale > 0.0).then(|| (ab / scale).clamp(-1.0, 1.0))
}

/// Ranks from 1 for the smallest value; equal values are ranked by index, so no two ranks are equal.
pub fn ordinal_ranks(values: &[f64]) -> Vec<f64> {
    (0..values.len())
        .map(|i| {
            let before = |j: usize| values[j] < values[i] || (values[j] == values[i] && j < i);
            1.0 + (0..values.len()).filter(|&j| before(j)).count() as f64
        })
        .collect()
}

/// Ranks from 1 for the smallest value; equal values share the average of their ranks.
pub fn average_ranks(values: &[f64]) -> Vec<f64> {
    values
        .iter()
        .map(|v| {
            let smaller = values.iter().filter(|w| *w < v).count() as f64;
            let equal = values.iter().filter(|w| *w == v).count() as f64;
            smaller + (equal + 1.0) / 2.0
        })
        .collect()
}

/// Ranks from 1 for the largest value; equal values share the smaller rank ("1, 2, 2, 4").
pub fn competition_ranks(values: &[f64]) -> Vec<u32> {
    values.iter().map(|v| 1 + values.iter().filter(|w| *w > v).count() as u32).collect()
}

/// The index of the largest value, the first one among equals. `None` for an empty list.
pub fn argmax(values: &[f64]) -> Option<usize> {
    (0..values.len()).reduce(|best, i| if values[i] > values[best] { i } else { best })
}

/// The index of the smallest value, the first one among equals. `None` for an empty list.
pub fn argmin(values: &[f64]) -> Option<usize> {
    (0..values.len()).reduce(|best, i| if values[i] < values[best] { i } else { best })
}

/// The mean. `None` for an empty list.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation of the list as a whole population (divided by n). `None` for an empty list.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    Some((squares / values.len() as f64).sqrt())
}

/// −1, 0 or 1.
fn sign(x: f64) -> i64 {
    i64::from(x > 0.0) - i64::from(x < 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks() {
        let values = [2.0, 5.0, 2.0, -1.0];
        assert_eq!(ordinal_ranks(&values), [2.0, 4.0, 3.0, 1.0]);
        assert_eq!(average_ranks(&values), [2.5, 4.0, 2.5, 1.0]);
        assert_eq!(competition_ranks(&values), [2, 1, 2, 4]);
        assert_eq!((argmax(&values), argmin(&values)), (Some(1), Some(3)));
        assert_eq!((argmax(&[3.0, 3.0]), argmin(&[3.0, 3.0])), (Some(0), Some(0)));
        assert_eq!((argmax(&[]), argmin(&[])), (None, None));
    }

    #[test]
    fn correlations_are_undefined_without_two_distinct_values() {
        for (a, b) in [(vec![], vec![]), (vec![1.0], vec![2.0]), (vec![1.0, 1.0], vec![1.0, 2.0])] {
            assert_eq!(kendall_tau_b(&a, &b), None);
            assert_eq!(spearman_rho(&a, &b), None);
        }
    }

    #[test]
    fn tau_of_five_items_without_ties_is_an_exact_multiple_of_a_fifth() {
        // 10 pairs, one of them discordant: τ = 8/10, C = 0.9
        let tau = kendall_tau_b(&[5.0, 4.0, 3.0, 2.0, 1.0], &[4.0, 5.0, 3.0, 2.0, 1.0]);
        assert_eq!(tau, Some(0.8));
    }

    #[test]
    fn moments() {
        assert_eq!((mean(&[]), standard_deviation(&[])), (None, None));
        assert_eq!((mean(&[1.0, 3.0]), standard_deviation(&[1.0, 3.0])), (Some(2.0), Some(1.0)));
        assert_eq!(standard_deviation(&[7.0]), Some(0.0));
    }
}
