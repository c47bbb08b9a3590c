//! The rounds of a run.

use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::report::Progress;

/// What a run found.
#[derive(serde::Serialize)]
pub struct RunSummary {
    pub timings: Vec<f64>,
}

impl RunSummary {
    pub fn table(&self) -> String {
        String::new()
    }

    pub fn timing_table(&self) -> String {
        String::new()
    }
}

pub fn run(_config: &RunConfig, _progress: &mut Progress) -> Result<RunSummary> {
    Err(Error::run("this build has no rounds"))
}
