//! Hugging Face checkpoint folders: safetensors in (one file or shards), one safetensors file out.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use super::config::ModelConfig;
use crate::error::{Error, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// A header larger than this is a broken file, as in the safetensors format.
const MAX_HEADER: u64 = 100_000_000;

/// Copies the tokenizer's files that are in `from` to `to`: tokenizer.json and what belongs to it.
pub fn copy_tokenizer(from: &Path, to: &Path) -> Result<()> {
    let names = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"];
    for name in names {
        let source = from.join(name);
        if source.exists() {
            let bytes = std::fs::read(&source).map_err(|e| Error::io("read", &source, &e))?;
            let target = to.join(name);
            std::fs::write(&target, bytes).map_err(|e| Error::io("write", &target, &e))?;
        }
    }
    Ok(())
}

/// Reads the named tensors, in this order, as f32. Any tensor of the folder that is not expected is an error, except
/// those that transformers ignores as well.
pub(super) fn load(dir: &Path, config: &ModelConfig, expected: &[(String, Vec<usize>)]) -> Result<Vec<Vec<f32>>> {
    let mut files = open(dir)?;
    let mut place: HashMap<String, usize> = HashMap::new();
    for (i, file) in files.iter().enumerate() {
        for name in file.tensors.keys() {
            if place.insert(name.clone(), i).is_some() {
                return Err(Error::input(format!("tensor '{name}' is in more than one file")).file(&file.path));
            }
        }
    }
    let known: HashMap<&str, ()> = expected.iter().map(|(name, _)| (name.as_str(), ())).collect();
    let ignored = |name: &str| name.ends_with("rotary_emb.inv_freq") || (config.tied && name == "lm_head.weight");
    for file in &files {
        if let Some(name) = file.tensors.keys().find(|name| !known.contains_key(name.as_str()) && !ignored(name)) {
            return Err(Error::input(format!("tensor '{name}' has no place in the model that config.json describes"))
                .file(&file.path)
                .help("the weights and config.json belong to different models, or the option is not supported"));
        }
    }
    let first = files[0].path.clone();
    expected
        .iter()
        .map(|(name, shape)| {
            let file = place.get(name).ok_or_else(|| {
                Error::input(format!("tensor '{name}' is missing, expected with shape {shape:?}"))
                    .file(if files.len() == 1 { first.clone() } else { dir.join(INDEX) })
            })?;
            files[*file].read(name, shape)
        })
        .collect()
}

/// Writes `model.safetensors`, `config.json` and, where there was one, `generation_config.json`.
pub(super) fn save(dir: &Path, config: &ModelConfig, tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, &e))?;
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, data)| data.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let path = dir.join(SINGLE);
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.clone(), view))
    });
    let write = || -> Result<(), safetensors::SafeTensorError> {
        let views = views.collect::<Result<Vec<_>, _>>()?;
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(views, Some(metadata), &path)
    };
    write().map_err(|e| match e {
        safetensors::SafeTensorError::IoError(e) => Error::io("write", &path, &e),
        other => Error::run(format!("cannot write the weights: {other}")).file(&path),
    })?;
    // The weights are written in single precision; a config that says otherwise would have them rounded on loading.
    let mut json = config.json.clone();
    for name in ["dtype", "torch_dtype"] {
        if let Some(dtype) = json.get_mut(name) {
            *dtype = "float32".into();
        }
    }
    write_json(&dir.join("config.json"), &json)?;
    if let Some(json) = &config.generation_json {
        write_json(&dir.join("generation_config.json"), json)?;
    }
    share(&path, &dir.join("config.json"))
}

/// Gives the weights, which safetensors writes for their owner alone, the permissions of an ordinary new file.
fn share(weights: &Path, ordinary: &Path) -> Result<()> {
    std::fs::metadata(ordinary)
        .and_then(|m| std::fs::set_permissions(weights, m.permissions()))
        .map_err(|e| Error::io("set the permissions of", weights, &e))
}

fn write_json(path: &Path, json: &Value) -> Result<()> {
    std::fs::write(path, format!("{json:#}\n")).map_err(|e| Error::io("write", path, &e))
}

fn open(dir: &Path) -> Result<Vec<Weights>> {
    let single = dir.join(SINGLE);
    if single.exists() {
        return Ok(vec![Weights::open(single)?]);
    }
    let index = dir.join(INDEX);
    if !index.exists() {
        return Err(Error::input(format!("no weights: the folder has neither {SINGLE} nor {INDEX}"))
            .file(dir)
            .help("a checkpoint is a Hugging Face folder with config.json and safetensors weights"));
    }
    let text = std::fs::read_to_string(&index).map_err(|e| Error::io("read", &index, &e))?;
    let json: Value = serde_json::from_str(&text)
        .map_err(|e| Error::input(format!("not valid JSON: {e}")).file(&index).line(e.line()))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| Error::input("field 'weight_map' is missing or not an object").file(&index))?;
    let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, shard) in map {
        let shard = shard.as_str().filter(|s| !s.is_empty() && !s.contains(['/', '\\']));
        let shard = shard.ok_or_else(|| {
            Error::input(format!("the file of tensor '{tensor}' is not a plain file name")).file(&index)
        })?;
        shards.entry(shard).or_default().push(tensor);
    }
    if shards.is_empty() {
        return Err(Error::input("field 'weight_map' names no tensor").file(&index));
    }
    let mut files = Vec::new();
    for (shard, tensors) in shards {
        if !dir.join(shard).exists() {
            return Err(Error::input(format!("names the shard '{shard}', which is not in the folder")).file(&index));
        }
        let file = Weights::open(dir.join(shard))?;
        if let Some(tensor) = tensors.iter().find(|t| !file.tensors.contains_key(**t)) {
            return Err(Error::input(format!("tensor '{tensor}' is missing; {INDEX} says it is here")).file(&file.path));
        }
        files.push(file);
    }
    Ok(files)
}

/// One safetensors file, its header read and checked against the file's length.
pub(super) struct Weights {
    path: PathBuf,
    file: File,
    data_start: u64,
    tensors: BTreeMap<String, Entry>,
}

struct Entry {
    dtype: String,
    shape: Vec<usize>,
    start: u64,
    end: u64,
}

impl Weights {
    pub fn open(path: PathBuf) -> Result<Self> {
        let io = |e: std::io::Error| Error::io("read", &path, &e);
        let mut file = File::open(&path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let broken = |what: String| {
            Error::input(what).file(&path).help("the file is damaged or not safetensors; copy or download it again")
        };
        if length < 8 {
            return Err(broken(format!("truncated: {length} bytes, no safetensors header")));
        }
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(io)?;
        let size = u64::from_le_bytes(size);
        if size > MAX_HEADER || size > length - 8 {
            return Err(broken(format!("truncated: its header needs {size} bytes, the file has {length}")));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(io)?;
        let header: Value =
            serde_json::from_slice(&header).map_err(|e| broken(format!("the header is not valid JSON: {e}")))?;
        let header = header.as_object().ok_or_else(|| broken("the header is not a JSON object".to_owned()))?;
        let data_start = 8 + size;
        let mut tensors = BTreeMap::new();
        for (name, value) in header.iter().filter(|(name, _)| *name != "__metadata__") {
            let entry = Entry::parse(value).ok_or_else(|| broken(format!("the header entry of '{name}' is broken")))?;
            if entry.end > length - data_start {
                return Err(broken(format!(
                    "truncated: tensor '{name}' ends at byte {}, the file has {length}",
                    data_start.saturating_add(entry.end)
                )));
            }
            tensors.insert(name.clone(), entry);
        }
        Ok(Weights { path, file, data_start, tensors })
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's shape; `None` where there is no such tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    pub fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let entry = &self.tensors[name];
        let wrong = |what: String| Error::input(format!("tensor '{name}' {what}")).file(&self.path);
        if entry.shape != shape {
            return Err(wrong(format!("has shape {:?}, config.json asks for {shape:?}", entry.shape)));
        }
        let width = match entry.dtype.as_str() {
            "F32" => 4,
            "F16" | "BF16" => 2,
            other => return Err(wrong(format!("has dtype {other}, expected F32, F16 or BF16"))),
        };
        let count = shape.iter().product::<usize>();
        if entry.end - entry.start != count as u64 * width {
            let bytes = entry.end - entry.start;
            return Err(wrong(format!("holds {bytes} bytes, its shape needs {}", count as u64 * width)));
        }
        let mut bytes = vec![0; (entry.end - entry.start) as usize];
        let start = self.data_start + entry.start;
        self.file.seek(SeekFrom::Start(start)).map_err(|e| Error::io("read", &self.path, &e))?;
        self.file.read_exact(&mut bytes).map_err(|e| Error::io("read", &self.path, &e))?;
        let halves = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        let data: Vec<f32> = match entry.dtype.as_str() {
            "F32" => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            "F16" => halves().map(half_to_f32).collect(),
            _ => halves().map(|bits| f32::from_bits(u32::from(bits) << 16)).collect(),
        };
        match data.iter().position(|x| !x.is_finite()) {
            Some(i) => Err(wrong(format!("has the value {} at element {i}, expected finite numbers", data[i]))),
            None => Ok(data),
        }
    }
}

impl Entry {
    fn parse(value: &Value) -> Option<Self> {
        let offsets = value.get("data_offsets")?.as_array().filter(|o| o.len() == 2)?;
        let shape = value.get("shape")?.as_array()?;
        let shape: Option<Vec<usize>> = shape.iter().map(|d| d.as_u64().and_then(|d| d.try_into().ok())).collect();
        let (start, end) = (offsets[0].as_u64()?, offsets[1].as_u64()?);
        let dtype = value.get("dtype")?.as_str()?.to_owned();
        (start <= end).then_some(Entry { dtype, shape: shape?, start, end })
    }
}

fn half_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, mantissa) = (u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    match exponent {
        0 => {
            let magnitude = mantissa as f32 * 2f32.powi(-24);
            f32::from_bits(magnitude.to_bits() | sign)
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | mantissa << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | mantissa << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::half_to_f32;

    #[test]
    fn half_precision_values() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x0001, 5.960_464_5e-8),
            (0x7bff, 65504.0),
        ];
        for (bits, value) in cases {
            assert_eq!(half_to_f32(bits), value, "{bits:#06x}");
        }
        assert!(half_to_f32(0x7e00).is_nan());
        assert_eq!(half_to_f32(0xfc00), f32::NEG_INFINITY);
    }
}
