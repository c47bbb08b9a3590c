//! `creamery rank`

use std::path::PathBuf;

use clap::Args;

use super::plugin_args::PluginArgs;
use super::stage::OutArgs;
use crate::error::Result;
use crate::plugins;
use crate::round::exchange::GroupFile;
use crate::round::groups::reasons;
use crate::round::rank::{context, rank};

const EXAMPLES: &str = r#"Rows: what `creamery judge` writes.

Result, the same lines and:
  "ranks": {"current": [1, 2], "previous": [2, 1]}              1 is best, ties share the smaller rank, 0: no score
  "pairs": [{"chosen": 0, "rejected": 1, "weight": 1.0}]        responses by number
  "dropped": "why the group gives no pair"                      in place of "pairs"

Examples:
  creamery rank --groups out/scores.jsonl --out out/ranking.jsonl
  creamery rank --plugin builtin:best-worst --param on-tie=drop --groups out/viewpoints.jsonl --out out/compared.jsonl"#;

/// Ranks and preference pairs from scores, by a ranker plugin; no model is needed
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Rank {
    /// JSON Lines of groups with scores
    #[arg(long, value_name = "FILE")]
    groups: PathBuf,
    /// Pairs with more tokens, prompt and response together, are left out and counted
    #[arg(long, value_name = "TOKENS", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(2..))]
    max_length: u32,
    /// For rankers that choose at random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The round that the ranker is told, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    round: u32,
    #[command(flatten)]
    plugin: PluginArgs,
    #[command(flatten)]
    out: OutArgs,
}

impl Rank {
    pub(super) fn run(self) -> Result<()> {
        let file = GroupFile::read(&self.groups)?;
        let scores = file.scores()?;
        let mut progress = self.out.progress();
        let mut ranker =
            self.plugin.load((plugins::Kind::Ranker, plugins::load_ranker), "builtin:best-worst", 1, &progress)?;
        let out = self.out.open(&[&self.groups])?;
        let context = context(self.seed, self.round as usize);
        let (ranking, counts) = rank(&mut *ranker, &context, self.max_length as usize, &file.sampled, &scores)?;
        let dropped: usize = counts.dropped.values().sum();
        let mut line = format!("{} groups: {} pairs, {dropped} groups without a pair", counts.groups, counts.pairs);
        if dropped > 0 {
            line += &format!(" ({})", reasons(&counts.dropped));
        }
        if counts.too_long > 0 {
            line += &format!(", {} pairs over {} tokens left out", counts.too_long, self.max_length);
        }
        progress.line(&line);
        out.write_all(file.with_ranking(&ranking, &scores)?)
    }
}
