//! Values that are one of a few words, or a word or a path.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// `auto`, `cpu` or `cuda:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    Auto,
    Cpu,
    Cuda(usize),
}

/// `initial`, `previous` or the path or hub name of a Hugging Face folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScoringReference {
    Initial,
    Previous,
    Path(PathBuf),
}

/// The model that the policy is compared with in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainReference {
    /// M_t, from which the training of a round starts.
    Start,
    None,
}

/// Which linear maps have an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetModules {
    AllLinear,
    Names(Vec<String>),
}

/// Where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// `builtin:NAME`
    Builtin(String),
    /// A `.so`, `.dylib` or `.dll` file.
    Library(PathBuf),
    /// A `.wasm` file.
    Component(PathBuf),
    /// A folder with a Cargo.toml, built on first use.
    Folder(PathBuf),
}

/// What a plugin is built to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactKind {
    Native,
    Component,
}

/// Where a native library runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// In this process, with all its rights.
    #[default]
    None,
    /// In a process of its own (Linux), without rights: see [`crate::plugins::Isolation`].
    Process,
}

impl Isolation {
    pub fn is_none(&self) -> bool {
        *self == Isolation::None
    }
}

/// What happens when a judge fails on a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The run ends with the plugin's error.
    Stop,
    /// Every response of the group counts as abstained.
    Abstain,
    /// The group is dropped, and counted.
    Skip,
}

/// The learning rate after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    Cosine,
    Linear,
    Constant,
}

/// How an answer is read from a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extractor {
    Exact,
    Number,
    Choice,
    Regex,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl fmt::Display for PluginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PluginSource::Builtin(name) => write!(f, "builtin:{name}"),
            PluginSource::Library(path) | PluginSource::Component(path) | PluginSource::Folder(path) => {
                write!(f, "{}", path.display())
            }
        }
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for PluginSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            PluginSource::Builtin(_) => serializer.collect_str(self),
            PluginSource::Library(path) | PluginSource::Component(path) | PluginSource::Folder(path) => {
                path.serialize(serializer)
            }
        }
    }
}

impl Serialize for ScoringReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            ScoringReference::Initial => serializer.serialize_str("initial"),
            ScoringReference::Previous => serializer.serialize_str("previous"),
            ScoringReference::Path(path) => path.serialize(serializer),
        }
    }
}

impl Serialize for TargetModules {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            TargetModules::AllLinear => serializer.serialize_str("all-linear"),
            TargetModules::Names(names) => names.serialize(serializer),
        }
    }
}
