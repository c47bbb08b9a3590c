//! A dot and its interval for each arm: the picture of the answer.

use super::super::metric::Metric;
use super::super::statistics::Interval;
use super::{Scale, Svg, Width, shortened};

const ROW: f64 = 26.0;
const TOP: f64 = 10.0;

/// An arm.
pub struct Dot {
    pub name: String,
    pub style: usize,
    pub value: f64,
    pub interval: Option<Interval>,
    /// Of single runs, faint behind the dot.
    pub values: Vec<f64>,
    pub baseline: bool,
}

/// One row for each arm, in the given order; a line down from the baseline's dot.
pub fn dots(metric: &Metric, title: &str, description: &str, rows: &[Dot], width: Width) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let (width, most) = match width {
        Width::Wide => (640.0, 30),
        Width::Narrow => (340.0, 13),
    };
    let longest = rows.iter().map(|row| row.name.chars().count().min(most)).max().unwrap_or(0) as f64;
    let left = 16.0 + 7.3 * longest;
    let height = TOP + ROW * rows.len() as f64 + 28.0;
    let values = rows.iter().flat_map(|row| row.values.iter().copied().chain([row.value]));
    let own = Scale::new(values.clone(), left + 10.0, width - 70.0);
    let room = own.high - own.low;
    let ends = rows.iter().filter_map(|row| row.interval).flat_map(|i| [i.low, i.high]);
    let ends: Vec<f64> = ends.map(|end| end.clamp(own.low - room, own.high + room)).collect();
    let x = Scale::new(values.chain(ends), left + 10.0, width - 70.0).within(metric.limits());
    let mut svg = Svg::new(width, height, title, description);
    let foot = TOP + ROW * rows.len() as f64;
    let marks = if width > 400.0 { 5 } else { 3 };
    for (tick, text) in x.ticks(marks, metric.times()) {
        svg.line("grid", (x.at(tick), TOP), (x.at(tick), foot));
        svg.label("tick", (x.at(tick), foot + 16.0), "middle", &text);
    }
    if let Some(base) = rows.iter().find(|row| row.baseline) {
        svg.line("base", (x.at(base.value), TOP - 4.0), (x.at(base.value), foot));
    }
    for (i, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (i as f64 + 0.5);
        let class = if row.baseline { "arm strong" } else { "arm" };
        svg.label(class, (left, y + 4.0), "end", &shortened(&row.name, most));
        let within = |v: f64| x.at(v.clamp(x.low, x.high));
        if let Some(interval) = row.interval {
            let (low, high) = (within(interval.low), within(interval.high));
            svg.line(&format!("whisker c{}", row.style), (low, y), (high, y));
            for (end, shown) in [(low, interval.low >= x.low), (high, interval.high <= x.high)] {
                if shown {
                    svg.line(&format!("whisker c{}", row.style), (end, y - 4.0), (end, y + 4.0));
                }
            }
        }
        for value in &row.values {
            svg.line(&format!("tickmark c{}", row.style), (x.at(*value), y + 6.0), (x.at(*value), y + 10.0));
        }
        let range = row.interval.map(|i| format!(", 95 % CI {} … {}", metric.bare(i.low), metric.bare(i.high)));
        svg.marker(
            row.style,
            (x.at(row.value), y),
            4.6,
            &format!("{}: {}{}", row.name, metric.show(row.value), range.unwrap_or_default()),
        );
        svg.label("value", (width - 4.0, y + 4.0), "end", &metric.show(row.value));
    }
    Some(svg.finish())
}
