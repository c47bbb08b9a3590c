//! Creamery's host: it owns the models, the trainer, the artifacts and the plugins.

pub mod author;
pub mod cli;
pub mod config;
pub mod data;
pub mod error;
mod eval;
pub mod generate;
pub mod hub;
pub mod model;
pub mod plugins;
pub mod report;
pub mod round;
pub mod score;
pub mod slots;
pub mod store;
pub mod sweep;
#[cfg(any(feature = "hub", feature = "endpoint"))]
mod tls;
pub mod train;

pub use error::{Error, Kind, Result};
