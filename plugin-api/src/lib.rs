//! The plugin contract of Creamery, version 1.1.
//!
//! Plugins see text and numbers, never tensors: the host owns every model and answers what a plugin asks.
//! One source compiles to a native library and to a sandboxed WebAssembly component:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//! ```
//! ```
//! use creamery_plugin::{Groups, PluginError, RankContext, Ranker, Ranking, Scores};
//!
//! pub struct KeepNothing;
//!
//! impl Ranker for KeepNothing {
//!     fn new(_params: &str) -> Result<Self, PluginError> {
//!         Ok(KeepNothing)
//!     }
//!     fn rank(&self, _: &RankContext, _: &Groups, _: &Scores) -> Result<Ranking, PluginError> {
//!         Err(PluginError::new("nothing is good enough"))
//!     }
//! }
//!
//! creamery_plugin::export_plugin! {
//!     kind: ranker,
//!     type: KeepNothing,
//!     name: "keep-nothing",
//!     summary: "Refuses every group.",
//!     schema: r#"{ "type": "object", "properties": {}, "additionalProperties": false }"#,
//! }
//! # fn main() { assert_eq!(plugin().name, "keep-nothing"); }
//! ```

//!
//! # Versions
//!
//! A plugin says in its descriptor which version of the contract it was built with ([`ABI`]). A minor version only
//! adds, so any 1.x plugin works in any 1.x host; what the other side does not know is not called.
//!
//! | since | what |
//! |---|---|
//! | 1.0 | [`Judge::step`], [`Ranker::rank`], [`Regularizer::label`], [`Regularizer::objective`] |
//! | 1.1 | [`Judge::report`], [`Ranker::rank_sources`], [`Ranker::rank_numbers`], [`Regularizer::columns`], [`Regularizer::objective_columns`] |
//!
//! All functions of 1.1 have defaults. A plugin that cannot do without a newer host says what it needs in `requires:`
//! of [`export_plugin!`]. In a native library new functions are further methods of its objects' tables, in a component
//! further interfaces of the package `creamery:plugin` (see `wit/`).

// The bindings name this crate as the plugins do.
#[cfg(target_family = "wasm")]
extern crate self as creamery_plugin;

#[cfg(feature = "answer")]
pub mod answer;
pub mod builtin;
pub mod compare;
pub mod consistency;
pub mod contract;
pub mod descriptor;
mod export;
mod log;
pub mod math;
#[cfg(not(target_family = "wasm"))]
pub mod native;
mod numbers;
pub mod objective;
pub mod pairing;
pub mod params;
#[cfg(feature = "prompt")]
pub mod prompt;
pub mod stats;
pub mod testkit;
mod traits;
mod types;
#[cfg(target_family = "wasm")]
pub mod wasm;

pub use log::{Level, log, set_log_sink};
pub use numbers::{Numbers, NumbersView};
pub use traits::{Judge, Ranker, Regularizer};
pub use types::*;

/// The code of the author's guide, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../GUIDE.md")]
pub struct Guide;

/// The version of the contract, major.minor. A minor version only adds.
pub const ABI: &str = "1.1";

/// The version of this crate.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");
