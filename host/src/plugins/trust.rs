//! Whose code is loaded: what was locked, and whose signature is known.

use std::path::Path;
use std::sync::Arc;

use super::sources::SourceDigest;
use super::{Artifact, LoadOptions, PluginInfo, lock, signature};
use crate::error::{Error, Result};

/// Whose plugins are loaded, besides what [`LoadOptions::allow_native`] says.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// What was locked for the config, and the plugin's part of it; without a config what was locked for any, and the
    /// plugin's kind.
    pub lock: Option<(Arc<lock::Lock>, String)>,
    /// Everything must be as it was locked.
    pub locked: bool,
    /// A signature beside a plugin's file must be by one of these.
    pub keys: Vec<signature::PublicKey>,
    /// A file without a signature is refused.
    pub require_signature: bool,
}

impl Trust {
    /// Whether native code of this digest, a file's or of sources, was locked.
    fn permits(&self, digest: &str) -> bool {
        self.lock.as_ref().is_some_and(|(lock, part)| lock.names(part, digest, Artifact::Native))
    }

    /// Refuses native code that is neither allowed nor locked: a file's, or what is built of `sources`. `otherwise` is the
    /// error where there is no lock.
    pub(super) fn check_native(
        &self,
        name: &str,
        digest: &str,
        sources: Option<&SourceDigest>,
        otherwise: impl FnOnce() -> Error,
    ) -> Result<()> {
        match &self.lock {
            _ if self.permits(digest) => Ok(()),
            Some((lock, part)) => Err(lock.refused(part, name, digest, sources)),
            None => Err(otherwise()),
        }
    }

    /// Where all must be as it was locked, refuses code that is not: a file's, or sources before they are built.
    pub(super) fn check_code(
        &self,
        name: &str,
        digest: &str,
        sources: Option<&SourceDigest>,
        artifact: Artifact,
    ) -> Result<()> {
        match &self.lock {
            Some((lock, part)) if self.locked => lock.check_code(part, name, digest, sources, artifact),
            _ => Ok(()),
        }
    }

    /// Refuses a plugin that is not what was locked, where it must be.
    pub(super) fn check(&self, info: &PluginInfo, options: &LoadOptions) -> Result<()> {
        match &self.lock {
            Some((lock, part)) if self.locked => lock.check(part, info, options),
            _ => Ok(()),
        }
    }

    /// Refuses a source folder, before it is built, where signatures are required.
    pub(super) fn check_unsigned(&self, folder: &Path) -> Result<()> {
        if !self.require_signature {
            return Ok(());
        }
        Err(Error::plugin("a source folder has no signature, and signatures are required")
            .file(folder)
            .help("name a built file with its .sig, or leave out `require-signature`"))
    }

    /// Refuses a file that is not signed as it must be.
    pub(super) fn check_signature(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let needed = self.require_signature || (!self.keys.is_empty() && signature::beside(path).exists());
        if needed { signature::verify(path, bytes, &self.keys).map(drop) } else { Ok(()) }
    }
}
