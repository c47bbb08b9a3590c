//! `creamery merge`

use std::path::PathBuf;

use clap::Args;

use super::stage::ModelArgs;
use crate::error::{Error, Result};
use crate::model::{SaveOptions, WeightType, copy_tokenizer};
use crate::store::create_folder;

const EXAMPLES: &str =
    "The result is W + (alpha / r) * B * A for each linear map with an adapter, and every file of a model beside it.

Examples:
  creamery merge --model examples/quickstart/model --adapter examples/stages/adapter --out out/merged
  creamery merge --model examples/quickstart/model --adapter examples/stages/adapter --dtype bf16 \\
    --out out/merged-bf16";

/// A whole model out of a model and an adapter on it
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Merge {
    #[command(flatten)]
    model: ModelArgs,
    /// The folder to make
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// How weights are stored: f32, bf16 or f16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: WeightType,
}

impl Merge {
    pub(super) fn run(self) -> Result<()> {
        if self.model.adapter()?.is_none() {
            return Err(Error::config("--adapter is missing, expected the folder of an adapter"));
        }
        create_folder(&self.out, |folder| {
            let merged = self.model.load()?.merged()?;
            merged.save_with(folder, &SaveOptions { weights: self.dtype, ..SaveOptions::default() })?;
            copy_tokenizer(&self.model.folder()?, folder)
        })
    }
}
