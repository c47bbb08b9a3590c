//! The Llama-family decoder: configuration, checkpoints, forward and backward passes on packed rows.

use candle_core::{Device, Tensor};

mod adapter;
mod batch;
mod cache;
mod checkpoint;
mod config;
mod decoder;
mod forward;
pub mod ops;
mod rope;

pub use adapter::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, LoraConfig, Noise, TargetModules, adapter_base, is_adapter};
pub use batch::{Batch, Group};
pub use cache::{KvCache, token_logp};
pub(crate) use checkpoint::open_weights;
pub use checkpoint::{Checkpoint, Layout, SaveOptions, WeightType, Weights, copy_tokenizer, write_weights};
pub use config::ModelConfig;
pub(crate) use config::family_names;
pub use decoder::Decoder;
pub use forward::Forward;
pub use ops::Span;
pub use rope::Rope;

use crate::error::{Error, Result};

/// A gradient for each of [`Decoder::parameters`], in the same order.
pub struct Gradients {
    pub tensors: Vec<Tensor>,
}

impl Gradients {
    pub fn zeros(model: &Decoder) -> Result<Self> {
        let tensors: Result<Vec<_>> = model.parameters().iter().map(|(_, t)| ops::zeros_like(t)).collect();
        Ok(Gradients { tensors: tensors? })
    }

    pub fn clear(&self) -> Result<()> {
        self.tensors.iter().try_for_each(ops::clear)
    }

    /// The length of all gradients as one vector, summed in double precision and a fixed order.
    pub fn norm(&self) -> Result<f64> {
        let mut sum = 0.0;
        for tensor in &self.tensors {
            sum += ops::sum_of_squares(tensor)?;
        }
        Ok(sum.sqrt())
    }
}

/// The instruction set that the kernels use on this machine. Equal seeds give equal bits only where it is equal.
pub fn instruction_set() -> String {
    let arch = format!("{:?}", pulp::Arch::new());
    let name = arch.split(['(', ' ']).next().unwrap_or(&arch);
    format!("{}-{}", std::env::consts::ARCH, name.to_lowercase())
}

/// The device of a setting: `auto` (the first CUDA device that works, else the CPU), `cpu`, `cuda` or `cuda:N`.
pub fn device(name: &str) -> Result<Device> {
    let unavailable = |why: String| {
        Error::config(format!("device '{name}' is not available: {why}"))
            .help("use device = \"cpu\", or \"auto\" to take what there is")
    };
    match name {
        "cpu" => Ok(Device::Cpu),
        // The kernels of this build decide: without those for CUDA, the CPU is what there is.
        "auto" => Ok(Device::Cpu),
        _ => match name.strip_prefix("cuda").map(|rest| rest.strip_prefix(':').unwrap_or(rest)) {
            Some(number) if number.is_empty() || number.parse::<usize>().is_ok() => {
                Err(unavailable("this build has no CUDA kernels".to_owned()))
            }
            _ => Err(Error::config(format!("unknown device '{name}'")).help("expected auto, cpu or cuda:N")),
        },
    }
}
