//! `creamery report`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::print;
use crate::error::{Error, Result};
use crate::report::{self, ReportOptions};
use crate::store::write_atomic;

const EXAMPLES: &str = "Examples:
  creamery report .creamery/runs/quickstart -o out/report.html
  creamery report .creamery/runs/quickstart --format markdown --metric greedy-accuracy
  creamery report .creamery/runs/quickstart --format csv -o out/report.csv";

/// Compare runs: which arm is better, by how much, and how sure that is
///
/// One page without network: the answer with intervals over seeds and a paired test, every metric by round, losses,
/// cost against quality, samples and provenance. Run folders without a sweep are one arm where their configs differ in
/// nothing but the seed.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Report {
    /// Run folders (their `out`), or folders of sweeps
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The file to write; needed for html, else standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What to write; else what the file's ending says, else html
    #[arg(long)]
    format: Option<Format>,
    /// The arm that the others are compared with; else the sweep's, or the first
    #[arg(long, value_name = "ARM")]
    baseline: Option<String>,
    /// What to compare by, as often as you like, the first being the question: sampled-accuracy, greedy-accuracy,
    /// ranking-accuracy, consistency, or any name in metrics.jsonl
    #[arg(long, value_name = "METRIC")]
    metric: Vec<String>,
    /// Groups of each arm in the browser of samples, at most 5000; long ones may be fewer
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=5000))]
    samples: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Html,
    Markdown,
    Csv,
}

impl Report {
    pub(super) fn run(self) -> Result<()> {
        let format = match (self.format, &self.out) {
            (Some(format), _) => format,
            (None, Some(out)) => match out.extension().and_then(|e| e.to_str()) {
                Some("md" | "markdown") => Format::Markdown,
                Some("csv") => Format::Csv,
                _ => Format::Html,
            },
            (None, None) => Format::Html,
        };
        if format == Format::Html && self.out.is_none() {
            return Err(Error::config("a page needs a file")
                .help("add -o report.html, or --format markdown or csv for the terminal"));
        }
        // Only a page shows samples.
        let samples = if format == Format::Html { self.samples as usize } else { 0 };
        let options = ReportOptions { baseline: self.baseline, metrics: self.metric, samples };
        let report = report::Report::new(&self.runs, &options)?;
        let text = match format {
            Format::Html => report.html()?,
            Format::Markdown => report.markdown(),
            Format::Csv => report.csv(),
        };
        match self.out {
            None => print(&text),
            Some(out) => {
                write_atomic(&out, &text)?;
                print(&format!("{}\nthe report is in {}\n", report.answer(), out.display()))
            }
        }
    }
}
