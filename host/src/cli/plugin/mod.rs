//! `creamery plugin`: a file per command.

mod inspect;
mod keygen;
mod lock;
mod sign;
mod verify;

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
    Lock(lock::LockCommand),
    Keygen(keygen::Keygen),
    Sign(sign::Sign),
    Verify(verify::Verify),
}

impl Plugin {
    pub(super) fn run(self) -> Result<()> {
        match self.command {
            Command::Inspect(command) => command.run(),
            Command::Lock(command) => command.run(),
            Command::Keygen(command) => command.run(),
            Command::Sign(command) => command.run(),
            Command::Verify(command) => command.run(),
        }
    }
}
