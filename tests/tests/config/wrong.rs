//! What is wrong in a file or an argument is named with its place.

use super::*;

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
