//! Reading and writing the f32 data of contiguous tensors in place.

use std::cell::Cell;
use std::ops::{Deref, Range};

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Shape, Storage, StorageRef, Tensor};

use crate::error::{Error, Result};

/// The data of a tensor on the CPU, locked for reading.
pub struct Data<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl Deref for Data<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(data)) => &data[self.range.clone()],
            _ => &[],
        }
    }
}

fn no_kernel(device: &Device) -> Error {
    Error::run(format!("this build has no kernels for the device {:?}", device.location()))
        .help("use device = \"cpu\", or a build with the feature for this device")
}

/// Reads a contiguous f32 tensor.
pub fn read(tensor: &Tensor) -> Result<Data<'_>> {
    if !tensor.device().is_cpu() {
        return Err(no_kernel(tensor.device()));
    }
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => Ok(Data { storage, range: start..end }),
        _ => Err(Error::run(format!("expected a contiguous f32 tensor, found {:?} {:?}", tensor.dtype(), layout))),
    }
}

/// Changes a contiguous f32 tensor in place. Every tensor that shares its storage changes with it.
pub fn write<R>(tensor: &Tensor, f: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    if !tensor.device().is_cpu() {
        return Err(no_kernel(tensor.device()));
    }
    let op = InPlace { f: Cell::new(Some(f)), result: Cell::new(None) };
    tensor.inplace_op1(&op)?;
    op.result.into_inner().ok_or_else(|| Error::run(format!("expected an f32 tensor, found {:?}", tensor.dtype())))
}

struct InPlace<F, R> {
    f: Cell<Option<F>>,
    result: Cell<Option<R>>,
}

impl<F: FnOnce(&mut [f32]) -> R, R> InplaceOp1 for InPlace<F, R> {
    fn name(&self) -> &'static str {
        "write"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("cannot write in place: the tensor is not contiguous")
        };
        match (storage, self.f.take()) {
            (CpuStorage::F32(data), Some(f)) => self.result.set(Some(f(&mut data[start..end]))),
            (other, _) => {
                let _ = other;
            }
        }
        Ok(())
    }
}

/// A tensor that owns `data`, on the device of `like`.
pub fn tensor(data: Vec<f32>, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_vec(data, shape.into(), device)?)
}

/// Zeros of the shape of `like`.
pub fn zeros_like(like: &Tensor) -> Result<Tensor> {
    Ok(Tensor::zeros(like.shape(), DType::F32, like.device())?)
}
