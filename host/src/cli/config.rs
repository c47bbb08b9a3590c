//! `creamery config`

use clap::Args;

use super::{ConfigArgs, print};
use crate::error::Result;

const EXAMPLES: &str = "Examples:
  creamery config examples/quickstart/cream.toml
  creamery config examples/quickstart/cream.toml --set train.beta=0.2 --set seed=3";

/// Check a config file and print it with every default written out
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Config {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Config {
    pub(super) fn run(self) -> Result<()> {
        print(&self.config.load()?.to_toml()?)
    }
}
