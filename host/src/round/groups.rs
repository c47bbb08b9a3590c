//! What the artifacts of a round hold: one JSON object a group, joined by id, never by position.

use std::collections::BTreeMap;
use std::path::Path;

use creamery_plugin::{Finish, Groups, Message, Response, Sources};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::exchange::CURRENT;
use crate::error::{Error, Result};
use crate::store::write_atomic;

/// A line of `samples.jsonl`: one prompt with its N responses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampledGroup {
    pub id: String,
    pub prompt: Vec<Message>,
    /// The templated prompt, as the model saw it.
    pub prompt_ids: Vec<u32>,
    pub responses: Vec<SampledResponse>,
}

/// A response as it was sampled. Its ids are the single truth: nothing is ever tokenized again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampledResponse {
    pub text: String,
    pub finish: Finish,
    /// With the end-of-sequence token, if one was sampled.
    pub ids: Vec<u32>,
    /// Σ log p under the model that sampled it, at temperature 1 and before any filter, in nats.
    pub logp: f64,
    /// The name of the model that sampled it, as `[[sample.from]]` has it; `None` is the policy of the round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A line of `scores.jsonl`: what one viewpoint's judge says of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredGroup {
    pub id: String,
    /// One entry per response; `null` is an abstention.
    pub scores: Vec<Option<f64>>,
    /// The reason of each abstention, by response.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub abstained: BTreeMap<usize, String>,
    /// Set if the judge failed on the group and the policy is to skip it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// A line of `ranking.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankedGroup {
    pub id: String,
    /// `[viewpoints][responses]`: 1 is best, ties share the smaller rank, 0 is unranked.
    pub ranks: Vec<Vec<u32>>,
    pub pairs: Vec<RankedPair>,
    /// Why the group gives no pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
}

/// A pair of a group, by the responses' numbers within it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankedPair {
    pub chosen: usize,
    pub rejected: usize,
    pub weight: f64,
}

/// A line of `pairs.jsonl`: a preference row in the form that DPO trainers read, with its label and its tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelledPair {
    /// The group's id; with several pairs of a group, followed by the responses' numbers. Of a pair of judgments the
    /// name of the judging prompt and the pair's number.
    pub id: String,
    /// What the model learns from the pair: [`ACTOR_ROLE`] or [`JUDGE_ROLE`]; `None` where all pairs are of responses.
    /// All rows of a file have the same fields, as tools expect that read them in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    pub prompt: Vec<Message>,
    pub chosen: Vec<Message>,
    pub rejected: Vec<Message>,
    /// Confidence C that the pair is the right way round.
    pub consistency: f64,
    /// The ranker's weight times the regularizer's.
    pub weight: f64,
    /// The id of the group that the pair is of; for judgments the name of the judging prompt.
    pub group: String,
    /// The responses' numbers within the group; judgments have none.
    pub chosen_index: Option<usize>,
    pub rejected_index: Option<usize>,
    /// What the objective needs to know of the pair besides, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, f64>,
    /// The tokens of the templated prompt and of the responses as they were sampled. Training reads these, so that
    /// nothing is tokenized again; other tools may pass them over.
    pub prompt_ids: Vec<u32>,
    pub chosen_ids: Vec<u32>,
    pub rejected_ids: Vec<u32>,
}

/// The role of pairs of responses, where there are pairs of judgments too; the words of Meta-Rewarding
/// (arXiv 2407.19594).
pub const ACTOR_ROLE: &str = "actor";

/// The role of pairs of judgments: they train the model as a judge.
pub const JUDGE_ROLE: &str = "judge";

/// The batch that plugins see.
pub fn for_plugins<'a>(groups: impl IntoIterator<Item = &'a SampledGroup>) -> Groups {
    let mut batch = Groups { message_offsets: vec![0], response_offsets: vec![0], ..Groups::default() };
    for group in groups {
        let responses = group.responses.iter().map(|r| Response {
            text: r.text.clone(),
            tokens: r.ids.len() as u32,
            finish: r.finish,
        });
        batch.push(&group.id, group.prompt.clone(), responses.collect());
    }
    batch
}

/// Which model sampled each response of the groups, as plugins see it; `None` if it was the policy throughout.
pub fn sources(groups: &[&SampledGroup]) -> Option<Sources> {
    let mut sources = Sources { names: vec![CURRENT.to_owned()], responses: Vec::new() };
    for source in groups.iter().flat_map(|group| &group.responses).map(|r| r.source.as_deref().unwrap_or(CURRENT)) {
        let known = sources.names.iter().position(|name| name == source);
        let number = known.unwrap_or_else(|| {
            sources.names.push(source.to_owned());
            sources.names.len() - 1
        });
        sources.responses.push(number as u32);
    }
    (sources.names.len() > 1).then_some(sources)
}

/// Reads one of the files above.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, &e))?;
    let parse = |(line, row)| {
        serde_json::from_str(row).map_err(|e| {
            Error::input(format!("not a row of this artifact: {e}"))
                .file(path)
                .line(line + 1)
                .help("the artifact was changed from outside; delete its folder, and it is made again")
        })
    };
    text.lines().enumerate().map(parse).collect()
}

/// Writes rows as JSON Lines.
pub fn write<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    let mut text = String::new();
    for row in rows {
        text += &to_json(row)?;
        text.push('\n');
    }
    write_atomic(path, text.as_bytes())
}

/// Writes one JSON object.
pub fn write_one<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    write_atomic(path, (to_json(value)? + "\n").as_bytes())
}

fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::run(format!("a result cannot be written as JSON: {e}")))
}

/// Rows by id, for joining one artifact to another.
pub fn by_id<'a, T>(rows: &'a [T], id: impl Fn(&'a T) -> &'a str) -> BTreeMap<&'a str, &'a T> {
    rows.iter().map(|row| (id(row), row)).collect()
}

/// The row that belongs to `id`; every artifact holds every group of the one before.
pub fn joined<'a, T>(rows: &BTreeMap<&str, &'a T>, id: &str) -> Result<&'a T> {
    rows.get(id).copied().ok_or_else(|| {
        Error::run(format!("the group '{id}' is missing in a later artifact"))
            .help("the store was changed from outside; remove the run's store folder and run again")
    })
}

/// "3 × all scores tie; 1 × …" for a count by reason.
pub fn reasons(counts: &BTreeMap<String, usize>) -> String {
    let list: Vec<String> = counts.iter().map(|(reason, n)| format!("{n} × {reason}")).collect();
    list.join("; ")
}
