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

//! # A judge that asks
//! The script says what the model behind a slot answers, response by response or text by text; an error fails that one
//! query. [`Judged`] has the scores, the report, and what was asked, so that a test can hold the judge to asking once.
//!
//! ```
//! use creamery_plugin::testkit::{self, MockHost};
//! use creamery_plugin::*;
//!
//! /// The probability of "yes" as the next text.
//! struct Yes;
//! impl Judge for Yes {
//!     fn new(_: &str) -> Result<Self, PluginError> {
//!         Ok(Yes)
//!     }
//!     fn step(&self, _: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError> {
//!         let ask = |response: &Response| Query::Choose {
//!             slot: "judge".into(),
//!             messages: vec![Message::user(format!("Is this true? {}", response.text))],
//!             labels: vec!["yes".into(), "no".into()],
//!         };
//!         let score = |answer: &Answer| match answer {
//!             Answer::Distribution(p) => Score::Value(p[0]),
//!             Answer::Failed(reason) => Score::Abstain(reason.clone()),
//!             _ => Score::Abstain("another answer than was asked for".into()),
//!         };
//!         Ok(match answers {
//!             [] if groups.is_empty() => Step::Scores(Vec::new()),
//!             [] => Step::Ask(groups.responses.iter().map(ask).collect()),
//!             [first, ..] => Step::Scores(first.iter().map(score).collect()),
//!         })
//!     }
//! }
//!
//! let host = MockHost::new("current").on_choose(|_slot, messages, _labels| match messages[0].content.as_str() {
//!     text if text.ends_with("water is wet") => Ok(vec![0.75, 0.25]),
//!     text if text.len() > 40 => Err("the prompt is too long".into()),
//!     _ => Ok(vec![0.5, 0.5]),
//! });
//! let long = "a very long answer, longer than the model can read";
//! let judged = host.judge(&Yes, &testkit::groups(&[("Water?", &["water is wet", "it depends", long])])).unwrap();
//! assert_eq!(judged.scores[..2], [Score::Value(0.75), Score::Value(0.5)]);
//! assert_eq!(judged.scores[2], Score::Abstain("the prompt is too long".into()));
//! assert_eq!(judged.asked.len(), 1, "one step of three queries");
//! ```
//!
//! Rankers and regularizers ask nothing: [`rank`] calls a ranker both ways that a host may; [`scores`], [`sources`], [`pair`] and [`records`] build what they are given.
//! [`schema_defaults`] holds a parameter schema to what loading needs. What a unit test cannot see (other batches, huge
//! inputs, gradients) is the part of `creamery plugin check`.

mod build;
mod host;
mod rank;

pub use build::{column, complete, cut_off, groups, pair, records, schema_defaults, scores, sources};
pub use host::{Judged, MockHost};
pub use rank::rank;

#[cfg(test)]
mod tests;
