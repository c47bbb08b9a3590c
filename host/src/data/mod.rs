//! Text in and out: rows of JSONL files, the tokenizer, the chat template and the extraction of answers.

pub mod answer;
mod lines;
pub mod rows;
mod strict_json;
pub mod template;
mod template_date;
mod template_json;
pub mod tokenizer;

pub use answer::Extractor;
pub use rows::{EvalRow, Message, PreferenceRow, PromptRow, SftRow};
pub use template::ChatFormat;
pub use tokenizer::Tokenizer;
