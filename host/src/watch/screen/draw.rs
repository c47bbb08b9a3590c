//! The picture: a head, panes, and the keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

use super::app::{App, Pane};
use super::panes::{self, Paint};
use super::{Look, chart};
use crate::watch::clean::{ascii_of, clean, fit};
use crate::watch::plain;

/// Below it one pane is shown at a time.
const MIN_WIDTH: u16 = 60;
const MIN_HEIGHT: u16 = 16;

const KEYS: &str = "q quit  ? help  Tab pane  ↑↓ scroll  ←→ training  Enter alone";
const KEYS_IN_LIST: &str = "q quit  ? help  ↑↓ choose  Enter open";

const HELP: [&str; 10] = [
    "q, Ctrl-C   quit",
    "Esc         back, or quit",
    "Tab, 1 to 5 choose a pane",
    "Enter       the pane alone, and back",
    "↑ ↓         scroll; in Curves the metric",
    "Page, Home  scroll further; End follows",
    "← →         another training's curve",
    "Backspace   to the runs of the sweep",
    "+ done  = reused  > running  ! failed",
    "any key closes this",
];

pub fn draw(frame: &mut Frame, app: &mut App, look: Look) {
    let paint = Paint(look);
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
    if app.listing {
        list(frame, app, head, body, paint);
    } else {
        let line = fit(&format!(" {}", plain::headline(&app.snapshot)), head.width as usize);
        frame.render_widget(Line::styled(line, paint.state(app.snapshot.state)), head);
        panes_in(frame, app, body, paint);
    }
    let keys = if app.listing { KEYS_IN_LIST } else { KEYS };
    frame.render_widget(Line::styled(fit(&format!(" {keys}"), foot.width as usize), paint.faint()), foot);
    if app.help {
        help(frame, paint);
    }
    if !look.unicode {
        to_ascii(frame);
    }
}

fn panes_in(frame: &mut Frame, app: &mut App, body: Rect, paint: Paint) {
    if app.alone || body.width < MIN_WIDTH || body.height < MIN_HEIGHT {
        return pane(frame, app, app.pane, body, paint);
    }
    let messages = if panes::has_messages(&app.snapshot) || app.pane == Pane::Messages { 5 } else { 0 };
    let [above, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(messages)]).areas(body);
    let [left, right] = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(above);
    // Results have a line for each model, and the others the rest.
    let models = (app.snapshot.models.len() as u16 + 3).clamp(4, above.height / 2);
    let [stages, results] = Layout::vertical([Constraint::Min(0), Constraint::Length(models)]).areas(left);
    let [curves, samples] = Layout::vertical([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(right);
    let all = [(Pane::Stages, stages), (Pane::Curves, curves), (Pane::Results, results), (Pane::Samples, samples)];
    for (which, area) in all {
        pane(frame, app, which, area, paint);
    }
    if messages > 0 {
        pane(frame, app, Pane::Messages, below, paint);
    }
}

fn pane(frame: &mut Frame, app: &mut App, which: Pane, area: Rect, paint: Paint) {
    let chosen = app.pane == which;
    let curve = (which == Pane::Curves).then(|| chosen_curve(app)).flatten();
    let title = match &curve {
        Some((at, title)) => {
            let value = app.snapshot.curves[*at].points.last().map(|p| format!(" {:.4}", p.1)).unwrap_or_default();
            format!(" {title}{value} ")
        }
        None => format!(" {} ", which.title()),
    };
    let style = if chosen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
    let border = if chosen { paint.strong(Color::Reset) } else { paint.faint() };
    let title = Line::styled(fit(&title, (area.width as usize).saturating_sub(2)), style);
    let block = Block::bordered().title(title).border_style(border);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let (width, height) = (inner.width as usize, inner.height as usize);

    let number = which as usize;
    let mut lines = match which {
        Pane::Stages => {
            // The present stage has two lines.
            let rows = app.snapshot.stages.len() + usize::from(app.snapshot.present().is_some());
            app.depth[number] = rows.saturating_sub(height);
            let first = app.scroll[number].unwrap_or_else(|| app.followed()).min(app.depth[number]);
            frame.render_widget(Paragraph::new(panes::stages(&app.snapshot, first, height, width, paint)), inner);
            return;
        }
        Pane::Curves => {
            let drawn = curve.is_some_and(|(at, _)| {
                let style = paint.colour(Color::Cyan);
                chart::draw(&app.snapshot.curves[at], inner, frame.buffer_mut(), style)
            });
            if !drawn {
                frame.render_widget(Line::styled("no training yet", paint.faint()), inner);
            }
            return;
        }
        Pane::Results => panes::results(&app.snapshot, width, paint),
        Pane::Samples => panes::samples(&app.snapshot, width, paint),
        Pane::Messages => panes::messages(&app.snapshot, width, paint),
    };
    app.depth[number] = lines.len().saturating_sub(height);
    let first = app.scroll[number].unwrap_or(0).min(app.depth[number]);
    lines.drain(..first);
    lines.truncate(height);
    frame.render_widget(Paragraph::new(lines), inner);
}

/// The curve that is chosen, in the snapshot's, and its title.
fn chosen_curve(app: &mut App) -> Option<(usize, String)> {
    let trainings: Vec<String> = app.trainings().into_iter().map(str::to_owned).collect();
    let last = trainings.len().checked_sub(1)?;
    let training = &trainings[app.training.unwrap_or(last).min(last)];
    let metrics: Vec<String> = app.metrics(training).into_iter().map(str::to_owned).collect();
    app.metric = app.metric.min(metrics.len().saturating_sub(1));
    let metric = metrics.get(app.metric)?;
    let at = app.snapshot.curves.iter().position(|c| c.stage == *training && c.metric == *metric)?;
    let training = training.strip_suffix(": train").unwrap_or(training);
    Some((at, format!("{}, {}:", clean(metric), clean(training))))
}

/// The runs of a sweep.
fn list(frame: &mut Frame, app: &mut App, head: Rect, body: Rect, paint: Paint) {
    let Some(sweep) = &app.sweep else { return };
    let title = format!(" {}: {} runs", clean(&sweep.name), sweep.runs.len());
    frame.render_widget(Line::styled(fit(&title, head.width as usize), paint.strong(Color::Cyan)), head);
    let height = body.height as usize;
    let first = app.listed.0.min(app.cursor).max((app.cursor + 1).saturating_sub(height));
    app.listed = (first, height);
    let mut lines = Vec::new();
    for (i, run) in sweep.runs.iter().enumerate().skip(first).take(height) {
        let [state, stages, now] = app.in_short.get(&i).cloned().unwrap_or_default();
        let line = format!(" {:<30} {state:<11} {stages:>7}  {now}", fit(&clean(&run.title()), 30));
        let style = match (i == app.cursor, state.as_str()) {
            (true, _) => Style::new().add_modifier(Modifier::REVERSED),
            (_, "failed" | "dead") => paint.colour(Color::Red),
            (_, "finished") => paint.colour(Color::Green),
            (_, "running") => paint.colour(Color::Cyan),
            _ => Style::new(),
        };
        lines.push(Line::styled(fit(&line, body.width as usize), style));
    }
    frame.render_widget(Paragraph::new(lines), body);
}

fn help(frame: &mut Frame, paint: Paint) {
    let area = frame.area();
    let (width, height) = (area.width.min(46), area.height.min(HELP.len() as u16 + 2));
    let (x, y) = ((area.width - width) / 2, (area.height - height) / 2);
    let area = Rect { x, y, width, height };
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" Help ").border_style(paint.strong(Color::Reset));
    frame.render_widget(Paragraph::new(HELP.map(Line::raw).to_vec()).block(block), area);
}

/// Whatever was drawn, with what an old console has.
fn to_ascii(frame: &mut Frame) {
    for cell in &mut frame.buffer_mut().content {
        if !cell.symbol().is_ascii() {
            let c = cell.symbol().chars().next().map_or('?', ascii_of);
            cell.set_char(c);
        }
    }
}
