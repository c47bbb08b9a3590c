//! Judging prompts: what a judge asks a model in words, and how it reads the answers. Behind the cargo feature
//! `prompt`.
//!
//! A prompt is text that its user may change: a template in the language of Jinja, as chat templates are. It names
//! what it shows, `{{ response }}` say, and may use conditions, loops and filters. What is put in is never read as a
//! template: a response that says "{{ prompt }}" stays as it is.
//!
//! Every judge offers the fields of the group, [`Fields::group`]:
//!
//! | field | what it is |
//! |---|---|
//! | `prompt` | the text of the conversation: a single message as it is, several with their roles ([`conversation`]) |
//! | `messages` | the same as a list of messages with `role` and `content` |
//! | `responses` | the texts of all responses of the group, a list |
//! | `id` | the id of the prompt |
//!
//! and its own, such as `response`, or `a` and `b`. A name that is not there is an error when the judge is made, as is
//! a prompt that never shows what it is to judge. Undefined values are errors, nothing is escaped, tags on a line of
//! their own leave no empty line (`trim_blocks` and `lstrip_blocks`), and nothing else of the text is changed.
//!
//! ```
//! use creamery_plugin::prompt::{Fields, Prompt};
//! use creamery_plugin::{Message, testkit};
//!
//! let sample = Fields::default().text("response", "a response");
//! let prompt = Prompt::new("Q: {{ prompt }}\nA: {{ response }}", "You grade answers.", sample, &["response"]).unwrap();
//! let groups = testkit::groups(&[("1 + 1?", &["2"])]);
//! let fields = Fields::group(&groups, 0).text("response", "2");
//! assert_eq!(
//!     prompt.messages(&fields).unwrap(),
//!     [Message::new("system", "You grade answers."), Message::user("Q: 1 + 1?\nA: 2")]
//! );
//!
//! let typo = Prompt::new("{{ answer }}", "", Fields::default().text("response", "2"), &["response"]);
//! let error = typo.err().unwrap().message;
//! assert!(error.starts_with("parameter 'prompt', line 1: there is no field 'answer'"), "{error}");
//! ```

mod comparer;
mod distinct;
mod distribution;
mod fields;
mod rater;
mod sampling;
mod score;
mod template;

pub use comparer::{Ask, Comparer, verdict, winner};
pub use distinct::Distinct;
pub use distribution::distribution;
pub use fields::{Fields, conversation};
pub use rater::Rater;
pub use sampling::{Sampling, texts};
pub use score::{Occurrence, ScoreRule};
pub use template::Prompt;

use crate::types::{Measure, PluginError};

/// The mean of `values`, as a measure of a report. The host adds up such means over batches by their counts.
pub fn measure(name: &str, values: &[f64]) -> Measure {
    Measure { name: name.into(), sum: values.iter().sum(), count: values.len() as u64 }
}

/// The answers of one step, which must be as many as were asked.
pub fn answered<T>(answers: &[T], asked: usize) -> Result<&[T], PluginError> {
    match answers.len() == asked {
        true => Ok(answers),
        false => Err(PluginError::new(format!("the host gave {} answers to {asked} queries", answers.len()))),
    }
}
