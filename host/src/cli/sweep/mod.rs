//! `creamery sweep`

mod export;
mod plan;
mod run;
mod status;

use clap::{Args, Subcommand};

use crate::error::Result;

/// Run many variants of one config: ablations over plugins, parameters and seeds
///
/// The section [sweep] of a config file says what varies: lists over any field, named arms, seeds. What the runs have in
/// common is made once.
#[derive(Args)]
pub(super) struct Sweep {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Plan(plan::Plan),
    Run(run::Run),
    Status(status::Status),
    Export(export::Export),
}

impl Sweep {
    pub(super) fn run(self) -> Result<()> {
        match self.command {
            Command::Plan(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Status(command) => command.run(),
            Command::Export(command) => command.run(),
        }
    }
}
