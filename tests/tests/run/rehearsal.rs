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
    let artifacts = fs::read_dir(world.path("store")).map_or(0, |entries| {
        let folders = entries.map(|e| e.unwrap().path()).filter(|p| p.is_dir());
        folders.flat_map(|p| fs::read_dir(p).unwrap()).filter(|e| e.as_ref().unwrap().path().is_dir()).count()
    });
    assert_eq!(artifacts, 0, "{sets:?} made something before it failed:\n{errors}");
    errors
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
