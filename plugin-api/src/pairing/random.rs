//! Random numbers that belong to names, not to positions: no order, batch or thread changes them.

/// A number drawn for `parts` under `seed`: 64-bit FNV-1a over the seed and the parts, each with its length, mixed by
/// SplitMix64's finalizer. Distinct parts give independent-looking numbers; it is no cryptographic hash.
pub fn key(seed: u64, parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    absorb(&mut hash, &seed.to_le_bytes());
    for part in parts {
        absorb(&mut hash, &(part.len() as u64).to_le_bytes());
        absorb(&mut hash, part.as_bytes());
    }
    let mut z = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn absorb(hash: &mut u64, bytes: &[u8]) {
    for byte in bytes {
        *hash = (*hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}
