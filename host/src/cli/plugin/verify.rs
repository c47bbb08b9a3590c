//! `creamery plugin verify`

use std::path::PathBuf;

use clap::Args;

use crate::cli::print;
use crate::cli::trust_args::keys;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::plugins::signature;

const EXAMPLES: &str = "\
Examples:
  creamery plugin verify out/best-worst.wasm --key out/my.key.pub";

/// Check the signature in FILE.sig of a plugin's file
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// A .wasm component or a native library
    file: PathBuf,
    /// A key that is trusted, or the .pub file that holds it; as often as you like
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// A config whose [trust] names the keys
    #[arg(long, value_name = "CONFIG")]
    trusted: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self) -> Result<()> {
        let mut keys = keys("--key", &self.key)?;
        if let Some(config) = &self.trusted {
            keys.extend(RunConfig::load(config, &["allow-native=true".to_owned()])?.trust.keys);
        }
        if keys.is_empty() {
            return Err(Error::config("there is no key that the signature could be of")
                .help("name one with --key KEY, or a config whose [trust] has some with --trusted CONFIG"));
        }
        let bytes = std::fs::read(&self.file).map_err(|e| Error::io("read", &self.file, &e))?;
        let key = signature::verify(&self.file, &bytes, &keys)?;
        print(&format!("{} is signed by {key}\n", self.file.display()))
    }
}
