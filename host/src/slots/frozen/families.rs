//! Families that candle-transformers computes, from Hugging Face folders.
//!
//! candle reads the fields of `config.json` that it knows and passes over all others, so what it would compute in
//! another way than transformers is refused here, by field.

use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;
use candle_transformers::models::{gemma, gemma2, olmo2, phi, phi3, starcoder2};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::weights::Tensors;
use super::{Copied, Frozen, MAX_CONTEXT, Network, unusable};
use crate::data::strict_json;
use crate::error::{Error, Result};
use crate::model::{family_names, open_weights};

const MAX_CONFIG: u64 = 16 << 20;

/// A `model_type`, and how its model is made.
struct Family {
    name: &'static str,
    class: &'static str,
    /// What transformers assumes where `config.json` says nothing.
    defaults: fn() -> Value,
    /// Fields that candle passes over or reads in another way, and the only values with which that is right.
    only: &'static [(&'static str, &'static [Plain])],
    /// Heads are hidden_size / num_attention_heads wide, whatever `head_dim` says.
    derived_heads: bool,
    make: fn(Value, VarBuilder) -> Result<Box<dyn Network>>,
}

enum Plain {
    Bool(bool),
    One,
}

impl Plain {
    fn is(&self, value: &Value) -> bool {
        match self {
            Plain::Bool(b) => value.as_bool() == Some(*b),
            Plain::One => value.as_f64() == Some(1.0),
        }
    }
}

const FAMILIES: [Family; 6] = [
    Family {
        name: "gemma",
        class: "GemmaForCausalLM",
        defaults: || {
            json!({"attention_bias": false, "head_dim": 256, "rms_norm_eps": 1e-6, "max_position_embeddings": 8192,
                "hidden_act": "gelu_pytorch_tanh"})
        },
        only: &[("tie_word_embeddings", &[Plain::Bool(true)]), ("partial_rotary_factor", &[Plain::One])],
        derived_heads: false,
        make: |config, vb| {
            let model = gemma::Model::new(false, &parse(config)?, vb).map_err(|e| unusable(&e))?;
            Ok(Copied::network(model, gemma::Model::forward))
        },
    },
    Family {
        name: "gemma2",
        class: "Gemma2ForCausalLM",
        defaults: || {
            json!({"attention_bias": false, "head_dim": 256, "rms_norm_eps": 1e-6, "max_position_embeddings": 8192,
                "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 256, "sliding_window": 4096,
                "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0})
        },
        only: &[("tie_word_embeddings", &[Plain::Bool(true)]), ("partial_rotary_factor", &[Plain::One])],
        derived_heads: false,
        make: |config, vb| {
            if config["query_pre_attn_scalar"] != config["head_dim"] {
                return Err(Error::input(format!(
                    "unsupported query_pre_attn_scalar {}, expected head_dim, which is {}",
                    config["query_pre_attn_scalar"], config["head_dim"]
                )));
            }
            let model = gemma2::Model::new(false, &parse(config)?, vb).map_err(|e| unusable(&e))?;
            Ok(Copied::network(model, gemma2::Model::forward))
        },
    },
    Family {
        name: "phi",
        class: "PhiForCausalLM",
        defaults: || {
            json!({"layer_norm_eps": 1e-5, "max_position_embeddings": 2048, "hidden_act": "gelu_new",
                "partial_rotary_factor": 0.5, "qk_layernorm": false, "tie_word_embeddings": false})
        },
        only: &[("tie_word_embeddings", &[Plain::Bool(false)]), ("qk_layernorm", &[Plain::Bool(false)])],
        derived_heads: true,
        make: |config, vb| {
            let config: phi::Config = parse(config)?;
            let model = phi::Model::new(&config, vb).map_err(|e| unusable(&e))?;
            Ok(Copied::network(model, |model, tokens, _| model.forward(tokens)))
        },
    },
    Family {
        name: "phi3",
        class: "Phi3ForCausalLM",
        defaults: || {
            json!({"rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "hidden_act": "silu",
                "tie_word_embeddings": false})
        },
        only: &[("partial_rotary_factor", &[Plain::One])],
        derived_heads: true,
        make: |mut config, vb| {
            if let Some(fields) = config.as_object_mut() {
                // With 1 candle would cut the heads into all and nothing.
                fields.remove("partial_rotary_factor");
                fields.remove("bos_token_id");
                // Several tokens may end a text; candle's field holds one and is not used.
                fields.remove("eos_token_id");
                fields.remove("rope_scaling");
            }
            let model = phi3::Model::new(&parse(config)?, vb).map_err(|e| unusable(&e))?;
            Ok(Copied::network(model, phi3::Model::forward))
        },
    },
    Family {
        name: "olmo2",
        class: "Olmo2ForCausalLM",
        defaults: || {
            json!({"attention_bias": false, "rms_norm_eps": 1e-5, "max_position_embeddings": 2048,
                "hidden_act": "silu", "tie_word_embeddings": false})
        },
        only: &[("clip_qkv", &[]), ("partial_rotary_factor", &[Plain::One])],
        derived_heads: true,
        make: |config, vb| {
            let model = olmo2::Model::new(&parse(config)?, vb).map_err(|e| unusable(&e))?;
            Ok(Copied::network(model, olmo2::Model::forward))
        },
    },
    Family {
        name: "starcoder2",
        class: "Starcoder2ForCausalLM",
        defaults: || {
            json!({"norm_epsilon": 1e-5, "max_position_embeddings": 4096, "hidden_act": "gelu_pytorch_tanh",
                "use_bias": true})
        },
        only: &[("tie_word_embeddings", &[Plain::Bool(true)]), ("partial_rotary_factor", &[Plain::One])],
        derived_heads: true,
        make: |config, vb| {
            let model = starcoder2::Model::new(&parse(config)?, vb).map_err(|e| unusable(&e))?;
            Ok(Copied::network(model, starcoder2::Model::forward))
        },
    },
];

fn parse<C: DeserializeOwned>(config: Value) -> Result<C> {
    serde_json::from_value(config).map_err(|e| Error::input(format!("a field is missing or wrong: {e}")))
}

/// A model folder's `config.json`.
pub(in crate::slots) fn config_file(folder: &Path) -> Result<Map<String, Value>> {
    let path = folder.join("config.json");
    match strict_json::read_file(&path, MAX_CONFIG)? {
        Value::Object(config) => Ok(config),
        _ => Err(Error::input("expected a JSON object").file(path)),
    }
}

/// Whether our own decoder computes this model.
pub(in crate::slots) fn is_own_family(config: &Map<String, Value>) -> bool {
    let name = config.get("model_type").and_then(Value::as_str);
    family_names().any(|own| Some(own) == name)
}

pub(super) fn open(folder: &Path) -> Result<Frozen> {
    let path = folder.join("config.json");
    let (family, config, context) = read(config_file(folder)?).map_err(|e| e.file(&path))?;
    let tensors = Tensors::new(open_weights(folder)?);
    let vocabulary = config["vocab_size"].as_u64().unwrap_or(0) as usize;
    let tied = config.get("tie_word_embeddings").is_none_or(|tied| tied.as_bool() == Some(true));
    let shared = tensors.clone();
    let frozen = Frozen::build(vocabulary, context, move || {
        let backend: Box<dyn SimpleBackend> = Box::new(shared);
        (family.make)(Value::Object(config), VarBuilder::from_backend(backend, DType::F32, Device::Cpu))
    });
    let frozen = frozen.map_err(|e| tensors.error().unwrap_or(e).file(&path))?;
    tensors.check_all_used(&|name| name.ends_with("rotary_emb.inv_freq") || (tied && name == "lm_head.weight"))?;
    Ok(frozen)
}

/// The family of a configuration, the configuration as candle is to read it, and the model's context.
fn read(mut config: Map<String, Value>) -> Result<(&'static Family, Map<String, Value>, usize)> {
    let name = config.get("model_type").and_then(Value::as_str).unwrap_or("not given").to_owned();
    let family = FAMILIES.iter().find(|family| family.name == name).ok_or_else(|| {
        let others: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
        let own: Vec<_> = family_names().collect();
        Error::input(format!("unsupported model_type '{name:.80}'")).help(format!(
            "supported are {} (Creamery's own) and {} (through candle-transformers); many others run behind a server: \
             give the slot an `endpoint`",
            own.join(", "),
            others.join(", ")
        ))
    })?;
    let class = config.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str).unwrap_or(family.class);
    if class != family.class {
        return Err(Error::input(format!("unsupported architecture '{class:.80}', expected {}", family.class)));
    }
    lift_rope(&mut config)?;
    if config.get("quantization_config").is_some_and(|v| !v.is_null()) {
        return Err(Error::input("unsupported field 'quantization_config': the weights are quantized")
            .help("use the unquantized checkpoint, or a GGUF file"));
    }
    if let Value::Object(defaults) = (family.defaults)() {
        for (field, value) in defaults {
            let absent = match field.as_str() {
                // Two names of one field.
                "hidden_act" => config.get("hidden_activation").is_none_or(Value::is_null),
                _ => true,
            };
            if absent && !config.contains_key(&field) {
                config.insert(field, value);
            }
        }
    }
    if config.get("hidden_activation").is_some_and(|v| !v.is_null()) {
        config.remove("hidden_act");
    }
    for (field, values) in family.only {
        let Some(value) = config.get(*field) else { continue };
        if !value.is_null() && !values.iter().any(|plain| plain.is(value)) {
            return Err(Error::input(format!("unsupported field '{field}' ({value:.60}) for model_type '{name}'")));
        }
    }
    let size = |field: &str, most: u64| match config.get(field).and_then(Value::as_u64) {
        Some(n) if (1..=most).contains(&n) => Ok(n),
        _ => Err(Error::input(format!(
            "field '{field}' is {:.60}, expected a whole number from 1 to {most}",
            config.get(field).unwrap_or(&Value::Null)
        ))),
    };
    let (hidden, heads) = (size("hidden_size", 1 << 20)?, size("num_attention_heads", 1 << 12)?);
    size("intermediate_size", 1 << 24)?;
    size("vocab_size", 1 << 24)?;
    size("num_hidden_layers", 10_000)?;
    let kv_heads = if config.get("num_key_value_heads").is_none_or(Value::is_null) {
        heads
    } else {
        size("num_key_value_heads", 1 << 12)?
    };
    if !heads.is_multiple_of(kv_heads) || (family.derived_heads && !hidden.is_multiple_of(heads)) {
        return Err(Error::input(format!(
            "{heads} attention heads do not go with {kv_heads} key-value heads and a hidden size of {hidden}"
        )));
    }
    let width = if family.derived_heads { hidden / heads } else { size("head_dim", 4096)? };
    if width > 4096 || config.get("head_dim").and_then(Value::as_u64).is_some_and(|given| given != width) {
        return Err(Error::input(format!("unsupported field 'head_dim': heads are {width} wide")));
    }
    let mut context = size("max_position_embeddings", 1 << 40)?.min(MAX_CONTEXT as u64);
    // candle's models see everything after the prompt; within the window so does transformers'.
    if config.get("sliding_window").is_some_and(|v| !v.is_null()) {
        context = context.min(size("sliding_window", 1 << 40)?);
        config.insert("sliding_window".into(), Value::Null);
    }
    config.insert("num_key_value_heads".into(), kv_heads.into());
    config.insert("max_position_embeddings".into(), context.into());
    Ok((family, config, context as usize))
}

/// transformers 5 keeps what belongs to rotary positions in one table; earlier versions, and candle, beside the rest.
fn lift_rope(config: &mut Map<String, Value>) -> Result<()> {
    for name in ["rope_parameters", "rope_scaling"] {
        let table = match config.remove(name) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(table)) => table,
            Some(other) => return Err(Error::input(format!("field '{name}' is {other:.60}, expected a table"))),
        };
        let kind = table.get("rope_type").or_else(|| table.get("type")).and_then(Value::as_str).unwrap_or("default");
        if kind != "default" {
            return Err(Error::input(format!("unsupported field '{name}': rotary positions of the type '{kind:.40}'"))
                .help("give the slot a checkpoint with plain rotary positions, or an `endpoint`"));
        }
        for field in ["rope_theta", "partial_rotary_factor"] {
            if let Some(value) = table.get(field) {
                config.insert(field.to_owned(), value.clone());
            }
        }
    }
    config.entry("rope_theta").or_insert_with(|| json!(10_000.0));
    Ok(())
}
