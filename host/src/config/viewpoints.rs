//! `[judges.NAME]`, `[[viewpoints]]` and `[ema]`: who judges, and as which model.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::resolve::Paths;
use super::section::{Interval, Section, nearest};
use super::{JudgeConfig, SourceConfig};
use crate::error::Result;

/// The viewpoint by whose scores responses are chosen and rejected; always the first.
pub const CURRENT: &str = "current";

/// `[[viewpoints]]`: a judge, with a model behind its slot "judge".
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ViewpointConfig {
    /// The name that plugins and tables show; that of the first is "current".
    pub name: String,
    /// Default: the name, where it is that of a model.
    pub model: ModelName,
    /// NAME of `[judges.NAME]`. Default `None`: `[judge]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
}

/// `[ema]`: E_t = decay · E_{t−1} + (1 − decay) · M_t, weight by weight, E_0 = M0.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EmaConfig {
    /// Above 0 and below 1.
    pub decay: f64,
}

/// A model as a config names it, in round t.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelName {
    /// "current", "previous" and "previous:K": M_{t−k}. In rounds t < k there is none, and it is M0; a run tells so.
    Back(usize),
    /// "initial" or "M0", and "M1".
    Numbered(usize),
    /// "ema": the mean of the models up to M_t.
    Ema,
    /// A Hugging Face folder, or its name on the hub.
    Path(PathBuf),
}

/// The names of models that are no paths.
const MODELS: [&str; 6] = ["current", "previous", "initial", "M0", "M1", "ema"];

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelName::Back(0) => f.write_str("current"),
            ModelName::Back(1) => f.write_str("previous"),
            ModelName::Back(k) => write!(f, "previous:{k}"),
            ModelName::Numbered(0) => f.write_str("initial"),
            ModelName::Numbered(k) => write!(f, "M{k}"),
            ModelName::Ema => f.write_str("ema"),
            ModelName::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Serialize for ModelName {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            ModelName::Path(path) => path.serialize(serializer),
            _ => serializer.collect_str(self),
        }
    }
}

/// The two of the paper.
pub(super) fn default_viewpoints() -> Vec<ViewpointConfig> {
    let of = |name: &str, back| ViewpointConfig { name: name.to_owned(), model: ModelName::Back(back), judge: None };
    vec![of(CURRENT, 0), of("previous", 1)]
}

/// The list of viewpoints, checked against the judges and against `[ema]`.
pub(super) fn viewpoints(
    root: &Section<'_>,
    judges: &BTreeMap<String, JudgeConfig>,
    ema: Option<&EmaConfig>,
    sources: &[SourceConfig],
    paths: &Paths<'_>,
) -> Result<Vec<ViewpointConfig>> {
    let mut list: Vec<ViewpointConfig> = Vec::new();
    for section in root.list("viewpoints", "[[viewpoints]]")? {
        let viewpoint = viewpoint(&section, judges, ema, paths)?;
        if list.is_empty() && viewpoint.name != CURRENT {
            let message = format!("the first viewpoint is {:?}, expected \"{CURRENT}\"", viewpoint.name);
            return Err(section.error("name", message).help(
                "responses are chosen and rejected by the first viewpoint's scores; its model may be any, \
                 `model = \"current\"` is M_t",
            ));
        }
        if list.iter().any(|known| known.name == viewpoint.name) {
            let message = format!("there are two viewpoints of the name {:?}", viewpoint.name);
            return Err(section.error("name", message).help("give each a name of its own"));
        }
        list.push(viewpoint);
    }
    if list.is_empty() {
        list = default_viewpoints();
    }
    let used = |judge: Option<&str>| list.iter().any(|v| v.judge.as_deref() == judge);
    if let Some((name, judge)) = root.named("judges", "judge")?.into_iter().find(|(name, _)| !used(Some(name))) {
        let message = format!("no viewpoint uses the judge [judges.{name}]");
        let help = format!("add judge = \"{name}\" to an entry of [[viewpoints]], or remove the judge");
        return Err(judge.origin().error(paths.file, message).help(help));
    }
    if root.has("judge") && !used(None) {
        let message = "no viewpoint uses [judge]: each names a judge of its own";
        return Err(root.error("judge", message).help("remove [judge], or leave `judge` out of a viewpoint"));
    }
    let mut models = list.iter().map(|v| &v.model).chain(sources.iter().map(|s| &s.model));
    if ema.is_some() && !models.any(|model| *model == ModelName::Ema) {
        let message = "[ema] is given, but no viewpoint or source has the model \"ema\", so nobody would use it";
        return Err(root
            .error("ema", message)
            .help("add model = \"ema\" to an entry of [[viewpoints]], or remove [ema]"));
    }
    Ok(list)
}

fn viewpoint(
    section: &Section<'_>,
    judges: &BTreeMap<String, JudgeConfig>,
    ema: Option<&EmaConfig>,
    paths: &Paths<'_>,
) -> Result<ViewpointConfig> {
    let help = "name = \"current\", and for each further one a name of its own";
    let name = section.text("name")?.ok_or_else(|| section.missing("name", "the viewpoint's name").help(help))?;
    if name.chars().any(char::is_control) {
        return Err(section.error("name", format!("`{}` holds a control character", section.dotted("name"))));
    }
    let model = match section.has("model") {
        true => model_name(section, "model", paths)?,
        false => named(section, "name", name)?.ok_or_else(|| {
            let message = format!("`{}` is missing, and {name:?} is no model's name", section.dotted("model"));
            section.error("name", message).help(FORMS)
        })?,
    };
    if model == ModelName::Ema && ema.is_none() {
        let message = format!("the viewpoint {name:?} has the model \"ema\", but there is no [ema]");
        let key = if section.has("model") { "model" } else { "name" };
        return Err(section.error(key, message).help("add:\n    [ema]\n    decay = 0.5"));
    }
    let judge = section.text("judge")?;
    if let Some(judge) = judge
        && !judges.contains_key(judge)
    {
        let error = section.error("judge", format!("there is no judge [judges.{judge}]"));
        return Err(match (nearest(judge, judges.keys().map(String::as_str)), judges.is_empty()) {
            (Some(name), _) => error.help(format!("did you mean {name:?}?")),
            (None, true) => error.help("without `judge` it is [judge]; further judges are [judges.NAME]"),
            (None, false) => {
                let names: Vec<&str> = judges.keys().map(String::as_str).collect();
                error.help(format!("the judges are {}; without `judge` it is [judge]", names.join(", ")))
            }
        });
    }
    Ok(ViewpointConfig { name: name.to_owned(), model, judge: judge.map(str::to_owned) })
}

const FORMS: &str = "a model is \"current\" (M_t), \"previous\" (M_{t−1}), \"previous:K\" (M_{t−K}), \"initial\" (M0), \
                     \"M1\", \"ema\", or the path or hub name of a Hugging Face folder";

/// The model that a key names.
///
/// # Errors
/// One that does not exist in the first round, or a path that leads nowhere.
pub(super) fn model_name(section: &Section<'_>, key: &str, paths: &Paths<'_>) -> Result<ModelName> {
    let text = section.text(key)?.ok_or_else(|| section.missing(key, "a model").help(FORMS))?;
    if let Some(model) = named(section, key, text)? {
        return Ok(model);
    }
    let path = paths.model(text, section, key).map_err(|e| match nearest_model(text) {
        Some(name) => e.help(format!("did you mean {name:?}?")),
        None => e.help(FORMS),
    })?;
    Ok(ModelName::Path(path))
}

/// A model of the run's own by its name; `None` for anything else.
fn named(section: &Section<'_>, key: &str, text: &str) -> Result<Option<ModelName>> {
    let wrong = |what: String| section.error(key, format!("`{}` is {text:?}{what}", section.dotted(key))).help(FORMS);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    Ok(Some(match text {
        "current" => ModelName::Back(0),
        "previous" => ModelName::Back(1),
        "initial" => ModelName::Numbered(0),
        "ema" => ModelName::Ema,
        _ => match (text.strip_prefix("previous:"), text.strip_prefix('M').filter(|n| digits(n))) {
            (Some(back), _) => match back.parse() {
                Ok(k @ 1..=1000) => ModelName::Back(k),
                _ => return Err(wrong(", expected a whole number from 1 after \"previous:\"".into())),
            },
            (None, Some(number)) => match number.parse() {
                Ok(k @ 0..=1) => ModelName::Numbered(k),
                _ => {
                    return Err(wrong(", a model that does not exist in round 1, which has M0 and M1".into())
                        .help("for M_{t−K} write \"previous:K\""));
                }
            },
            _ => return Ok(None),
        },
    }))
}

fn nearest_model(text: &str) -> Option<&'static str> {
    nearest(text, MODELS.into_iter())
}

/// `[ema]`, which averages whole models.
pub(super) fn ema(root: &Section<'_>) -> Result<Option<EmaConfig>> {
    let section = root.section("ema", "ema")?;
    if !section.is_present() {
        return Ok(None);
    }
    if root.has("lora") {
        let message = "[ema] and [lora] do not go together: the mean of two adapters' products is no adapter";
        return Err(root.error("ema", message).help("remove one of the two sections"));
    }
    if !section.has("decay") {
        return Err(section.missing("decay", "a number above 0 and below 1").help("[ema]\n    decay = 0.5"));
    }
    Ok(Some(EmaConfig { decay: section.number("decay", Interval::above(0.0).below(1.0), 0.5)? }))
}
