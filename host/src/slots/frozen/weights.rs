//! A checkpoint folder's tensors for candle's models: read when they are asked for, and checked as our own are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;

use crate::error::{Error, Result};
use crate::model::Weights;

/// Shared between the builder of a model and the one who checks that all tensors were used.
#[derive(Clone)]
pub(super) struct Tensors(Arc<Mutex<State>>);

struct State {
    files: Vec<Weights>,
    used: BTreeSet<String>,
    /// candle's errors have no file or line; ours does.
    error: Option<Error>,
}

impl Tensors {
    pub(super) fn new(files: Vec<Weights>) -> Tensors {
        Tensors(Arc::new(Mutex::new(State { files, used: BTreeSet::new(), error: None })))
    }

    /// The error behind candle's, if it was one of ours.
    pub(super) fn error(&self) -> Option<Error> {
        self.lock().error.take()
    }

    /// Fails if there are tensors that no part of the model asked for; `ignored` ones may be.
    pub(super) fn check_all_used(&self, ignored: &dyn Fn(&str) -> bool) -> Result<()> {
        let state = self.lock();
        for file in &state.files {
            if let Some(name) = file.names().find(|name| !state.used.contains(*name) && !ignored(name)) {
                return Err(Error::input(format!(
                    "tensor '{name}' has no place in the model that config.json describes"
                ))
                .file(file.path())
                .help("the weights and config.json belong to different models, or the option is not supported"));
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl SimpleBackend for Tensors {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut state = self.lock();
        let file = state.files.iter_mut().find(|file| file.shape(name).is_some());
        let read = match file {
            Some(file) => file.read(name, shape.dims()),
            None => Err(Error::input(format!("tensor '{name}' is missing, expected with shape {:?}", shape.dims()))),
        };
        match read {
            Ok(elements) => {
                state.used.insert(name.to_owned());
                Tensor::from_vec(elements, shape, device)?.to_dtype(dtype)
            }
            Err(e) => {
                let told = candle_core::Error::Msg(e.message().to_owned());
                state.error.get_or_insert(e);
                Err(told)
            }
        }
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let shape = self.lock().files.iter().find_map(|file| file.shape(name)).map(<[usize]>::to_vec);
        self.get(Shape::from(shape.unwrap_or_default()), name, candle_nn::Init::Const(0.0), dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().files.iter().any(|file| file.shape(name).is_some())
    }
}
