//! Checkpoint folders: saving, loading, shards, and every way in which one can be broken.

use std::path::Path;

use candle_core::Device;
use creamery::model::{Decoder, SaveOptions, WeightType};
use serde_json::{Value, json};

use crate::*;

pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const NORM: &str = "model.norm.weight";

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
pub(super) fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in [WEIGHTS, "config.json", "generation_config.json"] {
        std::fs::copy(model_dir(name).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

pub(super) fn load_error(dir: &Path) -> String {
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

pub(super) fn edit_weights(dir: &Path, edit: impl FnOnce(&mut Vec<Entry>)) {
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

pub(super) fn edit_config(dir: &Path, edit: impl FnOnce(&mut Value)) {
    let path = dir.join("config.json");
    let mut config = json_file(&path);
    edit(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}

/// A folder with two shards, `a.safetensors` and `b.safetensors`, and the index that names them.
pub(super) fn sharded() -> (tempfile::TempDir, Value) {
    let dir = copy_of("llama_tied");
    let all = read_weights(&dir.path().join(WEIGHTS));
    std::fs::remove_file(dir.path().join(WEIGHTS)).unwrap();
    let mut map = serde_json::Map::new();
    for (name, part) in ["a.safetensors", "b.safetensors"].iter().zip(all.chunks(all.len().div_ceil(2))) {
        write_weights(&dir.path().join(name), part);
        map.extend(part.iter().map(|(tensor, _, _)| (tensor.clone(), json!(name))));
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    (dir, index)
}

#[test]
fn harmless_extra_tensors_are_passed_over() {
    let dir = copy_of("llama_tied");
    edit_weights(dir.path(), |t| {
        let mut head = t.iter().find(|(n, _, _)| n.contains("embed")).unwrap().clone();
        head.0 = "lm_head.weight".to_owned();
        t.push(head);
        let frequencies = json!({"dtype": "F32", "shape": [1]});
        t.push(("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), frequencies, vec![0; 4]));
    });
    assert_eq!(bits(&Decoder::load(dir.path(), &Device::Cpu).unwrap()), bits(&load("llama_tied")));
}

#[test]
fn checkpoints_are_written_in_shards_and_in_half_precision() {
    let model = load("qwen2_bias");
    let all = bits(&model);
    let largest = all.iter().map(|(_, x)| x.len() as u64).max().unwrap();
    for (weights, name, width, keep) in [
        (WeightType::F32, "float32", 4, u32::MAX),
        (WeightType::Bf16, "bfloat16", 2, 0xffff_0000),
        (WeightType::F16, "float16", 2, 0xffff_e000),
    ] {
        for limit in [u64::MAX, largest * width, 1] {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path().join("new");
            std::fs::create_dir(&dir).unwrap();
            for stale in [WEIGHTS, "model.safetensors.index.json", "model-00007-of-00009.safetensors"] {
                std::fs::write(dir.join(stale), "of an earlier checkpoint").unwrap();
            }
            model.save_with(&dir, &SaveOptions { weights, max_shard_bytes: limit }).unwrap();
            let mut files: Vec<String> =
                std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            files.sort();
            let shards: Vec<&String> = files.iter().filter(|f| f.ends_with(".safetensors")).collect();
            let index = dir.join("model.safetensors.index.json");
            if limit == u64::MAX {
                assert_eq!((shards.len(), index.exists()), (1, false));
                assert_eq!(shards[0], WEIGHTS);
            } else {
                assert_eq!(shards.len() == all.len(), limit == 1, "{files:?}");
                assert!(shards.len() > 1);
                assert_eq!(shards[0], &format!("model-00001-of-{:05}.safetensors", shards.len()));
                let index = json_file(index);
                let count: u64 = all.iter().map(|(_, x)| x.len() as u64).sum();
                assert_eq!(index["metadata"], json!({"total_parameters": count, "total_size": count * width}));
                let map = index["weight_map"].as_object().unwrap();
                assert!(
                    map.len() == all.len()
                        && all.iter().all(|(n, _)| shards.contains(&&map[n].as_str().unwrap().to_owned()))
                );
            }
            for shard in &shards {
                let tensors = candle_core::safetensors::load(dir.join(shard), &Device::Cpu).unwrap();
                let bytes: usize = tensors.values().map(|t| t.elem_count() * t.dtype().size_in_bytes()).sum();
                assert!(bytes as u64 <= limit || tensors.len() == 1, "{shard}: {bytes} > {limit}");
            }
            assert_eq!(json_file(dir.join("config.json"))["dtype"], json!(name));
            let loaded = Decoder::load(&dir, &Device::Cpu).unwrap();
            for ((name, found), (_, exact)) in bits(&loaded).iter().zip(&all) {
                let close = |(f, e): (&u32, &u32)| {
                    let (f, e) = (f32::from_bits(*f), f32::from_bits(*e));
                    f.to_bits() & !keep == 0
                        && (f - e).abs() <= e.abs() * 2f32.powi(-8) * (4.0 / width as f32 - 1.0) + 1e-7
                };
                assert!(found.iter().zip(exact).all(close), "{name}");
            }
        }
    }
}

#[test]
fn a_weight_that_a_type_cannot_hold_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = load("llama_tied");
    for (value, weights, expected) in [
        (70_000.0, WeightType::F16, "float16 cannot hold it"),
        (f32::MAX, WeightType::Bf16, "bfloat16 cannot hold it"),
        (f32::NAN, WeightType::F32, "NaN"),
        (f32::INFINITY, WeightType::Bf16, "inf"),
    ] {
        let mut norm = vec![1.0; 32];
        norm[3] = value;
        model.set_parameter(NORM, &norm).unwrap();
        let options = SaveOptions { weights, ..SaveOptions::default() };
        let error = model.save_with(dir.path().join("new"), &options).unwrap_err().to_string();
        assert!(error.contains("'model.norm.weight'") && error.contains("element 3"), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}
