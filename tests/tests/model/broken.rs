//! Checkpoints that cannot be used: damaged, hostile, or of a model that is not supported. Each is named.

use std::path::Path;

use candle_core::Device;
use creamery::model::Decoder;
use serde_json::{Value, json};

use crate::checkpoints::*;
use crate::*;

/// Writes the weights with a header of this text, and as much data as the file had.
fn edit_header(dir: &Path, edit: impl FnOnce(&str) -> String) {
    let path = dir.join(WEIGHTS);
    let bytes = std::fs::read(&path).unwrap();
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = edit(std::str::from_utf8(&bytes[8..8 + size]).unwrap());
    std::fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[8 + size..]].concat())
        .unwrap();
}

/// Changes the header's entry of a tensor.
fn edit_entry(dir: &Path, tensor: &str, edit: impl FnOnce(&mut Value)) {
    edit_header(dir, |header| {
        let mut header: Value = serde_json::from_str(header).unwrap();
        edit(&mut header[tensor]);
        header.to_string()
    });
}

#[test]
fn broken_checkpoints_are_named() {
    type Break = fn(&Path);
    let cases: &[(&str, Break, &[&str])] = &[
        (
            "missing tensor",
            |d| edit_weights(d, |t| t.retain(|(n, _, _)| n != NORM)),
            &[WEIGHTS, "'model.norm.weight' is missing"],
        ),
        (
            "wrong shape",
            |d| {
                edit_weights(d, |t| {
                    t.iter_mut().find(|(n, _, _)| n.contains("0.mlp.up")).unwrap().1["shape"] = json!([40, 64])
                })
            },
            &[WEIGHTS, "model.layers.0.mlp.up_proj.weight", "[40, 64]", "[80, 32]"],
        ),
        ("dtype I32", |d| edit_weights(d, |t| t[0].1["dtype"] = json!("I32")), &[WEIGHTS, "dtype I32", "quantized"]),
        ("dtype I64", |d| edit_entry(d, NORM, |e| e["dtype"] = json!("I64")), &[WEIGHTS, NORM, "dtype I64"]),
        ("dtype F8", |d| edit_entry(d, NORM, |e| e["dtype"] = json!("F8_E4M3")), &[WEIGHTS, NORM, "F8_E4M3"]),
        ("dtype BOOL", |d| edit_entry(d, NORM, |e| e["dtype"] = json!("BOOL")), &[WEIGHTS, NORM, "dtype BOOL"]),
        ("dtype of a number", |d| edit_entry(d, NORM, |e| e["dtype"] = json!(7)), &[WEIGHTS, "'dtype'", NORM]),
        (
            "no dtype",
            |d| edit_entry(d, NORM, |e| *e = json!({"shape": [32], "data_offsets": [0, 128]})),
            &[NORM, "no 'dtype'"],
        ),
        (
            "half the bytes",
            |d| edit_entry(d, NORM, |e| e["dtype"] = json!("F16")),
            &[NORM, "holds 128 bytes", "needs 64"],
        ),
        ("an entry that is a list", |d| edit_entry(d, NORM, |e| *e = json!([1])), &[WEIGHTS, "invalid type", NORM]),
        ("a negative dimension", |d| edit_entry(d, NORM, |e| e["shape"] = json!([-32])), &[WEIGHTS, "'shape'", NORM]),
        ("no dimension", |d| edit_entry(d, NORM, |e| e["shape"] = json!([0])), &[NORM, "has shape [0], expected [32]"]),
        (
            "a shape beyond all bounds",
            |d| edit_entry(d, NORM, |e| e["shape"] = json!([u64::MAX, u64::MAX])),
            &[WEIGHTS, NORM, "has shape"],
        ),
        (
            "nine dimensions",
            |d| edit_entry(d, NORM, |e| e["shape"] = json!([1, 1, 1, 1, 1, 1, 1, 1, 32])),
            &[NORM, "more than 8"],
        ),
        (
            "a NaN",
            |d| edit_weights(d, |t| t[1].2[..4].copy_from_slice(&f32::NAN.to_le_bytes())),
            &[WEIGHTS, "NaN", "at element 0", "expected finite numbers"],
        ),
        (
            "infinity in the last place",
            |d| {
                edit_weights(d, |t| {
                    let at = t[0].2.len() - 4;
                    t[0].2[at..].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
                })
            },
            &[WEIGHTS, "-inf", "expected finite numbers"],
        ),
        (
            "truncated",
            |d| {
                let bytes = std::fs::read(d.join(WEIGHTS)).unwrap();
                std::fs::write(d.join(WEIGHTS), &bytes[..bytes.len() / 2]).unwrap();
            },
            &[WEIGHTS, "truncated: tensor 'model."],
        ),
        (
            "cut in the header",
            |d| std::fs::write(d.join(WEIGHTS), [9, 0, 0, 0, 0, 0, 0, 0, b'{']).unwrap(),
            &["truncated"],
        ),
        ("empty", |d| std::fs::write(d.join(WEIGHTS), "").unwrap(), &[WEIGHTS, "truncated: 0 bytes"]),
        (
            "a folder",
            |d| {
                std::fs::remove_file(d.join(WEIGHTS)).unwrap();
                std::fs::create_dir(d.join(WEIGHTS)).unwrap();
            },
            &[WEIGHTS, "this is a folder"],
        ),
        (
            "a huge header length",
            |d| std::fs::write(d.join(WEIGHTS), u64::MAX.to_le_bytes()).unwrap(),
            &[WEIGHTS, "a header of 18446744073709551615 bytes"],
        ),
        ("no JSON", |d| edit_header(d, |h| h.replace('}', "")), &[WEIGHTS, "the header is not valid"]),
        ("no object", |d| edit_header(d, |h| format!("[{h}]")), &[WEIGHTS, "not a JSON object"]),
        ("text after the header", |d| edit_header(d, |h| format!("{h} x")), &[WEIGHTS, "the header is not valid"]),
        (
            "no UTF-8",
            |d| {
                let mut bytes = std::fs::read(d.join(WEIGHTS)).unwrap();
                bytes[12] = 0xff;
                std::fs::write(d.join(WEIGHTS), bytes).unwrap();
            },
            &[WEIGHTS, "not valid UTF-8 at byte 5"],
        ),
        (
            "deep nesting",
            |d| edit_header(d, |h| h.replacen('{', &format!("{{\"deep\":{},", "[".repeat(100_000)), 1)),
            &[WEIGHTS, "the header is not valid"],
        ),
        (
            "a tensor twice",
            |d| {
                edit_header(d, |h| {
                    h.replacen(
                        '{',
                        "{\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[32],\"data_offsets\":[0,128]},",
                        1,
                    )
                })
            },
            &[WEIGHTS, "'model.norm.weight' stands twice"],
        ),
        (
            "a field twice",
            |d| edit_header(d, |h| h.replacen("\"dtype\"", "\"dtype\":\"F16\",\"dtype\"", 1)),
            &[WEIGHTS, "two fields 'dtype'"],
        ),
        (
            "outside the file",
            |d| edit_entry(d, NORM, |e| e["data_offsets"][1] = json!(1u64 << 40)),
            &[WEIGHTS, "'model.norm.weight' ends at byte 1099511627776"],
        ),
        (
            "an offset near the largest number",
            |d| edit_entry(d, NORM, |e| e["data_offsets"] = json!([u64::MAX - 1, u64::MAX])),
            &[WEIGHTS, "'model.norm.weight' ends at byte 18446744073709551615"],
        ),
        (
            "the end before the start",
            |d| edit_entry(d, NORM, |e| e["data_offsets"] = json!([128, 0])),
            &[WEIGHTS, "'model.norm.weight' starts at byte 128, after its end 0"],
        ),
        ("one offset", |d| edit_entry(d, NORM, |e| e["data_offsets"] = json!([0])), &[NORM, "needs two data_offsets"]),
        (
            "overlapping tensors",
            |d| {
                edit_entry(d, NORM, |e| {
                    let [start, end] = [0, 1].map(|i| e["data_offsets"][i].as_u64().unwrap() - 128);
                    e["data_offsets"] = json!([start, end]);
                })
            },
            &[WEIGHTS, NORM, "overlap"],
        ),
        (
            "a hole",
            |d| {
                edit_header(d, |h| {
                    let mut header: Value = serde_json::from_str(h).unwrap();
                    header.as_object_mut().unwrap().remove("model.layers.0.input_layernorm.weight");
                    header.to_string()
                })
            },
            &[WEIGHTS, "a hole of 128 bytes before tensor 'model.layers."],
        ),
        (
            "bytes at the end",
            |d| {
                let bytes = std::fs::read(d.join(WEIGHTS)).unwrap();
                std::fs::write(d.join(WEIGHTS), [&bytes[..], b"more"].concat()).unwrap();
            },
            &[WEIGHTS, "4 bytes after the last tensor"],
        ),
        ("no weights", |d| std::fs::remove_file(d.join(WEIGHTS)).unwrap(), &["no weights"]),
        (
            "only a pickle",
            |d| std::fs::rename(d.join(WEIGHTS), d.join("pytorch_model.bin")).unwrap(),
            &["no weights", "pytorch_model.bin is not read"],
        ),
        (
            "unknown tensor",
            |d| {
                edit_weights(d, |t| {
                    let mut extra = t[0].clone();
                    extra.0 = "model.layers.0.self_attn.sinks".to_owned();
                    t.push(extra);
                });
            },
            &["model.layers.0.self_attn.sinks", "no place"],
        ),
        (
            "tied, with another head",
            |d| {
                edit_weights(d, |t| {
                    let mut head = t.iter().find(|(n, _, _)| n.contains("embed")).unwrap().clone();
                    head.0 = "lm_head.weight".to_owned();
                    head.2[5] ^= 1;
                    t.push(head);
                });
            },
            &[WEIGHTS, "'lm_head.weight' differs from 'model.embed_tokens.weight'", "\"tie_word_embeddings\": false"],
        ),
        (
            "untied, without a head",
            |d| edit_config(d, |c| c["tie_word_embeddings"] = json!(false)),
            &[WEIGHTS, "'lm_head.weight' is missing", "\"tie_word_embeddings\": true"],
        ),
        (
            "config is not JSON",
            |d| std::fs::write(d.join("config.json"), "{\n\"a\":").unwrap(),
            &["config.json:2", "not valid JSON"],
        ),
        ("no config", |d| std::fs::remove_file(d.join("config.json")).unwrap(), &["config.json", "cannot read"]),
        ("config is a list", |d| std::fs::write(d.join("config.json"), "[]").unwrap(), &["config.json", "JSON object"]),
        (
            "a key twice",
            |d| std::fs::write(d.join("config.json"), "{\"a\": 1, \"a\": 2}").unwrap(),
            &["config.json:1", "'a' is given twice"],
        ),
        (
            "an end outside the vocabulary",
            |d| {
                std::fs::remove_file(d.join("generation_config.json")).unwrap();
                edit_config(d, |c| c["eos_token_id"] = json!([6, 320]));
            },
            &["/config.json", "names the token 320", "320 entries"],
        ),
        (
            "a generation configuration that is not JSON",
            |d| std::fs::write(d.join("generation_config.json"), "{").unwrap(),
            &["generation_config.json:1", "not valid JSON"],
        ),
        (
            "a generation configuration that is no object",
            |d| std::fs::write(d.join("generation_config.json"), "3").unwrap(),
            &["generation_config.json", "JSON object"],
        ),
        (
            "a generation configuration with a wrong end",
            |d| std::fs::write(d.join("generation_config.json"), "{\"eos_token_id\": \"</s>\"}").unwrap(),
            &["generation_config.json", "'eos_token_id' is \"</s>\""],
        ),
        (
            "a generation configuration of another model",
            |d| std::fs::write(d.join("generation_config.json"), "{\"eos_token_id\": 50256}").unwrap(),
            &["generation_config.json", "names the token 50256"],
        ),
    ];
    for (what, make, expected) in cases {
        let dir = copy_of("llama_tied");
        make(dir.path());
        let error = load_error(dir.path());
        assert!(expected.iter().all(|e| error.contains(e)), "{what}: {error}");
        assert!(error.len() < 1000, "{what}: {error}");
    }
}

#[test]
fn broken_indexes_are_named() {
    const EMBEDDING: &str = "model.embed_tokens.weight";
    type Break = fn(&Path, &mut Value);
    let cases: &[(&str, Break, &[&str])] = &[
        ("a list", |_, i| *i = json!([]), &["index.json", "'weight_map' is missing or not an object"]),
        ("a map that is a list", |_, i| i["weight_map"] = json!([]), &["index.json", "not an object"]),
        ("an empty map", |_, i| i["weight_map"] = json!({}), &["index.json", "names no tensor"]),
        (
            "a path outside",
            |_, i| i["weight_map"][NORM] = json!("../a.safetensors"),
            &["index.json", NORM, "beside the index"],
        ),
        (
            "an absolute path",
            |_, i| i["weight_map"][NORM] = json!("/etc/a.safetensors"),
            &["index.json", NORM, "beside"],
        ),
        (
            "another kind of file",
            |_, i| i["weight_map"][NORM] = json!("config.json"),
            &["index.json", NORM, ".safetensors"],
        ),
        ("no name", |_, i| i["weight_map"][NORM] = json!(null), &["index.json", NORM, "null"]),
        ("a missing shard", |_, i| i["weight_map"][NORM] = json!("c.safetensors"), &["index.json", "'c.safetensors'"]),
        (
            "the wrong shard",
            |_, i| i["weight_map"][EMBEDDING] = json!("b.safetensors"),
            &["b.safetensors", EMBEDDING, "says it is here"],
        ),
        (
            "a tensor that no shard has",
            |_, i| i["weight_map"]["model.layers.9.x"] = json!("a.safetensors"),
            &["a.safetensors", "'model.layers.9.x' is missing"],
        ),
        (
            "a tensor that is not listed",
            |_, i| drop(i["weight_map"].as_object_mut().unwrap().remove(EMBEDDING)),
            &["a.safetensors", EMBEDDING, "not listed"],
        ),
        (
            "a tensor in two shards",
            |d, _| {
                let mut all = read_weights(&d.join("b.safetensors"));
                all.extend(read_weights(&d.join("a.safetensors")).into_iter().take(1));
                write_weights(&d.join("b.safetensors"), &all);
            },
            &["b.safetensors: tensor 'model.", "is in a.safetensors as well"],
        ),
        (
            "a truncated shard",
            |d, _| std::fs::write(d.join("b.safetensors"), [1, 2]).unwrap(),
            &["b.safetensors", "truncated"],
        ),
        (
            "a shard that is a folder",
            |d, _| {
                std::fs::remove_file(d.join("b.safetensors")).unwrap();
                std::fs::create_dir(d.join("b.safetensors")).unwrap();
            },
            &["b.safetensors", "folder"],
        ),
    ];
    for (what, make, expected) in cases {
        let (dir, mut index) = sharded();
        let path = dir.path().join("model.safetensors.index.json");
        std::fs::write(&path, index.to_string()).unwrap();
        assert_eq!(bits(&Decoder::load(dir.path(), &Device::Cpu).unwrap()), bits(&load("llama_tied")), "{what}");
        make(dir.path(), &mut index);
        std::fs::write(&path, index.to_string()).unwrap();
        let error = load_error(dir.path());
        assert!(expected.iter().all(|e| error.contains(e)), "{what}: {error}");
    }
    let (dir, index) = sharded();
    let text = index.to_string().replacen('{', "{\"weight_map\": {}, ", 1);
    std::fs::write(dir.path().join("model.safetensors.index.json"), text).unwrap();
    assert!(load_error(dir.path()).contains("'weight_map' is given twice"));
    // A file that the index does not name is nobody's.
    std::fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    std::fs::write(dir.path().join("model-00001-of-00009.safetensors"), "left over").unwrap();
    Decoder::load(dir.path(), &Device::Cpu).unwrap();
}

#[test]
fn unsupported_configurations_are_named() {
    let cases = [
        ("llama_tied", json!({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}), "GPT2LMHeadModel"),
        ("llama_tied", json!({"architectures": ["LlamaForSequenceClassification"]}), "LlamaForSequenceClassification"),
        ("llama_tied", json!({"hidden_act": "gelu"}), "unsupported hidden_act \"gelu\""),
        ("llama_tied", json!({"rope_parameters": {"rope_type": "longrope"}}), "unsupported rope type 'longrope'"),
        ("llama_tied", json!({"rope_parameters": {"rope_type": "dynamic"}}), "unsupported rope type 'dynamic'"),
        ("llama_tied", json!({"rope_parameters": {"rope_type": 3}}), "unsupported rope type that is not a string"),
        ("llama_tied", json!({"rope_parameters": {"rope_theta": 0}}), "rope_theta is 0"),
        (
            "llama_tied",
            json!({"rope_parameters": {"rope_theta": 1, "rope_type": "yarn", "factor": 2}}),
            "no frequencies",
        ),
        ("llama_tied", json!({"rope_parameters": {"partial_rotary_factor": 0.5}}), "partial_rotary_factor 0.5"),
        ("llama_tied", json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor 0.5"),
        ("llama_tied", json!({"rope_scaling": {"type": "linear", "factor": 2}}), "both given"),
        (
            "llama_tied",
            json!({"original_max_position_embeddings": 8, "rope_parameters":
                {"rope_type": "yarn", "factor": 2, "original_max_position_embeddings": 16}}),
            "'original_max_position_embeddings' is 8",
        ),
        ("llama_tied", json!({"rope_parameters": {"full_attention": {}}}), "for each layer type"),
        ("llama_tied", json!({"rope_parameters": {"rope_type": "yarn"}}), "rope_parameters.factor' is missing"),
        ("llama_tied", json!({"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]}), "MixtralForCausalLM"),
        ("llama_tied", json!({"num_local_experts": 8}), "unsupported field 'num_local_experts' (8)"),
        ("llama_tied", json!({"attn_logit_softcapping": 50.0}), "unsupported field 'attn_logit_softcapping'"),
        ("llama_tied", json!({"final_logit_softcapping": 30.0}), "unsupported field 'final_logit_softcapping'"),
        ("llama_tied", json!({"attention_sinks": 4}), "unsupported field 'attention_sinks'"),
        ("llama_tied", json!({"no_rope_layers": [1, 0]}), "unsupported field 'no_rope_layers'"),
        ("mistral_window", json!({"attention_bias": true}), "unsupported field 'attention_bias'"),
        ("mistral_window", json!({"layer_types": ["full_attention", "sliding_attention"]}), "has a sliding window"),
        ("mistral_window", json!({"sliding_window": 0}), "field 'sliding_window' is 0"),
        ("qwen2_bias", json!({"mlp_bias": true}), "unsupported field 'mlp_bias'"),
        ("llama_tied", json!({"tie_word_embeddings": 1}), "'tie_word_embeddings' is 1, expected true or false"),
        ("llama_tied", json!({"rms_norm_eps": -1}), "'rms_norm_eps' is -1"),
        ("llama_tied", json!({"head_dim": 1 << 30}), "field 'head_dim' is 1073741824, expected at most"),
        ("llama_tied", json!({"head_dim": 7}), "head_dim 7 is odd"),
        ("llama_tied", json!({"vocab_size": 4_000_000_000u64}), "field 'vocab_size' is 4000000000"),
        ("llama_tied", json!({"rope_parameters": {"rope_type": "linear"}}), "rope_parameters.factor"),
        ("llama_tied", json!({"num_attention_heads": 3}), "not a multiple"),
        ("llama_tied", json!({"hidden_size": -4}), "field 'hidden_size' is -4"),
        ("llama_tied", json!({"vocab_size": null}), "field 'vocab_size' is missing"),
        ("llama_tied", json!({"num_hidden_layers": 1_000_000_000}), "field 'num_hidden_layers' is 1000000000"),
        ("llama_tied", json!({"quantization_config": {"bits": 4}}), "quantization_config"),
        ("qwen3_qknorm", json!({"layer_types": ["full_attention", "linear_attention"]}), "linear_attention"),
        ("qwen3_qknorm", json!({"layer_types": ["full_attention"]}), "each of the 2 layers"),
    ];
    for (model, change, expected) in cases {
        let dir = copy_of(model);
        let path = dir.path().join("config.json");
        let mut config = json_file(&path);
        for (key, value) in change.as_object().unwrap() {
            config[key] = value.clone();
        }
        std::fs::write(&path, config.to_string()).unwrap();
        let error = load_error(dir.path());
        assert!(error.contains(expected) && error.contains("config.json"), "{change}: {error}");
    }
}
