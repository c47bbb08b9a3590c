//! Low-rank adapters (LoRA, arXiv 2106.09685): a linear map `W·x` of a layer becomes `W·x + s·B·A·x` with A `[r, in]`,
//! B `[out, r]` and s = α / r. Only A and B are trained; the base stays as it is, and models share it in memory.

mod config;
mod folder;
mod merge;
mod noise;

use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub use config::{LoraConfig, TargetModules};
pub use folder::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_base, is_adapter};
pub(super) use noise::Dropout;
pub use noise::Noise;

use super::config::ModelConfig;
use super::decoder::Decoder;
use super::ops::{self, Param};
use crate::error::{Error, Result};

/// The linear maps of a layer, in the order of its computation.
pub(super) const MODULES: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// A linear map of a layer, as an index into [`MODULES`].
pub(super) mod module {
    pub const Q: usize = 0;
    pub const K: usize = 1;
    pub const V: usize = 2;
    pub const O: usize = 3;
    pub const GATE: usize = 4;
    pub const UP: usize = 5;
    pub const DOWN: usize = 6;
}

/// Outputs and inputs of each of [`MODULES`].
pub(super) fn module_shapes(c: &ModelConfig) -> [(usize, usize); 7] {
    let (hidden, mlp) = (c.hidden_size, c.intermediate_size);
    [
        (c.q_width(), hidden),
        (c.kv_width(), hidden),
        (c.kv_width(), hidden),
        (hidden, c.q_width()),
        (mlp, hidden),
        (mlp, hidden),
        (hidden, mlp),
    ]
}

/// A and B of one linear map.
pub(super) struct Lora {
    pub a: Param,
    pub b: Param,
    /// α / r, or α / √r.
    pub scale: f32,
    pub dropout: f32,
}

/// The adapter of a decoder.
pub(super) struct Adapter {
    pub config: LoraConfig,
    /// For each layer, one for each of [`MODULES`] that is adapted.
    layers: Vec<[Option<Lora>; 7]>,
    /// Of A and B of each, in the order of the parameters.
    names: Vec<String>,
}

/// Gives the elements of a tensor, by its name and shape.
type Make<'a> = dyn FnMut(&str, [usize; 2]) -> Result<Vec<f32>> + 'a;

impl Adapter {
    /// An adapter whose tensors `make` gives, by name and shape, in the order of the parameters: A then B of each map.
    fn build(config: LoraConfig, base: &ModelConfig, device: &Device, make: &mut Make) -> Result<Self> {
        let shapes = module_shapes(base);
        let targets = config.targets(base)?;
        let (mut layers, mut names) = (Vec::with_capacity(targets.len()), Vec::new());
        for (layer, targets) in targets.into_iter().enumerate() {
            let mut maps = [const { None }; 7];
            for (at, target) in targets.into_iter().enumerate() {
                let Some((r, scale)) = target else { continue };
                let (outputs, inputs) = shapes[at];
                let mut param = |kind: &str, shape: [usize; 2]| -> Result<Param> {
                    let name = format!("{}.lora_{kind}.weight", module_name(layer, at));
                    let tensor = ops::tensor(make(&name, shape)?, &shape[..], device)?;
                    names.push(name);
                    Ok(Param::new(tensor, names.len() - 1))
                };
                let (a, b) = (param("A", [r, inputs])?, param("B", [outputs, r])?);
                maps[at] = Some(Lora { a, b, scale: scale as f32, dropout: config.dropout as f32 });
            }
            layers.push(maps);
        }
        Ok(Adapter { config, layers, names })
    }

    pub fn get(&self, layer: usize, module: usize) -> Option<&Lora> {
        self.layers[layer][module].as_ref()
    }

    /// The first layer that has an adapted map: nothing below it is trained.
    pub fn lowest_layer(&self) -> usize {
        self.layers.iter().position(|maps| maps.iter().any(Option::is_some)).unwrap_or(0)
    }

    fn maps(&self) -> impl Iterator<Item = &Lora> {
        self.layers.iter().flatten().flatten()
    }

    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let tensors = self.maps().flat_map(|lora| [lora.a.tensor.clone(), lora.b.tensor.clone()]);
        self.names.iter().cloned().zip(tensors).collect()
    }

    pub fn changed(&mut self) {
        for lora in self.layers.iter_mut().flatten().flatten() {
            lora.a.changed();
            lora.b.changed();
        }
    }

    /// A copy that shares no memory with this one.
    pub fn copy(&self, base: &ModelConfig, device: &Device) -> Result<Self> {
        let mut tensors = self.parameters().into_iter();
        Adapter::build(self.config.clone(), base, device, &mut |name, _| match tensors.next() {
            Some((_, tensor)) => Ok(tensor.flatten_all()?.to_vec1()?),
            None => Err(Error::run(format!("the adapter has no tensor '{name}'"))),
        })
    }
}

/// The name of a linear map, as in the checkpoint.
pub(super) fn module_name(layer: usize, module: usize) -> String {
    format!("model.layers.{layer}.{}", MODULES[module])
}

impl Decoder {
    /// This model's base with a fresh adapter, which changes nothing until it is trained: A is drawn from
    /// uniform(−1/√in, 1/√in) (Kaiming's with a = √5, as peft does), B is 0. The base's memory is shared; an adapter
    /// that this model has is left out.
    ///
    /// # Errors
    /// Settings out of range, and target modules that the model does not have.
    pub fn add_adapter(&self, config: &LoraConfig, seed: u64) -> Result<Decoder> {
        config.check()?;
        config.check_names(&self.config)?;
        let adapter = Adapter::build(config.clone(), &self.config, &self.device, &mut |name, shape| {
            let count = shape[0] * shape[1];
            Ok(if name.ends_with("lora_A.weight") { uniform(seed, name, count, shape[1]) } else { vec![0.0; count] })
        })?;
        Ok(self.with(Some(adapter)))
    }

    /// The settings of the adapter, if there is one.
    pub fn adapter(&self) -> Option<&LoraConfig> {
        self.adapter.as_ref().map(|adapter| &adapter.config)
    }

    /// Does training draw masks?
    pub fn has_dropout(&self) -> bool {
        self.adapter().is_some_and(|config| config.dropout > 0.0)
    }

    /// The base alone. Its memory is shared, so it cannot be trained.
    pub fn without_adapter(&self) -> Decoder {
        self.with(None)
    }

    /// Do the two have one base in memory?
    pub fn shares_base_with(&self, other: &Decoder) -> bool {
        Arc::ptr_eq(&self.base, &other.base)
    }

    /// For each of [`Decoder::parameters`], is its gradient 0 by right? A's is while B is 0.
    pub fn without_gradient(&self) -> Result<Vec<bool>> {
        let Some(adapter) = &self.adapter else { return Ok(vec![false; self.parameters().len()]) };
        let mut all = Vec::with_capacity(adapter.names.len());
        for lora in adapter.maps() {
            all.extend([ops::sum_of_squares(&lora.b.tensor)? == 0.0, false]);
        }
        Ok(all)
    }
}

/// Numbers of uniform(−1/√inputs, 1/√inputs), from a stream keyed by seed and name.
fn uniform(seed: u64, name: &str, count: usize, inputs: usize) -> Vec<f32> {
    let key = blake3::hash(format!("initialize {seed} {name}").as_bytes());
    let mut rng = ChaCha8Rng::from_seed(*key.as_bytes());
    let bound = 1.0 / (inputs as f64).sqrt();
    (0..count).map(|_| (bound * ((rng.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0)) as f32).collect()
}
