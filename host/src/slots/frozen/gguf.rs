//! Quantized models in GGUF files (llama.cpp's), through candle-transformers.
//!
//! candle holds every length in the file's header against the size of the file; what it would allocate or divide by
//! without a look is checked here.
//!
//! candle's kernels for quantized weights hand every product to threads that wait in a loop. Where cores are busy with
//! other work, a product of a small model takes a time slice instead of microseconds, so small files are computed with
//! their weights in f32. `CANDLE_NUM_THREADS=1` does the same for large ones.

use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};

use super::{Copied, Frozen, MAX_CONTEXT, Network, row, unusable};
use crate::data::files::open_ordinary;
use crate::error::{Error, Result};

/// By `general.architecture`. Mistral's files say "llama" as well.
const ARCHITECTURES: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// Bytes of a file whose weights are computed in f32.
const SMALL: u64 = 32 << 20;

/// `quantized` leaves weights as they are in the file; else that is left to its size.
pub(super) fn open(path: &Path, quantized: bool) -> Result<Frozen> {
    let (file, length) = open_ordinary(path)?;
    let mut reader = BufReader::new(file);
    let at = |e: Error| e.file(path);
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Content::read(&mut reader)));
    let content = match read {
        Ok(Ok(content)) => content,
        Ok(Err(e)) => {
            let text = e.to_string();
            let first = text.lines().next().unwrap_or_default();
            return Err(at(Error::input(format!("not a GGUF file that can be read: {first:.300}"))
                .help("the file is damaged or of another format; copy or download it again")));
        }
        Err(_) => return Err(at(Error::input("not a GGUF file: its header contradicts itself"))),
    };
    let mut content = content;
    let shape = check(&mut content).map_err(at)?;
    let eos = match content.metadata.get("tokenizer.ggml.eos_token_id").map(Value::to_u32) {
        Some(Ok(id)) if (id as usize) < shape.vocabulary => Some(id),
        _ => None,
    };
    let frozen = Frozen::build(shape.vocabulary, shape.context, || {
        let network = match quantized || length > SMALL {
            true => network(&shape.architecture, content, &mut reader),
            false => expanded(content, &mut reader).and_then(|mut expanded| {
                let content = Content::read(&mut expanded)?;
                network(&shape.architecture, content, &mut expanded)
            }),
        };
        network.map_err(|e| unusable(&e))
    });
    Ok(Frozen { eos, ..frozen.map_err(at)? })
}

struct Shape {
    architecture: String,
    vocabulary: usize,
    context: usize,
}

fn check(content: &mut Content) -> Result<Shape> {
    let architecture = match content.metadata.get("general.architecture").map(Value::to_string) {
        Some(Ok(name)) => name.clone(),
        _ => return Err(Error::input("the file's metadata has no general.architecture")),
    };
    if !ARCHITECTURES.contains(&architecture.as_str()) {
        return Err(Error::input(format!("unsupported architecture '{architecture:.80}' of a GGUF file"))
            .help(format!("supported are {}; others run behind an `endpoint`", ARCHITECTURES.join(", "))));
    }
    let tensors = content.tensor_infos.len() as u64;
    let optional = |field: &str| match content.metadata.get(&format!("{architecture}.{field}")) {
        None => Ok(None),
        Some(value) => {
            value.to_u64().map(Some).map_err(|_| Error::input(format!("'{architecture}.{field}' is no whole number")))
        }
    };
    let number = |field: &str, most: u64| match optional(field)? {
        Some(n) if (1..=most).contains(&n) => Ok(n),
        Some(n) => Err(Error::input(format!("'{architecture}.{field}' is {n}, expected a number from 1 to {most}"))),
        None => Err(Error::input(format!("'{architecture}.{field}' is missing in the file's metadata"))),
    };
    let (heads, kv_heads) = (number("attention.head_count", 1 << 12)?, number("attention.head_count_kv", 1 << 12)?);
    let (hidden, layers) = (number("embedding_length", 1 << 20)?, number("block_count", 10_000)?);
    let trained = number("context_length", u64::from(u32::MAX))?;
    if !heads.is_multiple_of(kv_heads) || !hidden.is_multiple_of(heads) {
        return Err(Error::input(format!(
            "{heads} attention heads do not go with {kv_heads} key-value heads and a hidden size of {hidden}"
        )));
    }
    if layers > tensors {
        return Err(Error::input(format!("{layers} layers, but only {tensors} tensors")));
    }
    for field in ["rope.dimension_count", "attention.key_length", "attention.value_length"] {
        if let Some(n) = optional(field)?
            && (n == 0 || n > 4096 || !n.is_multiple_of(2))
        {
            return Err(Error::input(format!("'{architecture}.{field}' is {n}, expected an even number up to 4096")));
        }
    }
    if optional("expert_count")?.is_some_and(|n| n > 0) {
        return Err(Error::input("a mixture of experts is not supported").help("give the slot an `endpoint`"));
    }
    let scaled = content.metadata.get(&format!("{architecture}.rope.scaling.type"));
    let scaled = scaled.is_some_and(|v| v.to_string().is_ok_and(|kind| kind != "none"));
    if scaled || content.tensor_infos.contains_key("rope_freqs.weight") {
        // candle passes over both, and the model would be another one.
        return Err(Error::input("the file scales its rotary positions, which is not supported for GGUF files")
            .help("use the model's safetensors folder, or give the slot an `endpoint`"));
    }
    for (name, info) in &content.tensor_infos {
        if info.shape.dims().iter().try_fold(1usize, |n, d| n.checked_mul(*d)).is_none() {
            return Err(Error::input(format!("tensor '{name:.80}' has more elements than there can be")));
        }
    }
    let Some(embedding) = content.tensor_infos.get("token_embd.weight") else {
        return Err(Error::input("tensor 'token_embd.weight' is missing"));
    };
    let &[vocabulary, width] = embedding.shape.dims() else {
        return Err(Error::input("tensor 'token_embd.weight' is not a matrix"));
    };
    if width as u64 != hidden || vocabulary == 0 {
        let shape = embedding.shape.dims();
        return Err(Error::input(format!("tensor 'token_embd.weight' has shape {shape:?}, expected [_, {hidden}]")));
    }
    let most = if architecture == "llama" { quantized_llama::MAX_SEQ_LEN } else { MAX_CONTEXT };
    let context = trained.min(most as u64);
    let mut set = |field: String, n: u64| content.metadata.insert(field, Value::U32(n as u32));
    set(format!("{architecture}.context_length"), context);
    // What llama.cpp assumes.
    if architecture == "llama" {
        let field = "llama.rope.dimension_count".to_owned();
        content.metadata.entry(field).or_insert(Value::U32((hidden / heads) as u32));
    } else {
        // candle's table of rotary positions would be in half precision.
        set("general.dtype".to_owned(), 0);
    }
    Ok(Shape { architecture, vocabulary, context: context as usize })
}

/// The same file with its weights in f32.
fn expanded(content: Content, reader: &mut (impl Read + Seek)) -> candle_core::Result<Cursor<Vec<u8>>> {
    let mut tensors = Vec::with_capacity(content.tensor_infos.len());
    for name in content.tensor_infos.keys() {
        let weights = content.tensor(reader, name, &Device::Cpu)?.dequantize(&Device::Cpu)?;
        tensors.push((name.as_str(), QTensor::quantize(&weights, GgmlDType::F32)?));
    }
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let metadata: Vec<_> = content.metadata.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let mut bytes = Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &metadata, &tensors)?;
    bytes.set_position(0);
    Ok(bytes)
}

fn network(
    architecture: &str,
    content: Content,
    reader: &mut (impl Read + Seek),
) -> candle_core::Result<Box<dyn Network>> {
    Ok(match architecture {
        "qwen2" => Box::new(Qwen2(quantized_qwen2::ModelWeights::from_gguf(content, reader, &Device::Cpu)?)),
        "qwen3" => Box::new(Qwen3(quantized_qwen3::ModelWeights::from_gguf(content, reader, &Device::Cpu)?)),
        _ => {
            let model = quantized_llama::ModelWeights::from_gguf(content, reader, &Device::Cpu)?;
            Copied::network(model, quantized_llama::ModelWeights::forward)
        }
    })
}

/// It cannot be copied, and it keeps a mask for each pair of lengths that it ever met.
struct Qwen2(quantized_qwen2::ModelWeights);

impl Network for Qwen2 {
    fn start(&mut self) {
        self.0.clear_kv_cache();
    }

    fn step(&mut self, tokens: &[u32], fed: usize) -> candle_core::Result<Tensor> {
        // In pieces whose lengths are powers of 2, so that there are few masks.
        let (mut rest, mut fed) = (tokens, fed);
        loop {
            let (piece, after) = rest.split_at(1 << rest.len().min(256).ilog2());
            let logits = self.0.forward(&row(piece)?, fed)?;
            if after.is_empty() {
                return Ok(logits);
            }
            (rest, fed) = (after, fed + piece.len());
        }
    }

    fn fork(&self) -> Option<Box<dyn Network>> {
        None
    }
}

/// Its memory is written in place, and large from the start: it is emptied, not copied.
struct Qwen3(quantized_qwen3::ModelWeights);

impl Network for Qwen3 {
    fn start(&mut self) {
        self.0.clear_kv_cache();
    }

    fn step(&mut self, tokens: &[u32], fed: usize) -> candle_core::Result<Tensor> {
        self.0.forward(&row(tokens)?, fed)
    }

    fn fork(&self) -> Option<Box<dyn Network>> {
        None
    }
}
