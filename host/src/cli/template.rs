//! `creamery template`

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::chat::TemplateArgs;
use super::stage::OutArgs;
use crate::data::{ChatFormat, rows};
use crate::error::Result;
use crate::hub;

const EXAMPLES: &str = r#"Rows:
  {"messages": [{"role": "user", "content": "add 23 4"}]}    any roles; "prompt" in place of "messages" will do

Result, one line a row:
  {"id": "row-000000", "text": "<s><|user|>add 23 4<|end|><|assistant|>", "ids": [1, 4, 71]}

Examples:
  creamery template --model examples/quickstart/model --messages examples/stages/messages.jsonl
  creamery template --model examples/quickstart/model --messages examples/stages/messages.jsonl \
    --no-generation-prompt --out out/template.jsonl"#;

/// What a model's chat template makes of conversations: text and token ids
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Template {
    /// The model, of whose folder only the tokenizer's files are read: a Hugging Face folder, or
    /// hf:owner/name[@revision] (with cargo feature `hub`)
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// JSON Lines with the conversations
    #[arg(long, value_name = "FILE")]
    messages: PathBuf,
    /// End with the last message; without this, the text ends where the assistant's answer begins
    #[arg(long)]
    no_generation_prompt: bool,
    /// End within the last message, so that a model goes on with it
    #[arg(long, conflicts_with = "no_generation_prompt")]
    continue_final_message: bool,
    #[command(flatten)]
    template: TemplateArgs,
    #[command(flatten)]
    out: OutArgs,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    text: &'a str,
    ids: &'a [u32],
}

impl Template {
    pub(super) fn run(self) -> Result<()> {
        let folder = hub::folder(&self.model, hub::Part::Model, &mut self.out.progress())?;
        let chat = ChatFormat::load_with(&folder, &self.template.options()?)?;
        let rows = rows::read_conversations(&self.messages)?;
        let mut out = self.out.open(&[&self.messages])?;
        for row in &rows {
            let text = match self.continue_final_message {
                true => chat.render_to_continue(&row.messages),
                false => chat.render(&row.messages, !self.no_generation_prompt),
            };
            let text = text.map_err(|e| e.row(&self.messages, row.line))?;
            let ids = chat.tokenizer().encode(&text).map_err(|e| e.row(&self.messages, row.line))?;
            out.write(&Row { id: &row.id, text: &text, ids: &ids })?;
        }
        out.finish()
    }
}
