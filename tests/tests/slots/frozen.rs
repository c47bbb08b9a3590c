//! Families that candle-transformers computes, against transformers.

use std::fs;
use std::path::PathBuf;

use creamery::generate::{SamplingConfig, StreamKey};
use creamery::slots::frozen::Frozen;
use creamery_tests::fixture;
use serde_json::json;

use crate::world::World;
use crate::{assert_close, floats, ids, json_file, with_tokenizer};

const FAMILIES: [&str; 6] = ["gemma", "gemma2", "phi", "phi3", "olmo2", "starcoder2"];

fn folder(name: &str) -> PathBuf {
    fixture(&format!("models/other/{name}"))
}

const KEY: StreamKey<'_> = StreamKey { seed: 1, purpose: "judge", round: 1, prompt: "p" };

#[test]
fn log_probabilities_and_greedy_tokens_equal_transformers() {
    for name in FAMILIES {
        let mut model = Frozen::open(&folder(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let expected = json_file(folder(name).join("expected.json"));
        let (prompt, response) = (ids(&expected["prompt_ids"]), ids(&expected["response_ids"]));
        let all = model.logps(&prompt, &[&response, &response[..1], &response]).unwrap();
        assert_close(name, &all[0], &floats(&expected["token_logps"]), 1e-4);
        assert_eq!(all[1][0], all[0][0], "{name}");
        assert_eq!(all[2], all[0], "{name}: what was scored before changes bits");

        let greedy = SamplingConfig { max_new_tokens: 16, greedy: true, ..SamplingConfig::default() };
        let samples = model.sample(&prompt, 1, KEY, &greedy, &[6]).unwrap();
        assert_eq!(samples[0].ids, ids(&expected["greedy_ids"]), "{name}");
        assert_eq!(model.context(), if name == "gemma2" { 128 } else { 256 }, "{name}: within the window");
    }
}

#[test]
fn samples_depend_on_their_key_alone() {
    let mut model = Frozen::open(&folder("phi3")).unwrap();
    let sampling = SamplingConfig { max_new_tokens: 12, ..SamplingConfig::default() };
    let prompt = [1, 40, 50, 60];
    let three = model.sample(&prompt, 3, KEY, &sampling, &[6]).unwrap();
    model.logps(&[1, 99], &[&[5, 7]]).unwrap();
    let one = model.sample(&prompt, 1, KEY, &sampling, &[6]).unwrap();
    assert_eq!(one[0], three[0]);
    assert_ne!(three[0].ids, three[1].ids);
    let other = model.sample(&prompt, 1, StreamKey { seed: 2, ..KEY }, &sampling, &[6]).unwrap();
    assert_ne!(other[0].ids, one[0].ids);
    // The log-probabilities that come with a sample are those of scoring it.
    assert_eq!(model.logps(&prompt, &[&three[1].ids]).unwrap()[0], three[1].logps);
}

/// What is refused: changes of config.json, and parts of the message.
#[test]
fn what_candle_would_compute_in_another_way_is_refused() {
    let cases = [
        ("phi3", json!({"model_type": "gpt_neox"}), &["gpt_neox", "llama, mistral", "gemma2", "endpoint"][..]),
        ("phi3", json!({"model_type": null}), &["model_type"]),
        ("phi3", json!({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}), &["longrope"]),
        ("phi3", json!({"rope_scaling": {"type": "su"}}), &["rope_scaling", "su"]),
        ("phi3", json!({"quantization_config": {}}), &["quantization_config"]),
        ("phi3", json!({"num_key_value_heads": 3}), &["4 attention heads", "3"]),
        ("phi3", json!({"num_attention_heads": 0}), &["num_attention_heads", "0"]),
        ("phi3", json!({"hidden_size": 1u64 << 40}), &["hidden_size"]),
        ("phi3", json!({"num_hidden_layers": 1u64 << 40}), &["num_hidden_layers"]),
        ("phi3", json!({"num_hidden_layers": 3}), &["model.layers.2", "missing"]),
        ("phi3", json!({"num_hidden_layers": 1}), &["model.layers.1", "no place"]),
        ("phi3", json!({"vocab_size": 300}), &["model.embed_tokens.weight", "263"]),
        ("phi3", json!({"hidden_act": "tricky"}), &["tricky"]),
        ("olmo2", json!({"clip_qkv": 8.0}), &["clip_qkv"]),
        ("olmo2", json!({"head_dim": 5}), &["head_dim"]),
        ("phi", json!({"qk_layernorm": true}), &["qk_layernorm"]),
        ("gemma", json!({"tie_word_embeddings": false}), &["tie_word_embeddings"]),
        ("gemma2", json!({"query_pre_attn_scalar": 24}), &["query_pre_attn_scalar", "24"]),
        ("starcoder2", json!({"architectures": ["Starcoder3ForCausalLM"]}), &["Starcoder3ForCausalLM"]),
    ];
    for (name, changes, parts) in cases {
        let dir = tempfile::tempdir().unwrap();
        with_tokenizer(&folder(name), dir.path());
        let mut config = json_file(dir.path().join("config.json"));
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let error = Frozen::open(dir.path()).err().unwrap_or_else(|| panic!("{changes}")).to_string();
        for part in parts {
            assert!(error.contains(part), "{changes}: no '{part}' in {error}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    with_tokenizer(&folder("phi3"), dir.path());
    let weights = fs::read(dir.path().join("model.safetensors")).unwrap();
    fs::write(dir.path().join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    let error = Frozen::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("truncated") && error.contains("model.safetensors"), "{error}");
}

#[test]
fn a_judge_asks_models_of_other_families_and_of_our_own() {
    let world = World::new();
    with_tokenizer(&folder("phi3"), &world.path("phi3"));
    with_tokenizer(&crate::quickstart_model(), &world.path("own"));
    let mut outputs = Vec::new();
    for slot in ["phi3", "own"] {
        world.write("slots.toml", &format!("[slots.grader]\nmodel = \"{slot}\"\n"));
        let ran = world.judge(&[], &[]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stderr.contains("25 queries"), "{}", ran.stderr);
        outputs.push(world.read("out.jsonl"));
        // With --slot instead of a file: the same.
        let folder = format!("grader={slot}");
        world.write("slots.toml", &format!("[slots.unused]\nmodel = \"{slot}\"\n"));
        let ran = world.judge(&["--slot", &folder, "--threads", "1"], &[]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(world.read("out.jsonl"), outputs[outputs.len() - 1]);
    }
    fs::remove_file(world.path("phi3/chat_template.jinja")).unwrap();
    fs::remove_file(world.path("out.jsonl")).unwrap();
    world.write("slots.toml", "[slots.grader]\nmodel = \"phi3\"\n");
    world.fails(3, &["chat template", "[slots.grader]"], &[]);
}
