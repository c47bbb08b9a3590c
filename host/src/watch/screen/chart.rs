//! A curve as a chart.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

use crate::watch::TrainingCurve;

/// Draws the curve; `false` if there is nothing to draw, or no room for it.
pub fn draw(curve: &TrainingCurve, area: Rect, buffer: &mut Buffer, style: Style) -> bool {
    if area.width < 16 || area.height < 4 {
        return false;
    }
    let points: Vec<(f64, f64)> =
        curve.points.iter().map(|(step, value)| (*step as f64, *value)).filter(|(_, y)| y.is_finite()).collect();
    let (Some(x), Some(y)) = (Range::of(points.iter().map(|p| p.0)), Range::of(points.iter().map(|p| p.1))) else {
        return false;
    };
    // From 0 to 1, so that no value of a file makes the arithmetic of the drawing overflow.
    let scaled: Vec<(f64, f64)> = points.iter().map(|p| (x.scale(p.0), y.scale(p.1))).collect();
    let dataset = Dataset::default().marker(Marker::Dot).graph_type(GraphType::Line).style(style).data(&scaled);
    let axis = |labels: Vec<String>| Axis::default().bounds([0.0, 1.0]).labels(labels);
    let mut levels = [y.low, y.middle(), y.high].map(|level| value(level, &y)).to_vec();
    if area.height < 7 {
        levels.remove(1);
    }
    Chart::new(vec![dataset])
        .x_axis(axis(vec![format!("{:.0}", x.low), format!("step {:.0}", x.high)]))
        .y_axis(axis(levels))
        .legend_position(None)
        .hidden_legend_constraints((Constraint::Length(0), Constraint::Length(0)))
        .render(area, buffer);
    true
}

struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Option<Range> {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        (low <= high).then_some(Range { low, high })
    }

    fn middle(&self) -> f64 {
        self.low / 2.0 + self.high / 2.0
    }

    /// A curve without height runs through the middle.
    fn scale(&self, x: f64) -> f64 {
        if self.low == self.high { 0.5 } else { (x / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0) }
    }
}

/// With as many places as tell the ends of the range apart.
fn value(x: f64, range: &Range) -> String {
    let size = range.low.abs().max(range.high.abs());
    if x == 0.0 {
        return "0".to_owned();
    }
    if !(0.001..100_000.0).contains(&size) {
        return format!("{x:.1e}");
    }
    let apart = range.high - range.low;
    let places = if apart > 0.0 { (1.0 - apart.log10().floor()).clamp(0.0, 6.0) } else { 4.0 };
    format!("{x:.0$}", places as usize)
}
