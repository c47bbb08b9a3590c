//! Every method over several seeds, and the tables of them. From the repository's root:
//!
//! ```text
//! cargo methods run                            # all methods, seeds 1 to 3, RESULTS.md
//! cargo methods run --seeds 1,2 scpo oracle    # some of them; the tables are only printed
//! cargo methods table                          # the table of README.md, from the configs
//! cargo methods judges                         # judges/, from the quickstart's model
//! ```

mod configs;
#[path = "../../quickstart/recipe/interval.rs"]
mod interval;
mod judges;
mod results;

use std::path::Path;
use std::process::ExitCode;

use creamery::store::write_atomic;
use creamery::{Error, Result};

const ROOT: &str = "examples/methods";
const MODEL: &str = "examples/quickstart/model";
const SEEDS: &str = "1,2,3";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, rest)) if command == "run" => run(rest),
        Some((command, [])) if command == "table" => table(),
        Some((command, [])) if command == "judges" => judges::write(Path::new(MODEL), &Path::new(ROOT).join("judges")),
        _ => Err(Error::config("expected: run [--seeds 1,2,3] [NAME…], table or judges")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let (seeds, names) = match arguments {
        [flag, seeds, names @ ..] if flag == "--seeds" => (seeds.as_str(), names),
        names => (SEEDS, names),
    };
    let seeds: Vec<u64> = seeds
        .split(',')
        .map(|s| s.parse().map_err(|_| Error::config(format!("`--seeds` has {s:?}, expected numbers like {SEEDS}"))))
        .collect::<Result<_>>()?;
    if let Some(unknown) = names.iter().find(|n| !configs::METHODS.contains(&n.as_str())) {
        let known = configs::METHODS.join(", ");
        return Err(Error::config(format!("there is no method {unknown:?}")).help(format!("there are {known}")));
    }
    let chosen = configs::METHODS.into_iter().filter(|m| names.is_empty() || names.iter().any(|n| n == m));
    let page = results::measure(Path::new(ROOT), chosen, &seeds)?;
    print!("{page}");
    match names.is_empty() {
        true => write_atomic(Path::new(ROOT).join("RESULTS.md"), page.as_bytes()),
        false => Ok(()),
    }
}

fn table() -> Result<()> {
    let file = Path::new(ROOT).join("README.md");
    let text = std::fs::read_to_string(&file).map_err(|e| Error::io("read", &file, &e))?;
    write_atomic(&file, configs::with_table(&text, Path::new(ROOT))?.as_bytes())
}
