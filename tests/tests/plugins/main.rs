//! Plugins of every kind in every form: loaded, compared bit for bit, broken and hostile.

mod abi;
mod additions;
mod builder;
mod contract;
mod files;
mod forms;
mod hostile;
#[cfg(target_os = "linux")]
mod isolation;
mod newer;
mod older;
mod parameters;
mod prebuilt;
mod prompts;
mod raw;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use creamery::plugins::{
    Artifact, JudgePlugin, LoadOptions, Params, RankerPlugin, RegularizerPlugin, load_judge, load_ranker,
    load_regularizer,
};
use creamery::{Error, Result};
use creamery_plugin::testkit::groups;
use creamery_plugin::{Groups, JudgeContext, Level, Slot};
use serde_json::{Value, json};

const FORMS: [Artifact; 3] = [Artifact::Native, Artifact::Component, Artifact::Builtin];

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Options that allow native plugins. All tests share one cache, so that each component is compiled once.
fn options() -> LoadOptions {
    let mut options = LoadOptions::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"));
    options.allow_native = true;
    options
}

/// The source folder of one of the repository's plugins.
fn folder(name: &str) -> String {
    match name {
        "expected-score" | "meta-judge" | "pairwise" | "rubric" => format!("wasm-judges/{name}"),
        _ => match name.strip_prefix("hostile-") {
            Some(kind) => format!("tests/hostile/{kind}"),
            None => format!("plugins/{name}"),
        },
    }
}

/// What the config would say for plugin `name` in the form `artifact`.
fn source(name: &str, artifact: Artifact) -> String {
    match artifact {
        Artifact::Builtin => format!("builtin:{name}"),
        _ => built(name, artifact).to_str().expect("a path in UTF-8").to_owned(),
    }
}

fn in_form(artifact: Artifact) -> LoadOptions {
    LoadOptions { artifact: Some(artifact), ..options() }
}

fn judge(name: &str, artifact: Artifact, params: &Value) -> Result<Box<dyn JudgePlugin>> {
    load_judge(&source(name, artifact), &root(), &Params::of(params), &in_form(artifact))
}

fn ranker(name: &str, artifact: Artifact, params: &Value) -> Result<Box<dyn RankerPlugin>> {
    load_ranker(&source(name, artifact), &root(), &Params::of(params), &in_form(artifact))
}

fn regularizer(name: &str, artifact: Artifact, params: &Value) -> Result<Box<dyn RegularizerPlugin>> {
    load_regularizer(&source(name, artifact), &root(), &Params::of(params), &in_form(artifact))
}

/// The built file of plugin `name`.
fn built(name: &str, artifact: Artifact) -> PathBuf {
    prebuilt::file(&folder(name), artifact)
}

/// Asserts that the error's text holds all of `parts`.
#[track_caller]
fn says(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in:\n{text}");
    }
}

/// The error of something that must fail.
#[track_caller]
fn fails<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(e) => e,
    }
}

/// Whether this is a process that runs the test `name` and nothing else. If not, one is started for it, and it must
/// succeed there: what is measured of a whole process is not that of other tests.
#[cfg(target_os = "linux")]
fn alone(name: &str) -> bool {
    const MARK: &str = "CREAMERY_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--test-threads=1", "--nocapture"]).env(MARK, "yes");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{name}:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// Options that record messages as "plugin level text".
fn recording(mut options: LoadOptions) -> (LoadOptions, Arc<Mutex<Vec<String>>>) {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let sink = messages.clone();
    options.on_log = Some(Arc::new(move |plugin: &str, level: Level, text: &str| {
        sink.lock().unwrap().push(format!("{plugin} {level:?} {text}"));
    }));
    (options, messages)
}

/// Two prompts with two responses each.
fn two_groups() -> Groups {
    groups(&[("one", &["a", "b"]), ("two", &["c", "d"])])
}

fn context() -> JudgeContext {
    let slot = |name: &str, model: &str| Slot { name: name.to_owned(), model: model.to_owned() };
    JudgeContext {
        round: 1,
        viewpoint: "current".to_owned(),
        slots: vec![slot("judge", "m1"), slot("reference", "m0"), slot("initial", "m0")],
    }
}
