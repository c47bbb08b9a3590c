//! `creamery template`

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::print;
use crate::data::{ChatFormat, rows};
use crate::error::{Error, Result};

/// Show what a model's chat template makes of conversations: their text and their token ids
#[derive(Args)]
pub(super) struct Template {
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[arg(long, value_name = "FILE")]
    messages: PathBuf,
    #[arg(long)]
    no_generation_prompt: bool,
}

#[derive(Serialize)]
struct Line {
    id: String,
    text: String,
    ids: Vec<u32>,
}

impl Template {
    pub(super) fn run(self) -> Result<()> {
        let format = ChatFormat::load(&self.model)?;
        let mut out = String::new();
        for row in rows::read_conversations(&self.messages)? {
            let place = |e: Error| e;
            let text = format.render(&row.messages, !self.no_generation_prompt).map_err(place)?;
            let ids = format.tokenizer().encode(&text)?;
            let line = Line { id: row.id, text, ids };
            out.push_str(&serde_json::to_string(&line).map_err(|e| Error::run(e.to_string()))?);
            out.push('\n');
        }
        print(&out)
    }
}
