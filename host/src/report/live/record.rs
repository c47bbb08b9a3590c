//! What a run says of itself while it works: `progress.json` in its folder.

use serde::{Deserialize, Serialize};

use super::process::Process;

/// The file's name in the run folder.
pub const FILE: &str = "progress.json";

/// The present form; a reader leaves out what it does not know.
pub const FORMAT: u32 = 1;

/// Times are seconds since 1970. Strings are bounded, but not otherwise cleaned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub format: u32,
    pub name: String,
    pub seed: u64,
    pub state: RunState,
    /// Of a run that failed.
    pub error: Option<String>,
    pub process: Process,
    pub started: f64,
    /// When this was written: every few seconds at least, as long as the process lives.
    pub updated: f64,
    /// In their order: those that are done, the present one, those to come.
    pub stages: Vec<StageRecord>,
    /// Of the last trainings.
    pub curves: Vec<Curve>,
    /// The last ones drawn, newest last.
    pub samples: Vec<SampleRecord>,
    /// The last warnings, newest last.
    pub warnings: Vec<String>,
    /// All of them.
    pub warned: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    #[default]
    Running,
    Finished,
    Failed,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageRecord {
    pub label: String,
    pub state: StageState,
    /// Of a stage that was reused: what it had taken.
    pub seconds: f64,
    pub done: u64,
    /// 0 if it does not say.
    pub all: u64,
    /// What is counted: "rows", "steps" or "bytes".
    pub unit: String,
    /// A second: of late while it works, over its whole time when it is done. 0 if not known.
    pub rate: f64,
    pub tokens_per_second: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageState {
    #[default]
    Pending,
    Running,
    Done,
    Reused,
    Failed,
}

/// A metric of a training by step, thinned out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Curve {
    /// The training's stage: "sft", "round 1: train".
    pub stage: String,
    /// As TRL calls it: "loss", "rewards/margins".
    pub metric: String,
    pub points: Vec<(u64, f64)>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SampleRecord {
    pub stage: String,
    pub prompt: String,
    pub response: String,
}
