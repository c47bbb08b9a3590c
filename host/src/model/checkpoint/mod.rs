//! Hugging Face checkpoint folders: safetensors in and out, in one file or in shards with an index.

mod header;
mod index;
mod read;
mod tokenizer_files;
mod write;

use std::collections::{HashMap, HashSet};
use std::path::Path;

pub use read::Weights;
pub use tokenizer_files::copy_tokenizer;
pub use write::{Layout, SaveOptions, WeightType, write_weights};

use super::config::ModelConfig;
use super::decoder::shapes;
use crate::error::{Error, Result};

pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";
const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// A checkpoint folder that is open: its headers are read and checked, its weights are still on the disk.
pub struct Checkpoint {
    pub config: ModelConfig,
    files: Vec<Weights>,
    /// Name and shape of each parameter, in the decoder's order.
    parameters: Vec<(String, Vec<usize>)>,
    /// The file of each parameter.
    places: Vec<usize>,
}

impl Checkpoint {
    /// Reads config.json, the index and every header, and checks that exactly the parameters that config.json
    /// describes are there.
    ///
    /// Tensors that transformers ignores as well may stand beside them: stored rotary frequencies, and a head beside
    /// tied embeddings if it equals them. transformers 5 unties a head that differs, transformers 4 drops it; so that
    /// is an error here.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let config = ModelConfig::load(dir)?;
        let (files, sharded) = index::open(dir)?;
        let parameters = shapes(&config);
        let mut place: HashMap<&str, usize> = HashMap::new();
        for (i, file) in files.iter().enumerate() {
            for name in file.names() {
                if let Some(earlier) = place.insert(name, i) {
                    let earlier = files[earlier].path().file_name().unwrap_or_default().to_string_lossy().into_owned();
                    return Err(Error::input(format!("tensor '{name}' is in {earlier} as well, expected in one file"))
                        .file(file.path()));
                }
            }
        }
        let known: HashSet<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        let ignored = |name: &str| name.ends_with("rotary_emb.inv_freq") || (config.tied && name == HEAD);
        for file in &files {
            if let Some(name) = file.names().find(|name| !known.contains(name) && !ignored(name)) {
                return Err(Error::input(format!(
                    "tensor '{name}' has no place in the model that config.json describes"
                ))
                .file(file.path())
                .help("the weights and config.json belong to different models, or the option is not supported"));
            }
        }
        let mut places = Vec::with_capacity(parameters.len());
        for (name, shape) in &parameters {
            let Some(&at) = place.get(name.as_str()) else {
                let error = Error::input(format!("tensor '{name}' is missing, expected with shape {shape:?}"));
                let error = error.file(if sharded { dir.join(INDEX) } else { files[0].path().to_owned() });
                return Err(if name == HEAD {
                    error.help("if the head is the embedding, config.json needs \"tie_word_embeddings\": true")
                } else {
                    error
                });
            };
            files[at].check(name, shape)?;
            places.push(at);
        }
        let head = place.get(HEAD).copied().filter(|_| config.tied);
        let embedding = places[0];
        let mut checkpoint = Checkpoint { config, files, parameters, places };
        if let Some(head) = head {
            checkpoint.check_tied(embedding, head)?;
        }
        Ok(checkpoint)
    }

    /// Name and shape of each parameter, in the decoder's order.
    pub fn parameters(&self) -> &[(String, Vec<usize>)] {
        &self.parameters
    }

    /// Parameter number `index` as f32, its elements in row-major order. Every one is a finite number.
    pub fn read(&mut self, index: usize) -> Result<Vec<f32>> {
        let (name, shape) = &self.parameters[index];
        self.files[self.places[index]].read(name, shape)
    }

    /// Writes the checkpoint to another folder, a tensor at a time.
    pub fn save(&mut self, dir: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        let (config, parameters) = (self.config.clone(), self.parameters.clone());
        write::save(dir.as_ref(), &config, &parameters, options, &mut |i| self.read(i))
    }

    /// Writes the mean `share · this + (1 − share) · other` of two checkpoints of one shape, in f32, a tensor at a time.
    /// The configuration is the other's.
    ///
    /// # Errors
    /// The two are not of one shape.
    pub fn save_mean(&mut self, share: f32, other: &mut Checkpoint, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        if self.parameters != other.parameters {
            let differs = self.parameters.iter().zip(&other.parameters).find(|(a, b)| a != b);
            let (a, b) = (self.files[0].path(), other.files[0].path().display());
            return Err(Error::input(match differs {
                Some(((name, shape), (its, its_shape))) => {
                    format!("tensor '{name}' has shape {shape:?}, where {b} has '{its}' with {its_shape:?}")
                }
                None => format!("{} tensors, where {b} has {}", self.parameters.len(), other.parameters.len()),
            })
            .file(a)
            .help("only models of one shape have a mean"));
        }
        let (config, parameters) = (other.config.clone(), other.parameters.clone());
        write::save(dir, &config, &parameters, &SaveOptions::default(), &mut |i| {
            let (mut mean, new) = (self.read(i)?, other.read(i)?);
            for (mean, new) in mean.iter_mut().zip(&new) {
                *mean = share * *mean + (1.0 - share) * new;
            }
            Ok(mean)
        })
    }

    fn check_tied(&mut self, embedding: usize, head: usize) -> Result<()> {
        let shape = self.parameters[0].1.clone();
        self.files[head].check(HEAD, &shape)?;
        let embeddings = self.files[embedding].read(EMBEDDING, &shape)?;
        let mut at = 0;
        let mut equal = true;
        self.files[head].read_chunks(HEAD, &shape, &mut |chunk| {
            equal &= embeddings[at..at + chunk.len()] == *chunk;
            at += chunk.len();
        })?;
        if equal {
            return Ok(());
        }
        Err(Error::input(format!("tensor '{HEAD}' differs from '{EMBEDDING}', but config.json ties the two"))
            .file(self.files[head].path())
            .help(
                "set \"tie_word_embeddings\": false to use the head, as transformers 5 does, or take the tensor out, \
                 as transformers 4 does",
            ))
    }
}

/// Opens the weights of a folder, whatever model's they are: their headers are read and checked.
pub(crate) fn open_weights(dir: &Path) -> Result<Vec<Weights>> {
    Ok(index::open(dir)?.0)
}

/// Writes a model's folder: the weights, config.json and, where there was one, generation_config.json.
/// `read` gives the elements of parameter number i.
pub(super) fn save(
    dir: &Path,
    config: &ModelConfig,
    options: &SaveOptions,
    read: &mut dyn FnMut(usize) -> Result<Vec<f32>>,
) -> Result<()> {
    write::save(dir, config, &shapes(config), options, read)
}
