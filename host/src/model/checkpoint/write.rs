//! Writing a checkpoint folder that transformers loads unchanged: a tensor at a time, in one file or in shards.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Value, json};

use super::{INDEX, ModelConfig, SINGLE};
use crate::error::{Error, Result};

/// How weights are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightType {
    #[default]
    F32,
    /// Eight bits of exponent, as f32, and eight of precision.
    Bf16,
    /// Numbers up to 65504; a larger weight is an error.
    F16,
}

impl FromStr for WeightType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "f32" | "float32" => Ok(WeightType::F32),
            "bf16" | "bfloat16" => Ok(WeightType::Bf16),
            "f16" | "float16" => Ok(WeightType::F16),
            _ => Err(format!("unknown type '{name}', expected f32, bf16 or f16")),
        }
    }
}

impl WeightType {
    /// PyTorch's name, as in config.json.
    pub fn torch_name(self) -> &'static str {
        match self {
            WeightType::F32 => "float32",
            WeightType::Bf16 => "bfloat16",
            WeightType::F16 => "float16",
        }
    }

    fn width(self) -> usize {
        match self {
            WeightType::F32 => 4,
            WeightType::Bf16 | WeightType::F16 => 2,
        }
    }

    fn safetensors(self) -> Dtype {
        match self {
            WeightType::F32 => Dtype::F32,
            WeightType::Bf16 => Dtype::BF16,
            WeightType::F16 => Dtype::F16,
        }
    }

    /// Rounds to nearest, ties to even. Gives the number of the first element that has no finite value in this type.
    fn convert(self, data: &[f32], bytes: &mut Vec<u8>) -> Option<usize> {
        bytes.clear();
        let mut bad = None;
        for (i, x) in data.iter().enumerate() {
            let finite = match self {
                WeightType::F32 => {
                    bytes.extend(x.to_le_bytes());
                    x.is_finite()
                }
                WeightType::Bf16 => {
                    let rounded = bf16::from_f32(*x);
                    bytes.extend(rounded.to_le_bytes());
                    rounded.is_finite()
                }
                WeightType::F16 => {
                    let rounded = f16::from_f32(*x);
                    bytes.extend(rounded.to_le_bytes());
                    rounded.is_finite()
                }
            };
            if !finite && bad.is_none() {
                bad = Some(i);
            }
        }
        bad
    }
}

/// How a checkpoint is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveOptions {
    pub weights: WeightType,
    /// No file of weights grows larger, unless a single tensor is: then it has a file of its own.
    pub max_shard_bytes: u64,
}

impl Default for SaveOptions {
    /// f32, at most 5 GB a file.
    fn default() -> Self {
        SaveOptions { weights: WeightType::F32, max_shard_bytes: 5_000_000_000 }
    }
}

/// Tensors of one file: names and shapes.
pub type Layout<'a> = [(&'a str, &'a [usize])];

/// Writes `model.safetensors`, or shards with an index, and config.json and generation_config.json. Weights of an
/// earlier checkpoint in the folder are removed.
pub(super) fn save(
    dir: &Path,
    config: &ModelConfig,
    parameters: &[(String, Vec<usize>)],
    options: &SaveOptions,
    read: &mut dyn FnMut(usize) -> Result<Vec<f32>>,
) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, &e))?;
    remove_earlier(dir)?;
    let width = options.weights.width() as u64;
    let elements = |(_, shape): &(String, Vec<usize>)| shape.iter().product::<usize>() as u64;
    let shards = split(parameters.iter().map(|p| elements(p) * width), options.max_shard_bytes);
    let mut map = BTreeMap::new();
    for (number, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => SINGLE.to_owned(),
            count => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        let layout: Vec<_> = shard.clone().map(|i| (parameters[i].0.as_str(), parameters[i].1.as_slice())).collect();
        let first = shard.start;
        write_weights(&dir.join(&name), &layout, options.weights, &mut |i| read(first + i))?;
        map.extend(layout.iter().map(|(tensor, _)| (*tensor, name.clone())));
    }
    if shards.len() > 1 {
        let count: u64 = parameters.iter().map(elements).sum();
        let metadata = json!({"total_parameters": count, "total_size": count * width});
        write_json(&dir.join(INDEX), &json!({"metadata": metadata, "weight_map": map}))?;
    }
    write_json(&dir.join("config.json"), &config_json(config, options.weights))?;
    match &config.generation_json {
        Some(json) => write_json(&dir.join("generation_config.json"), json),
        None => Ok(()),
    }
}

/// Writes one safetensors file. `read` gives the elements of tensor number i of the layout.
pub fn write_weights(
    path: &Path,
    layout: &Layout<'_>,
    weights: WeightType,
    read: &mut dyn FnMut(usize) -> Result<Vec<f32>>,
) -> Result<()> {
    let mut order: Vec<usize> = (0..layout.len()).collect();
    order.sort_by_key(|i| layout[*i].0);
    let (mut infos, mut at) = (Vec::new(), 0);
    for &i in &order {
        let (name, shape) = layout[i];
        let bytes = shape.iter().product::<usize>() * weights.width();
        let info = TensorInfo { dtype: weights.safetensors(), shape: shape.to_vec(), data_offsets: (at, at + bytes) };
        infos.push((name.to_owned(), info));
        at += bytes;
    }
    let broken = |e: &dyn std::fmt::Display| Error::run(format!("cannot write the weights: {e}")).file(path);
    // transformers asks for this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(metadata), infos).map_err(|e| broken(&e))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| broken(&e))?;
    header.resize(header.len().next_multiple_of(8), b' ');

    let io = |e: std::io::Error| Error::io("write", path, &e);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(io)?);
    file.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| file.write_all(&header)).map_err(io)?;
    let mut bytes = Vec::new();
    for &i in &order {
        let (name, shape) = layout[i];
        let data = read(i)?;
        if data.len() != shape.iter().product::<usize>() {
            return Err(broken(&format!("tensor '{name}' has {} elements, not those of {shape:?}", data.len())));
        }
        for (number, chunk) in data.chunks(CHUNK).enumerate() {
            if let Some(at) = weights.convert(chunk, &mut bytes) {
                let (value, place, kind) = (chunk[at], number * CHUNK + at, weights.torch_name());
                let error = Error::run(format!("tensor '{name}' has the value {value} at element {place}"));
                return Err(if value.is_finite() {
                    error
                        .context(format!("saving as {kind}"))
                        .help(format!("{kind} cannot hold it; save as bf16 or f32"))
                } else {
                    error.help("the model is broken; nothing was saved")
                }
                .file(path));
            }
            file.write_all(&bytes).map_err(io)?;
        }
    }
    file.flush().map_err(io)
}

/// Elements that are converted at once.
const CHUNK: usize = 1 << 18;

/// Consecutive tensors go into one file until the next would make it too large, as transformers does.
fn split(sizes: impl Iterator<Item = u64>, limit: u64) -> Vec<std::ops::Range<usize>> {
    let mut shards: Vec<std::ops::Range<usize>> = Vec::new();
    let mut filled = 0;
    for (i, size) in sizes.enumerate() {
        match shards.last_mut() {
            Some(last) if filled + size <= limit => last.end = i + 1,
            _ => {
                shards.push(i..i + 1);
                filled = 0;
            }
        }
        filled += size;
    }
    shards
}

/// config.json as it was read, with the type that the weights are stored in: transformers takes it from there.
fn config_json(config: &ModelConfig, weights: WeightType) -> Value {
    let mut json = config.json.clone();
    let mut named = false;
    for name in ["dtype", "torch_dtype"] {
        if let Some(dtype) = json.get_mut(name) {
            *dtype = weights.torch_name().into();
            named = true;
        }
    }
    if !named && weights != WeightType::F32 {
        // The name that every version of transformers reads.
        json["torch_dtype"] = weights.torch_name().into();
    }
    json
}

fn write_json(path: &Path, json: &Value) -> Result<()> {
    std::fs::write(path, format!("{json:#}\n")).map_err(|e| Error::io("write", path, &e))
}

/// Removes the weights of an earlier checkpoint, which would be read in place of the new ones.
fn remove_earlier(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io("read", dir, &e))? {
        let path = entry.map_err(|e| Error::io("read", dir, &e))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if name == SINGLE || name == INDEX || is_shard(name) {
            std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
        }
    }
    Ok(())
}

/// A name such as `model-00001-of-00003.safetensors`.
fn is_shard(name: &str) -> bool {
    let numbers = name.strip_prefix("model-").and_then(|n| n.strip_suffix(".safetensors"));
    let number = |n: &str| n.len() == 5 && n.bytes().all(|b| b.is_ascii_digit());
    numbers.and_then(|n| n.split_once("-of-")).is_some_and(|(a, b)| number(a) && number(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_filled_in_order() {
        // Sizes, the limit, and the ends of the shards.
        let cases: [(&[u64], u64, &[usize]); 5] = [
            (&[1, 2, 3], 6, &[3]),
            (&[1, 2, 3], 5, &[2, 3]),
            (&[9, 1, 1], 2, &[1, 3]),
            (&[1, 9, 1], 2, &[1, 2, 3]),
            (&[4], 0, &[1]),
        ];
        for (sizes, limit, ends) in cases {
            let starts = std::iter::once(&0).chain(ends);
            let expected: Vec<_> = starts.zip(ends).map(|(start, end)| *start..*end).collect();
            assert_eq!(split(sizes.iter().copied(), limit), expected, "{sizes:?} {limit}");
        }
    }

    #[test]
    fn only_names_of_shards_are_removed() {
        for (name, expected) in [
            ("model-00001-of-00003.safetensors", true),
            ("model-1-of-3.safetensors", false),
            ("model-00001-of-00003.safetensors.bak", false),
            ("adapter_model.safetensors", false),
            ("model-000é1-of-00003.safetensors", false),
        ] {
            assert_eq!(is_shard(name), expected, "{name}");
        }
    }
}
