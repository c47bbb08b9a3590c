//! The trainable tensors and their moments as one safetensors file: `weights/NAME`, `exp_avg/NAME`, `exp_avg_sq/NAME`.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::Tensor;
use safetensors::tensor::{Dtype, Metadata, SafeTensorError, View};

use super::Trainer;
use crate::error::{Error, Result};
use crate::model::{Decoder, ops};

pub(super) const FILE: &str = "state.safetensors";

/// What a trainer goes on from.
pub(super) struct State {
    pub weights: Vec<Vec<f32>>,
    pub moments: Vec<(Vec<f32>, Vec<f32>)>,
}

pub(super) fn save(trainer: &Trainer, folder: &Path) -> Result<()> {
    let path = folder.join(FILE);
    let mut tensors = Vec::new();
    for ((name, weights), (m, v)) in trainer.model.parameters().iter().zip(trainer.optimizer.moments()) {
        for (part, tensor) in [("weights", weights), ("exp_avg", m), ("exp_avg_sq", v)] {
            tensors.push((format!("{part}/{name}"), Floats(tensor.clone())));
        }
    }
    safetensors::serialize_to_file(tensors, None, &path).map_err(|e| match e {
        SafeTensorError::IoError(e) => Error::io("write", &path, &e),
        other => Error::run(format!("cannot write the training state: {other}")).file(&path),
    })
}

/// Reads the state of a model with these parameters, or says what is wrong with the file.
pub(super) fn load(model: &Decoder, folder: &Path) -> Result<State, String> {
    let path = folder.join(FILE);
    let mut file = Weights::open(&path).map_err(|e| format!("{FILE}: {e}"))?;
    let mut state = State { weights: Vec::new(), moments: Vec::new() };
    for (name, tensor) in model.parameters() {
        let mut part = |part: &str| file.read(&format!("{part}/{name}"), tensor.dims());
        state.weights.push(part("weights")?);
        state.moments.push((part("exp_avg")?, part("exp_avg_sq")?));
    }
    Ok(state)
}

/// A tensor whose bytes are made when it is its turn to be written.
struct Floats(Tensor);

impl View for Floats {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.0.dims()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // The parameters and moments of a trainer are contiguous f32; its ops have read them all before.
        let data = ops::read(&self.0).expect("a trainer's tensors can be read");
        Cow::Owned(data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        4 * self.0.elem_count()
    }
}

/// A safetensors file of f32 that is read tensor by tensor.
struct Weights {
    file: File,
    start: u64,
    metadata: Metadata,
}

impl Weights {
    fn open(path: &Path) -> std::io::Result<Self> {
        let invalid = |what: String| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size)?;
        let size = u64::from_le_bytes(size);
        if size > length.saturating_sub(8) {
            return Err(invalid(format!("the header needs {size} bytes, the file has {length}")));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header)?;
        let metadata = serde_json::from_slice(&header).map_err(|e| invalid(e.to_string()))?;
        Ok(Weights { file, start: 8 + size, metadata })
    }

    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let info = self.metadata.info(name).ok_or_else(|| format!("{FILE} has no tensor '{name}'"))?;
        if info.dtype != Dtype::F32 || info.shape != shape {
            return Err(format!("'{name}' of {FILE} is {:?} {:?}, expected F32 {shape:?}", info.dtype, info.shape));
        }
        let (from, to) = info.data_offsets;
        let mut bytes = vec![0; 4 * shape.iter().product::<usize>()];
        if to - from != bytes.len() {
            return Err(format!("'{name}' of {FILE} has {} bytes, expected {}", to - from, bytes.len()));
        }
        (self.file.seek(SeekFrom::Start(self.start + from as u64)))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|e| format!("{FILE}: {e}"))?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }
}
