//! Scoring and DPO training on random pairs, in tokens per second, as `cream_torch.py --random-pairs` does it: every
//! token of prompt and response counts, for each response.
//!
//! cargo bench --bench engine -- [--model DIR --pairs 64 --prompt-tokens 128 --response-tokens 128 --train-batch 16
//! --repeat 3 --lora R --lora-dropout P --gradient-checkpointing --peer SCRIPT --python EXE]
//!
//! The peer is a script that takes the same options and prints a JSON object with `seconds`; its path may also stand in
//! CREAMERY_PEER, its interpreter in CREAMERY_PEER_PYTHON. It runs on the same checkpoint.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use candle_core::Device;
use clap::Parser;
use creamery::model::{Decoder, LoraConfig};
use creamery::score::{ScoreGroup, group_logps};
use creamery::train::{
    DpoConfig, OptimizerConfig, PreferencePair, Reference, Schedule, TrainingConfig, Warmup, dpo, sequence_logp,
};
use creamery_plugin::objective::c_mix;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart/model"))]
    model: PathBuf,
    #[arg(long, default_value_t = 64)]
    pairs: usize,
    #[arg(long, default_value_t = 128)]
    prompt_tokens: usize,
    #[arg(long, default_value_t = 128)]
    response_tokens: usize,
    #[arg(long, default_value_t = 16)]
    train_batch: usize,
    /// Runs, of which the fastest is told.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Train an adapter of this rank in all linear maps, in place of all weights
    #[arg(long, value_name = "R")]
    lora: Option<usize>,
    #[arg(long, default_value_t = 0.0)]
    lora_dropout: f64,
    /// Keep only each layer's input for the backward pass
    #[arg(long)]
    gradient_checkpointing: bool,
    #[arg(long)]
    peer: Option<PathBuf>,
    #[arg(long)]
    python: Option<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let Options { pairs: count, prompt_tokens: prompt, response_tokens: response, .. } = options;
    let (batch, repeat, dir) = (options.train_batch, options.repeat, &options.model);
    let model = Decoder::load(dir, &Device::Cpu).unwrap_or_else(|e| panic!("{e}"));
    let mut pairs = random_pairs(&model, count, prompt, response);
    let tokens = (2 * count * (prompt + response)) as f64;

    let mut best = [f64::INFINITY; 2];
    for _ in 0..repeat {
        let start = Instant::now();
        score(&model, &mut pairs);
        best[0] = best[0].min(start.elapsed().as_secs_f64());

        let adapter = |r| LoraConfig { r, alpha: 2.0 * r as f64, dropout: options.lora_dropout, ..Default::default() };
        let policy = options.lora.map_or_else(|| model.copy(), |r| model.add_adapter(&adapter(r), 0));
        let mut policy = policy.unwrap_or_else(|e| panic!("{e}"));
        let start = Instant::now();
        let mut objective = |batch: &creamery_plugin::ObjectiveBatch| Ok(c_mix(batch));
        let config = config(batch, options.gradient_checkpointing);
        dpo(&mut policy, &pairs, &mut objective, &config, &mut |_| Ok(())).unwrap_or_else(|e| panic!("{e}"));
        best[1] = best[1].min(start.elapsed().as_secs_f64());
    }
    if let Some(peak) = peak_memory() {
        println!("peak memory {peak}");
    }
    println!("{count} pairs, {prompt} + {response} tokens, {} threads, best of {repeat}", rayon::current_num_threads());
    let peer = peer(&options);
    for (i, stage) in ["score", "dpo"].into_iter().enumerate() {
        let ours = tokens / best[i];
        print!("{stage:>6}: {ours:>9.0} tokens/s");
        match peer {
            Some(seconds) => {
                println!("   peer {:>9.0} tokens/s   ratio {:.2}", tokens / seconds[i], seconds[i] / best[i])
            }
            None => println!(),
        }
    }
}

fn random_pairs(model: &Decoder, count: usize, prompt: usize, response: usize) -> Vec<PreferencePair> {
    let vocabulary = model.config.vocab_size as u64;
    let mut state = 1u64;
    let mut tokens = |n: usize| -> Vec<u32> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (7 + (state >> 33) % (vocabulary - 7)) as u32
        };
        (0..n).map(|_| next()).collect()
    };
    (0..count)
        .map(|i| PreferencePair {
            id: i.to_string(),
            prompt: tokens(prompt),
            chosen: tokens(response),
            rejected: tokens(response),
            reference_chosen: 0.0,
            reference_rejected: 0.0,
            consistency: 1.0,
            weight: 1.0,
        })
        .collect()
}

fn score(model: &Decoder, pairs: &mut [PreferencePair]) {
    let groups: Vec<_> =
        pairs.iter().map(|p| ScoreGroup { prompt: &p.prompt, responses: vec![&p.chosen, &p.rejected] }).collect();
    let scores = group_logps(model, &groups).unwrap_or_else(|e| panic!("{e}"));
    for (pair, score) in pairs.iter_mut().zip(scores) {
        (pair.reference_chosen, pair.reference_rejected) = (sequence_logp(&score[0]), sequence_logp(&score[1]));
    }
}

fn config(batch_size: usize, gradient_checkpointing: bool) -> DpoConfig {
    let training = TrainingConfig {
        batch_size,
        gradient_checkpointing,
        optimizer: OptimizerConfig { learning_rate: 1e-5, ..Default::default() },
        schedule: Schedule::Constant,
        warmup: Warmup::Steps(0),
        ..Default::default()
    };
    DpoConfig { training, beta: 0.1, nll_weight: 0.0, expect_ln2: true, reference: Reference::Start }
}

/// Seconds of the peer's scoring and training, the best of as many runs as ours.
fn peer(options: &Options) -> Option<[f64; 2]> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let script = options.peer.clone().or_else(|| variable("CREAMERY_PEER"))?;
    let python =
        options.python.clone().or_else(|| variable("CREAMERY_PEER_PYTHON")).unwrap_or_else(|| "python3".into());
    let mut best = [f64::INFINITY; 2];
    for _ in 0..options.repeat {
        let number = |n: usize| n.to_string();
        let output = Command::new(&python)
            .arg(&script)
            .arg("--model")
            .arg(&options.model)
            .args(["--stage", "dpo", "--random-pairs", &number(options.pairs)])
            .args(["--prompt-tokens", &number(options.prompt_tokens)])
            .args(["--response-tokens", &number(options.response_tokens)])
            .args(["--train-batch", &number(options.train_batch)])
            .output()
            .unwrap_or_else(|e| panic!("cannot run {}: {e}", python.display()));
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().last().unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(line)
            .unwrap_or_else(|e| panic!("the peer failed ({e}): {}", String::from_utf8_lossy(&output.stderr)));
        for (best, stage) in best.iter_mut().zip(["score_current", "dpo"]) {
            *best = best.min(json["seconds"][stage].as_f64().unwrap_or(f64::INFINITY));
        }
    }
    Some(best)
}

/// The most memory that this process ever had, where the system tells.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().to_owned())
}
