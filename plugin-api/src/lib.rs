//! The plugin contract of Creamery, version 1.0.
//!
//! Plugins see text and numbers, never tensors: the host owns every model and answers what a plugin asks.
//! One source compiles to a native library and to a sandboxed WebAssembly component.

pub mod consistency;
pub mod objective;
pub mod params;
pub mod stats;
pub mod testkit;
mod traits;
mod types;

pub use traits::{Judge, Ranker, Regularizer};
pub use types::*;
