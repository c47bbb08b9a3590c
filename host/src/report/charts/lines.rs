//! Lines with bands: a metric by round, or a loss by step.

use super::super::metric::Metric;
use super::super::statistics::Interval;
use super::{Scale, Svg, shortened};

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 48.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;

/// A chart of a metric.
pub struct LineChart<'a> {
    pub metric: &'a Metric,
    pub title: String,
    pub description: String,
    pub series: Vec<Series>,
    /// Names of the places on the x axis; empty where they are numbers.
    pub names: Vec<(f64, String)>,
    pub markers: bool,
}

/// A line.
pub struct Series {
    pub name: String,
    pub style: usize,
    pub points: Vec<Point>,
}

pub struct Point {
    pub x: f64,
    pub y: f64,
    pub interval: Option<Interval>,
}

impl LineChart<'_> {
    /// The drawing; `None` where there is nothing to draw.
    pub fn svg(&self) -> Option<String> {
        let points = || self.series.iter().flat_map(|s| &s.points).filter(|p| p.y.is_finite());
        points().next()?;
        let xs = || points().map(|p| p.x);
        let (first, last) = (xs().fold(f64::INFINITY, f64::min), xs().fold(f64::NEG_INFINITY, f64::max));
        let longest = self.series.iter().map(|s| s.name.chars().count().min(14)).max().unwrap_or(0) as f64;
        let right = if self.series.len() > 1 { 14.0 + 6.2 * longest } else { 12.0 };
        // A single place stands in the middle.
        let (low, high) = if first == last { (first - 1.0, last + 1.0) } else { (first, last) };
        let x = Scale::exact(low, high, LEFT + 6.0, WIDTH - right);
        let ends = points().flat_map(|p| [Some(p.y), p.interval.map(|i| i.low), p.interval.map(|i| i.high)]).flatten();
        // A wild interval of two seeds must not squeeze all else to a line.
        let y = self.limited(ends, points().map(|p| p.y));

        let mut svg = Svg::new(WIDTH, HEIGHT, &self.title, &self.description);
        for (tick, text) in y.ticks(4, self.metric.times()) {
            svg.line("grid", (LEFT, y.at(tick)), (WIDTH - right + 6.0, y.at(tick)));
            svg.label("tick", (LEFT - 6.0, y.at(tick) + 3.5), "end", &text);
        }
        if self.names.is_empty() {
            for (tick, text) in x.ticks(5, 1.0).into_iter().filter(|(t, _)| t.fract() == 0.0) {
                svg.label("tick", (x.at(tick), HEIGHT - BOTTOM + 17.0), "middle", &text);
            }
        }
        let every = self.names.len().div_ceil(10).max(1);
        for (at, name) in self.names.iter().step_by(every).filter(|(at, _)| (first..=last).contains(at)) {
            svg.label("tick", (x.at(*at), HEIGHT - BOTTOM + 17.0), "middle", name);
        }
        svg.line("axis", (LEFT, HEIGHT - BOTTOM), (WIDTH - right + 6.0, HEIGHT - BOTTOM));
        let within = |v: f64| y.at(v.clamp(y.low, y.high));
        for series in &self.series {
            let banded: Vec<(f64, Interval)> = series.points.iter().filter_map(|p| Some((p.x, p.interval?))).collect();
            if banded.len() > 1 {
                let lower = banded.iter().map(|(at, i)| (x.at(*at), within(i.low)));
                let upper = banded.iter().rev().map(|(at, i)| (x.at(*at), within(i.high)));
                svg.path(&format!("band c{}", series.style), &lower.chain(upper).collect::<Vec<_>>(), true);
            } else if let [(at, interval)] = banded[..] {
                svg.line(
                    &format!("whisker c{}", series.style),
                    (x.at(at), within(interval.low)),
                    (x.at(at), within(interval.high)),
                );
            }
        }
        for series in &self.series {
            let line: Vec<(f64, f64)> = series.points.iter().map(|p| (x.at(p.x), y.at(p.y))).collect();
            if line.len() > 1 {
                svg.path(&format!("series c{0} d{0}", series.style), &line, false);
            }
            if self.markers {
                for (point, at) in series.points.iter().zip(&line) {
                    svg.marker(series.style, *at, 3.2, &self.says(series, point));
                }
            }
        }
        if self.series.len() > 1 {
            self.names_at_ends(&mut svg, &x, &y);
        }
        Some(svg.finish())
    }

    fn limited(&self, ends: impl Iterator<Item = f64>, values: impl Iterator<Item = f64> + Clone) -> Scale {
        let (from, to) = (HEIGHT - BOTTOM, TOP);
        let own = Scale::new(values.clone(), from, to);
        let room = (own.high - own.low) * 2.0;
        let ends = ends.map(|end| end.clamp(own.low - room, own.high + room)).collect::<Vec<_>>();
        Scale::new(values.chain(ends), from, to).within(self.metric.limits())
    }

    /// Beside the lines' ends, moved apart where they would cover each other.
    fn names_at_ends(&self, svg: &mut Svg, x: &Scale, y: &Scale) {
        const LINE: f64 = 12.0;
        let mut ends: Vec<(f64, f64, &Series)> =
            self.series.iter().filter_map(|s| s.points.last().map(|p| (y.at(p.y), x.at(p.x), s))).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut places: Vec<f64> = ends.iter().map(|e| e.0).collect();
        for i in 1..places.len() {
            places[i] = places[i].max(places[i - 1] + LINE);
        }
        if let Some(over) = places.last().map(|p| p - (HEIGHT - BOTTOM)).filter(|over| *over > 0.0) {
            places.iter_mut().for_each(|p| *p -= over);
            for i in (0..places.len().saturating_sub(1)).rev() {
                places[i] = places[i].min(places[i + 1] - LINE);
            }
            let last = places.len() - 1;
            places[last] = HEIGHT - BOTTOM;
            for i in (0..last).rev() {
                places[i] = places[i].min(places[i + 1] - LINE);
            }
        }
        let right = ends.iter().map(|e| e.1).fold(f64::NEG_INFINITY, f64::max);
        for ((_, _, series), place) in ends.iter().zip(places) {
            svg.label(
                &format!("name c{}", series.style),
                (right + 8.0, place + 3.5),
                "start",
                &shortened(&series.name, 14),
            );
        }
    }

    fn says(&self, series: &Series, point: &Point) -> String {
        let place =
            self.names.iter().find(|(at, _)| *at == point.x).map_or_else(|| point.x.to_string(), |(_, n)| n.clone());
        let range = point
            .interval
            .map(|i| format!(" (95 % CI {} … {})", self.metric.bare(i.low), self.metric.bare(i.high)))
            .unwrap_or_default();
        format!("{}, {place}: {}{range}", series.name, self.metric.show(point.y))
    }
}
