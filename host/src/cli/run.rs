//! `creamery run`

use clap::Args;
use serde_json::json;

use super::{ConfigArgs, print};
use crate::error::{Error, Result};
use crate::report::Progress;
use crate::round;

/// Run everything that a config file describes, or continue where an earlier call stopped
#[derive(Args)]
pub(super) struct Run {
    #[command(flatten)]
    config: ConfigArgs,
    /// Worker threads, 0 for all cores; the results do not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
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
        let config = self.config.load()?;
        rayon::ThreadPoolBuilder::new()
            .num_threads(config.threads)
            .build_global()
            .map_err(|e| Error::run(format!("the worker threads cannot be started: {e}")))?;

        let mut progress = if self.quiet { Progress::silent() } else { Progress::new() };
        let summary = round::run(&config, &mut progress)?;
        drop(progress);
        if self.json {
            let result = json!({ "out": config.out.to_string_lossy(), "summary": summary, "timings": summary.timings });
            return print(&format!("{result}\n"));
        }
        let place = config.out.display();
        let tables = [summary.table(), summary.task_table(), summary.timing_table()];
        let tables: Vec<String> = tables.into_iter().filter(|table| !table.is_empty()).collect();
        print(&format!("{}\nresults are in {place}\n", tables.join("\n")))
    }
}
