//! `plugin check`: the plugins of this repository pass, those that break the contract fail where they break it.

use creamery::author::Subject;
use creamery::author::check::{Options, Outcome, Report, check};
use creamery::plugins::{Kind, builtin_names, find, inspect};
use serde_json::json;

use super::*;

/// Checks a plugin as the command does.
fn checked(source: &str, params: &Value, options: &LoadOptions) -> Report {
    let kind = inspect(source, &root(), options).unwrap_or_else(|e| panic!("{source}: {e}")).kind;
    let params = Params::of(params);
    let mut load = || {
        Ok(match kind {
            Kind::Judge => Subject::Judge(load_judge(source, &root(), &params, options)?),
            Kind::Ranker => Subject::Ranker(load_ranker(source, &root(), &params, options)?),
            Kind::Regularizer => Subject::Regularizer(load_regularizer(source, &root(), &params, options)?),
        })
    };
    // The command tries more groups.
    let mut options = Options { many: 1000, ..Options::default() };
    options.slots.push("program".to_owned());
    check(&mut load, &options).unwrap_or_else(|e| panic!("{source}: {e}"))
}

/// Parameters without which a plugin cannot be.
fn least(name: &str) -> Value {
    match name {
        "labels" => json!({"answers": "{\"id\": \"p0\", \"answer\": 3}\n{\"id\": \"p2\", \"answer\": \"no\"}"}),
        _ => json!({}),
    }
}

#[test]
fn every_builtin_plugin_passes() {
    let names = builtin_names();
    std::thread::scope(|scope| {
        for half in names.chunks(names.len().div_ceil(2)) {
            scope.spawn(move || {
                for name in half {
                    let report = checked(&format!("builtin:{name}"), &least(name), &options());
                    assert_eq!(report.failures(), 0, "{}", report.text());
                    assert!(report.findings.len() > 10, "{}", report.text());
                }
            });
        }
    });
}

#[test]
fn components_and_libraries_pass() {
    for (name, form) in [
        ("implicit-reward", Artifact::Component),
        ("best-worst", Artifact::Component),
        ("temporal", Artifact::Component),
        ("sppo", Artifact::Component),
        ("rubric", Artifact::Native),
        ("cream", Artifact::Native),
    ] {
        let report = checked(&folder(name), &json!({}), &in_form(form));
        assert_eq!(report.failures(), 0, "{}", report.text());
        assert_eq!(report.most.is_some(), form == Artifact::Component, "{}", report.text());
    }
}

/// What a feature changes is skipped with the reason, not left out.
#[test]
fn checks_that_do_not_fit_are_skipped() {
    let skipped = |source: &str, params: Value| -> Vec<&str> {
        let report = checked(source, &params, &options());
        let is_skipped = |f: &&creamery::author::check::Finding| matches!(f.outcome, Outcome::Skipped(_));
        report.findings.iter().filter(is_skipped).map(|f| f.name).collect()
    };
    assert_eq!(skipped("builtin:meta-judge", json!({})), ["batches", "order"]);
    assert_eq!(skipped("builtin:implicit-reward", json!({})), [""; 0]);
    assert_eq!(skipped("builtin:implicit-reward", json!({"length-penalty": "auto"})), ["batches", "order"]);
    assert_eq!(skipped("builtin:cream", json!({})), ["batches"]);
    assert_eq!(skipped("builtin:sppo", json!({})), ["batches", "c-mix"]);
}

/// The names of the checks that failed, what was found in the first of them, and the size of its smallest input.
fn failed(report: &Report) -> (Vec<&'static str>, String, String) {
    let failures: Vec<_> = (report.findings.iter())
        .filter_map(|f| match &f.outcome {
            Outcome::Failed(failed) => Some((f.name, failed)),
            _ => None,
        })
        .collect();
    let (found, size) = failures.first().map(|(_, f)| (f.found.clone(), f.size.clone())).unwrap_or_default();
    (failures.into_iter().map(|(name, _)| name).collect(), found, size)
}

#[test]
fn plugins_that_break_the_contract_fail() {
    /// Form, plugin, mode, checks that fail, what is found, the smallest input.
    type Case = (Artifact, &'static str, &'static str, &'static [&'static str], &'static str, &'static str);
    const NO_OBJECTIVE: &[&str] =
        &["objective", "objective-batches", "gradient", "gradient-mixed", "objective-empty", "objective-extreme"];
    let one = "1 group, 1 response";
    let cases: &[Case] = &[
        (Artifact::Native, "judge", "good", &[], "", ""),
        (Artifact::Native, "judge", "nan", &["ordinary"], "step: the score of response 0 (prompt \"p0\") is NaN", one),
        (Artifact::Component, "judge", "few", &["ordinary"], "step: it gave 0 scores for 1 responses", one),
        (Artifact::Component, "judge", "panic", &["ordinary"], "step: panicked: the sky is falling on p0", one),
        (
            Artifact::Native,
            "judge",
            "error",
            &["ordinary"],
            "step: I do not feel like judging",
            "0 groups, 0 responses",
        ),
        (
            Artifact::Component,
            "judge",
            "bad-slot",
            &["ordinary"],
            "there is no model slot \"oracle\" here",
            "0 groups, 0 responses",
        ),
        (
            Artifact::Component,
            "judge",
            "by-position",
            &["responses-order"],
            "response 0 of group \"p0\" scores 0.0, but 1.0 with the responses",
            "1 group, 2 responses",
        ),
        (Artifact::Component, "judge", "sevens", &["many-groups"], "step: panicked: no sevens, please: p7", one),
        (
            Artifact::Component,
            "judge",
            "recurse",
            &["ordinary"],
            "it accessed memory out of bounds",
            "0 groups, 0 responses",
        ),
        (
            Artifact::Native,
            "judge",
            "nan-measure",
            &["ordinary"],
            "report: the sum of measure \"bytes\" is NaN",
            "0 groups, 0 responses",
        ),
        (
            Artifact::Native,
            "ranker",
            "same",
            &["ordinary"],
            "rank: pair 0: response 1 is both chosen and rejected",
            "1 group, 2 responses",
        ),
        (Artifact::Component, "ranker", "panic", &["ordinary"], "rank: panicked: cannot rank", "0 groups, 0 responses"),
        (
            Artifact::Native,
            "regularizer",
            "over",
            &["ordinary"],
            "the consistency of pair 0 is 1.5, expected 0 to 1",
            "1 group, 2 responses",
        ),
        (
            Artifact::Component,
            "regularizer",
            "nan",
            &["ordinary"],
            "label: the consistency of pair 0 is NaN",
            "1 group, 2 responses",
        ),
        (Artifact::Native, "regularizer", "infinite-loss", NO_OBJECTIVE, "objective: loss of pair 0 is inf", "1 pair"),
        (Artifact::Native, "regularizer", "no-objective", NO_OBJECTIVE, "objective: there is no objective", "1 pair"),
        (
            Artifact::Component,
            "regularizer",
            "wrong-gradient",
            &["gradient", "gradient-mixed"],
            "d_rejected of pair 0 is ",
            "1 pair",
        ),
        (Artifact::Component, "regularizer", "forgets-weight", &["gradient-mixed"], "d_chosen of pair 0 is ", "1 pair"),
        (Artifact::Component, "regularizer", "good", &[], "", ""),
    ];
    for (form, plugin, mode, names, found, size) in cases {
        let report = checked(&folder(&format!("hostile-{plugin}")), &json!({"mode": mode}), &in_form(*form));
        let (failures, what, smallest) = failed(&report);
        assert_eq!(failures, *names, "{plugin} {mode} {form}:\n{}", report.text());
        assert!(what.contains(found), "{plugin} {mode}: {what}");
        assert_eq!(smallest, *size, "{plugin} {mode}: {what}");
        let json = report.json();
        assert_eq!(json["failed"], failures.len());
        assert_eq!(json["checks"].as_array().map(Vec::len), Some(report.findings.len()));
    }
}

/// Fuel ends a check as it ends a call.
#[test]
fn a_plugin_that_never_ends_fails() {
    let mut options = in_form(Artifact::Component);
    options.limits.fuel = 50_000_000;
    let report = checked(&folder("hostile-judge"), &json!({"mode": "loop"}), &options);
    let (failures, found, size) = failed(&report);
    assert_eq!((failures.as_slice(), size.as_str()), (&["ordinary"][..], "0 groups, 0 responses"));
    assert!(found.contains("it used up its fuel of 50000000 instructions"), "{found}");
    let skipped = report.findings.iter().filter(|f| f.outcome == Outcome::Skipped("the check 'ordinary' fails".into()));
    assert!(skipped.count() > 10);
}

/// What is known of a file without running it.
#[test]
fn imports_of_components_and_libraries() {
    use creamery::plugins::Imports;
    let component = find(&folder("best-worst"), &root(), &in_form(Artifact::Component)).unwrap();
    let Imports::Component { imports, exports } = &component.imports else { panic!("{:?}", component.imports) };
    assert!(imports.iter().all(|i| i.starts_with("creamery:plugin/")), "{imports:?}");
    assert_eq!(exports.len(), 3, "{exports:?}");
    assert_eq!(component.descriptor.license, "MIT OR Apache-2.0");
    assert_eq!(component.digest.len(), 64);
    let native = find(&folder("best-worst"), &root(), &in_form(Artifact::Native)).unwrap();
    let Imports::Native { libraries, symbols } = &native.imports else { panic!("{:?}", native.imports) };
    assert!(libraries.iter().any(|l| l.starts_with("libc")), "{libraries:?}");
    assert!(*symbols > 10 && native.size > 100_000, "{symbols} {}", native.size);
    assert_eq!(find("builtin:cream", &root(), &options()).unwrap().imports, Imports::None);
}
