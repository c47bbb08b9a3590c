//! Models by name: `hf:owner/name[@revision]` wherever a model's folder is expected.
//!
//! A name becomes the folder of one commit in the cache that Python's `huggingface_hub` uses, so that either finds
//! what the other has fetched. The environment says the same to both: `HF_HUB_CACHE`, `HF_HOME`, `HF_TOKEN`,
//! `HF_ENDPOINT`, `HF_HUB_OFFLINE` and their like, see the `settings` module. Only what a model needs is fetched, and
//! never a pickle. What arrives is checked against its checksum before it gets a name.
//!
//! Without the cargo feature `hub` names are still read, so that the error can say what is missing.

#[cfg(feature = "hub")]
mod cache;
#[cfg(feature = "hub")]
mod checksum;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod download;
#[cfg(feature = "hub")]
mod fetch;
#[cfg(feature = "hub")]
mod files;
mod name;
#[cfg(feature = "hub")]
mod settings;
#[cfg(feature = "hub")]
mod url;

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::report::Progress;

pub use name::HubName;

/// What of a repository is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `config.json`, weights, tokenizer and chat template.
    Model,
    /// `adapter_config.json` and `adapter_model.safetensors`.
    Adapter,
}

/// A model's folder, and its name with the commit written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub folder: PathBuf,
    /// `hf:owner/name@COMMIT`; for a local folder the folder itself.
    pub name: PathBuf,
}

/// The folder that `given` names: of a hub name the commit's folder in the cache, fetched if need be; any other path
/// is itself. One request asks the hub for the commit, also when everything is cached; if no answer comes, what is
/// cached is used, with a warning.
///
/// # Errors
/// [`Kind::Config`](crate::Kind::Config) for a name that cannot be one, [`Kind::Input`](crate::Kind::Input) for a
/// repository, revision or file that is not there, and [`Kind::Io`](crate::Kind::Io) when the hub or the disk refuses.
pub fn fetch(given: &Path, part: Part, progress: &mut Progress) -> Result<Fetched> {
    match HubName::of_path(given) {
        None => Ok(Fetched { folder: given.to_owned(), name: given.to_owned() }),
        Some(name) => fetch_named(&name?, part, progress),
    }
}

/// [`fetch`], where only the folder matters.
pub fn folder(given: &Path, part: Part, progress: &mut Progress) -> Result<PathBuf> {
    Ok(fetch(given, part, progress)?.folder)
}

/// Whether `given` is a hub name, and if so that it is a proper one that this build can fetch.
///
/// # Errors
/// [`Kind::Config`](crate::Kind::Config).
pub fn is_name(given: &Path) -> Result<bool> {
    match HubName::of_path(given).transpose()? {
        None => Ok(false),
        #[cfg(feature = "hub")]
        Some(_) => Ok(true),
        #[cfg(not(feature = "hub"))]
        Some(name) => Err(not_built(&name)),
    }
}

/// What the environment says about the hub, in a line; `None` in a build without it.
///
/// # Errors
/// [`Kind::Config`](crate::Kind::Config) for a variable that cannot be understood.
pub fn describe() -> Option<Result<String>> {
    #[cfg(feature = "hub")]
    return Some(settings::Settings::from_environment().map(|settings| settings.to_string()));
    #[cfg(not(feature = "hub"))]
    None
}

#[cfg(feature = "hub")]
fn fetch_named(name: &HubName, part: Part, progress: &mut Progress) -> Result<Fetched> {
    fetch::fetch(name, part, &settings::Settings::from_environment()?, progress)
}

#[cfg(not(feature = "hub"))]
fn fetch_named(name: &HubName, _: Part, _: &mut Progress) -> Result<Fetched> {
    Err(not_built(name))
}

#[cfg(not(feature = "hub"))]
fn not_built(name: &HubName) -> crate::Error {
    crate::Error::config(format!("'{name}' is a model on the Hugging Face hub, which this build cannot reach")).help(
        "build with: cargo build --release --bin creamery --features hub; or give the folder of a downloaded model",
    )
}
