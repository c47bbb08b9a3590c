//! The decoder's forward and backward passes, block by block, written by hand.
//!
//! Each layer keeps what its backward pass needs in an [`Activations`]; the residual stream is `x`, `[T, hidden]`. With
//! checkpointing (arXiv 1604.06174) a layer keeps only its input, and the backward pass computes the rest again, with
//! the same bits. Under an adapter the base is frozen: its weights get no gradients, and none are computed.

use candle_core::Tensor;

use super::Gradients;
use super::adapter::{Dropout, Lora, Noise, module};
use super::batch::{Batch, Group};
use super::decoder::{Decoder, Layer, Linear};
use super::ops::{self, AttentionShape, Param, SavedAttention, Span};
use crate::error::{Error, Result};
use crate::score::check;

/// What a layer's backward pass needs of its forward pass.
pub(super) struct Activations {
    x: Tensor,
    input: Tensor,
    input_scale: Tensor,
    /// Queries and keys before their norm, with its scales (Qwen3).
    raw: Option<[(Tensor, Tensor); 2]>,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attended: Tensor,
    lse: Tensor,
    middle: Tensor,
    mlp_input: Tensor,
    mlp_scale: Tensor,
    gate: Tensor,
    up: Tensor,
    gated: Tensor,
    /// For each linear map with an adapter, `s·A·x`.
    lora: [Option<Tensor>; 7],
}

/// What a pass keeps of a layer.
enum Kept {
    All(Box<Activations>),
    /// The layer's input.
    Input(Tensor),
}

/// A forward pass that can be taken back.
pub struct Forward {
    layers: Vec<Kept>,
    x: Tensor,
    scale: Tensor,
    hidden: Tensor,
    lses: Vec<f32>,
    /// The log-probability of each target.
    pub logps: Vec<f32>,
}

/// What is the same for all layers of a pass.
pub(super) struct Pass<'a> {
    /// Cosines and sines.
    pub rotations: (Tensor, Tensor),
    pub positions: &'a [u32],
    pub spans: &'a [Span],
    pub dropout: Option<Dropout>,
}

/// Where gradients go.
struct Sink<'a> {
    tensors: &'a [Tensor],
    /// The tensors are the adapter's.
    frozen: bool,
}

impl Sink<'_> {
    /// Of a weight of the base; `None` if it is frozen.
    fn of(&self, p: &Param) -> Option<&Tensor> {
        (!self.frozen).then(|| &self.tensors[p.index])
    }

    /// Adds to the gradients of linear maps of the same x, unless they are frozen.
    fn weights(&self, x: &Tensor, maps: &[(&Tensor, &Linear)]) -> Result<()> {
        if self.frozen {
            return Ok(());
        }
        let of = |p: &Param| &self.tensors[p.index];
        let maps: Vec<_> = maps.iter().map(|(dy, map)| (*dy, of(&map.weight), map.bias.as_ref().map(of))).collect();
        ops::linear_backward_weights(x, &maps)
    }
}

/// Where a layer's keys and values come from.
pub(super) enum Keys<'a> {
    /// The rows of the pass itself.
    Own,
    /// Rows of a cache, into which those of the pass are written first, at `places`.
    Cache { k: &'a Tensor, v: &'a Tensor, places: &'a [u32] },
}

impl Decoder {
    /// Log-probabilities of a batch's targets.
    pub(crate) fn logps(&self, batch: &Batch) -> Result<Vec<f32>> {
        let mut x = ops::embedding(&self.base.embedding, &batch.tokens)?;
        let pass = self.pass(batch)?;
        for (i, layer) in self.base.layers.iter().enumerate() {
            (x, _) = self.layer_forward(i, layer, x, &pass, &Keys::Own)?;
        }
        let (hidden, _) = ops::rms_norm(&x, &self.base.norm, self.config.rms_norm_eps)?;
        Ok(ops::token_logps(&hidden, &batch.targets, self.head())?.0)
    }

    /// As [`Decoder::logps`], keeping what [`Decoder::backward`] needs: with `checkpointing` as little as possible. The
    /// log-probabilities have the same bits.
    pub(crate) fn forward(&self, batch: &Batch, checkpointing: bool) -> Result<Forward> {
        let mut x = ops::embedding(&self.base.embedding, &batch.tokens)?;
        let pass = self.pass(batch)?;
        let mut layers = Vec::with_capacity(self.base.layers.len());
        for (i, layer) in self.base.layers.iter().enumerate() {
            let (out, saved) = self.layer_forward(i, layer, x, &pass, &Keys::Own)?;
            layers.push(if checkpointing { Kept::Input(saved.x) } else { Kept::All(Box::new(saved)) });
            x = out;
        }
        let (hidden, scale) = ops::rms_norm(&x, &self.base.norm, self.config.rms_norm_eps)?;
        let (logps, lses) = ops::token_logps(&hidden, &batch.targets, self.head())?;
        Ok(Forward { layers, x, scale, hidden, lses, logps })
    }

    /// Adds the gradient of `Σ g[i] · logp[i]` over the batch's targets to `grads`.
    pub(crate) fn backward(&self, batch: &Batch, forward: Forward, g: &[f32], grads: &Gradients) -> Result<()> {
        let sink = Sink { tensors: &grads.tensors, frozen: self.adapter.is_some() };
        let (head, norm) = (self.head(), &self.base.norm);
        let Forward { layers: mut kept, x, scale, hidden, lses, .. } = forward;
        let d_hidden = ops::token_logps_backward(&hidden, &batch.targets, &lses, g, head, sink.of(head))?;
        let dx = ops::zeros_like(&x)?;
        ops::rms_norm_backward(&d_hidden, &x, norm, &scale, &dx, sink.of(norm))?;
        drop((x, hidden, d_hidden));
        let pass = self.pass(batch)?;
        let lowest = self.adapter.as_ref().map_or(0, |adapter| adapter.lowest_layer());
        for (i, layer) in self.base.layers.iter().enumerate().skip(lowest).rev() {
            // Each layer's memory is freed as soon as its gradients are known.
            let Some(kept) = kept.pop() else { break };
            let activations = match kept {
                Kept::All(activations) => *activations,
                Kept::Input(x) => self.activations(i, layer, x, &pass, &Keys::Own)?,
            };
            // Below the first layer with an adapter nothing is trained.
            let last = sink.frozen && i == lowest;
            self.layer_backward(i, layer, activations, &dx, &pass, batch, &sink, last)?;
        }
        match sink.of(&self.base.embedding) {
            Some(d_table) => ops::embedding_backward(&dx, &batch.tokens, d_table),
            None => Ok(()),
        }
    }

    /// The gradient of `Σ g[i] · logp[i]` over all response tokens of the groups, in their order. `noise` keys the
    /// dropout of an adapter; with `checkpointing` less is kept, and the bits are the same.
    pub fn token_gradients(
        &self,
        groups: &[Group],
        g: &[f32],
        noise: Option<Noise>,
        checkpointing: bool,
    ) -> Result<Gradients> {
        let batch = self.checked_batch(groups, noise)?;
        if batch.targets.tokens.len() != g.len() {
            return Err(Error::run(format!("{} factors for {} tokens", g.len(), batch.targets.tokens.len())));
        }
        let gradients = Gradients::zeros(self)?;
        ops::within_pool(|| self.backward(&batch, self.forward(&batch, checkpointing)?, g, &gradients))?;
        Ok(gradients)
    }

    /// Log-probabilities of all response tokens of the groups, in their order, with the dropout of a training step.
    pub fn noisy_logps(&self, groups: &[Group], noise: Noise) -> Result<Vec<f32>> {
        let batch = self.checked_batch(groups, Some(noise))?;
        ops::within_pool(|| self.logps(&batch))
    }

    fn checked_batch(&self, groups: &[Group], noise: Option<Noise>) -> Result<Batch> {
        for (i, group) in groups.iter().enumerate() {
            check(self, group).map_err(|what| Error::input(format!("group {i}, {what}")))?;
        }
        Ok(Batch { noise, ..Batch::new(groups) })
    }

    fn pass<'a>(&self, batch: &'a Batch) -> Result<Pass<'a>> {
        let dropout = if self.has_dropout() { Dropout::new(batch) } else { None };
        let rotations = self.rotations(&batch.positions)?;
        Ok(Pass { rotations, positions: &batch.positions, spans: &batch.spans, dropout })
    }

    fn lora(&self, layer: usize, module: usize) -> Option<&Lora> {
        self.adapter.as_ref().and_then(|adapter| adapter.get(layer, module))
    }

    /// A linear map and its adapter: `y = W·x + bias + residual + B·h`, and h = `s·A·x`.
    fn map(
        &self,
        (layer, module): (usize, usize),
        map: &Linear,
        x: &Tensor,
        residual: Option<&Tensor>,
        pass: &Pass,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let y = ops::linear(x, &map.weight, map.bias.as_ref(), residual)?;
        let h = self.lora_input((layer, module), x, pass)?;
        if let (Some(lora), Some(h)) = (self.lora(layer, module), &h) {
            ops::lora_add(h, &lora.b, &y)?;
        }
        Ok((y, h))
    }

    /// `h = s·A·x`, where the map has an adapter.
    fn lora_input(&self, (layer, module): (usize, usize), x: &Tensor, pass: &Pass) -> Result<Option<Tensor>> {
        let Some(lora) = self.lora(layer, module) else { return Ok(None) };
        let h = match &pass.dropout {
            Some(dropout) => {
                let x = ops::dropout(x, &dropout.seeds(layer, module), lora.dropout)?;
                ops::linear(&x, &lora.a, None, None)?
            }
            None => ops::linear(x, &lora.a, None, None)?,
        };
        ops::scale(&h, lora.scale)?;
        Ok(Some(h))
    }

    /// Adds the gradients of a map's A and B, and their part of the input's gradient to `d_input`.
    #[allow(clippy::too_many_arguments)]
    fn lora_backward(
        &self,
        (layer, module): (usize, usize),
        x: &Tensor,
        h: &Option<Tensor>,
        dy: &Tensor,
        pass: &Pass,
        sink: &Sink,
        d_input: Option<&Tensor>,
    ) -> Result<()> {
        let (Some(lora), Some(h)) = (self.lora(layer, module), h) else { return Ok(()) };
        let of = |p: &Param| &sink.tensors[p.index];
        let dh = ops::linear_backward_input(dy, &lora.b, None)?;
        ops::scale(&dh, lora.scale)?;
        ops::lora_backward_b(h, dy, of(&lora.b))?;
        let Some(dropout) = &pass.dropout else {
            ops::lora_backward_a(&dh, x, of(&lora.a))?;
            if let Some(dx) = d_input {
                ops::linear_backward_input(&dh, &lora.a, Some(dx.clone()))?;
            }
            return Ok(());
        };
        let seeds = dropout.seeds(layer, module);
        ops::lora_backward_a(&dh, &ops::dropout(x, &seeds, lora.dropout)?, of(&lora.a))?;
        if let Some(dx) = d_input {
            let through = ops::linear_backward_input(&dh, &lora.a, None)?;
            ops::add(&ops::dropout(&through, &seeds, lora.dropout)?, dx)?;
        }
        Ok(())
    }

    pub(super) fn attention_shape(&self, layer: usize) -> AttentionShape {
        AttentionShape {
            heads: self.config.num_heads,
            kv_heads: self.config.num_kv_heads,
            head_dim: self.config.head_dim,
            window: self.config.windows[layer],
            scale: 1.0 / (self.config.head_dim as f32).sqrt(),
        }
    }

    /// Cosines and sines up to the largest of these positions.
    pub(super) fn rotations(&self, positions: &[u32]) -> Result<(Tensor, Tensor)> {
        let needed = positions.iter().max().map_or(1, |p| *p as usize + 1);
        let mut known = self.rotations.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((cos, sin)) = &*known
            && cos.dims()[0] >= needed
        {
            return Ok((cos.clone(), sin.clone()));
        }
        let rows = needed.next_power_of_two();
        let (cos, sin) = self.config.rope.table(rows);
        let shape = (rows, self.config.head_dim / 2);
        let made = (ops::tensor(cos, shape, &self.device)?, ops::tensor(sin, shape, &self.device)?);
        *known = Some(made.clone());
        Ok(made)
    }

    pub(super) fn layer_forward(
        &self,
        index: usize,
        layer: &Layer,
        x: Tensor,
        pass: &Pass,
        keys: &Keys,
    ) -> Result<(Tensor, Activations)> {
        let mut a = self.activations(index, layer, x, pass, keys)?;
        let (out, h) = self.map((index, module::DOWN), &layer.down, &a.gated, Some(&a.middle), pass)?;
        a.lora[module::DOWN] = h;
        Ok((out, a))
    }

    /// All of a layer but its last product.
    fn activations(&self, index: usize, layer: &Layer, x: Tensor, pass: &Pass, keys: &Keys) -> Result<Activations> {
        let (eps, dim) = (self.config.rms_norm_eps, self.config.head_dim);
        let mut lora = [const { None }; 7];
        let mut map = |at: usize, x: &Tensor, residual: Option<&Tensor>| -> Result<Tensor> {
            let (y, h) = self.map((index, at), layer.linears()[at], x, residual, pass)?;
            lora[at] = h;
            Ok(y)
        };
        let (input, input_scale) = ops::rms_norm(&x, &layer.input_norm, eps)?;
        let mut q = map(module::Q, &input, None)?;
        let mut k = map(module::K, &input, None)?;
        let v = map(module::V, &input, None)?;
        let mut raw = None;
        if let Some((q_norm, k_norm)) = &layer.qk_norm {
            let (normed_q, q_scale) = ops::rms_norm(&q, q_norm, eps)?;
            let (normed_k, k_scale) = ops::rms_norm(&k, k_norm, eps)?;
            raw = Some([(q, q_scale), (k, k_scale)]);
            (q, k) = (normed_q, normed_k);
        }
        let (cos, sin) = &pass.rotations;
        ops::rope(&q, dim, pass.positions, cos, sin, false)?;
        ops::rope(&k, dim, pass.positions, cos, sin, false)?;
        let shape = self.attention_shape(index);
        let (attended, lse) = match keys {
            Keys::Own => ops::attention(&shape, &q, &k, &v, pass.spans)?,
            Keys::Cache { k: all_k, v: all_v, places } => {
                ops::put_rows(all_k, &k, places)?;
                ops::put_rows(all_v, &v, places)?;
                ops::attention(&shape, &q, all_k, all_v, pass.spans)?
            }
        };
        let middle = map(module::O, &attended, Some(&x))?;
        let (mlp_input, mlp_scale) = ops::rms_norm(&middle, &layer.mlp_norm, eps)?;
        let gate = map(module::GATE, &mlp_input, None)?;
        let up = map(module::UP, &mlp_input, None)?;
        let gated = ops::swiglu(&gate, &up)?;
        Ok(Activations {
            x,
            input,
            input_scale,
            raw,
            q,
            k,
            v,
            attended,
            lse,
            middle,
            mlp_input,
            mlp_scale,
            gate,
            up,
            gated,
            lora,
        })
    }

    /// Turns `dx`, the gradient of the layer's output, into that of its input, in place; not if the layer is the
    /// `last` whose parameters are trained.
    #[allow(clippy::too_many_arguments)]
    fn layer_backward(
        &self,
        index: usize,
        layer: &Layer,
        mut a: Activations,
        dx: &Tensor,
        pass: &Pass,
        batch: &Batch,
        sink: &Sink,
        last: bool,
    ) -> Result<()> {
        // What recomputation left out.
        if a.lora[module::DOWN].is_none() {
            a.lora[module::DOWN] = self.lora_input((index, module::DOWN), &a.gated, pass)?;
        }
        let (cos, sin) = &pass.rotations;
        let input = |at: usize, x: &Tensor, dy: &Tensor, into: Option<Tensor>| -> Result<Tensor> {
            let d_input = ops::linear_backward_input(dy, &layer.linears()[at].weight, into)?;
            self.lora_backward((index, at), x, &a.lora[at], dy, pass, sink, Some(&d_input))?;
            Ok(d_input)
        };
        // MLP: out = middle + down(silu(gate(norm(middle))) · up(norm(middle)))
        sink.weights(&a.gated, &[(dx, &layer.down)])?;
        let d_gated = input(module::DOWN, &a.gated, dx, None)?;
        let (d_gate, d_up) = ops::swiglu_backward(&d_gated, &a.gate, &a.up)?;
        sink.weights(&a.mlp_input, &[(&d_gate, &layer.gate), (&d_up, &layer.up)])?;
        let d_input = input(module::GATE, &a.mlp_input, &d_gate, None)?;
        let d_input = input(module::UP, &a.mlp_input, &d_up, Some(d_input))?;
        ops::rms_norm_backward(&d_input, &a.middle, &layer.mlp_norm, &a.mlp_scale, dx, sink.of(&layer.mlp_norm))?;
        // Attention: middle = x + o(attention(q, k, v))
        sink.weights(&a.attended, &[(dx, &layer.o)])?;
        let d_attended = input(module::O, &a.attended, dx, None)?;
        let saved = SavedAttention { q: &a.q, k: &a.k, v: &a.v, out: &a.attended, lse: &a.lse };
        let shape = self.attention_shape(index);
        let (mut dq, mut dk, dv) = ops::attention_backward(&shape, &saved, &d_attended, &batch.spans, &batch.groups)?;
        ops::rope(&dq, self.config.head_dim, &batch.positions, cos, sin, true)?;
        ops::rope(&dk, self.config.head_dim, &batch.positions, cos, sin, true)?;
        if let (Some((q_norm, k_norm)), Some([(q, q_scale), (k, k_scale)])) = (&layer.qk_norm, &a.raw) {
            let (raw_dq, raw_dk) = (ops::zeros_like(q)?, ops::zeros_like(k)?);
            ops::rms_norm_backward(&dq, q, q_norm, q_scale, &raw_dq, sink.of(q_norm))?;
            ops::rms_norm_backward(&dk, k, k_norm, k_scale, &raw_dk, sink.of(k_norm))?;
            (dq, dk) = (raw_dq, raw_dk);
        }
        sink.weights(&a.input, &[(&dq, &layer.q), (&dk, &layer.k), (&dv, &layer.v)])?;
        if last {
            for (at, dy) in [(module::Q, &dq), (module::K, &dk), (module::V, &dv)] {
                self.lora_backward((index, at), &a.input, &a.lora[at], dy, pass, sink, None)?;
            }
            return Ok(());
        }
        let d_input = input(module::Q, &a.input, &dq, None)?;
        let d_input = input(module::K, &a.input, &dk, Some(d_input))?;
        let d_input = input(module::V, &a.input, &dv, Some(d_input))?;
        let norm = &layer.input_norm;
        ops::rms_norm_backward(&d_input, &a.x, norm, &a.input_scale, dx, sink.of(norm))
    }
}
