//! Which chat template a command uses, and what the template is told.

use clap::Args;
use serde_json::{Map, Value};

use crate::data::ChatOptions;
use crate::error::{Error, Result};

/// The chat template of a command.
#[derive(Args)]
pub(super) struct TemplateArgs {
    /// Use the model's chat template of this name, not its default
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Set a variable of the chat template, as often as you like: --template-arg enable_thinking=false. The value is
    /// JSON, or else plain text
    #[arg(long, value_name = "NAME=VALUE")]
    template_arg: Vec<String>,
    /// The day that templates are told when they ask for today [default: 2024-07-26]
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<String>,
}

impl TemplateArgs {
    pub(super) fn options(&self) -> Result<ChatOptions> {
        let mut args = Map::new();
        for arg in &self.template_arg {
            let Some((name, text)) = arg.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                return Err(Error::config(format!("--template-arg {arg}: expected is NAME=VALUE")));
            };
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
            if args.insert(name.to_owned(), value).is_some() {
                return Err(Error::config(format!("--template-arg {arg}: '{name}' is given twice")));
            }
        }
        Ok(ChatOptions { name: self.template.clone(), args, date: self.date.clone() })
    }
}
