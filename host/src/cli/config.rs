//! `creamery config`

use clap::Args;

use super::{ConfigArgs, print};
use crate::error::Result;

/// Check a config file and print it with every default written out
#[derive(Args)]
pub(super) struct Config {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Config {
    pub(super) fn run(self) -> Result<()> {
        print(&self.config.load()?.to_toml()?)
    }
}
