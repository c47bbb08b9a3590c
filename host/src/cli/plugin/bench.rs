//! `creamery plugin bench`

use clap::Args;

use super::Target;
use crate::author::bench::{Scratch, bench};
use crate::author::check::Options;
use crate::cli::plugin_args::PluginSettings;
use crate::cli::print;
use crate::error::Result;
use crate::plugins::{Limits, LoadOptions};

const EXAMPLES: &str = "A call is one crossing into the plugin and back, with all that the host does around it: arguments are lent or copied,
limits are set, the answer is checked. \"empty\" carries no groups or pairs. A group has one message and four responses of
about twenty characters. A judge's call is its first step, before any answer. Of each figure the best of many is shown.

A native library is measured in this process, which it ends if it crashes, or with --isolation process in one of its own,
as a config with `isolation = \"process\"` runs it; there a call that fails is shown as failed.

Examples:
  creamery plugin bench builtin:best-worst
  creamery plugin bench plugins/best-worst --json
  creamery plugin bench plugins/best-worst --artifact native --allow-native --isolation process";

/// What a plugin costs: loading, first call, time by batch size, instructions and memory
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Bench {
    /// builtin:NAME, a .wasm component, a native library, or a folder with a plugin's source, which is built
    plugin: String,
    /// A model slot that the judge may ask, besides judge, reference and initial; as often as you like
    #[arg(long, value_name = "NAME")]
    slot: Vec<String>,
    /// A model that responses may be from, besides current and M1; as often as you like
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    #[command(flatten)]
    settings: PluginSettings,
    /// One JSON object in place of text
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(super) fn run(self) -> Result<()> {
        let target = Target::find(&self.plugin, &self.settings, Limits::default().steps)?;
        let mut slots = Options::default().slots;
        slots.extend(self.slot);
        let scratch = Scratch::new(&target.options.cache_dir);
        let mut cold = || {
            let options = LoadOptions { cache_dir: scratch.clear().to_owned(), ..target.options.clone() };
            target.load(&options)
        };
        let mut report = bench(&mut cold, &mut || target.load(&target.options), &slots, &self.source)?;
        report.isolation = target.isolation();
        match self.json {
            true => print(&format!("{:#}\n", report.json())),
            false => print(&report.text()),
        }
    }
}
