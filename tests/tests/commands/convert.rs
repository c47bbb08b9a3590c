//! `creamery convert`

use std::fs;
use std::path::{Path, PathBuf};

use creamery_tests::{creamery, fixture, run};
use serde_json::json;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A model with all that may stand beside it.
fn model(folder: &Path) -> PathBuf {
    let folder = folder.join("model");
    fs::create_dir(&folder).unwrap();
    for (from, files) in [
        ("models/llama_tied", ["config.json", "generation_config.json", "model.safetensors"]),
        ("tokenizer", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]),
    ] {
        for file in files {
            fs::copy(fixture(from).join(file), folder.join(file)).unwrap();
        }
    }
    for file in ["special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model"] {
        fs::write(folder.join(file), "{}").unwrap();
    }
    fs::create_dir(folder.join("additional_chat_templates")).unwrap();
    fs::write(folder.join("additional_chat_templates/tools.jinja"), "{{ messages }}").unwrap();
    folder
}

#[test]
fn a_converted_model_is_whole() {
    let world = tempfile::tempdir().unwrap();
    let (model, out) = (model(world.path()), world.path().join("new/model"));
    fs::write(model.join("README.md"), "not a part of the model").unwrap();
    let ran = run(&mut creamery!("convert", "--model", &model, "--out", &out));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut expected = names(&model);
    expected.retain(|name| name != "README.md");
    assert_eq!(names(&out), expected);
    for name in expected.iter().filter(|name| name.contains('.') && *name != "model.safetensors") {
        let [a, b] = [&model, &out].map(|folder| fs::read(folder.join(name)).unwrap());
        if name.ends_with("config.json") && name != "tokenizer_config.json" {
            let [a, b] = [a, b].map(|text| serde_json::from_slice::<serde_json::Value>(&text).unwrap());
            assert_eq!(a, b, "{name}");
        } else {
            assert!(a == b, "{name}");
        }
    }
    assert_eq!(names(&out.join("additional_chat_templates")), ["tools.jinja"]);
    assert_eq!(names(&world.path().join("new")), ["model"], "nothing half-made is left");
    // Writing again what was written changes nothing.
    let again = world.path().join("again");
    let ran = run(&mut creamery!("convert", "--model", &out, "--out", &again, "--max-shard-size", "5GB"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(fs::read(out.join("model.safetensors")).unwrap(), fs::read(again.join("model.safetensors")).unwrap());
}

#[test]
fn what_cannot_be_converted_is_named_and_leaves_nothing() {
    let world = tempfile::tempdir().unwrap();
    let model = model(world.path());
    let full = world.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("file"), "").unwrap();
    let file = world.path().join("file");
    fs::write(&file, "").unwrap();
    let out = world.path().join("out");
    let before = names(world.path());
    type Change = fn(&Path);
    let nothing: Change = |_| {};
    for (change, out, more, code, expected) in [
        (nothing, &full, &["--dtype", "f32"][..], 2, "not empty"),
        (nothing, &file, &[], 6, "file"),
        (nothing, &out, &["--dtype", "f8"], 2, "expected f32, bf16 or f16"),
        (nothing, &out, &["--max-shard-size", "5GiB"], 2, "expected a size such as 5GB"),
        (
            |m| {
                let config = fs::read_to_string(m.join("config.json")).unwrap();
                fs::write(m.join("config.json"), config.replace("320", "300")).unwrap();
            },
            &out,
            &[],
            3,
            "expected [300, 32]",
        ),
        (
            |m| {
                let tokenizer = fs::read_to_string(m.join("tokenizer.json")).unwrap();
                let mut tokenizer: serde_json::Value = serde_json::from_str(&tokenizer).unwrap();
                let mut token = tokenizer["added_tokens"][0].clone();
                (token["id"], token["content"]) = (json!(320), json!("<more>"));
                tokenizer["added_tokens"].as_array_mut().unwrap().push(token);
                fs::write(m.join("tokenizer.json"), tokenizer.to_string()).unwrap();
            },
            &out,
            &[],
            3,
            "the token '<more>' has id 320, but the model's vocabulary has 320 entries",
        ),
        (|m| fs::remove_file(m.join("config.json")).unwrap(), &out, &[], 3, "config.json"),
    ] {
        let saved: Vec<_> = ["config.json", "tokenizer.json"].map(|f| (f, fs::read(model.join(f)).unwrap())).into();
        change(&model);
        let ran = run(creamery!("convert", "--model", &model, "--out", out).args(more));
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
        assert_eq!(names(world.path()), before);
        for (name, bytes) in saved {
            fs::write(model.join(name), bytes).unwrap();
        }
    }
}
