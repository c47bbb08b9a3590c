//! One safetensors file, read tensor by tensor.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::header::{self, Entry};
use crate::data::files::open_ordinary;
use crate::error::{Error, Kind, Result};

/// A header larger than this is a broken file, as in the safetensors format.
const MAX_HEADER: u64 = 100_000_000;
/// Elements that are read and converted at once.
const CHUNK: usize = 1 << 18;

/// One safetensors file, its header read and checked against the file's length.
pub struct Weights {
    path: PathBuf,
    file: File,
    data_start: u64,
    tensors: BTreeMap<String, Entry>,
}

impl Weights {
    /// # Errors
    /// The file is missing, or its header is broken: the message names the tensor. No weight is read yet.
    pub fn open(path: PathBuf) -> Result<Self> {
        let io = |e: std::io::Error| Error::io("read", &path, &e);
        let (mut file, length) = open_ordinary(&path)?;
        let broken = |what: String| {
            Error::input(what).file(&path).help("the file is damaged or not safetensors; copy or download it again")
        };
        if length < 8 {
            return Err(broken(format!("truncated: {length} bytes, no safetensors header")));
        }
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(io)?;
        let size = u64::from_le_bytes(size);
        if size > MAX_HEADER {
            return Err(broken(format!("a header of {size} bytes, expected at most {MAX_HEADER}")));
        }
        if size > length - 8 {
            return Err(broken(format!("truncated: its header needs {size} bytes, the file has {length}")));
        }
        let mut json = vec![0; size as usize];
        file.read_exact(&mut json).map_err(io)?;
        let data_start = 8 + size;
        let tensors = header::parse(&json, length - data_start).map_err(broken)?;
        Ok(Weights { path, file, data_start, tensors })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's shape; `None` where there is no such tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Fails unless the tensor has this shape, a dtype that can be read, and as many bytes as these two need.
    pub fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.reading(name, shape).map(|_| ())
    }

    /// A tensor's elements as f32, in row-major order. One that is not a finite number is an error.
    pub fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (_, _, count) = self.reading(name, shape)?;
        let mut all = Vec::new();
        all.try_reserve_exact(count).map_err(|_| {
            Error::new(Kind::Io, format!("not enough memory for the {count} elements of tensor '{name}'"))
                .file(&self.path)
        })?;
        self.read_chunks(name, shape, &mut |chunk| all.extend_from_slice(chunk))?;
        Ok(all)
    }

    /// As [`Weights::read`], in pieces.
    pub fn read_chunks(&mut self, name: &str, shape: &[usize], take: &mut dyn FnMut(&[f32])) -> Result<()> {
        let (start, stored, count) = self.reading(name, shape)?;
        let io = |e: std::io::Error| Error::io("read", &self.path, &e);
        self.file.seek(SeekFrom::Start(start)).map_err(io)?;
        let mut bytes = vec![0; CHUNK.min(count) * stored.width()];
        let (mut halves, mut floats) = (Vec::new(), Vec::new());
        let mut done = 0;
        while done < count {
            let now = CHUNK.min(count - done);
            let bytes = &mut bytes[..now * stored.width()];
            self.file.read_exact(bytes).map_err(io)?;
            stored.convert(bytes, &mut halves, &mut floats);
            if let Some(i) = floats.iter().position(|x| !x.is_finite()) {
                return Err(Error::input(format!(
                    "tensor '{name}' has the value {} at element {}, expected finite numbers",
                    floats[i],
                    done + i
                ))
                .file(&self.path));
            }
            take(&floats);
            done += now;
        }
        Ok(())
    }

    /// Where the tensor starts in the file, how it is stored, and how many elements it has.
    fn reading(&self, name: &str, shape: &[usize]) -> Result<(u64, Stored, usize)> {
        let wrong = |what: String| Error::input(format!("tensor '{name}' {what}")).file(&self.path);
        let entry = self.tensors.get(name).ok_or_else(|| wrong("is missing".to_owned()))?;
        if entry.shape != shape {
            return Err(wrong(format!("has shape {:?}, expected {shape:?}", entry.shape)));
        }
        let stored = match entry.dtype.as_str() {
            "F32" => Stored::F32,
            "F16" => Stored::F16,
            "BF16" => Stored::Bf16,
            other => {
                let error = wrong(format!("has dtype {other:.20}, expected F32, F16 or BF16"));
                return Err(if other.starts_with("F8") || other.starts_with(['I', 'U']) {
                    error.help("the weights are quantized; use the unquantized checkpoint")
                } else {
                    error
                });
            }
        };
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let needed = count.and_then(|n| n.checked_mul(stored.width()));
        match (count, needed) {
            (Some(count), Some(needed)) if needed as u64 == entry.bytes() => {
                Ok((self.data_start + entry.start, stored, count))
            }
            (_, needed) => {
                let needed = needed.map_or("more than there can be".to_owned(), |n| n.to_string());
                Err(wrong(format!("holds {} bytes, its shape {shape:?} needs {needed}", entry.bytes())))
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Stored {
    F32,
    F16,
    Bf16,
}

impl Stored {
    fn width(self) -> usize {
        match self {
            Stored::F32 => 4,
            Stored::F16 | Stored::Bf16 => 2,
        }
    }

    /// Fills `floats` with the numbers of `bytes` (little-endian); `halves` is room to work in.
    fn convert(self, bytes: &[u8], halves: &mut Vec<u16>, floats: &mut Vec<f32>) {
        floats.clear();
        if let Stored::F32 = self {
            floats.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            return;
        }
        halves.clear();
        halves.extend(bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])));
        if let Stored::Bf16 = self {
            floats.extend(halves.iter().map(|h| bf16::from_bits(*h).to_f32()));
        } else {
            floats.resize(halves.len(), 0.0);
            let halves: Vec<f16> = halves.iter().map(|h| f16::from_bits(*h)).collect();
            halves.convert_to_f32_slice(floats);
        }
    }
}
