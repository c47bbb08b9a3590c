//! `creamery plugin sign`

use std::path::PathBuf;

use clap::Args;

use crate::cli::print;
use crate::error::{Error, Result};
use crate::plugins::descriptor;
use crate::plugins::signature::{self, SecretKey};
use crate::store::write_atomic;

const EXAMPLES: &str = "\
Examples:
  creamery plugin sign out/best-worst.wasm --key out/my.key";

/// Sign a plugin's file: the signature goes into FILE.sig beside it
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sign {
    /// A .wasm component or a native library
    file: PathBuf,
    /// The secret key that `creamery plugin keygen` made
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
}

impl Sign {
    pub(super) fn run(self) -> Result<()> {
        if self.file.to_string_lossy().starts_with("builtin:") {
            return Err(Error::plugin(format!(
                "{} is part of this program, and files are signed",
                self.file.display()
            ))
            .help("name the file of a component or of a native library"));
        }
        // What is no plugin is hardly meant.
        if self.file.is_dir() {
            return Err(Error::plugin("this is a folder, and files are signed")
                .file(&self.file)
                .help("`creamery plugin build FOLDER` makes the file to give away; sign that one"));
        }
        descriptor::read(&self.file)?;
        let key = SecretKey::read(&self.key)?;
        let bytes = std::fs::read(&self.file).map_err(|e| Error::io("read", &self.file, &e))?;
        let place = signature::beside(&self.file);
        write_atomic(&place, key.sign(&bytes).as_bytes())?;
        print(&format!("{} is signed by {}\n", self.file.display(), key.public()))
    }
}
