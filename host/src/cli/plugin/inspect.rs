//! `creamery plugin inspect`

use clap::Args;

use super::find;
use crate::author::inspect::Report;
use crate::cli::plugin_args::{Built, unloaded};
use crate::cli::print;
use crate::error::Result;
use crate::report::Progress;
use crate::round::load::load;

const EXAMPLES: &str = "Nothing of the plugin runs: all of this is read from its file. A source folder is built first.

Examples:
  creamery plugin inspect builtin:cream
  creamery plugin inspect plugins/best-worst --json";

/// What a plugin is, needs and takes, without running it
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Inspect {
    /// builtin:NAME, a .wasm component, a native library, or a folder with a plugin's source, which is built
    plugin: String,
    /// What a source folder is built to [default: component]
    #[arg(long, value_enum)]
    artifact: Option<Built>,
    /// One JSON object in place of text
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(self) -> Result<()> {
        let progress = Progress::new();
        let plugin = unloaded("PLUGIN", &self.plugin, self.artifact)?;
        let report = Report::new(load(find, &plugin, true, 1, &progress)?);
        match self.json {
            true => print(&format!("{:#}\n", report.json())),
            false => print(&report.text()),
        }
    }
}
