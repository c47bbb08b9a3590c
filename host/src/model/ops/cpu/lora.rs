//! Products with the thin matrices of an adapter.

use super::gemm::{Lhs, Panels, parallel_product, product};
use super::parallel;

/// Columns of a task.
const COLUMNS: usize = 64;

/// `y += h·Bᵀ`: h `[T, r]`, y `[T, out]`; `b` is Bᵀ, packed.
pub fn add(h: &[f32], r: usize, b: &Panels, y: &mut [f32]) {
    parallel_product(Lhs::rows(h, r), h.len() / r, b.all(), y, true);
}

/// `hᵀ·x`, `[r, width]`, summed over the rows in their order: h `[T, r]`, x `[T, width]`.
pub fn outer(h: &[f32], r: usize, x: &[f32], width: usize) -> Vec<f32> {
    let rows = h.len() / r;
    let tasks = width.div_ceil(COLUMNS);
    // Columns are shared out, since there are few rows; each task has a part of its own to write to.
    let mut parts = vec![0f32; tasks * r * COLUMNS];
    let grain = if rows * r * width < 1 << 18 { tasks } else { 1 };
    parallel::rows(&mut parts, r * COLUMNS, grain, |first, parts| {
        for (i, part) in parts.chunks_exact_mut(r * COLUMNS).enumerate() {
            let from = (first + i) * COLUMNS;
            let mut panels = Panels::default();
            panels.reset(rows, COLUMNS.min(width - from));
            panels.fill_rows(0, &x[from..], width, rows);
            product(Lhs::transposed(h, r), r, panels.all(), part, COLUMNS, false);
        }
    });
    let mut out = vec![0f32; r * width];
    for (i, part) in parts.chunks_exact(r * COLUMNS).enumerate() {
        for (row, part) in out.chunks_exact_mut(width).zip(part.chunks_exact(COLUMNS)) {
            let to = &mut row[i * COLUMNS..width.min((i + 1) * COLUMNS)];
            to.copy_from_slice(&part[..to.len()]);
        }
    }
    out
}

/// `dA += dhᵀ·x`: dA `[r, in]`.
pub fn backward_a(dh: &[f32], r: usize, x: &[f32], inputs: usize, da: &mut [f32]) {
    da.iter_mut().zip(outer(dh, r, x, inputs)).for_each(|(sum, d)| *sum += d);
}

/// `dB += dyᵀ·h`: dB `[out, r]`.
pub fn backward_b(h: &[f32], r: usize, dy: &[f32], outputs: usize, db: &mut [f32]) {
    let transposed = outer(h, r, dy, outputs);
    for (i, row) in db.chunks_exact_mut(r).enumerate() {
        row.iter_mut().enumerate().for_each(|(j, sum)| *sum += transposed[j * outputs + i]);
    }
}

/// `W += s·B·A`: W `[out, in]`, B `[out, r]`, A `[r, in]`.
pub fn merge(w: &mut [f32], a: &[f32], b: &[f32], r: usize, scale: f32) {
    let inputs = a.len() / r;
    let scaled: Vec<f32> = b.iter().map(|b| b * scale).collect();
    let panels = Panels::pack(a, inputs, r, inputs);
    parallel_product(Lhs::rows(&scaled, r), w.len() / inputs, panels.all(), w, true);
}
