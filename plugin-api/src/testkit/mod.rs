//! Tests plugins without a model: a host whose answers are scripted, and builders for what plugins are given.
//!
//! ```
//! use creamery_plugin::testkit::{self, MockHost};
//! use creamery_plugin::*;
//!
//! struct Shortest;
//! impl Judge for Shortest {
//!     fn new(_: &str) -> Result<Self, PluginError> {
//!         Ok(Shortest)
//!     }
//!     fn step(&self, _: &JudgeContext, groups: &Groups, _: &[Vec<Answer>]) -> Result<Step, PluginError> {
//!         Ok(Step::Scores(groups.responses.iter().map(|r| Score::Value(-f64::from(r.tokens))).collect()))
//!     }
//! }
//!
//! let groups = testkit::groups(&[("Say hello.", &["hello", "hello there"])]);
//! let judged = MockHost::new("current").judge(&Shortest, &groups).unwrap();
//! assert_eq!(judged.scores, [Score::Value(-5.0), Score::Value(-11.0)]);
//! ```

mod build;
mod host;

pub use build::{column, complete, cut_off, groups, pair, records, schema_defaults, scores, sources};
pub use host::{Judged, MockHost};
