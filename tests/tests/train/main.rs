//! Training: checkpoints in the middle and what goes on from them, objectives, and `creamery train`.

mod command;
mod inputs;
mod objectives;
mod resume;
mod wrong;

use std::path::{Path, PathBuf};

use candle_core::Device;
use creamery::model::Decoder;

fn model_dir(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models")).join(name)
}

fn load(name: &str) -> Decoder {
    load_from(&model_dir(name))
}

fn load_from(folder: &Path) -> Decoder {
    Decoder::load(folder, &Device::Cpu).unwrap()
}

/// All trainable tensors, as bits: equal if and only if the models are.
fn bits(model: &Decoder) -> Vec<(String, Vec<u32>)> {
    let one = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    model.parameters().iter().map(|(n, t)| (n.clone(), one(t).into_iter().map(f32::to_bits).collect())).collect()
}

/// `count` runs of `length` tokens, the same for the same seed.
fn tokens(seed: u32, length: usize) -> Vec<u32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        7 + (state >> 8) % 313
    };
    (0..length).map(|_| next()).collect()
}
