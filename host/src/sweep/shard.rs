//! A part of a sweep's runs, for one of several machines.

use std::fmt;
use std::str::FromStr;

use crate::config::SweepRun;

/// `i/n`: the i-th of n parts, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub index: usize,
    pub count: usize,
}

impl Shard {
    /// The whole.
    pub const ALL: Shard = Shard { index: 1, count: 1 };

    /// A stretch of the runs: their order puts together what shares most, and stretches differ by at most one run.
    pub fn of(self, runs: &[SweepRun]) -> &[SweepRun] {
        let at = |i: usize| (runs.len() as u128 * i as u128 / self.count as u128) as usize;
        &runs[at(self.index - 1)..at(self.index)]
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let expected = || "expected i/n with 1 ≤ i ≤ n, like 1/4 for the first of four parts".to_owned();
        let (index, count) = text.split_once('/').ok_or_else(expected)?;
        let (index, count) = (index.parse().map_err(|_| expected())?, count.parse().map_err(|_| expected())?);
        if 1 <= index && index <= count { Ok(Shard { index, count }) } else { Err(expected()) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_run_once() {
        for (runs, count) in [(0, 1), (7, 1), (7, 3), (8, 4), (2, 5)] {
            let all: Vec<_> = (0..runs).map(|seed| SweepRun { arm: 0, seed }).collect();
            let parts: Vec<&[SweepRun]> = (1..=count).map(|index| Shard { index, count }.of(&all)).collect();
            assert_eq!(parts.concat(), all, "{runs} runs in {count} parts");
            let sizes: Vec<usize> = parts.iter().map(|part| part.len()).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        }
    }

    #[test]
    fn shards_are_read_as_written() {
        assert_eq!("2/4".parse(), Ok(Shard { index: 2, count: 4 }));
        for wrong in ["", "1", "0/4", "5/4", "a/b", "1/0", "1/2/3", "-1/4"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
