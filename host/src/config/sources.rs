//! `[[sample.from]]`: other models whose responses stand in the policy's groups.

use serde::Serialize;

use super::resolve::Paths;
use super::section::Section;
use super::viewpoints::{CURRENT, EmaConfig, ModelName, model_name};
use crate::error::Result;

/// `[[sample.from]]`: a model that answers the prompts besides the policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SourceConfig {
    /// What rankers know the responses by, and the name of their random streams. Default: the model as it is written,
    /// unless that is a path.
    pub name: String,
    pub model: ModelName,
    /// Responses to each prompt. Default: that of `[sample]`.
    pub n: usize,
}

/// The list of sources. `n` is that of `[sample]`.
pub(super) fn sources(
    sample: &Section<'_>,
    n: usize,
    ema: Option<&EmaConfig>,
    paths: &Paths<'_>,
) -> Result<Vec<SourceConfig>> {
    let mut list: Vec<SourceConfig> = Vec::new();
    for section in sample.list("from", "[[sample.from]]")? {
        let source = source(&section, n, ema, paths)?;
        if list.iter().any(|known| known.name == source.name) {
            let key = if section.has("name") { "name" } else { "model" };
            let message = format!("there are two sources of the name {:?}", source.name);
            return Err(section.error(key, message).help("give each a `name` of its own, or raise the `n` of one"));
        }
        list.push(source);
    }
    Ok(list)
}

fn source(section: &Section<'_>, n: usize, ema: Option<&EmaConfig>, paths: &Paths<'_>) -> Result<SourceConfig> {
    let model = model_name(section, "model", paths)?;
    if model == ModelName::Back(0) {
        let message = "a source has the model \"current\", which is the policy itself";
        return Err(section.error("model", message).help("raise `n` of [sample] for more of its own responses"));
    }
    if model == ModelName::Ema && ema.is_none() {
        let message = "a source has the model \"ema\", but there is no [ema]";
        return Err(section.error("model", message).help("add:\n    [ema]\n    decay = 0.5"));
    }
    let written = match &model {
        ModelName::Path(_) => None,
        _ => section.text("model")?,
    };
    let name = section.text("name")?.or(written).ok_or_else(|| {
        let error = section.missing("name", "a name of your own for this model's responses");
        error.help("rankers know the responses by it, like rejected-from = \"teacher\"")
    })?;
    if name == CURRENT || name.chars().any(char::is_control) {
        let message = format!("`{}` is {name:?}, expected another name", section.dotted("name"));
        return Err(section.error("name", message).help("\"current\" is the policy itself"));
    }
    Ok(SourceConfig { name: name.to_owned(), model, n: section.count("n", 1..=1024, n)? })
}
