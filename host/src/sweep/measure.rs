//! How long stages take, from artifacts in the store.

use std::collections::HashMap;

use crate::round::foretell::{Foretold, like};
use crate::store::Shelf;

/// Of a stage so many artifacts are looked at: enough for a mean.
const MOST: usize = 400;

/// Mean seconds.
#[derive(Default)]
pub(super) struct Measured {
    by_stage: HashMap<&'static str, Mean>,
    by_like: HashMap<(&'static str, String), Mean>,
}

#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, seconds: f64) {
        self.sum += seconds;
        self.count += 1;
    }

    fn value(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

impl Measured {
    pub(super) fn of(store: &Shelf, stages: &[&'static str]) -> Measured {
        let mut measured = Measured::default();
        for stage in stages {
            for (key, seconds) in store.measured(stage, MOST) {
                measured.by_stage.entry(stage).or_default().add(seconds);
                measured.by_like.entry((stage, like(&key["inputs"]))).or_default().add(seconds);
            }
        }
        measured
    }

    /// Its own seconds where it is made; those of others with the same part of the config; or those of the same stage.
    pub(super) fn estimate(&self, artifact: &Foretold) -> Option<f64> {
        let of_like = || self.by_like.get(&(artifact.stage, artifact.like.to_string()));
        artifact.made.or_else(|| of_like().or_else(|| self.by_stage.get(artifact.stage)).map(Mean::value))
    }
}
