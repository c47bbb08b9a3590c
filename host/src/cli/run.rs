//! `creamery run`

use clap::Args;
use serde_json::json;

use super::stage::start_threads;
use super::{ConfigArgs, print};
use crate::error::Result;
use crate::report::Progress;
use crate::round;

const EXAMPLES: &str = "Examples:
  creamery run examples/quickstart/cream.toml --set rounds.prompts-per-round=100 --set eval.limit=100
  creamery run examples/quickstart/cream.toml --set rounds.count=1 --set train.beta=0.2 --set eval.limit=100 --json";

/// Run everything that a config file describes, or continue where an earlier call stopped
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    #[command(flatten)]
    config: ConfigArgs,
    /// Worker threads, 0 for all cores; the results do not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// Refuse plugins that are not what creamery.lock beside the config says
    #[arg(long)]
    locked: bool,
    /// No progress, only warnings, errors and the final tables
    #[arg(long, short)]
    quiet: bool,
    /// Print the results as one JSON object in place of the tables
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn run(mut self) -> Result<()> {
        if let Some(threads) = self.threads {
            self.config.set.push(format!("threads={threads}"));
        }
        let mut config = self.config.load()?;
        config.locked = self.locked;
        start_threads(config.threads)?;

        let mut progress = if self.quiet { Progress::silent() } else { Progress::new() };
        let summary = round::run(&config, &mut progress)?;
        drop(progress);
        if self.json {
            let result = json!({ "out": config.out.to_string_lossy(), "summary": summary, "timings": summary.timings });
            return print(&format!("{result}\n"));
        }
        let place = config.out.display();
        let mut tables = summary.tables();
        if !config.about.is_empty() {
            tables.insert(0, config.about.head());
        }
        tables.push(summary.timing_table());
        print(&format!("{}\nresults are in {place}\n", tables.join("\n")))
    }
}
