//! The report as one HTML page that needs nothing else: styles, script and drawings are in it, and a policy in its head
//! lets it load nothing. Whatever runs, models and plugins wrote stands in it as text.

use std::collections::BTreeMap;

use minijinja::value::{Serde, Value as Safe};
use minijinja::{AutoEscape, Environment};

use super::Report;
use super::charts::{self, Dot, LineChart, Place, Point, STYLES, Series, Width};
use super::compare::{Comparison, left_out};
use super::metric::{At, Metric, four_digits, show_p};
use super::rounds::{ByRound, Curve, Value};
use super::statistics::{Interval, RESAMPLES};
use super::views::{
    ArmView, ComparisonView, CostView, CurveView, LegendView, Page, PluginView, RoundView, RowView, RunView,
};
use crate::error::{Error, Result};

const TEMPLATE: &str = include_str!("page/report.html");
const STYLE: &str = include_str!("page/style.css");
const EARLY: &str = include_str!("page/early.js");
const SCRIPT: &str = include_str!("page/report.js");

/// Arms of the first table that are shown at once.
const FOLD: usize = 30;
/// Rows of the tables behind charts.
const ROWS: usize = 40;
/// Rows of the tables of provenance.
const MANY: usize = 1_000;

/// The page.
///
/// # Errors
/// None that a run folder can cause: only a template that does not fit this program.
pub fn page(report: &Report) -> Result<String> {
    let json = serde_json::to_string(&report.samples.rows)
        .map_err(|e| Error::run(format!("the samples cannot be written as JSON: {e}")))?;
    // Nothing in a text may end the script that holds it.
    let json = json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    let view = view(report, json);
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let failed = |e: minijinja::Error| Error::run(format!("the page cannot be written: {e:#}"));
    environment.add_template("report", TEMPLATE).map_err(failed)?;
    let template = environment.get_template("report").map_err(failed)?;
    template.render(Serde(view)).map_err(failed)
}

fn view(report: &Report, json: String) -> Page {
    let Report { experiment, comparisons, drawn, rounds, curves, samples, provenance, .. } = report;
    let first = &comparisons[0];
    let base = &experiment.arms[experiment.baseline].name;
    let runs = experiment.runs().count();
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let facts = [
        count(experiment.arms.len(), "arm"),
        count(runs, "run"),
        format!("baseline {base}"),
        format!("compared by {}", first.metric.title),
    ];
    let mut remarks = first.remarks();
    remarks.extend(left_out(experiment));
    remarks.extend(experiment.notes.iter().cloned());
    let damaged = experiment.runs().filter(|run| !run.notes.is_empty()).count();
    if damaged > 0 {
        remarks.push(format!("{} could not be read in full; see Runs.", count(damaged, "run folder")));
    }
    let all = if drawn.len() < experiment.arms.len() {
        format!(" Drawn are the baseline and the best {} of {} arms.", drawn.len() - 1, experiment.arms.len())
    } else {
        String::new()
    };
    let (pareto, costs) = cost(report);
    let sample_total = samples.rows.len();
    let samples_note = format!(
        "{sample_total} of {} groups, from the first seed of {}: most taken evenly, a quarter of them chosen because viewpoints differ or the group was dropped. Rounds show what was trained on; their evaluation, marked as such, is of held-out prompts and knows which answers are right.{}",
        samples.of,
        if drawn.len() < experiment.arms.len() { "each arm drawn" } else { "each arm" },
        match samples.rows.iter().any(|row| !row.said.is_empty()) {
            true => " What the judges’ models wrote stands below a group whose prompt their question quotes.",
            false =>
                " No judge’s writing is shown: these judges asked for no text, or the runs are of a version that did not keep it.",
        }
    );
    let missing: Vec<String> =
        Metric::all().filter(|m| !rounds.iter().any(|r| r.metric == *m)).map(|m| m.title).collect();
    let missing =
        if missing.is_empty() { String::new() } else { format!("Not in these runs: {}.", missing.join(", ")) };
    let constant: Vec<String> =
        rounds.iter().filter_map(|r| Some(format!("{} {}", r.metric.title, r.metric.show(r.constant()?)))).collect();
    let constant = match constant.is_empty() {
        true => String::new(),
        false => format!("The same in every arm and round: {}.", constant.join(", ")),
    };
    Page {
        title: experiment.title.clone(),
        version: env!("CARGO_PKG_VERSION"),
        nonce: blake3::hash(format!("{json}{}{}", provenance.config, facts.join(""),).as_bytes()).to_hex()[..32]
            .to_owned(),
        style: Safe::from_safe_string(STYLE.to_owned()),
        early: Safe::from_safe_string(EARLY.to_owned()),
        script: Safe::from_safe_string(SCRIPT.to_owned()),
        sections: vec![
            ("answer", "Answer"),
            ("rounds", "Rounds"),
            ("losses", "Losses"),
            ("cost", "Cost"),
            ("samples", "Samples"),
            ("provenance", "Provenance"),
        ],
        facts: facts.join(" · "),
        question: match experiment.arms.len() {
            1 => "How good is it?".into(),
            _ => "Which arm is better, and by how much?".into(),
        },
        answer: split(&first.answer()),
        remarks,
        resamples: RESAMPLES,
        comparisons: comparisons.iter().map(|c| comparison(report, c)).collect(),
        legend: drawn
            .iter()
            .enumerate()
            .map(|(style, arm)| LegendView {
                key: Safe::from_safe_string(charts::key(style)),
                name: experiment.arms[*arm].name.clone(),
                baseline: *arm == experiment.baseline,
            })
            .collect(),
        rounds_note: format!(
            "Means over seeds; bands and whiskers are 95 % intervals. Round t makes model M(t+1) of M(t); rewards and losses are means over the last tenth of a round’s steps. Unfinished runs count as far as they have come.{all}"
        ),
        rounds: rounds.iter().filter(|r| r.constant().is_none()).map(|r| round(report, r)).collect(),
        rounds_missing: [constant, missing].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" "),
        curves_note: format!(
            "Mean training loss over seeds by step, with 95 % intervals.{}{all}",
            if curves.iter().any(|c| c.thinned) { " A point stands for several steps." } else { "" }
        ),
        curves: curves.iter().map(|c| curve(report, c)).collect(),
        pareto,
        pareto_note: String::new(),
        metric: first.metric.title.clone(),
        cost_cut: if costs.len() > ROWS {
            format!("; the first {ROWS} arms, all are in the CSV")
        } else {
            String::new()
        },
        costs: costs.into_iter().take(ROWS).collect(),
        sample_count: sample_total,
        samples_note,
        sample_notes: samples.notes.clone(),
        samples_json: Safe::from_safe_string(json),
        commands: provenance.commands.clone(),
        tensorboard: provenance.tensorboard,
        run_note: if provenance.runs.len() > MANY {
            format!("The first {MANY} of {runs} runs")
        } else {
            count(runs, "run")
        },
        runs: provenance
            .runs
            .iter()
            .take(MANY)
            .map(|r| RunView {
                arm: r.arm.clone(),
                seed: r.seed,
                state: r.state.clone(),
                folder: r.folder.clone(),
                made_by: r.made_by.clone(),
                model: r.model.clone(),
                notes: r.notes.clone(),
            })
            .collect(),
        plugins: provenance
            .plugins
            .iter()
            .take(MANY)
            .map(|(arms, part, p)| PluginView {
                name: p.name.clone(),
                part: part.clone(),
                version: p.version.clone(),
                form: p.artifact.clone(),
                arms: arms.clone(),
                params: if p.params.is_null() { "–".into() } else { p.params.to_string() },
                digest: p.digest.clone(),
            })
            .collect(),
        baseline: base.clone(),
        differences_cut: if provenance.differences.len() > MANY {
            format!("; the first {MANY}")
        } else {
            String::new()
        },
        differences: provenance.differences.iter().take(MANY).cloned().collect(),
        config: provenance.config.clone(),
        artifacts: provenance.artifacts.clone(),
    }
}

fn comparison(report: &Report, comparison: &Comparison) -> ComparisonView {
    let experiment = &report.experiment;
    let metric = &comparison.metric;
    let dash = || "–".to_owned();
    let order = comparison.order();
    let style = |arm: usize| report.drawn.iter().position(|drawn| *drawn == arm);
    let mut best = true;
    let rows: Vec<ArmView> = order
        .iter()
        .enumerate()
        .map(|(place, number)| {
            let arm = &comparison.arms[*number];
            let base = *number == comparison.baseline;
            let difference = arm.difference.as_ref();
            let leads = std::mem::take(&mut best) && comparison.arms.len() > 1 && arm.mean.is_some();
            let class = match (place >= FOLD && !base, leads) {
                (true, _) => "more",
                (_, true) => "best",
                _ => "",
            };
            let mean = match (arm.mean, arm.interval, arm.row_error) {
                (None, ..) => "no value".to_owned(),
                (Some(mean), None, Some(error)) => format!("{} ± {}", metric.bare(mean), metric.bare(error)),
                (Some(mean), ..) => metric.bare(mean),
            };
            let without =
                if arm.without > 0 { format!(" (of {})", arm.values.len() + arm.without) } else { String::new() };
            let range = |interval: Option<Interval>| interval.map_or_else(dash, |i| comparison.difference_range(&i));
            ArmView {
                class,
                key: style(*number).map(|style| Safe::from_safe_string(charts::key(style))),
                name: arm.name.clone(),
                baseline: base,
                n: format!("{}{without}", arm.values.len()),
                mean,
                interval: match (arm.interval, arm.values.len()) {
                    (Some(interval), _) => comparison.range(&interval),
                    (None, 1) => "one seed".into(),
                    _ => dash(),
                },
                difference: difference.map_or_else(dash, |d| metric.difference(d.mean)),
                difference_interval: range(difference.and_then(|d| d.interval)),
                bootstrap: range(difference.and_then(|d| d.bootstrap)),
                p: difference.and_then(|d| d.p).map_or_else(dash, show_p),
                adjusted: difference.and_then(|d| d.adjusted).map_or_else(dash, show_p),
            }
        })
        .collect();
    let mut seeds: Vec<u64> = comparison.arms.iter().flat_map(|arm| arm.values.keys().copied()).collect();
    seeds.sort_unstable();
    seeds.dedup();
    seeds.truncate(MANY / 20);
    let by_seed = order.iter().take(ROWS).map(|number| {
        let arm = &comparison.arms[*number];
        let cell = |seed: &u64| {
            let value = arm.values.get(seed).map_or_else(dash, |x| metric.bare(*x));
            let difference = arm.difference.as_ref().and_then(|d| d.by_seed.get(seed));
            (value, difference.map_or_else(String::new, |x| metric.difference(*x)))
        };
        RowView { name: arm.name.clone(), cells: seeds.iter().map(cell).collect() }
    });
    let by_seed = by_seed.collect();
    let baseline = experiment.arms[comparison.baseline].name.clone();
    let unit = if metric.unit == super::metric::Unit::Share { ", %" } else { "" };
    let difference_unit = match metric.difference_unit() {
        "" => String::new(),
        unit => format!(", {unit}"),
    };
    let places = match metric.at {
        At::Model => "of each run’s last model",
        At::Round => "in each run’s last round",
    };
    ComparisonView {
        heading: capital(&metric.title),
        note: format!("{places}, best first"),
        answer: comparison.answer(),
        unit,
        difference_unit,
        chart: dot_chart(report, comparison, &order),
        caption: "Dots are means over seeds, lines their 95 % intervals, the small strokes below single runs; the dashed line is the baseline. Intervals that overlap say little: the paired differences in the table take out what the seeds share.".into(),
        hidden: rows.iter().any(|row| row.class == "more"),
        count: rows.len(),
        rows,
        cut: if comparison.arms.len() > ROWS { format!("; the best {ROWS} arms, all are in the CSV") } else { String::new() },
        seeds,
        by_seed,
        baseline,
    }
}

fn dot_chart(report: &Report, comparison: &Comparison, order: &[usize]) -> Option<Safe> {
    let style = |arm: usize| report.drawn.iter().position(|drawn| *drawn == arm);
    // Arms of other metrics' order keep the colours of the first.
    let rows: Vec<Dot> = order
        .iter()
        .filter_map(|number| {
            let arm = &comparison.arms[*number];
            Some(Dot {
                name: arm.name.clone(),
                style: style(*number)?,
                value: arm.mean?,
                interval: arm.interval,
                values: if arm.values.len() > 1 { arm.values.values().copied().collect() } else { Vec::new() },
                baseline: *number == comparison.baseline && comparison.arms.len() > 1,
            })
        })
        .collect();
    let title = format!("{} by arm", capital(&comparison.metric.title));
    let said: Vec<String> =
        rows.iter().map(|row| format!("{} {}", row.name, comparison.metric.show(row.value))).collect();
    let draw = |width| charts::dots(&comparison.metric, &title, &said.join(", "), &rows, width);
    both(draw(Width::Wide), draw(Width::Narrow))
}

/// A drawing for a desk and one for a phone, of which the page shows one.
fn both(wide: Option<String>, narrow: Option<String>) -> Option<Safe> {
    let (wide, narrow) = (wide?, narrow?);
    Some(Safe::from_safe_string(format!(r#"<div class="on-desk">{wide}</div><div class="on-phone">{narrow}</div>"#)))
}

fn round(report: &Report, by_round: &ByRound) -> RoundView {
    let experiment = &report.experiment;
    let metric = &by_round.metric;
    let series = report.drawn.iter().enumerate().map(|(style, arm)| Series {
        name: experiment.arms[*arm].name.clone(),
        style,
        points: points(&by_round.arms[*arm]),
    });
    let names = by_round.places.iter().map(|at| match metric.at {
        At::Model => (f64::from(*at), format!("M{at}")),
        At::Round => (f64::from(*at), at.to_string()),
    });
    let title = capital(&metric.title);
    let chart = LineChart {
        metric,
        description: format!(
            "{} lines over {}",
            report.drawn.len(),
            if metric.at == At::Model { "models" } else { "rounds" }
        ),
        title: match metric.at {
            At::Model => format!("{title} by model"),
            At::Round => format!("{title} by round"),
        },
        series: series.filter(|s| !s.points.is_empty()).collect(),
        names: names.collect(),
        markers: true,
    };
    let cell = |value: Option<&Value>| match value {
        None => ("–".to_owned(), String::new()),
        Some(v) => {
            let range = v.interval.map(|i| format!("{} … {}", metric.bare(i.low), metric.bare(i.high)));
            (metric.bare(v.mean), range.unwrap_or_default())
        }
    };
    let row = |arm: &usize| RowView {
        name: experiment.arms[*arm].name.clone(),
        cells: by_round.places.iter().map(|at| cell(by_round.arms[*arm].get(at))).collect(),
    };
    RoundView {
        title: match metric.unit {
            super::metric::Unit::Share => format!("{title}, %"),
            _ => title,
        },
        chart: chart.svg().map(Safe::from_safe_string),
        places: by_round.places.iter().map(|at| by_round.place(*at)).collect(),
        rows: report.order.iter().take(ROWS).map(row).collect(),
        cut: if experiment.arms.len() > ROWS {
            format!("; the best {ROWS} arms, all are in the CSV")
        } else {
            String::new()
        },
    }
}

fn curve(report: &Report, curve: &Curve) -> CurveView {
    let metric = Metric::named("loss");
    let series = report.drawn.iter().enumerate().zip(&curve.arms).map(|((style, arm), values)| Series {
        name: report.experiment.arms[*arm].name.clone(),
        style,
        points: points(values),
    });
    let title = capital(&curve.title());
    let chart = LineChart {
        metric: &metric,
        title: format!("Loss of {}", curve.title()),
        description: format!("{} lines over training steps", report.drawn.len()),
        series: series.filter(|s| !s.points.is_empty()).collect(),
        names: Vec::new(),
        markers: false,
    };
    CurveView { title, chart: chart.svg().map(Safe::from_safe_string) }
}

fn points(values: &BTreeMap<u32, Value>) -> Vec<Point> {
    values.iter().map(|(at, v)| Point { x: f64::from(*at), y: v.mean, interval: v.interval }).collect()
}

fn cost(report: &Report) -> (Option<Safe>, Vec<CostView>) {
    let metric = &report.comparisons[0].metric;
    let places = report.costs();
    let list: Vec<Place> = places
        .iter()
        .map(|(arm, cost)| {
            let result = &report.comparisons[0].arms[*arm];
            Place {
                name: result.name.clone(),
                style: report.drawn.iter().position(|drawn| drawn == arm).filter(|style| *style < STYLES),
                cost: *cost,
                quality: result.mean.unwrap_or(f64::NAN),
                interval: result.interval,
                spread: result
                    .values
                    .values()
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(*x), h.max(*x))),
                baseline: *arm == report.experiment.baseline,
            }
        })
        .collect();
    let front = charts::front(metric, &list);
    let title = format!("Seconds against {}", metric.title);
    let names: Vec<&str> = front.iter().map(|i| list[*i].name.as_str()).take(12).collect();
    let description = format!("{} arms; on the front: {}", list.len(), names.join(", "));
    let draw = |width| charts::pareto(metric, &title, &description, &list, width);
    let chart = both(draw(Width::Wide), draw(Width::Narrow));
    let view = |(i, place): (usize, &Place)| CostView {
        name: place.name.clone(),
        seconds: four_digits(place.cost),
        quality: metric.show(place.quality),
        front: front.contains(&i),
    };
    (chart, list.iter().enumerate().map(view).collect())
}

/// An answer without its last words in brackets, and these.
fn split(answer: &str) -> (String, String) {
    match answer.rsplit_once(" (") {
        Some((said, ground)) if ground.ends_with(").") => {
            (format!("{said}."), ground.trim_end_matches(").").to_owned())
        }
        _ => (answer.to_owned(), String::new()),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}
