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
    let scores = testkit::scores(&[("current", &[Some(1.0), Some(2.0), Some(7.0), None, Some(9.0)])]);
    let numbers = |list: &[Candidate]| list.iter().map(|c| (c.response, c.score)).collect::<Vec<_>>();
    for (deduplicate, all, part) in [
        (true, vec![(0, 1.0), (1, 2.0)], vec![(2, 1.0)]),
        (false, vec![(0, 1.0), (1, 2.0), (2, 7.0), (4, 9.0)], vec![(2, 7.0), (4, 9.0)]),
    ] {
        let selection = Selection { deduplicate, require_complete: false };
        let ranking = rank(&RankContext::default(), &groups, &scores, selection, |group| {
            assert_eq!(numbers(group.candidates()?), all);
            assert_eq!(numbers(&group.candidates_among(|r| r >= 2)), part);
            Ok([])
        });
        assert_eq!(ranking.unwrap().dropped, []);
    }
}

#[test]
fn sorting_keeps_the_order_of_ties_or_draws_one() {
    let texts: Vec<String> = (0..6).map(|i| format!("text {i}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let groups = testkit::groups(&[("x", &texts)]);
    let scores = testkit::scores(&[("current", &[0.0, 1.0, -0.0, 1.0, 0.0, -2.0].map(Some))]);
    let selection = Selection { deduplicate: true, require_complete: false };
    let sorted = |seed: u64, on_tie: OnTie| -> Vec<u32> {
        let order = std::cell::RefCell::new(Vec::new());
        let ranking = rank(&RankContext { round: 1, seed }, &groups, &scores, selection, |group| {
            order.borrow_mut().extend(group.sorted(group.candidates()?, on_tie).iter().map(|c| c.response));
            Ok([])
        });
        assert_eq!(ranking.unwrap().dropped, []);
        order.into_inner()
    };
    assert_eq!(sorted(1, OnTie::First), [1, 3, 0, 2, 4, 5]);
    let drawn: std::collections::BTreeSet<Vec<u32>> = (0..200).map(|seed| sorted(seed, OnTie::Random)).collect();
    assert_eq!(drawn.len(), 2 * 6, "all orders of two and of three tied responses");
    assert!(drawn.iter().all(|order| order[5] == 5 && order[..2].iter().all(|r| [1, 3].contains(r))));
}

/// Whatever the groups are, numbers give what texts give.
#[test]
fn numbers_rank_as_texts_do() {
    let mut groups = testkit::groups(&[("x", &["a", "b", "a", "c"]), ("y", &[]), ("z", &["d"]), ("u", &["e", "e"])]);
    groups.push("v", vec![], vec![testkit::complete("f"), testkit::cut_off("f"), testkit::complete("g")]);
    let values: Vec<Option<f64>> = (0..20).map(|i| (i % 5 != 3).then_some(f64::from(i * 7 % 4))).collect();
    let scores = testkit::scores(&[("current", &values[..10]), ("previous", &values[10..])]);
    let numbers = Numbers::of(&groups, &scores);
    let context = RankContext::default();
    for (deduplicate, require_complete) in [(true, false), (false, false), (true, true), (false, true)] {
        let selection = Selection { deduplicate, require_complete };
        let pick = |group: &Group| {
            let sorted = group.sorted(group.candidates()?, OnTie::First);
            Ok([group.pair(&sorted[0], &sorted[sorted.len() - 1], 1.0)])
        };
        let texts = rank(&context, &groups, &scores, selection, pick).unwrap();
        assert_eq!(texts.pairs.len() + texts.dropped.len(), 5);
        assert_eq!(rank_numbers(&context, numbers.view(), selection, pick).unwrap(), texts, "{selection:?}");
    }
}

/// Small groups, large ones and small ones again: each has its own candidates and ranks, whatever was before it.
#[test]
fn groups_of_any_size_stand_alone() {
    let mut groups = Groups { message_offsets: vec![0], response_offsets: vec![0], ..Groups::default() };
    let sizes = [3, 40, 0, FEW, 1, FEW + 1, 2, 7, 100, 5];
    for (g, size) in sizes.into_iter().enumerate() {
        let responses = (0..size).map(|i| testkit::complete(&format!("{}", i % 30))).collect();
        groups.push(format!("p{g}"), vec![], responses);
    }
    let score = |r: usize, v: usize| (r % 11 != 4).then_some(((r * 31 + v * 17) % 23) as f64);
    let total = groups.responses.len();
    let values: Vec<Vec<Option<f64>>> = (0..2).map(|v| (0..total).map(|r| score(r, v)).collect()).collect();
    let scores = testkit::scores(&[("current", &values[0]), ("previous", &values[1])]);
    for deduplicate in [false, true] {
        let seen = std::cell::RefCell::new(Vec::new());
        let selection = Selection { deduplicate, require_complete: false };
        let ranking = rank(&RankContext::default(), &groups, &scores, selection, |group| {
            seen.borrow_mut().push(group.candidates().map(<[_]>::to_vec).unwrap_or_default());
            Ok([])
        });
        let ranks = ranking.unwrap().ranks;
        for g in 0..groups.len() {
            let range = groups.response_range(g);
            let original = |r: usize| if deduplicate { range.start + (r - range.start) % 30 } else { r };
            let first = |r: &usize| original(*r) == *r;
            let counted: Vec<usize> = range.clone().filter(first).filter(|r| score(*r, 0).is_some()).collect();
            let found: Vec<usize> = seen.borrow()[g].iter().map(|c| c.response as usize).collect();
            assert_eq!(found, if counted.len() < 2 { vec![] } else { counted }, "group {g}");
            for (v, r) in (0..2).flat_map(|v| range.clone().map(move |r| (v, r))) {
                let own = score(original(r), v);
                let better = range.clone().filter(|o| score(original(*o), v) > own).count() as u32;
                assert_eq!(ranks[v * total + r], own.map_or(0, |_| 1 + better), "viewpoint {v}, response {r}");
            }
        }
    }
}

#[test]
fn lists_of_other_lengths_are_refused() {
    let groups = testkit::groups(&[("x", &["a", "b"])]);
    let numbers = Numbers::of(&groups, &testkit::scores(&[("current", &[Some(1.0), None])]));
    let selection = Selection { deduplicate: true, require_complete: false };
    let view = numbers.view();
    let cases: [(NumbersView, &str); 6] = [
        (NumbersView { viewpoints: 0, ..view }, "there is no viewpoint to rank by"),
        (
            NumbersView { response_offsets: &[0, 3], ..view },
            "2 token counts for 1 viewpoints of 3 responses: expected 3",
        ),
        (NumbersView { cut_off: &[0], ..view }, "1 cut-off marks for 1 viewpoints of 2 responses: expected 2"),
        (NumbersView { first: &[], ..view }, "0 first responses for 1 viewpoints of 2 responses: expected 2"),
        (NumbersView { viewpoints: 2, ..view }, "2 scores for 2 viewpoints of 2 responses: expected 4"),
        (NumbersView { scores: &[1.0], ..view }, "1 scores for 1 viewpoints of 2 responses: expected 2"),
    ];
    for (numbers, expected) in cases {
        let found = rank_numbers(&RankContext::default(), numbers, selection, |_| Ok([])).unwrap_err();
        assert_eq!(found.message, expected);
    }
}
