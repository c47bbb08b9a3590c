//! Products with weights `[out, in]`, and rows of an embedding.

use super::gemm::{Lhs, Panels, parallel_product};
use super::parallel;

/// `y = x·Wᵀ (+ bias) (+ residual)`: x `[T, in]`, y `[T, out]`. `w` is Wᵀ, packed.
pub fn forward(
    x: &[f32],
    inputs: usize,
    w: &Panels,
    outputs: usize,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
) -> Vec<f32> {
    let rows = x.len() / inputs;
    let mut y = match (residual, bias) {
        (Some(residual), _) => residual.to_vec(),
        (None, Some(bias)) => bias.repeat(rows),
        (None, None) => vec![0f32; rows * outputs],
    };
    if let (Some(_), Some(bias)) = (residual, bias) {
        y.chunks_exact_mut(outputs).for_each(|row| row.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
    }
    let add = residual.is_some() || bias.is_some();
    parallel_product(Lhs::rows(x, inputs), rows, w.all(), &mut y, add);
    y
}

/// `dx = dy·W`, or `dx += dy·W`: dy `[T, out]`, dx `[T, in]`.
pub fn backward_input(dy: &[f32], w: &[f32], inputs: usize, dx: &mut [f32], add: bool) {
    let outputs = w.len() / inputs;
    let panels = Panels::pack(w, inputs, outputs, inputs);
    parallel_product(Lhs::rows(dy, outputs), dy.len() / outputs, panels.all(), dx, add);
}

/// `dW += dyᵀ·x`, summed over the rows in their order; `x` is packed as `[T, in]`.
pub fn backward_weight(dy: &[f32], outputs: usize, x: &Panels, dw: &mut [f32]) {
    parallel_product(Lhs::transposed(dy, outputs), outputs, x.all(), dw, true);
}

/// `db += Σ dy` over the rows in their order.
pub fn backward_bias(dy: &[f32], db: &mut [f32]) {
    for row in dy.chunks_exact(db.len()) {
        db.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
    }
}

/// Rows `tokens` of a `[vocabulary, width]` table.
pub fn embedding(table: &[f32], width: usize, tokens: &[u32]) -> Vec<f32> {
    let mut out = vec![0f32; tokens.len() * width];
    parallel::rows(&mut out, width, parallel::grain(tokens.len(), tokens.len() * width), |first, rows| {
        for (row, token) in rows.chunks_exact_mut(width).zip(&tokens[first..]) {
            let at = *token as usize * width;
            row.copy_from_slice(&table[at..at + width]);
        }
    });
    out
}

/// Adds each row of `dy` to its token's row of the gradient, in the order of the rows.
pub fn embedding_backward(dy: &[f32], width: usize, tokens: &[u32], d_table: &mut [f32]) {
    for (row, token) in dy.chunks_exact(width).zip(tokens) {
        let at = *token as usize * width;
        d_table[at..at + width].iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
    }
}
