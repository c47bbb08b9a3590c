//! A plugin of a made-up ABI 1.2 works in this host of 1.1: see `tests/fixtures/abi-next/README.md`. The other direction
//! is in [`super::older`].

use creamery::plugins::{Imports, Isolation, descriptor, read_imports};
use creamery_plugin::testkit::sources;
use creamery_plugin::{RankContext, Ranking};
use creamery_tests::fixture;

use super::forms::Random;
use super::*;

/// The file, and where it is loaded.
fn forms() -> Vec<(&'static str, LoadOptions)> {
    let mut forms = vec![("best-worst.wasm", options())];
    if cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        let plugin_host = Some(PathBuf::from(env!("CARGO_BIN_EXE_creamery-under-test")));
        forms.push(("best-worst.so", options()));
        forms.push(("best-worst.so", LoadOptions { isolation: Isolation::Process, plugin_host, ..options() }));
    }
    forms
}

#[test]
fn a_ranker_of_1_2_works_here() {
    let mut today = ranker("best-worst", Artifact::Builtin, &json!({})).unwrap();
    for (file, options) in forms() {
        let mut newer = load_ranker(file, &fixture("abi-next"), &Params::of(&json!({})), &options)
            .unwrap_or_else(|e| panic!("{file}: {e}"));
        let found = &newer.info().descriptor;
        assert_eq!((found.abi, found.api.as_str()), ((1, 2), "1.2.0"), "{file}");
        assert!(descriptor::ABI_MINOR < found.abi.1, "the made-up version is there: raise that of the fixture");
        assert!(found.has_feature("explain"), "{file}");
        for seed in 0..24 {
            let mut random = Random(seed);
            let groups = random.groups();
            let scores = random.scores(groups.responses.len());
            let mixture = sources(&["current", "M0"], &vec![1; groups.responses.len()]);
            let context = RankContext { round: 2, seed };
            let all = |r: &mut dyn RankerPlugin| -> [Ranking; 3] {
                [
                    r.rank(&context, &groups, &scores),
                    r.rank_texts(&context, &groups, &scores),
                    r.rank_sources(&context, &groups, &scores, &mixture),
                ]
                .map(|ranking| ranking.unwrap_or_else(|e| panic!("{file} seed {seed}: {e}")))
            };
            assert_eq!(all(&mut *newer), all(&mut *today), "{file} seed {seed}");
        }
    }
}

/// That the fixture is what it is said to be: it has more than this host knows.
#[test]
fn the_newer_plugin_has_a_function_more() {
    let bytes = std::fs::read(fixture("abi-next").join("best-worst.wasm")).unwrap();
    let Imports::Component { exports, .. } = read_imports(&bytes).unwrap() else { panic!("a component") };
    assert!(exports.contains(&"creamery:plugin/ranker-explain@1.2.0".to_owned()), "{exports:?}");
    let contract = std::fs::read_to_string(root().join("plugin-api/wit/plugin.wit")).unwrap();
    assert!(!contract.contains("ranker-explain"), "choose another name: this one is taken");
}

/// An optional feature that this host does not know is no obstacle; one that the plugin cannot do without is.
#[test]
fn a_feature_that_is_required_must_be_known() {
    for (file, options) in forms() {
        let bytes = std::fs::read(fixture("abi-next").join(file)).unwrap();
        let (optional, required) =
            (r#""features":["explain"],"requires":[]"#, r#""features":[],"requires":["explain"]"#);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), super::files::patched(&bytes, optional, required)).unwrap();
        let error = fails(load_ranker(file, folder.path(), &Params::of(&json!({})), &options));
        says(&error, &["explain"]);
    }
}
