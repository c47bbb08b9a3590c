//! Sampling of responses.

pub mod sampler;
pub mod stream;

pub use sampler::{Sampler, SamplingConfig};
pub use stream::{Stream, StreamKey};
