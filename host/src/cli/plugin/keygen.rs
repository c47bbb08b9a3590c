//! `creamery plugin keygen`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::cli::print;
use crate::error::{Error, Result};
use crate::plugins::signature::SecretKey;

const EXAMPLES: &str = "\
Examples:
  creamery plugin keygen out/my.key";

/// Make a key to sign plugins with: FILE, which is secret, and FILE.pub, which users put under [trust]
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Keygen {
    /// Where the secret key goes; nothing is overwritten
    file: PathBuf,
}

impl Keygen {
    pub(super) fn run(self) -> Result<()> {
        let key = SecretKey::new()?;
        let mut public = self.file.as_os_str().to_owned();
        public.push(".pub");
        let public = PathBuf::from(public);
        for (file, text, secret) in [(&public, format!("{}\n", key.public()), false), (&self.file, key.text(), true)] {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            if secret {
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            }
            let _ = secret;
            let written = options.open(file).and_then(|mut opened| opened.write_all(text.as_bytes()));
            written.map_err(|e| {
                let error = Error::io("create", file, &e);
                match e.kind() {
                    std::io::ErrorKind::AlreadyExists => error.help("name another file: a key is never overwritten"),
                    _ => error,
                }
            })?;
        }
        print(&format!(
            "secret key: {}\npublic key: {} in {}\nusers who trust you write:\n[trust]\nkeys = [\"{}\"]\n",
            self.file.display(),
            key.public(),
            public.display(),
            key.public()
        ))
    }
}
