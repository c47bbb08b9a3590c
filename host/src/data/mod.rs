//! Text in and out: rows of JSONL files, the tokenizer, the chat template and the extraction of answers.

pub mod answer;
pub mod completion;
pub(crate) mod files;
mod lines;
pub mod rows;
pub(crate) mod strict_json;
pub mod template;
pub mod tokenizer;

pub use answer::Extractor;
pub use creamery_plugin::Message;
pub(crate) use lines::Lines;
pub use rows::{EvalRow, PromptRow, ScoringRow, SftRow};
pub use template::{ChatFormat, ChatOptions};
pub use tokenizer::Tokenizer;
