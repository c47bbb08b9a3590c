//! The decoder and its trainer against transformers' and PyTorch's numbers, and against themselves.

mod broken;
mod checkpoints;
mod lora;
mod numbers;
mod training;

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use creamery::model::Decoder;
use creamery::score::{ScoreGroup, group_logps};
use serde_json::Value;

const MODELS: [&str; 5] = ["llama_tied", "llama3_rope", "mistral_window", "qwen2_bias", "qwen3_qknorm"];

fn fixture(path: &str) -> Value {
    json_file(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).join(path))
}

fn model_dir(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models")).join(name)
}

fn load(name: &str) -> Decoder {
    Decoder::load(model_dir(name), &Device::Cpu).unwrap()
}

fn json_file(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Within `tolerance` of the largest magnitude among the expected numbers.
fn assert_close(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-3f64, |a, b| a.max(b.abs()));
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((f64::from(*g) - e).abs() <= tolerance * scale, "{what}[{i}]: {g} is not {e}");
    }
}

fn values(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// All parameters, as bits: equal if and only if the models are.
fn bits(model: &Decoder) -> Vec<(String, Vec<u32>)> {
    model.parameters().iter().map(|(n, t)| (n.clone(), values(t).into_iter().map(f32::to_bits).collect())).collect()
}

fn logps(model: &Decoder, prompt: &[u32], response: &[u32]) -> Vec<f32> {
    group_logps(model, &[ScoreGroup { prompt, responses: vec![response] }]).unwrap().remove(0).remove(0)
}

fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

type Row = (Vec<u32>, Vec<Vec<u32>>);

/// Prompts with responses of different numbers and lengths, some of them empty.
fn random_rows(count: u32, seed: u32) -> Vec<Row> {
    let mut state = seed;
    let mut tokens = |n: u32| -> Vec<u32> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            7 + (state >> 8) % 313
        };
        (0..n).map(|_| next()).collect()
    };
    let mut row = |i| (tokens(1 + i * 7 % 23), (0..1 + i % 4).map(|j| tokens((i * 5 + j * 11) % 70)).collect());
    (0..count).map(&mut row).collect()
}
