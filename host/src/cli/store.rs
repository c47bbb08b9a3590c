//! `creamery store ls | verify | gc`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::print;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::report::Table;
use crate::store::{Store as Artifacts, Stored};

const LS_EXAMPLES: &str = "Examples:
  creamery store ls
  creamery store ls examples/quickstart/cream.toml --long";

const VERIFY_EXAMPLES: &str = "Examples:
  creamery store verify
  creamery store verify examples/quickstart/cream.toml --repair";

const GC_EXAMPLES: &str = "Examples:
  creamery store gc --dry-run
  creamery store gc examples/quickstart/cream.toml";

/// See, check and clean the folder of artifacts that runs share
#[derive(Args)]
pub(super) struct Store {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What is there: artifacts by stage, or one by one
    #[command(after_help = LS_EXAMPLES)]
    Ls {
        #[command(flatten)]
        place: Place,
        /// A line for every artifact
        #[arg(long, short)]
        long: bool,
        #[arg(long)]
        json: bool,
    },
    /// Read every byte and hold it against the checksums; damage is named, exit code 3
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify {
        #[command(flatten)]
        place: Place,
        /// Move damaged artifacts aside; the next run that needs them makes them again
        #[arg(long)]
        repair: bool,
        #[arg(long)]
        json: bool,
    },
    /// Remove the artifacts that no run folder uses any more, and what was damaged
    ///
    /// An artifact stays as long as the folder of a run is there that made or found it, and a week for a run that has
    /// not come as far as its folder. To be rid of a run's artifacts remove its folder first. Answers of servers to
    /// judges stay.
    #[command(after_help = GC_EXAMPLES)]
    Gc {
        #[command(flatten)]
        place: Place,
        /// Run folders that came from elsewhere, whose artifacts stay too
        #[arg(long, value_name = "RUN")]
        keep: Vec<PathBuf>,
        /// Remove nothing, only say what would go
        #[arg(long)]
        dry_run: bool,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Place {
    /// The store's folder, or a config file whose store it is
    #[arg(default_value = ".creamery/store")]
    store: PathBuf,
}

impl Place {
    fn open(&self) -> Result<Artifacts> {
        match self.store.is_file() {
            true => Artifacts::open_existing(RunConfig::load(&self.store, &[])?.store),
            false => Artifacts::open_existing(&self.store),
        }
    }
}

impl Store {
    pub(super) fn run(self) -> Result<()> {
        match self.command {
            Command::Ls { place, long, json } => list(&place.open()?, long, json),
            Command::Verify { place, repair, json } => verify(&place.open()?, repair, json),
            Command::Gc { place, keep, dry_run, json } => collect(place.open()?, &keep, dry_run, json),
        }
    }
}

fn list(store: &Artifacts, long: bool, json: bool) -> Result<()> {
    let all = store.list()?;
    if json {
        return print(&format!("{}\n", json!({ "store": store.root().to_string_lossy(), "artifacts": all })));
    }
    if all.is_empty() {
        return print("the store is empty\n");
    }
    let seconds = |s: f64| format!("{s:.1}");
    let mut table;
    if long {
        table = Table::new(&["artifact", "size", "seconds", "runs"]);
        for a in &all {
            let name = format!("{}/{}", a.stage, a.id);
            let made = a.seconds.map_or_else(|| "?".to_owned(), seconds);
            table.row([name, size(a.bytes), made, a.runs.len().to_string()]);
        }
    } else {
        table = Table::new(&["stage", "artifacts", "size", "seconds", "unused"]);
        let mut stages: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
        all.iter().for_each(|a| stages.entry(&a.stage).or_default().push(a));
        let mut row = |name: &str, of: &[&Stored]| {
            let unused = of.iter().filter(|a| a.runs.is_empty()).count();
            let bytes = of.iter().map(|a| a.bytes).sum();
            let made = of.iter().filter_map(|a| a.seconds).sum();
            table.row([name.to_owned(), of.len().to_string(), size(bytes), seconds(made), unused.to_string()]);
        };
        stages.iter().for_each(|(stage, of)| row(stage, of));
        row("all", &all.iter().collect::<Vec<_>>());
    }
    print(&table.render())
}

fn verify(store: &Artifacts, repair: bool, json: bool) -> Result<()> {
    let (whole, damaged) = store.verify(repair)?;
    if json {
        print(&format!("{}\n", json!({ "whole": whole, "damaged": damaged, "moved_aside": repair })))?;
    } else {
        let lines: String = damaged.iter().map(|(name, damage)| format!("damaged: {name}: {damage}\n")).collect();
        print(&format!("{lines}{whole} artifacts are whole\n"))?;
    }
    match (damaged.len(), repair) {
        (0, _) => Ok(()),
        (count, true) if !json => print(&format!("{count} damaged ones are moved aside and will be made again\n")),
        (_, true) => Ok(()),
        (count, false) => Err(Error::input(format!("{count} of {} artifacts are damaged", whole + count))
            .file(store.root())
            .help("a run that needs one makes it again by itself; `--repair` moves them aside now")),
    }
}

fn collect(store: Artifacts, keep: &[PathBuf], dry_run: bool, json: bool) -> Result<()> {
    let keep = keep.iter().map(|run| used_by(run)).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let collected = store.collect(&keep, dry_run)?;
    if json {
        let mut result = json!(collected);
        result["dry_run"] = dry_run.into();
        return print(&format!("{result}\n"));
    }
    let mut stages: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for (name, bytes) in &collected.artifacts {
        let stage = stages.entry(name.split('/').next().unwrap_or_default()).or_default();
        *stage = (stage.0 + 1, stage.1 + bytes);
    }
    let mut table = Table::new(&["stage", "artifacts", "size"]);
    let mut row = |name: &str, count: usize, bytes| {
        table.row([name.to_owned(), count.to_string(), size(bytes)]);
    };
    stages.iter().for_each(|(stage, (count, bytes))| row(stage, *count, *bytes));
    let bytes = collected.artifacts.values().sum();
    row("all", collected.artifacts.len(), bytes);
    let freed = size(bytes + collected.damaged_bytes);
    let end = match dry_run {
        true => format!("{freed} would be free; nothing was removed"),
        false => format!("{freed} are free now"),
    };
    let of_damaged = match collected.damaged_bytes {
        0 => String::new(),
        bytes => format!("damaged artifacts: {}\n", size(bytes)),
    };
    print(&format!("{}{of_damaged}{end}\n", table.render()))
}

/// "STAGE/ID" of what a run folder was made of.
fn used_by(run: &Path) -> Result<BTreeSet<String>> {
    let file = run.join("artifacts.json");
    let bytes = std::fs::read(&file).map_err(|e| Error::io("read", &file, &e))?;
    let wrong = || Error::input("this does not list a run's artifacts").file(&file).help("name a run folder");
    let rows: Vec<Value> = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    let name = |row: &Value| Some(format!("{}/{}", row["stage"].as_str()?, row["id"].as_str()?));
    rows.iter().map(|row| name(row).ok_or_else(wrong)).collect()
}

/// "1.5 MiB"
fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ => format!("{size:.1} {unit}"),
    }
}
