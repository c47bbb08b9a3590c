//! `creamery train` through the binary: what it reads, what it takes as reference, and whose the folder is.

use std::fs;
#[cfg(unix)]
use std::io::Write;
use std::process::Stdio;

use creamery_tests::run;
use serde_json::{Value, json};

use crate::command::{World, demonstration, wait};

/// The first step's margin: 0 where policy and reference are one.
fn first_margin(world: &World, out: &str) -> f64 {
    let metrics = fs::read_to_string(world.path(out).join("metrics.jsonl")).unwrap();
    let first: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    first["rewards/margins"].as_f64().unwrap().abs()
}

#[test]
fn an_adapter_is_a_reference() {
    let world = World::new();
    world.ok("dpo", "pairs.jsonl", "first", &["--lora-r", "2", "--set", "epochs=20"]);
    let first = world.path("first").to_str().unwrap().to_owned();
    world.ok("dpo", "pairs.jsonl", "against", &["--reference", &first]);
    world.ok("dpo", "pairs.jsonl", "same", &["--adapter", &first, "--reference", &first]);
    let (against, same) = (first_margin(&world, "against"), first_margin(&world, "same"));
    assert!(against > 1e-3 && same < against / 100.0, "{against} and {same}");

    // A base that is no folder here: it is taken to be the model. Where it lies is no part of what the result is.
    let mut settings = world.json("first/adapter_config.json");
    settings["base_model_name_or_path"] = json!("someone/a-model");
    world.write("first/adapter_config.json", &settings.to_string());
    world.ok("dpo", "pairs.jsonl", "named", &["--reference", &first]);
    let weights = |out: &str| fs::read(world.path(out).join("model.safetensors")).unwrap();
    assert!(weights("against") == weights("named"));
    let again = world.ok("dpo", "pairs.jsonl", "against", &["--reference", &first]);
    assert!(again.contains("was there already"), "{again}");
}

#[test]
fn a_response_of_one_token_is_learnt_where_padding_is_the_end_token() {
    let world = World::new();
    let mut config = world.json("model/config.json");
    config["pad_token_id"] = json!(6);
    world.write("model/config.json", &config.to_string());
    world.write("end.jsonl", "{\"prompt_ids\":[7],\"completion_ids\":[6]}\n");
    let said = world.ok("sft", "end.jsonl", "out", &["--set", "warmup-ratio=0"]);
    assert!(!said.contains("will not learn to stop"), "{said}");
}

#[test]
fn an_end_token_that_only_the_tokenizer_names_counts() {
    let world = World::new();
    for file in ["config.json", "generation_config.json"] {
        let mut config = world.json(&format!("model/{file}"));
        config.as_object_mut().unwrap().remove("eos_token_id");
        world.write(&format!("model/{file}"), &config.to_string());
    }
    let text = |name: &str, row: Value| world.write(name, &format!("{row}\n"));
    let role = |role: &str, content: &str| json!([{ "role": role, "content": content }]);
    let ended = json!({ "prompt": role("user", "a"), "completion": role("assistant", "b") });
    text("ended.jsonl", ended);
    let said = world.ok("sft", "ended.jsonl", "ended", &["--set", "warmup-ratio=0"]);
    assert!(!said.contains("will not learn to stop"), "{said}");
    // The same template without its end tokens.
    let template = fs::read_to_string(world.path("model/chat_template.jinja")).unwrap();
    world.write("model/chat_template.jinja", &template.replace("<|end|>", ""));
    let said = world.ok("sft", "ended.jsonl", "open", &["--set", "warmup-ratio=0"]);
    assert!(said.contains("will not learn to stop"), "{said}");
}

/// A pipe can be read once: what is known of its rows is what was read.
#[cfg(unix)]
#[test]
fn rows_from_a_pipe_are_told_apart() {
    let world = World::new();
    let piped = |rows: &str, out: &str| {
        let mut command = world.command("sft", "/dev/stdin", out, &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(rows.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let rows = fs::read_to_string(world.path("sft.jsonl")).unwrap();
    let (code, said) = piped(&rows, "out");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = piped(&rows, "out");
    assert!(code == Some(0) && said.contains("was there already"), "{said}");
    let (code, said) = piped(&format!("{rows}{}\n", demonstration(77, 4)), "out");
    assert!(code == Some(2) && said.contains("result of another training"), "{said}");
    // The same bytes in a file are the same rows.
    let said = world.ok("sft", "sft.jsonl", "out", &[]);
    assert!(said.contains("was there already"), "{said}");
}

#[test]
fn a_training_that_goes_on_is_left_alone_and_a_failed_resume_removes_nothing() {
    let world = World::new();
    let long = ["--set", "epochs=10000", "--save-steps", "0"];
    let mut command = world.command("dpo", "pairs.jsonl", "out", &long);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let metrics = world.path("out.partial/metrics.jsonl");
    let began = wait(&mut child, || fs::metadata(&metrics).is_ok_and(|m| m.len() > 0));
    let others = [&long[..], &[&long[..], &["--resume"]].concat()].map(|arguments| {
        let ran = world.train("dpo", "pairs.jsonl", "out", arguments);
        (ran.code, ran.stderr)
    });
    let alive = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(began && alive, "the training did not go on");
    for (code, said) in others {
        assert!(code == Some(6) && said.contains("another program is training here"), "{said}");
        assert!(!said.contains("unfinished") && !said.contains("remove"), "{said}");
    }

    let reference = fs::read(world.path("out.partial/reference.json")).unwrap();
    let steps = fs::read(&metrics).unwrap();
    let refused = world.train("dpo", "pairs.jsonl", "out", &long);
    assert!(refused.code == Some(2) && refused.stderr.contains("an unfinished training"), "{}", refused.stderr);
    let failed = world.train("dpo", "pairs.jsonl", "out", &["--resume", "--set", "max-length=4"]);
    assert!(failed.code == Some(3) && failed.stderr.contains("more than 4 tokens"), "{}", failed.stderr);
    assert!(!failed.stderr.contains("the same command goes on"), "{}", failed.stderr);
    assert!(fs::read(world.path("out.partial/reference.json")).unwrap() == reference);
    assert!(fs::read(&metrics).unwrap() == steps);
    world.ok("dpo", "pairs.jsonl", "out", &["--resume"]);
    assert_eq!(world.last("out")["step"], 3);
}

#[test]
fn token_ids_and_text_of_one_response_must_agree() {
    let world = World::new();
    let tokenizer = creamery::data::Tokenizer::load(&world.path("model")).unwrap();
    let ids = |text: &str| [tokenizer.encode(text).unwrap(), vec![6]].concat();
    let said = |text: &str| json!([{ "role": "assistant", "content": text }]);
    let row = |chosen: &str, chosen_ids: &str, weight: f64| {
        let prompt = json!([{ "role": "user", "content": "What is 12 plus 30?" }]);
        json!({
            "prompt": prompt, "prompt_ids": ids("What is 12 plus 30?"), "weight": weight,
            "chosen": said(chosen), "chosen_ids": ids(chosen_ids), "rejected": said("no"), "rejected_ids": ids("no"),
        })
    };
    let cases = [
        ("The answer is 42.", "The answer is 42.", 1.0, None),
        ("The answer is 43.", "The answer is 42.", 1.0, Some("rows.jsonl:1: 'chosen_ids' say \"The answer is 42.\"")),
        ("The answer is 42.", "The answer is 42.", 0.0, Some("nothing to train on: every pair has weight 0")),
    ];
    for (i, (text, tokens, weight, wrong)) in cases.into_iter().enumerate() {
        world.write("rows.jsonl", &format!("{}\n", row(text, tokens, weight)));
        let ran = run(&mut world.command("dpo", "rows.jsonl", &format!("out-{i}"), &["--set", "warmup-ratio=0"]));
        match wrong {
            None => assert_eq!(ran.code, Some(0), "{}", ran.stderr),
            Some(message) => {
                assert!(matches!(ran.code, Some(3 | 5)) && ran.stderr.contains(message), "{}", ran.stderr);
                assert!(!world.path(&format!("out-{i}")).exists());
            }
        }
    }
}
