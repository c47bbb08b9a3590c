//! Config files, good and bad: every error names its line, what was found and what to do.

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
fn bad_files() {
    // (text, line, parts of the message and help)
    let cases: Vec<(String, usize, &[&str])> = vec![
        // Unknown keys, with the nearest name or their home.
        (with("[sample]\ntemprature = 0.8"), 8, &["unknown key `sample.temprature`", "mean `sample.temperature`?"]),
        (with("[sample]\nmax_new_tokens = 8"), 8, &["unknown key `sample.max_new_tokens`", "`sample.max-new-tokens`"]),
        (with("[trian]\nbeta = 1"), 7, &["unknown key `trian`", "did you mean `train`?"]),
        (format!("beta = 1\n{MINIMAL}"), 1, &["unknown key `beta`", "`beta` belongs to [train]"]),
        (with("[ranker]\non-failure = \"skip\""), 8, &["unknown key `ranker.on-failure`", "belongs to [judge]"]),
        (with("[rounds]\nzzz = 1"), 8, &["unknown key `rounds.zzz`", "the keys here are count, prompts-per-round"]),
        (with("[judge]\nlimits = { memory = 3 }"), 8, &["unknown key `judge.limits.memory`", "memory-mib"]),
        // A misspelt key is not a missing one.
        ("[model]\npth = \"model\"\n[data]\n".into(), 2, &["unknown key `model.pth`", "`model.path`"]),
        // Wrong types.
        (with("[rounds]\ncount = \"two\""), 8, &["`rounds.count` is the string \"two\"", "a whole number from 1 to"]),
        (with("[rounds]\ncount = 2.0"), 8, &["`rounds.count` is 2.0"]),
        (with("[train]\nbeta = true"), 8, &["`train.beta` is true", "a number above 0 and at most 1000"]),
        (with("[train]\ndecay-all = 1"), 8, &["`train.decay-all` is 1, expected true or false"]),
        (with("[lora]\nr = 0"), 8, &["`lora.r` is 0, expected a whole number from 1"]),
        (with("[lora]\nrank = 4"), 8, &["unknown key `lora.rank`", "r, alpha, dropout"]),
        (with("[lora]\nalpha = 0"), 8, &["`lora.alpha` is 0", "a number above 0"]),
        (with("[lora]\ndropout = 1.0"), 8, &["`lora.dropout` is 1.0", "below 1"]),
        (with("[lora]\ntarget-modules = \"q_proj\""), 8, &["\"all-linear\" or a list of names"]),
        (with("[lora]\ntarget-modules = []"), 8, &["`lora.target-modules` is a list of 0"]),
        (with("[lora]\ntarget-modules = [\"q_proj\", 1]"), 8, &["`lora.target-modules`", "a list of names"]),
        (with("[train]\ngradient-checkpointing = 1"), 8, &["`train.gradient-checkpointing` is 1, expected true"]),
        (format!("seed = 1979-05-27\n{MINIMAL}"), 1, &["`seed` is the date 1979-05-27"]),
        (format!("name = 3\n{MINIMAL}"), 1, &["`name` is 3, expected a string"]),
        (
            "model = \"m\"\n[data]\nprompts = \"prompts.jsonl\"".into(),
            1,
            &["`model` is the string", "expected a table"],
        ),
        (with("[[train]]\nbeta = 1"), 7, &["`train` is a list of 1, expected a table"]),
        (with("[judge]\nparams = 3"), 8, &["`judge.params` is 3, expected a table"]),
        (with("[judge.params]\nx = [1,\n nan]"), 9, &["`judge.params.x.1`", "expected a finite number"]),
        // Out of range.
        (with("[sample]\nn = 1"), 8, &["`sample.n` is 1, expected a whole number from 2 to 1024"]),
        (with("[sample]\ntop-p = 1.5"), 8, &["`sample.top-p` is 1.5, expected a number above 0 and at most 1"]),
        (with("[sample]\ntop-p = 0"), 8, &["`sample.top-p` is 0"]),
        (with("[sample]\ntop-p = nan"), 8, &["`sample.top-p` is NaN"]),
        (with("[sample]\ntemperature = inf"), 8, &["`sample.temperature` is inf"]),
        (with("[train]\nmax-grad-norm = inf"), 8, &["`train.max-grad-norm` is inf"]),
        (with("[train]\nlearning-rate = -1e-6"), 8, &["`train.learning-rate` is -1e-6"]),
        (with("[train]\nadam-betas = [0.9, 1.0]"), 8, &["`train.adam-betas` is 1.0", "of at least 0 and below 1"]),
        (with("[train]\nadam-betas = [0.9]"), 8, &["a list of two numbers"]),
        (format!("seed = -1\n{MINIMAL}"), 1, &["`seed` is -1, expected a whole number of at least 0"]),
        (format!("seed = 99999999999999999999\n{MINIMAL}"), 1, &["99999999999999999999 does not fit in 64 bits"]),
        (format!("name = \"a/b\"\n{MINIMAL}"), 1, &["`name` is \"a/b\""]),
        (format!("out = \"\"\n{MINIMAL}"), 1, &["`out` is empty"]),
        (format!("device = \"gpu\"\n{MINIMAL}"), 1, &["`device` is \"gpu\"", "\"cuda:0\""]),
        (format!("device = \"cuda:x\"\n{MINIMAL}"), 1, &["`device` is \"cuda:x\""]),
        (with("[train]\nschedule = \"cosin\""), 8, &["\"cosine\", \"linear\", \"constant\"", "mean \"cosine\"?"]),
        (with("[eval]\nextractor = \"regex\""), 8, &["`eval.pattern` is missing"]),
        (with("[eval]\npattern = \"x\""), 8, &["only with extractor = \"regex\""]),
        (with("[judge]\nmax-steps = 0"), 8, &["`judge.max-steps` is 0"]),
        (with("[judge]\non-failure = \"drop\""), 8, &["one of \"stop\", \"abstain\", \"skip\""]),
        // Judges and viewpoints.
        (with("[judges]\nstrict = 3"), 8, &["`judges.strict` is 3, expected a table", "[judges.strict]"]),
        (with("judges = 3"), 7, &["unknown key `data.judges`"]),
        (with("[judges.strict]\nmax-stps = 3"), 8, &["unknown key `judges.strict.max-stps`", "max-steps"]),
        (with("[judges.strict]\n"), 7, &["no viewpoint uses the judge [judges.strict]", "judge = \"strict\""]),
        (
            with("[judge]\n[judges.strict]\n[[viewpoints]]\nname = \"current\"\njudge = \"strict\""),
            7,
            &["no viewpoint uses [judge]", "remove [judge]"],
        ),
        (
            with("[judges.strict]\n[[viewpoints]]\nname = \"current\"\njudge = \"stirct\""),
            10,
            &["no judge [judges.stirct]", "mean \"strict\"?"],
        ),
        (
            with("[[viewpoints]]\nname = \"current\"\njudge = \"strict\""),
            9,
            &["no judge [judges.strict]", "further judges are [judges.NAME]"],
        ),
        (with("[viewpoints]\nname = \"current\""), 7, &["`viewpoints` is a table, expected a list of tables"]),
        (with("[[viewpoints]]\nnmae = \"current\""), 8, &["unknown key `viewpoints.0.nmae`", "viewpoints.0.name"]),
        (with("[[viewpoints]]\nmodel = \"current\""), 7, &["`viewpoints.0.name` is missing"]),
        (
            with("[[viewpoints]]\nname = \"previous\""),
            8,
            &["the first viewpoint is \"previous\", expected \"current\""],
        ),
        (
            with("[[viewpoints]]\nname = \"current\"\n[[viewpoints]]\nname = \"current\"\nmodel = \"M0\""),
            10,
            &["two viewpoints of the name \"current\""],
        ),
        (
            with("[[viewpoints]]\nname = \"current\"\n[[viewpoints]]\nname = \"old\""),
            10,
            &["`viewpoints.1.model` is missing, and \"old\" is no model's name", "\"previous:K\""],
        ),
        (
            with("[[viewpoints]]\nname = \"current\"\nmodel = \"M2\""),
            9,
            &["a model that does not exist in round 1", "\"previous:K\""],
        ),
        (
            with("[[viewpoints]]\nname = \"current\"\nmodel = \"previous:0\""),
            9,
            &["a whole number from 1 after \"previous:\""],
        ),
        (
            with("[[viewpoints]]\nname = \"current\"\nmodel = \"ema\""),
            9,
            &["has the model \"ema\", but there is no [ema]"],
        ),
        (with("[ema]\ndecay = 0.5"), 7, &["[ema] is given, but no viewpoint or source has the model \"ema\""]),
        (with("[ema]\n[[viewpoints]]\nname = \"current\"\nmodel = \"ema\""), 7, &["`ema.decay` is missing"]),
        (
            with("[ema]\ndecay = 1.0\n[[viewpoints]]\nname = \"current\"\nmodel = \"ema\""),
            8,
            &["`ema.decay` is 1.0", "above 0 and below 1"],
        ),
        (
            with("[lora]\n[ema]\ndecay = 0.5\n[[viewpoints]]\nname = \"current\"\nmodel = \"ema\""),
            8,
            &["[ema] and [lora] do not go together"],
        ),
        // Missing keys and parts.
        ("[data]\nprompts = \"prompts.jsonl\"".into(), 1, &["`model.path` is missing"]),
        ("\n[model]\nmax-length = 10\n[data]\nprompts = \"prompts.jsonl\"".into(), 2, &["`model.path` is missing"]),
        ("[model]\npath = \"model\"\n[data]\nsft = \"sft.jsonl\"".into(), 3, &["`data.prompts` is missing"]),
        (format!("{MINIMAL}[sft]\nepochs = 1"), 5, &["[sft] is given, but `data.sft` is not"]),
        (format!("{MINIMAL}[eval]\nlimit = 1"), 5, &["[eval] is given, but `data.eval` is not"]),
        ("[model]\npath = \"model\"\n[data]\nprompts = []".into(), 4, &["is a list of 0", "a path or a list of paths"]),
        // Not TOML.
        (format!("seed = 1\nseed = 2\n{MINIMAL}"), 2, &["duplicate key"]),
        (with("[sample]\n[sample]\n"), 8, &["duplicate key"]),
        (with("[sample]\nn = \n"), 8, &["not valid TOML", "found `n =`"]),
        (with("[sample\n"), 7, &["not valid TOML"]),
        ("".into(), 1, &["the file is empty", "[model]"]),
        ("# only a comment\n".into(), 1, &["the file is empty"]),
        // Plugins.
        (with("[judge]\nplugin = \"builtin:\""), 8, &["names no builtin"]),
        (with("[judge]\nartifact = \"native\""), 8, &["only for a source folder", "builtin:implicit-reward"]),
        (with("[judge]\nplugin = \"judge.so\""), 8, &["`judge.plugin` is a native library", "allow-native = true"]),
        (with("[judge]\nplugin = \"plugin-source\"\nartifact = \"native\""), 8, &["is a native library"]),
    ];
    let world = world();
    for (text, line, parts) in cases {
        let error = load(world.path(), &text, &[]).expect_err(&text);
        let shown = error.to_string();
        assert_eq!(error.kind(), Kind::Config, "{text}\n{shown}");
        assert_eq!(error.line_number(), Some(line), "{text}\n{shown}");
        assert!(shown.contains(&format!("run.toml:{line}: ")), "{shown}");
        for part in parts {
            assert!(shown.contains(part), "no {part:?} in\n{shown}\nfor\n{text}");
        }
    }
}

#[test]
fn paths_that_lead_nowhere() {
    let cases: &[(String, usize, Kind, &str)] = &[
        ("[model]\npath = \"none\"\n[data]\nprompts = \"prompts.jsonl\"".into(), 2, Kind::Input, "there is nothing at"),
        (
            "[model]\npath = \"sft.jsonl\"\n[data]\nprompts = \"more.jsonl\"".into(),
            2,
            Kind::Input,
            "there is a file at",
        ),
        ("[model]\npath = \"model\"\n[data]\nprompts = \"model\"".into(), 4, Kind::Input, "there is a folder at"),
        (
            "[model]\npath = \"model\"\n[data]\nprompts = [\n \"prompts.jsonl\",\n \"none.jsonl\"]".into(),
            6,
            Kind::Input,
            "`data.prompts` is \"none.jsonl\"",
        ),
        (
            "[model]\npath = \"model\"\nscoring-reference = \"inital\"\n[data]\nprompts = \"prompts.jsonl\"".into(),
            3,
            Kind::Input,
            "expected \"initial\", \"previous\" or the path",
        ),
        (with("[[viewpoints]]\nname = \"current\"\nmodel = \"curent\""), 9, Kind::Input, "did you mean \"current\"?"),
        (with("[[viewpoints]]\nname = \"current\"\nmodel = \"some/where\""), 9, Kind::Input, "\"previous\" (M_{t−1})"),
        (with("[judge]\nplugin = \"none.so\""), 8, Kind::Plugin, "there is nothing at"),
        (with("[ranker]\nplugin = \"judge.txt\""), 8, Kind::Plugin, "expected builtin:NAME"),
    ];
    let world = world();
    for (text, line, kind, part) in cases {
        let error = load(world.path(), text, &[]).expect_err(text);
        assert_eq!((error.line_number(), error.kind()), (Some(*line), *kind), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn files_that_are_no_config() {
    let world = world();
    let error = load(world.path(), b"name = \"x\"\n\n# caf\xe9\n", &[]).unwrap_err();
    assert_eq!(error.line_number(), Some(3), "{error}");
    assert!(error.to_string().contains("not UTF-8: found byte 0xe9"), "{error}");

    let huge = format!("{MINIMAL}# {}\n", "x".repeat(4 << 20));
    let error = load(world.path(), huge, &[]).unwrap_err();
    assert!(error.to_string().contains("larger than 4 MiB"), "{error}");

    for (path, part) in [("none.toml", "there is no such config file"), ("model", "is a folder")] {
        let error = RunConfig::load(&world.path().join(path), &[]).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains(part), "{error}");
    }
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
fn set_errors_name_the_argument() {
    let cases: &[(&str, &[&str])] = &[
        ("train.beta=zero", &["--set train.beta=zero: `train.beta` is the string \"zero\""]),
        ("train.bta=1", &["unknown key `train.bta`", "did you mean `train.beta`?"]),
        ("train.beta", &["--set train.beta: expected KEY=VALUE"]),
        ("=1", &["is not a key"]),
        ("a..b=1", &["is not a key"]),
        ("[train]=1", &["is not a key"]),
        ("seed.x=1", &["`seed` is 5, not a table"]),
        ("name=2024", &["expected a string", "--set 'name=\"2024\"'"]),
        ("seed=1\nname=\"x\"", &["`seed` is the string"]),
        ("model.path=nowhere", &["--set model.path=nowhere: ", "there is nothing at"]),
        ("seed=99999999999999999999", &["does not fit in 64 bits"]),
    ];
    let world = world();
    for (set, parts) in cases {
        let error = load(world.path(), format!("seed = 5\n{MINIMAL}"), &[set]).expect_err(set);
        let shown = error.to_string();
        assert!(shown.starts_with("--set "), "{shown}");
        assert_eq!(error.line_number(), None, "{shown}");
        for part in *parts {
            assert!(shown.contains(part), "no {part:?} in\n{shown}");
        }
    }
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

// The same through the program.

#[test]
fn the_program_answers_with_exit_codes() {
    let world = world();
    let at = |name: &str, text: &str| -> PathBuf {
        let path = world.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let good = at("good.toml", &with(""));
    let bad = at("bad.toml", &with("[train]\nbta = 1"));
    let no_data = at("no-data.toml", "[model]\npath = \"model\"\n[data]\nprompts = \"none.jsonl\"");
    let no_plugin = at("no-plugin.toml", &with("[judge]\nplugin = \"none.wasm\""));
    // (command, exit code, a part of stderr)
    let cases = [
        (creamery!("config", &good, "--no-plugins"), 0, ""),
        (creamery!("config", &bad), 2, "bad.toml:8: unknown key `train.bta`"),
        (creamery!("run", &bad), 2, "bad.toml:8: unknown key `train.bta`"),
        (creamery!("run", &good, "--set", "train.beta=-1"), 2, "--set train.beta=-1: `train.beta` is -1"),
        (creamery!("run", &good, "--threads", "5000"), 2, "--set threads=5000: `threads` is 5000"),
        (creamery!("run", world.path().join("none.toml")), 2, "there is no such config file"),
        (creamery!("run", &no_data), 3, "no-data.toml:4: "),
        (creamery!("run", &no_plugin), 4, "no-plugin.toml:8: "),
        (creamery!("run"), 2, "required arguments"),
        (creamery!("rnu", &good), 2, "unrecognized subcommand"),
        (creamery!(), 2, "Usage"),
    ];
    for (mut command, code, part) in cases {
        let ran = run(&mut command);
        assert_eq!(ran.code, Some(code), "{command:?}\n{ran:?}");
        assert!(ran.stderr.contains(part), "{command:?}\n{ran:?}");
        assert_eq!(ran.stderr.contains("error: "), code != 0 && !part.starts_with("Usage"), "{command:?}\n{ran:?}");
        assert_eq!(ran.stdout.is_empty(), code != 0, "{command:?}\n{ran:?}");
    }
}

#[test]
fn the_program_prints_the_resolved_config() {
    let world = world();
    let path = world.path().join("run.toml");
    let config = load(world.path(), FULL, &["seed=11"]).unwrap();
    let ran = run(&mut creamery!("config", &path, "--no-plugins", "--set", "seed=11"));
    assert_eq!((ran.code, ran.stdout), (Some(0), config.to_toml().unwrap()));
}

#[test]
fn help_names_the_exit_codes() {
    let ran = run(&mut creamery!("--help"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    for kind in [Kind::Config, Kind::Input, Kind::Plugin, Kind::Run, Kind::Io] {
        assert!(ran.stdout.contains(&format!("\n  {}  ", kind.exit_code())), "{}", ran.stdout);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = world();
    let path = world.path().join("run.toml");
    fs::write(&path, MINIMAL).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = run(creamery!("config", &path, "--no-plugins").stdout(writer));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let world = world();
    let path = world.path().join("run.toml");
    fs::write(&path, MINIMAL).unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = run(creamery!("config", &path, "--no-plugins").stdout(full));
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.stderr.starts_with("error: cannot write to standard output"), "{ran:?}");
}

#[test]
fn the_doctor_looks_and_leaves_nothing() {
    let world = world();
    let path = world.path().join("run.toml");
    fs::write(&path, format!("out = \"o\"\nstore = \"s\"\ndevice = \"cpu\"\n{MINIMAL}")).unwrap();
    let before = fs::read_dir(world.path()).unwrap().count();
    let ran = run(&mut creamery!("doctor", &path));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for part in ["ok    device cpu: available", "ok    store: ", "ok    config's out: ", "wasm target: ", "threads: "] {
        assert!(ran.stdout.contains(part), "no {part:?} in {ran:?}");
    }
    assert_eq!(fs::read_dir(world.path()).unwrap().count(), before);

    // A store that cannot be: a file stands in its way.
    fs::write(&path, format!("store = \"prompts.jsonl/s\"\n{MINIMAL}")).unwrap();
    let ran = run(&mut creamery!("doctor", &path));
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.stdout.contains("BAD   store: ") && ran.stderr.contains("1 of the findings"), "{ran:?}");
}
