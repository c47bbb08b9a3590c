//! Agreement of two score lists where the ends of the ranking count most.

use super::competition_ranks;

/// Do the lists agree on the best item and on the worst one? 1 if on both, else 0, where nothing ties (CREAM, arXiv
/// 2410.12735, "TopOrder"; its released code compares the first and the last *sampled* item instead, see
/// [`top_order_by_place`]).
///
/// Ties: several items may be best (or worst). An answer is then the number of items that are best in both lists over
/// the number that are best in at least one (Jaccard), so lists with the same best items agree fully; the two answers
/// are multiplied.
///
/// `None` for fewer than two items or a list in which all items tie: it has no ends.
///
/// ```
/// use creamery_plugin::stats::top_order;
/// // both put item 0 first; the first list puts item 2 last, the second one item 1
/// assert_eq!(top_order(&[3.0, 2.0, 1.0], &[9.0, 4.0, 5.0]), Some(0.0));
/// // items 0 and 1 tie for the best in the second list: ½, and 1 for the worst
/// assert_eq!(top_order(&[3.0, 2.0, 1.0], &[9.0, 9.0, 5.0]), Some(0.5));
/// ```
///
/// Panics if the lengths differ.
pub fn top_order(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "two lists over the same items");
    if constant(a) || constant(b) {
        return None;
    }
    let best = jaccard(a, b, |list, i| list.iter().all(|v| *v <= list[i]));
    let worst = jaccard(a, b, |list, i| list.iter().all(|v| *v >= list[i]));
    Some(best * worst)
}

/// The rule of CREAM's released code under the name "toporder": 1 if the first item has the same rank in both lists and
/// the last item too, else 0. `a` and `b` are ordinal ranks. `None` for fewer than two items.
///
/// ```
/// use creamery_plugin::stats::top_order_by_place;
/// assert_eq!(top_order_by_place(&[2.0, 1.0, 3.0, 4.0], &[2.0, 3.0, 1.0, 4.0]), Some(1.0));
/// assert_eq!(top_order_by_place(&[4.0, 1.0, 2.0, 3.0], &[4.0, 1.0, 3.0, 2.0]), Some(0.0));
/// ```
///
/// Panics if the lengths differ.
pub fn top_order_by_place(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "two lists over the same items");
    let last = a.len().checked_sub(1).filter(|last| *last > 0)?;
    Some(if a[0] == b[0] && a[last] == b[last] { 1.0 } else { 0.0 })
}

/// Rank-biased overlap, extrapolated (W. Webber, A. Moffat, J. Zobel, "A similarity measure for indefinite rankings",
/// ACM TOIS 28(4), 2010, eq. 23 with n = depth k): a reader goes down both rankings, best items first, and goes on with
/// probability `p` after each rank;
///
/// RBO_ext = A_n pⁿ + (1 − p)/p Σ_{d=1..n} A_d p^d, with A_d the agreement of the first d ranks.
///
/// Ties as in the paper: t items tied for rank d all stand at rank d, and A_d = 2 |S_d ∩ T_d| / (|S_d| + |T_d|), where
/// S_d and T_d are the items of rank ≤ d. Both lists hold the same n items, so A_n = 1.
///
/// 1 for equal rankings; for a reversed one it is small but not 0, since at depth n all items are shared: for five items
/// 0.151 with p = 0.5, and 0.738 with p = 0.9.
///
/// `None` for fewer than two items or a list in which all items tie: it is no ranking.
///
/// ```
/// use creamery_plugin::stats::rank_biased_overlap;
/// // A_1 = 0, A_2 = A_3 = 1: 1/8 + (1/4 + 1/8)
/// assert_eq!(rank_biased_overlap(&[3.0, 2.0, 1.0], &[2.0, 3.0, 1.0], 0.5), Some(0.5));
/// ```
///
/// Panics if the lengths differ, or if `p` is not between 0 and 1 (both excluded).
pub fn rank_biased_overlap(a: &[f64], b: &[f64], p: f64) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "two lists over the same items");
    assert!(0.0 < p && p < 1.0, "p is {p}, but must be between 0 and 1");
    if constant(a) || constant(b) {
        return None;
    }
    let (a, b) = (competition_ranks(a), competition_ranks(b));
    let (mut sum, mut power, mut agreement) = (0.0, 1.0, 0.0);
    for depth in 1..=a.len() as u32 {
        power *= p;
        let within = |ranks: &[u32]| ranks.iter().filter(|r| **r <= depth).count();
        let both = a.iter().zip(&b).filter(|(x, y)| **x <= depth && **y <= depth).count();
        agreement = 2.0 * both as f64 / (within(&a) + within(&b)) as f64;
        sum += agreement * power;
    }
    Some((agreement * power + (1.0 - p) / p * sum).clamp(0.0, 1.0))
}

/// Fewer than two items, or all tie.
fn constant(list: &[f64]) -> bool {
    list.iter().all(|v| *v == list[0])
}

/// |A ∩ B| / |A ∪ B| of the items that are at an end of each list.
fn jaccard(a: &[f64], b: &[f64], at_end: fn(&[f64], usize) -> bool) -> f64 {
    let (mut both, mut either) = (0u32, 0u32);
    for i in 0..a.len() {
        let (x, y) = (at_end(a, i), at_end(b, i));
        both += u32::from(x && y);
        either += u32::from(x || y);
    }
    f64::from(both) / f64::from(either)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_order_known_answers() {
        let five = [5.0, 4.0, 3.0, 2.0, 1.0];
        let cases: &[(&[f64], &[f64], Option<f64>)] = &[
            (&five, &[9.0, 1.0, 2.0, 3.0, 0.0], Some(1.0)),
            (&five, &[9.0, 0.0, 2.0, 3.0, 1.0], Some(0.0)),
            (&five, &[1.0, 2.0, 3.0, 4.0, 5.0], Some(0.0)),
            // a tie of the best on both sides is no disagreement
            (&[2.0, 2.0, 1.0], &[7.0, 7.0, 3.0], Some(1.0)),
            (&[2.0, 2.0, 1.0], &[7.0, 6.0, 3.0], Some(0.5)),
            (&[2.0, 1.0, 1.0], &[1.0, 2.0, 2.0], Some(0.0)),
            (&[2.0, 2.0], &[1.0, 2.0], None),
            (&[1.0], &[1.0], None),
            (&[], &[], None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(top_order(a, b), *expected, "{a:?} {b:?}");
            assert_eq!(top_order(b, a), *expected, "{b:?} {a:?}");
        }
        assert_eq!(top_order_by_place(&[1.0], &[1.0]), None);
        assert_eq!(top_order_by_place(&[1.0, 2.0], &[2.0, 1.0]), Some(0.0));
    }

    #[test]
    fn overlap_known_answers() {
        // reversed: A = 0, 0, 1/3, 3/4, 1
        let (up, down) = ([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0]);
        for (p, expected) in [(0.5f64, 0.151_041_666_666_666_67), (0.9, 0.737_775)] {
            let by_hand = p.powi(5) + (1.0 - p) / p * (p.powi(3) / 3.0 + 0.75 * p.powi(4) + p.powi(5));
            let found = rank_biased_overlap(&up, &down, p).unwrap();
            assert!((found - by_hand).abs() < 1e-15 && (found - expected).abs() < 1e-6, "{found} {by_hand}");
            assert_eq!(rank_biased_overlap(&up, &up, p).map(|x| (x - 1.0).abs() < 1e-15), Some(true));
        }
        // the first two tie in one list: |S_1| = 2, |T_1| = 1, so A_1 = 2/3, A_2 = A_3 = 1, and
        // 1/8 + (1/3 + 1/4 + 1/8) = 5/6
        let tied = rank_biased_overlap(&[2.0, 2.0, 1.0], &[3.0, 2.0, 1.0], 0.5).unwrap();
        assert!((tied - 5.0 / 6.0).abs() < 1e-15, "{tied}");
        for (a, b) in [(vec![], vec![]), (vec![1.0], vec![1.0]), (vec![1.0, 1.0], vec![1.0, 2.0])] {
            assert_eq!(rank_biased_overlap(&a, &b, 0.5), None);
        }
    }

    /// Extrapolation means that the agreement stays what it is for ever: the infinite sum of the definition (eq. 4).
    #[test]
    fn overlap_is_the_infinite_sum_with_the_last_agreement_going_on() {
        let (a, b) = ([0.3, 0.1, 0.9, 0.5, 0.2, 0.7], [0.2, 0.9, 0.8, 0.1, 0.3, 0.4]);
        let order = |list: &[f64]| {
            let mut places: Vec<usize> = (0..list.len()).collect();
            places.sort_by(|i, j| list[*j].total_cmp(&list[*i]));
            places
        };
        let (s, t) = (order(&a), order(&b));
        for p in [0.3, 0.5, 0.9] {
            let (mut sum, mut weight) = (0.0, 1.0 - p);
            for depth in 1..5000usize {
                let d = depth.min(6);
                let shared = s[..d].iter().filter(|i| t[..d].contains(i)).count();
                sum += weight * shared as f64 / d as f64;
                weight *= p;
            }
            let found = rank_biased_overlap(&a, &b, p).unwrap();
            assert!((found - sum).abs() < 1e-12, "p = {p}: {found} {sum}");
        }
    }
}
