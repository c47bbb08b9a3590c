//! The order of the data in an epoch.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A permutation of `0..count` that depends on the seed and the epoch alone (Fisher and Yates).
pub(super) fn permutation(seed: u64, epoch: usize, count: usize) -> Vec<usize> {
    let mut hasher = blake3::Hasher::new_derive_key("creamery 1.0 training order");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(epoch as u64).to_le_bytes());
    let mut rng = ChaCha12Rng::from_seed(*hasher.finalize().as_bytes());
    let mut order: Vec<usize> = (0..count).collect();
    for i in (1..count).rev() {
        // The high half of a 128-bit product is a number below i + 1, with a bias far below what could be seen.
        let j = ((u128::from(rng.next_u64()) * (i as u128 + 1)) >> 64) as usize;
        order.swap(i, j);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::permutation;

    #[test]
    fn orders_are_permutations_keyed_by_seed_and_epoch() {
        let mut order = permutation(1, 0, 100);
        assert_eq!(order, permutation(1, 0, 100));
        assert_ne!(order, permutation(1, 1, 100));
        assert_ne!(order, permutation(2, 0, 100));
        order.sort_unstable();
        assert!(order.into_iter().eq(0..100));
    }
}
