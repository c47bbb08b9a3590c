//! `creamery config`

use clap::Args;

use super::{ConfigArgs, print};
use crate::error::Result;
use crate::report::Progress;
use crate::round;

const EXAMPLES: &str = "Examples:
  creamery config examples/quickstart/cream.toml
  creamery config examples/quickstart/cream.toml --set train.beta=0.2 --set seed=3
  creamery config examples/quickstart/cream.toml --no-plugins";

/// Check a config file and print it with every default written out
///
/// The plugins are loaded, built if need be, and rehearsed: judge, ranker, regularizer and objective work once on made-up
/// responses to the prompts, so that parts that do not go together are found without a run. No model is loaded.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Config {
    #[command(flatten)]
    config: ConfigArgs,
    /// Read the config file alone: no plugin is loaded, and no data is read
    #[arg(long)]
    no_plugins: bool,
}

impl Config {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.load()?;
        if !self.no_plugins {
            round::check_parts(&config, &Progress::new())?;
        }
        print(&config.to_toml()?)
    }
}
