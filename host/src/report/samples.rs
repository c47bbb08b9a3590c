//! The rows of the sample browser: what was sampled, how it was scored, ranked and paired, read from the artifacts that a
//! run names. A run without that list, or whose artifacts are gone, has no rows, and says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use creamery_plugin::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::arms::Experiment;
use super::collect::{ArtifactRow, RunData, State};
use crate::data::{self, EvalRow, Extractor};
use crate::round::{LabelledPair, RankedGroup, RankedPair, SaidRow, SampledGroup, SampledResponse, ScoredGroup};

/// Bytes of rows in a page, over all arms.
const MOST: usize = 3_500_000;

/// Characters of a text that a page holds.
const LONGEST: usize = 3_000;

/// A group as the page shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub arm: String,
    pub seed: u64,
    pub round: u32,
    /// For evaluation: only these have known answers.
    pub evaluation: bool,
    pub id: String,
    pub prompt: Vec<(String, String)>,
    pub viewpoints: Vec<String>,
    pub responses: Vec<ResponseRow>,
    pub pairs: Vec<PairRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    /// The viewpoints put the responses in different orders.
    pub differ: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// What models wrote when the judges asked them about the prompt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Said {
    pub viewpoint: String,
    pub asked: String,
    pub texts: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ResponseRow {
    pub text: String,
    pub tokens: usize,
    /// By viewpoint; `null` is an abstention.
    pub scores: Vec<Option<f64>>,
    pub ranks: Vec<u32>,
    /// Why a viewpoint gave no score.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PairRow {
    pub chosen: usize,
    pub rejected: usize,
    /// `None` where the pair was not labelled: it was left out, or is of an evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub c: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// Questions to a judge's model that a group shows, for each viewpoint.
const QUESTIONS: usize = 6;

/// The rows and what is missing.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    pub rows: Vec<Row>,
    /// Groups that there were in all, of the arms that have rows.
    pub of: usize,
    pub notes: Vec<String>,
}

/// About `per_arm` groups of the first finished run of each of the arms.
pub fn samples(experiment: &Experiment, arms: &[usize], per_arm: usize) -> Samples {
    let mut samples = Samples::default();
    let mut left = MOST;
    for (done, arm) in arms.iter().enumerate() {
        let arm = &experiment.arms[*arm];
        let finished = arm.runs.iter().find(|run| run.state == State::Finished && run.artifacts.is_some());
        let Some(run) = finished.or_else(|| arm.runs.iter().find(|run| run.artifacts.is_some())) else {
            let why = match arm.runs.iter().any(|run| run.state == State::Finished) {
                true => {
                    "its runs are of a version that did not list their artifacts (artifacts.json); run it again, which takes seconds, as all is in the store"
                }
                false => "no run has come so far",
            };
            samples.notes.push(format!("{}: no samples: {why}.", arm.name));
            continue;
        };
        let budget = left / (arms.len() - done);
        match of_run(run, &arm.name, per_arm, budget) {
            Ok((rows, of, notes)) => {
                left = left.saturating_sub(rows.iter().map(size).sum());
                samples.rows.extend(rows);
                samples.of += of;
                samples.notes.extend(notes.into_iter().map(|note| format!("{}: {note}.", arm.name)));
            }
            Err(why) => samples.notes.push(format!("{}: no samples: {why}.", arm.name)),
        }
    }
    samples
}

/// A round's artifacts.
struct Round<'a> {
    round: u32,
    evaluation: bool,
    rank: &'a ArtifactRow,
    labels: Option<&'a ArtifactRow>,
}

type Found = (Vec<Row>, usize, Vec<String>);

fn of_run(run: &RunData, arm: &str, most: usize, budget: usize) -> Result<Found, String> {
    let artifacts = run.artifacts.as_deref().unwrap_or_default();
    let store = run.field("store").and_then(|s| s.as_str()).ok_or("the resolved config names no store")?;
    let store = PathBuf::from(store);
    if !store.is_dir() {
        return Err("its store is not here".into());
    }
    let of_stage = |stage: &'static str| artifacts.iter().filter(move |a| a.stage == stage);
    let rounds: Vec<Round> = of_stage("rank")
        .filter_map(|rank| {
            let (round, evaluation) = (rank.round?, rank.part == "evaluate");
            let labels = of_stage("regularize").find(|a| a.round == Some(round) && !evaluation);
            Some(Round { round, evaluation, rank, labels })
        })
        .collect();
    if rounds.is_empty() {
        return Err("its list of artifacts has no ranking".into());
    }
    let (mut rows, mut of, mut notes) = (Vec::new(), 0, BTreeSet::new());
    // Rounds count three times as much as their evaluation.
    let share = |round: &Round| if round.evaluation { 1 } else { 3 };
    let shares: usize = rounds.iter().map(share).sum();
    for round in &rounds {
        match of_round(run, &store, arm, round) {
            Ok((all, said)) => {
                of += all.len();
                let wanted = (most * share(round)).div_ceil(shares);
                let mut kept = chosen(all, wanted, budget * share(round) / shares);
                add_said(&mut kept, &said, budget * share(round) / shares);
                rows.extend(kept);
            }
            Err(why) => drop(notes.insert(why)),
        }
    }
    rows.truncate(most);
    match rows.is_empty() && !notes.is_empty() {
        true => Err(notes.into_iter().collect::<Vec<_>>().join("; ")),
        false => Ok((rows, of, notes.into_iter().collect())),
    }
}

/// Three quarters evenly from all groups, and one of those on which viewpoints differ or that were dropped, so that
/// there are some to look at.
fn chosen(rows: Vec<Row>, wanted: usize, budget: usize) -> Vec<Row> {
    let mut keep: BTreeSet<usize> = BTreeSet::new();
    let even = (wanted - wanted / 4).min(rows.len());
    keep.extend((0..even).map(|i| i * rows.len() / even.max(1)));
    let odd = |i: &usize| rows[*i].differ || rows[*i].dropped.is_some();
    let rest: Vec<usize> = (0..rows.len()).filter(|i| !keep.contains(i)).collect();
    let (first, then): (Vec<usize>, Vec<usize>) = rest.into_iter().partition(|i| odd(i));
    let missing = wanted.saturating_sub(keep.len());
    keep.extend(first.into_iter().chain(then).take(missing));
    let mut left = budget;
    let fits = |row: &Row| {
        let fits = size(row) <= left;
        left = left.saturating_sub(size(row));
        fits
    };
    rows.into_iter().enumerate().filter(|(i, _)| keep.contains(i)).map(|(_, row)| row).filter(fits).collect()
}

/// What was written by viewpoint.
type BySpeaker = Vec<(String, Vec<SaidRow>)>;

/// A query does not say which group it is about, so it is that whose prompt it quotes.
fn add_said(rows: &mut [Row], said: &BySpeaker, budget: usize) {
    let mut left = budget.saturating_sub(rows.iter().map(size).sum());
    for row in rows {
        let Some((_, prompt)) = row.prompt.last().filter(|(_, text)| !text.trim().is_empty()) else { continue };
        for (viewpoint, said) in said {
            let quotes = |said: &&SaidRow| said.messages.iter().any(|m| quoted(&m.content, prompt));
            for said in said.iter().filter(quotes).take(QUESTIONS) {
                let asked: Vec<&str> = said.messages.iter().map(|m| m.content.as_str()).collect();
                let (asked, texts) = (cut(&asked.join("\n\n")), said.texts.iter().map(|t| cut(t)).collect::<Vec<_>>());
                let bytes = 80 + asked.len() + texts.iter().map(String::len).sum::<usize>();
                if bytes > left {
                    return;
                }
                left -= bytes;
                row.said.push(Said { viewpoint: viewpoint.clone(), asked, texts });
            }
        }
    }
}

/// Stands the text in there as a whole, not as a part of longer words or numbers?
fn quoted(within: &str, text: &str) -> bool {
    within.match_indices(text).any(|(at, _)| {
        let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let (before, after) = (within[..at].chars().next_back(), within[at + text.len()..].chars().next());
        !(word(before) && word(text.chars().next()) || word(after) && word(text.chars().next_back()))
    })
}

fn of_round(run: &RunData, store: &Path, arm: &str, round: &Round) -> Result<(Vec<Row>, BySpeaker), String> {
    let place = |stage: &str, id: &str| -> Result<PathBuf, String> {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let folder = store.join(stage).join(id);
        match plain(stage) && plain(id) && folder.is_dir() {
            true => Ok(folder),
            false => Err(format!("an artifact of {} is no longer in the store", round.rank.label)),
        }
    };
    let ranked = place("rank", &round.rank.id)?;
    // What was ranked stands in the artifact's key.
    let manifest: Value = one(&ranked.join("artifact.json"))?;
    let inputs = &manifest["key"]["inputs"];
    let names = |name: &str| -> Vec<String> {
        inputs[name].as_array().into_iter().flatten().filter_map(|v| v.as_str()).map(str::to_owned).collect()
    };
    let (viewpoints, scores) = (names("viewpoints"), names("scores"));
    let samples = inputs["samples"].as_str().ok_or("a ranking does not say what it ranked")?;
    let sampled: Vec<SampledGroup> = lines(&place("sample", samples)?.join("samples.jsonl"))?;
    let ranking: BTreeMap<String, RankedGroup> =
        by_id(lines(&ranked.join("ranking.jsonl"))?, |row: &RankedGroup| row.id.clone());
    let scored: Vec<BTreeMap<String, ScoredGroup>> = (scores.iter())
        .map(|id| Ok(by_id(lines(&place("judge", id)?.join("scores.jsonl"))?, |row: &ScoredGroup| row.id.clone())))
        .collect::<Result<_, String>>()?;
    let mut said = BySpeaker::new();
    for (id, viewpoint) in scores.iter().zip(&viewpoints) {
        // Artifacts of older versions have no such file.
        let file = place("judge", id)?.join("said.jsonl");
        if file.is_file() {
            said.push((viewpoint.clone(), lines(&file)?));
        }
    }
    let mut labels: BTreeMap<(String, usize, usize), (f64, f64)> = BTreeMap::new();
    if let Some(artifact) = round.labels {
        for pair in lines::<LabelledPair>(&place("regularize", &artifact.id)?.join("pairs.jsonl"))? {
            if let (Some(chosen), Some(rejected)) = (pair.chosen_index, pair.rejected_index) {
                labels.insert((pair.group, chosen, rejected), (pair.consistency, pair.weight));
            }
        }
    }
    let truth = if round.evaluation { Truth::of(run) } else { None };
    let row = |group: SampledGroup| {
        let ranked = ranking.get(&group.id);
        let scores: Vec<Option<&ScoredGroup>> = scored.iter().map(|of| of.get(&group.id)).collect();
        let answer = truth.as_ref().and_then(|truth| truth.rows.get(&group.id));
        let response = |(i, r): (usize, &SampledResponse)| ResponseRow {
            text: cut(&r.text),
            tokens: r.ids.len(),
            scores: scores.iter().map(|s| s.and_then(|s| s.scores.get(i).copied().flatten())).collect(),
            ranks: ranked.map(|r| r.ranks.iter().filter_map(|v| v.get(i).copied()).collect()).unwrap_or_default(),
            reasons: scores.iter().filter_map(|s| s.and_then(|s| s.abstained.get(&i))).map(|r| cut(r)).collect(),
            right: answer.zip(truth.as_ref()).map(|(row, truth)| truth.is_right(row, &r.text)),
            source: r.source.clone(),
        };
        let pair = |p: &RankedPair| {
            let label = labels.get(&(group.id.clone(), p.chosen, p.rejected));
            PairRow { chosen: p.chosen, rejected: p.rejected, c: label.map(|l| l.0), weight: label.map(|l| l.1) }
        };
        let said = |m: &Message| (m.role.to_string(), cut(&m.content));
        Row {
            arm: arm.to_owned(),
            seed: run.seed,
            round: round.round,
            evaluation: round.evaluation,
            prompt: group.prompt.iter().map(said).collect(),
            viewpoints: viewpoints.clone(),
            responses: group.responses.iter().enumerate().map(response).collect(),
            pairs: ranked.map(|r| r.pairs.iter().map(pair).collect()).unwrap_or_default(),
            dropped: ranked.and_then(|r| r.dropped.clone()),
            differ: ranked.is_some_and(|r| r.ranks.iter().any(|v| *v != r.ranks[0])),
            answer: answer.map(|row| cut(&row.answer)),
            said: Vec::new(),
            id: group.id,
        }
    };
    Ok((sampled.into_iter().map(row).collect(), said))
}

/// The evaluation's answers, as they are now.
struct Truth {
    rows: BTreeMap<String, EvalRow>,
    extractor: Extractor,
}

impl Truth {
    fn of(run: &RunData) -> Option<Truth> {
        let name = run.field("eval.extractor")?.as_str()?;
        let extractor = match (name, run.field("eval.pattern").and_then(|p| p.as_str())) {
            ("regex", Some(pattern)) => format!("regex:{pattern}"),
            _ => name.to_owned(),
        };
        let extractor = data::answer::extractor(&extractor).ok()?;
        let mut rows = BTreeMap::new();
        for file in run.field("data.eval")?.as_array()? {
            let file = Path::new(file.as_str()?);
            let read = data::rows::read_evaluation_from(file, rows.len()).ok()?;
            rows.extend(read.into_iter().map(|row| (row.id.clone(), row)));
        }
        Some(Truth { rows, extractor })
    }

    fn is_right(&self, row: &EvalRow, response: &str) -> bool {
        let known = self.extractor.known(&row.answer, &row.choices);
        self.extractor.extract_among(response, &row.choices).is_some_and(|found| found == known)
    }
}

fn by_id<T>(rows: Vec<T>, id: impl Fn(&T) -> String) -> BTreeMap<String, T> {
    rows.into_iter().map(|row| (id(&row), row)).collect()
}

fn one<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let file = File::open(path).map_err(|e| format!("an artifact cannot be read: {e}"))?;
    serde_json::from_reader(BufReader::new(file)).map_err(|e| format!("an artifact cannot be read: {e}"))
}

fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, String> {
    let file = File::open(path).map_err(|e| format!("an artifact cannot be read: {e}"))?;
    let parsed = |line: std::io::Result<String>| {
        let line = line.map_err(|e| format!("an artifact cannot be read: {e}"))?;
        serde_json::from_str(&line).map_err(|e| format!("an artifact is damaged: {e}"))
    };
    BufReader::new(file).lines().map(parsed).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}… ({} characters in all)", &text[..at], text.chars().count()),
        None => text.to_owned(),
    }
}

/// About as many bytes as the row takes in a page.
fn size(row: &Row) -> usize {
    let texts = row.prompt.iter().map(|(_, text)| text.len()).sum::<usize>();
    let response =
        |r: &ResponseRow| 60 + r.text.len() + 24 * r.scores.len() + r.reasons.iter().map(String::len).sum::<usize>();
    200 + texts + row.responses.iter().map(response).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_quoted_as_a_whole() {
        let cases = [("Rate: add 3 1", true), ("Rate: add 3 10", false), ("add 3 10 or add 3 1?", true), ("", false)];
        for (within, expected) in cases {
            assert_eq!(quoted(within, "add 3 1"), expected, "{within:?}");
        }
    }
}
