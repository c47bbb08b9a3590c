//! The measurement behind RESULTS.md: every method over the same seeds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use creamery::config::RunConfig;
use creamery::report::Progress;
use creamery::round::{self, Agreement, RoundSummary, RunSummary};
use creamery::{Error, Result};
use serde_json::json;

use crate::configs;
use crate::interval::{difference, interval, mean_and_half_width};

/// What was found about each method, in a sentence; written by hand after looking at the numbers.
const FINDINGS: &str = include_str!("../findings.toml");

/// A method's runs, one a seed.
struct Measured {
    name: &'static str,
    config: RunConfig,
    runs: Vec<RunSummary>,
}

/// Runs the methods and gives the page of their results.
pub fn measure(root: &Path, methods: impl Iterator<Item = &'static str>, seeds: &[u64]) -> Result<String> {
    if seeds.len() < 2 {
        return Err(Error::config("an interval needs at least two seeds"));
    }
    let mut all = Vec::new();
    for name in methods {
        let mut runs = Vec::new();
        for seed in seeds {
            let sets = [format!("seed={seed}"), format!("out=../../.creamery/methods/{name}-{seed}")];
            let config = configs::load(root, name, &sets)?;
            let summary = round::run(&config, &mut Progress::silent())
                .map_err(|e| e.context(format!("running {name} with seed {seed}")))?;
            eprintln!("{name} seed {seed}: {:.1} s", seconds(&summary));
            eprintln!("{}", summary.table());
            runs.push(summary);
        }
        all.push(Measured { name, config: configs::load(root, name, &[])?, runs });
    }
    page(&all, seeds)
}

fn page(all: &[Measured], seeds: &[u64]) -> Result<String> {
    let Some(first) = all.first().map(|m| &m.runs[0]) else { return Err(Error::config("no method is named")) };
    let rows = first.models[0].accuracy.as_ref().map_or(0, |a| a.rows);
    let mut page = format!(
        "# What the methods do on the quickstart's world\n\n\
         Made by `cargo methods run`: seeds {}, mean ± half width of the 95 % confidence interval (Student's t over \
         seeds, so wide for so few). A seed decides the order of training and every sample; M0 and the data are the \
         same, and all methods share M1 of their seed. Accuracy is on {rows} held-out rows, which nothing but \
         evaluation reads. A difference is bold where its interval excludes 0. None of the methods had a search of \
         its own: they share the quickstart's kind of settings, so this shows what each method does, not how far it \
         can be brought.\n\n",
        seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
    );
    let findings = read_findings()?;
    if let Some(text) = findings.get("all") {
        let _ = writeln!(page, "{}\n", text.trim());
    }
    accuracy(&mut page, all)?;
    rounds(&mut page, all)?;
    judges(&mut page, all)?;
    reasons(&mut page, all, &findings);
    Ok(page)
}

fn accuracy(page: &mut String, all: &[Measured]) -> Result<()> {
    let models = all[0].runs[0].models.len();
    let last = models - 1;
    for (title, value) in [("Sampled accuracy", sampled as fn(&RunSummary, usize) -> f64), ("Greedy accuracy", greedy)]
    {
        let names: Vec<String> = (0..models).map(|m| format!("M{m}")).collect();
        let _ = writeln!(page, "## {title}\n\n| method | {} | M{last} − M1 | |", names.join(" | "));
        let _ = writeln!(page, "|---|{}---|---|", "---|".repeat(models));
        for Measured { name, runs, .. } in all {
            let _ = write!(page, "| `{name}` |");
            for m in 0..models {
                let _ = write!(page, " {} |", interval(runs.iter().map(|r| value(r, m)))?);
            }
            let differences = || runs.iter().map(|r| value(r, last) - value(r, 1));
            let (mean, half) = mean_and_half_width(differences())?;
            let harm = if mean < -half { "does harm" } else { "" };
            let _ = writeln!(page, " {} | {harm} |", difference(differences())?);
        }
        page.push('\n');
    }
    Ok(())
}

fn rounds(page: &mut String, all: &[Measured]) -> Result<()> {
    let count = all[0].runs[0].rounds.len();
    let header = |what: &str| (1..=count).map(|t| format!(" {what}, round {t} |")).collect::<String>();
    let _ = writeln!(
        page,
        "## Rounds\n\n\
         Consistency is the mean C as the regularizer reports it; a dash where it reports none; `none` and the like report it without using it. Ranking accuracy: of \
         the evaluation pairs with exactly one right response, the share whose chosen response is the right one. \
         Pairs, pairs of judgments, drops and abstentions (over all viewpoints) are of both rounds together, means \
         over the seeds. Seconds are those of all stages of a run, shared ones included, on two cores beside other \
         work: a rough indication.\n"
    );
    let _ = writeln!(
        page,
        "| method |{}{} pairs | pairs of judgments | drops | abstentions | seconds |",
        header("consistency"),
        header("ranking accuracy")
    );
    let _ = writeln!(page, "|---|{}---|---|---|---|---|", "---|".repeat(2 * count));
    for Measured { name, runs, .. } in all {
        let _ = write!(page, "| `{name}` |");
        for t in 0..count {
            let _ = write!(page, " {} |", known(runs.iter().map(|r| r.rounds[t].consistency))?);
        }
        for t in 0..count {
            let accuracy = |r: &RunSummary| r.rounds[t].ranking_accuracy.as_ref().map(|a| a.accuracy);
            let _ = write!(page, " {} |", known(runs.iter().map(accuracy))?);
        }
        let total = |of: &dyn Fn(&RoundSummary) -> f64| -> f64 {
            runs.iter().flat_map(|r| &r.rounds).map(of).sum::<f64>() / runs.len() as f64
        };
        let judged = |r: &RoundSummary| json!(r)["labels"]["judge_pairs"]["pairs"].as_f64().unwrap_or(0.0);
        let _ = writeln!(
            page,
            " {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            total(&|r| r.pairs as f64),
            total(&judged),
            total(&|r| r.drops() as f64),
            total(&|r| r.abstentions() as f64),
            runs.iter().map(seconds).sum::<f64>() / runs.len() as f64,
        );
    }
    page.push('\n');
    Ok(())
}

fn judges(page: &mut String, all: &[Measured]) -> Result<()> {
    let count = all[0].runs[0].rounds.len();
    let header = |what: &str| (1..=count).map(|t| format!(" {what}, round {t} |")).collect::<String>();
    let _ = writeln!(
        page,
        "## Judges\n\n\
         Agreement with the truth: of the pairs of a right and a wrong response to one held-out prompt, the share in \
         which the right one has the better score, ties half (0.5 is chance). No score: the share of responses on which \
         the judge abstained.\n\n\
         | method | judge | viewpoint |{}{}",
        header("agreement"),
        header("no score")
    );
    let _ = writeln!(page, "|---|---|---|{}", "---|".repeat(2 * count));
    for Measured { name, config, runs } in all {
        let judge = configs::parts(config).judge;
        // The first is the one that decides.
        for viewpoint in config.viewpoints.iter().map(|v| &v.name) {
            let value = |t: usize, of: fn(&Agreement) -> Option<f64>| {
                known(runs.iter().map(|r| r.rounds[t].agreement.get(viewpoint).and_then(of)))
            };
            let _ = write!(page, "| `{name}` | {judge} | {viewpoint} |");
            for t in 0..count {
                let _ = write!(page, " {} |", value(t, |a| (a.pairs > 0).then_some(a.agreement))?);
            }
            for t in 0..count {
                let _ = write!(page, " {} |", value(t, |a| Some(a.unscored))?);
            }
            page.push('\n');
        }
    }
    page.push('\n');
    Ok(())
}

fn reasons(page: &mut String, all: &[Measured], findings: &BTreeMap<String, String>) {
    let _ = writeln!(page, "## What was found\n\n| method | |\n|---|---|");
    for Measured { name, .. } in all {
        if let Some(sentence) = findings.get(*name) {
            let _ = writeln!(page, "| `{name}` | {sentence} |");
        }
    }
}

fn read_findings() -> Result<BTreeMap<String, String>> {
    let findings = toml::from_str(FINDINGS);
    findings.map_err(|e| Error::input(format!("not a table of sentences: {}", e.message())).file("findings.toml"))
}

fn sampled(run: &RunSummary, model: usize) -> f64 {
    run.models[model].accuracy.as_ref().map_or(f64::NAN, |a| a.sampled)
}

fn greedy(run: &RunSummary, model: usize) -> f64 {
    run.models[model].accuracy.as_ref().map_or(f64::NAN, |a| a.greedy)
}

/// What the run would take by itself: stages that it found in the store count as what their making took.
fn seconds(run: &RunSummary) -> f64 {
    run.timings.iter().map(|t| t.seconds).sum()
}

/// The interval of the values that are there; a dash for fewer than two.
fn known(values: impl Iterator<Item = Option<f64>>) -> Result<String> {
    let values: Vec<f64> = values.flatten().collect();
    if values.len() < 2 { Ok("–".into()) } else { interval(values.into_iter()) }
}
