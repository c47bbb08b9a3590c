//! Dropout: each element is kept with probability 1 − p, and then divided by it.

use super::{math, parallel};

/// SplitMix64's increment.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// In place, on rows of `width` elements; `seeds` has one seed for each row.
pub fn apply(x: &mut [f32], width: usize, seeds: &[u64], p: f32) {
    let threshold = (f64::from(p) * 2f64.powi(32)) as u32;
    let factor = 1.0 / (1.0 - p);
    let grain = parallel::grain(seeds.len(), 4 * x.len());
    parallel::rows(x, width, grain, |first, x| {
        math::vectorized(
            #[inline(always)]
            || {
                for (row, seed) in x.chunks_exact_mut(width).zip(&seeds[first..]) {
                    let mut state = *seed;
                    for pair in row.chunks_mut(2) {
                        state = state.wrapping_add(STEP);
                        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                        let z = z ^ (z >> 31);
                        for (x, bits) in pair.iter_mut().zip([z as u32, (z >> 32) as u32]) {
                            *x = if bits < threshold { 0.0 } else { *x * factor };
                        }
                    }
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::apply;

    #[test]
    fn the_share_and_the_mean_are_right_and_masks_follow_the_seed() {
        for p in [0.1f32, 0.5, 0.9] {
            let mut x = vec![1f32; 64 * 1001];
            let seeds: Vec<u64> = (0..64).collect();
            apply(&mut x, 1001, &seeds, p);
            let kept = x.iter().filter(|x| **x != 0.0).count() as f32 / x.len() as f32;
            assert!((kept - (1.0 - p)).abs() < 0.01, "{p}: {kept} kept");
            assert!(x.iter().all(|x| *x == 0.0 || *x == 1.0 / (1.0 - p)));
            let mut alone = vec![1f32; 1001];
            apply(&mut alone, 1001, &seeds[7..8], p);
            assert_eq!(alone, x[7 * 1001..8 * 1001]);
            assert_ne!(alone, x[8 * 1001..9 * 1001]);
        }
    }
}
