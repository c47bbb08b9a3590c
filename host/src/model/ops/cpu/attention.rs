//! Causal attention over packed rows, with grouped query heads, shared contexts and an optional window.
//!
//! A query's numbers depend only on its own keys in their order: not on how rows are packed, nor on whether its
//! context is shared with others.

use rayon::prelude::*;

use super::super::{AttentionShape, Span};
use super::gemm::{KC, Lhs, Panels, product};
use super::{math, parallel};

/// Queries handled at once: their scores against all keys stay in the nearest caches.
const BLOCK: usize = 32;

/// Rows of queries, keys and values, `[rows, heads × head_dim]` each.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
}

#[derive(Default)]
struct Scratch {
    keys_t: Panels,
    keys: Panels,
    values_t: Panels,
    values: Panels,
    rows: Panels,
    scores: Vec<f32>,
    d_scores: Vec<f32>,
    d_keys: Vec<f32>,
    d_values: Vec<f32>,
}

/// Returns the output `[T, heads × head_dim]` and the log-sum-exp of each query's scores `[T, heads]`.
pub fn forward(shape: &AttentionShape, x: Inputs, spans: &[Span]) -> (Vec<f32>, Vec<f32>) {
    let (width, heads) = (shape.heads * shape.head_dim, shape.heads);
    let total = x.q.len() / width;
    let (mut out, mut lse) = (vec![0f32; total * width], vec![0f32; total * heads]);
    let mut tasks = Vec::with_capacity(spans.len());
    let (mut out_rest, mut lse_rest) = (&mut out[..], &mut lse[..]);
    for span in spans {
        let (out, out_after) = out_rest.split_at_mut(span.queries.len() * width);
        let (lse, lse_after) = lse_rest.split_at_mut(span.queries.len() * heads);
        (out_rest, lse_rest) = (out_after, lse_after);
        tasks.push((span, out, lse));
    }
    let run = |scratch: &mut Scratch, (span, out, lse): (&Span, &mut [f32], &mut [f32])| {
        for kv in 0..shape.kv_heads {
            forward_span(shape, x, span, kv, scratch, out, lse);
        }
    };
    if rayon::current_num_threads() == 1 || total * width < 1 << 13 {
        let mut scratch = Scratch::default();
        tasks.into_iter().for_each(|task| run(&mut scratch, task));
    } else {
        tasks.into_par_iter().for_each_init(Scratch::default, run);
    }
    (out, lse)
}

/// The first key that a span's queries can see, rounded down so that sums keep their lanes and chains their cuts.
fn first_key(shape: &AttentionShape, span: &Span) -> usize {
    let first_position = span.keys() - span.queries.len();
    shape.window.map_or(0, |w| (first_position + 1).saturating_sub(w) / KC * KC)
}

/// The rows of the keys from key `first` on: (key number counted from `first`, first row, rows).
fn pieces(span: &Span, first: usize) -> [(usize, usize, usize); 2] {
    let skip = first.min(span.context.len());
    let context = span.context.len() - skip;
    let own_skip = first - skip;
    [(0, span.context.start + skip, context), (context, span.own.start + own_skip, span.own.len() - own_skip)]
}

fn forward_span(
    shape: &AttentionShape,
    x: Inputs,
    span: &Span,
    kv: usize,
    scratch: &mut Scratch,
    out: &mut [f32],
    lse: &mut [f32],
) {
    let (dim, heads) = (shape.head_dim, shape.heads);
    let (width, kv_width) = (heads * dim, shape.kv_heads * dim);
    let first = first_key(shape, span);
    let keys = span.keys() - first;
    let (queries, repeats) = (span.queries.len(), heads / shape.kv_heads);
    // A single query reads each value once or a few times: not worth packing.
    let packs = queries > 1;
    scratch.keys_t.reset(dim, keys);
    scratch.values.reset(if packs { keys } else { 0 }, dim);
    for (at, row, count) in pieces(span, first) {
        if count > 0 {
            scratch.keys_t.fill_columns(at, &x.k[row * kv_width + kv * dim..], kv_width, count);
        }
        if count > 0 && packs {
            scratch.values.fill_rows(at, &x.v[row * kv_width + kv * dim..], kv_width, count);
        }
    }
    let start = keys - queries;
    for block in (0..queries).step_by(BLOCK) {
        let rows = BLOCK.min(queries - block);
        let seen = start + block + rows;
        scratch.scores.resize(rows * seen, 0.0);
        let scores = &mut scratch.scores[..rows * seen];
        for head in kv * repeats..(kv + 1) * repeats {
            let q = Lhs::rows(&x.q[(span.queries.start + block) * width + head * dim..], width);
            product(q, rows, scratch.keys_t.all().columns(seen), scores, seen, false);
            math::vectorized(
                #[inline(always)]
                || {
                    for (i, row) in scores.chunks_exact_mut(seen).enumerate() {
                        let (low, high) = range(shape.window, first, start + block + i);
                        row[..low].fill(f32::NEG_INFINITY);
                        let largest = math::max(&row[..high]) * shape.scale;
                        let sum = math::exp_sum(&mut row[..high], shape.scale, largest);
                        row[high..].fill(0.0);
                        let inverse = 1.0 / sum;
                        row[..high].iter_mut().for_each(|p| *p *= inverse);
                        lse[(block + i) * heads + head] = largest + sum.ln();
                    }
                },
            );
            let to = &mut out[block * width + head * dim..];
            if packs {
                product(Lhs::rows(scores, seen), rows, scratch.values.all().depth(seen), to, width, false);
            } else {
                weighted_sum(scores, pieces(span, first), &x.v[kv * dim..], kv_width, &mut to[..dim]);
            }
        }
    }
}

/// `Σ weight · value` over the rows of the pieces, with the bits of [`product`]: chains of fused multiply-adds, cut at
/// multiples of [`KC`]. Row i of `values` starts at `i * stride`.
fn weighted_sum(weights: &[f32], pieces: [(usize, usize, usize); 2], values: &[f32], stride: usize, out: &mut [f32]) {
    const WIDTH: usize = 32;
    math::vectorized(
        #[inline(always)]
        || {
            for (at, out) in out.chunks_mut(WIDTH).enumerate() {
                let values = &values[at * WIDTH..];
                let (mut sums, mut total) = ([0f32; WIDTH], [0f32; WIDTH]);
                let n = out.len();
                for (start, row, count) in pieces {
                    for i in 0..count {
                        let key = start + i;
                        if key > 0 && key.is_multiple_of(KC) {
                            for (total, sum) in total.iter_mut().zip(&mut sums) {
                                *total = if key == KC { *sum } else { *total + *sum };
                                *sum = 0.0;
                            }
                        }
                        let (weight, from) = (weights[key], (row + i) * stride);
                        if n == WIDTH {
                            for (sum, v) in sums.iter_mut().zip(&values[from..from + WIDTH]) {
                                *sum = weight.mul_add(*v, *sum);
                            }
                        } else {
                            for (sum, v) in sums.iter_mut().zip(&values[from..from + n]) {
                                *sum = weight.mul_add(*v, *sum);
                            }
                        }
                    }
                }
                let one = weights.len() <= KC;
                for ((out, total), sum) in out.iter_mut().zip(&total).zip(&sums) {
                    *out = if one { *sum } else { *total + *sum };
                }
            }
        },
    );
}

// A multiple of the chain's length is one of the lanes, too.
const _: () = assert!(KC.is_multiple_of(math::LANES));

/// The keys `[low, high)`, counted from key `first`, that the query at key number `at` sees.
fn range(window: Option<usize>, first: usize, at: usize) -> (usize, usize) {
    (window.map_or(0, |w| (first + at + 1).saturating_sub(w).saturating_sub(first)), at + 1)
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    pub out: &'a [f32],
    pub lse: &'a [f32],
}

/// Gradients of queries, keys and values. `groups` are runs of spans that share nothing with other runs; each run's
/// rows are contiguous, and keys and queries are the same rows.
pub fn backward(
    shape: &AttentionShape,
    x: Inputs,
    saved: Saved,
    d_out: &[f32],
    spans: &[Span],
    groups: &[std::ops::Range<usize>],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    let total = x.q.len() / width;
    let mut dq = vec![0f32; total * width];
    let (mut dk, mut dv) = (vec![0f32; total * kv_width], vec![0f32; total * kv_width]);
    let mut tasks = Vec::with_capacity(groups.len());
    let (mut q_rest, mut k_rest, mut v_rest) = (&mut dq[..], &mut dk[..], &mut dv[..]);
    for group in groups {
        let spans = &spans[group.clone()];
        let rows: usize = spans.iter().map(|s| s.queries.len()).sum();
        let (q, q_after) = q_rest.split_at_mut(rows * width);
        let (k, k_after) = k_rest.split_at_mut(rows * kv_width);
        let (v, v_after) = v_rest.split_at_mut(rows * kv_width);
        (q_rest, k_rest, v_rest) = (q_after, k_after, v_after);
        tasks.push((spans, Gradients { first: spans[0].queries.start, dq: q, dk: k, dv: v }));
    }
    let run = |scratch: &mut Scratch, (spans, mut d): (&[Span], Gradients)| {
        for span in spans {
            for kv in 0..shape.kv_heads {
                backward_span(shape, x, saved, d_out, span, kv, scratch, &mut d);
            }
        }
    };
    if rayon::current_num_threads() == 1 || total * width < 1 << 13 {
        let mut scratch = Scratch::default();
        tasks.into_iter().for_each(|task| run(&mut scratch, task));
    } else {
        tasks.into_par_iter().for_each_init(Scratch::default, run);
    }
    (dq, dk, dv)
}

struct Gradients<'a> {
    /// The row that the slices start at.
    first: usize,
    dq: &'a mut [f32],
    dk: &'a mut [f32],
    dv: &'a mut [f32],
}

#[allow(clippy::too_many_arguments)]
fn backward_span(
    shape: &AttentionShape,
    x: Inputs,
    saved: Saved,
    d_out: &[f32],
    span: &Span,
    kv: usize,
    s: &mut Scratch,
    d: &mut Gradients,
) {
    let (dim, heads) = (shape.head_dim, shape.heads);
    let (width, kv_width) = (heads * dim, shape.kv_heads * dim);
    let first = first_key(shape, span);
    let keys = span.keys() - first;
    s.keys_t.reset(dim, keys);
    s.values_t.reset(dim, keys);
    s.keys.reset(keys, dim);
    for (at, row, count) in pieces(span, first) {
        if count > 0 {
            let from = row * kv_width + kv * dim;
            s.keys_t.fill_columns(at, &x.k[from..], kv_width, count);
            s.values_t.fill_columns(at, &x.v[from..], kv_width, count);
            s.keys.fill_rows(at, &x.k[from..], kv_width, count);
        }
    }
    for sums in [&mut s.d_keys, &mut s.d_values] {
        sums.clear();
        sums.resize(keys * dim, 0.0);
    }
    let (queries, repeats) = (span.queries.len(), heads / shape.kv_heads);
    let start = keys - queries;
    for block in (0..queries).step_by(BLOCK) {
        let rows = BLOCK.min(queries - block);
        let seen = start + block + rows;
        s.scores.resize(rows * seen, 0.0);
        s.d_scores.resize(rows * seen, 0.0);
        let (p, ds) = (&mut s.scores[..rows * seen], &mut s.d_scores[..rows * seen]);
        for head in kv * repeats..(kv + 1) * repeats {
            let row = span.queries.start + block;
            let from = row * width + head * dim;
            product(Lhs::rows(&x.q[from..], width), rows, s.keys_t.all().columns(seen), p, seen, false);
            product(Lhs::rows(&d_out[from..], width), rows, s.values_t.all().columns(seen), ds, seen, false);
            math::vectorized(
                #[inline(always)]
                || {
                    let both = p.chunks_exact_mut(seen).zip(ds.chunks_exact_mut(seen));
                    for (i, (p, ds)) in both.enumerate() {
                        let (low, high) = range(shape.window, first, start + block + i);
                        let at = from + i * width;
                        let delta = math::dot(&d_out[at..at + dim], &saved.out[at..at + dim]);
                        let lse = saved.lse[(row + i) * heads + head];
                        for (p, ds) in p[low..high].iter_mut().zip(&mut ds[low..high]) {
                            *p = math::exp(shape.scale.mul_add(*p, -lse));
                            *ds = *p * (*ds - delta) * shape.scale;
                        }
                        for x in [p, ds] {
                            x[..low].fill(0.0);
                            x[high..].fill(0.0);
                        }
                    }
                },
            );
            let to = (row - d.first) * width + head * dim;
            product(Lhs::rows(ds, seen), rows, s.keys.all().depth(seen), &mut d.dq[to..], width, false);
            s.rows.reset(rows, dim);
            s.rows.fill_rows(0, &x.q[from..], width, rows);
            product(Lhs::transposed(ds, seen), seen, s.rows.all(), &mut s.d_keys, dim, true);
            s.rows.fill_rows(0, &d_out[from..], width, rows);
            product(Lhs::transposed(p, seen), seen, s.rows.all(), &mut s.d_values, dim, true);
        }
    }
    for (at, row, count) in pieces(span, first) {
        for i in 0..count {
            let to = (row + i - d.first) * kv_width + kv * dim;
            let from = (at + i) * dim;
            for (sums, new) in [(&mut *d.dk, &s.d_keys), (&mut *d.dv, &s.d_values)] {
                sums[to..to + dim].iter_mut().zip(&new[from..from + dim]).for_each(|(sum, new)| *sum += new);
            }
        }
    }
}

/// Rotates each head's pairs (i, i + dim/2) of `x` `[T, width]` by its position's angle; `inverse` turns back.
pub fn rotate(x: &mut [f32], width: usize, dim: usize, positions: &[u32], (cos, sin): (&[f32], &[f32]), inverse: bool) {
    let half = dim / 2;
    let sign = if inverse { -1.0 } else { 1.0 };
    parallel::rows(x, width, parallel::grain(positions.len(), positions.len() * width), |first, rows| {
        math::vectorized(
            #[inline(always)]
            || {
                for (row, position) in rows.chunks_exact_mut(width).zip(&positions[first..]) {
                    let at = *position as usize * half;
                    let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
                    for head in row.chunks_exact_mut(dim) {
                        let (a, b) = head.split_at_mut(half);
                        for i in 0..half {
                            let (s, c) = (sign * sin[i], cos[i]);
                            let (x, y) = (a[i], b[i]);
                            a[i] = x.mul_add(c, -(y * s));
                            b[i] = y.mul_add(c, x * s);
                        }
                    }
                }
            },
        );
    });
}
