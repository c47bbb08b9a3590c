//! The decoder's forward and backward passes, block by block, written by hand.
//!
//! Each layer keeps what its backward pass needs in an [`Activations`]; the residual stream is `x`, `[T, hidden]`. With
//! checkpointing (arXiv 1604.06174) a layer keeps only its input, and the backward pass computes the rest again, with
//! the same bits.

use candle_core::Tensor;

use super::Gradients;
use super::batch::{Batch, Group};
use super::decoder::{Decoder, Layer};
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
        let mut x = ops::embedding(&self.embedding, &batch.tokens)?;
        let rotations = self.rotations(&batch.positions)?;
        for (i, layer) in self.layers.iter().enumerate() {
            (x, _) = self.layer_forward(i, layer, x, &rotations, &batch.positions, &batch.spans, &Keys::Own)?;
        }
        let (hidden, _) = ops::rms_norm(&x, &self.norm, self.config.rms_norm_eps)?;
        Ok(ops::token_logps(&hidden, &batch.targets, self.head())?.0)
    }

    /// As [`Decoder::logps`], keeping what [`Decoder::backward`] needs: with `checkpointing` as little as possible. The
    /// log-probabilities have the same bits.
    pub(crate) fn forward(&self, batch: &Batch, checkpointing: bool) -> Result<Forward> {
        let mut x = ops::embedding(&self.embedding, &batch.tokens)?;
        let rotations = self.rotations(&batch.positions)?;
        let mut layers = Vec::with_capacity(self.layers.len());
        for (i, layer) in self.layers.iter().enumerate() {
            let (out, saved) =
                self.layer_forward(i, layer, x, &rotations, &batch.positions, &batch.spans, &Keys::Own)?;
            layers.push(if checkpointing { Kept::Input(saved.x) } else { Kept::All(Box::new(saved)) });
            x = out;
        }
        let (hidden, scale) = ops::rms_norm(&x, &self.norm, self.config.rms_norm_eps)?;
        let (logps, lses) = ops::token_logps(&hidden, &batch.targets, self.head())?;
        Ok(Forward { layers, x, scale, hidden, lses, logps })
    }

    /// Adds the gradient of `Σ g[i] · logp[i]` over the batch's targets to `grads`.
    pub(crate) fn backward(&self, batch: &Batch, pass: Forward, g: &[f32], grads: &Gradients) -> Result<()> {
        let of = |p: &Param| &grads.tensors[p.index];
        let head = self.head();
        let d_hidden = ops::token_logps_backward(&pass.hidden, &batch.targets, &pass.lses, g, head, of(head))?;
        let Forward { layers: mut kept, x, scale, hidden, .. } = pass;
        let dx = ops::zeros_like(&x)?;
        ops::rms_norm_backward(&d_hidden, &x, &self.norm, &scale, &dx, of(&self.norm))?;
        drop((x, hidden, d_hidden));
        let rotations = self.rotations(&batch.positions)?;
        for (i, layer) in self.layers.iter().enumerate().rev() {
            // Each layer's memory is freed as soon as its gradients are known.
            let Some(kept) = kept.pop() else { break };
            let activations = match kept {
                Kept::All(activations) => *activations,
                Kept::Input(x) => {
                    self.activations(i, layer, x, &rotations, &batch.positions, &batch.spans, &Keys::Own)?
                }
            };
            self.layer_backward(i, layer, activations, &dx, &rotations, batch, grads)?;
        }
        ops::embedding_backward(&dx, &batch.tokens, of(&self.embedding))
    }

    /// The gradient of `Σ g[i] · logp[i]` over all response tokens of the groups, in their order.
    pub fn token_gradients(&self, groups: &[Group], g: &[f32], checkpointing: bool) -> Result<Gradients> {
        for (i, group) in groups.iter().enumerate() {
            check(self, group).map_err(|what| Error::input(format!("group {i}, {what}")))?;
        }
        let batch = Batch::new(groups);
        if batch.targets.tokens.len() != g.len() {
            return Err(Error::run(format!("{} factors for {} tokens", g.len(), batch.targets.tokens.len())));
        }
        let gradients = Gradients::zeros(self)?;
        ops::within_pool(|| self.backward(&batch, self.forward(&batch, checkpointing)?, g, &gradients))?;
        Ok(gradients)
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

    #[allow(clippy::too_many_arguments)]
    pub(super) fn layer_forward(
        &self,
        index: usize,
        layer: &Layer,
        x: Tensor,
        rotations: &(Tensor, Tensor),
        positions: &[u32],
        spans: &[Span],
        keys: &Keys,
    ) -> Result<(Tensor, Activations)> {
        let a = self.activations(index, layer, x, rotations, positions, spans, keys)?;
        let out = ops::linear(&a.gated, &layer.down.weight, layer.down.bias.as_ref(), Some(&a.middle))?;
        Ok((out, a))
    }

    /// All of a layer but its last product.
    #[allow(clippy::too_many_arguments)]
    fn activations(
        &self,
        index: usize,
        layer: &Layer,
        x: Tensor,
        (cos, sin): &(Tensor, Tensor),
        positions: &[u32],
        spans: &[Span],
        keys: &Keys,
    ) -> Result<Activations> {
        let (eps, dim) = (self.config.rms_norm_eps, self.config.head_dim);
        let (input, input_scale) = ops::rms_norm(&x, &layer.input_norm, eps)?;
        let mut q = ops::linear(&input, &layer.q.weight, layer.q.bias.as_ref(), None)?;
        let mut k = ops::linear(&input, &layer.k.weight, layer.k.bias.as_ref(), None)?;
        let v = ops::linear(&input, &layer.v.weight, layer.v.bias.as_ref(), None)?;
        let mut raw = None;
        if let Some((q_norm, k_norm)) = &layer.qk_norm {
            let (normed_q, q_scale) = ops::rms_norm(&q, q_norm, eps)?;
            let (normed_k, k_scale) = ops::rms_norm(&k, k_norm, eps)?;
            raw = Some([(q, q_scale), (k, k_scale)]);
            (q, k) = (normed_q, normed_k);
        }
        ops::rope(&q, dim, positions, cos, sin, false)?;
        ops::rope(&k, dim, positions, cos, sin, false)?;
        let shape = self.attention_shape(index);
        let (attended, lse) = match keys {
            Keys::Own => ops::attention(&shape, &q, &k, &v, spans)?,
            Keys::Cache { k: all_k, v: all_v, places } => {
                ops::put_rows(all_k, &k, places)?;
                ops::put_rows(all_v, &v, places)?;
                ops::attention(&shape, &q, all_k, all_v, spans)?
            }
        };
        let middle = ops::linear(&attended, &layer.o.weight, layer.o.bias.as_ref(), Some(&x))?;
        let (mlp_input, mlp_scale) = ops::rms_norm(&middle, &layer.mlp_norm, eps)?;
        let gate = ops::linear(&mlp_input, &layer.gate.weight, layer.gate.bias.as_ref(), None)?;
        let up = ops::linear(&mlp_input, &layer.up.weight, layer.up.bias.as_ref(), None)?;
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
        })
    }

    /// Turns `dx`, the gradient of the layer's output, into that of its input, in place.
    #[allow(clippy::too_many_arguments)]
    fn layer_backward(
        &self,
        index: usize,
        layer: &Layer,
        a: Activations,
        dx: &Tensor,
        (cos, sin): &(Tensor, Tensor),
        batch: &Batch,
        grads: &Gradients,
    ) -> Result<()> {
        let of = |p: &Param| &grads.tensors[p.index];
        let bias = |p: &Option<Param>| p.as_ref().map(|p| &grads.tensors[p.index]);
        let input = ops::linear_backward_input;
        // MLP: out = middle + down(silu(gate(norm(middle))) · up(norm(middle)))
        ops::linear_backward_weights(&a.gated, &[(dx, of(&layer.down.weight), bias(&layer.down.bias))])?;
        let d_gated = input(dx, &layer.down.weight, None)?;
        let (d_gate, d_up) = ops::swiglu_backward(&d_gated, &a.gate, &a.up)?;
        ops::linear_backward_weights(
            &a.mlp_input,
            &[
                (&d_gate, of(&layer.gate.weight), bias(&layer.gate.bias)),
                (&d_up, of(&layer.up.weight), bias(&layer.up.bias)),
            ],
        )?;
        let d_input = input(&d_up, &layer.up.weight, Some(input(&d_gate, &layer.gate.weight, None)?))?;
        ops::rms_norm_backward(&d_input, &a.middle, &layer.mlp_norm, &a.mlp_scale, dx, of(&layer.mlp_norm))?;
        // Attention: middle = x + o(attention(q, k, v))
        ops::linear_backward_weights(&a.attended, &[(dx, of(&layer.o.weight), bias(&layer.o.bias))])?;
        let d_attended = input(dx, &layer.o.weight, None)?;
        let saved = SavedAttention { q: &a.q, k: &a.k, v: &a.v, out: &a.attended, lse: &a.lse };
        let shape = self.attention_shape(index);
        let (mut dq, mut dk, dv) = ops::attention_backward(&shape, &saved, &d_attended, &batch.spans, &batch.groups)?;
        ops::rope(&dq, self.config.head_dim, &batch.positions, cos, sin, true)?;
        ops::rope(&dk, self.config.head_dim, &batch.positions, cos, sin, true)?;
        if let (Some((q_norm, k_norm)), Some([(q, q_scale), (k, k_scale)])) = (&layer.qk_norm, &a.raw) {
            let (raw_dq, raw_dk) = (ops::zeros_like(q)?, ops::zeros_like(k)?);
            ops::rms_norm_backward(&dq, q, q_norm, q_scale, &raw_dq, of(q_norm))?;
            ops::rms_norm_backward(&dk, k, k_norm, k_scale, &raw_dk, of(k_norm))?;
            (dq, dk) = (raw_dq, raw_dk);
        }
        ops::linear_backward_weights(
            &a.input,
            &[
                (&dq, of(&layer.q.weight), bias(&layer.q.bias)),
                (&dk, of(&layer.k.weight), bias(&layer.k.bias)),
                (&dv, of(&layer.v.weight), bias(&layer.v.bias)),
            ],
        )?;
        let d_input = input(&dq, &layer.q.weight, None)?;
        let d_input = input(&dk, &layer.k.weight, Some(d_input))?;
        let d_input = input(&dv, &layer.v.weight, Some(d_input))?;
        ops::rms_norm_backward(&d_input, &a.x, &layer.input_norm, &a.input_scale, dx, of(&layer.input_norm))
    }
}
