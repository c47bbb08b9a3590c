//! The configs of the methods, and the table of them in README.md.

use std::fmt::Write as _;
use std::path::Path;

use creamery::config::RunConfig;
use creamery::{Error, Result};
use serde_json::{Value, json};

/// All configs of this folder, without `.toml`, in the order of the tables.
pub const METHODS: [&str; 43] = [
    // Self-rewarding, and CREAM
    "srlm-likelihood",
    "srlm-implicit",
    "srlm-prompt",
    "cream-average",
    "cream-sample",
    "cream-bucketed",
    "cream-running",
    "cream-spearman",
    "cream-top-order",
    "cream-rbo",
    "cream-prompt",
    "ema-viewpoint",
    // What else is done with labels in doubt
    "constant",
    "filter",
    "confidence",
    "signed-weight",
    "disagreement",
    "pessimistic",
    // Other judges
    "ensemble-judges",
    "frozen-judge",
    "frozen-phi3",
    "frozen-gguf",
    "oracle",
    "program",
    "expected-score",
    "pairwise-copeland",
    "pairwise-bradley-terry",
    "pairwise-elo",
    // Other methods
    "dice",
    "scpo",
    "sppo",
    "meta-rewarding",
    "temporal",
    // Ranking rules
    "best-random",
    "top-bottom",
    "all-pairs",
    // Losses
    "ipo",
    "hinge",
    "cdpo",
    "rdpo",
    "simpo",
    "orpo",
    "nll",
];

const BEGIN: &str = "<!-- made by `cargo methods table` -->\n";
const END: &str = "<!-- end -->";

/// The config of a method below `root`.
pub fn load(root: &Path, method: &str, sets: &[String]) -> Result<RunConfig> {
    RunConfig::load(&root.join(method).with_extension("toml"), sets)
}

/// `readme` with the table made again from the configs in `root`.
pub fn with_table(readme: &str, root: &Path) -> Result<String> {
    let places = readme.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = places else {
        let message = format!("no table between {:?} and {END:?}", BEGIN.trim_end());
        return Err(Error::input(message).file(root.join("README.md")));
    };
    Ok(format!("{before}{BEGIN}{}{END}{after}", table(root)?))
}

fn table(root: &Path) -> Result<String> {
    let mut table = "| method | config | judge | ranker | regularizer, objective | source |\n".to_owned();
    table += "|---|---|---|---|---|---|\n";
    for name in METHODS {
        let config = load(root, name, &[])?;
        let parts = parts(&config);
        let about = &config.about;
        let (Some(method), Some(source)) = (&about.method, &about.source) else {
            return Err(Error::config("[about] has no method or no source").file(&config.file));
        };
        let _ = writeln!(
            table,
            "| {method} | [`{name}`]({name}.toml) | {} | {} | {} | {source} |",
            parts.judge, parts.ranker, parts.regularizer
        );
    }
    Ok(table)
}

/// The plugins of a config with the parameters that it sets, as cells of a table.
pub struct Parts {
    pub judge: String,
    pub ranker: String,
    pub regularizer: String,
}

pub fn parts(config: &RunConfig) -> Parts {
    let config = json!(config);
    let (mut judge, mut used) = (Vec::new(), Vec::new());
    for viewpoint in config["viewpoints"].as_array().into_iter().flatten() {
        let section = match viewpoint["judge"].as_str() {
            Some(name) => &config["judges"][name],
            None => &config["judge"],
        };
        if !used.contains(&section) {
            used.push(section);
            judge.push(plugin(section));
        }
    }
    if used.is_empty() {
        judge.push(plugin(&config["judge"]));
    }
    let models = |v: &Value| match (v["name"].as_str(), v["model"].as_str()) {
        (Some(name), Some(model)) if name != model => format!("{name} = {model}"),
        (name, _) => name.unwrap_or_default().to_owned(),
    };
    let viewpoints: Vec<String> = config["viewpoints"].as_array().into_iter().flatten().map(models).collect();
    let viewpoints = viewpoints.join(", ");
    if !viewpoints.is_empty() && viewpoints != "current, previous" {
        judge.push(format!("viewpoints {viewpoints}"));
    }
    let mut ranker = plugin(&config["ranker"]);
    for source in config["sample"]["from"].as_array().into_iter().flatten() {
        let _ = write!(ranker, "; samples of {} too", source["model"].as_str().unwrap_or_default());
    }
    let mut regularizer = plugin(&config["regularizer"]);
    if config["objective"].is_object() {
        regularizer = format!("{regularizer}; {}", plugin(&config["objective"]));
    }
    Parts { judge: judge.join("; "), ranker, regularizer }
}

/// "`name` key = value, …"; texts such as prompts are left out.
fn plugin(section: &Value) -> String {
    let name = section["plugin"].as_str().unwrap_or_default().trim_start_matches("builtin:");
    let shown = |value: &Value| match value {
        Value::Object(_) => None,
        Value::String(text) if text.contains(char::is_whitespace) || text.len() > 24 => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let params = section["params"].as_object().into_iter().flatten();
    let params: Vec<String> = params.filter_map(|(key, value)| Some(format!("{key} = {}", shown(value)?))).collect();
    [format!("`{name}`"), params.join(", ")].join(" ").trim_end().to_owned()
}
