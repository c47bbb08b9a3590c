//! Parts that do not go together are an error at load: nothing is sampled, nothing lies in the store.

use super::*;

fn hostile(kind: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile").join(kind).display().to_string()
}

/// Runs with these settings, which must fail before any stage.
fn refused(sets: &[&str]) -> String {
    let world = World::new();
    let output = world.run(&sets.iter().flat_map(|set| ["--set", set]).collect::<Vec<_>>());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{sets:?} should have failed");
    assert_eq!(made(&world), 0, "{sets:?} made something before it failed:\n{errors}");
    errors
}

/// The artifacts in the store.
fn made(world: &World) -> usize {
    fs::read_dir(world.path("store")).map_or(0, |entries| {
        let folders = entries.map(|e| e.unwrap().path()).filter(|p| p.is_dir());
        folders.flat_map(|p| fs::read_dir(p).unwrap()).filter(|e| e.as_ref().unwrap().path().is_dir()).count()
    })
}

#[test]
fn parts_that_do_not_go_together_are_refused_at_load() {
    let plugin = |part: &str| format!("{part}.plugin={}", hostile(part));
    let artifact = |part: &str| format!("{part}.artifact=component");
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "judge",
            "bad-slot",
            &["\"oracle\" here, only judge, reference, initial", "rehearsing [judge]", "[judge.params]"],
        ),
        ("judge", "few", &["scores for 32 responses", "rehearsing [judge]", "the plugin breaks the contract"]),
        ("judge", "no-labels", &["query 0: it has 0 labels", "rehearsing [judge]"]),
        ("regularizer", "panic", &["panicked: cannot label", "rehearsing [regularizer]"]),
        ("regularizer", "few-values", &["0 values of column \"target\"", "rehearsing [regularizer]"]),
        ("regularizer", "nan-gradient", &["d_rejected of pair 0 is NaN", "rehearsing the objective of [regularizer]"]),
    ];
    for (part, mode, parts) in cases {
        let params = format!("{part}.params={{mode={mode:?}}}");
        let errors = refused(&[&plugin(part), &artifact(part), &params]);
        for text in *parts {
            assert!(errors.contains(text), "{part} {mode}: no {text:?} in\n{errors}");
        }
    }
    let errors = refused(&["ranker.plugin=builtin:temporal"]);
    assert!(errors.contains("rehearsing [ranker]"), "{errors}");
}

/// Settings, the exit code, and what the error says.
type Combination = (&'static [&'static str], i32, &'static [&'static str]);

const PROGRAM: &str = "slots.grader.program=[\"sh\", \"-c\", \"exit 1\"]";

/// Builtin plugins that do not go together, each for another reason.
const COMBINATIONS: &[Combination] = &[
    // A judge needs a label distribution, and a program has none.
    (
        &["judge.plugin=builtin:expected-score", "judge.params={slot=\"grader\"}", PROGRAM],
        2,
        &["asks the slot 'grader' for a distribution over labels", "cannot give", "judge, reference, initial can"],
    ),
    (
        &["judge.params={score=\"mean-likelihood\"}", "slots.x.program=[\"./nowhere\"]"],
        3,
        &["slots.x.program", "there is no program at"],
    ),
    (&["slots.x.program=[\"no-such-program-anywhere\"]"], 3, &["there is no such program on the PATH"]),
    // One viewpoint, where two are compared.
    (&["viewpoints=[{name=\"current\"}]"], 4, &["consistency compares two viewpoints", "rehearsing [regularizer]"]),
    (
        &["viewpoints=[{name=\"current\"}]", "regularizer.plugin=builtin:disagreement", "regularizer.params={}"],
        4,
        &["disagreement needs two viewpoints at least", "rehearsing [regularizer]"],
    ),
    // An objective that looks at a reference, and none.
    (
        &["train.reference=none"],
        2,
        &["'cream'", "looks at a reference model, but training has none", "leave `train.reference` out"],
    ),
    (
        &["train.reference=none", "objective.plugin=builtin:preference-loss", "objective.params={loss=\"hinge\"}"],
        2,
        &["'preference-loss'", "looks at a reference model", "[objective]"],
    ),
    // Scores of another scale than the regularizer takes.
    (
        &["regularizer.plugin=builtin:sppo", "regularizer.params={}"],
        4,
        &["sppo needs win rates from 0 to 1", "rehearsing [regularizer] on the judges' scores of made-up responses"],
    ),
    (
        &["judge.plugin=builtin:rubric", "judge.params={}", "regularizer.plugin=builtin:sppo", "regularizer.params={}"],
        4,
        &["sppo needs win rates from 0 to 1", "on the judges' scores"],
    ),
    // Targets that no objective would read.
    (
        &[
            "judge.plugin=builtin:pairwise",
            "judge.params={aggregate=\"win-rate\"}",
            "regularizer.plugin=builtin:sppo",
            "regularizer.params={}",
            "objective.plugin=builtin:preference-loss",
            "objective.params={loss=\"simpo\"}",
        ],
        2,
        &[
            "'sppo'",
            "the columns win_rate_chosen, win_rate_rejected, which only its own objective reads",
            "'preference-loss'",
        ],
    ),
];

#[test]
fn combinations_of_builtin_plugins_are_refused_with_the_reason() {
    for (sets, code, parts) in COMBINATIONS {
        let world = World::new();
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        // What the run finds, `creamery config` finds, without a model.
        for command in ["run", "config"] {
            let ran = world.says(command, &sets);
            assert_eq!(ran.code, Some(*code), "{command} {sets:?}: {}", ran.stderr);
            for part in *parts {
                assert!(ran.stderr.contains(part), "{command} {sets:?}: no {part:?} in\n{}", ran.stderr);
            }
            assert!(ran.stdout.is_empty() && !world.path("out").exists(), "{command} {sets:?}");
            assert_eq!(made(&world), 0, "{command} {sets:?}: something was made");
        }
        let alone = world.says("config", &[&sets[..], &["--no-plugins"]].concat());
        assert_eq!(alone.code, Some(if *code == 3 { 3 } else { 0 }), "{sets:?}: {}", alone.stderr);
    }
}

#[test]
fn a_judge_that_trains_itself_needs_an_objective_without_columns() {
    let plugin = format!("regularizer.plugin={}", hostile("regularizer"));
    let meta = ["judge.plugin=builtin:meta-judge", "judge.params={max-new-tokens=4}"];
    let columns = [plugin.as_str(), "regularizer.artifact=component", "regularizer.params={mode=\"columns\"}"];
    for ask in ["choose", "generate"] {
        let ask = format!("judge.params.meta-ask={ask}");
        let errors = refused(&[&meta[..], &[ask.as_str()], &columns[..]].concat());
        assert!(errors.contains("the objective needs the column 'target', which judgments have not"), "{errors}");
    }
    // Its own judgments are what it trains on: not those of another model.
    let errors = refused(&[&meta[..], &["judge.params.slot=\"grader\"", PROGRAM]].concat());
    assert!(errors.contains("by the model slot 'grader', whose tokens are not the trained model's"), "{errors}");
}

#[cfg(feature = "hub")]
#[test]
fn an_endpoint_without_log_probabilities_has_no_distribution() {
    let endpoint = "slots.grader={endpoint=\"http://127.0.0.1:9/v1\", served-model=\"x\"}";
    let errors = refused(&["judge.plugin=builtin:expected-score", "judge.params={slot=\"grader\"}", endpoint]);
    assert!(errors.contains("asks the slot 'grader' for a distribution over labels"), "{errors}");
}

#[test]
fn what_is_odd_but_no_error_is_told() {
    let world = World::new();
    let back = "viewpoints=[{name=\"current\"}, {name=\"old\", model=\"previous:5\"}]";
    let ran = world.says("config", &["--set", PROGRAM, "--set", back]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for part in [
        "no judge asks the slot [slots.grader]",
        "the viewpoint 'old' is \"previous:5\", which does not exist in rounds 1 to 2: it is M0 there",
    ] {
        assert!(ran.stderr.contains(part), "no {part:?} in\n{}", ran.stderr);
    }
    assert!(!world.path("store").exists(), "`config` makes nothing");
}

/// Objectives that look at no reference train without one, to the same weights.
#[test]
fn an_objective_without_a_reference_spares_it() {
    let world = World::new();
    let simpo = ["objective.plugin=builtin:preference-loss", "objective.params={loss=\"simpo\"}", "rounds.count=1"];
    let sets: Vec<&str> = simpo.iter().flat_map(|set| ["--set", set]).collect();
    world.ok(&sets);
    world.ok(&[&sets[..], &["--set", "train.reference=none", "--set", "out=free"]].concat());
    let weights = |out: &str| fs::read(world.path(out).join("M2/model.safetensors")).unwrap();
    assert!(weights("out") == weights("free"));
}

/// A judge that fails on what it is shown is no reason to refuse the run: made-up answers are not the real ones.
#[test]
fn a_judge_that_fails_on_made_up_responses_raises_no_alarm() {
    let world = World::new();
    let plugin = format!("judge.plugin={}", hostile("judge"));
    let sets = [plugin.as_str(), "judge.artifact=component", "judge.params={mode=\"error\"}"];
    let output = world.run(&sets.iter().flat_map(|set| ["--set", set]).collect::<Vec<_>>());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("I do not feel like judging") && !errors.contains("rehearsing"), "{errors}");
}
