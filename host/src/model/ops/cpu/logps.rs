//! Log-probabilities of target tokens: the head's product, log-softmax and gather in one, in chunks of the
//! vocabulary. `[tokens × vocabulary]` never exists, and the backward pass computes the logits again.

use super::gemm::{Lhs, Panels, parallel_product, product};
use super::{math, parallel};

/// Columns of the vocabulary at once.
const VOCABULARY: usize = 1024;
/// Rows of the backward pass at once.
const ROWS: usize = 512;

/// A running log-sum-exp over chunks of a row of logits.
#[derive(Clone, Copy)]
struct LogSumExp {
    largest: f32,
    sum: f32,
}

impl LogSumExp {
    const EMPTY: LogSumExp = LogSumExp { largest: f32::NEG_INFINITY, sum: 0.0 };

    /// Takes in the next chunk and overwrites it.
    #[inline(always)]
    fn add(&mut self, logits: &mut [f32]) {
        let largest = math::max(logits);
        let largest = if self.largest > largest { self.largest } else { largest };
        let old = if self.sum == 0.0 { 0.0 } else { self.sum * math::exp(self.largest - largest) };
        self.sum = old + math::exp_sum(logits, 1.0, largest);
        self.largest = largest;
    }

    fn value(self) -> f32 {
        self.largest + self.sum.ln()
    }
}

/// The log-sum-exp of one whole row of logits, with the same bits as [`forward`] computes.
pub fn log_sum_exp(logits: &[f32]) -> f32 {
    let mut row = logits.to_vec();
    math::vectorized(
        #[inline(always)]
        || {
            let mut state = LogSumExp::EMPTY;
            // A loop: a closure in here would be compiled apart, without vectors.
            for chunk in row.chunks_mut(VOCABULARY) {
                state.add(chunk);
            }
            state.value()
        },
    )
}

fn gather(hidden: &[f32], width: usize, rows: &[u32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() * width);
    rows.iter().for_each(|row| out.extend_from_slice(&hidden[*row as usize * width..][..width]));
    out
}

/// For each of `rows` of the hidden states `[T, width]`: the log-probability of its target, and its log-sum-exp.
pub fn forward(
    hidden: &[f32],
    width: usize,
    rows: &[u32],
    targets: &[u32],
    head: &Panels,
    vocabulary: usize,
) -> (Vec<f32>, Vec<f32>) {
    let (mut logps, mut lses) = (vec![0f32; rows.len()], vec![0f32; rows.len()]);
    let grain = parallel::grain(rows.len(), rows.len() * width * vocabulary).next_multiple_of(8).min(128);
    parallel::rows2((&mut logps, 1), (&mut lses, 1), grain, |first, logps, lses| {
        let count = logps.len();
        let hidden = gather(hidden, width, &rows[first..first + count]);
        let mut logits = vec![0f32; count * VOCABULARY.min(vocabulary)];
        let mut states = vec![LogSumExp::EMPTY; count];
        for start in (0..vocabulary).step_by(VOCABULARY) {
            let n = VOCABULARY.min(vocabulary - start);
            product(Lhs::rows(&hidden, width), count, head.part(start, n), &mut logits, n, false);
            math::vectorized(
                #[inline(always)]
                || {
                    for (i, chunk) in logits.chunks_exact_mut(n).take(count).enumerate() {
                        let target = targets[first + i] as usize;
                        if (start..start + n).contains(&target) {
                            logps[i] = chunk[target - start];
                        }
                        states[i].add(chunk);
                    }
                },
            );
        }
        for ((logp, lse), state) in logps.iter_mut().zip(lses).zip(states) {
            *lse = state.value();
            *logp -= *lse;
        }
    });
    (logps, lses)
}

/// What [`forward`] was given and gave.
pub struct Saved<'a> {
    pub hidden: &'a [f32],
    pub rows: &'a [u32],
    pub targets: &'a [u32],
    pub lses: &'a [f32],
}

/// Gradient of `Σ g · logp`: adds to that of the hidden states `[T, width]` and of the head `[vocabulary, width]`.
pub fn backward(
    saved: &Saved,
    g: &[f32],
    width: usize,
    panels: &Panels,
    head: &[f32],
    d_hidden: &mut [f32],
    mut d_head: Option<&mut [f32]>,
) {
    let vocabulary = head.len() / width;
    let mut d_logits = vec![0f32; ROWS.min(g.len()) * VOCABULARY.min(vocabulary)];
    for from in (0..g.len()).step_by(ROWS) {
        let to = g.len().min(from + ROWS);
        let count = to - from;
        let hidden = gather(saved.hidden, width, &saved.rows[from..to]);
        let packed = d_head.is_some().then(|| Panels::pack(&hidden, width, count, width));
        let mut d_rows = vec![0f32; count * width];
        for start in (0..vocabulary).step_by(VOCABULARY) {
            let n = VOCABULARY.min(vocabulary - start);
            let head = &head[start * width..(start + n) * width];
            let d_logits = &mut d_logits[..count * n];
            let grain = parallel::grain(count, count * width * n).next_multiple_of(8).min(128);
            let weights = panels.part(start, n);
            parallel::rows(d_logits, n, grain, |first, part| {
                let rows = part.len() / n;
                product(Lhs::rows(&hidden[first * width..], width), rows, weights, part, n, false);
                math::vectorized(
                    #[inline(always)]
                    || {
                        for (i, row) in part.chunks_exact_mut(n).enumerate() {
                            let at = from + first + i;
                            let (g, lse) = (g[at], saved.lses[at]);
                            for x in row.iter_mut() {
                                *x = -g * math::exp(*x - lse);
                            }
                            let target = saved.targets[at] as usize;
                            if (start..start + n).contains(&target) {
                                row[target - start] += g;
                            }
                        }
                    },
                );
            });
            let rows = Panels::pack(head, width, n, width);
            parallel_product(Lhs::rows(d_logits, n), count, rows.all(), &mut d_rows, true);
            if let (Some(d_head), Some(packed)) = (&mut d_head, &packed) {
                let d_head = &mut d_head[start * width..(start + n) * width];
                parallel_product(Lhs::transposed(d_logits, n), n, packed.all(), d_head, true);
            }
        }
        for (row, d) in saved.rows[from..to].iter().zip(d_rows.chunks_exact(width)) {
            let sums = &mut d_hidden[*row as usize * width..][..width];
            sums.iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
        }
    }
}
