//! `config.json` of a Hugging Face checkpoint: the shape of a Llama-family decoder.
//!
//! An architecture or option that this decoder does not compute is an error that names it; nothing is guessed.

use std::path::Path;

use serde_json::{Map, Value};

use super::rope::Rope;
use crate::data::strict_json;
use crate::error::{Error, Result};

/// The shape of a decoder and what its `config.json` said.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_layers: usize,
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    pub max_positions: usize,
    pub rms_norm_eps: f32,
    pub rope: Rope,
    /// The output head is the embedding matrix.
    pub tied: bool,
    pub qkv_bias: bool,
    pub o_bias: bool,
    pub mlp_bias: bool,
    /// RMSNorm over each query and key head (Qwen3).
    pub qk_norm: bool,
    /// For each layer, how many last positions (itself included) a position sees; `None` sees all.
    pub windows: Vec<Option<usize>>,
    pub initializer_range: f64,
    pub eos_token_ids: Vec<u32>,
    /// `config.json` and `generation_config.json` as they were read, written back on saving.
    pub(crate) json: Value,
    pub(crate) generation_json: Option<Value>,
}

/// Larger numbers than any model has: a wrong file must not make us list billions of tensors or frequencies.
const MAX_LAYERS: usize = 10_000;
const MAX_HEAD_DIM: usize = 1 << 16;
const MAX_FILE: u64 = 16 << 20;

/// A model family and what transformers assumes where `config.json` says nothing.
struct Family {
    name: &'static str,
    class: &'static str,
    /// `None`: as many as there are heads.
    num_kv_heads: Option<usize>,
    /// `None`: hidden_size / num_attention_heads.
    head_dim: Option<usize>,
    max_positions: usize,
}

#[rustfmt::skip]
const FAMILIES: [Family; 4] = [
    Family { name: "llama", class: "LlamaForCausalLM", num_kv_heads: None, head_dim: None, max_positions: 2048 },
    Family { name: "mistral", class: "MistralForCausalLM", num_kv_heads: Some(8), head_dim: None, max_positions: 131_072 },
    Family { name: "qwen2", class: "Qwen2ForCausalLM", num_kv_heads: Some(32), head_dim: None, max_positions: 32_768 },
    Family { name: "qwen3", class: "Qwen3ForCausalLM", num_kv_heads: Some(32), head_dim: Some(128), max_positions: 32_768 },
];

/// `model_type` of each family that this decoder computes.
pub(crate) fn family_names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|family| family.name)
}

/// Fields of related models that change what is computed, and the values with which they change nothing. The families
/// above do not have them: who sets one has another model in mind.
const FOREIGN: [(&str, &[f64]); 19] = [
    ("attn_logit_softcapping", &[]),
    ("final_logit_softcapping", &[]),
    ("query_pre_attn_scalar", &[]),
    ("num_local_experts", &[0.0]),
    ("num_experts", &[0.0]),
    ("n_routed_experts", &[0.0]),
    ("attention_sinks", &[0.0]),
    ("num_attention_sinks", &[0.0]),
    ("attention_chunk_size", &[]),
    ("no_rope_layers", &[]),
    ("no_rope_layer_interval", &[0.0]),
    ("clip_qkv", &[]),
    ("use_qk_norm", &[]),
    ("rope_interleaved", &[]),
    ("logit_scale", &[1.0]),
    ("logits_scaling", &[1.0]),
    ("embedding_multiplier", &[1.0]),
    ("residual_multiplier", &[1.0]),
    ("attention_multiplier", &[]),
];

impl ModelConfig {
    /// Reads `config.json` and, where there is one, `generation_config.json` from a checkpoint folder.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let path = dir.join("config.json");
        let mut config = Self::parse(strict_json::read_file(&path, MAX_FILE)?).map_err(|e| e.file(&path))?;
        let generation = dir.join("generation_config.json");
        if generation.exists() {
            let json = strict_json::read_file(&generation, MAX_FILE)?;
            config.set_generation(json).map_err(|e| e.file(&generation))?;
        }
        config.set_default_eos().map_err(|e| e.file(&path))?;
        Ok(config)
    }

    /// Builds the configuration from the two files' contents.
    pub fn from_json(json: Value, generation_json: Option<Value>) -> Result<Self> {
        let mut config = Self::parse(json)?;
        if let Some(generation) = generation_json {
            config.set_generation(generation)?;
        }
        config.set_default_eos()?;
        Ok(config)
    }

    fn parse(json: Value) -> Result<Self> {
        let fields = Fields::of(&json)?;
        let family = fields.family()?;
        let name = family.name;
        let hidden_size = fields.size("hidden_size")?;
        let num_heads = fields.size("num_attention_heads")?;
        let num_layers = fields.size("num_hidden_layers")?;
        let num_kv_heads = match (fields.optional_size("num_key_value_heads")?, family.num_kv_heads) {
            (Some(n), _) => n,
            (None, Some(n)) if !fields.0.contains_key("num_key_value_heads") => n,
            _ => num_heads,
        };
        let head_dim = match (fields.optional_size("head_dim")?, family.head_dim) {
            (Some(n), _) => n,
            (None, Some(n)) => n,
            (None, None) if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
            (None, None) => {
                return Err(Error::input(format!(
                    "hidden_size {hidden_size} is not a multiple of num_attention_heads {num_heads}, and there is no head_dim"
                )));
            }
        };
        for (field, found, most) in
            [("num_hidden_layers", num_layers, MAX_LAYERS), ("head_dim", head_dim, MAX_HEAD_DIM)]
        {
            if found > most {
                return Err(Error::input(format!("field '{field}' is {found}, expected at most {most}")));
            }
        }
        if !num_heads.is_multiple_of(num_kv_heads) {
            return Err(Error::input(format!(
                "num_attention_heads {num_heads} is not a multiple of num_key_value_heads {num_kv_heads}"
            )));
        }
        if !head_dim.is_multiple_of(2) {
            return Err(Error::input(format!("head_dim {head_dim} is odd; rotary positions need pairs")));
        }
        fields.refuse_unsupported(name)?;
        let max_positions = fields.optional_size("max_position_embeddings")?.unwrap_or(family.max_positions);
        let attention_bias = fields.flag("attention_bias", false)?;
        let rope = Rope::from_config(fields.0, head_dim, max_positions)?;
        Ok(ModelConfig {
            vocab_size: fields.size("vocab_size")?,
            hidden_size,
            intermediate_size: fields.size("intermediate_size")?,
            num_layers,
            num_heads,
            num_kv_heads,
            head_dim,
            max_positions,
            rms_norm_eps: fields.number("rms_norm_eps", 1e-6)? as f32,
            rope,
            tied: fields.flag("tie_word_embeddings", false)?,
            // Qwen2 always has these three and never the one of the output, whatever the field says.
            qkv_bias: name == "qwen2" || attention_bias,
            o_bias: name != "qwen2" && attention_bias,
            mlp_bias: fields.flag("mlp_bias", false)?,
            qk_norm: name == "qwen3",
            windows: fields.windows(name, num_layers)?,
            initializer_range: fields.number("initializer_range", 0.02)?,
            eos_token_ids: Vec::new(),
            json,
            generation_json: None,
        })
    }

    /// The generation configuration's end-of-sequence tokens come before those of `config.json`.
    fn set_generation(&mut self, json: Value) -> Result<()> {
        if !json.is_object() {
            return Err(Error::input("expected a JSON object"));
        }
        self.eos_token_ids = self.eos_ids(&json)?;
        self.generation_json = Some(json);
        Ok(())
    }

    /// Takes the ids from `config.json` unless the generation configuration has named some.
    fn set_default_eos(&mut self) -> Result<()> {
        if self.eos_token_ids.is_empty() {
            self.eos_token_ids = self.eos_ids(&self.json)?;
        }
        Ok(())
    }

    /// The ids in `eos_token_id` of a file: none, one, or several.
    fn eos_ids(&self, json: &Value) -> Result<Vec<u32>> {
        let value = json.get("eos_token_id").unwrap_or(&Value::Null);
        let one = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        let ids: Option<Vec<u32>> = match value {
            Value::Null => Some(Vec::new()),
            Value::Array(all) => all.iter().map(one).collect(),
            single => one(single).map(|id| vec![id]),
        };
        let ids = ids.ok_or_else(|| {
            Error::input(format!("field 'eos_token_id' is {}, expected a token id or a list of them", shown(value)))
        })?;
        match ids.iter().find(|id| **id as usize >= self.vocab_size) {
            Some(id) => Err(Error::input(format!(
                "field 'eos_token_id' names the token {id}, but the vocabulary has {} entries",
                self.vocab_size
            ))
            .help("the file belongs to another model; no token of this one could end a response")),
            None => Ok(ids),
        }
    }

    /// Width of the queries: heads × head_dim.
    pub fn q_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of the keys and of the values: key-value heads × head_dim.
    pub fn kv_width(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }
}

/// A value for an error message: its start, if it is long.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The top-level object of `config.json`, read field by field.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn of(json: &'a Value) -> Result<Self> {
        json.as_object().map(Fields).ok_or_else(|| Error::input("expected a JSON object"))
    }

    fn family(&self) -> Result<&'static Family> {
        let name = self.0.get("model_type").and_then(Value::as_str);
        let architecture = self.0.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str);
        let known = FAMILIES.iter().find(|family| {
            Some(family.name) == name && architecture.is_none_or(|architecture| architecture == family.class)
        });
        known.ok_or_else(|| {
            let shown = |v: Option<&str>| v.map_or("not given".to_owned(), |v| format!("'{v:.80}'"));
            let classes: Vec<_> = FAMILIES.iter().map(|family| family.class).collect();
            Error::input(format!(
                "unsupported model: model_type is {}, architecture is {}",
                shown(name),
                shown(architecture)
            ))
            .help(format!("supported architectures: {}", classes.join(", ")))
        })
    }

    fn missing(&self, name: &str) -> Error {
        Error::input(format!("field '{name}' is missing"))
    }

    fn present(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|v| !v.is_null())
    }

    fn optional_size(&self, name: &str) -> Result<Option<usize>> {
        let Some(value) = self.present(name) else { return Ok(None) };
        match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) if (1..1 << 31).contains(&n) => Ok(Some(n)),
            _ => Err(Error::input(format!("field '{name}' is {}, expected a positive integer", shown(value)))),
        }
    }

    fn size(&self, name: &str) -> Result<usize> {
        self.optional_size(name)?.ok_or_else(|| self.missing(name))
    }

    /// A number of at least 0.
    fn number(&self, name: &str, default: f64) -> Result<f64> {
        let Some(value) = self.present(name) else { return Ok(default) };
        let number = value.as_f64().filter(|n| *n >= 0.0);
        number.ok_or_else(|| Error::input(format!("field '{name}' is {}, expected a number, at least 0", shown(value))))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let Some(value) = self.present(name) else { return Ok(default) };
        value
            .as_bool()
            .ok_or_else(|| Error::input(format!("field '{name}' is {}, expected true or false", shown(value))))
    }

    fn refuse_unsupported(&self, family: &str) -> Result<()> {
        let act = self.present("hidden_act");
        if !act.is_none_or(|act| matches!(act.as_str(), Some("silu" | "swish"))) {
            return Err(Error::input(format!(
                "unsupported hidden_act {}, expected \"silu\"",
                shown(&self.0["hidden_act"])
            )));
        }
        if self.present("quantization_config").is_some() {
            return Err(Error::input("unsupported field 'quantization_config': the weights are quantized")
                .help("use the unquantized checkpoint (float32, float16 or bfloat16)"));
        }
        let partial = self.number("partial_rotary_factor", 1.0)?;
        if partial != 1.0 {
            return Err(Error::input(format!("unsupported partial_rotary_factor {partial}, expected 1")));
        }
        for (name, harmless) in FOREIGN {
            let Some(value) = self.present(name) else { continue };
            if value.as_bool() != Some(false) && !value.as_f64().is_some_and(|n| harmless.contains(&n)) {
                return Err(Error::input(format!(
                    "unsupported field '{name}' ({}) for model_type '{family}'",
                    shown(value)
                )));
            }
        }
        // These have no such tensors: transformers would pass over the field and over the tensors.
        for (name, families) in [("attention_bias", &["mistral"][..]), ("mlp_bias", &["mistral", "qwen2", "qwen3"])] {
            if families.contains(&family) && self.flag(name, false)? {
                return Err(Error::input(format!("unsupported field '{name}' (true) for model_type '{family}'")));
            }
        }
        Ok(())
    }

    fn windows(&self, family: &str, layers: usize) -> Result<Vec<Option<usize>>> {
        // What transformers assumes where the field is absent; null means no window.
        let window = || match self.0.contains_key("sliding_window") {
            true => self.optional_size("sliding_window"),
            false => Ok(Some(4096)),
        };
        let window = match family {
            "llama" => None,
            "mistral" => window()?,
            _ if self.flag("use_sliding_window", false)? => window()?,
            _ => None,
        };
        let Some(types) = self.present("layer_types") else {
            let first = if family == "mistral" { 0 } else { self.number("max_window_layers", 28.0)? as usize };
            return Ok((0..layers).map(|i| window.filter(|_| i >= first)).collect());
        };
        let types = types.as_array().filter(|t| t.len() == layers).ok_or_else(|| {
            Error::input(format!("field 'layer_types' must list a type for each of the {layers} layers"))
        })?;
        let one = |value: &Value| match value.as_str() {
            // transformers passes over the types here and gives every layer the window.
            Some("full_attention") if family == "mistral" && window.is_some() => Err(Error::input(
                "'layer_types' asks for full attention, but model_type 'mistral' has a sliding window",
            )),
            Some("full_attention") => Ok(None),
            Some("sliding_attention") if window.is_some() => Ok(window),
            Some("sliding_attention") => {
                Err(Error::input("'layer_types' asks for sliding attention, but no sliding window is set"))
            }
            _ => Err(Error::input(format!(
                "unsupported layer type {}, expected \"full_attention\" or \"sliding_attention\"",
                shown(value)
            ))),
        };
        types.iter().map(one).collect()
    }
}
