//! `creamery sweep status`

use std::path::PathBuf;

use clap::Args;

use crate::cli::print;
use crate::error::Result;
use crate::sweep;

const EXAMPLES: &str = "Examples:
  creamery sweep status examples/ablation.toml
  creamery sweep status .creamery/sweeps/ablation --json";

/// Show how far the runs of a sweep are
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Status {
    /// The sweep's config file, or the folder of its results
    sweep: PathBuf,
    /// Override a field, as for the other commands
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> Result<()> {
        let status = sweep::status(&self.sweep, &self.set)?;
        match self.json {
            true => print(&format!("{}\n", status.json())),
            false => print(&status.text()),
        }
    }
}
