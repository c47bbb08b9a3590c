//! `creamery sweep plan`

use clap::Args;

use crate::cli::{ConfigArgs, print};
use crate::error::Result;
use crate::report::Progress;
use crate::sweep::{self, Shard};

const EXAMPLES: &str = "Examples:
  creamery sweep plan examples/ablation.toml
  creamery sweep plan examples/ablation.toml --shard 1/4 --json";

/// Show what a sweep will run, what the runs share, and what that costs
///
/// Every arm is checked, every plugin loaded; no model is. Seconds are those of artifacts in the store, of the same stage
/// with the same settings where there are any. Runs may turn out to share more than is foretold: models that come out the
/// same, byte for byte, are one model.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Plan {
    #[command(flatten)]
    config: ConfigArgs,
    /// The i-th of n parts of the runs, as in `sweep run`
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub(super) fn run(self) -> Result<()> {
        let sweep = self.config.load_sweep()?;
        let plan = sweep::Plan::make(&sweep, self.shard, &mut Progress::new())?;
        match self.json {
            true => print(&format!("{}\n", plan.json())),
            false => print(&plan.text()),
        }
    }
}
