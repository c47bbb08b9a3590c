//! `creamery watch`

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::print;
use crate::error::{Error, Kind, Result};
use crate::watch::place::{self, Place};
use crate::watch::screen::{self, Look};
use crate::watch::{Snapshot, plain};

const EXAMPLES: &str = "Examples:
  creamery watch examples/quickstart/cream.toml --once
  creamery watch .creamery/runs/quickstart --once --json

Keys: q or Esc ends, Tab chooses a pane, the arrows scroll and choose a curve, Enter shows a pane alone, ? helps.
Colours are left out where NO_COLOR is set, everything but ASCII where the locale is not UTF-8 or TERM is \"linux\".";

/// Look at a run while it works: stages, rates, losses, samples, warnings
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Watch {
    /// The folder of a run or of a sweep, or its config file
    run: PathBuf,
    /// Of a config file: the changes that `creamery run` was given
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the present state once, as plain text; so it is in any case where the output is no terminal
    #[arg(long)]
    once: bool,
    /// Print the present state once, as one JSON object
    #[arg(long)]
    json: bool,
}

impl Watch {
    pub(super) fn run(self) -> Result<()> {
        let place = place::find(&self.run, &self.set)?;
        place.check(&self.run)?;
        if self.json {
            let value = match &place {
                Place::Run(folder) => serde_json::to_value(Snapshot::of(folder))
                    .map_err(|e| Error::new(Kind::Run, format!("the state cannot be written as JSON: {e}")))?,
                Place::Sweep(sweep) => plain::sweep_json(sweep),
            };
            return print(&format!("{value}\n"));
        }
        if self.once || !std::io::stdout().is_terminal() || !screen::possible() {
            return print(&match &place {
                Place::Run(folder) => plain::text(&Snapshot::of(folder)),
                Place::Sweep(sweep) => plain::sweep(sweep),
            });
        }
        screen::show(place, Look::of_environment())
    }
}
