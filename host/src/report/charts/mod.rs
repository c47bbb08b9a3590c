//! Charts as inline SVG: every one has a title and a description for those who do not see it, takes its colours from the
//! page's style sheet, and tells its series apart by dash and marker as well as by colour.

mod dots;
mod lines;
mod pareto;
mod scale;

use std::fmt::Write;

pub use dots::{Dot, dots};
pub use lines::{LineChart, Point, Series};
pub use pareto::{Place, front, pareto};
use scale::Scale;

/// Series that can be told apart; the style sheet has as many colours.
pub const STYLES: usize = 8;

/// For a page on a desk or on a phone: text keeps its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Wide,
    Narrow,
}

/// The line and the marker of a style, for legends and tables.
pub fn key(style: usize) -> String {
    let style = style % STYLES;
    let mut svg = Svg::new(30.0, 12.0, "", "");
    svg.line(&format!("series c{style} d{style}"), (1.0, 6.0), (29.0, 6.0));
    svg.marker(style, (15.0, 6.0), 3.4, "");
    format!(r#"<svg class="key" viewBox="0 0 30 12" aria-hidden="true">{}</svg>"#, svg.text)
}

/// A drawing as wide and as high as its view box says, in units of about a pixel.
struct Svg {
    text: String,
    width: f64,
    height: f64,
    title: String,
    description: String,
}

impl Svg {
    fn new(width: f64, height: f64, title: &str, description: &str) -> Svg {
        Svg { text: String::new(), width, height, title: title.to_owned(), description: description.to_owned() }
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = write!(
            self.text,
            r#"<line class="{class}" x1="{}" y1="{}" x2="{}" y2="{}"/>"#,
            number(x1),
            number(y1),
            number(x2),
            number(y2)
        );
    }

    /// `anchor` is "start", "middle" or "end".
    fn label(&mut self, class: &str, at: (f64, f64), anchor: &str, text: &str) {
        let (x, y) = (number(at.0), number(at.1));
        let _ = write!(
            self.text,
            r#"<text class="{class}" x="{x}" y="{y}" text-anchor="{anchor}">{}</text>"#,
            escape(text)
        );
    }

    fn path(&mut self, class: &str, points: &[(f64, f64)], closed: bool) {
        let mut data = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let _ = write!(data, "{}{} {}", if i == 0 { 'M' } else { 'L' }, number(*x), number(*y));
        }
        let end = if closed { "Z" } else { "" };
        let _ = write!(self.text, r#"<path class="{class}" d="{data}{end}"/>"#);
    }

    /// A marker of a style, with what it stands for.
    fn marker(&mut self, style: usize, at: (f64, f64), size: f64, says: &str) {
        let (x, y) = at;
        let class = format!("m c{}", style % STYLES);
        let says = if says.is_empty() { String::new() } else { format!("<title>{}</title>", escape(says)) };
        let outline = |corners: &[(f64, f64)]| {
            let at = |(dx, dy): &(f64, f64)| format!("{} {}", number(x + dx * size), number(y + dy * size));
            let corners: Vec<String> = corners.iter().map(at).collect();
            format!(r#"<path class="{class}" d="M{}Z">{says}</path>"#, corners.join("L"))
        };
        self.text += &match style % STYLES {
            0 => format!(
                r#"<circle class="{class}" cx="{}" cy="{}" r="{}">{says}</circle>"#,
                number(x),
                number(y),
                number(size)
            ),
            1 => outline(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
            2 => outline(&[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)]),
            3 => outline(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)]),
            4 => outline(&[(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)]),
            5 => outline(&[(-1.3, -0.6), (1.3, -0.6), (1.3, 0.6), (-1.3, 0.6)]),
            6 => outline(&[(-0.6, -1.3), (0.6, -1.3), (0.6, 1.3), (-0.6, 1.3)]),
            _ => outline(&[(0.6, -1.2), (1.2, 0.0), (0.6, 1.2), (-0.6, 1.2), (-1.2, 0.0), (-0.6, -1.2)]),
        };
    }

    fn finish(self) -> String {
        let Svg { text, width, height, title, description } = self;
        format!(
            concat!(
                r#"<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}. {}">"#,
                "<title>{}</title><desc>{}</desc>{}</svg>"
            ),
            number(width),
            number(height),
            escape(&title),
            escape(&description),
            escape(&title),
            escape(&description),
            text
        )
    }
}

/// For text and for attributes in double quotes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            // No character of HTML; a browser would show it as something else.
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// A name as long as fits beside a line. Names of a sweep's arms begin and end alike, so the middle goes.
pub fn shortened(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    name.chars().take(head).chain(['…']).chain(name.chars().skip(length - tail)).collect()
}

/// A coordinate, to a hundredth.
fn number(x: f64) -> String {
    let text = format!("{x:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape("</script><img onerror='x'>&\u{0}"), "&lt;/script&gt;&lt;img onerror=&#39;x&#39;&gt;&amp; ");
        assert_eq!(shortened("日本語", 2), "日…");
        assert_eq!(shortened("likelihood-cream", 12), "likeli…cream");
        assert_eq!((shortened("cream", 5), shortened("cream", 0)), ("cream".into(), "…".into()));
        assert_eq!((number(1.50), number(-0.001), number(100.0)), ("1.5".into(), "0".into(), "100".into()));
    }
}
