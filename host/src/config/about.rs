//! `[about]`: what a config is for.

use serde::Serialize;

use super::section::Section;
use crate::error::{Error, Result};

/// `[about]`: for readers and tables. It decides nothing, and no stage's key holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AboutConfig {
    /// The method's name, like `"CREAM, sample form"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Where the method is described: `"arXiv 2410.12735"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A sentence: what differs from the source, or what was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl AboutConfig {
    pub(super) fn read(section: &Section<'_>) -> Result<Self> {
        let text = |key: &str| Ok::<_, Error>(section.text(key)?.map(str::to_owned));
        Ok(AboutConfig { method: text("method")?, source: text("source")?, note: text("note")? })
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == AboutConfig::default()
    }

    /// `method (source)` and the note, for the head of a table; empty if nothing is said.
    pub fn head(&self) -> String {
        let title = match (&self.method, &self.source) {
            (Some(method), Some(source)) => Some(format!("{method} ({source})")),
            (method, source) => method.clone().or_else(|| source.clone()),
        };
        title.iter().chain(&self.note).map(|line| format!("{line}\n")).collect()
    }
}
