//! The operations of the decoder on tensors, each with a forward and a backward form.
//!
//! Tensors are f32 and contiguous; rows are tokens. A backward form adds to the gradients it is given. The device of
//! the tensors decides the form; one without kernels in this build is an error.

use std::ops::Range;
use std::sync::OnceLock;

use candle_core::Tensor;

use crate::error::Result;

pub mod cpu;
mod storage;

use cpu::gemm::Panels;
pub use cpu::parallel::within_pool;
pub use storage::{read, tensor, write, zeros_like};

/// A trainable tensor and its place in the list of parameters (and of gradients).
pub struct Param {
    pub tensor: Tensor,
    pub index: usize,
    /// The transpose of a `[out, in]` weight as the CPU's products want it; made on first use.
    panels: OnceLock<Panels>,
}

impl Param {
    pub fn new(tensor: Tensor, index: usize) -> Self {
        Param { tensor, index, panels: OnceLock::new() }
    }

    /// Must be called after the tensor was changed in place.
    pub fn changed(&mut self) {
        self.panels = OnceLock::new();
    }

    fn dims(&self) -> Result<(usize, usize)> {
        Ok(self.tensor.dims2()?)
    }

    fn panels(&self) -> Result<&Panels> {
        if let Some(panels) = self.panels.get() {
            return Ok(panels);
        }
        let (outputs, inputs) = self.dims()?;
        let made = Panels::pack_transposed(&read(&self.tensor)?, inputs, inputs, outputs);
        Ok(self.panels.get_or_init(|| made))
    }
}

/// A run of queries, rows of the query tensor, and the rows of the key and value tensors that they see: all of
/// `context`, then `own` up to and including themselves. The last query sees all of `own`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub queries: Range<usize>,
    pub context: Range<usize>,
    pub own: Range<usize>,
}

impl Span {
    /// All keys: the last query's position plus one.
    pub fn keys(&self) -> usize {
        self.context.len() + self.own.len()
    }

    /// The positions of the queries.
    pub fn positions(&self) -> Range<usize> {
        self.keys() - self.queries.len()..self.keys()
    }
}

/// The shape of attention in one layer.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub window: Option<usize>,
    pub scale: f32,
}

/// `y = x·Wᵀ + bias + residual`: x `[T, in]`, W `[out, in]`, y `[T, out]`.
pub fn linear(x: &Tensor, w: &Param, bias: Option<&Param>, residual: Option<&Tensor>) -> Result<Tensor> {
    let (outputs, inputs) = w.dims()?;
    let bias = bias.map(|b| read(&b.tensor)).transpose()?;
    let residual = residual.map(read).transpose()?;
    let y = cpu::linear::forward(&read(x)?, inputs, w.panels()?, outputs, bias.as_deref(), residual.as_deref());
    tensor(y, (x.dims()[0], outputs), x.device())
}

/// Gradient of x: `dx = dy·W`, added to `into` where there is one.
pub fn linear_backward_input(dy: &Tensor, w: &Param, into: Option<Tensor>) -> Result<Tensor> {
    let (_, inputs) = w.dims()?;
    let (add, dx) = match into {
        Some(dx) => (true, dx),
        None => (false, tensor(vec![0f32; dy.dims()[0] * inputs], (dy.dims()[0], inputs), dy.device())?),
    };
    let (dy, w) = (read(dy)?, read(&w.tensor)?);
    write(&dx, |dx| cpu::linear::backward_input(&dy, &w, inputs, dx, add))?;
    Ok(dx)
}

/// Adds to the gradients of the weights, and biases, of linear maps of the same x: `dW += dyᵀ·x`, `db += Σ dy`.
pub fn linear_backward_weights(x: &Tensor, maps: &[(&Tensor, &Tensor, Option<&Tensor>)]) -> Result<()> {
    let (rows, inputs) = x.dims2()?;
    let x = Panels::pack(&read(x)?, inputs, rows, inputs);
    for (dy, dw, db) in maps {
        let (_, outputs) = dy.dims2()?;
        let dy = read(dy)?;
        write(dw, |dw| cpu::linear::backward_weight(&dy, outputs, &x, dw))?;
        if let Some(db) = db {
            write(db, |db| cpu::linear::backward_bias(&dy, db))?;
        }
    }
    Ok(())
}

/// `y += h·Bᵀ`, in place: h `[T, r]`, B `[out, r]`, y `[T, out]`.
pub fn lora_add(h: &Tensor, b: &Param, y: &Tensor) -> Result<()> {
    let (_, r) = b.dims()?;
    let (h, panels) = (read(h)?, b.panels()?);
    write(y, |y| cpu::lora::add(&h, r, panels, y))
}

/// `dA += dhᵀ·x`: dh `[T, r]`, x `[T, in]`.
pub fn lora_backward_a(dh: &Tensor, x: &Tensor, da: &Tensor) -> Result<()> {
    let ((_, r), (_, inputs)) = (dh.dims2()?, x.dims2()?);
    let (dh, x) = (read(dh)?, read(x)?);
    write(da, |da| cpu::lora::backward_a(&dh, r, &x, inputs, da))
}

/// `dB += dyᵀ·h`: h `[T, r]`, dy `[T, out]`.
pub fn lora_backward_b(h: &Tensor, dy: &Tensor, db: &Tensor) -> Result<()> {
    let ((_, r), (_, outputs)) = (h.dims2()?, dy.dims2()?);
    let (h, dy) = (read(h)?, read(dy)?);
    write(db, |db| cpu::lora::backward_b(&h, r, &dy, outputs, db))
}

/// `W + s·B·A`, its elements in row-major order.
pub fn lora_merge(w: &Tensor, a: &Param, b: &Param, scale: f32) -> Result<Vec<f32>> {
    let (r, _) = a.dims()?;
    let mut merged = read(w)?.to_vec();
    cpu::lora::merge(&mut merged, &read(&a.tensor)?, &read(&b.tensor)?, r, scale);
    Ok(merged)
}

/// `x · factor`, in place.
pub fn scale(x: &Tensor, factor: f32) -> Result<()> {
    write(x, |x| x.iter_mut().for_each(|x| *x *= factor))
}

/// Dropout with probability p; the mask of a row follows from its seed.
pub fn dropout(x: &Tensor, seeds: &[u64], p: f32) -> Result<Tensor> {
    let (_, width) = x.dims2()?;
    let mut kept = read(x)?.to_vec();
    cpu::dropout::apply(&mut kept, width, seeds, p);
    tensor(kept, x.shape(), x.device())
}

/// `into += x`, in place.
pub fn add(x: &Tensor, into: &Tensor) -> Result<()> {
    let x = read(x)?;
    write(into, |into| into.iter_mut().zip(&*x).for_each(|(sum, x)| *sum += x))
}

/// Rows `tokens` of the table: `[T, width]`.
pub fn embedding(table: &Param, tokens: &[u32]) -> Result<Tensor> {
    let (_, width) = table.dims()?;
    let out = cpu::linear::embedding(&read(&table.tensor)?, width, tokens);
    tensor(out, (tokens.len(), width), table.tensor.device())
}

pub fn embedding_backward(dy: &Tensor, tokens: &[u32], d_table: &Tensor) -> Result<()> {
    let (_, width) = dy.dims2()?;
    let dy = read(dy)?;
    write(d_table, |d| cpu::linear::embedding_backward(&dy, width, tokens, d))
}

/// RMSNorm over the last `width(w)` elements; also the scale `1/rms` of each such row, for the backward form.
pub fn rms_norm(x: &Tensor, w: &Param, eps: f32) -> Result<(Tensor, Tensor)> {
    let (y, scales) = cpu::norm::forward(&read(x)?, &read(&w.tensor)?, eps);
    let rows = scales.len();
    Ok((tensor(y, x.shape(), x.device())?, tensor(scales, rows, x.device())?))
}

/// Adds to the gradients of x and, unless it is frozen, of the weight.
pub fn rms_norm_backward(
    dy: &Tensor,
    x: &Tensor,
    w: &Param,
    scales: &Tensor,
    dx: &Tensor,
    dw: Option<&Tensor>,
) -> Result<()> {
    let (dy, x, w, scales) = (read(dy)?, read(x)?, read(&w.tensor)?, read(scales)?);
    write(dx, |dx| match dw {
        Some(dw) => write(dw, |dw| cpu::norm::backward(&dy, &x, &w, &scales, dx, dw)),
        None => {
            cpu::norm::backward(&dy, &x, &w, &scales, dx, &mut []);
            Ok(())
        }
    })?
}

/// Rotates `x` `[T, heads × head_dim]` in place by its positions' angles; `inverse` is the backward form.
pub fn rope(x: &Tensor, head_dim: usize, positions: &[u32], cos: &Tensor, sin: &Tensor, inverse: bool) -> Result<()> {
    let (_, width) = x.dims2()?;
    let (cos, sin) = (read(cos)?, read(sin)?);
    write(x, |x| cpu::attention::rotate(x, width, head_dim, positions, (&cos, &sin), inverse))
}

/// Causal attention. The spans' queries are all rows of q, in order; k and v may have other rows (a cache).
/// Returns the output, of q's shape, and the log-sum-exp of the scores `[T, heads]`.
pub fn attention(
    shape: &AttentionShape,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    spans: &[Span],
) -> Result<(Tensor, Tensor)> {
    let inputs = (read(q)?, read(k)?, read(v)?);
    let x = cpu::attention::Inputs { q: &inputs.0, k: &inputs.1, v: &inputs.2 };
    let (out, lse) = cpu::attention::forward(shape, x, spans);
    Ok((tensor(out, q.shape(), q.device())?, tensor(lse, (q.dims()[0], shape.heads), q.device())?))
}

/// What attention was given and gave.
pub struct SavedAttention<'a> {
    pub q: &'a Tensor,
    pub k: &'a Tensor,
    pub v: &'a Tensor,
    pub out: &'a Tensor,
    pub lse: &'a Tensor,
}

/// Gradients of q, k and v. `groups` are runs of spans that share no rows with other runs.
pub fn attention_backward(
    shape: &AttentionShape,
    saved: &SavedAttention,
    d_out: &Tensor,
    spans: &[Span],
    groups: &[Range<usize>],
) -> Result<(Tensor, Tensor, Tensor)> {
    let inputs = (read(saved.q)?, read(saved.k)?, read(saved.v)?);
    let x = cpu::attention::Inputs { q: &inputs.0, k: &inputs.1, v: &inputs.2 };
    let (out, lse) = (read(saved.out)?, read(saved.lse)?);
    let forward = cpu::attention::Saved { out: &out, lse: &lse };
    let (dq, dk, dv) = cpu::attention::backward(shape, x, forward, &read(d_out)?, spans, groups);
    let device = d_out.device();
    Ok((
        tensor(dq, saved.q.shape(), device)?,
        tensor(dk, saved.k.shape(), device)?,
        tensor(dv, saved.v.shape(), device)?,
    ))
}

/// `silu(gate) · up`, elementwise.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    tensor(cpu::elementwise::swiglu(&read(gate)?, &read(up)?), gate.shape(), gate.device())
}

/// Gradients of gate and up.
pub fn swiglu_backward(d_out: &Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)> {
    let (d_gate, d_up) = cpu::elementwise::swiglu_backward(&read(d_out)?, &read(gate)?, &read(up)?);
    Ok((tensor(d_gate, gate.shape(), gate.device())?, tensor(d_up, up.shape(), up.device())?))
}

/// Which rows of the hidden states predict which tokens.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    pub rows: Vec<u32>,
    pub tokens: Vec<u32>,
}

/// Log-probability of each target under the head's softmax, and the log-sum-exp of its logits.
pub fn token_logps(hidden: &Tensor, targets: &Targets, head: &Param) -> Result<(Vec<f32>, Vec<f32>)> {
    let (vocabulary, width) = head.dims()?;
    let hidden = read(hidden)?;
    Ok(cpu::logps::forward(&hidden, width, &targets.rows, &targets.tokens, head.panels()?, vocabulary))
}

/// Gradient of `Σ g · logp`: returns that of the hidden states, adds to that of the head unless it is frozen.
pub fn token_logps_backward(
    hidden: &Tensor,
    targets: &Targets,
    lses: &[f32],
    g: &[f32],
    head: &Param,
    d_head: Option<&Tensor>,
) -> Result<Tensor> {
    let (_, width) = head.dims()?;
    let d_hidden = zeros_like(hidden)?;
    let data = read(hidden)?;
    let saved = cpu::logps::Saved { hidden: &data, rows: &targets.rows, targets: &targets.tokens, lses };
    let (weights, panels) = (read(&head.tensor)?, head.panels()?);
    let backward =
        |d: &mut [f32], d_head: Option<&mut [f32]>| cpu::logps::backward(&saved, g, width, panels, &weights, d, d_head);
    write(&d_hidden, |d| match d_head {
        Some(d_head) => write(d_head, |d_head| backward(d, Some(d_head))),
        None => {
            backward(d, None);
            Ok(())
        }
    })??;
    Ok(d_hidden)
}

/// Writes row i of `rows` to row `places[i]` of `table`, in place.
pub fn put_rows(table: &Tensor, rows: &Tensor, places: &[u32]) -> Result<()> {
    let (_, width) = rows.dims2()?;
    let rows = read(rows)?;
    write(table, |table| {
        for (row, place) in rows.chunks_exact(width).zip(places) {
            table[*place as usize * width..][..width].copy_from_slice(row);
        }
    })
}

/// Rows `rows` of a matrix.
pub fn take_rows(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    let (_, width) = x.dims2()?;
    tensor(cpu::linear::embedding(&read(x)?, width, rows), (rows.len(), width), x.device())
}

/// The numbers of one optimizer step, the same for all elements of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    /// Factor on the gradient (clipping).
    pub gradient_scale: f32,
    /// `1 - learning rate × weight decay`
    pub decay: f32,
    /// `learning rate / (1 - beta1^t)`
    pub step_size: f32,
    /// `sqrt(1 - beta2^t)`
    pub correction2: f32,
}

/// One step of AdamW on `p` and its moments `m`, `v`, in place.
pub fn adamw(p: &Tensor, m: &Tensor, v: &Tensor, g: &Tensor, step: &AdamStep) -> Result<()> {
    let g = read(g)?;
    write(p, |p| write(m, |m| write(v, |v| cpu::optimizer::adamw(p, m, v, &g, step))))??
}

/// `Σ x²` in double precision and a fixed order.
pub fn sum_of_squares(x: &Tensor) -> Result<f64> {
    Ok(cpu::optimizer::sum_of_squares(&read(x)?))
}

/// Sets every element to 0, in place.
pub fn clear(x: &Tensor) -> Result<()> {
    write(x, |x| x.fill(0.0))
}
