//! `creamery sweep run`

use clap::Args;

use crate::cli::{ConfigArgs, print};
use crate::error::{Error, Kind, Result};
use crate::report::Progress;
use crate::sweep::{self, Options, Shard};

const HELP: &str = "Examples:
  creamery sweep run examples/ablation.toml --shard 1/20 --set rounds.count=1 --set data.sft=quickstart/sft.jsonl \\
      --set rounds.prompts-per-round=64 --set eval.limit=32
  creamery sweep run examples/ablation.toml --shard 1/20 --set rounds.count=1 --set data.sft=quickstart/sft.jsonl \\
      --set rounds.prompts-per-round=64 --set eval.limit=32 --jobs 2 --keep-going --json

Exit codes, besides those of every command, which mean that nothing was started:
  0   all runs are done
  42  runs failed for good (exit codes 2 to 5 of `creamery run`): their config, data or plugins are at fault
  75  runs failed that may do better (a full disk, no memory, a kill), or the program was asked to end";

/// Run a sweep, or go on where an earlier call stopped
///
/// Each run is a process of its own. Runs share the store: what another run makes, in this program or in any other, is
/// waited for and not made twice. Killed at any moment, the same command goes on.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Run {
    #[command(flatten)]
    config: ConfigArgs,
    /// The i-th of n parts of the runs: for several machines on one file system
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
    /// Runs at once, which share the cores [default: one for each core, while memory lasts]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Start further runs after one has failed
    #[arg(long)]
    keep_going: bool,
    /// Refuse plugins that are not what creamery.lock beside the config says
    #[arg(long)]
    locked: bool,
    /// No progress, only warnings, errors and the result
    #[arg(long, short)]
    quiet: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn run(self) -> Result<()> {
        let sweep = self.config.load_sweep()?;
        let program = std::env::current_exe()
            .map_err(|e| Error::new(Kind::Io, format!("cannot find this program's own file: {e}")))?;
        let options = Options {
            shard: self.shard,
            jobs: self.jobs.map(usize::from),
            keep_going: self.keep_going,
            locked: self.locked,
            program,
        };
        let mut progress = if self.quiet { Progress::silent() } else { Progress::new() };
        let outcome = sweep::run(&sweep, &options, &mut progress)?;
        drop(progress);
        match (self.json, outcome.error()) {
            (true, _) => print(&format!("{}\n", outcome.json()))?,
            (false, None) => print(&format!(
                "{} runs: {} done in {:.1} s, {} were done before\nresults are in {}\n",
                outcome.runs,
                outcome.done,
                outcome.seconds,
                outcome.skipped,
                sweep.out.display()
            ))?,
            _ => {}
        }
        outcome.error().map_or(Ok(()), Err)
    }
}
