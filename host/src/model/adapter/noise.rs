//! Dropout on an adapter's input. The mask is a function of the seed, the step, the group and its place in the global
//! batch, the row, the layer and the module: not of micro-batches or threads, and a pass that is computed again sees
//! the same.

use super::super::batch::Batch;

/// Keys the dropout masks of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    pub seed: u64,
    pub step: u64,
    /// Place of the batch's first group in the global batch.
    pub first_group: u64,
}

/// The noise of a pass: a key for each row.
pub(in super::super) struct Dropout {
    noise: Noise,
    rows: Vec<u64>,
}

impl Dropout {
    pub fn new(batch: &Batch) -> Option<Self> {
        let noise = batch.noise?;
        let mut rows = vec![0; batch.tokens.len()];
        for (group, spans) in (noise.first_group..).zip(&batch.groups) {
            let spans = &batch.spans[spans.clone()];
            let Some((first, last)) = spans.first().zip(spans.last()) else { continue };
            for (i, key) in rows[first.queries.start..last.queries.end].iter_mut().enumerate() {
                *key = mix(group << 32 ^ i as u64);
            }
        }
        Some(Dropout { noise, rows })
    }

    /// A seed for each row of the input of a module.
    pub fn seeds(&self, layer: usize, module: usize) -> Vec<u64> {
        let mut hasher = blake3::Hasher::new_derive_key("creamery 1.0 dropout");
        for part in [self.noise.seed, self.noise.step, layer as u64, module as u64] {
            hasher.update(&part.to_le_bytes());
        }
        let mut key = [0; 8];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        let key = u64::from_le_bytes(key);
        self.rows.iter().map(|row| mix(row ^ key)).collect()
    }
}

/// SplitMix64's output function (Steele, Lea and Flood 2014): a bijection that looks random.
pub(in super::super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
