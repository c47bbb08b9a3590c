//! The decoder's parameters: loading, initializing, saving, copying.

use std::path::Path;
use std::sync::{Arc, Mutex};

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::adapter::Adapter;
use super::checkpoint::{self, Checkpoint, SaveOptions};
use super::config::ModelConfig;
use super::ops::{self, Param};
use crate::error::{Error, Result};

/// A Llama-family decoder in f32: a base, which several decoders may share in memory, and perhaps an adapter.
pub struct Decoder {
    pub config: ModelConfig,
    pub(super) device: Device,
    pub(super) base: Arc<Base>,
    pub(super) adapter: Option<Adapter>,
    /// Cosines and sines of the positions met so far.
    pub(super) rotations: Mutex<Option<(Tensor, Tensor)>>,
}

/// The weights of a checkpoint.
pub(super) struct Base {
    pub embedding: Param,
    pub layers: Vec<Layer>,
    pub norm: Param,
    /// `None` where the head is the embedding.
    pub head: Option<Param>,
    names: Vec<String>,
}

pub(super) struct Linear {
    pub weight: Param,
    pub bias: Option<Param>,
}

pub(super) struct Layer {
    pub input_norm: Param,
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    pub o: Linear,
    pub qk_norm: Option<(Param, Param)>,
    pub mlp_norm: Param,
    pub gate: Linear,
    pub up: Linear,
    pub down: Linear,
}

impl Base {
    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut all = vec![&self.embedding];
        for l in &self.layers {
            all.push(&l.input_norm);
            for linear in [&l.q, &l.k, &l.v, &l.o] {
                all.push(&linear.weight);
                all.extend(&linear.bias);
            }
            all.extend(l.qk_norm.iter().flat_map(|(q, k)| [q, k]));
            all.push(&l.mlp_norm);
            for linear in [&l.gate, &l.up, &l.down] {
                all.push(&linear.weight);
                all.extend(&linear.bias);
            }
        }
        all.push(&self.norm);
        all.extend(&self.head);
        self.names.iter().cloned().zip(all.into_iter().map(|p| p.tensor.clone())).collect()
    }

    /// Drops what was derived from the values.
    fn changed(&mut self) {
        self.embedding.changed();
        for l in &mut self.layers {
            for linear in [&mut l.q, &mut l.k, &mut l.v, &mut l.o, &mut l.gate, &mut l.up, &mut l.down] {
                linear.weight.changed();
            }
        }
        if let Some(head) = &mut self.head {
            head.changed();
        }
    }
}

impl Layer {
    /// In the order of the modules that an adapter may have.
    pub fn linears(&self) -> [&Linear; 7] {
        [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down]
    }
}

impl Decoder {
    /// Loads a Hugging Face folder: config.json and f32, f16 or bf16 safetensors, in one file or in shards.
    pub fn load(dir: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let mut checkpoint = Checkpoint::open(dir)?;
        let data: Result<Vec<_>> = (0..checkpoint.parameters().len()).map(|i| checkpoint.read(i)).collect();
        Self::build(checkpoint.config, data?, device)
    }

    /// A model with weights drawn from normal(0, `initializer_range`), norms 1 and biases 0. Each tensor has its own
    /// random stream, keyed by the seed and its name.
    pub fn random(config: ModelConfig, seed: u64, device: &Device) -> Result<Self> {
        let one = |(name, shape): &(String, Vec<usize>)| {
            let count = shape.iter().product();
            match shape.len() {
                1 if name.ends_with("bias") => vec![0.0; count],
                1 => vec![1.0; count],
                _ => normal(seed, name, count, config.initializer_range),
            }
        };
        let data = shapes(&config).iter().map(one).collect();
        Self::build(config, data, device)
    }

    /// Writes the weights in f32, config.json and generation_config.json (if there was one): a folder that
    /// transformers loads. More than 5 GB of weights are written in shards.
    ///
    /// # Errors
    /// A model with an adapter: [`Decoder::save_adapter`] saves that, [`Decoder::merged`] makes it part of the weights.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<()> {
        self.save_with(dir, &SaveOptions::default())
    }

    /// As [`Decoder::save`], with a choice of the weights' type and the size of the shards.
    pub fn save_with(&self, dir: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        if self.adapter.is_some() {
            return Err(Error::run("a model with an adapter is no checkpoint: merge it, or save the adapter"));
        }
        let parameters = self.parameters();
        let mut read = |i: usize| -> Result<Vec<f32>> { Ok(parameters[i].1.flatten_all()?.to_vec1()?) };
        checkpoint::save(dir.as_ref(), &self.config, options, &mut read)
    }

    /// The trainable tensors, in a fixed order: those of the adapter if there is one, else all weights, under their
    /// Hugging Face names. They share the model's memory: who changes one in place must call
    /// [`Decoder::parameters_changed`].
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        match &self.adapter {
            Some(adapter) => adapter.parameters(),
            None => self.base.tensors(),
        }
    }

    /// The weights of the base, under their Hugging Face names.
    pub(super) fn base_tensors(&self) -> Vec<(String, Tensor)> {
        self.base.tensors()
    }

    /// Sets one parameter's elements, in row-major order.
    ///
    /// # Errors
    /// No such parameter, another number of elements, or weights that another model shares.
    pub fn set_parameter(&mut self, name: &str, data: &[f32]) -> Result<()> {
        self.check_trainable()?;
        let parameters = self.parameters();
        let tensor = parameters.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor);
        let tensor = tensor.ok_or_else(|| Error::run(format!("the model has no parameter '{name}'")))?;
        if tensor.elem_count() != data.len() {
            let count = tensor.elem_count();
            return Err(Error::run(format!("parameter '{name}' has {count} elements, not {}", data.len())));
        }
        ops::write(tensor, |to| to.copy_from_slice(data))?;
        self.parameters_changed();
        Ok(())
    }

    /// Fails if a change of this model's parameters would change another model.
    pub fn check_trainable(&mut self) -> Result<()> {
        if self.adapter.is_none() && Arc::get_mut(&mut self.base).is_none() {
            return Err(Error::run("these weights are shared with another model, so they cannot be changed")
                .help("train a copy, or an adapter"));
        }
        Ok(())
    }

    /// Drops what was derived from the parameters' values.
    pub fn parameters_changed(&mut self) {
        match &mut self.adapter {
            Some(adapter) => adapter.changed(),
            None => {
                // Of shared weights nothing is changed: `check_trainable` comes first.
                if let Some(base) = Arc::get_mut(&mut self.base) {
                    base.changed();
                }
            }
        }
    }

    /// A copy whose parameters share no memory with this one's. The base under an adapter is shared.
    pub fn copy(&self) -> Result<Self> {
        if let Some(adapter) = &self.adapter {
            return Ok(self.with(Some(adapter.copy(&self.config, &self.device)?)));
        }
        let data: Result<Vec<_>> =
            self.parameters().iter().map(|(_, t)| Ok(t.flatten_all()?.to_vec1::<f32>()?)).collect();
        Self::build(self.config.clone(), data?, &self.device)
    }

    /// This model's base, shared, with an adapter or with none.
    pub(super) fn with(&self, adapter: Option<Adapter>) -> Self {
        Decoder {
            config: self.config.clone(),
            device: self.device.clone(),
            base: self.base.clone(),
            adapter,
            rotations: Mutex::new(self.rotations.lock().unwrap_or_else(|e| e.into_inner()).clone()),
        }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Tokens that end a response; several are possible.
    pub fn eos_token_ids(&self) -> &[u32] {
        &self.config.eos_token_ids
    }

    /// The longest sequence the model is made for.
    pub fn max_positions(&self) -> usize {
        self.config.max_positions
    }

    pub(super) fn head(&self) -> &Param {
        self.base.head.as_ref().unwrap_or(&self.base.embedding)
    }

    pub(super) fn build(config: ModelConfig, data: Vec<Vec<f32>>, device: &Device) -> Result<Self> {
        let shapes = shapes(&config);
        let mut params = Vec::with_capacity(data.len());
        for (i, (data, (_, shape))) in data.into_iter().zip(&shapes).enumerate() {
            params.push(Param::new(ops::tensor(data, shape.as_slice(), device)?, i));
        }
        let mut params = params.into_iter();
        // `shapes` lists exactly the tensors that are taken here, in this order.
        let mut next = || params.next().expect("one tensor for each shape");
        let embedding = next();
        let mut layers = Vec::with_capacity(config.num_layers);
        for _ in 0..config.num_layers {
            let linear = |bias: bool, next: &mut dyn FnMut() -> Param| {
                let weight = next();
                Linear { weight, bias: bias.then(next) }
            };
            let input_norm = next();
            let q = linear(config.qkv_bias, &mut next);
            let k = linear(config.qkv_bias, &mut next);
            let v = linear(config.qkv_bias, &mut next);
            let o = linear(config.o_bias, &mut next);
            let qk_norm = config.qk_norm.then(|| (next(), next()));
            let mlp_norm = next();
            let gate = linear(config.mlp_bias, &mut next);
            let up = linear(config.mlp_bias, &mut next);
            let down = linear(config.mlp_bias, &mut next);
            layers.push(Layer { input_norm, q, k, v, o, qk_norm, mlp_norm, gate, up, down });
        }
        let norm = next();
        let head = (!config.tied).then(next);
        let names = shapes.into_iter().map(|(name, _)| name).collect();
        Ok(Decoder {
            config,
            device: device.clone(),
            base: Arc::new(Base { embedding, layers, norm, head, names }),
            adapter: None,
            rotations: Mutex::new(None),
        })
    }
}

/// The tensors of a checkpoint with this configuration: Hugging Face names and shapes, in the order of parameters.
pub(super) fn shapes(c: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let mut all = vec![("model.embed_tokens.weight".to_owned(), vec![c.vocab_size, c.hidden_size])];
    for i in 0..c.num_layers {
        let mut push = |name: &str, shape: Vec<usize>| all.push((format!("model.layers.{i}.{name}"), shape));
        push("input_layernorm.weight", vec![c.hidden_size]);
        let maps = [
            ("self_attn.q_proj", c.q_width(), c.hidden_size, c.qkv_bias),
            ("self_attn.k_proj", c.kv_width(), c.hidden_size, c.qkv_bias),
            ("self_attn.v_proj", c.kv_width(), c.hidden_size, c.qkv_bias),
            ("self_attn.o_proj", c.hidden_size, c.q_width(), c.o_bias),
            ("mlp.gate_proj", c.intermediate_size, c.hidden_size, c.mlp_bias),
            ("mlp.up_proj", c.intermediate_size, c.hidden_size, c.mlp_bias),
            ("mlp.down_proj", c.hidden_size, c.intermediate_size, c.mlp_bias),
        ];
        for (name, outputs, inputs, bias) in maps {
            if name == "mlp.gate_proj" {
                if c.qk_norm {
                    push("self_attn.q_norm.weight", vec![c.head_dim]);
                    push("self_attn.k_norm.weight", vec![c.head_dim]);
                }
                push("post_attention_layernorm.weight", vec![c.hidden_size]);
            }
            push(&format!("{name}.weight"), vec![outputs, inputs]);
            if bias {
                push(&format!("{name}.bias"), vec![outputs]);
            }
        }
    }
    all.push(("model.norm.weight".to_owned(), vec![c.hidden_size]));
    if !c.tied {
        all.push(("lm_head.weight".to_owned(), vec![c.vocab_size, c.hidden_size]));
    }
    all
}

/// Normal numbers by Box and Muller, from a stream keyed by seed and name.
fn normal(seed: u64, name: &str, count: usize, deviation: f64) -> Vec<f32> {
    let key = blake3::hash(format!("initialize {seed} {name}").as_bytes());
    let mut rng = ChaCha8Rng::from_seed(*key.as_bytes());
    // In (0, 1]: the logarithm is finite.
    let mut uniform = || ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    (0..count)
        .map(|_| {
            let (a, b) = (uniform(), uniform());
            (deviation * (-2.0 * a.ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()) as f32
        })
        .collect()
}
