//! `creamery sweep export`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::{ConfigArgs, print};
use crate::config::SweepConfig;
use crate::error::{Error, Kind, Result};
use crate::store::write_atomic;
use crate::sweep::export::kubernetes;
use crate::sweep::export::slurm;

const SLURM: &str = "Examples:
  creamery sweep export slurm examples/ablation.toml --shards 4 --cpus 8 --time 2:00:00
  creamery sweep export slurm examples/ablation.toml --shards 4 --out ablation.sbatch";

const KUBERNETES: &str = "Examples:
  creamery sweep export kubernetes examples/ablation.toml --shards 4 --image creamery:latest --claim work
  creamery sweep export kubernetes examples/ablation.toml --shards 4 --image creamery:latest --out job.json";

/// Write a job file that runs the shards of a sweep on a cluster
#[derive(Args)]
pub(super) struct Export {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Slurm(Slurm),
    Kubernetes(Kubernetes),
}

impl Export {
    pub(super) fn run(self) -> Result<()> {
        match self.command {
            Command::Slurm(command) => command.run(),
            Command::Kubernetes(command) => command.run(),
        }
    }
}

/// What both take.
#[derive(Args)]
struct Common {
    #[command(flatten)]
    config: ConfigArgs,
    /// Parts of the sweep, each a task of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    shards: u16,
    /// Runs at once in each task, as for `sweep run`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// A task goes on after a run has failed, as for `sweep run`
    #[arg(long)]
    keep_going: bool,
    /// Refuse plugins that are not locked, as for `sweep run`
    #[arg(long)]
    locked: bool,
    /// Write to this file; else to standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Common {
    /// The sweep is checked now, and not on the cluster.
    fn load(&self) -> Result<SweepConfig> {
        let sweep = self.config.load_sweep()?;
        let runs = sweep.runs().len();
        match usize::from(self.shards) > runs {
            true => Err(Error::config(format!("{} shards of a sweep of {runs} runs", self.shards))
                .help("a shard has at least one run; lower --shards")),
            false => Ok(sweep),
        }
    }

    /// Of `creamery sweep run`.
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            self.config.set.iter().flat_map(|set| ["--set".to_owned(), set.clone()]).collect();
        if let Some(jobs) = self.jobs {
            arguments.extend(["--jobs".to_owned(), jobs.to_string()]);
        }
        for (given, option) in [(self.keep_going, "--keep-going"), (self.locked, "--locked")] {
            arguments.extend(given.then(|| option.to_owned()));
        }
        arguments
    }

    fn write(&self, text: &str, then: &str) -> Result<()> {
        let Some(out) = &self.out else { return print(text) };
        write_atomic(out, text)?;
        print(&format!("written to {0}; start it with: {then} {0}\n", out.display()))
    }
}

/// Write a batch script for a Slurm job array
#[derive(Args)]
#[command(after_help = SLURM)]
struct Slurm {
    #[command(flatten)]
    common: Common,
    /// Cores of each task (--cpus-per-task)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    cpus: Option<u16>,
    /// Memory of each task (--mem), like 16G
    #[arg(long, value_name = "SIZE", value_parser = plain)]
    memory: Option<String>,
    /// Time of each task (--time), like 2:00:00
    #[arg(long, value_name = "TIME", value_parser = plain)]
    time: Option<String>,
    /// The partition to use
    #[arg(long, value_name = "NAME", value_parser = plain)]
    partition: Option<String>,
    /// Any other option of sbatch, as often as you like: --directive=--gres=gpu:1
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true, value_parser = directive)]
    directive: Vec<String>,
}

impl Slurm {
    fn run(self) -> Result<()> {
        let sweep = self.common.load()?;
        let given = [
            self.cpus.map(|n| format!("--cpus-per-task={n}")),
            self.memory.map(|size| format!("--mem={size}")),
            self.time.map(|time| format!("--time={time}")),
            self.partition.map(|name| format!("--partition={name}")),
        ];
        let folder = std::env::current_dir().map_err(|e| Error::io("find the current directory of", ".", &e))?;
        let program = std::env::current_exe()
            .map_err(|e| Error::new(Kind::Io, format!("cannot find this program's own file: {e}")))?;
        let script = slurm::Slurm {
            name: sweep.name.clone(),
            config: absolute(&self.common.config.config)?,
            folder,
            program,
            arguments: self.common.arguments(),
            shards: self.common.shards.into(),
            directives: given.into_iter().flatten().chain(self.directive).collect(),
        };
        self.common.write(&script.script(), "sbatch")
    }
}

/// Write the manifest of a Kubernetes Job in indexed mode (batch/v1, Kubernetes 1.29 or later)
#[derive(Args)]
#[command(after_help = KUBERNETES)]
struct Kubernetes {
    #[command(flatten)]
    common: Common,
    /// An image with `sh` and `creamery`
    #[arg(long)]
    image: String,
    /// A PersistentVolumeClaim with config, data, store and results, which all pods can write
    #[arg(long, value_name = "NAME")]
    claim: Option<String>,
    /// What stands for the current directory in the pods: the working folder, where the claim is
    #[arg(long, value_name = "PATH", default_value = "/work")]
    folder: String,
    /// Cores of each pod, like 4
    #[arg(long, value_name = "QUANTITY")]
    cpus: Option<String>,
    /// Memory of each pod, like 8Gi
    #[arg(long, value_name = "QUANTITY")]
    memory: Option<String>,
    /// Pods at once [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    parallel: Option<u16>,
}

impl Kubernetes {
    fn run(self) -> Result<()> {
        let sweep = self.common.load()?;
        let config = absolute(&self.common.config.config)?;
        let here = std::env::current_dir().map_err(|e| Error::io("find the current directory of", ".", &e))?;
        let Ok(below) = config.strip_prefix(&here) else {
            return Err(Error::config("the config is not below the current directory, which pods have as --folder")
                .file(&config)
                .help("change to the folder that holds config and data, and give the command there"));
        };
        let job = kubernetes::Kubernetes {
            name: sweep.name.clone(),
            image: self.image,
            folder: self.folder,
            config: below.to_string_lossy().into_owned(),
            arguments: self.common.arguments(),
            shards: self.common.shards.into(),
            parallel: self.parallel.unwrap_or(self.common.shards).into(),
            claim: self.claim,
            cpus: self.cpus,
            memory: self.memory,
        };
        self.common.write(&format!("{:#}\n", job.manifest()), "kubectl apply -f")
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io("find the folder of", path, &e))
}

/// A word that can stand in a line of #SBATCH.
fn plain(text: &str) -> std::result::Result<String, String> {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '#' | '\\');
    if !text.is_empty() && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("expected one plain word".to_owned())
    }
}

fn directive(text: &str) -> std::result::Result<String, String> {
    match text.starts_with('-') && !text.contains(['\n', '\r']) {
        true => Ok(text.to_owned()),
        false => Err("expected an option of sbatch, like --directive=--gres=gpu:1".to_owned()),
    }
}
