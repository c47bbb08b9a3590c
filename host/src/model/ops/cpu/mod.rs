//! The CPU form of the operations, on plain slices.
//!
//! No result depends on the number of threads: a sum has one fixed order, and threads share rows, never sums.

pub mod attention;
pub mod dropout;
pub mod elementwise;
pub mod gemm;
pub mod linear;
pub mod logps;
pub mod lora;
pub mod math;
pub mod norm;
pub mod optimizer;
pub mod parallel;
