//! Tokens per second of sampling, beside a peer if there is one.
//!
//! cargo bench --bench generate -- [--model DIR --prompts FILE --peer SCRIPT --python EXE …]
//!
//! The peer is a script that takes the same options and prints a JSON object with `seconds.sample` and `tokens.sample`;
//! its path may also stand in CREAMERY_PEER, its interpreter in CREAMERY_PEER_PYTHON.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use candle_core::Device;
use clap::Parser;
use creamery::data::{ChatFormat, rows};
use creamery::generate::{Request, SamplingConfig, StreamKey, generate};
use creamery::model::Decoder;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart/model"))]
    model: PathBuf,
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart/prompts.jsonl"))]
    prompts: PathBuf,
    #[arg(long, default_value_t = 5)]
    n: usize,
    #[arg(long, default_value_t = 0.8)]
    temperature: f32,
    #[arg(long, default_value_t = 0.95)]
    top_p: f32,
    #[arg(long, default_value_t = 64)]
    max_new_tokens: usize,
    /// Runs, of which the fastest is told.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    #[arg(long)]
    peer: Option<PathBuf>,
    #[arg(long)]
    python: Option<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let mut options = Options::parse();
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    options.peer = options.peer.or_else(|| variable("CREAMERY_PEER"));
    let python = options.python.take().or_else(|| variable("CREAMERY_PEER_PYTHON"));
    let python = python.unwrap_or_else(|| "python3".into());
    let format = ChatFormat::load(&options.model).unwrap_or_else(|e| fail(&e));
    let model = Decoder::load(&options.model, &Device::Cpu).unwrap_or_else(|e| fail(&e));
    let rows = rows::read_prompts(&options.prompts).unwrap_or_else(|e| fail(&e));
    let encoded: Vec<Vec<u32>> =
        rows.iter().map(|r| format.encode(&r.prompt, true).unwrap_or_else(|e| fail(&e))).collect();
    let requests: Vec<Request> = rows
        .iter()
        .zip(&encoded)
        .map(|(row, prompt)| {
            let key = StreamKey { seed: 0, purpose: "sample", round: 1, prompt: &row.id };
            Request { prompt, n: options.n, first: 0, key }
        })
        .collect();
    let config = SamplingConfig {
        temperature: options.temperature,
        top_p: options.top_p,
        max_new_tokens: options.max_new_tokens,
        ..SamplingConfig::default()
    };
    let (mut best, mut tokens) = (f64::INFINITY, 0);
    for _ in 0..options.repeat.max(1) {
        let start = Instant::now();
        let samples = generate(&model, &requests, &config, model.eos_token_ids(), &mut |_, _| {});
        best = best.min(start.elapsed().as_secs_f64());
        tokens = samples.unwrap_or_else(|e| fail(&e)).iter().flatten().map(|s| s.ids.len()).sum();
    }
    let speed = tokens as f64 / best;
    println!("creamery: {tokens} tokens in {best:.3} s, {speed:.0} tokens/s");
    if let Some(peer) = &options.peer {
        // As many runs as ours, and the fastest of them.
        let runs = (0..options.repeat.max(1)).map(|_| run_peer(peer, &python, &options).unwrap_or_else(|e| fail(&e)));
        let faster = |a: (f64, f64), b: (f64, f64)| if b.0 / b.1 > a.0 / a.1 { b } else { a };
        let Some((tokens, seconds)) = runs.reduce(faster) else { return };
        println!("peer:     {tokens:.0} tokens in {seconds:.3} s, {:.0} tokens/s", tokens / seconds);
        println!("ratio:    {:.2}", speed / (tokens / seconds));
    }
}

/// Tokens and seconds of the peer's sampling.
fn run_peer(peer: &Path, python: &Path, options: &Options) -> Result<(f64, f64), String> {
    let mut command = Command::new(python);
    command.arg(peer).arg("--stage").arg("score").arg("--model").arg(&options.model);
    command.arg("--prompts").arg(&options.prompts);
    for (name, value) in [
        ("--n", options.n.to_string()),
        ("--temperature", options.temperature.to_string()),
        ("--top-p", options.top_p.to_string()),
        ("--max-new-tokens", options.max_new_tokens.to_string()),
    ] {
        command.arg(name).arg(value);
    }
    let output = command.output().map_err(|e| format!("cannot run the peer: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let result = text.lines().rev().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let number = |part: &str| result.as_ref().and_then(|r| r[part]["sample"].as_f64());
    match (number("tokens"), number("seconds")) {
        (Some(tokens), Some(seconds)) => Ok((tokens, seconds)),
        _ => Err(format!("the peer failed:\n{}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn fail<T>(error: &dyn std::fmt::Display) -> T {
    eprintln!("error: {error}");
    std::process::exit(1)
}
