//! The frozen judges of the methods: the quickstart's model as another family's checkpoint, and in a GGUF file.
//!
//! Both are made of weights that are there, so nothing is trained for them. Phi-3 computes what Llama does, with the
//! matrices of queries, keys and values in one, and those of gate and up projection in one: the same model by another
//! name, which our own decoder does not read. A GGUF file turns each head's queries and keys from halves to pairs; in
//! blocks of 32 weights Q8_0 keeps 8 bits of each and a scale. It has no tokenizer inside: a slot names a folder.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value as Field};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use creamery::model::{Decoder, WeightType, copy_tokenizer, write_weights};
use creamery::store::write_atomic;
use creamery::{Error, Result};
use serde_json::{Value, json};

/// Below the folder of the judges.
pub const PHI3: &str = "phi3";
pub const GGUF: &str = "q8_0.gguf";

/// Makes both judges of a Llama folder.
pub fn write(model: &Path, judges: &Path) -> Result<()> {
    write_phi3(model, &judges.join(PHI3))?;
    write_atomic(judges.join(GGUF), gguf(model, GgmlDType::Q8_0, &[])?)
}

/// A Llama folder as a Phi-3 folder. All of it but the order of the matrices' rows stays as it is.
fn write_phi3(model: &Path, to: &Path) -> Result<()> {
    let source = config(model)?;
    if source["model_type"] != "llama" {
        return Err(Error::input("model_type is not \"llama\"").file(model.join("config.json")));
    }
    fs::create_dir_all(to).map_err(|e| Error::io("create", to, &e))?;
    let mut config = json!({
        "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "dtype": "float32",
        "original_max_position_embeddings": source["max_position_embeddings"], "sliding_window": null,
    });
    let same = [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "max_position_embeddings",
        "rms_norm_eps",
        "hidden_act",
        "tie_word_embeddings",
        "initializer_range",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
    ];
    for field in same {
        config[field] = source[field].clone();
    }
    config["rope_theta"] = json!(theta(&source));
    let text = serde_json::to_string_pretty(&config).map_err(|e| Error::run(format!("no JSON: {e}")))?;
    write_atomic(to.join("config.json"), text + "\n")?;
    let generation = "generation_config.json";
    fs::copy(model.join(generation), to.join(generation)).map_err(|e| Error::io("copy", model, &e))?;
    copy_tokenizer(model, to)?;

    let joined = [
        ("self_attn.q_proj", "self_attn.qkv_proj", ["self_attn.k_proj", "self_attn.v_proj"].as_slice()),
        ("mlp.gate_proj", "mlp.gate_up_proj", &["mlp.up_proj"]),
    ];
    let parameters = Decoder::load(model, &Device::Cpu)?.parameters();
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for (name, tensor) in &parameters {
        if joined.iter().any(|(_, _, rest)| rest.iter().any(|part| name.contains(part))) {
            continue;
        }
        let Some((first, whole, rest)) = joined.iter().find(|(first, ..)| name.contains(first)) else {
            tensors.push((name.clone(), tensor.clone()));
            continue;
        };
        let part = |rest: &&str| parameters.iter().find(|(other, _)| *other == name.replace(first, rest));
        let parts: Vec<&Tensor> = std::iter::once(tensor).chain(rest.iter().filter_map(part).map(|(_, t)| t)).collect();
        tensors.push((name.replace(first, whole), Tensor::cat(&parts, 0)?));
    }
    let layout: Vec<(&str, &[usize])> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.dims())).collect();
    let mut read = |i: usize| -> Result<Vec<f32>> { Ok(tensors[i].1.flatten_all()?.to_vec1()?) };
    write_weights(&to.join("model.safetensors"), &layout, WeightType::F32, &mut read)
}

/// The bytes of a GGUF file of a Llama, Qwen2 or Qwen3 folder. Matrices whose rows fit its blocks are of the type
/// `stored`. `changed` are fields of the file's own that are put in place of those of the model.
pub fn gguf(model: &Path, stored: GgmlDType, changed: &[(&str, Field)]) -> Result<Vec<u8>> {
    let config = config(model)?;
    let family = config["model_type"].as_str().unwrap_or_default();
    let number = |field: &str| match config[field].as_u64().and_then(|n| u32::try_from(n).ok()) {
        Some(n) => Ok(n),
        None => Err(Error::input(format!("field '{field}' is no number")).file(model.join("config.json"))),
    };
    let (heads, kv_heads) = (number("num_attention_heads")?, number("num_key_value_heads")?);
    let mut tensors = Vec::new();
    for (of, tensor) in Decoder::load(model, &Device::Cpu)?.parameters() {
        let tensor = match family {
            "llama" if of.ends_with("q_proj.weight") => paired(&tensor, heads as usize)?,
            "llama" if of.ends_with("k_proj.weight") => paired(&tensor, kv_heads as usize)?,
            _ => tensor,
        };
        let fits = tensor.rank() == 2 && tensor.dims()[1].is_multiple_of(stored.block_size());
        let stored = if fits { stored } else { GgmlDType::F32 };
        let name = name(&of).ok_or_else(|| Error::input(format!("tensor '{of}' has no name in a GGUF file")))?;
        tensors.push((name, QTensor::quantize(&tensor, stored)?));
    }
    let field = |name: &str| format!("{family}.{name}");
    let mut metadata = vec![
        ("general.architecture".to_owned(), Field::String(family.to_owned())),
        (field("context_length"), Field::U32(number("max_position_embeddings")?)),
        (field("embedding_length"), Field::U32(number("hidden_size")?)),
        (field("feed_forward_length"), Field::U32(number("intermediate_size")?)),
        (field("block_count"), Field::U32(number("num_hidden_layers")?)),
        (field("attention.head_count"), Field::U32(heads)),
        (field("attention.head_count_kv"), Field::U32(kv_heads)),
        (
            field("attention.layer_norm_rms_epsilon"),
            Field::F32(config["rms_norm_eps"].as_f64().unwrap_or_default() as f32),
        ),
        (field("rope.freq_base"), Field::F32(theta(&config) as f32)),
    ];
    if let Ok(eos) = number("eos_token_id") {
        metadata.push(("tokenizer.ggml.eos_token_id".to_owned(), Field::U32(eos)));
    }
    if let Ok(width) = number("head_dim") {
        metadata.push((field("attention.key_length"), Field::U32(width)));
    }
    for (name, value) in changed {
        metadata.retain(|(known, _)| known != name);
        metadata.push(((*name).to_owned(), value.clone()));
    }
    let metadata: Vec<_> = metadata.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut bytes = Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &metadata, &tensors)?;
    Ok(bytes.into_inner())
}

fn config(model: &Path) -> Result<Value> {
    let path = model.join("config.json");
    let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
    serde_json::from_str(&text).map_err(|e| Error::input(format!("not valid JSON: {e}")).file(path))
}

fn theta(config: &Value) -> f64 {
    let theta = config["rope_theta"].as_f64().or(config["rope_parameters"]["rope_theta"].as_f64());
    theta.unwrap_or(10_000.0)
}

/// llama.cpp turns the rows of a head's queries and keys from halves to pairs.
fn paired(weight: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, columns) = weight.dims2()?;
    let halves = weight.reshape((heads, 2, rows / heads / 2, columns))?;
    Ok(halves.transpose(1, 2)?.contiguous()?.reshape((rows, columns))?)
}

/// A name of Hugging Face's as GGUF has it.
fn name(of: &str) -> Option<String> {
    let parts = [
        ("self_attn.q_proj.", "attn_q"),
        ("self_attn.k_proj.", "attn_k"),
        ("self_attn.v_proj.", "attn_v"),
        ("self_attn.o_proj.", "attn_output"),
        ("self_attn.q_norm.", "attn_q_norm"),
        ("self_attn.k_norm.", "attn_k_norm"),
        ("mlp.gate_proj.", "ffn_gate"),
        ("mlp.up_proj.", "ffn_up"),
        ("mlp.down_proj.", "ffn_down"),
        ("input_layernorm.", "attn_norm"),
        ("post_attention_layernorm.", "ffn_norm"),
    ];
    match of {
        "model.embed_tokens.weight" => return Some("token_embd.weight".into()),
        "model.norm.weight" => return Some("output_norm.weight".into()),
        "lm_head.weight" => return Some("output.weight".into()),
        _ => {}
    }
    let (layer, rest) = of.strip_prefix("model.layers.")?.split_once('.')?;
    let (part, short) = parts.iter().find(|(part, _)| rest.starts_with(part))?;
    let ending = &rest[part.len()..];
    ["weight", "bias"].contains(&ending).then(|| format!("blk.{layer}.{short}.{ending}"))
}
