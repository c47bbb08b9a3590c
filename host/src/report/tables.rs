//! The report's tables as Markdown and as CSV.

use std::fmt::Write;

use super::Report;
use super::compare::{Comparison, left_out};
use super::metric::show_p;
use super::statistics::Interval;

/// The answer, and the tables of arms and of rounds.
pub fn markdown(report: &Report) -> String {
    let experiment = &report.experiment;
    let mut text = format!("# {}\n\n", plain(&experiment.title));
    let _ = writeln!(text, "{}\n", plain(&report.comparisons[0].answer()));
    let mut remarks = report.comparisons[0].remarks();
    remarks.extend(left_out(experiment));
    remarks.extend(experiment.notes.iter().cloned());
    for remark in &remarks {
        let _ = writeln!(text, "- {}", plain(remark));
    }
    for comparison in &report.comparisons {
        arms(&mut text, comparison);
    }
    text += "\n## By round\n\nMean over seeds and 95 % CI.\n";
    for by_round in &report.rounds {
        let places: Vec<String> = by_round.places.iter().map(|at| by_round.place(*at)).collect();
        let _ = write!(
            text,
            "\n| {} | {} |\n|---|{}\n",
            by_round.metric.title,
            places.join(" | "),
            "---:|".repeat(places.len())
        );
        for arm in &report.order {
            let cells = by_round.places.iter().map(|at| match by_round.arms[*arm].get(at) {
                None => "–".to_owned(),
                Some(v) => match v.interval {
                    Some(i) => format!(
                        "{} ({} … {})",
                        by_round.metric.bare(v.mean),
                        by_round.metric.bare(i.low),
                        by_round.metric.bare(i.high)
                    ),
                    None => by_round.metric.bare(v.mean),
                },
            });
            let _ = writeln!(
                text,
                "| {} | {} |",
                plain(&experiment.arms[*arm].name),
                cells.collect::<Vec<_>>().join(" | ")
            );
        }
    }
    text
}

fn arms(text: &mut String, comparison: &Comparison) {
    let metric = &comparison.metric;
    let base = &comparison.arms[comparison.baseline].name;
    let unit = if metric.unit == super::metric::Unit::Share { ", %" } else { "" };
    let _ = write!(
        text,
        "\n## {}{unit}\n\n| arm | seeds | mean | 95 % CI | against {} | 95 % CI, paired t | 95 % CI, bootstrap | p | p, Holm |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        metric.title,
        plain(base)
    );
    let dash = || "–".to_owned();
    for number in comparison.order() {
        let arm = &comparison.arms[number];
        let d = arm.difference.as_ref();
        let range = |i: Option<Interval>| i.map_or_else(dash, |i| comparison.difference_range(&i));
        let mean = match (arm.mean, arm.interval, arm.row_error) {
            (Some(mean), None, Some(error)) => format!("{} ± {} (over rows)", metric.bare(mean), metric.bare(error)),
            (mean, ..) => mean.map_or_else(dash, |m| metric.bare(m)),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {mean} | {} | {} | {} | {} | {} | {} |",
            plain(&arm.name),
            arm.values.len(),
            arm.interval.map_or_else(dash, |i| comparison.range(&i)),
            d.map_or_else(dash, |d| metric.difference(d.mean)),
            range(d.and_then(|d| d.interval)),
            range(d.and_then(|d| d.bootstrap)),
            d.and_then(|d| d.p).map_or_else(dash, show_p),
            d.and_then(|d| d.adjusted).map_or_else(dash, show_p),
        );
    }
}

/// Text that Markdown does not take for anything else.
fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // "p < 0.001" begins no tag.
            '<' if rest.peek() == Some(&' ') => safe.push(c),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '~' | '!' | '&' => safe.extend(['\\', c]),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// The columns of [`csv`].
const COLUMNS: [&str; 17] = [
    "table",
    "arm",
    "metric",
    "at",
    "seed",
    "n",
    "mean",
    "ci_low",
    "ci_high",
    "difference",
    "difference_n",
    "difference_ci_low",
    "difference_ci_high",
    "bootstrap_low",
    "bootstrap_high",
    "p",
    "p_holm",
];

/// One table (RFC 4180) in long form, numbers in full: rows "arm" compare the last values, rows "run" hold them by seed,
/// rows "round" are means by round or model, rows "cost" seconds of a run made alone.
pub fn csv(report: &Report) -> String {
    let mut text = String::new();
    line(&mut text, COLUMNS.map(str::to_owned));
    let number = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
    let ends = |i: Option<Interval>| (number(i.map(|i| i.low)), number(i.map(|i| i.high)));
    for comparison in &report.comparisons {
        for (place, arm) in comparison.arms.iter().enumerate() {
            let d = arm.difference.as_ref();
            let ((low, high), (d_low, d_high)) = (ends(arm.interval), ends(d.and_then(|d| d.interval)));
            let (b_low, b_high) = ends(d.and_then(|d| d.bootstrap));
            let key = comparison.metric.key.clone();
            let at = if place == comparison.baseline { "baseline" } else { "last" };
            line(
                &mut text,
                [
                    "arm".into(),
                    arm.name.clone(),
                    key.clone(),
                    at.into(),
                    String::new(),
                    arm.values.len().to_string(),
                    number(arm.mean),
                    low,
                    high,
                    number(d.map(|d| d.mean)),
                    d.map_or_else(String::new, |d| d.by_seed.len().to_string()),
                    d_low,
                    d_high,
                    b_low,
                    b_high,
                    number(d.and_then(|d| d.p)),
                    number(d.and_then(|d| d.adjusted)),
                ],
            );
            for (seed, value) in &arm.values {
                let difference = d.and_then(|d| d.by_seed.get(seed).copied());
                let mut cells = [const { String::new() }; 17];
                cells[..7].clone_from_slice(&[
                    "run".into(),
                    arm.name.clone(),
                    key.clone(),
                    "last".into(),
                    seed.to_string(),
                    "1".into(),
                    value.to_string(),
                ]);
                cells[9] = number(difference);
                line(&mut text, cells);
            }
        }
    }
    for by_round in &report.rounds {
        for (arm, values) in report.experiment.arms.iter().zip(&by_round.arms) {
            for (at, value) in values {
                let (low, high) = ends(value.interval);
                let mut cells = [const { String::new() }; 17];
                cells[..9].clone_from_slice(&[
                    "round".into(),
                    arm.name.clone(),
                    by_round.metric.key.clone(),
                    by_round.place(*at),
                    String::new(),
                    value.n.to_string(),
                    value.mean.to_string(),
                    low,
                    high,
                ]);
                line(&mut text, cells);
            }
        }
    }
    for (arm, seconds) in report.costs() {
        let mut cells = [const { String::new() }; 17];
        cells[0] = "cost".into();
        cells[1] = report.experiment.arms[arm].name.clone();
        cells[2] = "seconds_alone".into();
        cells[6] = seconds.to_string();
        line(&mut text, cells);
    }
    text
}

fn line(text: &mut String, cells: [String; 17]) {
    for (i, cell) in cells.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        if cell.contains(['"', ',', '\n', '\r']) || cell.starts_with(' ') || cell.ends_with(' ') {
            let _ = write!(text, "\"{}\"", cell.replace('"', "\"\""));
        } else {
            text.push_str(cell);
        }
    }
    text.push_str("\r\n");
}
