//! What a plugin costs: loading, first call, and calls by batch size.
//!
//! A *call* is one crossing into the plugin and back with everything that the host does around it in a run: arguments
//! are lent or copied, limits are set, the answer is taken over and checked. Its smallest form, "empty", carries no
//! groups or pairs, so that it shows the crossing alone. A group of the others is a prompt of one message with four
//! responses of about twenty characters and, where there are scores, two viewpoints; a pair is six log-probabilities and
//! counts, a C and a weight. Of each figure the best of many is taken: what else the machine does only ever adds.

use std::path::Path;
use std::time::{Duration, Instant};

use creamery_plugin::{
    Column, Finish, Groups, JudgeContext, Message, ObjectiveBatch, Pair, RankContext, Records, Response, Score, Scores,
    Slot, Sources,
};
use serde_json::{Value, json};

use super::{Load, Subject};
use crate::error::Result;
use crate::plugins::{Artifact, Isolation, PluginInfo, Usage};
use crate::report::Table;

/// Groups or pairs of a call; the first shows the crossing alone.
const SIZES: [usize; 5] = [0, 1, 10, 100, 1000];
const RESPONSES: usize = 4;

/// How long each figure is measured.
const MEASURED: Duration = Duration::from_millis(300);
/// Calls are timed in blocks of at least this length, so that the clock's own time does not count.
const BLOCK: Duration = Duration::from_micros(200);

/// One function with one size of its batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub function: &'static str,
    /// "group" or "pair"
    pub unit: &'static str,
    pub size: usize,
    pub nanoseconds: f64,
    /// Of a component.
    pub usage: Option<Usage>,
    /// What the plugin said, where it fails on this input; then nothing was measured.
    pub failed: Option<String>,
}

/// All figures of a plugin.
pub struct Report {
    pub plugin: PluginInfo,
    /// Where the calls ran, as whoever loaded the plugin says; none where there is no choice.
    pub isolation: Option<Isolation>,
    /// Without any cache: a component is compiled. The best of a few.
    pub load_cold: Duration,
    /// With compiled code from the cache, or with the library in memory.
    pub load_again: Duration,
    /// The first call after loading, with one group.
    pub first_call: Duration,
    pub calls: Vec<Call>,
}

/// Measures. `cold` loads without the cache of compiled code, `cached` with it.
///
/// # Errors
/// The plugin cannot be loaded.
pub fn bench(cold: &mut Load<'_>, cached: &mut Load<'_>, slots: &[String], sources: &[String]) -> Result<Report> {
    let load_cold = best_load(cold, 3)?;
    let load_again = best_load(cached, 50)?;
    let mut first_call = Duration::MAX;
    let input = Input::new(1, slots, sources);
    for _ in 0..5 {
        let mut plugin = cached()?;
        let start = Instant::now();
        // An error takes its time too, and is shown below.
        let _ = input.main_call(&mut plugin);
        first_call = first_call.min(start.elapsed());
    }
    let mut plugin = cached()?;
    let mut calls = Vec::new();
    for (function, unit) in functions(&plugin) {
        for size in SIZES {
            let input = Input::new(size, slots, sources).with_columns(&mut plugin);
            calls.push(measure(&mut plugin, function, unit, &input));
        }
    }
    Ok(Report { plugin: plugin.info().clone(), isolation: None, load_cold, load_again, first_call, calls })
}

fn best_load(load: &mut Load<'_>, times: usize) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..times {
        let start = Instant::now();
        let plugin = load()?;
        best = best.min(start.elapsed());
        drop(plugin);
    }
    Ok(best)
}

/// What a plugin of the kind is called for.
fn functions(plugin: &Subject) -> &'static [(&'static str, &'static str)] {
    match plugin {
        Subject::Judge(_) => &[("step", "group")],
        Subject::Ranker(_) => &[("rank", "group")],
        Subject::Regularizer(_) => &[("label", "group"), ("objective", "pair")],
    }
}

fn measure(plugin: &mut Subject, function: &'static str, unit: &'static str, input: &Input) -> Call {
    let size = input.groups.len();
    let failed = |why: String| Call { function, unit, size, nanoseconds: 0.0, usage: None, failed: Some(why) };
    // Once for the caches, and to see how many make a block.
    let mut calls = 1u32;
    loop {
        let start = Instant::now();
        for _ in 0..calls {
            if let Err(e) = input.call(plugin, function) {
                return failed(e.message().to_owned());
            }
        }
        if start.elapsed() >= BLOCK || calls > 1 << 24 {
            break;
        }
        calls *= 2;
    }
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed() < MEASURED {
        let start = Instant::now();
        for _ in 0..calls {
            if let Err(e) = input.call(plugin, function) {
                return failed(e.message().to_owned());
            }
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
    }
    let usage = match plugin {
        Subject::Judge(judge) => judge.usage(),
        Subject::Ranker(ranker) => ranker.usage(),
        Subject::Regularizer(regularizer) => regularizer.usage(),
    };
    Call { function, unit, size, nanoseconds: best, usage, failed: None }
}

/// The arguments of all functions for one size.
struct Input {
    judge: JudgeContext,
    rank: RankContext,
    groups: Groups,
    scores: Scores,
    sources: Sources,
    records: Records,
    batch: ObjectiveBatch,
    columns: Vec<Column>,
}

impl Input {
    fn new(size: usize, slots: &[String], sources: &[String]) -> Self {
        let mut groups = Groups { message_offsets: vec![0], response_offsets: vec![0], ..Groups::default() };
        for g in 0..size {
            let response = |r: usize| {
                let text = format!("The answer may be {}.", 10 + (g * RESPONSES + r) % 90);
                Response { tokens: text.len() as u32, text, finish: Finish::Stop }
            };
            let prompt = vec![Message::user(format!("What is {g} + {g}?"))];
            groups.push(format!("p{g}"), prompt, (0..RESPONSES).map(response).collect());
        }
        let total = groups.responses.len();
        let viewpoints = vec!["current".to_owned(), "previous".to_owned()];
        let scores = (0..2 * total).map(|i| Score::Value(((i * 7 + i / total.max(1)) % 16) as f64 / 16.0)).collect();
        let scores = Scores { viewpoints, scores };
        let pair = |g: usize| {
            let first = (g * RESPONSES) as u32;
            Pair { group: g as u32, chosen: first, rejected: first + 1, weight: 1.0 }
        };
        let ranks = (0..2 * total).map(|i| 1 + (i % RESPONSES) as u32).collect();
        let records = Records {
            round: 1,
            groups: groups.clone(),
            scores: scores.clone(),
            ranks,
            pairs: (0..size).map(pair).collect(),
            history: Vec::new(),
        };
        let numbers = |start: f64| (0..size).map(|i| start - 0.01 * (i % 64) as f64).collect::<Vec<f64>>();
        let batch = ObjectiveBatch {
            beta: 0.1,
            policy_chosen: numbers(-5.0),
            policy_rejected: numbers(-6.0),
            reference_chosen: numbers(-5.5),
            reference_rejected: numbers(-5.75),
            chosen_tokens: vec![21; size],
            rejected_tokens: vec![21; size],
            consistency: vec![0.75; size],
            weight: vec![1.0; size],
        };
        let mut names = vec!["current".to_owned(), "M1".to_owned()];
        names.extend(sources.iter().filter(|s| *s != "current" && *s != "M1").cloned());
        let sources = Sources { names, responses: (0..total).map(|r| (r % 2) as u32).collect() };
        let slot = |name: &String| Slot { name: name.clone(), model: format!("model of {name}") };
        Input {
            judge: JudgeContext { round: 1, viewpoint: "current".to_owned(), slots: slots.iter().map(slot).collect() },
            rank: RankContext { round: 1, seed: 7 },
            groups,
            scores,
            sources,
            records,
            batch,
            columns: Vec::new(),
        }
    }

    fn call(&self, plugin: &mut Subject, function: &str) -> Result<()> {
        match plugin {
            Subject::Judge(judge) => judge.step(&self.judge, &self.groups, &[]).map(drop),
            Subject::Ranker(ranker) if ranker.info().descriptor.has_feature("needs-sources") => {
                ranker.rank_sources(&self.rank, &self.groups, &self.scores, &self.sources).map(drop)
            }
            Subject::Ranker(ranker) => ranker.rank(&self.rank, &self.groups, &self.scores).map(drop),
            Subject::Regularizer(plugin) if function == "label" => plugin.label(&self.records).map(drop),
            Subject::Regularizer(plugin) if self.columns.is_empty() => plugin.objective(&self.batch).map(drop),
            Subject::Regularizer(plugin) => plugin.objective_columns(&self.batch, &self.columns).map(drop),
        }
    }

    /// An objective gets the columns that its plugin makes, if it makes any.
    fn with_columns(mut self, plugin: &mut Subject) -> Self {
        if let Subject::Regularizer(plugin) = plugin {
            let labels = plugin.label(&self.records);
            self.columns = labels.and_then(|labels| plugin.columns(&self.records, &labels)).unwrap_or_default();
        }
        self
    }

    fn main_call(&self, plugin: &mut Subject) -> Result<()> {
        self.call(plugin, "label")
    }
}

impl Report {
    pub fn text(&self) -> String {
        let d = &self.plugin.descriptor;
        let place = if self.isolation == Some(Isolation::Process) { ", in a process of its own" } else { "" };
        let mut text = format!("{}, {}{place}\n\n", self.plugin.title(), d.kind);
        let again = match d.artifact {
            Artifact::Component => "load, compiled code cached",
            Artifact::Native => "load again",
            Artifact::Builtin => "make",
        };
        let milliseconds = |d: Duration| format!("{:.3} ms", d.as_secs_f64() * 1e3);
        if d.artifact != Artifact::Builtin {
            text += &format!("{:<28}{:>12}\n", "load, nothing cached", milliseconds(self.load_cold));
        }
        text += &format!("{again:<28}{:>12}\n", milliseconds(self.load_again));
        text += &format!("{:<28}{:>12}\n\n", "first call, 1 group", milliseconds(self.first_call));
        let fuel = self.calls.iter().any(|c| c.usage.is_some());
        let mut header = vec!["call", "ns a call", "ns a unit"];
        if fuel {
            header.extend(["instructions", "memory"]);
        }
        let mut table = Table::new(&header);
        for call in &self.calls {
            let Call { function, unit, size, nanoseconds, usage, failed } = call;
            let name = match size {
                0 => format!("{function}, empty"),
                1 => format!("{function}, 1 {unit}"),
                n => format!("{function}, {n} {unit}s"),
            };
            if let Some(why) = failed {
                table.row([name, format!("failed: {}", why.lines().next().unwrap_or_default())]);
                continue;
            }
            let each = if *size == 0 { "–".to_owned() } else { format!("{:.1}", nanoseconds / *size as f64) };
            let mut cells = vec![name, format!("{nanoseconds:.0}"), each];
            if let Some(Usage { fuel, memory_bytes }) = usage {
                cells.extend([fuel.to_string(), super::inspect::bytes(*memory_bytes as u64)]);
            }
            table.row(cells);
        }
        text + &table.render()
    }

    /// One object; fields are only ever added.
    pub fn json(&self) -> Value {
        let call = |c: &Call| {
            json!({
                "function": c.function, "unit": c.unit, "size": c.size, "failed": c.failed,
                "nanoseconds": c.failed.is_none().then_some(c.nanoseconds),
                "fuel": c.usage.map(|u| u.fuel), "memory-bytes": c.usage.map(|u| u.memory_bytes),
            })
        };
        let d = &self.plugin.descriptor;
        json!({
            "kind": d.kind.name(), "name": d.name, "version": d.version, "form": d.artifact.name(),
            "digest": self.plugin.digest, "isolation": self.isolation.map(Isolation::name),
            "load-cold-seconds": self.load_cold.as_secs_f64(),
            "load-cached-seconds": self.load_again.as_secs_f64(), "first-call-seconds": self.first_call.as_secs_f64(),
            "calls": self.calls.iter().map(call).collect::<Vec<_>>(),
        })
    }
}

/// A folder that is removed when it is dropped, for loads without a cache.
pub struct Scratch(std::path::PathBuf);

impl Scratch {
    pub fn new(beside: &Path) -> Self {
        Scratch(beside.join(format!("bench-{}", std::process::id())))
    }

    /// Empties the folder.
    pub fn clear(&self) -> &Path {
        let _ = std::fs::remove_dir_all(&self.0);
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.clear();
    }
}
