use super::*;
use crate::testkit;

#[test]
fn keys_belong_to_names() {
    let drawn = key(1, &["rule", "p0", "text"]);
    assert_eq!(drawn, key(1, &["rule", "p0", "text"]));
    let others = [
        key(2, &["rule", "p0", "text"]),
        key(1, &["rule", "p1", "text"]),
        key(1, &["rule", "p", "0text"]),
        key(1, &["rule", "p0text"]),
        key(1, &["rule", "p0", "text", ""]),
        key(1, &[]),
    ];
    for (i, other) in others.iter().enumerate() {
        assert_ne!(drawn, *other, "{i}");
        assert!(!others[..i].contains(other), "{i}");
    }
}

/// 2^16 keys fall into 16 bins by their highest and by their lowest bits; χ² with 15 degrees of freedom is over 45
/// with probability 7.6e-5.
#[test]
fn keys_are_spread_evenly() {
    for shift in [0, 60] {
        let mut bins = [0u32; 16];
        for i in 0..1 << 16 {
            bins[(key(7, &["rule", &format!("prompt-{i}")]) >> shift) as usize & 15] += 1;
        }
        let expected = f64::from(1 << 12);
        let chi: f64 = bins.iter().map(|&n| (f64::from(n) - expected) * (f64::from(n) - expected) / expected).sum();
        assert!(chi < 45.0, "{shift}: {chi}");
    }
}

#[test]
fn candidates_of_a_part_carry_the_scores_of_the_whole() {
    // "a" is there three times: as the first, within the part, and again
    let groups = testkit::groups(&[("x", &["a", "b", "a", "c", "a"])]);
    let values = [Some(1.0), Some(2.0), Some(7.0), None, Some(9.0)];
    let selection = Selection { deduplicate: true, require_complete: false };
    let group = Group { groups: &groups, number: 0, values: &values, first: &[0, 1, 0, 3, 0], selection, seed: 0 };
    let numbers = |list: Vec<Candidate>| list.iter().map(|c| (c.response, c.score)).collect::<Vec<_>>();
    assert_eq!(numbers(group.candidates().unwrap()), [(0, 1.0), (1, 2.0)]);
    assert_eq!(numbers(group.candidates_among(|r| r >= 2)), [(2, 1.0)]);
    let all = Group { first: &[0, 1, 2, 3, 4], selection: Selection { deduplicate: false, ..selection }, ..group };
    assert_eq!(numbers(all.candidates_among(|r| r >= 2)), [(2, 7.0), (4, 9.0)]);
}

#[test]
fn sorting_keeps_the_order_of_ties_or_draws_one() {
    let texts: Vec<String> = (0..6).map(|i| format!("text {i}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let groups = testkit::groups(&[("x", &texts)]);
    let values = [0.0, 1.0, -0.0, 1.0, 0.0, -2.0].map(Some);
    let selection = Selection { deduplicate: true, require_complete: false };
    let sorted = |seed: u64, on_tie: OnTie| -> Vec<u32> {
        let group = Group { groups: &groups, number: 0, values: &values, first: &[0, 1, 2, 3, 4, 5], selection, seed };
        group.sorted(group.candidates().unwrap(), on_tie).iter().map(|c| c.response).collect()
    };
    assert_eq!(sorted(1, OnTie::First), [1, 3, 0, 2, 4, 5]);
    let drawn: std::collections::BTreeSet<Vec<u32>> = (0..200).map(|seed| sorted(seed, OnTie::Random)).collect();
    assert_eq!(drawn.len(), 2 * 6, "all orders of two and of three tied responses");
    assert!(drawn.iter().all(|order| order[5] == 5 && order[..2].iter().all(|r| [1, 3].contains(r))));
}
