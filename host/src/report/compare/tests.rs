use super::super::arms::Arm;
use super::super::collect::RunData;
use super::*;

/// An arm: its name, and values by seed; `None` is a run that is not done.
type Given<'a> = (&'a str, &'a [(u64, Option<f64>)]);

fn experiment(arms: &[Given<'_>]) -> Experiment {
    let run = |(seed, value): &(u64, Option<f64>)| {
        let models = vec![("M2".to_owned(), String::new())];
        let mut run = RunData { seed: *seed, models, rounds: 1, ..RunData::default() };
        match value {
            None => run.state = State::Unfinished(0, 2),
            Some(x) => drop(run.points.insert("eval/sampled".into(), BTreeMap::from([(0, 0.1), (2, *x)]))),
        }
        run.points.insert("eval/sampled_error".into(), BTreeMap::from([(2, 0.01)]));
        run
    };
    let arm = |(name, runs): &Given<'_>| Arm {
        name: (*name).to_owned(),
        runs: runs.iter().map(run).collect(),
        ..Arm::default()
    };
    Experiment { arms: arms.iter().map(arm).collect(), ..Experiment::default() }
}

fn compared(arms: &[Given<'_>]) -> Comparison {
    Comparison::new(&experiment(arms), Metric::named("eval/sampled"))
}

const NONE: &[(u64, Option<f64>)] = &[(0, Some(0.60)), (1, Some(0.61)), (2, Some(0.62))];

#[test]
fn the_answer_in_words() {
    let cases: [(&[Given<'_>], &[&str]); 9] = [
        (
            &[("none", NONE), ("cream", &[(0, Some(0.65)), (1, Some(0.661)), (2, Some(0.669))])],
            &["cream beats none by 5.00 points of sampled accuracy (95 % CI ", ", paired t over 3 seeds, p < 0.001)."],
        ),
        (
            &[("none", NONE), ("worse", &[(0, Some(0.55)), (1, Some(0.561)), (2, Some(0.569))])],
            &["none beats worse by 5.00 points"],
        ),
        (
            &[("none", NONE), ("cream", &[(0, Some(0.61)), (1, Some(0.60)), (2, Some(0.64))])],
            &[
                "The data does not tell cream and none apart: cream is 0.67 points of sampled accuracy ahead of none (95 % CI −",
            ],
        ),
        (
            &[("none", NONE), ("a", &[(0, Some(0.61)), (1, Some(0.60)), (2, Some(0.64))]), ("b", NONE)],
            &["does not tell whether any arm beats none: the best, a,", "Holm-adjusted p = "],
        ),
        (&[("none", NONE), ("same", NONE)], &["same and none have the same sampled accuracy in every one of 3 seeds"]),
        (
            &[("none", &[(0, Some(0.6))]), ("cream", &[(0, Some(0.65))])],
            &[
                "single seed nothing can be said about chance between seeds",
                "5.00 points ahead of none in sampled accuracy (standard errors over evaluation rows: 1.0 and 1.0)",
            ],
        ),
        (
            &[("cream", NONE)],
            &["cream reached a sampled accuracy of 61.0 % (95 % CI 58.5 … 63.5 over 3 seeds)", "There is one arm"],
        ),
        (&[("none", NONE), ("cream", &[(7, Some(0.7))])], &["No other arm shares a seed"]),
        (&[("none", &[(0, None)]), ("cream", &[(0, None)])], &["No run has come to a sampled accuracy yet"]),
    ];
    for (arms, parts) in cases {
        let answer = compared(arms).answer();
        for part in parts {
            assert!(answer.contains(part), "no {part:?} in {answer:?}");
        }
    }
}

#[test]
fn differences_are_over_common_seeds_of_finished_runs() {
    let found = compared(&[
        ("none", NONE),
        ("cream", &[(1, Some(0.65)), (2, Some(0.65)), (3, Some(0.9)), (4, None)]),
        ("level", &[(0, Some(0.70)), (1, Some(0.71)), (2, Some(0.72))]),
    ]);
    let cream = &found.arms[1];
    assert_eq!((cream.values.len(), cream.without), (3, 1));
    let difference = cream.difference.as_ref().unwrap();
    assert_eq!(difference.by_seed.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(difference.unpaired, 2);
    assert!((difference.mean - 0.035).abs() < 1e-12);
    assert!(found.arms[0].difference.is_none());
    let remarks = found.remarks().join("\n");
    assert!(remarks.contains("3 seeds are few"), "{remarks}");
    let out = left_out(&experiment(&[("none", NONE), ("cream", &[(4, None)])])).join("\n");
    assert_eq!(out, "1 run is left out (unfinished: 0 of 2 rounds): cream seed 4.");
    // The best first, and no value last.
    let order = compared(&[("none", &[(0, None)]), ("a", &[(0, Some(0.1))]), ("b", &[(0, Some(0.2))])]).order();
    assert_eq!(order, [2, 1, 0]);
}
