//! AdamW (arXiv 1711.05101) and sums over gradients.

use rayon::prelude::*;

use super::super::AdamStep;
use super::math;

const CHUNK: usize = 1 << 14;

/// One step of AdamW on a tensor, its first and second moments.
pub fn adamw(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], s: &AdamStep) {
    let parts = p.par_chunks_mut(CHUNK).zip(m.par_chunks_mut(CHUNK)).zip(v.par_chunks_mut(CHUNK));
    let parts = parts.zip(g.par_chunks(CHUNK)).with_min_len(4);
    parts.for_each(|(((p, m), v), g)| {
        math::vectorized(
            #[inline(always)]
            || {
                for (((p, m), v), g) in p.iter_mut().zip(m.iter_mut()).zip(v.iter_mut()).zip(g) {
                    let g = *g * s.gradient_scale;
                    *m = s.beta1.mul_add(*m, (1.0 - s.beta1) * g);
                    *v = s.beta2.mul_add(*v, (1.0 - s.beta2) * g * g);
                    *p = *p * s.decay - s.step_size * (*m / (v.sqrt() / s.correction2 + s.eps));
                }
            },
        );
    });
}

/// `Σ x²` in double precision: chunks of fixed size, each summed in lanes, then one after the other.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let sums: Vec<f64> = x
        .par_chunks(CHUNK)
        .with_min_len(4)
        .map(|chunk| {
            math::vectorized(
                #[inline(always)]
                || {
                    let mut lanes = [0f64; 8];
                    let whole = chunk.chunks_exact(8);
                    let rest = whole.remainder();
                    for part in whole {
                        for i in 0..8 {
                            let x = f64::from(part[i]);
                            lanes[i] += x * x;
                        }
                    }
                    rest.iter().zip(&mut lanes).for_each(|(x, sum)| *sum += f64::from(*x) * f64::from(*x));
                    lanes.iter().sum()
                },
            )
        })
        .collect();
    sums.iter().sum()
}
