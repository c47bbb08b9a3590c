//! `creamery plugin check`

use clap::Args;

use super::Target;
use crate::author::check::{self, Options};
use crate::cli::plugin_args::PluginSettings;
use crate::cli::print;
use crate::error::{Error, Result};
use crate::plugins::{Artifact, Isolation};

const EXAMPLES: &str =
    "Each check is ok, FAILED (with the smallest input found that it fails on) or skipped (with the reason). If one
failed, the exit code is 4. Judges get answers from a script, so no model is needed.

A native library is checked in a process of its own where that is possible (Linux), so that a crash or an endless loop is
a failed check, and what it prints is not seen: --deadline-seconds says how long a call may take, --isolation none runs it
in this process, as a config without `isolation` does.

Examples:
  creamery plugin check builtin:cream
  creamery plugin check plugins/best-worst --param min-margin=0.5
  creamery plugin check plugins/best-worst --artifact native --allow-native --deadline-seconds 10
  creamery plugin check builtin:program --slot program --json";

/// Whether a plugin keeps the contract: valid answers to ordinary and awkward inputs, the same bits in any order and
/// batch, right gradients
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    /// builtin:NAME, a .wasm component, a native library, or a folder with a plugin's source, which is built
    plugin: String,
    /// A model slot that the judge may ask, besides judge, reference and initial; as often as you like
    #[arg(long, value_name = "NAME")]
    slot: Vec<String>,
    /// A model that responses may be from, besides current and M1; as often as you like
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    /// How often a judge may ask before its scores, as `max-steps` in a config
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    max_steps: u32,
    #[command(flatten)]
    settings: PluginSettings,
    /// One JSON object in place of text
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<()> {
        let mut options = Options { sources: self.source, steps: self.max_steps as usize, ..Options::default() };
        for slot in self.slot {
            if !options.slots.contains(&slot) {
                options.slots.push(slot);
            }
        }
        let mut target = Target::find(&self.plugin, &self.settings, options.steps)?;
        let ours = cfg!(target_os = "linux") && self.settings.isolation().is_none();
        if ours && target.artifact == Artifact::Native {
            // So that what the plugin does wrong is a finding, and not the end of the check.
            target.options.isolation = Isolation::Process;
        }
        if target.isolation() == Some(Isolation::Process) && self.settings.restarts().is_none() {
            // Making a failing input smaller may crash it often, which must not fail the checks after that.
            target.options.limits.restarts = u64::MAX;
        }
        options.isolation = target.isolation();
        let report = check::check(&mut || target.load(&target.options), &options)?;
        match self.json {
            true => print(&format!("{:#}\n", report.json()))?,
            false => print(&report.text())?,
        }
        match report.failures() {
            0 => Ok(()),
            n => {
                Err(Error::plugin(format!("{}: {n} of {} checks failed", report.plugin.title(), report.findings.len())))
            }
        }
    }
}
