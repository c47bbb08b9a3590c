//! What came in 1.1: reports of judges, sources of responses, columns of pairs. Every form gives the same bits, and a
//! bad answer is an error.

use creamery_plugin::builtin::{DynJudge, DynRanker, DynRegularizer, Make};
use creamery_plugin::testkit::{column, complete, cut_off, groups, pair, records, scores, sources};
use creamery_plugin::*;
use serde_json::json;

use super::forms::{Random, answer, run_judge, shown};
use super::*;

const BUILT: [Artifact; 2] = [Artifact::Native, Artifact::Component];

/// One of the three.
type Linked = (Option<Box<dyn DynJudge>>, Option<Box<dyn DynRanker>>, Option<Box<dyn DynRegularizer>>);

/// A hostile plugin, linked in.
fn linked(make: Make, mode: &str) -> Linked {
    let params = json!({"mode": mode}).to_string();
    match make {
        Make::Judge(new) => (Some(new(&params).unwrap()), None, None),
        Make::Ranker(new) => (None, Some(new(&params).unwrap()), None),
        Make::Regularizer(new) => (None, None, Some(new(&params).unwrap())),
    }
}

/// Answers of one step of `count` queries, of all kinds.
fn answers(seed: u64, count: u64) -> Vec<Answer> {
    let messages = vec![Message::user("Rate it.")];
    let query = |i: u64| match i % 3 {
        0 => Query::Generate {
            slot: "judge".to_owned(),
            messages: messages.clone(),
            count: 4,
            max_new_tokens: 8,
            temperature: 1.0,
            top_p: 1.0,
        },
        1 => Query::Choose {
            slot: "judge".to_owned(),
            messages: messages.clone(),
            labels: vec!["A".to_owned(), "B".to_owned()],
        },
        _ => Query::TextLogp { slot: "judge".to_owned(), messages: messages.clone(), continuation: "x".to_owned() },
    };
    (0..count).map(|i| answer(&query(i), seed * 1000 + i)).collect()
}

#[test]
fn reports_have_the_same_bits_in_every_form() {
    let inside = linked(hostile_judge::plugin().make, "good").0.unwrap();
    let mut forms = BUILT.map(|form| judge("hostile-judge", form, &json!({})).unwrap());
    let mut pairs = 0;
    for seed in 0..24 {
        let groups = Random(seed).groups();
        let steps: Vec<_> = (0..seed % 4).map(|step| answers(seed * 10 + step, (seed + step) % 7)).collect();
        let expected = inside.report(&context(), &groups, &steps).unwrap();
        pairs += expected.pairs.len();
        for form in &mut forms {
            let found = form.report(&context(), &groups, &steps).unwrap();
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{} seed {seed}", form.info().artifact());
        }
    }
    assert!(pairs > 20, "the inputs should lead to pairs of judgments, found {pairs}");
}

/// Builtin plugins and judges with nothing to say.
#[test]
fn a_judge_without_a_report() {
    for form in FORMS {
        let mut judge = judge("implicit-reward", form, &json!({})).unwrap();
        let groups = two_groups();
        assert!(!run_judge(&mut *judge, &context(), &groups, 1).is_empty());
        assert_eq!(judge.report(&context(), &groups, &[]).unwrap(), JudgeReport::default());
    }
}

#[test]
fn sources_reach_rankers_in_every_form() {
    let inside = linked(hostile_ranker::plugin().make, "good").1.unwrap();
    let scores = scores(&[("current", &[Some(1.0), Some(0.0), Some(2.0), None])]);
    let (groups, context) = (two_groups(), RankContext { round: 3, seed: 9 });
    let mixtures = [
        sources(&["current"], &[0; 4]),
        sources(&["current", "M0", "ältere 模型"], &[2, 0, 0, 1]),
        sources(&["current", "previous"], &[1, 1, 0, 1]),
    ];
    for form in BUILT {
        let mut ranker = ranker("hostile-ranker", form, &json!({})).unwrap();
        for mixture in &mixtures {
            let expected = inside.rank_sources(&context, &groups, &scores, mixture).unwrap();
            assert_eq!(ranker.rank_sources(&context, &groups, &scores, mixture).unwrap(), expected, "{form}");
        }
    }
    // A ranker that does not care ranks as ever.
    for form in FORMS {
        let mut ranker = ranker("best-worst", form, &json!({})).unwrap();
        let alone = ranker.rank(&context, &groups, &scores).unwrap();
        assert_eq!(ranker.rank_sources(&context, &groups, &scores, &mixtures[1]).unwrap(), alone, "{form}");
    }
}

#[test]
fn numbers_reach_rankers_in_every_form() {
    let inside = linked(hostile_ranker::plugin().make, "numbers").1.unwrap();
    let scores = scores(&[
        ("current", &[Some(1.0), Some(0.5), Some(2.0), None]),
        ("previous", &[None, Some(-0.25), Some(0.125), Some(3.0)]),
    ]);
    let mut groups = groups(&[("one", &["a", "a"])]);
    groups.push("p1", vec![], vec![cut_off("bcd"), complete("bcd")]);
    let context = RankContext { round: 3, seed: 9 };
    let by_numbers = inside.rank_numbers(&context, Numbers::of(&groups, &scores).view()).unwrap().unwrap();
    let weights = [
        10.0 + (1.0 + (0.5 + 0.375 / 3.0)) + 0.01 * (1.0 + (0.25 - 0.25 / 3.0)),
        10.0 + (1003.0 + (1.0 + 0.125 / 3.0)) + 0.01 * (103.0 + (0.1875 + 1.0)),
    ];
    assert_eq!(by_numbers.pairs.iter().map(|p| p.weight).collect::<Vec<_>>(), weights);
    for form in BUILT {
        let mut ranker = ranker("hostile-ranker", form, &json!({"mode": "numbers"})).unwrap();
        for _ in 0..2 {
            assert_eq!(ranker.rank(&context, &groups, &scores).unwrap(), by_numbers, "{form}");
            let texts = ranker.rank_texts(&context, &groups, &scores).unwrap();
            assert!(texts.pairs.iter().all(|p| p.weight == 1.0), "{form}");
        }
    }
}

#[test]
fn a_ranker_that_needs_texts_is_not_asked_again() {
    let scores = scores(&[("current", &[Some(1.0), Some(0.0), Some(2.0), None])]);
    for form in BUILT {
        let mut ranker = ranker("hostile-ranker", form, &json!({"mode": "numbers-none"})).unwrap();
        for _ in 0..3 {
            let ranking = ranker.rank(&RankContext::default(), &two_groups(), &scores).unwrap();
            assert!(ranking.pairs.iter().all(|p| p.weight == 1.0), "{form}");
        }
    }
}

#[test]
fn columns_have_the_same_bits_in_every_form() {
    let inside = linked(hostile_regularizer::plugin().make, "columns").2.unwrap();
    let mut forms = BUILT.map(|form| regularizer("hostile-regularizer", form, &json!({"mode": "columns"})).unwrap());
    for seed in 0..24 {
        let mut random = Random(seed);
        let groups = random.groups();
        let scores = random.scores(groups.responses.len());
        let pairs: Vec<Pair> = (0..groups.len())
            .filter(|g| groups.response_range(*g).len() > 1)
            .map(|g| pair(g as u32, groups.response_offsets[g], groups.response_offsets[g] + 1))
            .collect();
        let records = records(groups, scores, pairs);
        let labels = inside.label(&records).unwrap();
        let expected = inside.columns(&records, &labels).unwrap();
        let batch = random.batch();
        let values: Vec<f64> = (0..batch.policy_chosen.len()).map(|_| random.unit()).collect();
        let given = [column("target", &values), column("Ziel — 目标", &values)];
        let value = inside.objective_columns(&batch, &given).unwrap();
        for form in &mut forms {
            let artifact = form.info().artifact();
            let found = form.columns(&records, &labels).unwrap();
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{artifact} seed {seed}");
            let found = form.objective_columns(&batch, &given).unwrap();
            assert_eq!(format!("{found:?}"), format!("{value:?}"), "{artifact} seed {seed}");
        }
    }
    // A regularizer without columns computes as ever.
    let batch = Random(3).batch();
    for form in FORMS {
        let mut plugin = regularizer("cream", form, &json!({})).unwrap();
        assert_eq!(plugin.columns(&Records::default(), &Labels::default()).unwrap(), []);
        let alone = shown(plugin.objective(&batch));
        assert_eq!(shown(plugin.objective_columns(&batch, &[])), alone);
    }
}

#[test]
fn a_report_that_breaks_the_contract() {
    let cases: &[(&str, &str)] = &[
        ("nan-measure", "the sum of measure \"bytes\" is NaN, expected a finite number"),
        ("unnamed-measure", "measure 2 has no name"),
        ("measure-twice", "measure \"bytes\" is there twice"),
        ("measure-of-nothing", "measure \"luck\" has the sum 1 of nothing"),
        ("many-measures", "it gives 1003 measures, at most 1000 are allowed"),
        ("no-such-step", "pair 1: there is no answer to query 0 of step 9"),
        ("no-such-query", "pair 1: there is no answer to query 99 of step 0"),
        ("no-texts", "pair 1: query 1 of step 0 was not answered with texts"),
        ("no-such-text", "pair 1: rejected is text 99, but the answer has 3"),
        ("one-text", "pair 1: texts 1 and 1 of its answer are the same"),
        ("equal-texts", "pair 1: texts 0 and 2 of its answer are the same"),
        ("pair-twice", "pair 2 (1 over 0 of step 0, query 0) is there twice"),
        ("pair-weight", "pair 0: its weight is 0, expected a number above 0 and at most 1e9"),
        ("report-error", "I have nothing to declare"),
        ("report-panic", "panicked: the report is on fire"),
    ];
    let text = |text: &str| Generated { text: text.to_owned(), finish: Finish::Stop };
    let texts = Answer::Texts(vec![text("good"), text("bad"), text("good")]);
    let answers = [vec![texts, Answer::Distribution(vec![0.5, 0.5])]];
    for form in BUILT {
        for (mode, part) in cases {
            let mut judge = judge("hostile-judge", form, &json!({"mode": mode})).unwrap();
            let error = fails(judge.report(&context(), &two_groups(), &answers));
            says(&error, &["plugin 'hostile-judge' 0.1.0", &format!("report: {part}")]);
            assert_eq!(error.kind(), creamery::Kind::Plugin);
        }
    }
}

#[test]
fn columns_and_rankings_that_break_the_contract() {
    let scores = scores(&[("current", &[Some(1.0), Some(0.0), Some(2.0), Some(1.0)])]);
    let mixture = sources(&["current", "M0"], &[0, 1, 0, 1]);
    let columns: &[(&str, &str)] = &[
        ("few-values", "columns: it gave 0 values of column \"target\" for 2 pairs"),
        ("infinite-value", "columns: column \"target\" of pair 0 is inf, expected a finite number"),
        ("unnamed-column", "columns: column 1 has no name"),
        ("column-twice", "columns: column \"target\" is there twice"),
        ("many-columns", "columns: it gives 65 columns, at most 64 are allowed"),
        ("panic-in-columns", "columns: panicked: the roof fell"),
    ];
    let records = records(two_groups(), scores.clone(), vec![pair(0, 0, 1), pair(1, 2, 3)]);
    let mut batch = Random(5).batch();
    assert!(!batch.policy_chosen.is_empty());
    batch.beta = 0.2;
    for form in BUILT {
        for (mode, part) in columns {
            let mut plugin = regularizer("hostile-regularizer", form, &json!({"mode": mode})).unwrap();
            let labels = plugin.label(&records).unwrap();
            let error = fails(plugin.columns(&records, &labels));
            says(&error, &["plugin 'hostile-regularizer' 0.1.0", part]);
        }
        let mut plugin = regularizer("hostile-regularizer", form, &json!({"mode": "nan-with-columns"})).unwrap();
        let values = vec![1.0; batch.policy_chosen.len()];
        let error = fails(plugin.objective_columns(&batch, &[column("target", &values)]));
        says(&error, &["objective: loss of pair 0 is NaN"]);
        // The host's own mistakes do not reach the plugin.
        let error = fails(plugin.objective_columns(&batch, &[column("target", &[])]));
        says(&error, &["objective: the columns given to it are wrong: it gave 0 values of column \"target\""]);

        let rankings: &[(&str, &str)] = &[
            ("sources-error", "I rank only my own"),
            ("sources-pair", "pair 0: response 0 is both chosen and rejected"),
        ];
        let by_numbers: &[(&str, &str)] = &[
            ("numbers-error", "rank: I do not count"),
            ("numbers-panic", "panicked: cannot count"),
            ("numbers-pair", "rank: pair 0: response 0 is both chosen and rejected"),
        ];
        for (mode, part) in by_numbers {
            let mut ranker = ranker("hostile-ranker", form, &json!({"mode": mode})).unwrap();
            let error = fails(ranker.rank(&RankContext::default(), &two_groups(), &scores));
            says(&error, &["plugin 'hostile-ranker' 0.1.0", part]);
        }
        for (mode, part) in rankings {
            let mut ranker = ranker("hostile-ranker", form, &json!({"mode": mode})).unwrap();
            let result = ranker.rank_sources(&RankContext::default(), &two_groups(), &scores, &mixture);
            says(&fails(result), &["plugin 'hostile-ranker' 0.1.0", part]);
        }
    }
}

#[test]
fn sources_that_the_host_gets_wrong() {
    let scores = scores(&[("current", &[Some(1.0), Some(0.0)])]);
    let groups = groups(&[("one", &["a", "b"])]);
    let cases = [
        (sources(&[], &[]), "the first name is not \"current\""),
        (sources(&["M0"], &[0, 0]), "the first name is not \"current\""),
        (sources(&["current", ""], &[0, 0]), "source 1 has no name"),
        (sources(&["current", "current"], &[0, 0]), "source \"current\" is there twice"),
        (sources(&["current"], &[0]), "there are 1 of them for 2 responses"),
        (sources(&["current"], &[0, 1]), "response 1 is of source 1, of 1"),
    ];
    let mut ranker = ranker("best-worst", Artifact::Builtin, &json!({})).unwrap();
    for (mixture, part) in cases {
        let result = ranker.rank_sources(&RankContext::default(), &groups, &scores, &mixture);
        says(&fails(result), &["rank: the sources given to it are wrong: ", part]);
    }
}
