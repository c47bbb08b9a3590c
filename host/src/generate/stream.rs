//! Keyed random streams: the numbers of a sample depend on what it is, not on when or beside what it is drawn.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of random numbers is for. Equal keys give equal numbers, on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey<'a> {
    pub seed: u64,
    /// What is drawn: "sample", "judge", "evaluate", …
    pub purpose: &'a str,
    pub round: u64,
    /// The id of the prompt.
    pub prompt: &'a str,
}

impl StreamKey<'_> {
    /// The stream of sample number `index` of this prompt.
    pub fn stream(&self, index: usize) -> Stream {
        let mut hasher = blake3::Hasher::new_derive_key("creamery 1.0 random stream");
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&self.round.to_le_bytes());
        hasher.update(&(index as u64).to_le_bytes());
        // Texts of any length are told apart by their lengths.
        for text in [self.purpose, self.prompt] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        Stream(ChaCha12Rng::from_seed(*hasher.finalize().as_bytes()))
    }
}

/// One number per token position.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha12Rng);

impl Stream {
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: StreamKey<'_> = StreamKey { seed: 1, purpose: "sample", round: 2, prompt: "row-000003" };

    fn draw(key: StreamKey<'_>, index: usize) -> [u64; 3] {
        let mut stream = key.stream(index);
        std::array::from_fn(|_| stream.next_u64())
    }

    #[test]
    fn a_stream_depends_on_each_part_of_its_key_and_on_nothing_else() {
        let base = draw(KEY, 0);
        assert_eq!(base, draw(KEY, 0));
        let others = [
            (StreamKey { seed: 2, ..KEY }, 0),
            (StreamKey { purpose: "judge", ..KEY }, 0),
            (StreamKey { round: 3, ..KEY }, 0),
            (StreamKey { prompt: "row-000004", ..KEY }, 0),
            (StreamKey { purpose: "sampler", prompt: "ow-000003", ..KEY }, 0),
            (KEY, 1),
        ];
        for (key, index) in others {
            assert_ne!(base, draw(key, index), "{key:?} {index}");
        }
    }

    /// Frozen: a change here changes every sample that anybody ever drew.
    #[test]
    fn the_numbers_never_change() {
        assert_eq!(draw(KEY, 0), [6542299722514562115, 14669208495775843798, 4080946227212352088]);
    }
}
