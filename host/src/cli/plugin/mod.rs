//! `creamery plugin`: a file per command.

mod inspect;

use clap::{Args, Subcommand};

use crate::error::Result;

/// Plugins, for those who write them and those who want to know what they run
#[derive(Args)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Inspect(inspect::Inspect),
}

impl Plugin {
    pub(super) fn run(self) -> Result<()> {
        match self.command {
            Command::Inspect(command) => command.run(),
        }
    }
}
