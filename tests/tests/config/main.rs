//! Config files, good and bad: every error names its line, what was found and what to do.

mod program;
mod sweep;
mod wrong;

use std::fs;
use std::path::{Path, PathBuf};

use creamery::config::{
    AboutConfig, ArtifactKind, Device, EmaConfig, Extractor, OnFailure, PluginSource, RunConfig, Schedule,
    ScoringReference, ViewpointConfig,
};
use creamery::data::ChatOptions;
use creamery::{Error, Kind};
use creamery_tests::{creamery, run};
use tempfile::TempDir;

/// A folder with everything a config may name.
fn world() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["model", "other-model", "plugin-source"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for name in ["prompts.jsonl", "more.jsonl", "sft.jsonl", "eval.jsonl", "judge.so", "judge.wasm", "judge.txt"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    folder
}

const MINIMAL: &str = "[model]\npath = \"model\"\n[data]\nprompts = \"prompts.jsonl\"\n";

fn load(folder: &Path, text: impl AsRef<[u8]>, sets: &[&str]) -> Result<RunConfig, Error> {
    let path = folder.join("run.toml");
    fs::write(&path, text).unwrap();
    let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
    RunConfig::load(&path, &sets)
}

/// The smallest config with all its data, then `more` from line 7.
fn with(more: &str) -> String {
    format!("{MINIMAL}sft = \"sft.jsonl\"\neval = \"eval.jsonl\"\n{more}")
}

#[test]
fn defaults() {
    let world = world();
    let config = load(world.path(), MINIMAL, &[]).unwrap();
    assert_eq!(config.name, "run");
    assert_eq!((config.seed, config.device, config.threads, config.allow_native), (0, Device::Auto, 0, false));
    let here = std::env::current_dir().unwrap();
    assert_eq!(config.out, here.join(".creamery/runs/run"));
    assert_eq!(config.store, here.join(".creamery/store"));
    assert_eq!(config.model.path, world.path().join("model"));
    assert_eq!((config.model.max_length, config.model.scoring_reference), (2048, ScoringReference::Initial));
    assert_eq!((config.rounds.count, config.rounds.prompts_per_round), (2, None));
    let sample = &config.sample;
    assert_eq!((sample.n, sample.temperature, sample.top_p), (5, 0.8, 0.95));
    assert_eq!((sample.top_k, sample.min_p, sample.max_new_tokens), (0, 0.0, 768));
    assert_eq!(config.judge.plugin.plugin, PluginSource::Builtin("implicit-reward".into()));
    assert_eq!(config.ranker.plugin, PluginSource::Builtin("best-worst".into()));
    assert_eq!(config.regularizer.plugin, PluginSource::Builtin("cream".into()));
    assert_eq!((config.judge.on_failure, config.judge.max_steps), (OnFailure::Stop, 8));
    assert_eq!(config.judge.plugin.params.value, serde_json::json!({}));
    let optim = &config.train.optim;
    assert_eq!((config.train.beta, config.train.nll_weight), (0.1, 0.0));
    assert_eq!((optim.epochs, optim.learning_rate, optim.batch_size), (1, 1e-6, 32));
    assert_eq!((optim.schedule, optim.warmup_ratio, optim.weight_decay), (Schedule::Cosine, 0.1, 0.01));
    assert_eq!((optim.adam_betas, optim.adam_eps, optim.max_grad_norm), ([0.9, 0.999], 1e-8, 1.0));
    assert_eq!((optim.decay_all, optim.micro_batch_tokens), (false, 8192));
    assert!(!optim.gradient_checkpointing);
    assert!(config.sft.is_none() && config.eval.is_none());

    // Data brings its stage along, with defaults of its own.
    let config = load(world.path(), with("[sample]\nmax-new-tokens = 16"), &[]).unwrap();
    let sft = config.sft.unwrap();
    assert_eq!((sft.epochs, sft.learning_rate, sft.batch_size), (3, 5e-5, 32));
    let eval = config.eval.unwrap();
    assert_eq!((eval.extractor, eval.pattern, eval.suffix.as_str()), (Extractor::Exact, None, ""));
    assert_eq!((eval.samples, eval.temperature, eval.max_new_tokens, eval.limit), (4, 0.8, 16, 0));
}

#[test]
fn a_chat_template_may_be_chosen_and_told_something() {
    let world = world();
    assert_eq!(load(world.path(), MINIMAL, &[]).unwrap().model.chat, ChatOptions::default());
    let sets = ["model.template=rag", "model.template-args.enable_thinking=false", "model.template-date='2000-01-02'"];
    let config = load(world.path(), MINIMAL, &sets).unwrap();
    let args = serde_json::json!({"enable_thinking": false}).as_object().unwrap().clone();
    assert_eq!(config.model.chat, ChatOptions { name: Some("rag".into()), args, date: Some("2000-01-02".into()) });
    let again = RunConfig::from_toml(&config.to_toml().unwrap(), &config.file, &[]).unwrap();
    assert_eq!(again.model, config.model);
    let error = load(world.path(), MINIMAL, &["model.template-args=3"]).unwrap_err();
    assert!(error.to_string().contains("`model.template-args` is"), "{error}");
}

const FULL: &str = r#"
name = "everything"
seed = 7
device = "cuda:1"
threads = 2
out = "runs/../out"
store = "store"
allow-native = true
[about]
method = "Everything"
source = "arXiv 2410.12735"
[model]
path = "./model"
max-length = 100
scoring-reference = "other-model"
[data]
prompts = ["prompts.jsonl", "more.jsonl"]
sft = "sft.jsonl"
eval = ["eval.jsonl"]
[sft]
epochs = 2
learning-rate = 1e-4
schedule = "constant"
[rounds]
count = 3
prompts-per-round = 10
[sample]
n = 4
temperature = 1
top-p = 1.0
top-k = 50
min-p = 0.05
max-new-tokens = 12
[judge]
plugin = "plugin-source"
artifact = "native"
on-failure = "abstain"
max-steps = 3
limits = { fuel = 5, memory-mib = 6, deadline-seconds = 0.5, output-mib = 7 }
[judge.params]
"a/b~c" = [1, { deep = "x" }]
when = 1979-05-27
rate = 0.5
[ranker]
plugin = "judge.so"
[regularizer]
plugin = "judge.wasm"
[train]
beta = 0.5
nll-weight = 0.25
adam-betas = [0, 0.95]
decay-all = true
[eval]
extractor = "regex"
pattern = 'Answer: (.*)'
suffix = "Think."
samples = 2
limit = 9
"#;

#[test]
fn every_key_arrives() {
    let world = world();
    let at = |name: &str| -> PathBuf { world.path().join(name) };
    let config = load(world.path(), FULL, &[]).unwrap();
    assert_eq!((config.name.as_str(), config.seed), ("everything", 7));
    assert_eq!((config.device, config.threads, config.allow_native), (Device::Cuda(1), 2, true));
    let about = |text: &str| Some(text.to_owned());
    let AboutConfig { method, source, note } = &config.about;
    assert_eq!((method, source, note), (&about("Everything"), &about("arXiv 2410.12735"), &None));
    assert_eq!(config.about.head(), "Everything (arXiv 2410.12735)\n");
    assert_eq!((&config.out, &config.store), (&at("out"), &at("store")));
    assert_eq!((&config.model.path, config.model.max_length), (&at("model"), 100));
    assert_eq!(config.model.scoring_reference, ScoringReference::Path(at("other-model")));
    assert_eq!(config.data.prompts, [at("prompts.jsonl"), at("more.jsonl")]);
    let sft = config.sft.as_ref().unwrap();
    assert_eq!((sft.epochs, sft.learning_rate, sft.schedule), (2, 1e-4, Schedule::Constant));
    assert_eq!((config.rounds.count, config.rounds.prompts_per_round), (3, Some(10)));
    let sample = &config.sample;
    assert_eq!((sample.n, sample.temperature, sample.top_p), (4, 1.0, 1.0));
    assert_eq!((sample.top_k, sample.min_p, sample.max_new_tokens), (50, 0.05, 12));
    let judge = &config.judge;
    assert_eq!(judge.plugin.plugin, PluginSource::Folder(at("plugin-source")));
    assert_eq!(judge.plugin.artifact, Some(ArtifactKind::Native));
    assert_eq!((judge.on_failure, judge.max_steps), (OnFailure::Abstain, 3));
    let limits = &judge.plugin.limits;
    assert_eq!((limits.fuel, limits.memory_mib, limits.deadline_seconds, limits.output_mib), (5, 6, 0.5, 7));
    assert_eq!(
        judge.plugin.params.value,
        serde_json::json!({ "a/b~c": [1, { "deep": "x" }], "when": "1979-05-27", "rate": 0.5 })
    );
    assert_eq!(config.ranker.plugin, PluginSource::Library(at("judge.so")));
    assert_eq!(config.regularizer.plugin, PluginSource::Component(at("judge.wasm")));
    assert_eq!(config.regularizer.artifact, None);
    let train = &config.train;
    assert_eq!((train.beta, train.nll_weight, train.optim.adam_betas), (0.5, 0.25, [0.0, 0.95]));
    assert!(train.optim.decay_all);
    let eval = config.eval.as_ref().unwrap();
    assert_eq!((eval.extractor, eval.pattern.as_deref()), (Extractor::Regex, Some("Answer: (.*)")));
    assert_eq!((eval.suffix.as_str(), eval.samples, eval.max_new_tokens, eval.limit), ("Think.", 2, 12, 9));
}

#[test]
fn the_resolved_form_loads_to_the_same_run_from_anywhere() {
    let world = world();
    let elsewhere = tempfile::tempdir().unwrap();
    for text in
        [MINIMAL, FULL, &with(VIEWPOINTS), &format!("{}{VIEWPOINTS}[[viewpoints]]\nname = \"initial\"", with(""))]
    {
        let config = load(world.path(), text, &["seed=11"]).unwrap();
        let resolved = config.to_toml().unwrap();
        let mut again = load(elsewhere.path(), &resolved, &[]).unwrap_or_else(|e| panic!("{e}\n{resolved}"));
        assert_eq!(again.to_toml().unwrap(), resolved);
        again.file = config.file.clone();
        assert_eq!(again, config);
    }
}

/// What stands in for a text is a file beside the config, wherever the resolved form is read.
#[test]
fn files_of_parameters_stay_where_they_are() {
    let (world, elsewhere) = (world(), tempfile::tempdir().unwrap());
    let text = with("[judge]\nplugin = \"builtin:rubric\"\n[judge.params]\nprompt = { file = \"judge.txt\" }\n");
    let config = load(world.path(), &text, &["ranker.params.rule={file=\"none.txt\"}"]).unwrap();
    let file = config.judge.plugin.params.path_of("/prompt/file", "judge.txt");
    assert_eq!(file, world.path().join("judge.txt"));
    let resolved = config.to_toml().unwrap();
    assert!(resolved.contains(file.to_str().unwrap()) && resolved.contains("none.txt"), "{resolved}");
    let again = load(elsewhere.path(), &resolved, &[]).unwrap();
    assert_eq!(again.judge.plugin.params, config.judge.plugin.params);
    assert_eq!(again.judge.plugin.params.path_of("/prompt/file", file.to_str().unwrap()), file);
}

const VIEWPOINTS: &str = r#"
[ema]
decay = 0.25
[judges.strict]
on-failure = "skip"
[judges.strict.params]
score = "log-ratio"
[[viewpoints]]
name = "current"
judge = "strict"
[[viewpoints]]
name = "before"
model = "previous:2"
judge = "strict"
[[viewpoints]]
name = "ema"
judge = "strict"
[[viewpoints]]
name = "M1"
judge = "strict"
[[viewpoints]]
name = "start"
model = "M0"
judge = "strict"
[[viewpoints]]
name = "other"
model = "other-model"
judge = "strict"
"#;

#[test]
fn viewpoints_name_their_models_and_judges() {
    let world = world();
    let names = |config: &RunConfig| -> Vec<String> {
        let of = |v: &ViewpointConfig| format!("{} = {} by {}", v.name, v.model, v.judge.as_deref().unwrap_or("judge"));
        config.viewpoints.iter().map(of).collect()
    };
    let config = load(world.path(), MINIMAL, &[]).unwrap();
    assert_eq!(names(&config), ["current = current by judge", "previous = previous by judge"]);
    assert!(config.judges.is_empty() && config.ema.is_none());

    let config = load(world.path(), with(VIEWPOINTS), &[]).unwrap();
    let other = format!("other = {} by strict", world.path().join("other-model").display());
    let rest = ["before = previous:2", "ema = ema", "M1 = M1", "start = initial"].map(|v| format!("{v} by strict"));
    assert_eq!(names(&config), [&["current = current by strict".to_owned()], &rest[..], &[other]].concat());
    assert_eq!(config.ema, Some(EmaConfig { decay: 0.25 }));
    let strict = &config.judges["strict"];
    assert_eq!((strict.on_failure, strict.max_steps), (OnFailure::Skip, 8));
    assert_eq!(strict.plugin.params.value, serde_json::json!({"score": "log-ratio"}));
    assert_eq!(config.judge_of(&config.viewpoints[0]), strict);
    // By argument as well.
    let sets = ["viewpoints=[{name=\"current\"}, {name=\"M0\", model=\"initial\"}]"];
    assert_eq!(names(&load(world.path(), MINIMAL, &sets).unwrap())[1], "M0 = initial by judge");
}

#[test]
fn parts_hash_without_places() {
    let world = world();
    let a = load(world.path(), FULL, &[]).unwrap();
    let b = load(world.path(), format!("\n\n{FULL}"), &[]).unwrap();
    let json = |c: &RunConfig| serde_json::to_string(&(&c.judge, &c.train, &c.sample, &c.eval)).unwrap();
    assert_eq!(json(&a), json(&b));
    assert_eq!(serde_json::to_value(&a.train).unwrap()["learning-rate"], 1e-6);
}

#[test]
fn set_overrides_any_field() {
    let world = world();
    let sets = [
        "seed=3",
        "name=plain text",
        "train.beta=0.25",
        "sample.max-new-tokens=9",
        "judge.params.form=sample",
        "judge.params.deep.list=[1, 2]",
        "judge.params.\"a.b\"=true",
        "data.prompts=[\"more.jsonl\"]",
        "eval={ limit = 2 }",
        "data.eval=eval.jsonl",
        "regularizer.params.expression=a = b",
        "sample.n=3",
        "sample.n=4",
    ];
    let config = load(world.path(), MINIMAL, &sets).unwrap();
    assert_eq!((config.seed, config.name.as_str()), (3, "plain text"));
    assert_eq!((config.train.beta, config.sample.max_new_tokens, config.sample.n), (0.25, 9, 4));
    assert_eq!(
        config.judge.plugin.params.value,
        serde_json::json!({ "form": "sample", "deep": { "list": [1, 2] }, "a.b": true })
    );
    assert_eq!(config.data.prompts, [world.path().join("more.jsonl")]);
    assert_eq!(config.eval.unwrap().limit, 2);
    assert_eq!(config.regularizer.params.value["expression"], "a = b");
    // A config may come from arguments alone.
    load(world.path(), "", &["model.path=model", "data.prompts=prompts.jsonl"]).unwrap();
}

#[test]
fn params_know_their_lines() {
    let text = with("[judge.params]\na = 1\n\"x/y\" = [\n  1,\n  { z = 2 },\n]\n[judge.params.inner]\nb = 3\n");
    let world = world();
    let config = load(world.path(), text, &["judge.params.inner.c=4"]).unwrap();
    let params = &config.judge.plugin.params;
    for (pointer, line) in [
        ("", Some(7)),
        ("/a", Some(8)),
        ("/x~1y", Some(9)),
        ("/x~1y/0", Some(10)),
        ("/x~1y/1/z", Some(11)),
        ("/inner", Some(13)),
        ("/inner/b", Some(14)),
        ("/inner/c", None),
        ("/inner/missing", Some(13)),
        ("/missing", Some(7)),
    ] {
        assert_eq!(params.line_of(pointer), line, "{pointer}");
    }
    let shown = params.error("/inner/b", "expected a string").to_string();
    assert!(shown.ends_with("run.toml:14: `judge.params.inner.b`: expected a string"), "{shown}");
    let shown = params.error("/inner/c", "expected a string").to_string();
    assert_eq!(shown, "--set judge.params.inner.c=4: `judge.params.inner.c`: expected a string");
    // Without a table, the place is that of the plugin.
    let config = load(world.path(), with("[judge]\nplugin = \"builtin:x\""), &[]).unwrap();
    assert_eq!(config.judge.plugin.params.line_of("/needed"), Some(7));
}

#[test]
fn line_ends_and_marks_of_other_systems() {
    let world = world();
    let text = format!("\u{feff}{}", with("[sample]\nn = 1").replace('\n', "\r\n"));
    let error = load(world.path(), text, &[]).unwrap_err();
    assert_eq!(error.line_number(), Some(8), "{error}");
}
