//! Cost against quality, with the arms marked that no other arm beats in both.

use super::super::metric::{Better, Metric};
use super::super::statistics::Interval;
use super::{Scale, Svg, Width, shortened};

const LEFT: f64 = 56.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 44.0;

/// An arm.
#[derive(Clone, Debug)]
pub struct Place {
    pub name: String,
    pub style: Option<usize>,
    /// Seconds.
    pub cost: f64,
    pub quality: f64,
    pub interval: Option<Interval>,
    /// The least and the most of single runs.
    pub spread: (f64, f64),
    pub baseline: bool,
}

/// The arms that no other arm is at least as good and as cheap as, and better or cheaper: by cost.
pub fn front(metric: &Metric, places: &[Place]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    let better = |a: f64, b: f64| if metric.better == Better::Lower { a.total_cmp(&b) } else { b.total_cmp(&a) };
    order.sort_by(|a, b| {
        let (a, b) = (&places[*a], &places[*b]);
        a.cost.total_cmp(&b.cost).then(better(a.quality, b.quality))
    });
    let mut front: Vec<usize> = Vec::new();
    for i in order {
        if front.last().is_none_or(|last| better(places[i].quality, places[*last].quality).is_lt()) {
            front.push(i);
        }
    }
    front
}

/// All arms; those of the front joined by a line and named, as is the baseline.
pub fn pareto(metric: &Metric, title: &str, description: &str, places: &[Place], width: Width) -> Option<String> {
    if places.is_empty() {
        return None;
    }
    let (width, height, right) = match width {
        Width::Wide => (640.0, 340.0, 90.0),
        Width::Narrow => (340.0, 280.0, 24.0),
    };
    let front = front(metric, places);
    let x = Scale::new(places.iter().map(|p| p.cost), LEFT + 8.0, width - right);
    let many = places.len() > 60;
    let qualities = places.iter().map(|p| p.quality);
    let spreads = places.iter().filter(|_| !many).flat_map(|p| [p.spread.0, p.spread.1]);
    let qualities = qualities.chain(spreads);
    let own = Scale::new(qualities.clone(), height - BOTTOM, TOP);
    let room = own.high - own.low;
    let ends = places.iter().filter_map(|p| p.interval.filter(|_| !many)).flat_map(|i| [i.low, i.high]);
    let ends: Vec<f64> = ends.map(|end| end.clamp(own.low - room, own.high + room)).collect();
    let y = Scale::new(qualities.chain(ends), height - BOTTOM, TOP).within(metric.limits());
    let mut svg = Svg::new(width, height, title, description);
    for (tick, text) in y.ticks(5, metric.times()) {
        svg.line("grid", (LEFT, y.at(tick)), (width - right + 6.0, y.at(tick)));
        svg.label("tick", (LEFT - 6.0, y.at(tick) + 3.5), "end", &text);
    }
    for (tick, text) in x.ticks(if width > 400.0 { 5 } else { 3 }, 1.0) {
        svg.label("tick", (x.at(tick), height - BOTTOM + 17.0), "middle", &text);
    }
    svg.line("axis", (LEFT, height - BOTTOM), (width - right + 6.0, height - BOTTOM));
    svg.label("tick", (width - right + 6.0, height - 8.0), "end", "seconds for a run made alone →");
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for i in &front {
        let at = (x.at(places[*i].cost), y.at(places[*i].quality));
        if let Some(last) = steps.last() {
            steps.push((at.0, last.1));
        }
        steps.push(at);
    }
    if steps.len() > 1 {
        svg.path("front", &steps, false);
    }
    for (i, place) in places.iter().enumerate() {
        let at = (x.at(place.cost), y.at(place.quality));
        let within = |v: f64| y.at(v.clamp(y.low, y.high));
        if let Some(interval) = place.interval.filter(|_| !many) {
            let class = place.style.map_or("whisker rest".to_owned(), |s| format!("whisker c{s}"));
            svg.line(&class, (at.0, within(interval.low)), (at.0, within(interval.high)));
        }
        let on = if front.contains(&i) { ", on the front" } else { "" };
        let says = format!(
            "{}: {} for {} s{on}",
            place.name,
            metric.show(place.quality),
            super::super::metric::four_digits(place.cost)
        );
        match place.style {
            Some(style) => svg.marker(style, at, if front.contains(&i) { 5.6 } else { 4.2 }, &says),
            None => {
                svg.text += &format!(
                    r#"<circle class="m rest" cx="{}" cy="{}" r="2.6"><title>{}</title></circle>"#,
                    super::number(at.0),
                    super::number(at.1),
                    super::escape(&says)
                );
            }
        }
    }
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for (i, place) in places.iter().enumerate() {
        let named = places.len() <= 12 || place.baseline || front.contains(&i);
        if !named || taken.len() > 16 {
            continue;
        }
        let (px, mut py) = (x.at(place.cost) + 9.0, y.at(place.quality) - 6.0);
        while taken.iter().any(|(tx, ty)| (tx - px).abs() < 90.0 && (ty - py).abs() < 12.0) {
            py += 12.0;
        }
        taken.push((px, py));
        let class = if front.contains(&i) { "name strong" } else { "name" };
        let anchor = if px > width - 120.0 { "end" } else { "start" };
        let px = if anchor == "end" { px - 18.0 } else { px };
        svg.label(class, (px, py), anchor, &shortened(&place.name, 22));
    }
    Some(svg.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_holds_what_no_arm_beats_in_both() {
        let place = |cost: f64, quality: f64| Place {
            name: String::new(),
            style: None,
            cost,
            quality,
            interval: None,
            spread: (quality, quality),
            baseline: false,
        };
        let accuracy = Metric::named("eval/sampled");
        let places =
            [place(2.0, 0.6), place(1.0, 0.5), place(3.0, 0.55), place(1.0, 0.4), place(4.0, 0.6), place(5.0, 0.7)];
        assert_eq!(front(&accuracy, &places), [1, 0, 5]);
        assert_eq!(front(&Metric::named("loss"), &places), [3]);
        assert!(front(&accuracy, &[]).is_empty());
    }
}
