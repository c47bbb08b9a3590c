//! Checkpoint folders: saving, loading, shards, and every way in which one can be broken.

use std::path::Path;

use candle_core::Device;
use creamery::model::Decoder;
use serde_json::{Value, json};

use crate::*;

const WEIGHTS: &str = "model.safetensors";

#[test]
fn saved_models_load_with_the_same_bits() {
    for name in MODELS {
        let (model, dir) = (load(name), tempfile::tempdir().unwrap());
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        model.save(&a).unwrap();
        model.copy().unwrap().save(&b).unwrap();
        let loaded = Decoder::load(&a, &Device::Cpu).unwrap();
        assert_eq!(bits(&model), bits(&loaded), "{name}");
        assert_eq!(model.logits(&[1, 20, 30]).unwrap(), loaded.logits(&[1, 20, 30]).unwrap());
        for file in [WEIGHTS, "config.json", "generation_config.json"] {
            assert_eq!(std::fs::read(a.join(file)).unwrap(), std::fs::read(b.join(file)).unwrap(), "{name}/{file}");
        }
        assert_eq!(json_file(a.join("config.json")), json_file(model_dir(name).join("config.json")));
        candle_core::safetensors::load(a.join(WEIGHTS), &Device::Cpu).unwrap();
    }
}

/// A copy of a fixture model in a new folder.
fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in [WEIGHTS, "config.json", "generation_config.json"] {
        std::fs::copy(model_dir(name).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn load_error(dir: &Path) -> String {
    Decoder::load(dir, &Device::Cpu).err().expect("loading must fail").to_string()
}

/// Name, dtype and shape, bytes.
pub type Entry = (String, Value, Vec<u8>);

pub fn read_weights(path: &Path) -> Vec<Entry> {
    let bytes = std::fs::read(path).unwrap();
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    let tensors = header.as_object().unwrap().iter().filter(|(n, _)| *n != "__metadata__");
    tensors
        .map(|(name, v)| {
            let at = |i: usize| 8 + size + v["data_offsets"][i].as_u64().unwrap() as usize;
            (name.clone(), json!({"dtype": v["dtype"], "shape": v["shape"]}), bytes[at(0)..at(1)].to_vec())
        })
        .collect()
}

pub fn write_weights(path: &Path, tensors: &[Entry]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, entry, bytes) in tensors {
        let mut entry = entry.clone();
        entry["data_offsets"] = json!([data.len(), data.len() + bytes.len()]);
        header.insert(name.clone(), entry);
        data.extend(bytes);
    }
    let header = serde_json::to_vec(&header).unwrap();
    std::fs::write(path, [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()).unwrap();
}

fn edit_weights(dir: &Path, edit: impl FnOnce(&mut Vec<Entry>)) {
    let path = dir.join(WEIGHTS);
    let mut tensors = read_weights(&path);
    edit(&mut tensors);
    write_weights(&path, &tensors);
}

#[test]
fn shards_load_and_a_missing_one_is_named() {
    let dir = copy_of("llama_tied");
    let all = read_weights(&dir.path().join(WEIGHTS));
    std::fs::remove_file(dir.path().join(WEIGHTS)).unwrap();
    let mut map = serde_json::Map::new();
    for (i, part) in all.chunks(7).enumerate() {
        let name = format!("model-{i}.safetensors");
        write_weights(&dir.path().join(&name), part);
        map.extend(part.iter().map(|(tensor, _, _)| (tensor.clone(), json!(name))));
    }
    let index = dir.path().join("model.safetensors.index.json");
    let write = |map: &serde_json::Map<String, Value>| {
        std::fs::write(&index, json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    };
    write(&map);
    assert_eq!(bits(&Decoder::load(dir.path(), &Device::Cpu).unwrap()), bits(&load("llama_tied")));

    let moved = map.insert("model.norm.weight".to_owned(), json!("model-9.safetensors"));
    write(&map);
    let error = load_error(dir.path());
    assert!(error.contains("model-9.safetensors") && error.contains("index.json"), "{error}");

    let other = if moved == Some(json!("model-0.safetensors")) { "model-1.safetensors" } else { "model-0.safetensors" };
    map.insert("model.norm.weight".to_owned(), json!(other));
    write(&map);
    let error = load_error(dir.path());
    assert!(error.contains("'model.norm.weight' is missing") && error.contains(other), "{error}");
}

#[test]
fn half_precision_weights_become_f32() {
    let dir = copy_of("llama_tied");
    edit_weights(dir.path(), |tensors| {
        for (_, entry, bytes) in tensors {
            entry["dtype"] = json!("BF16");
            *bytes = bytes.chunks(4).flat_map(|b| [b[2], b[3]]).collect();
        }
    });
    let halves = bits(&Decoder::load(dir.path(), &Device::Cpu).unwrap());
    for ((name, half), (_, full)) in halves.iter().zip(bits(&load("llama_tied"))) {
        assert!(half.iter().zip(full).all(|(h, f)| *h == f & 0xffff_0000), "{name}");
    }
}

#[test]
fn broken_checkpoints_are_named() {
    type Break = fn(&Path);
    let cases: [(&str, Break, &[&str]); 9] = [
        (
            "missing tensor",
            |d| edit_weights(d, |t| t.retain(|(n, _, _)| n != "model.norm.weight")),
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
        ("wrong dtype", |d| edit_weights(d, |t| t[0].1["dtype"] = json!("I32")), &[WEIGHTS, "dtype I32"]),
        (
            "a NaN",
            |d| edit_weights(d, |t| t[1].2[..4].copy_from_slice(&f32::NAN.to_le_bytes())),
            &[WEIGHTS, "NaN", "expected finite numbers"],
        ),
        (
            "truncated",
            |d| {
                let bytes = std::fs::read(d.join(WEIGHTS)).unwrap();
                std::fs::write(d.join(WEIGHTS), &bytes[..bytes.len() / 2]).unwrap();
            },
            &[WEIGHTS, "truncated"],
        ),
        (
            "a huge header length",
            |d| std::fs::write(d.join(WEIGHTS), u64::MAX.to_le_bytes()).unwrap(),
            &[WEIGHTS, "a header of 18446744073709551615 bytes"],
        ),
        ("no weights", |d| std::fs::remove_file(d.join(WEIGHTS)).unwrap(), &["no weights"]),
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
            "config is not JSON",
            |d| std::fs::write(d.join("config.json"), "{\n\"a\":").unwrap(),
            &["config.json:2", "not valid JSON"],
        ),
    ];
    for (what, make, expected) in cases {
        let dir = copy_of("llama_tied");
        make(dir.path());
        let error = load_error(dir.path());
        assert!(expected.iter().all(|e| error.contains(e)), "{what}: {error}");
    }
}

#[test]
fn unsupported_configurations_are_named() {
    let cases = [
        ("llama_tied", json!({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}), "GPT2LMHeadModel"),
        ("llama_tied", json!({"architectures": ["LlamaForSequenceClassification"]}), "LlamaForSequenceClassification"),
        ("llama_tied", json!({"hidden_act": "gelu"}), "unsupported hidden_act \"gelu\""),
        ("llama_tied", json!({"rope_parameters": {"rope_type": "longrope"}}), "unsupported rope type 'longrope'"),
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
