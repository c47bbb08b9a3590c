//! A snapshot as plain text and as JSON: for pipes, scripts and terminals that cannot move their cursor.

use serde_json::{Value, json};

use super::place::Sweep;
use super::results::ModelRow;
use super::{Snapshot, clean};
use crate::report::Table;
use crate::report::live::{StageRecord, StageState};

/// A run, in a few tables.
pub fn text(snapshot: &Snapshot) -> String {
    let mut text = format!("{}\n{}\n", headline(snapshot), clean(&snapshot.folder.to_string_lossy()));
    if let Some(error) = &snapshot.error {
        text += &format!("\nerror: {}\n", indented(error));
    }
    if !snapshot.stages.is_empty() {
        let mut table = Table::new(&["stage", "state", "done", "seconds", "a second"]);
        for stage in &snapshot.stages {
            let seconds = if stage.seconds > 0.0 { format!("{:.1}", stage.seconds) } else { String::new() };
            table.row([clean(&stage.label), word(stage), share(stage), seconds, rates(stage)]);
        }
        text += &format!("\n{}", table.render());
    }
    if !snapshot.models.is_empty() {
        let mut table = Table::new(&MODEL_COLUMNS);
        snapshot.models.iter().for_each(|model| {
            table.row(model_row(model));
        });
        let earlier = if snapshot.earlier_results { "results of an earlier call:\n" } else { "" };
        text += &format!("\n{earlier}{}", table.render());
    }
    let last: Vec<_> = snapshot.curves.iter().filter_map(|c| Some((c, c.points.last()?))).collect();
    if !last.is_empty() {
        let mut table = Table::new(&["training", "metric", "step", "value"]);
        for (curve, (step, value)) in last {
            table.row([clean(&curve.stage), clean(&curve.metric), step.to_string(), format!("{value:.4}")]);
        }
        text += &format!("\n{}", table.render());
    }
    if !snapshot.samples.is_empty() {
        text += "\nlast samples:\n";
        for sample in &snapshot.samples {
            text += &format!("  {} → {}\n", clean(&sample.prompt), clean(&sample.response));
        }
    }
    let warned = snapshot.warned.saturating_sub(snapshot.warnings.len() as u64);
    if warned > 0 {
        text += &format!("\n{warned} earlier warnings\n");
    }
    for (what, words) in snapshot.warnings.iter().map(|w| ("warning", w)).chain(unreadable(snapshot)) {
        text += &format!("\n{what}: {}\n", indented(words));
    }
    text
}

/// A sweep's runs, one a line.
pub fn sweep(sweep: &Sweep) -> String {
    let mut table = Table::new(&["arm", "seed", "state", "stages", "now"]);
    for run in &sweep.runs {
        let snapshot = Snapshot::of(&run.folder);
        let [state, stages, now] = in_short(&snapshot);
        table.row([clean(&run.arm), run.seed.to_string(), state, stages, now]);
    }
    format!("{}: {} runs\n\n{}", clean(&sweep.name), sweep.runs.len(), table.render())
}

/// A sweep's runs for programs.
pub fn sweep_json(sweep: &Sweep) -> Value {
    let run = |run: &super::place::SweepRun| {
        let snapshot = Snapshot::of(&run.folder);
        let (done, all) = snapshot.progress();
        json!({
            "arm": run.arm, "seed": run.seed, "folder": run.folder.to_string_lossy(), "state": snapshot.state,
            "stages_done": done, "stages": all, "error": snapshot.error,
        })
    };
    json!({ "sweep": sweep.name, "runs": sweep.runs.iter().map(run).collect::<Vec<_>>() })
}

/// State, stages done, and what is worked on.
pub(super) fn in_short(snapshot: &Snapshot) -> [String; 3] {
    let (done, all) = snapshot.progress();
    let stages = if all > 0 { format!("{done}/{all}") } else { String::new() };
    let now = match (&snapshot.error, snapshot.present()) {
        (Some(error), _) => clean(error.lines().next().unwrap_or_default()),
        (None, Some(stage)) => format!("{} {}", clean(&stage.label), share(stage)).trim_end().to_owned(),
        (None, None) => String::new(),
    };
    [snapshot.state.word().to_owned(), stages, now]
}

/// "quickstart, seed 0: running for 42 s, 5 of 31 stages, process 1234"
pub(super) fn headline(snapshot: &Snapshot) -> String {
    let mut line = snapshot.name.as_deref().map_or_else(|| "run".to_owned(), clean);
    if let Some(seed) = snapshot.seed {
        line += &format!(", seed {seed}");
    }
    line += &format!(": {}", snapshot.state.word());
    use super::State::{Dead, Failed, Finished, Running};
    match (snapshot.state, snapshot.seconds) {
        (Running, Some(seconds)) => line += &format!(" for {}", duration(seconds)),
        (Finished | Failed | Dead, Some(seconds)) => line += &format!(" after {}", duration(seconds)),
        _ => {}
    }
    let (done, all) = snapshot.progress();
    if all > 0 {
        line += &format!(", {done} of {all} stages");
    }
    match (snapshot.state, snapshot.process) {
        (Running, Some(id)) => line += &format!(", process {id}"),
        (Dead, Some(id)) => line += &format!(", process {id} is gone"),
        _ => {}
    }
    line
}

pub(super) const MODEL_COLUMNS: [&str; 7] =
    ["model", "pairs", "consistency", "ranking acc.", "sampled acc.", "greedy acc.", "loss"];

pub(super) fn model_row(model: &ModelRow) -> [String; 7] {
    let none = || "–".to_owned();
    let share = |pair: Option<(f64, f64)>| pair.map_or_else(none, |(x, e)| format!("{x:.3} ± {e:.3}"));
    [
        clean(&model.name),
        model.pairs.map_or_else(none, |n| n.to_string()),
        model.consistency.map_or_else(none, |c| format!("{c:.3}")),
        share(model.ranking_accuracy),
        share(model.sampled_accuracy),
        share(model.greedy_accuracy),
        model.first_loss.zip(model.last_loss).map_or_else(none, |(a, b)| format!("{a:.4} → {b:.4}")),
    ]
}

pub(super) fn word(stage: &StageRecord) -> String {
    let word = match stage.state {
        StageState::Pending => "to come",
        StageState::Running => "running",
        StageState::Done => "done",
        StageState::Reused => "reused",
        StageState::Failed => "failed",
    };
    word.to_owned()
}

/// "120/400"
pub(super) fn share(stage: &StageRecord) -> String {
    match (stage.all, stage.unit.as_str()) {
        (0, _) => String::new(),
        (all, "bytes") => format!("{:.1}/{:.1} MB", stage.done as f64 / 1e6, all as f64 / 1e6),
        (all, _) => format!("{}/{all}", stage.done),
    }
}

/// "12.5 rows, 4300 tokens"
pub(super) fn rates(stage: &StageRecord) -> String {
    let mut words = Vec::new();
    if stage.rate > 0.0 {
        words.push(match stage.unit.as_str() {
            "bytes" => format!("{:.1} MB", stage.rate / 1e6),
            unit => format!("{} {}", number(stage.rate), clean(unit)),
        });
    }
    if stage.tokens_per_second > 0.0 {
        words.push(format!("{} tokens", number(stage.tokens_per_second)));
    }
    words.join(", ")
}

fn number(x: f64) -> String {
    if x < 100.0 { format!("{x:.1}") } else { format!("{x:.0}") }
}

/// "42 s", "3 min 5 s", "2 h 10 min"
pub(super) fn duration(seconds: f64) -> String {
    let s = seconds as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

pub(super) fn unreadable(snapshot: &Snapshot) -> impl Iterator<Item = (&'static str, &String)> {
    snapshot.unreadable.iter().map(|words| ("cannot be read", words))
}

/// The lines of a text, those after the first indented.
fn indented(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n  ")
}
