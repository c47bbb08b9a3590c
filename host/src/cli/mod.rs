//! The command line. A file per command; each ends in [`Result`], and here alone becomes an exit code.

mod chat;
mod config;
mod convert;
mod doctor;
mod eval;
mod generate;
mod judge;
mod label;
mod logps;
mod merge;
mod plugin;
mod plugin_args;
mod rank;
mod report;
mod run;
mod stage;
mod store;
mod sweep;
mod template;
mod train;
mod trust_args;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{RunConfig, SweepConfig};
use crate::error::{Error, Kind, Result};

const EXIT_CODES: &str = "Exit codes:
  0  done
  2  the command line or the configuration is wrong: nothing was started
  3  a data file, checkpoint, tokenizer or chat template cannot be used
  4  a plugin could not be loaded, broke the contract, or failed
  5  the run cannot go on: a numerical failure, or nothing left to train on
  6  the operating system refused: disk full, no permission, out of memory
  42, 75  `creamery sweep run` alone: runs failed for good, or may do better in another try";

/// Self-rewarding language models with swappable judges, rankers and regularizers
#[derive(Parser)]
#[command(name = "creamery", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Sweep(sweep::Sweep),
    Config(config::Config),
    Template(template::Template),
    Generate(generate::Generate),
    Logps(logps::Logps),
    Judge(Box<judge::Judge>),
    Rank(rank::Rank),
    Label(label::Label),
    Train(train::Train),
    Eval(eval::Eval),
    Report(report::Report),
    Merge(merge::Merge),
    Convert(convert::Convert),
    Plugin(plugin::Plugin),
    Store(store::Store),
    Doctor(doctor::Doctor),
    /// Run a native plugin for another process of creamery
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    PluginHost,
}

/// What every command on a config file takes.
#[derive(Args)]
struct ConfigArgs {
    /// The run's TOML file
    config: PathBuf,
    /// Override a field, as often as you like: --set train.beta=0.2 --set judge.params.form=mean. The value is
    /// TOML, or else plain text; a relative path starts at the config file's folder
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ConfigArgs {
    fn load(&self) -> Result<RunConfig> {
        RunConfig::load(&self.config, &self.set)
    }

    fn load_sweep(&self) -> Result<SweepConfig> {
        SweepConfig::load(&self.config, &self.set)
    }
}

/// The program: reads the arguments, does what they say, and gives the exit code.
pub fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Command::Run(command) => command.run(),
            Command::Sweep(command) => command.run(),
            Command::Config(command) => command.run(),
            Command::Template(command) => command.run(),
            Command::Generate(command) => command.run(),
            Command::Logps(command) => command.run(),
            Command::Judge(command) => command.run(),
            Command::Rank(command) => command.run(),
            Command::Label(command) => command.run(),
            Command::Train(command) => command.run(),
            Command::Eval(command) => command.run(),
            Command::Report(command) => command.run(),
            Command::Merge(command) => command.run(),
            Command::Convert(command) => command.run(),
            Command::Plugin(command) => command.run(),
            Command::Store(command) => command.run(),
            Command::Doctor(command) => command.run(),
            #[cfg(target_os = "linux")]
            Command::PluginHost => crate::plugins::host_main(),
        },
        // Help and version come this way too, with exit code 0. Wrong arguments: 2.
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(e.exit_code() as u8);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "error: {e}");
            ExitCode::from(e.exit_code())
        }
    }
}

/// Writes to standard output. A reader that has gone away (`creamery … | head`) is no error.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Io, format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}
