//! `[trust]`: whose plugins are loaded.

use serde::Serialize;

use super::section::Section;
use crate::error::Result;
use crate::plugins::signature::PublicKey;

/// `[trust]`
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrustConfig {
    /// Keys of signatures, as `creamery plugin keygen` prints them. A signature beside a plugin's file, in FILE.sig, must
    /// be by one of them. Default: none.
    #[serde(serialize_with = "texts")]
    pub keys: Vec<PublicKey>,
    /// A plugin's file without a signature is refused, and so is a source folder. Builtin plugins are this program's.
    /// Default false.
    pub require_signature: bool,
}

impl TrustConfig {
    pub(super) fn read(section: &Section<'_>) -> Result<Self> {
        let expected = "a list of keys, like [\"ed25519:8a88e3dd…\"]";
        let mut keys = Vec::new();
        if section.has("keys") {
            for text in section.words("keys", expected)? {
                keys.push(text.parse().map_err(|why| {
                    let message = format!("`{}` has {text:?}: {why}", section.dotted("keys"));
                    section.error("keys", message).help("`creamery plugin keygen` makes a key, FILE.pub holds it")
                })?);
            }
        }
        let require_signature = section.boolean("require-signature", false)?;
        if require_signature && keys.is_empty() {
            let message = "`trust.require-signature` is true, but no key is trusted, so no plugin file could be used";
            return Err(section.error("require-signature", message).help("add keys = [\"ed25519:…\"] to [trust]"));
        }
        Ok(TrustConfig { keys, require_signature })
    }

    pub(super) fn is_default(&self) -> bool {
        *self == TrustConfig::default()
    }
}

fn texts<S: serde::Serializer>(keys: &[PublicKey], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(PublicKey::to_string))
}
