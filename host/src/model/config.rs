//! `config.json` of a Hugging Face checkpoint: the shape of a Llama-family decoder.
//!
//! An architecture or option that this decoder does not compute is an error that names it; nothing is guessed.

use std::path::Path;

use serde_json::{Map, Value};

use super::rope::Rope;
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

/// More layers than any model has: a wrong file must not make us list billions of tensors.
const MAX_LAYERS: usize = 10_000;

const FAMILIES: [(&str, &str); 4] = [
    ("llama", "LlamaForCausalLM"),
    ("mistral", "MistralForCausalLM"),
    ("qwen2", "Qwen2ForCausalLM"),
    ("qwen3", "Qwen3ForCausalLM"),
];

impl ModelConfig {
    /// Reads `config.json` and, where there is one, `generation_config.json` from a checkpoint folder.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let json = read_json(&dir.join("config.json"))?;
        let generation = dir.join("generation_config.json");
        let generation_json = if generation.exists() { Some(read_json(&generation)?) } else { None };
        Self::from_json(json, generation_json).map_err(|e| e.file(dir.join("config.json")))
    }

    /// Builds the configuration from the two files' contents.
    pub fn from_json(json: Value, generation_json: Option<Value>) -> Result<Self> {
        let fields = Fields::of(&json)?;
        let family = fields.family()?;
        let hidden_size = fields.size("hidden_size")?;
        let num_heads = fields.size("num_attention_heads")?;
        let num_layers = fields.size("num_hidden_layers")?;
        let num_kv_heads = match fields.optional_size("num_key_value_heads")? {
            Some(n) => n,
            None if family == "llama" => num_heads,
            None => return Err(fields.missing("num_key_value_heads")),
        };
        let head_dim = match fields.optional_size("head_dim")? {
            Some(n) => n,
            None if family == "qwen3" => 128,
            None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
            None => {
                return Err(Error::input(format!(
                    "hidden_size {hidden_size} is not a multiple of num_attention_heads {num_heads}, and there is no head_dim"
                )));
            }
        };
        if num_layers > MAX_LAYERS {
            return Err(Error::input(format!(
                "field 'num_hidden_layers' is {num_layers}, expected at most {MAX_LAYERS}"
            )));
        }
        if !num_heads.is_multiple_of(num_kv_heads) {
            return Err(Error::input(format!(
                "num_attention_heads {num_heads} is not a multiple of num_key_value_heads {num_kv_heads}"
            )));
        }
        if !head_dim.is_multiple_of(2) {
            return Err(Error::input(format!("head_dim {head_dim} is odd; rotary positions need pairs")));
        }
        fields.refuse_unsupported()?;
        let max_positions = fields.size("max_position_embeddings")?;
        let attention_bias = fields.flag("attention_bias", false)?;
        let rope = Rope::from_config(fields.0, head_dim, max_positions)?;
        let eos_token_ids = eos_ids(generation_json.as_ref(), &json)?;
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
            qkv_bias: family == "qwen2" || attention_bias,
            o_bias: family != "qwen2" && attention_bias,
            mlp_bias: fields.flag("mlp_bias", false)?,
            qk_norm: family == "qwen3",
            windows: fields.windows(family, num_layers)?,
            initializer_range: fields.number("initializer_range", 0.02)?,
            eos_token_ids,
            json,
            generation_json,
        })
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

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, &e))?;
    serde_json::from_str(&text).map_err(|e| Error::input(format!("not valid JSON: {e}")).file(path).line(e.line()))
}

fn eos_ids(generation: Option<&Value>, config: &Value) -> Result<Vec<u32>> {
    let found = generation.and_then(|g| g.get("eos_token_id")).filter(|v| !v.is_null());
    let value = found.or_else(|| config.get("eos_token_id")).unwrap_or(&Value::Null);
    let one = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
    let ids = match value {
        Value::Null => Some(Vec::new()),
        Value::Array(all) => all.iter().map(one).collect(),
        single => one(single).map(|id| vec![id]),
    };
    ids.ok_or_else(|| Error::input(format!("field 'eos_token_id' is {value}, expected a token id or a list of them")))
}

/// The top-level object of `config.json`, read field by field.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn of(json: &'a Value) -> Result<Self> {
        json.as_object().map(Fields).ok_or_else(|| Error::input("expected a JSON object"))
    }

    fn family(&self) -> Result<&'static str> {
        let name = self.0.get("model_type").and_then(Value::as_str);
        let architecture = self.0.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str);
        let known = FAMILIES.iter().find(|(family, class)| {
            Some(*family) == name && architecture.is_none_or(|architecture| architecture == *class)
        });
        known.map(|(family, _)| *family).ok_or_else(|| {
            let shown = |v: Option<&str>| v.map_or("not given".to_owned(), |v| format!("'{v}'"));
            let classes: Vec<_> = FAMILIES.iter().map(|(_, class)| *class).collect();
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
            _ => Err(Error::input(format!("field '{name}' is {value}, expected a positive integer"))),
        }
    }

    fn size(&self, name: &str) -> Result<usize> {
        self.optional_size(name)?.ok_or_else(|| self.missing(name))
    }

    fn number(&self, name: &str, default: f64) -> Result<f64> {
        let Some(value) = self.present(name) else { return Ok(default) };
        value.as_f64().ok_or_else(|| Error::input(format!("field '{name}' is {value}, expected a number")))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let Some(value) = self.present(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| Error::input(format!("field '{name}' is {value}, expected true or false")))
    }

    fn refuse_unsupported(&self) -> Result<()> {
        let act = self.present("hidden_act").and_then(Value::as_str).unwrap_or("silu");
        if !matches!(act, "silu" | "swish") {
            return Err(Error::input(format!("unsupported hidden_act '{act}', expected 'silu'")));
        }
        if self.present("quantization_config").is_some() {
            return Err(Error::input("unsupported field 'quantization_config': the weights are quantized")
                .help("use the unquantized checkpoint (float32, float16 or bfloat16)"));
        }
        let partial = self.number("partial_rotary_factor", 1.0)?;
        if partial != 1.0 {
            return Err(Error::input(format!("unsupported partial_rotary_factor {partial}, expected 1")));
        }
        Ok(())
    }

    fn windows(&self, family: &str, layers: usize) -> Result<Vec<Option<usize>>> {
        let window = match family {
            "llama" => None,
            // What transformers assumes where Mistral's field is absent; null means no window.
            "mistral" if !self.0.contains_key("sliding_window") => Some(4096),
            "mistral" => self.optional_size("sliding_window")?,
            _ if self.flag("use_sliding_window", false)? => {
                Some(self.optional_size("sliding_window")?.ok_or_else(|| self.missing("sliding_window"))?)
            }
            _ => None,
        };
        let Some(types) = self.present("layer_types") else {
            let first = if family == "mistral" { 0 } else { self.optional_size("max_window_layers")?.unwrap_or(28) };
            return Ok((0..layers).map(|i| window.filter(|_| i >= first)).collect());
        };
        let types = types.as_array().filter(|t| t.len() == layers).ok_or_else(|| {
            Error::input(format!("field 'layer_types' must list a type for each of the {layers} layers"))
        })?;
        let one = |value: &Value| match value.as_str() {
            Some("full_attention") => Ok(None),
            Some("sliding_attention") if window.is_some() => Ok(window),
            Some("sliding_attention") => {
                Err(Error::input("'layer_types' asks for sliding attention, but no sliding window is set"))
            }
            _ => Err(Error::input(format!(
                "unsupported layer type {value}, expected \"full_attention\" or \"sliding_attention\""
            ))),
        };
        types.iter().map(one).collect()
    }
}
