//! Signatures of plugin files: ed25519 (RFC 8032) over the BLAKE3 digest of the file, in a file beside it.
//!
//! ```text
//! creamery signature 1
//! ed25519:8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c
//! 0f3c…64 bytes in hex…
//! ```
//!
//! The second line names the key, so that an error can say whose signature it is; what decides is whether that key is
//! among the trusted ones and the third line is its signature.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::error::{Error, Result};

const FIRST_LINE: &str = "creamery signature 1";
const SECRET_LINE: &str = "creamery secret key 1";
const SCHEME: &str = "ed25519:";
/// Signature and key files are short.
const MAX_BYTES: u64 = 4096;

/// A key that signatures are checked with; as text `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(VerifyingKey);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", hex(self.0.as_bytes()))
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.strip_prefix(SCHEME).and_then(bytes_of::<32>);
        let bytes = bytes.ok_or_else(|| format!("expected {SCHEME} and 64 hexadecimal digits"))?;
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(PublicKey(key)),
            _ => Err("these digits are no key".to_owned()),
        }
    }
}

/// A key that plugins are signed with.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new one, from the operating system's randomness.
    pub fn new() -> Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|e| Error::new(crate::Kind::Io, format!("the system gives no random numbers: {e}")))?;
        Ok(SecretKey(SigningKey::from_bytes(&seed)))
    }

    /// Reads the file that [`text`](Self::text) was written to.
    pub fn read(path: &Path) -> Result<Self> {
        let text = short_text(path, "secret key")?;
        let mut lines = text.lines();
        let seed = match (lines.next(), lines.next().and_then(bytes_of::<32>), lines.next()) {
            (Some(SECRET_LINE), Some(seed), None) => seed,
            _ => {
                return Err(Error::input("this is no secret key")
                    .file(path)
                    .help("name the file that `creamery plugin keygen` wrote, the one without .pub"));
            }
        };
        Ok(SecretKey(SigningKey::from_bytes(&seed)))
    }

    /// As it is kept in a file.
    pub fn text(&self) -> String {
        format!("{SECRET_LINE}\n{}\n", hex(self.0.as_bytes()))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The content of the signature file of `bytes`.
    pub fn sign(&self, bytes: &[u8]) -> String {
        let signature = self.0.sign(&signed(bytes));
        format!("{FIRST_LINE}\n{}\n{}\n", self.public(), hex(&signature.to_bytes()))
    }
}

/// The signature file of a plugin's file.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// Checks the signature beside the file at `path`, whose content is `bytes`; the key that signed it, which is one of
/// `trusted`.
///
/// # Errors
/// Input that is missing or cannot be read; a [`Kind::Plugin`](crate::Kind::Plugin) error for a key that is not trusted
/// or a signature of other bytes.
pub fn verify(path: &Path, bytes: &[u8], trusted: &[PublicKey]) -> Result<PublicKey> {
    let file = beside(path);
    if !file.exists() {
        return Err(Error::plugin(format!("it is not signed: there is no {}", file.display()))
            .file(path)
            .help("ask its author for the signature, or sign it yourself: `creamery plugin sign FILE --key KEY`"));
    }
    let text = short_text(&file, "signature")?;
    let mut lines = text.lines();
    let (first, key, signature) = (lines.next(), lines.next(), lines.next().and_then(bytes_of::<64>));
    let (Some(FIRST_LINE), Some(Ok(key)), Some(signature), None) =
        (first, key.map(str::parse::<PublicKey>), signature, lines.next())
    else {
        return Err(Error::plugin("this is no signature")
            .file(&file)
            .help(format!("expected three lines: {FIRST_LINE:?}, the key and the signature")));
    };
    if key.0.verify_strict(&signed(bytes), &Signature::from_bytes(&signature)).is_err() {
        return Err(Error::plugin(format!("the signature by {key} is not of this file: one of them was changed"))
            .file(path)
            .help("get both from their author again"));
    }
    if !trusted.contains(&key) {
        return Err(Error::plugin(format!("it is signed by {key}, which is not a key that you trust"))
            .file(path)
            .help("if you trust its owner, add the key to `keys` under [trust]"));
    }
    Ok(key)
}

/// What is signed for a file.
fn signed(bytes: &[u8]) -> Vec<u8> {
    [b"creamery plugin 1\0", &blake3::hash(bytes).as_bytes()[..]].concat()
}

fn short_text(path: &Path, what: &str) -> Result<String> {
    let length = std::fs::metadata(path).map_err(|e| Error::io("read", path, &e))?.len();
    if length > MAX_BYTES {
        return Err(Error::input(format!("this is no {what}: it has {length} bytes")).file(path));
    }
    std::fs::read_to_string(path).map_err(|e| Error::io("read", path, &e))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1: the key of this seed.
    #[test]
    fn a_key_of_the_standard() {
        let seed = bytes_of("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SecretKey(SigningKey::from_bytes(&seed));
        let public = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(key.public().to_string(), public);
        assert_eq!(public.parse(), Ok(key.public()));
    }

    #[test]
    fn texts_that_are_no_key() {
        for text in ["", "ed25519:", "ed25519:12", "rsa:00", &format!("ed25519:{}", "0".repeat(64)), "ed25519:ß"] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
    }
}
