//! Models by reference: stages name a model by its digest and load it only when they must work.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use candle_core::Device;

use crate::error::{Error, Result};
use crate::model::Decoder;
use crate::store::Artifact;

/// The folder inside a training artifact that holds the checkpoint.
pub const CHECKPOINT: &str = "model";

/// A Hugging Face folder and the digest that names its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    pub id: String,
    pub path: PathBuf,
}

impl ModelRef {
    /// A folder of the user's, named by the bytes of its configuration and weights.
    pub fn of_folder(path: &Path) -> Result<ModelRef> {
        let entries = std::fs::read_dir(path).map_err(|e| {
            Error::io("read", path, &e)
                .help("a model is a folder with config.json, model.safetensors and tokenizer.json")
        })?;
        let mut files = Vec::new();
        for entry in entries {
            let file = entry.map_err(|e| Error::io("read", path, &e))?.path();
            let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.ends_with(".safetensors")
                || name.ends_with(".safetensors.index.json")
                || name.ends_with("config.json")
            {
                files.push(file);
            }
        }
        files.sort();
        let mut hasher = blake3::Hasher::new();
        for file in &files {
            let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let bytes = std::fs::read(file).map_err(|e| Error::io("read", file, &e))?;
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
        Ok(ModelRef { id: hasher.finalize().to_hex().to_string(), path: path.to_owned() })
    }

    /// The checkpoint that a training stage left; like any folder, named by its bytes.
    pub fn of_artifact(artifact: &Artifact) -> Result<ModelRef> {
        ModelRef::of_folder(&artifact.path.join(CHECKPOINT))
    }
}

/// The models in memory: those that the latest stages used.
pub struct Models {
    device: Device,
    loaded: Vec<(String, Rc<Decoder>)>,
}

/// M_t, M_{t−1} and the scoring reference: a stage never needs more at once.
const KEPT: usize = 3;

impl Models {
    pub fn new(device: Device) -> Self {
        Models { device, loaded: Vec::new() }
    }

    pub fn get(&mut self, model: &ModelRef) -> Result<Rc<Decoder>> {
        if let Some(at) = self.loaded.iter().position(|(id, _)| *id == model.id) {
            let used = self.loaded.remove(at);
            self.loaded.push(used);
        } else {
            if self.loaded.len() == KEPT {
                self.loaded.remove(0);
            }
            let decoder = Rc::new(Decoder::load(&model.path, &self.device)?);
            self.loaded.push((model.id.clone(), decoder));
        }
        Ok(self.loaded[self.loaded.len() - 1].1.clone())
    }
}
