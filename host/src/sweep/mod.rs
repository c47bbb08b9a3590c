//! Sweeps: many runs of one file, each a process of its own, on one store.
//!
//! ```text
//! OUT/sweep.json               what the sweep is: arms, values, run folders
//! OUT/status/ARM-seedN.json    how far a run is; not there if it has not started
//! OUT/status/ARM-seedN.lock    held by who runs it
//! OUT/runs/ARM-seedN/run.toml  the run's config, for `creamery run`
//! OUT/runs/ARM-seedN/run.log   what it said
//! OUT/runs/ARM-seedN/…         its results
//! ```
//!
//! Runs meet in the store alone: stages that they have in common are made once, by whoever comes first.

mod child;
pub mod export;
mod interrupt;
mod measure;
mod memory;
mod plan;
mod record;
mod run;
mod schedule;
mod shard;
mod status;

pub use plan::{Plan, PlannedRun, StageCost};
pub use run::{Failure, Options, Outcome, run};
pub use shard::Shard;
pub use status::{State, Status, status};

/// `creamery sweep run`: no further try will do better, since the config, the data or a plugin is at fault.
pub const EXIT_PERMANENT: u8 = 42;
/// `creamery sweep run`: the same command may do better, as another machine or a freer disk might.
pub const EXIT_TEMPORARY: u8 = 75;
