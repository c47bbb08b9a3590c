//! The recipe of the embedded world. From the repository's root:
//!
//! ```text
//! cargo run --release --example quickstart-recipe -- files     # data, tokenizer, template, config
//! cargo run --release --example quickstart-recipe -- model     # trains M0, a few minutes
//! cargo run --release --example quickstart-recipe -- results   # 8 seeds of each method, RESULTS.md
//! ```
//!
//! Each command writes below `examples/quickstart`, or below the folder given as its second argument.

mod files;
mod model;
mod results;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = arguments.get(1).map_or_else(|| PathBuf::from("examples/quickstart"), PathBuf::from);
    let outcome = match arguments.first().map(String::as_str) {
        Some("files") => files::write(&root).map_err(|e| creamery::Error::io("write", &root, &e)),
        Some("model") => model::train(&root),
        Some("results") => results::measure(&root),
        _ => Err(creamery::Error::config("expected one of: files, model, results")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.kind().exit_code())
        }
    }
}
