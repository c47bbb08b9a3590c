//! Models by reference: stages name a model by its digest and load it only when they must work.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use candle_core::Device;
use serde_json::Value;

use crate::data::files::open_ordinary;
use crate::error::{Error, Result};
use crate::model::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Decoder, adapter_base, is_adapter};
use crate::store::Artifact;

/// The folder inside a training artifact that holds the checkpoint.
pub const CHECKPOINT: &str = "model";

/// A Hugging Face folder, or an adapter's on such a base, and the digest that names its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    pub id: String,
    pub path: PathBuf,
    /// Of an adapter.
    pub base: Option<Box<ModelRef>>,
}

/// The base that an adapter's folder names.
pub enum NamedBase {
    /// It is no adapter.
    None,
    Folder(PathBuf),
    /// A name on the hub, or a path where no model is.
    Missing(String),
}

impl ModelRef {
    /// A folder of the user's, named by the bytes of its configuration and weights. An adapter's names its base.
    pub fn of_folder(path: &Path) -> Result<ModelRef> {
        match Self::named_base(path)? {
            NamedBase::None => {}
            NamedBase::Folder(base) => return ModelRef::of_folder(&base)?.with_adapter(path),
            NamedBase::Missing(name) => {
                return Err(Error::input(format!("the adapter's base '{name}' is no model folder here"))
                    .file(path.join(ADAPTER_CONFIG))
                    .help("let base_model_name_or_path be the path of the base, or merge the adapter into it"));
            }
        }
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
            // Weights may be larger than the memory: the bytes pass through.
            let (bytes, length) = open_ordinary(file)?;
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
            hasher.update(&length.to_le_bytes());
            hasher.update_reader(bytes).map_err(|e| Error::io("read", file, &e))?;
        }
        Ok(ModelRef { id: hasher.finalize().to_hex().to_string(), path: path.to_owned(), base: None })
    }

    /// As [`ModelRef::of_folder`]; but an adapter that names no folder here as its base is on `base`.
    pub fn of_folder_or_on(path: &Path, base: &ModelRef) -> Result<ModelRef> {
        let is_base = |folder: &Path| match (folder.canonicalize(), base.root().path.canonicalize()) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        };
        match Self::named_base(path)? {
            NamedBase::Folder(folder) if is_base(&folder) => base.root().with_adapter(path),
            NamedBase::Missing(_) => base.root().with_adapter(path),
            NamedBase::None | NamedBase::Folder(_) => ModelRef::of_folder(path),
        }
    }

    /// What the folder says about its base, if it is an adapter's.
    pub fn named_base(path: &Path) -> Result<NamedBase> {
        if !is_adapter(path) {
            return Ok(NamedBase::None);
        }
        let name = adapter_base(path)?;
        let found = [PathBuf::from(&name), path.join(&name)].into_iter().find(|p| p.join("config.json").is_file());
        Ok(found.map_or(NamedBase::Missing(name), NamedBase::Folder))
    }

    /// This base with the adapter in `path`, named by the base and by the adapter's settings and weights. Where the
    /// base lies is no part of the name.
    pub fn with_adapter(&self, path: &Path) -> Result<ModelRef> {
        let read = |name: &str| {
            let file = path.join(name);
            std::fs::read(&file).map_err(|e| Error::io("read", &file, &e))
        };
        let mut settings: Value = serde_json::from_slice(&read(ADAPTER_CONFIG)?)
            .map_err(|e| Error::input(format!("not valid JSON: {e}")).file(path.join(ADAPTER_CONFIG)))?;
        if let Some(fields) = settings.as_object_mut() {
            fields.remove("base_model_name_or_path");
        }
        let mut hasher = blake3::Hasher::new_derive_key("creamery 1.0 adapter");
        for part in [self.id.as_bytes(), settings.to_string().as_bytes(), &read(ADAPTER_WEIGHTS)?] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let (id, path) = (hasher.finalize().to_hex().to_string(), path.to_owned());
        Ok(ModelRef { id, path, base: Some(Box::new(self.root().clone())) })
    }

    /// The checkpoint, or the adapter on `base`, that a training stage left; like any folder, named by its bytes.
    pub fn of_artifact(artifact: &Artifact, base: &ModelRef) -> Result<ModelRef> {
        let folder = artifact.path.join(CHECKPOINT);
        if is_adapter(&folder) { base.root().with_adapter(&folder) } else { ModelRef::of_folder(&folder) }
    }

    /// The absolute path, as an adapter names its base.
    pub fn place(&self) -> Result<String> {
        let path = std::path::absolute(&self.path).map_err(|e| Error::io("find the path of", &self.path, &e))?;
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| Error::input("the path is not UTF-8 text, so an adapter cannot name it").file(path))
    }

    /// The base of an adapter; else the model itself.
    pub fn root(&self) -> &ModelRef {
        self.base.as_deref().unwrap_or(self)
    }
}

/// The models in memory: those that the latest stages used. Adapters on one base share it.
pub struct Models {
    device: Device,
    loaded: Vec<Loaded>,
}

struct Loaded {
    id: String,
    base: String,
    model: Rc<Decoder>,
}

/// M_t, M_{t−1} and the scoring reference: a stage never needs more at once.
const KEPT: usize = 3;

impl Models {
    pub fn new(device: Device) -> Self {
        Models { device, loaded: Vec::new() }
    }

    pub fn get(&mut self, model: &ModelRef) -> Result<Rc<Decoder>> {
        if let Some(at) = self.loaded.iter().position(|known| known.id == model.id) {
            let used = self.loaded.remove(at);
            self.loaded.push(used);
        } else {
            let (id, base) = (model.id.clone(), model.root().id.clone());
            let decoder = Rc::new(self.load(model)?);
            self.loaded.push(Loaded { id, base, model: decoder });
        }
        Ok(self.loaded[self.loaded.len() - 1].model.clone())
    }

    /// Loads what is not in memory, after the oldest made room for it.
    fn load(&mut self, model: &ModelRef) -> Result<Decoder> {
        let root = model.root();
        // Before the oldest goes: the base may be known through it alone.
        let base = self.loaded.iter().find(|known| known.base == root.id).map(|known| known.model.without_adapter());
        if self.loaded.len() == KEPT {
            self.loaded.remove(0);
        }
        let base = match base {
            Some(base) => base,
            None => Decoder::load(&root.path, &self.device)?,
        };
        if model.base.is_some() { base.load_adapter(&model.path) } else { Ok(base) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LoraConfig;

    /// However many adapters are used, in whatever order: one base is in memory.
    #[test]
    fn adapters_share_one_base() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/llama_tied");
        let base = ModelRef::of_folder(&folder).unwrap();
        let decoder = Decoder::load(&folder, &Device::Cpu).unwrap();
        let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
        let mut refs = vec![base.clone()];
        for (seed, dir) in folders.iter().enumerate() {
            let model = decoder.add_adapter(&LoraConfig { r: 2, ..LoraConfig::default() }, seed as u64).unwrap();
            model.save_adapter(dir.path(), folder.to_str().unwrap()).unwrap();
            refs.push(ModelRef::of_folder(dir.path()).unwrap());
            assert_eq!(refs[seed + 1], base.with_adapter(dir.path()).unwrap());
        }
        let mut ids: Vec<_> = refs.iter().map(|r| r.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 5, "every adapter has a name of its own");
        let mut models = Models::new(Device::Cpu);
        let first = models.get(&refs[1]).unwrap();
        for at in [2, 0, 3, 4, 1, 4, 0, 2] {
            let model = models.get(&refs[at]).unwrap();
            assert!(model.shares_base_with(&first), "model {at}");
            assert_eq!(model.adapter().is_some(), at > 0);
            assert!(models.loaded.len() <= KEPT);
        }
    }

    #[test]
    fn an_adapter_is_named_by_base_settings_and_weights_but_not_by_places() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/llama_tied");
        let base = ModelRef::of_folder(&folder).unwrap();
        let decoder = Decoder::load(&folder, &Device::Cpu).unwrap();
        let id = |config: &LoraConfig, seed: u64, place: &str, base: &ModelRef| {
            let dir = tempfile::tempdir().unwrap();
            decoder.add_adapter(config, seed).unwrap().save_adapter(dir.path(), place).unwrap();
            base.with_adapter(dir.path()).unwrap().id
        };
        let config = LoraConfig { r: 2, ..LoraConfig::default() };
        let first = id(&config, 1, "here", &base);
        assert_eq!(first, id(&config, 1, "there", &base));
        assert_ne!(first, id(&config, 2, "here", &base));
        assert_ne!(first, id(&LoraConfig { alpha: 3.0, ..config.clone() }, 1, "here", &base));
        let other = ModelRef { id: "other".into(), ..base.clone() };
        assert_ne!(first, id(&config, 1, "here", &other));
    }
}
