//! Responses of several models in the same groups, pairs of judgments, and objectives of other plugins, stage by stage.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::world::{World, model, quickstart_rows};

/// A run whose rejected responses are M0's, and whose groups hold M1's fresh ones too.
fn config(out: &str, more: &str) -> String {
    format!(
        "seed = 3\ndevice = \"cpu\"\nout = \"{out}\"\nstore = \"store\"\n[model]\npath = \"{}\"\nmax-length = 64\n\
         [data]\nprompts = \"prompts.jsonl\"\nsft = \"sft.jsonl\"\neval = \"eval.jsonl\"\n\
         [sft]\nepochs = 1\nbatch-size = 16\n[rounds]\ncount = 1\n[eval]\nsamples = 2\n\
         [sample]\nn = 4\ntemperature = 1.0\ntop-p = 1.0\nmax-new-tokens = 10\n\
         [train]\nlearning-rate = 1e-4\nbatch-size = 8\n{more}",
        model().display()
    )
}

const SOURCES: &str = "[[sample.from]]\nmodel = \"M1\"\nn = 2\n[[sample.from]]\nname = \"start\"\nmodel = \"initial\"\n\
                       [ranker]\nplugin = \"builtin:temporal\"\nparams = { rejected-from = \"start\" }\n";

fn world() -> World {
    let world = World::new();
    for (name, rows) in [("prompts.jsonl", 24), ("sft.jsonl", 32), ("eval.jsonl", 12)] {
        world.write(name, &quickstart_rows(name, rows));
    }
    world
}

fn artifacts(world: &World, stage: &str, name: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(world.path("store").join(stage)).unwrap();
    entries.filter_map(|entry| fs::read_to_string(entry.unwrap().path().join(name)).ok()).collect()
}

#[test]
fn stages_alone_make_the_bytes_of_a_run_with_other_models_responses() {
    let world = world();
    world.write("plain.toml", &config("plain", ""));
    world.ok("run plain.toml --quiet");
    let plain = artifacts(&world, "sample", "samples.jsonl");
    world.write("run.toml", &config("out", &format!("{SOURCES}[objective]\nplugin = \"builtin:none\"\n")));
    world.ok("run run.toml --quiet");
    let samples = artifacts(&world, "sample", "samples.jsonl");
    assert!(plain.is_subset(&samples), "the policy's own samples are those of a run without sources");
    let plugins: Value = serde_json::from_str(&world.read("out/plugins.json")).unwrap();
    let named = |part: &str| plugins.as_array().unwrap().iter().find(|p| p["part"] == part).map(|p| p["name"].clone());
    assert_eq!((named("objective"), named("regularizer")), (Some(json!("none")), Some(json!("cream"))));

    let sampling = "--temperature 1 --top-p 1 --top-k 0 --seed 3 --max-new-tokens 10";
    world.ok(&format!("generate --model out/M1 --prompts prompts.jsonl -n 4 {sampling} --out own.jsonl"));
    world.ok(&format!("generate --model out/M1 --source M1 --append-to own.jsonl -n 2 {sampling} --out two.jsonl"));
    world.ok(&format!("generate --model model --source start --append-to two.jsonl -n 4 {sampling} --out all.jsonl"));
    let mut groups = world.rows("all.jsonl");
    for group in &mut groups {
        let responses = group["responses"].as_array_mut().unwrap();
        let sources: Vec<Option<String>> =
            responses.iter().map(|r| r.get("source").map(|s| s.as_str().unwrap().to_owned())).collect();
        let expected = [vec![None; 4], vec![Some("M1".to_owned()); 2], vec![Some("start".to_owned()); 4]].concat();
        assert_eq!(sources, expected);
        responses.iter_mut().for_each(|r| drop(r.as_object_mut().unwrap().shift_remove("logps")));
    }
    // In round 1 M1 is the policy itself: it answers afresh.
    let texts = |group: &Value, range: std::ops::Range<usize>| -> Vec<String> {
        range.map(|r| group["responses"][r]["text"].as_str().unwrap().to_owned()).collect()
    };
    assert!(groups.iter().any(|group| texts(group, 0..2) != texts(group, 4..6)), "M1 has streams of its own");
    let merged: Vec<Vec<Value>> = samples
        .iter()
        .map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>())
        .filter(|rows| rows.len() == 24 && rows[0]["responses"].as_array().unwrap().len() == 10)
        .collect();
    assert_eq!(merged, [groups]);

    let previous = format!("previous={}", model().display());
    world.ok(&format!(
        "judge --model out/M1 --viewpoint {previous} --initial model --groups all.jsonl --seed 3 --out scores.jsonl"
    ));
    world.ok(
        "rank --plugin builtin:temporal --param rejected-from=start --groups scores.jsonl --seed 3 --max-length 64 \
              --out ranking.jsonl",
    );
    world.ok("label --groups ranking.jsonl --objective builtin:none --max-length 64 --out pairs.jsonl");
    let pairs = world.rows("pairs.jsonl");
    assert!(pairs.len() > 4, "{} pairs", pairs.len());
    for pair in &pairs {
        assert!(pair["chosen_index"].as_u64() < Some(4) && pair["rejected_index"].as_u64() >= Some(6), "{pair}");
        for name in ["role", "columns"] {
            assert_eq!(pair.get(name), None);
        }
    }
    assert!(artifacts(&world, "regularize", "pairs.jsonl").contains(&world.read("pairs.jsonl")));
    world.ok(&format!(
        "train dpo --model out/M1 --data pairs.jsonl --out trained --objective builtin:none --set learning-rate=1e-4 \
         --set batch-size=8 --set max-length=64 --set seed={} --quiet",
        3 + (1_u64 << 32)
    ));
    let weights = |folder: &str| fs::read(world.path(folder).join("model.safetensors")).unwrap();
    assert!(weights("trained") == weights("out/M2"), "the weights are those of the run, to the bit");

    // Everything is found again, and the resolved config means the same.
    fs::copy(world.path("out/config.resolved.toml"), world.path("again.toml")).unwrap();
    world.ok("run again.toml --quiet --threads 1 --set out=again");
    assert!(!world.read("again/timings.json").contains("\"reused\": false"));
    assert!(weights("again/M2") == weights("out/M2"));
}

#[test]
fn appended_responses_are_of_named_models_and_need_new_scores() {
    let world = World::new();
    world.groups();
    world.ok("judge --model model --param score=mean-likelihood --groups groups.jsonl --out scores.jsonl");
    let generate = "generate --model model --temperature 1 -n 2 --max-new-tokens 4";
    world.ok(&format!("{generate} --source M0 --append-to scores.jsonl --out all.jsonl"));
    let before = world.rows("groups.jsonl");
    for (row, old) in world.rows("all.jsonl").iter().zip(&before) {
        assert_eq!(row.get("scores"), None, "scores of fewer responses are gone");
        let n = old["responses"].as_array().unwrap().len();
        assert_eq!(row["responses"].as_array().unwrap().len(), n + 2);
        assert_eq!(row["responses"].as_array().unwrap()[..n], old["responses"].as_array().unwrap()[..]);
        assert_eq!(row["responses"][n]["source"], "M0");
    }
    // What is appended again goes on from there: other draws, those of one call with as many.
    world.ok(&format!("{generate} --source M0 --append-to all.jsonl --out more.jsonl"));
    let four = generate.replace("-n 2", "-n 4");
    world.ok(&format!("{four} --source M0 --append-to groups.jsonl --out four.jsonl"));
    assert_eq!(world.read("more.jsonl"), world.read("four.jsonl"));
    let mut wrong = before.clone();
    wrong[1]["responses"][0]["source"] = json!("current");
    world.write("current.jsonl", &wrong.iter().map(|row| format!("{row}\n")).collect::<String>());
    wrong[1]["responses"][0]["source"] = json!(7);
    world.write("number.jsonl", &wrong.iter().map(|row| format!("{row}\n")).collect::<String>());
    let mut unknown = before;
    unknown[0]["prompt_ids"][0] = json!(4000);
    world.write("unknown.jsonl", &unknown.iter().map(|row| format!("{row}\n")).collect::<String>());
    for (arguments, code, part) in [
        ("--append-to groups.jsonl", 2, "--source"),
        ("--source current --append-to groups.jsonl", 2, "is the policy itself"),
        ("--source M0", 2, "--prompts"),
        ("--source M0 --append-to current.jsonl", 3, "current.jsonl:2: 'source' of responses[0] is \"current\""),
        ("--source M0 --append-to number.jsonl", 3, "number.jsonl:2: 'source' of responses[0] is 7, expected a string"),
        ("--source M0 --append-to unknown.jsonl", 3, "unknown.jsonl:1: the prompt has the token 4000"),
        ("--source M0 --append-to nothing.jsonl", 3, "nothing.jsonl"),
    ] {
        let ran = world.run(&format!("{generate} {arguments} --out wrong.jsonl"));
        assert!(ran.code == Some(code) && ran.stderr.contains(part), "{arguments}: {:?} {}", ran.code, ran.stderr);
        assert!(!world.path("wrong.jsonl").exists());
    }
    // A ranker of sources says what it misses.
    let ran = world.run("rank --plugin builtin:temporal --groups scores.jsonl");
    assert!(ran.code == Some(4) && ran.stderr.contains("M1"), "{}", ran.stderr);
}

#[test]
fn pairs_of_judgments_train_beside_the_pairs_of_responses() {
    let world = World::new();
    world.groups();
    world.ok("judge --model model --param score=mean-likelihood --groups groups.jsonl --out scores.jsonl");
    world.ok("rank --groups scores.jsonl --out ranking.jsonl");
    let pair = |viewpoint: &str, group: &str, tokens: usize| {
        json!({
            "viewpoint": viewpoint, "group": group, "prompt": [{"role": "user", "content": "Which?"}],
            "prompt_ids": [1, 5, 20], "chosen": "A", "rejected": "B",
            "chosen_ids": vec![30; tokens], "rejected_ids": [31, 2], "weight": 0.5,
        })
    };
    let lines = |rows: &[Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    let rows =
        [pair("current", "j-1", 2), pair("previous", "j-2", 2), pair("current", "j-1", 40), pair("current", "j-1", 3)];
    world.write("judgments.jsonl", &lines(&rows));
    let label = "label --plugin builtin:none --groups ranking.jsonl";
    world.ok(&format!("{label} --out plain.jsonl"));
    let ran = world.ok(&format!("{label} --judgments judgments.jsonl --max-length 40 --out pairs.jsonl"));
    assert!(ran.stderr.contains("2 pairs of judgments, 1 over 40 tokens"), "{}", ran.stderr);
    let (plain, pairs) = (world.rows("plain.jsonl"), world.rows("pairs.jsonl"));
    for (plain, pair) in plain.iter().zip(&pairs) {
        let mut pair = pair.clone();
        assert_eq!(pair.as_object_mut().unwrap().shift_remove("role"), Some(json!("actor")));
        assert_eq!(*plain, pair, "the pairs of responses stay as they are");
    }
    let names = |row: &Value| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert!(pairs.iter().all(|row| names(row) == names(&pairs[0])), "every row has the same fields");
    let judge = &pairs[plain.len()..];
    assert_eq!(judge.len(), 2);
    for (row, id) in judge.iter().zip(["j-1#0", "j-1#2"]) {
        assert_eq!((&row["id"], &row["role"], &row["group"]), (&json!(id), &json!("judge"), &json!("j-1")));
        assert_eq!((&row["consistency"], &row["weight"]), (&json!(1.0), &json!(0.5)));
        assert_eq!(row["chosen"], json!([{"role": "assistant", "content": "A"}]));
        assert_eq!((&row["chosen_index"], &row["rejected_index"]), (&Value::Null, &Value::Null));
        assert_eq!((&row["prompt_ids"], &row["rejected_ids"]), (&json!([1, 5, 20]), &json!([31, 2])));
    }
    for (row, part) in [
        (json!({"group": "j"}), "not a pair of judgments"),
        (pair("current", "j", 0), "'chosen_ids' has no tokens"),
        (
            {
                let mut row = pair("current", "j", 2);
                row["weight"] = json!(0.0);
                row
            },
            "'weight' is 0",
        ),
    ] {
        world.write("wrong.jsonl", &lines(&[row]));
        let ran = world.run(&format!("{label} --judgments wrong.jsonl"));
        assert!(ran.code == Some(3) && ran.stderr.contains("wrong.jsonl:1: "), "{}", ran.stderr);
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

#[test]
fn sources_and_objectives_are_checked_in_the_config() {
    let world = world();
    let from = |rows: &str| format!("[[sample.from]]\n{rows}\n");
    let cases: [(String, &[&str]); 14] = [
        (from("n = 2"), &["`sample.from.0.model` is missing"]),
        (from("model = \"current\""), &["\"current\", which is the policy itself", "raise `n` of [sample]"]),
        (from("model = \"M2\""), &["a model that does not exist in round 1"]),
        (from("model = \"M1\"\nn = 0"), &["`sample.from.0.n` is 0"]),
        (from("model = \"ema\""), &["a source has the model \"ema\", but there is no [ema]"]),
        (from("model = \"prevous\""), &["did you mean \"previous\"?"]),
        (from("model = \".\""), &["`sample.from.0.name` is missing", "rejected-from"]),
        (from("model = \"M1\"\nname = \"current\""), &["`sample.from.0.name` is \"current\", expected another name"]),
        (from("model = \"M1\"\n[[sample.from]]\nmodel = \"M1\""), &["two sources of the name \"M1\""]),
        (from("model = \"M1\"\ncount = 2"), &["unknown key `sample.from.0.count`"]),
        ("[sample.from]\nmodel = \"M1\"\n".into(), &["a list of tables [[sample.from]]"]),
        ("[objective]\n".into(), &["`objective.plugin` is missing", "builtin:preference-loss"]),
        ("[objective]\nplugin = \"x.wasm\"\n".into(), &["nothing at"]),
        ("[objective]\nplugin = \"builtin:none\"\nparam = {}\n".into(), &["unknown key `objective.param`"]),
    ];
    for (more, parts) in cases {
        world.write("run.toml", &config("out", &more));
        let ran = world.run("run run.toml");
        assert!(matches!(ran.code, Some(2..=4)), "{more}: {:?} {}", ran.code, ran.stderr);
        for part in [&["run.toml"], parts].concat() {
            assert!(ran.stderr.contains(part), "{more}: no '{part}' in\n{}", ran.stderr);
        }
        assert!(!world.path("out").exists());
    }
    // An EMA of the models may be for a source alone.
    world.write("run.toml", &config("out", &(from("model = \"ema\"") + "[ema]\ndecay = 0.5\n")));
    let shown = world.ok("config run.toml").stdout;
    assert!(shown.contains("[[sample.from]]\nname = \"ema\"\nmodel = \"ema\"\nn = 4\n"), "{shown}");
    // Plugins of another kind, and names that the rankers do not know, end a run before it starts to work.
    world.write("run.toml", &config("out", "[objective]\nplugin = \"builtin:best-worst\"\n"));
    let ran = world.run("run run.toml");
    assert!(ran.code == Some(4) && ran.stderr.contains("setting up [objective]"), "{}", ran.stderr);
}

/// What a plugin says of each pair goes with the pair into training.
#[test]
fn columns_go_from_the_label_into_the_objective() {
    let world = World::new();
    world.groups();
    world.ok("judge --model model --param score=mean-likelihood --groups groups.jsonl --out scores.jsonl");
    // Win rates, as sppo wants them: 0.9, 0.6, 0.3, 0.
    let mut rows = world.rows("scores.jsonl");
    for row in &mut rows {
        let n = row["responses"].as_array().unwrap().len();
        row["scores"]["current"] = (0..n).map(|i| json!((9 - 3 * i as i64).max(0) as f64 / 10.0)).collect();
    }
    world.write("scores.jsonl", &rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    world.ok("rank --groups scores.jsonl --out ranking.jsonl");
    world.ok("label --plugin builtin:sppo --groups ranking.jsonl --out pairs.jsonl");
    world.ok("label --plugin builtin:none --objective builtin:sppo --groups ranking.jsonl --out other.jsonl");
    let columns = |name: &str| world.rows(name).iter().map(|row| row["columns"].clone()).collect::<Vec<_>>();
    assert_eq!(columns("pairs.jsonl"), columns("other.jsonl"), "columns are of the plugin with the objective");
    let pairs = world.rows("pairs.jsonl");
    for pair in &pairs {
        let rate = |side: &str| (9 - 3 * pair[format!("{side}_index")].as_i64().unwrap()).max(0) as f64 / 10.0;
        let expected = json!({"win_rate_chosen": rate("chosen"), "win_rate_rejected": rate("rejected")});
        assert_eq!(pair["columns"], expected);
    }
    world.ok(&format!(
        "train dpo --model model --data pairs.jsonl --objective builtin:sppo --set batch-size={} --set warmup-ratio=0 \
         --out trained --quiet",
        pairs.len()
    ));
    let steps = world.rows("trained/metrics.jsonl");
    // At the start the log-ratios are 0, so a response's loss is (η (P − ½))² with η = 1 / β = 10.
    let square = |pair: &Value, name: &str| (10.0 * (pair["columns"][name].as_f64().unwrap() - 0.5)).powi(2);
    let losses = pairs.iter().map(|pair| square(pair, "win_rate_chosen") + square(pair, "win_rate_rejected"));
    let expected = losses.sum::<f64>() / pairs.len() as f64;
    assert!((steps[0]["loss"].as_f64().unwrap() - expected).abs() < 1e-3, "{} is not {expected}", steps[0]["loss"]);
    // Pairs of judgments have no columns.
    let judgment = json!({
        "group": "j", "prompt": [{"role": "user", "content": "Which?"}], "prompt_ids": [1, 5], "chosen": "A",
        "rejected": "B", "chosen_ids": [30, 2], "rejected_ids": [31, 2], "weight": 1.0,
    });
    world.write("judgments.jsonl", &format!("{judgment}\n"));
    let ran = world.run("label --plugin builtin:sppo --groups ranking.jsonl --judgments judgments.jsonl");
    assert!(
        ran.code == Some(2) && ran.stderr.contains("'win_rate_chosen', which judgments have not"),
        "{}",
        ran.stderr
    );
    // Without its columns the objective says what it lacks.
    let plain: String = pairs
        .iter()
        .map(|pair| {
            let mut pair = pair.clone();
            pair.as_object_mut().unwrap().shift_remove("columns");
            format!("{pair}\n")
        })
        .collect();
    world.write("plain.jsonl", &plain);
    let ran = world.run(
        "train dpo --model model --data plain.jsonl --objective builtin:sppo --set warmup-ratio=0 --out wrong --quiet",
    );
    assert!(ran.code == Some(4) && ran.stderr.contains("win_rate_chosen"), "{}", ran.stderr);
}
