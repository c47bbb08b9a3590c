//! The lines of the panes. Each is made for a width, and only as many as are seen.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::Look;
use crate::report::Table;
use crate::report::live::{StageRecord, StageState};
use crate::watch::clean::{clean, fit, wrap};
use crate::watch::{Snapshot, State, plain};

/// Lines of all messages or samples that are made, at most.
const MAX_LINES: usize = 2000;

/// Colours, where they are wanted.
#[derive(Clone, Copy)]
pub struct Paint(pub Look);

impl Paint {
    pub fn colour(self, colour: Color) -> Style {
        if self.0.colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub fn strong(self, colour: Color) -> Style {
        self.colour(colour).add_modifier(Modifier::BOLD)
    }

    /// What matters less.
    pub fn faint(self) -> Style {
        self.colour(Color::DarkGray)
    }

    pub fn state(self, state: State) -> Style {
        self.strong(match state {
            State::Running => Color::Cyan,
            State::Finished => Color::Green,
            State::Failed | State::Dead => Color::Red,
            State::Unknown | State::Absent => Color::Yellow,
        })
    }
}

/// The lines `first..first + height` of the stages, of which each has one, and the running one two.
pub fn stages(snapshot: &Snapshot, first: usize, height: usize, width: usize, paint: Paint) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for stage in snapshot.stages.iter().skip(first) {
        if lines.len() >= height {
            break;
        }
        let dead = snapshot.state == State::Dead && stage.state == StageState::Running;
        let (mark, style) = match stage.state {
            StageState::Done => ("+", paint.colour(Color::Green)),
            StageState::Reused => ("=", paint.colour(Color::Green)),
            StageState::Running if dead => ("!", paint.strong(Color::Red)),
            StageState::Running => (">", paint.strong(Color::Cyan)),
            StageState::Failed => ("!", paint.strong(Color::Red)),
            StageState::Pending => (" ", paint.faint()),
        };
        let right = match stage.state {
            StageState::Done => format!("{:.1} s", stage.seconds),
            StageState::Reused => "reused".to_owned(),
            StageState::Running if dead => "broken off".to_owned(),
            StageState::Running => plain::duration(stage.seconds),
            StageState::Failed => "failed".to_owned(),
            StageState::Pending => String::new(),
        };
        lines.push(Line::from(vec![
            Span::styled(format!("{mark} "), style),
            Span::styled(both_ends(&short(&stage.label), &right, width.saturating_sub(2)), style),
        ]));
        if stage.state == StageState::Running {
            lines.push(Line::styled(bar(stage, width), style));
        }
    }
    lines.truncate(height);
    lines
}

/// A stage's label, in what room there is.
fn short(label: &str) -> String {
    match label.strip_suffix(", for evaluation") {
        Some(label) => format!("{} (eval)", clean(label)),
        None => clean(label),
    }
}

/// "  ━━━━━────── 120/400 · 35 rows, 4300 tokens a second"
fn bar(stage: &StageRecord, width: usize) -> String {
    let (mut words, rates) = (plain::share(stage), plain::rates(stage));
    if !rates.is_empty() {
        words += &format!("{}{rates} /s", if words.is_empty() { "" } else { ", " });
    }
    let all = if stage.all > 0 { (width / 4).clamp(5, 30) } else { 0 };
    let share = if stage.all > 0 { (stage.done as f64 / stage.all as f64).clamp(0.0, 1.0) } else { 0.0 };
    let done = (share * all as f64) as usize;
    fit(&format!("  {}{} {words}", "━".repeat(done), "─".repeat(all - done)), width)
}

/// The first text to the left, the second to the right.
fn both_ends(left: &str, right: &str, width: usize) -> String {
    use unicode_width::UnicodeWidthStr;
    let left = fit(left, width.saturating_sub(right.width() + 1));
    let gap = width.saturating_sub(left.width() + right.width());
    format!("{left}{}{right}", " ".repeat(gap))
}

/// As many columns as fit.
pub fn results(snapshot: &Snapshot, width: usize, paint: Paint) -> Vec<Line<'static>> {
    if snapshot.models.is_empty() {
        let words = match snapshot.state {
            State::Running => "after the first round",
            _ => "none",
        };
        return vec![Line::styled(words, paint.faint())];
    }
    let full = |rows: &mut Table| {
        snapshot.models.iter().for_each(|m| {
            rows.row(plain::model_row(m));
        });
    };
    let mut wide = Table::new(&plain::MODEL_COLUMNS);
    full(&mut wide);
    let mut text = wide.render();
    if widest(&text) > width {
        let mut narrow = Table::new(&["", "C", "ranking", "sampled", "greedy"]);
        let share = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), |x| format!("{x:.3}"));
        for m in &snapshot.models {
            let accuracies = [m.ranking_accuracy, m.sampled_accuracy, m.greedy_accuracy].map(|a| share(a.map(|a| a.0)));
            let [ranking, sampled, greedy] = accuracies;
            narrow.row([clean(&m.name), share(m.consistency), ranking, sampled, greedy]);
        }
        text = narrow.render();
    }
    let mut lines: Vec<Line> = text.lines().map(|line| Line::raw(fit(line, width))).collect();
    if let Some(head) = lines.first_mut() {
        *head = head.clone().style(paint.strong(Color::Reset));
    }
    if snapshot.earlier_results {
        lines.push(Line::styled(fit("of an earlier call of this run", width), paint.colour(Color::Yellow)));
    }
    lines
}

/// The newest first.
pub fn samples(snapshot: &Snapshot, width: usize, paint: Paint) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for sample in snapshot.samples.iter().rev() {
        for (text, first, style) in
            [(&sample.prompt, "> ", paint.colour(Color::Yellow)), (&sample.response, "  ", Style::new())]
        {
            for (i, line) in wrap(text, width.saturating_sub(2)).into_iter().enumerate() {
                let start = if i == 0 { first } else { "  " };
                lines.push(Line::styled(format!("{start}{line}"), style));
            }
        }
        if lines.len() > MAX_LINES {
            break;
        }
    }
    if lines.is_empty() {
        lines.push(Line::styled("none yet", paint.faint()));
    }
    lines
}

/// The error, what cannot be read, the warnings, the newest first.
pub fn messages(snapshot: &Snapshot, width: usize, paint: Paint) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut add = |text: String, style: Style| {
        if lines.len() < MAX_LINES {
            lines.extend(wrap(&text, width).into_iter().map(|line| Line::styled(line, style)));
        }
    };
    if let Some(error) = &snapshot.error {
        add(format!("error: {error}"), paint.strong(Color::Red));
    }
    if snapshot.state == State::Dead {
        let words = "the process is gone without a word; the same command continues the run";
        add(words.to_owned(), paint.strong(Color::Red));
    }
    for words in &snapshot.unreadable {
        add(format!("cannot be read: {words}"), paint.colour(Color::Red));
    }
    for words in snapshot.warnings.iter().rev() {
        add(format!("warning: {words}"), paint.colour(Color::Yellow));
    }
    let hidden = snapshot.warned.saturating_sub(snapshot.warnings.len() as u64);
    if hidden > 0 {
        add(format!("{hidden} earlier warnings"), paint.faint());
    }
    if lines.is_empty() {
        lines.push(Line::styled("none", paint.faint()));
    }
    lines
}

/// There is something to say.
pub fn has_messages(snapshot: &Snapshot) -> bool {
    snapshot.error.is_some()
        || snapshot.state == State::Dead
        || !snapshot.unreadable.is_empty()
        || !snapshot.warnings.is_empty()
}

fn widest(text: &str) -> usize {
    use unicode_width::UnicodeWidthStr;
    text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0)
}
