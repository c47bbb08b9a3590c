//! Plugins that break the contract: every way is an error that names the plugin, the function and the reason.

use std::time::Duration;

use creamery::plugins::Limits;
use creamery_plugin::testkit::{groups, pair, records, scores};
use creamery_plugin::{ObjectiveBatch, RankContext, Scores};
use serde_json::json;

use super::*;

const BUILT: [Artifact; 2] = [Artifact::Native, Artifact::Component];

#[test]
fn a_judge_that_breaks_the_contract() {
    let cases: &[(&str, &[&str])] = &[
        ("nan", &["step", "the score of response 0 (prompt \"p0\") is NaN", "must abstain"]),
        ("infinite", &["the score of response 0", "is inf, expected a finite number"]),
        ("few", &["step: it gave 3 scores for 4 responses"]),
        ("many", &["step: it gave 8 scores for 4 responses"]),
        ("error", &["step: I do not feel like judging"]),
        ("panic", &["step: panicked: the sky is falling on p0 (at ", "lib.rs:"]),
        ("ask-nothing", &["it asked nothing"]),
        ("bad-slot", &["query 0: there is no model slot \"oracle\" here, only judge, reference, initial"]),
        ("bad-index", &["query 0: there is no response 99, only 0 to 3"]),
        ("no-index", &["query 0: it names no response"]),
        ("empty-label", &["query 0: label 1 is empty"]),
        ("no-labels", &["query 0: it has 0 labels, expected 1 to 1024"]),
        ("no-messages", &["query 0: it has no messages"]),
        ("bad-role", &["a message has the role \"king\", expected system, user or assistant"]),
        ("huge-count", &["count is 4294967295, expected 1 to 1024"]),
        ("cold", &["temperature is -1, expected a finite number ≥ 0"]),
    ];
    for form in BUILT {
        for (mode, parts) in cases {
            let mut judge = judge("hostile-judge", form, &json!({"mode": mode})).unwrap();
            let error = fails(judge.step(&context(), &two_groups(), &[]));
            says(&error, &[&format!("plugin 'hostile-judge' 0.1.0 ({form})")]);
            says(&error, parts);
            assert_eq!(error.kind(), creamery::Kind::Plugin);
            // A broken call leaves the plugin usable, and broken in the same way.
            assert_eq!(fails(judge.step(&context(), &two_groups(), &[])).to_string(), error.to_string(), "{mode}");
        }
    }
}

#[test]
fn a_judge_that_asks_for_ever() {
    for form in BUILT {
        let mut options = in_form(form);
        options.limits.steps = 5;
        let params = json!({"mode": "ask-forever"});
        let mut judge = load_judge(&source("hostile-judge", form), &root(), &Params::of(&params), &options).unwrap();
        let mut answers = Vec::new();
        let error = loop {
            match judge.step(&context(), &two_groups(), &answers) {
                Ok(_) => answers.push(Vec::new()),
                Err(e) => break e,
            }
        };
        assert_eq!(answers.len(), 5);
        says(&error, &["it asked again after 5 steps, without giving scores", "`max-steps`"]);
    }
}

#[test]
fn a_plugin_that_refuses_its_parameters() {
    for form in BUILT {
        let error = fails(judge("hostile-judge", form, &json!({"mode": "refuse-params"})));
        says(&error, &["configure: these parameters do not please me", "check the plugin's parameters"]);
        let error = fails(judge("hostile-judge", form, &json!({"mode": "panic-in-new"})));
        says(&error, &["configure: panicked: no judge today (at "]);
    }
}

#[test]
fn a_component_that_exceeds_a_limit() {
    let small = Limits {
        fuel: 50_000_000,
        memory_bytes: 32 << 20,
        output_bytes: 1 << 20,
        deadline: Duration::from_secs(600),
        ..Limits::default()
    };
    let endless = Limits { fuel: u64::MAX, deadline: Duration::from_millis(50), ..small.clone() };
    let cases: &[(&str, &Limits, &[&str])] = &[
        ("loop", &small, &["step: it used up its fuel of 50000000 instructions", "raise `limits.fuel`"]),
        ("loop", &endless, &["step: it ran longer than its deadline of 50ms", "`limits.deadline-seconds`"]),
        ("memory", &small, &["step: it wants", "bytes of memory, the limit is 33554432", "`limits.memory-mib`"]),
        ("recurse", &small, &["step: it accessed memory out of bounds"]),
        ("output", &small, &["step: it returned more than 1048576 bytes", "`limits.output-mib`"]),
    ];
    for (mode, limits, parts) in cases {
        let mut options = in_form(Artifact::Component);
        options.limits = (*limits).clone();
        let params = json!({"mode": mode});
        let mut judge =
            load_judge(&source("hostile-judge", Artifact::Component), &root(), &Params::of(&params), &options).unwrap();
        let error = fails(judge.step(&context(), &two_groups(), &[]));
        says(&error, parts);
        says(&error, &["plugin 'hostile-judge' 0.1.0 (component)"]);
    }
}

/// A trapped instance cannot be entered again: the next call gets a new one.
#[test]
fn a_component_works_after_a_trap() {
    let mut options = in_form(Artifact::Component);
    options.limits.fuel = 50_000_000;
    let params = json!({"mode": "loop-on-request"});
    let mut judge =
        load_judge(&source("hostile-judge", Artifact::Component), &root(), &Params::of(&params), &options).unwrap();
    for _ in 0..2 {
        judge.step(&context(), &two_groups(), &[]).unwrap();
        let error = fails(judge.step(&context(), &groups(&[("stop", &["loop", "x"])]), &[]));
        says(&error, &["it used up its fuel"]);
    }
    judge.step(&context(), &two_groups(), &[]).unwrap();
}

/// The same fuel limit decides in the same way every time.
#[test]
fn fuel_is_deterministic() {
    let least = |groups: &Groups| {
        let enough = |fuel: u64| {
            let mut options = in_form(Artifact::Component);
            options.limits.fuel = fuel;
            let loaded =
                load_judge(&source("hostile-judge", Artifact::Component), &root(), &Params::of(&json!({})), &options);
            loaded.is_ok_and(|mut judge| judge.step(&context(), groups, &[]).is_ok())
        };
        let (mut low, mut high) = (0, 10_000_000);
        while high - low > 1 {
            let middle = (low + high) / 2;
            if enough(middle) { high = middle } else { low = middle }
        }
        high
    };
    let fuel = least(&two_groups());
    assert!(fuel > 100, "a call takes instructions, found {fuel}");
    assert_eq!(fuel, least(&two_groups()));
}

#[test]
fn messages_of_plugins_reach_the_host() {
    let said = |form, mode: &str| {
        let (options, messages) = recording(in_form(form));
        let params = json!({"mode": mode});
        let mut judge = load_judge(&source("hostile-judge", form), &root(), &Params::of(&params), &options).unwrap();
        messages.lock().unwrap().clear();
        let failed = judge.step(&context(), &two_groups(), &[]).is_err();
        let messages = messages.lock().unwrap().clone();
        (messages, failed)
    };
    for form in BUILT {
        for (mode, message) in
            [("log", "hostile-judge Warn it is raining: ☔"), ("cry-wolf", "hostile-judge Error panicked: not really")]
        {
            assert_eq!(said(form, mode), (vec![message.to_owned()], false), "{form}: {mode}");
        }
        assert_eq!(said(form, "panic"), (vec![], true), "{form}: an error is told once");
    }
    for mode in ["log-flood", "cry-wolf-flood"] {
        assert_eq!(said(Artifact::Component, mode).0.len(), 1000, "a flood of messages is cut: {mode}");
    }
}

#[test]
fn a_ranker_that_breaks_the_contract() {
    let cases: &[(&str, &str)] = &[
        ("same", "pair 0: response 1 is both chosen and rejected"),
        ("other-group", "pair 0: rejected is response 2, which is not in group 0"),
        ("no-such-response", "pair 1: rejected is response 77, which is not in group 1"),
        ("no-such-group", "pair 1: there is no group 9, only 2 groups"),
        ("forgotten", "group 1 (prompt \"p1\") is neither paired nor dropped with a reason"),
        ("both", "group 1 (prompt \"p1\") is both paired and dropped"),
        ("no-reason", "it drops group 1 without a reason"),
        ("dropped-twice", "it drops group 0 twice or out of order"),
        ("twice", "pair 1 (0 over 1) is there twice"),
        ("disorder", "pair 1 is of group 0, after one of group 1"),
        ("nan-weight", "pair 0: its weight is NaN, expected a number above 0 and at most 1e9"),
        ("zero-weight", "pair 0: its weight is 0, expected a number above 0 and at most 1e9"),
        ("few-ranks", "it gave 1 ranks for 4 scores"),
        ("high-rank", "the rank of response 3 for viewpoint \"current\" is 3, but its group has 2 responses"),
        ("panic", "panicked: cannot rank"),
    ];
    let scores = Scores { ..scores(&[("current", &[Some(1.0), Some(0.0), Some(2.0), None])]) };
    for form in BUILT {
        for (mode, part) in cases {
            let mut ranker = ranker("hostile-ranker", form, &json!({"mode": mode})).unwrap();
            let error = fails(ranker.rank(&RankContext::default(), &two_groups(), &scores));
            says(&error, &["plugin 'hostile-ranker' 0.1.0", &format!("rank: {part}")]);
        }
        let mut ranker = ranker("hostile-ranker", form, &json!({})).unwrap();
        ranker.rank(&RankContext::default(), &two_groups(), &scores).unwrap();
    }
}

#[test]
fn a_regularizer_that_breaks_the_contract() {
    let cases: &[(&str, &str)] = &[
        ("few", "label: it gave 1 consistency for 2 pairs"),
        ("few-weights", "label: it gave 0 weights for 2 pairs"),
        ("over", "label: the consistency of pair 0 is 1.5, expected 0 to 1"),
        ("nan", "label: the consistency of pair 0 is NaN, expected 0 to 1"),
        ("negative-weight", "label: the weight of pair 0 is -1, expected a number from 0 to 1e9"),
        ("no-such-pair", "label: it drops pair 1000, but there are only 2"),
        ("nan-metric", "label: metric \"tau\" is NaN"),
        ("metric-twice", "label: metric \"consistency\" is there twice"),
        ("panic", "label: panicked: cannot label"),
        ("nan-gradient", "objective: d_rejected of pair 0 is NaN, expected a finite number"),
        ("infinite-loss", "objective: loss of pair 0 is inf, expected a finite number"),
        ("few-gradients", "objective: it gave 0 d_chosen for 1 pairs"),
        ("no-objective", "objective: there is no objective"),
    ];
    let scores = scores(&[("current", &[Some(1.0), Some(0.0), Some(2.0), Some(1.0)])]);
    let records = records(two_groups(), scores, vec![pair(0, 0, 1), pair(1, 2, 3)]);
    let batch = ObjectiveBatch {
        beta: 0.1,
        policy_chosen: vec![-1.0],
        policy_rejected: vec![-2.0],
        reference_chosen: vec![-1.5],
        reference_rejected: vec![-1.5],
        chosen_tokens: vec![3],
        rejected_tokens: vec![4],
        consistency: vec![0.9],
        weight: vec![1.0],
    };
    for form in BUILT {
        for (mode, part) in cases {
            let mut plugin = regularizer("hostile-regularizer", form, &json!({"mode": mode})).unwrap();
            let result = match part.starts_with("label") {
                true => plugin.label(&records).map(|_| ()),
                false => plugin.objective(&batch).map(|_| ()),
            };
            says(&fails(result), &["plugin 'hostile-regularizer' 0.1.0", part]);
        }
    }
}
