//! Whose plugins a command loads that has no config: locks and signatures.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::error::{Error, Result};
use crate::plugins::lock::{self, Lock};
use crate::plugins::signature::PublicKey;
use crate::plugins::{Kind, Trust};

/// The meaning is that of `creamery run --locked` and of a config's `[trust]`.
#[derive(Args)]
pub(super) struct TrustArgs {
    /// Refuse plugins that are not what a lock file says, parameters included; a native library that is locked needs no
    /// other permission
    #[arg(long)]
    locked: bool,
    /// The lock file, which `creamery plugin lock` writes; an entry of any config will do [default: creamery.lock in this
    /// folder]
    #[arg(long, value_name = "FILE", requires = "locked")]
    lock: Option<PathBuf>,
    /// A key that is trusted, or the .pub file that holds it, as often as you like: the signature in FILE.sig, if the
    /// plugin's file has one, must be by one of them
    #[arg(long, value_name = "KEY")]
    trust_key: Vec<String>,
    /// Refuse a plugin's file that is not signed, and source folders
    #[arg(long, requires = "trust_key")]
    require_signature: bool,
}

impl TrustArgs {
    /// The option that was given, if one was.
    pub(super) fn given(&self) -> Option<&'static str> {
        match self {
            TrustArgs { locked: true, .. } => Some("--locked"),
            TrustArgs { trust_key, .. } if !trust_key.is_empty() => Some("--trust-key"),
            _ => None,
        }
    }

    /// Whether loading decides by the lock which native libraries are allowed.
    pub(super) fn is_locked(&self) -> bool {
        self.locked
    }

    /// For a plugin of the kind.
    pub(super) fn of(&self, kind: Kind) -> Result<Trust> {
        let lock = match self.locked {
            true => Some(Lock::read_all(self.lock.as_deref().unwrap_or(Path::new(lock::NAME)))?),
            false => None,
        };
        Ok(Trust {
            lock: lock.map(|lock| (Arc::new(lock), kind.name().to_owned())),
            locked: self.locked,
            keys: keys("--trust-key", &self.trust_key)?,
            require_signature: self.require_signature,
        })
    }
}

/// The keys that `option` gives: as text, or in .pub files.
pub(super) fn keys(option: &str, given: &[String]) -> Result<Vec<PublicKey>> {
    let read = |key: &String| {
        let text = match key.starts_with("ed25519:") {
            true => key.clone(),
            false => std::fs::read_to_string(key).map_err(|e| {
                Error::config(format!("{option} {key}: cannot read this file: {e}"))
                    .help("expected ed25519: and 64 digits, or a file that holds it")
            })?,
        };
        text.trim().parse().map_err(|why| Error::config(format!("{option} {key}: {why}")))
    };
    given.iter().map(read).collect()
}
