//! Adapter folders as peft writes and reads them: adapter_config.json and adapter_model.safetensors.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::checkpoint::Weights;
use super::super::decoder::Decoder;
use super::super::ops;
use super::config::unsupported;
use super::{Adapter, LoraConfig, MODULES, TargetModules};
use crate::error::{Error, Result};

pub const ADAPTER_CONFIG: &str = "adapter_config.json";
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// What peft puts before a parameter's name.
const PREFIX: &str = "base_model.model.";
/// The entry of the safetensors metadata that holds a few weights of the base.
const BASE_SAMPLE: &str = "creamery_base_sample";
/// Weights in that sample.
const SAMPLE: usize = 256;
/// How far the base's weights may be from the sample, of their mean size: rounding to bf16 stays below it.
const ROUNDING: f64 = 0.01;

/// Is this folder an adapter, not a model?
pub fn is_adapter(dir: impl AsRef<Path>) -> bool {
    let dir = dir.as_ref();
    dir.join(ADAPTER_CONFIG).is_file() && !dir.join("config.json").exists()
}

/// The base that an adapter folder names: a path, or a name on the hub.
pub fn adapter_base(dir: impl AsRef<Path>) -> Result<String> {
    let path = dir.as_ref().join(ADAPTER_CONFIG);
    let json = read_json(&path)?;
    match json.get("base_model_name_or_path").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => {
            Err(Error::input("field 'base_model_name_or_path' is missing, expected the adapter's base model")
                .file(path))
        }
    }
}

impl Decoder {
    /// This model's base, shared, with the adapter of a peft folder; f32, f16 or bf16.
    ///
    /// # Errors
    /// Options that are not supported, and an adapter of another base: tensors that are missing, have no place or do
    /// not fit, and, if this program wrote the adapter, other weights than the base had. The message names file and
    /// field or tensor.
    pub fn load_adapter(&self, dir: impl AsRef<Path>) -> Result<Decoder> {
        let dir = dir.as_ref();
        let path = dir.join(ADAPTER_CONFIG);
        if !path.exists() {
            return Err(Error::input(format!("no adapter: the folder has no {ADAPTER_CONFIG}"))
                .file(dir)
                .help("an adapter is a folder that peft or this program wrote"));
        }
        let config = parse(&read_json(&path)?).map_err(|e| e.file(&path))?;
        config.check().and_then(|()| config.targets(&self.config)).map_err(|e| e.file(&path))?;
        let path = dir.join(ADAPTER_WEIGHTS);
        if !path.exists() && dir.join("adapter_model.bin").exists() {
            return Err(Error::input("adapter_model.bin is a pickle, which is not read")
                .file(dir)
                .help("load it with peft and save it again: it writes adapter_model.safetensors"));
        }
        let mut weights = Weights::open(path.clone())?;
        let mut expected = BTreeSet::new();
        let adapter = Adapter::build(config, &self.config, self.device(), &mut |name, shape| {
            let key = format!("{PREFIX}{name}");
            let another = "the adapter was made for another base, or adapter_config.json is another adapter's";
            let Some(found) = weights.shape(&key) else {
                return Err(Error::input(format!("tensor '{key}' is missing, expected with shape {shape:?}"))
                    .file(&path)
                    .help(another));
            };
            if *found != shape {
                return Err(Error::input(format!("tensor '{key}' has shape {found:?}, the base asks for {shape:?}"))
                    .file(&path)
                    .help(another));
            }
            let data = weights.read(&key, &shape)?;
            expected.insert(key);
            Ok(data)
        })?;
        if let Some(name) = weights.names().find(|name| !expected.contains(*name)) {
            return Err(Error::input(format!(
                "tensor '{name}' has no place: the base has no such map, or adapter_config.json does not name it"
            ))
            .file(&path)
            .help("the adapter was made for another base, or its kind is not supported"));
        }
        self.check_sample(&path)?;
        Ok(self.with(Some(adapter)))
    }

    /// Writes the adapter as peft does. `base` is what the adapter names as its base: a path or a name on the hub.
    pub fn save_adapter(&self, dir: impl AsRef<Path>, base: &str) -> Result<()> {
        let Some(adapter) = &self.adapter else { return Err(Error::run("the model has no adapter to save")) };
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, &e))?;
        let mut tensors = Vec::new();
        for (name, tensor) in adapter.parameters() {
            let data = tensor.flatten_all()?.to_vec1::<f32>()?;
            if let Some(i) = data.iter().position(|x| !x.is_finite()) {
                return Err(Error::run(format!("tensor '{name}' has the value {} at element {i}", data[i])));
            }
            let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
            tensors.push((format!("{PREFIX}{name}"), tensor.dims().to_vec(), bytes));
        }
        let path = dir.join(ADAPTER_WEIGHTS);
        let sample = json!(self.base_sample()?).to_string();
        let bytes = safetensors(&json!({ "format": "pt", BASE_SAMPLE: sample }), &tensors);
        std::fs::write(&path, bytes).map_err(|e| Error::io("write", &path, &e))?;
        let path = dir.join(ADAPTER_CONFIG);
        std::fs::write(&path, format!("{:#}\n", config_json(&adapter.config, base)))
            .map_err(|e| Error::io("write", &path, &e))
    }

    /// A few weights of the base, evenly spaced over its matrices.
    fn base_sample(&self) -> Result<Vec<f32>> {
        let matrices: Vec<_> = self.base_tensors().into_iter().filter(|(_, t)| t.dims().len() > 1).collect();
        let each = SAMPLE.div_ceil(matrices.len());
        let mut sample = Vec::with_capacity(each * matrices.len());
        for (_, tensor) in &matrices {
            let data = ops::read(tensor)?;
            sample.extend((0..each).map(|i| data[(2 * i + 1) * data.len() / (2 * each)]));
        }
        Ok(sample)
    }

    /// Where the adapter holds a sample of its base, that must be this base, up to rounding.
    fn check_sample(&self, path: &Path) -> Result<()> {
        let Some(theirs) = stored_sample(path)? else { return Ok(()) };
        let ours = self.base_sample()?;
        let size: f64 = ours.iter().map(|x| f64::from(x.abs())).sum();
        let distance: f64 = ours.iter().zip(&theirs).map(|(a, b)| f64::from((a - b).abs())).sum();
        if ours.len() == theirs.len() && distance <= ROUNDING * size {
            return Ok(());
        }
        let found = if ours.len() == theirs.len() {
            format!("its weights differ from this one's by {:.1} % on average", 100.0 * distance / size)
        } else {
            "it has another number of matrices".to_owned()
        };
        Err(Error::input(format!("the adapter was trained on another base: {found}"))
            .file(path)
            .help("use the base that base_model_name_or_path of adapter_config.json names"))
    }
}

/// A safetensors file. The crate of that name keeps metadata in a hash map, so that two writes would differ.
fn safetensors(metadata: &Value, tensors: &[(String, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let mut header = Map::from_iter([("__metadata__".to_owned(), metadata.clone())]);
    let mut end = 0;
    for (name, shape, bytes) in tensors {
        let start = end;
        end += bytes.len();
        header.insert(name.clone(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }));
    }
    let mut header = Value::Object(header).to_string();
    // The data starts at a multiple of 8.
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    tensors.iter().for_each(|(_, _, bytes)| file.extend(bytes));
    file
}

/// The sample of the base's weights in the file's metadata. The header was checked before.
fn stored_sample(path: &Path) -> Result<Option<Vec<f32>>> {
    let io = |e: std::io::Error| Error::io("read", path, &e);
    let mut file = File::open(path).map_err(io)?;
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(io)?;
    let mut header = Vec::new();
    file.take(u64::from_le_bytes(size)).read_to_end(&mut header).map_err(io)?;
    let header: Value = serde_json::from_slice(&header).unwrap_or(Value::Null);
    let Some(text) = header["__metadata__"][BASE_SAMPLE].as_str() else { return Ok(None) };
    let sample = serde_json::from_str(text);
    sample.map(Some).map_err(|e| Error::input(format!("metadata '{BASE_SAMPLE}' is broken: {e}")).file(path))
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, &e))?;
    serde_json::from_str(&text).map_err(|e| Error::input(format!("not valid JSON: {e}")).file(path).line(e.line()))
}

/// Fields that change nothing here: names, versions, and settings of how training started.
const HARMLESS: [&str; 14] = [
    "arrow_config",
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "inference_mode",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "ensure_weight_tying",
];

fn parse(json: &Value) -> Result<LoraConfig> {
    let fields = json.as_object().ok_or_else(|| Error::input("expected a JSON object"))?;
    match present(fields, "peft_type").and_then(Value::as_str) {
        Some("LORA") => {}
        Some(other) => return Err(unsupported(&format!("'peft_type' is {other:?}, expected \"LORA\""))),
        None => return Err(Error::input("field 'peft_type' is missing, expected \"LORA\"")),
    }
    let r = whole("r", present(fields, "r"))?.ok_or_else(|| Error::input("field 'r' is missing"))?;
    let mut config = LoraConfig { r, alpha: 8.0, ..LoraConfig::default() };
    for (name, value) in fields {
        let neutral = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        };
        let wrong = |expected: &str| Error::input(format!("field '{name}' is {}, expected {expected}", shown(value)));
        match name.as_str() {
            "peft_type" | "r" => {}
            "lora_alpha" => config.alpha = value.as_f64().ok_or_else(|| wrong("a number"))?,
            "lora_dropout" => config.dropout = value.as_f64().ok_or_else(|| wrong("a number"))?,
            "use_rslora" => config.rslora = value.as_bool().ok_or_else(|| wrong("true or false"))?,
            "target_modules" => config.target_modules = targets(value)?,
            "layers_to_transform" if !neutral => {
                let one = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
                let layers = match value {
                    Value::Array(items) => items.iter().map(one).collect(),
                    single => one(single).map(|layer| vec![layer]),
                };
                config.layers = Some(layers.ok_or_else(|| wrong("a layer's number or a list of them"))?);
            }
            "layers_pattern" if !neutral => match value {
                Value::String(pattern) if pattern.is_empty() || pattern == "layers" => {}
                _ => return Err(unsupported(&format!("'layers_pattern' is {}, expected \"layers\"", shown(value)))),
            },
            "rank_pattern" if !neutral => {
                let ranks = value.as_object().ok_or_else(|| wrong("an object"))?.iter();
                let ranks = ranks.map(|(key, r)| whole(name, Some(r)).map(|r| (key.clone(), r.unwrap_or(0))));
                config.rank_pattern = ranks.collect::<Result<_>>()?;
            }
            "alpha_pattern" if !neutral => {
                let alphas = value.as_object().ok_or_else(|| wrong("an object"))?.iter();
                let alphas = alphas.map(|(key, alpha)| alpha.as_f64().map(|alpha| (key.clone(), alpha)));
                config.alpha_pattern = alphas.collect::<Option<_>>().ok_or_else(|| wrong("an object of numbers"))?;
            }
            "bias" if value == "none" => {}
            "task_type" if value == "CAUSAL_LM" => {}
            // Others, like PiSSA, change the base's weights as well.
            "init_lora_weights"
                if value.is_boolean() || ["gaussian", "orthogonal", "eva"].contains(&value.as_str().unwrap_or("")) => {}
            _ if neutral || HARMLESS.contains(&name.as_str()) => {}
            _ => return Err(unsupported(&format!("field '{name}' is {}", shown(value)))),
        }
    }
    if present(fields, "target_modules").is_none() {
        return Err(Error::input("field 'target_modules' is missing"));
    }
    Ok(config)
}

fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn whole(name: &str, value: Option<&Value>) -> Result<Option<usize>> {
    let Some(value) = value else { return Ok(None) };
    let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
    number
        .map(Some)
        .ok_or_else(|| Error::input(format!("field '{name}' is {}, expected a positive integer", shown(value))))
}

fn targets(value: &Value) -> Result<TargetModules> {
    let wrong = || {
        let expected = "a list of names, a regular expression or \"all-linear\"";
        Error::input(format!("field 'target_modules' is {}, expected {expected}", shown(value)))
    };
    match value {
        Value::String(text) if text.eq_ignore_ascii_case("all-linear") => Ok(TargetModules::AllLinear),
        Value::String(pattern) if !pattern.is_empty() => Ok(TargetModules::Regex(pattern.clone())),
        Value::Array(items) if !items.is_empty() => {
            let names = items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>();
            Ok(TargetModules::Names(names.ok_or_else(wrong)?))
        }
        _ => Err(wrong()),
    }
}

/// A value, shortened.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { text.chars().take(60).chain(['…']).collect() } else { text }
}

/// What peft 0.18 writes, with every field that its earlier versions ask for.
fn config_json(config: &LoraConfig, base: &str) -> Value {
    let number = |x: f64| if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) };
    let targets = match &config.target_modules {
        TargetModules::AllLinear => json!(MODULES.map(|name| name.rsplit('.').next().unwrap_or(name))),
        TargetModules::Names(names) => json!(names.iter().collect::<BTreeSet<_>>()),
        TargetModules::Regex(pattern) => json!(pattern),
    };
    let ranks: Map<String, Value> = config.rank_pattern.iter().map(|(k, r)| (k.clone(), json!(r))).collect();
    let alphas: Map<String, Value> = config.alpha_pattern.iter().map(|(k, a)| (k.clone(), number(*a))).collect();
    json!({
        "alpha_pattern": alphas,
        "auto_mapping": null,
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "layers_pattern": null,
        "layers_to_transform": config.layers,
        "lora_alpha": number(config.alpha),
        "lora_dropout": config.dropout,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": config.r,
        "rank_pattern": ranks,
        "revision": null,
        "target_modules": targets,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": config.rslora,
    })
}
