//! The recipe of the embedded world. From the repository's root:
//!
//! ```text
//! cargo run --release --example quickstart-recipe -- files     # data, tokenizer, template, config
//! cargo run --release --example quickstart-recipe -- model     # trains M0, about 12 minutes
//! cargo run --release --example quickstart-recipe -- results   # 8 seeds of each method, RESULTS.md
//! cargo run --release --example quickstart-recipe -- answers   # examples/methods/answers.jsonl, for its oracle
//! ```
//!
//! Each command writes to its folder, or to the one given as its second argument.

mod files;
mod interval;
mod judging;
mod model;
mod results;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = arguments.first().map(String::as_str);
    let home = if command == Some("answers") { "examples/methods" } else { "examples/quickstart" };
    let root = PathBuf::from(arguments.get(1).map_or(home, String::as_str));
    let failed = |e: std::io::Error| creamery::Error::io("write", &root, &e);
    let outcome = match command {
        Some("files") => files::write(&root).map_err(failed),
        Some("answers") => files::write_answers(&root).map_err(failed),
        Some("model") => model::train(&root),
        Some("results") => results::measure(&root),
        _ => Err(creamery::Error::config("expected one of: files, model, results, answers")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.kind().exit_code())
        }
    }
}
