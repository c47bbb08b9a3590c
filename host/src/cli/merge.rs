//! `creamery merge`

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::stage::ModelArgs;
use crate::error::{Error, Kind, Result};
use crate::model::{SaveOptions, WeightType, copy_tokenizer};

const EXAMPLES: &str =
    "The result is W + (alpha / r) * B * A for each linear map with an adapter, and every file of a model beside it.

Examples:
  creamery merge --model examples/quickstart/model --adapter examples/stages/adapter --out out/merged
  creamery merge --model examples/quickstart/model --adapter examples/stages/adapter --weights bf16 \\
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
    weights: WeightType,
}

impl Merge {
    pub(super) fn run(self) -> Result<()> {
        if self.model.adapter().is_none() {
            return Err(Error::config("--adapter is missing, expected the folder of an adapter"));
        }
        let temporary = Temporary::beside(&self.out)?;
        let merged = self.model.load()?.merged()?;
        merged.save_with(&temporary.0, &SaveOptions { weights: self.weights, ..SaveOptions::default() })?;
        copy_tokenizer(&self.model.folder()?, &temporary.0)?;
        fs::rename(&temporary.0, &self.out).map_err(|e| Error::io("write", &self.out, &e).with_kind(Kind::Io))
    }
}

/// The folder that takes the name of the result in the end; it goes if that does not come.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(out: &Path) -> Result<Self> {
        let Some(name) = out.file_name() else {
            return Err(Error::config(format!("--out {} is no folder that can be made", out.display())));
        };
        // An empty folder may be replaced.
        let taken = fs::read_dir(out).map_or(out.exists(), |mut entries| entries.next().is_some());
        if taken {
            return Err(Error::new(Kind::Io, "there is something already, expected a new folder")
                .file(out)
                .help("choose another --out, or remove it"));
        }
        let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        fs::create_dir_all(&temporary).map_err(|e| Error::io("create", &temporary, &e).with_kind(Kind::Io))?;
        Ok(Temporary(temporary))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the renaming there is no such folder any more.
        let _ = fs::remove_dir_all(&self.0);
    }
}
