//! The gate of the gated MLP: `silu(gate) · up`.

use super::{math, parallel};

const CHUNK: usize = 4096;

fn grain(n: usize) -> usize {
    parallel::grain(n.div_ceil(CHUNK), 16 * n)
}

pub fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut out = vec![0f32; gate.len()];
    parallel::rows(&mut out, CHUNK, grain(gate.len()), |first, out| {
        let (gate, up) = (&gate[first * CHUNK..][..out.len()], &up[first * CHUNK..][..out.len()]);
        math::vectorized(
            #[inline(always)]
            || {
                for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
                    *out = *g * math::sigmoid(*g) * *u;
                }
            },
        );
    });
    out
}

/// Gradients of gate and up.
pub fn swiglu_backward(d_out: &[f32], gate: &[f32], up: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut d_gate, mut d_up) = (vec![0f32; gate.len()], vec![0f32; gate.len()]);
    parallel::rows2((&mut d_gate, CHUNK), (&mut d_up, CHUNK), grain(gate.len()), |first, d_gate, d_up| {
        let part = first * CHUNK..first * CHUNK + d_gate.len();
        let (d_out, gate, up) = (&d_out[part.clone()], &gate[part.clone()], &up[part]);
        math::vectorized(
            #[inline(always)]
            || {
                let outputs = d_gate.iter_mut().zip(d_up.iter_mut());
                for ((((d_gate, d_up), d), g), u) in outputs.zip(d_out).zip(gate).zip(up) {
                    let s = math::sigmoid(*g);
                    let silu = *g * s;
                    *d_up = *d * silu;
                    *d_gate = *d * *u * (silu.mul_add(-s, silu) + s);
                }
            },
        );
    });
    (d_gate, d_up)
}
