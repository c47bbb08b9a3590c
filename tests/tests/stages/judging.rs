//! `creamery judge`, `rank` and `label`

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::world::{World, model, quickstart_rows};

/// The lines of all files `store/STAGE/*/NAME`, by file.
fn artifacts(world: &World, stage: &str, name: &str) -> BTreeSet<String> {
    let folder = world.path("store").join(stage);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries.map(|entry| fs::read_to_string(entry.unwrap().path().join(name)).unwrap()).collect()
}

#[test]
fn one_stage_after_the_other_makes_the_bytes_of_a_run() {
    for (judge, ranker, form) in [("", "", "average"), ("--param normalization=mean", "--param on-tie=drop", "sample")]
    {
        let world = World::new();
        for (name, rows) in [("prompts.jsonl", 24), ("sft.jsonl", 32)] {
            world.write(name, &quickstart_rows(name, rows));
        }
        let params = |section: &str, arguments: &str| match arguments.strip_prefix("--param ") {
            Some(param) => format!("{section} = {{ {} }}\n", param.replace('=', " = \"") + "\""),
            None => String::new(),
        };
        let config = format!(
            "seed = 3\ndevice = \"cpu\"\nout = \"out\"\nstore = \"store\"\n[model]\npath = \"{}\"\nmax-length = 64\n\
             [data]\nprompts = \"prompts.jsonl\"\nsft = \"sft.jsonl\"\n[sft]\nepochs = 1\nbatch-size = 16\n\
             [rounds]\ncount = 1\n[sample]\nn = 4\ntemperature = 1.0\ntop-p = 1.0\nmax-new-tokens = 10\n\
             [judge]\n{}[ranker]\n{}[regularizer]\nparams = {{ form = \"{form}\" }}\n\
             [train]\nlearning-rate = 1e-4\nbatch-size = 8\n",
            model().display(),
            params("params", judge),
            params("params", ranker),
        );
        world.write("run.toml", &config);
        world.ok("run run.toml --quiet");

        let samples = artifacts(&world, "sample", "samples.jsonl");
        assert_eq!(samples.len(), 1, "one artifact of samples");
        world.ok("generate --model out/M1 --prompts prompts.jsonl --temperature 1 --top-p 1 --top-k 0 -n 4 --seed 3 \
             --max-new-tokens 10 --out groups.jsonl");
        let mut generated = world.rows("groups.jsonl");
        let responses = generated.iter_mut().flat_map(|group| group["responses"].as_array_mut().unwrap());
        for response in responses {
            let logps = response.as_object_mut().unwrap().remove("logps").expect("log-probabilities");
            assert_eq!(logps.as_array().unwrap().len(), response["ids"].as_array().unwrap().len());
        }
        let sampled = samples.first().unwrap().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert_eq!(generated, sampled.collect::<Vec<_>>());
        world.ok(&format!(
            "judge --model out/M1 --viewpoint previous=model --initial model --groups groups.jsonl --seed 3 {judge} \
             --out scores.jsonl"
        )
        .replace("previous=model", &format!("previous={}", model().display())));
        world.ok(&format!("rank --groups scores.jsonl --seed 3 --max-length 64 {ranker} --out ranking.jsonl"));
        world.ok(&format!("label --groups ranking.jsonl --param form={form} --out pairs.jsonl"));

        let judged = world.rows("scores.jsonl");
        let mut ours = BTreeSet::new();
        for viewpoint in ["current", "previous"] {
            let line = |row: &Value| json!({"id": row["id"], "scores": row["scores"][viewpoint]}).to_string() + "\n";
            ours.insert(judged.iter().map(line).collect::<String>());
        }
        assert_eq!(ours, artifacts(&world, "judge", "scores.jsonl"));

        let line = |row: &Value| {
            let pairs = row.get("pairs").cloned().unwrap_or_else(|| json!([]));
            let ranks = [&row["ranks"]["current"], &row["ranks"]["previous"]];
            let mut line = json!({"id": row["id"], "ranks": ranks, "pairs": pairs});
            if let Some(reason) = row.get("dropped") {
                line["dropped"] = reason.clone();
            }
            line.to_string() + "\n"
        };
        let ranked: String = world.rows("ranking.jsonl").iter().map(line).collect();
        assert_eq!(BTreeSet::from([ranked]), artifacts(&world, "rank", "ranking.jsonl"));
        assert_eq!(BTreeSet::from([world.read("pairs.jsonl")]), artifacts(&world, "regularize", "pairs.jsonl"));

        // A run's round t trains with the seed + t · 2³².
        world.ok(&format!(
            "train dpo --model out/M1 --data pairs.jsonl --out trained --loss cream --set learning-rate=1e-4 \
             --set batch-size=8 --set max-length=64 --set seed={} --quiet",
            3 + (1_u64 << 32)
        ));
        let weights = |folder: &str| fs::read(world.path(folder).join("model.safetensors")).unwrap();
        assert!(weights("trained") == weights("out/M2"), "the weights are those of the run, to the bit");

        // Each stage leaves what it does not know as it was, and the one before may run again.
        let scores = world.read("scores.jsonl");
        world.ok(&format!(
            "judge --model out/M1 --viewpoint previous={} --initial model --groups ranking.jsonl {judge} -o again.jsonl",
            model().display()
        ));
        assert_eq!(scores, world.read("again.jsonl"));
    }
}

#[test]
fn a_pair_trains_on_the_sampled_tokens_and_each_has_an_id_of_its_own() {
    let world = World::new();
    world.groups();
    world.ok("judge --model model --param score=mean-likelihood --groups groups.jsonl --out scores.jsonl");
    world.ok("rank --groups scores.jsonl --out ranking.jsonl");
    let mut rows = world.rows("ranking.jsonl");
    // A ranker may make several pairs of a group.
    rows[0]["pairs"] = json!([
        {"chosen": 0, "rejected": 1, "weight": 1.0},
        {"chosen": 0, "rejected": 2, "weight": 0.5},
    ]);
    rows[1]["id"] = json!(format!("{}#0>1", rows[0]["id"].as_str().unwrap()));
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    world.write("ranking.jsonl", &text);
    world.ok("label --plugin builtin:none --groups ranking.jsonl --out pairs.jsonl");
    let pairs = world.rows("pairs.jsonl");
    let ids: BTreeSet<&str> = pairs.iter().map(|p| p["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), pairs.len(), "ids are unique: {ids:?}");
    assert_eq!(pairs[0]["id"], json!(format!("{}#0>1'", rows[0]["id"].as_str().unwrap())));
    assert_eq!((&pairs[0]["weight"], &pairs[1]["weight"]), (&json!(1.0), &json!(0.5)));
    let groups: BTreeMap<&str, &Value> = rows.iter().map(|row| (row["id"].as_str().unwrap(), row)).collect();
    for pair in &pairs {
        let group = groups[pair["group"].as_str().unwrap()];
        assert_eq!((&pair["prompt"], &pair["prompt_ids"]), (&group["prompt"], &group["prompt_ids"]));
        for side in ["chosen", "rejected"] {
            let response = &group["responses"][pair[format!("{side}_index")].as_u64().unwrap() as usize];
            assert_eq!(pair[side], json!([{"role": "assistant", "content": response["text"]}]));
            assert_eq!(pair[format!("{side}_ids")], response["ids"]);
        }
    }
}

#[test]
fn what_a_judge_cannot_score_has_a_reason_through_all_stages() {
    let world = World::new();
    world.groups();
    let responses: usize = world.rows("groups.jsonl").iter().map(|g| g["responses"].as_array().unwrap().len()).sum();
    // The quickstart's model gives no score that the rubric could read.
    let rubric = "judge --plugin builtin:rubric --param k=1 --param max-new-tokens=4 --param prompt={{response}} \
                  --model model --groups groups.jsonl";
    let ran = world.ok(&format!("{rubric} --out scores.jsonl"));
    assert!(ran.stderr.contains(&format!("{responses} responses, {responses} without a score")), "{}", ran.stderr);
    for row in world.rows("scores.jsonl") {
        let n = row["responses"].as_array().unwrap().len();
        assert_eq!(row["scores"]["current"], json!(vec![Value::Null; n]));
        assert_eq!(row["abstained"]["current"].as_object().unwrap().len(), n);
    }
    let ran = world.ok("rank --groups scores.jsonl --out ranking.jsonl");
    assert!(ran.stderr.contains("0 pairs, 8 groups without a pair (8 × "), "{}", ran.stderr);
    let ran = world.run("label --groups ranking.jsonl");
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    assert!(ran.stderr.contains("no pair to train on: the ranker dropped every group (8 × "), "{}", ran.stderr);
    // Judging prompts are drawn by the seed alone.
    let (a, b) = (world.ok(rubric).stdout, world.ok(&format!("{rubric} --threads 1")).stdout);
    assert_eq!(a, b);

    // A judge that fails on ids ending in 7.
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile/judge");
    let hostile = format!(
        "judge --plugin {} --artifact component --param mode=sevens --model model --groups groups.jsonl",
        hostile.display()
    );
    let ran = world.run(&format!("{hostile} --out hostile.jsonl"));
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("no sevens, please: p-0007"), "{}", ran.stderr);
    assert!(!world.path("hostile.jsonl").exists());
    for policy in ["abstain", "skip"] {
        let ran = world.ok(&format!("{hostile} --on-failure {policy} --out {policy}.jsonl"));
        assert!(ran.stderr.contains("1 failed groups"), "{}", ran.stderr);
        let rows = world.rows(&format!("{policy}.jsonl"));
        let failed: Vec<&Value> = rows.iter().filter(|row| row.get("abstained").is_some()).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0]["id"], "p-0007");
        assert_eq!(failed[0].get("skipped").is_some(), policy == "skip");
        world.ok(&format!("rank --groups {policy}.jsonl --out {policy}-ranking.jsonl"));
        let rows = world.rows(&format!("{policy}-ranking.jsonl"));
        let row = rows.iter().find(|row| row["id"] == "p-0007").unwrap();
        let reason = row["dropped"].as_str().expect("a reason");
        assert_eq!(reason.contains("judge failed"), policy == "skip", "{reason}");
        let labelled = world.ok(&format!("label --plugin builtin:none --groups {policy}-ranking.jsonl"));
        assert!(!labelled.stdout.contains("p-0007"));
    }
}

#[test]
fn a_record_of_a_round_is_the_history_of_the_next() {
    let world = World::new();
    world.groups();
    let previous = format!("--viewpoint previous={}", model().display());
    world.ok(&format!("judge --model model {previous} --initial model --groups groups.jsonl --out scores.jsonl"));
    world.ok("rank --groups scores.jsonl --out ranking.jsonl");
    world.ok("label --groups ranking.jsonl --record round-1.jsonl --out pairs.jsonl");
    let record: Value = serde_json::from_str(&world.read("round-1.jsonl")).unwrap();
    assert_eq!((&record["round"], &record["pairs"]), (&json!(1), &json!(world.rows("pairs.jsonl").len())));
    assert!(record["metrics"].as_array().unwrap().iter().any(|m| m["name"] == "consistency"), "{record}");
    // The same model from both viewpoints: full agreement.
    assert!(world.rows("pairs.jsonl").iter().all(|pair| pair["consistency"] == 1.0));
    world.ok("label --groups ranking.jsonl --round 2 --history round-1.jsonl --out second.jsonl");
    let ran = world.run("label --groups ranking.jsonl --history round-1.jsonl");
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("round-1.jsonl:1: this is round 1, expected one before round 1"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--round"), "{}", ran.stderr);
}

#[test]
fn wrong_rows_are_named_with_the_stage_to_run_first() {
    let world = World::new();
    world.groups();
    world.ok("judge --model model --param score=mean-likelihood --groups groups.jsonl --out scores.jsonl");
    world.ok("rank --groups scores.jsonl --out ranking.jsonl");
    const JUDGE: &str = "judge --model model --param score=mean-likelihood --groups";
    const RANK: &str = "rank --groups";
    const LABEL: &str = "label --plugin builtin:none --groups";

    /// Which command, on which file with its second row changed how, and parts of the message.
    type Case = (&'static str, &'static str, fn(&mut Value), &'static [&'static str]);
    let cases: &[Case] = &[
        (RANK, "groups.jsonl", |_| {}, &["groups:1: ", "the field 'scores' is missing", "run `creamery judge` first"]),
        (LABEL, "groups.jsonl", |_| {}, &[":1: ", "'scores' is missing", "run `creamery judge` first"]),
        (LABEL, "scores.jsonl", |_| {}, &[":1: ", "'ranks' is missing", "run `creamery rank` first"]),
        (
            JUDGE,
            "groups.jsonl",
            |r| drop(r.as_object_mut().unwrap().remove("id")),
            &[":2: ", "'id' is missing", "generate"],
        ),
        (JUDGE, "groups.jsonl", |r| r["id"] = json!("p-0000"), &[":2: ", "'p-0000' stands in line 1 already"]),
        (JUDGE, "groups.jsonl", |r| r["id"] = json!(" "), &[":2: ", "'id' is empty"]),
        (JUDGE, "groups.jsonl", |r| r["responses"] = json!([]), &[":2: ", "no responses", "creamery generate"]),
        (JUDGE, "groups.jsonl", |r| r["responses"] = json!("x"), &[":2: ", "'responses' is \"x\", expected a list"]),
        (
            JUDGE,
            "groups.jsonl",
            |r| r["responses"][1]["ids"] = json!([]),
            &[":2: ", "'responses[1].ids' has no tokens"],
        ),
        (JUDGE, "groups.jsonl", |r| r["responses"][1]["ids"][0] = json!(-1), &["responses[1].ids[0] is -1"]),
        (
            JUDGE,
            "groups.jsonl",
            |r| r["responses"][0]["ids"][0] = json!(263),
            &[":2: ", "263", "judge with the model's"],
        ),
        (JUDGE, "groups.jsonl", |r| r["prompt_ids"] = json!(vec![9; 300]), &[":2: ", "256"]),
        (JUDGE, "groups.jsonl", |r| r["prompt_ids"] = json!([]), &[":2: ", "'prompt_ids' has no tokens"]),
        (JUDGE, "groups.jsonl", |r| r["prompt"] = json!([]), &[":2: ", "'prompt' is an empty list"]),
        (
            JUDGE,
            "groups.jsonl",
            |r| r["prompt"][0]["role"] = json!(1),
            &["'role' of prompt[0] is 1, expected a string"],
        ),
        (
            JUDGE,
            "groups.jsonl",
            |r| r["responses"][0]["finish"] = json!("eos"),
            &["'finish' of responses[0] is \"eos\""],
        ),
        (JUDGE, "groups.jsonl", |r| drop(r["responses"][0].as_object_mut().unwrap().remove("text")), &["no 'text'"]),
        (
            RANK,
            "scores.jsonl",
            |r| r["scores"]["current"] = json!([1.0]),
            &[":2: ", "'scores.current' has 1 entries for"],
        ),
        (RANK, "scores.jsonl", |r| r["scores"]["current"][1] = json!("NaN"), &["scores.current[1] is \"NaN\"", "null"]),
        (
            RANK,
            "scores.jsonl",
            |r| r["scores"]["previous"] = json!([]),
            &[":2: ", "current, previous, the first line has"],
        ),
        (RANK, "scores.jsonl", |r| r["scores"] = json!([]), &[":2: ", "expected an object by viewpoint"]),
        (
            LABEL,
            "ranking.jsonl",
            |r| r["ranks"]["current"][0] = json!(9),
            &[":2: ", "ranks.current[0] is 9, expected 0 to 4"],
        ),
        // A group is skipped for a viewpoint of the file with a reason, and for nothing else.
        (LABEL, "ranking.jsonl", |r| unranked(r, json!({})), &[":2: ", "'ranks' is missing", "`creamery rank` first"]),
        (LABEL, "ranking.jsonl", |r| unranked(r, Value::Null), &[":2: ", "'ranks' is missing"]),
        (LABEL, "ranking.jsonl", |r| unranked(r, json!({"old": "x"})), &[":2: ", "'ranks' is missing"]),
        (
            LABEL,
            "ranking.jsonl",
            |r| unranked(r, json!("x")),
            &[":2: ", "'skipped' is \"x\", expected an object by viewpoint"],
        ),
        (
            LABEL,
            "ranking.jsonl",
            |r| unranked(r, json!({"current": null})),
            &[":2: ", "'skipped.current' is null, expected a string"],
        ),
        (
            LABEL,
            "ranking.jsonl",
            |r| r["skipped"] = json!({"current": "x"}),
            &[":2: ", "has 'pairs', but the judge skipped it"],
        ),
        (LABEL, "ranking.jsonl", |r| r["ranks"]["current"] = json!([1]), &[":2: ", "'ranks.current' has 1 entries"]),
        (LABEL, "ranking.jsonl", |r| r["pairs"] = json!([]), &[":2: ", "neither 'pairs' nor 'dropped'"]),
        (LABEL, "ranking.jsonl", |r| r["dropped"] = json!("tie"), &[":2: ", "both 'pairs' and 'dropped'"]),
        (
            LABEL,
            "ranking.jsonl",
            |r| r["pairs"][0]["chosen"] = json!(4),
            &["'chosen' of pairs[0] is 4, expected a response"],
        ),
        (LABEL, "ranking.jsonl", |r| r["pairs"][0]["rejected"] = r["pairs"][0]["chosen"].clone(), &["both chosen and"]),
        (LABEL, "ranking.jsonl", |r| r["pairs"][0]["weight"] = json!(0), &["'weight' of pairs[0] is 0"]),
    ];
    for (number, (command, file, change, parts)) in cases.iter().enumerate() {
        let mut rows = world.rows(file);
        change(&mut rows[1]);
        let name = format!("{}{number}.jsonl", file.trim_end_matches(".jsonl"));
        // The name of the file is checked by the message's first part.
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        world.write(&name, &text);
        let ran = world.run(&format!("{command} {name} --out wrong.jsonl"));
        assert_eq!(ran.code, Some(3), "case {number}, {command} {file}: {}", ran.stderr);
        let shown = ran.stderr.replace(&format!("{number}.jsonl:"), ":");
        for part in *parts {
            assert!(shown.contains(part), "case {number}, {command} {file}: no '{part}' in\n{}", ran.stderr);
        }
        assert!(ran.stderr.contains(&name), "{}", ran.stderr);
        assert!(!world.path("wrong.jsonl").exists(), "nothing is written");
    }

    // The name of a viewpoint that is no longer there skips nothing.
    let mut rows = world.rows("ranking.jsonl");
    rows[1]["skipped"] = json!({"old": "x"});
    world.write("stale.jsonl", &rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    assert_eq!(world.ok(&format!("{LABEL} stale.jsonl")).stdout, world.ok(&format!("{LABEL} ranking.jsonl")).stdout);

    // What is no JSON at all.
    for (text, parts) in [
        ("{\"id\": \"a\", \"scores\": {\"current\": [NaN]}}\n", &["bad.jsonl:1: not a JSON object", "write null"][..]),
        ("\u{feff}[]\r\n", &["bad.jsonl:1: a JSON object was expected, found a list of 0"]),
        ("\n\n", &["bad.jsonl: the file has no rows", "creamery generate"]),
        ("{\"id\": \"a\", \"id\": \"b\"}\n", &["bad.jsonl:1: ", "id"]),
    ] {
        world.write("bad.jsonl", text);
        let ran = world.run("rank --groups bad.jsonl");
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "no '{part}' in\n{}", ran.stderr);
        }
    }
}

/// Takes a row's ranking away.
fn unranked(row: &mut Value, skipped: Value) {
    let fields = row.as_object_mut().unwrap();
    fields.remove("ranks");
    fields.remove("pairs");
    fields.insert("dropped".into(), json!("x"));
    fields.insert("skipped".into(), skipped);
}

/// An adapter of peft's names its base by the hub's name; the model of the command stands in for it.
#[test]
fn an_adapter_whose_base_is_not_here_is_used_on_the_model() {
    let world = World::new();
    world.groups();
    world.write("sft.jsonl", &quickstart_rows("sft.jsonl", 16));
    world.ok("train sft --model model --data sft.jsonl --out tuned --set lora.r=2 --set epochs=4 --set batch-size=2 \
         --set learning-rate=1e-2 --quiet");
    let config = "tuned/adapter_config.json";
    for arguments in [
        "--viewpoint tuned=tuned --param score=mean-likelihood",
        "--initial tuned --reference model",
        "--initial model --reference tuned",
    ] {
        let judge = format!("judge --model model --groups groups.jsonl {arguments} --out");
        let named = world.ok(&format!("{judge} named.jsonl"));
        assert!(!named.stderr.contains("warning"), "{}", named.stderr);
        let settings: Value = serde_json::from_str(&world.read(config)).unwrap();
        let mut elsewhere = settings.clone();
        elsewhere["base_model_name_or_path"] = json!("org/base");
        world.write(config, &elsewhere.to_string());
        let unnamed = world.ok(&format!("{judge} unnamed.jsonl"));
        assert!(unnamed.stderr.contains("warning: the base 'org/base' of the "), "{}", unnamed.stderr);
        assert_eq!(world.read("named.jsonl"), world.read("unnamed.jsonl"), "{arguments}");
        world.write(config, &settings.to_string());
        for row in world.rows("named.jsonl").iter().filter(|_| arguments.contains("tuned=tuned")) {
            assert_ne!(row["scores"]["current"], row["scores"]["tuned"], "the adapter makes a difference");
        }
    }
    // One of a model of another shape.
    world.adapter("other", &creamery_tests::fixture("models/llama_tied"), "org/other");
    let ran =
        world.run("judge --model model --viewpoint other=other --param score=mean-likelihood --groups groups.jsonl");
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    for part in ["adapter_model.safetensors: ", "tensor '", "the adapter was made for another base"] {
        assert!(ran.stderr.contains(part), "no '{part}' in\n{}", ran.stderr);
    }
}

/// A judge that reports no judgments leaves an empty file, not an old one.
#[test]
fn judgments_have_a_file_of_their_own() {
    let world = World::new();
    world.groups();
    world.write("judgments.jsonl", "of yesterday");
    let judge = "judge --model model --param score=mean-likelihood --groups groups.jsonl";
    world.ok(&format!("{judge} --judgments judgments.jsonl --out scores.jsonl"));
    assert_eq!(world.read("judgments.jsonl"), "");
    assert_eq!(world.ok(judge).stdout, world.read("scores.jsonl"));
}

#[test]
fn wrong_arguments_are_named() {
    let world = World::new();
    world.groups();
    world.ok("judge --model model --param score=mean-likelihood --groups groups.jsonl --out scores.jsonl");
    world.write("params.toml", "on-tie = \"first\"\n\nmin-margn = 1\n");
    world.write("params.json", "{\"on-tie\": \"never\"}");
    world.write("list.json", "[1]");
    world.write("null.json", "{\"on-tie\": null}");
    world.write("fake.so", "no library");
    world.write("fake.txt", "no plugin");
    let judge = "judge --model model --groups groups.jsonl";
    let rank = "rank --groups scores.jsonl";
    let cases: &[(&str, i32, &[&str])] = &[
        (
            &format!("{rank} --param on-tei=drop"),
            2,
            &["--param on-tei=drop: ", "no parameter 'on-tei'", "did you mean 'on-tie'?"],
        ),
        (&format!("{rank} --param on-tie=never"), 2, &["--param on-tie=never: ", "'on-tie'", "first"]),
        (&format!("{rank} --param min-margin=-1"), 2, &["--param min-margin=-1: ", "min-margin"]),
        (&format!("{rank} --param on-tie"), 2, &["--param on-tie: expected KEY=VALUE", "--param form=sample"]),
        (&format!("{rank} --params params.toml"), 2, &["params.toml:3: ", "min-margn", "did you mean 'min-margin'?"]),
        (&format!("{rank} --params params.json"), 2, &["--params params.json: ", "'on-tie'"]),
        (&format!("{rank} --params list.json"), 2, &["list.json: found a list of 1", "one JSON object"]),
        (&format!("{rank} --params null.json"), 2, &["null.json: ", "`params.on-tie` is null"]),
        (&format!("{rank} --params none.toml"), 2, &["none.toml"]),
        (&format!("{rank} --plugin builtin:cream"), 4, &["cream", "regularizer", "ranker"]),
        (&format!("{rank} --plugin builtin:nothing"), 4, &["nothing", "best-worst"]),
        (
            &format!("{rank} --plugin nowhere.wasm"),
            4,
            &["--plugin nowhere.wasm: there is nothing at this path", "builtin:NAME"],
        ),
        (&format!("{rank} --plugin fake.txt"), 4, &["--plugin fake.txt: this file is no plugin"]),
        (&format!("{rank} --plugin fake.so"), 2, &["fake.so is a native library", "--allow-native"]),
        (&format!("{rank} --plugin fake.so --allow-native"), 4, &["fake.so"]),
        (
            &format!("{rank} --plugin builtin:best-worst --artifact native"),
            2,
            &["--artifact is only for a source folder"],
        ),
        (&format!("{rank} --deadline-seconds 0"), 2, &["--deadline-seconds", "above 0"]),
        (judge, 4, &["no model slot 'reference'", "--reference DIR and --initial DIR"]),
        (&format!("{judge} --viewpoint previous"), 2, &["--viewpoint previous: expected NAME=DIR"]),
        (
            &format!("{judge} --viewpoint current=model"),
            2,
            &["--viewpoint current=model: there is such a viewpoint already"],
        ),
        (&format!("{judge} --viewpoint previous=nowhere"), 3, &["nowhere"]),
        (
            &format!("{judge} --initial model --judgments groups.jsonl"),
            2,
            &["groups.jsonl: --judgments is a file that this command reads or writes besides"],
        ),
        (
            &format!("{judge} --initial model --judgments same.jsonl --out same.jsonl"),
            2,
            &["same.jsonl: --out is a file that this command reads or writes besides"],
        ),
        (&format!("{judge} --initial model --judgments ."), 2, &["this is a folder; --judgments takes a file"]),
        (
            &format!("{judge} --initial {}", creamery_tests::fixture("models/llama_tied").display()),
            3,
            &["the reference model has"],
        ),
        (&format!("{judge} --plugin builtin:best-worst"), 4, &["best-worst", "ranker", "judge"]),
        ("label --groups scores.jsonl --param form=sampel", 3, &["run `creamery rank` first"]),
    ];
    for (arguments, code, parts) in cases {
        let ran = world.run(arguments);
        assert_eq!(ran.code, Some(*code), "{arguments}: {}", ran.stderr);
        for part in *parts {
            assert!(ran.stderr.contains(part), "{arguments}: no '{part}' in\n{}", ran.stderr);
        }
        assert_eq!(ran.stdout, "", "{arguments}");
    }
    // A file's parameters, and one of the command line over it.
    world.write("params.toml", "on-tie = \"never\"\n");
    world.ok(&format!("{rank} --params params.toml --param on-tie=drop"));
}
