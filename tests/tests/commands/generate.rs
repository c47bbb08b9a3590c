//! `creamery generate`

use std::fs;
use std::path::{Path, PathBuf};

use creamery_tests::{Ran, creamery, run};
use serde_json::{Value, json};

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/model")
}

const PROMPTS: [&str; 5] = ["add 23 4", "reverse kij", "sort 60511", "count abab a", "largest 5 71 9"];

fn lines(prompts: &[&str]) -> String {
    prompts.iter().map(|p| json!({"id": p, "prompt": p}).to_string() + "\n").collect()
}

fn generate(model: &Path, lines: &str, more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let prompts = folder.path().join("prompts.jsonl");
    fs::write(&prompts, lines).expect("the prompts");
    let mut command = creamery!("generate", "--model", model, "--prompts", &prompts);
    run(command.args(more))
}

fn groups(ran: &Ran) -> Vec<Value> {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON row")).collect()
}

const DRAWN: [&str; 10] = ["--temperature", "1.1", "--top-p", "0.95", "--top-k", "0", "-n", "4", "--seed", "7"];

#[test]
fn log_probabilities_are_those_that_scoring_gives_bit_for_bit() {
    let found = groups(&generate(&quickstart(), &lines(&PROMPTS), &DRAWN));
    assert_eq!(found.len(), PROMPTS.len());
    let mut rows = String::new();
    for (group, prompt) in found.iter().zip(PROMPTS) {
        assert_eq!(group["id"], prompt);
        assert_eq!(group["prompt"], json!([{"role": "user", "content": prompt}]));
        assert_eq!(group["responses"].as_array().expect("responses").len(), 4);
        let prompt_ids = group["prompt_ids"].as_array().expect("ids").clone();
        for response in group["responses"].as_array().expect("responses") {
            let ids = [prompt_ids.clone(), response["ids"].as_array().expect("ids").clone()].concat();
            rows += &(json!({"input_ids": ids, "response_start": prompt_ids.len()}).to_string() + "\n");
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rows.jsonl");
    fs::write(&file, rows).expect("the rows");
    let scored = run(&mut creamery!("logps", "--model", quickstart(), "--rows", &file));
    assert_eq!(scored.code, Some(0), "{}", scored.stderr);
    let scored: Vec<Value> = scored.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let responses: Vec<&Value> = found.iter().flat_map(|g| g["responses"].as_array().expect("responses")).collect();
    assert_eq!(scored.len(), responses.len());
    for (scored, response) in scored.iter().zip(&responses) {
        assert_eq!(scored["token_logps"], response["logps"]);
        assert_eq!(scored["sum_logp"], response["logp"]);
    }
    let texts: std::collections::BTreeSet<_> = responses.iter().map(|r| r["text"].to_string()).collect();
    assert!(texts.len() > PROMPTS.len(), "nothing was drawn: {texts:?}");
}

#[test]
fn neither_threads_nor_other_prompts_change_a_sample() {
    let whole = groups(&generate(&quickstart(), &lines(&PROMPTS), &DRAWN));
    let one = groups(&generate(&quickstart(), &lines(&PROMPTS), &[&DRAWN[..], &["--threads", "1"]].concat()));
    assert_eq!(whole, one);
    let alone = groups(&generate(&quickstart(), &lines(&PROMPTS[2..3]), &DRAWN));
    assert_eq!(alone[0], whole[2]);
    let mut turned = PROMPTS;
    turned.reverse();
    let mut turned = groups(&generate(&quickstart(), &lines(&turned), &DRAWN));
    turned.reverse();
    assert_eq!(turned, whole);
    let other = groups(&generate(&quickstart(), &lines(&PROMPTS), &[&DRAWN[..9], &["8"]].concat()));
    assert_ne!(other, whole);
}

#[test]
fn the_model_says_how_it_is_sampled_and_the_command_line_changes_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(quickstart()).expect("the model") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("a copy");
    }
    let set = |config: Value| {
        fs::write(folder.path().join("generation_config.json"), config.to_string()).expect("the configuration");
    };
    for (config, more, words) in [
        (json!({"eos_token_id": 6}), vec![], "greedy, at most 256 new tokens"),
        (
            json!({"eos_token_id": 6, "do_sample": true, "temperature": 0.5, "max_new_tokens": 9}),
            vec![],
            "temperature 0.5, top-p 1, top-k 50, at most 9 new tokens",
        ),
        (
            json!({"eos_token_id": 6, "do_sample": true, "top_p": 0.9, "top_k": 3}),
            vec!["--greedy"],
            "greedy, at most 256",
        ),
        (
            json!({"eos_token_id": 6, "top_p": 0.9, "min_p": 0.1}),
            vec!["--temperature", "2", "--max-new-tokens", "5"],
            "temperature 2, top-p 0.9, top-k 50, min-p 0.1, at most 5",
        ),
        (
            json!({"eos_token_id": 6, "repetition_penalty": 1.5}),
            vec!["--top-k", "0", "--top-p", "1"],
            "temperature 1, top-p 1, top-k 0, repetition penalty 1.5",
        ),
        (
            json!({"eos_token_id": 6, "num_beams": 4}),
            vec![],
            "warning: generation_config.json asks for what is not supported and is left out: num_beams = 4",
        ),
    ] {
        set(config.clone());
        let ran = generate(folder.path(), &lines(&PROMPTS[..1]), &more);
        assert!(ran.stderr.contains(words), "{config} {more:?}: {}", ran.stderr);
        groups(&ran);
    }
    set(json!({"eos_token_id": 6, "top_k": "many"}));
    let ran = generate(folder.path(), &lines(&PROMPTS[..1]), &[]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("generation_config.json") && ran.stderr.contains("'top_k'"), "{}", ran.stderr);
}

#[test]
fn plain_text_meets_no_template() {
    let ran = generate(&quickstart(), &lines(&["<s>add 1 2"]), &["--raw", "--greedy", "--max-new-tokens", "3"]);
    let group = &groups(&ran)[0];
    let ids = group["prompt_ids"].as_array().expect("ids");
    assert_eq!(ids.iter().filter(|id| **id == json!(1)).count(), 1, "{ids:?}");
    assert!(ids.len() > 5, "{ids:?}");
    let response = &group["responses"][0];
    assert!(response["ids"].as_array().expect("ids").len() <= 3);
    let row = r#"{"prompt":[{"role":"user","content":"x"}]}"#;
    let ran = generate(&quickstart(), row, &["--raw"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("prompts.jsonl:1") && ran.stderr.contains("is a string"), "{}", ran.stderr);
}

#[test]
fn a_length_that_ends_a_response_is_told() {
    let ran = generate(&quickstart(), &lines(&PROMPTS), &["--greedy", "--max-new-tokens", "1"]);
    for group in groups(&ran) {
        let response = &group["responses"][0];
        assert_eq!((response["finish"].as_str(), response["ids"].as_array().map(Vec::len)), (Some("length"), Some(1)));
    }
    let ran = generate(&quickstart(), &lines(&PROMPTS[..1]), &["--greedy"]);
    let response = &groups(&ran)[0]["responses"][0];
    assert_eq!(response["finish"], "stop");
    assert_eq!(response["ids"].as_array().expect("ids").last(), Some(&json!(6)));
}

#[test]
fn what_cannot_be_is_an_error_and_leaves_no_file() {
    let good = r#"{"prompt":"add 1 2"}"#;
    let long = json!({"prompt": "x".repeat(5000)}).to_string();
    for (row, more, code, message) in [
        (r#"{"prompt":[{"role":"wizard","content":"x"}]}"#, vec!["--greedy"], 3, "unknown role wizard"),
        (r#"{"prompt":""}"#, vec!["--greedy"], 3, "the prompt is empty"),
        (long.as_str(), vec!["--greedy"], 3, "the model's context is"),
        (good, vec!["--greedy", "-n", "2"], 2, "are all the same"),
        (good, vec!["--greedy", "--temperature", "1"], 2, "cannot be used with"),
        (good, vec!["--top-p", "1.5"], 2, "top_p is 1.5"),
        (good, vec!["--raw", "--template", "x"], 2, "cannot be used with"),
        (good, vec!["-n", "0"], 2, "0 is not in"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = folder.path().join("groups.jsonl");
        let more = [more, vec!["--out", out.to_str().expect("a path")]].concat();
        let ran = generate(&quickstart(), &format!("{good}\n{row}\n"), &more);
        assert_eq!(ran.code, Some(code), "{row} {more:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{row} {more:?}: {}", ran.stderr);
        assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 0, "a file stays after {row}");
        if code == 3 {
            assert!(ran.stderr.contains("prompts.jsonl:2"), "{row}: {}", ran.stderr);
        }
    }
}
