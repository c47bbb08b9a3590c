//! The rows that single stages hand to one another: a group a line, to which each stage adds its fields.
//!
//! | stage | adds |
//! |---|---|
//! | generate | `id`, `prompt`, `prompt_ids`, `responses`, those of another model than the policy with a `source` |
//! | judge | `scores`, and where a judge gave none `abstained` and `skipped`, each by viewpoint |
//! | rank | `ranks` by viewpoint, and `pairs` or `dropped` |
//!
//! Fields that no stage knows are left as they are. All errors name file, line and field, and the stage to run first.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use creamery_plugin::contract::MAX_WEIGHT;
use creamery_plugin::{Finish, Message};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::groups::{RankedGroup, RankedPair, SampledGroup, SampledResponse, ScoredGroup};
use super::judge::ViewpointScores;
pub use crate::config::CURRENT;
use crate::data::{Lines, strict_json};
use crate::error::{Error, Result};

/// A file of groups.
pub struct GroupFile {
    pub path: PathBuf,
    /// In the order of the lines, with unique ids.
    pub sampled: Vec<SampledGroup>,
    /// One for each group.
    rows: Vec<Row>,
}

struct Row {
    /// From 1.
    line: usize,
    fields: Map<String, Value>,
}

/// What is wrong with a row; the caller adds file and line.
type RowResult<T> = std::result::Result<T, Wrong>;

struct Wrong {
    message: String,
    help: Option<&'static str>,
}

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Wrong { message, help: None }
    }
}

/// What judging and ranking say of a group's responses.
const OF_LATER_STAGES: [&str; 6] = ["scores", "abstained", "skipped", "ranks", "pairs", "dropped"];

const GENERATE_FIRST: &str = "this reads what `creamery generate` writes: run it first";
const JUDGE_FIRST: &str = "run `creamery judge` first, and give this command what it writes";
const RANK_FIRST: &str = "run `creamery rank` first, and give this command what it writes";
const NULL_FOR_NAN: &str = "JSON knows no NaN or Infinity; where a judge has no score, write null";

impl GroupFile {
    /// Reads the groups; the fields of later stages are read by [`scores`](Self::scores) and
    /// [`ranking`](Self::ranking).
    pub fn read(path: &Path) -> Result<Self> {
        let mut lines = Lines::open(path)?;
        let mut file = GroupFile { path: path.to_owned(), sampled: Vec::new(), rows: Vec::new() };
        let mut seen: HashMap<String, usize> = HashMap::new();
        while let Some((line, text)) = lines.next_line()? {
            if text.trim().is_empty() {
                continue;
            }
            let at = |wrong: Wrong| located(wrong, path, line);
            let fields = object(text).map_err(at)?;
            let group = group(&fields).map_err(at)?;
            if let Some(first) = seen.insert(group.id.clone(), line) {
                let message = format!("the id '{}' stands in line {first} already", group.id);
                return Err(at(Wrong { message, help: Some("stages join rows by id: give each row its own") }));
            }
            file.sampled.push(group);
            file.rows.push(Row { line, fields });
        }
        if file.rows.is_empty() {
            return Err(Error::input("the file has no rows").file(path).help(GENERATE_FIRST));
        }
        Ok(file)
    }

    /// The scores of all viewpoints, [`CURRENT`] first, the others in the order of the first line.
    pub fn scores(&self) -> Result<Vec<ViewpointScores>> {
        let first = self.rows[0].fields.get("scores").and_then(Value::as_object);
        let mut names: Vec<String> = first.into_iter().flat_map(Map::keys).cloned().collect();
        names.sort_by_key(|name| name != CURRENT);
        let mut viewpoints: Vec<ViewpointScores> = (names.iter())
            .map(|name| ViewpointScores { viewpoint: name.clone(), rows: Vec::with_capacity(self.rows.len()) })
            .collect();
        for (row, group) in self.rows.iter().zip(&self.sampled) {
            let at = |wrong: Wrong| located(wrong, &self.path, row.line);
            let by_name = row.by_viewpoint("scores", JUDGE_FIRST).map_err(at)?;
            check_names(by_name, &names).map_err(at)?;
            for viewpoint in &mut viewpoints {
                viewpoint.rows.push(scored(row, group, by_name, &viewpoint.viewpoint).map_err(at)?);
            }
        }
        Ok(viewpoints)
    }

    /// The ranking of a file with the scores `viewpoints`.
    pub fn ranking(&self, viewpoints: &[ViewpointScores]) -> Result<Vec<RankedGroup>> {
        let of = |(g, (row, group)): (usize, (&Row, &SampledGroup))| {
            // As `Usable` decides it, not by what else the row says: a group that is used must have ranks.
            let skipped = viewpoints.iter().any(|v| v.rows[g].skipped.is_some());
            ranked(row, group, viewpoints, skipped).map_err(|wrong| located(wrong, &self.path, row.line))
        };
        self.rows.iter().zip(&self.sampled).enumerate().map(of).collect()
    }

    /// The rows with `responses[g]` behind the responses of group `g`. What later stages said of the groups goes.
    pub fn with_responses<T: Serialize>(mut self, responses: Vec<Vec<T>>) -> Result<Vec<Map<String, Value>>> {
        for (row, more) in self.rows.iter_mut().zip(responses) {
            for name in OF_LATER_STAGES {
                row.fields.shift_remove(name);
            }
            let more = more.iter().map(serde_json::to_value).collect::<serde_json::Result<Vec<Value>>>();
            let more = more.map_err(|e| Error::run(format!("a response cannot be written as JSON: {e}")))?;
            if let Some(Value::Array(list)) = row.fields.get_mut("responses") {
                list.extend(more);
            }
        }
        Ok(self.rows.into_iter().map(|row| row.fields).collect())
    }

    /// The line of group `g`, from 1.
    pub fn line(&self, g: usize) -> usize {
        self.rows[g].line
    }

    /// An error about the row of group `g`.
    pub fn error(&self, g: usize, message: impl Into<String>) -> Error {
        Error::input(message).file(&self.path).line(self.rows[g].line)
    }

    /// The rows with `scores` of every viewpoint in place of any that were there; a ranking that was there goes.
    pub fn with_scores(mut self, viewpoints: &[ViewpointScores]) -> Vec<Map<String, Value>> {
        for (g, Row { fields, .. }) in self.rows.iter_mut().enumerate() {
            for name in OF_LATER_STAGES {
                fields.shift_remove(name);
            }
            let (mut scores, mut abstained, mut skipped) = (Map::new(), Map::new(), Map::new());
            for ViewpointScores { viewpoint, rows } in viewpoints {
                scores.insert(viewpoint.clone(), json!(rows[g].scores));
                if !rows[g].abstained.is_empty() {
                    abstained.insert(viewpoint.clone(), json!(rows[g].abstained));
                }
                if let Some(reason) = &rows[g].skipped {
                    skipped.insert(viewpoint.clone(), json!(reason));
                }
            }
            fields.insert("scores".into(), scores.into());
            for (name, map) in [("abstained", abstained), ("skipped", skipped)] {
                if !map.is_empty() {
                    fields.insert(name.into(), map.into());
                }
            }
        }
        self.rows.into_iter().map(|row| row.fields).collect()
    }

    /// The rows with a ranking in place of any that was there. `ranking` has a row for each group, in any order.
    pub fn with_ranking(
        mut self,
        ranking: &[RankedGroup],
        viewpoints: &[ViewpointScores],
    ) -> Result<Vec<Map<String, Value>>> {
        let ranking = super::groups::by_id(ranking, |row| &row.id);
        for (Row { fields, .. }, group) in self.rows.iter_mut().zip(&self.sampled) {
            for name in ["ranks", "pairs", "dropped"] {
                fields.shift_remove(name);
            }
            let row = super::groups::joined(&ranking, &group.id)?;
            // A group that the judge skipped has no ranks.
            let ranks: Map<String, Value> =
                viewpoints.iter().zip(&row.ranks).map(|(v, ranks)| (v.viewpoint.clone(), json!(ranks))).collect();
            if !ranks.is_empty() {
                fields.insert("ranks".into(), ranks.into());
            }
            match &row.dropped {
                Some(reason) => fields.insert("dropped".into(), json!(reason)),
                None => fields.insert("pairs".into(), json!(row.pairs)),
            };
        }
        Ok(self.rows.into_iter().map(|row| row.fields).collect())
    }
}

impl Row {
    /// An object whose keys are viewpoints.
    fn by_viewpoint(&self, name: &str, first: &'static str) -> RowResult<&Map<String, Value>> {
        match self.fields.get(name) {
            None => Err(Wrong { message: missing(&self.fields, name), help: Some(first) }),
            Some(Value::Object(map)) => Ok(map),
            Some(other) => {
                Err(format!("the field '{name}' is {}, expected an object by viewpoint", shown(other)).into())
            }
        }
    }
}

fn located(wrong: Wrong, path: &Path, line: usize) -> Error {
    let error = Error::input(wrong.message).file(path).line(line);
    match wrong.help {
        Some(help) => error.help(help),
        None => error,
    }
}

fn object(text: &str) -> RowResult<Map<String, Value>> {
    match strict_json::parse(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => {
            let message = format!("a JSON object was expected, found {}", shown(&other));
            Err(Wrong { message, help: Some("a JSONL file holds one JSON object per line") })
        }
        Err(e) => {
            let full = e.to_string();
            let what = full.split(" at line ").next().unwrap_or(&full);
            let message = format!("not a JSON object: {what} (column {})", e.column());
            // The error stands within the word, or right behind it.
            let around = &text.as_bytes()[e.column().saturating_sub(10).min(text.len())..];
            let around = String::from_utf8_lossy(&around[..around.len().min(20)]).into_owned();
            let help = if around.contains("NaN") || around.contains("Inf") { NULL_FOR_NAN } else { GENERATE_FIRST };
            Err(Wrong { message, help: Some(help) })
        }
    }
}

fn group(fields: &Map<String, Value>) -> RowResult<SampledGroup> {
    let get = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Err(Wrong { message: missing(fields, name), help: Some(GENERATE_FIRST) }),
        Some(value) => Ok(value),
    };
    let id = text(get("id")?, "the field 'id'")?;
    if id.trim().is_empty() {
        return Err("the field 'id' is empty".to_owned().into());
    }
    let mut prompt = Vec::new();
    for (i, message) in list(get("prompt")?, "the field 'prompt'")?.iter().enumerate() {
        let part = |key: &str| text(message.get(key).unwrap_or(&Value::Null), &format!("'{key}' of prompt[{i}]"));
        prompt.push(Message { role: part("role")?, content: part("content")? });
    }
    if prompt.is_empty() {
        return Err("the field 'prompt' is an empty list".to_owned().into());
    }
    let prompt_ids = ids(get("prompt_ids")?, "prompt_ids")?;
    let mut responses = Vec::new();
    for (i, response) in list(get("responses")?, "the field 'responses'")?.iter().enumerate() {
        responses.push(self::response(response, i)?);
    }
    if responses.is_empty() {
        return Err(Wrong { message: "the group has no responses".into(), help: Some(GENERATE_FIRST) });
    }
    Ok(SampledGroup { id, prompt, prompt_ids, responses })
}

fn response(value: &Value, i: usize) -> RowResult<SampledResponse> {
    let get = |key: &str| {
        let message = || format!("responses[{i}] has no '{key}'");
        value.get(key).ok_or_else(|| Wrong { message: message(), help: Some(GENERATE_FIRST) })
    };
    let finish = match text(get("finish")?, &format!("'finish' of responses[{i}]"))?.as_str() {
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        other => return Err(format!("'finish' of responses[{i}] is {other:?}, expected \"stop\" or \"length\"").into()),
    };
    let text = text(get("text")?, &format!("'text' of responses[{i}]"))?;
    let ids = ids(get("ids")?, &format!("responses[{i}].ids"))?;
    // Single stages never use it: which model it is of, the row does not say.
    let logp = value.get("logp").and_then(Value::as_f64).unwrap_or(f64::NAN);
    let source = match value.get("source") {
        None | Some(Value::Null) => None,
        Some(source) => Some(self::text(source, &format!("'source' of responses[{i}]"))?),
    };
    if let Some(source) = source.as_deref().filter(|source| source.trim().is_empty() || *source == CURRENT) {
        let message = format!("'source' of responses[{i}] is {source:?}, expected the name of another model");
        return Err(Wrong { message, help: Some("the policy's own responses have no 'source'") });
    }
    Ok(SampledResponse { text, finish, ids, logp, source })
}

/// Token ids, at least one.
fn ids(value: &Value, place: &str) -> RowResult<Vec<u32>> {
    let mut ids = Vec::new();
    for (i, id) in list(value, &format!("'{place}'"))?.iter().enumerate() {
        match id.as_u64().and_then(|id| u32::try_from(id).ok()) {
            Some(id) => ids.push(id),
            None => return Err(format!("{place}[{i}] is {}, expected a token id", shown(id)).into()),
        }
    }
    if ids.is_empty() { Err(format!("'{place}' has no tokens").into()) } else { Ok(ids) }
}

/// Every line must have the viewpoints of the first, and one of them is the current model's.
fn check_names(found: &Map<String, Value>, expected: &[String]) -> RowResult<()> {
    let list = |names: Vec<&str>| names.join(", ");
    if expected.first().is_none_or(|name| name != CURRENT) {
        let names = list(found.keys().map(String::as_str).collect());
        let message = format!("'scores' has no viewpoint \"{CURRENT}\" (found: {names})");
        return Err(Wrong { message, help: Some("chosen and rejected are by the current model's scores") });
    }
    if found.len() != expected.len() || expected.iter().any(|name| !found.contains_key(name)) {
        let names = list(found.keys().map(String::as_str).collect());
        let expected = list(expected.iter().map(String::as_str).collect());
        let message = format!("'scores' has the viewpoints {names}, the first line has {expected}");
        return Err(Wrong { message, help: Some("judge all groups from the same viewpoints") });
    }
    Ok(())
}

fn scored(row: &Row, group: &SampledGroup, scores: &Map<String, Value>, viewpoint: &str) -> RowResult<ScoredGroup> {
    let place = format!("scores.{viewpoint}");
    let values = list(&scores[viewpoint], &format!("'{place}'"))?;
    let n = group.responses.len();
    if values.len() != n {
        let message = format!("'{place}' has {} entries for {n} responses", values.len());
        return Err(Wrong { message, help: Some("one number or null for each response") });
    }
    let mut scored =
        ScoredGroup { id: group.id.clone(), scores: Vec::new(), abstained: BTreeMap::new(), skipped: None };
    let reasons = row.fields.get("abstained").and_then(|a| a.get(viewpoint));
    for (i, value) in values.iter().enumerate() {
        match value {
            Value::Null => {
                let reason = reasons.and_then(|r| r.get(i.to_string())).and_then(Value::as_str);
                scored.abstained.insert(i, reason.unwrap_or("no score").to_owned());
                scored.scores.push(None);
            }
            Value::Number(number) if number.as_f64().is_some_and(f64::is_finite) => scored.scores.push(number.as_f64()),
            other => {
                let message = format!("{place}[{i}] is {}, expected a finite number or null", shown(other));
                return Err(Wrong { message, help: Some(NULL_FOR_NAN) });
            }
        }
    }
    let skipped = match row.fields.get("skipped") {
        None | Some(Value::Null) => None,
        Some(_) => row.by_viewpoint("skipped", JUDGE_FIRST)?.get(viewpoint),
    };
    scored.skipped = skipped.map(|reason| text(reason, &format!("'skipped.{viewpoint}'"))).transpose()?;
    Ok(scored)
}

fn ranked(row: &Row, group: &SampledGroup, viewpoints: &[ViewpointScores], skipped: bool) -> RowResult<RankedGroup> {
    let n = group.responses.len();
    let dropped = row.fields.get("dropped").map(|reason| text(reason, "the field 'dropped'")).transpose()?;
    let mut ranked = RankedGroup { id: group.id.clone(), ranks: Vec::new(), pairs: Vec::new(), dropped };
    if !skipped || row.fields.contains_key("ranks") {
        let ranks = row.by_viewpoint("ranks", RANK_FIRST)?;
        for ViewpointScores { viewpoint, .. } in viewpoints {
            let place = format!("ranks.{viewpoint}");
            let values = list(ranks.get(viewpoint).unwrap_or(&Value::Null), &format!("'{place}'"))?;
            let mut list = Vec::with_capacity(n);
            for (i, value) in values.iter().enumerate() {
                match value.as_u64().filter(|rank| *rank <= n as u64) {
                    Some(rank) => list.push(rank as u32),
                    None => return Err(format!("{place}[{i}] is {}, expected 0 to {n}", shown(value)).into()),
                }
            }
            if list.len() != n {
                let message = format!("'{place}' has {} entries for {n} responses", list.len());
                return Err(Wrong { message, help: Some(RANK_FIRST) });
            }
            ranked.ranks.push(list);
        }
    }
    if let Some(pairs) = row.fields.get("pairs") {
        for (i, pair) in list(pairs, "the field 'pairs'")?.iter().enumerate() {
            ranked.pairs.push(self::pair(pair, i, n)?);
        }
    }
    match (ranked.pairs.is_empty(), &ranked.dropped) {
        (false, Some(_)) => Err("the group has both 'pairs' and 'dropped'".to_owned().into()),
        (true, None) => {
            Err(Wrong { message: "the group has neither 'pairs' nor 'dropped'".into(), help: Some(RANK_FIRST) })
        }
        (false, None) if skipped => Err("the group has 'pairs', but the judge skipped it".to_owned().into()),
        _ => Ok(ranked),
    }
}

fn pair(value: &Value, i: usize, n: usize) -> RowResult<RankedPair> {
    let index = |key: &str| match value.get(key).and_then(Value::as_u64) {
        Some(r) if r < n as u64 => Ok(r as usize),
        _ => {
            let found = shown(value.get(key).unwrap_or(&Value::Null));
            Err(Wrong::from(format!("'{key}' of pairs[{i}] is {found}, expected a response from 0 to {}", n - 1)))
        }
    };
    let (chosen, rejected) = (index("chosen")?, index("rejected")?);
    if chosen == rejected {
        return Err(format!("pairs[{i}]: response {chosen} is both chosen and rejected").into());
    }
    match value.get("weight").and_then(Value::as_f64) {
        Some(weight) if weight > 0.0 && weight <= MAX_WEIGHT => Ok(RankedPair { chosen, rejected, weight }),
        _ => {
            let found = shown(value.get("weight").unwrap_or(&Value::Null));
            let expected = format!("expected a number above 0 and at most {MAX_WEIGHT:e}");
            Err(format!("'weight' of pairs[{i}] is {found}, {expected}").into())
        }
    }
}

fn missing(fields: &Map<String, Value>, name: &str) -> String {
    let found: Vec<&str> = fields.keys().map(String::as_str).collect();
    format!("the field '{name}' is missing (found: {})", found.join(", "))
}

fn text(value: &Value, what: &str) -> RowResult<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("{what} is {}, expected a string", shown(other)).into()),
    }
}

fn list<'a>(value: &'a Value, what: &str) -> RowResult<&'a Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(format!("{what} is {}, expected a list", shown(other)).into()),
    }
}

/// A value for a message: numbers and short strings as they are.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) if s.chars().count() <= 40 => format!("{s:?}"),
        Value::String(_) => "a string".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}
