//! `creamery convert`

use std::path::PathBuf;

use clap::Args;

use crate::data::Tokenizer;
use crate::error::Result;
use crate::hub;
use crate::model::{Checkpoint, SaveOptions, WeightType, copy_tokenizer};
use crate::report::Progress;
use crate::store::create_folder;

const EXAMPLES: &str = "The new folder holds the weights, in one file or in shards with an index, config.json,
generation_config.json, the tokenizer and its chat templates: all that transformers needs. Every
tensor is checked on the way, so this also tells whether a folder can be used.

Examples:
  creamery convert --model examples/quickstart/model --out out/half --dtype bf16
  creamery convert --model examples/quickstart/model --out out/shards --max-shard-size 1MB";

/// Write a checkpoint again: checked, in another number type, in shards
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Convert {
    /// The model: a Hugging Face folder, or hf:owner/name[@revision] (with cargo feature `hub`)
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The new folder
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// How the weights are stored: f32, bf16 or f16, rounded to nearest even
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: WeightType,
    /// The largest file of weights: a number of bytes, or with KB, MB, GB or TB (powers of 1000, as in transformers)
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = size)]
    max_shard_size: u64,
}

impl Convert {
    pub(super) fn run(self) -> Result<()> {
        let model = hub::folder(&self.model, hub::Part::Model, &mut Progress::new())?;
        let mut checkpoint = Checkpoint::open(&model)?;
        if model.join("tokenizer.json").exists() {
            Tokenizer::load(&model)?.check_vocab(checkpoint.config.vocab_size)?;
        } else {
            Progress::new().warner()("the folder has no tokenizer.json, and so the new one will have none");
        }
        let options = SaveOptions { weights: self.dtype, max_shard_bytes: self.max_shard_size };
        create_folder(&self.out, |folder| {
            checkpoint.save(folder, &options)?;
            copy_tokenizer(&model, folder)
        })
    }
}

/// A size in bytes: `5GB`, `200 MB`, `1.5gb`, `4096`.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 5] = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3), ("", 1.0)];
    let upper = text.trim().to_uppercase();
    let found = UNITS.iter().find_map(|(unit, factor)| {
        let number: f64 = upper.strip_suffix(unit)?.trim_end().parse().ok()?;
        Some(number * factor)
    });
    match found {
        Some(bytes) if (1.0..1e18).contains(&bytes) => Ok(bytes as u64),
        _ => Err("expected a size such as 5GB, 200MB or a number of bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("5GB", Some(5_000_000_000)),
            ("1.5 mb", Some(1_500_000)),
            ("4096", Some(4096)),
            ("2KB", Some(2000)),
            ("GB", None),
            ("0", None),
            ("-1GB", None),
            ("nan", None),
            ("inf", None),
            ("5GiB", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }
}
