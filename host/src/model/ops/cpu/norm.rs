//! RMSNorm (arXiv 1910.07467): `y = w · x / sqrt(mean(x²) + eps)`, over rows of the weight's width.

use super::{math, parallel};

/// Rows whose weight gradients are summed before they meet those of other rows: fixed, so that sums are too.
const ROWS: usize = 64;

/// Returns y and `1 / sqrt(mean(x²) + eps)` of each row.
pub fn forward(x: &[f32], w: &[f32], eps: f32) -> (Vec<f32>, Vec<f32>) {
    let width = w.len();
    let rows = x.len() / width;
    let (mut y, mut scales) = (vec![0f32; x.len()], vec![0f32; rows]);
    let grain = parallel::grain(rows, 2 * x.len());
    parallel::rows2((&mut y, width), (&mut scales, 1), grain, |first, y, scales| {
        let x = &x[first * width..][..y.len()];
        math::vectorized(
            #[inline(always)]
            || {
                for ((x, y), scale) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(scales.iter_mut()) {
                    *scale = 1.0 / (math::dot(x, x) / width as f32 + eps).sqrt();
                    for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
                        *y = *x * *scale * *w;
                    }
                }
            },
        );
    });
    (y, scales)
}

/// Adds the gradient of x to `dx` and that of the weight to `dw`.
pub fn backward(dy: &[f32], x: &[f32], w: &[f32], scales: &[f32], dx: &mut [f32], dw: &mut [f32]) {
    let width = w.len();
    let blocks = scales.len().div_ceil(ROWS);
    let mut sums = vec![0f32; blocks * width];
    let grain = parallel::grain(blocks, 4 * x.len());
    parallel::rows2((dx, ROWS * width), (&mut sums, width), grain, |first, dx, sums| {
        math::vectorized(
            #[inline(always)]
            || {
                for (i, (dx, sum)) in dx.chunks_mut(ROWS * width).zip(sums.chunks_exact_mut(width)).enumerate() {
                    let row = (first + i) * ROWS;
                    for (j, dx) in dx.chunks_exact_mut(width).enumerate() {
                        let at = (row + j) * width;
                        let (dy, x) = (&dy[at..at + width], &x[at..at + width]);
                        one_row(dy, x, w, scales[row + j], dx, sum);
                    }
                }
            },
        );
    });
    for sum in sums.chunks_exact(width) {
        dw.iter_mut().zip(sum).for_each(|(dw, sum)| *dw += sum);
    }
}

#[inline(always)]
fn one_row(dy: &[f32], x: &[f32], w: &[f32], scale: f32, dx: &mut [f32], sum: &mut [f32]) {
    let width = w.len();
    let (dy, x, dx, sum) = (&dy[..width], &x[..width], &mut dx[..width], &mut sum[..width]);
    let mut lanes = [0f32; math::LANES];
    let whole = width / math::LANES * math::LANES;
    for at in (0..whole).step_by(math::LANES) {
        for i in 0..math::LANES {
            lanes[i] = (dy[at + i] * w[at + i]).mul_add(x[at + i], lanes[i]);
        }
    }
    for at in whole..width {
        lanes[at - whole] = (dy[at] * w[at]).mul_add(x[at], lanes[at - whole]);
    }
    let projection = math::fold_lanes(lanes, |a, b| a + b) * scale * scale / width as f32;
    for i in 0..width {
        sum[i] = (dy[i] * scale).mul_add(x[i], sum[i]);
        dx[i] = scale.mul_add(dy[i].mul_add(w[i], -(x[i] * projection)), dx[i]);
    }
}
