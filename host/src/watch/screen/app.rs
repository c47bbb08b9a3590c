//! What is shown, and what keys change of it.

use std::collections::BTreeMap;
use std::path::Path;

use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::watch::place::{Place, Sweep};
use crate::watch::{Reader, Snapshot, plain};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    Stages,
    Curves,
    Results,
    Samples,
    Messages,
}

impl Pane {
    pub const ALL: [Pane; 5] = [Pane::Stages, Pane::Curves, Pane::Results, Pane::Samples, Pane::Messages];

    pub fn title(self) -> &'static str {
        ["Stages", "Curves", "Results", "Samples", "Messages"][self as usize]
    }
}

/// What follows on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Stay,
    Leave,
}

pub struct App {
    pub sweep: Option<Sweep>,
    /// The sweep's list of runs is shown.
    pub listing: bool,
    /// In the sweep's list.
    pub cursor: usize,
    /// The first run of the list that is shown, and how many are.
    pub listed: (usize, usize),
    /// State, stages and present stage of the runs that are shown.
    pub in_short: BTreeMap<usize, [String; 3]>,
    reader: Reader,
    pub snapshot: Snapshot,
    pub pane: Pane,
    /// The pane has the whole screen.
    pub alone: bool,
    pub help: bool,
    /// The first line of each pane that is shown; `None` follows the run.
    pub scroll: [Option<usize>; 5],
    /// How far each pane can be scrolled, as it was drawn last.
    pub depth: [usize; 5],
    /// In [`App::trainings`]; `None` is the last.
    pub training: Option<usize>,
    pub metric: usize,
}

impl App {
    pub fn new(place: Place) -> App {
        let (sweep, folder) = match place {
            Place::Run(folder) => (None, folder),
            Place::Sweep(sweep) => {
                let first = sweep.runs.first().map_or_else(|| sweep.folder.clone(), |run| run.folder.clone());
                (Some(sweep), first)
            }
        };
        let mut reader = Reader::new(&folder);
        let snapshot = reader.read();
        App { listing: sweep.is_some(), sweep, ..App::of(reader, snapshot) }
    }

    /// One run, and a snapshot of it.
    pub fn of(reader: Reader, snapshot: Snapshot) -> App {
        App {
            sweep: None,
            listing: false,
            cursor: 0,
            listed: (0, 0),
            in_short: BTreeMap::new(),
            reader,
            snapshot,
            pane: Pane::Stages,
            alone: false,
            help: false,
            scroll: [None; 5],
            depth: [0; 5],
            training: None,
            metric: 0,
        }
    }

    /// Reads the files again. Is there anything new?
    pub fn look(&mut self) -> bool {
        match (&self.sweep, self.listing) {
            (Some(sweep), true) => {
                // Only those that are seen: there may be thousands.
                let (first, count) = (self.listed.0, self.listed.1.max(50));
                let seen = sweep.runs.iter().enumerate().skip(first).take(count);
                let found: BTreeMap<_, _> =
                    seen.map(|(i, run)| (i, plain::in_short(&Snapshot::of(&run.folder)))).collect();
                let new = found != self.in_short;
                self.in_short = found;
                new
            }
            _ => {
                let mut snapshot = self.reader.read();
                // Another value each time, and not shown.
                snapshot.silent_seconds = None;
                let new = snapshot != self.snapshot;
                self.snapshot = snapshot;
                new
            }
        }
    }

    /// The trainings that have curves.
    pub fn trainings(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for curve in &self.snapshot.curves {
            if !names.contains(&curve.stage.as_str()) {
                names.push(&curve.stage);
            }
        }
        names
    }

    /// The metrics of a training.
    pub fn metrics(&self, training: &str) -> Vec<&str> {
        self.snapshot.curves.iter().filter(|c| c.stage == training).map(|c| c.metric.as_str()).collect()
    }

    pub fn key(&mut self, key: KeyEvent) -> After {
        if key.kind == KeyEventKind::Release {
            return After::Stay;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return After::Leave,
            _ if self.help => self.help = false,
            KeyCode::Char('q') => return After::Leave,
            KeyCode::Esc if self.alone => self.alone = false,
            KeyCode::Esc | KeyCode::Backspace if self.sweep.is_some() && !self.listing => self.listing = true,
            KeyCode::Esc => return After::Leave,
            KeyCode::Char('?' | 'h') => self.help = true,
            _ if self.listing => self.key_in_list(key.code),
            KeyCode::Enter | KeyCode::Char('z') => self.alone = !self.alone,
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(Pane::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='5') => self.pane = Pane::ALL[digit as usize - '1' as usize],
            KeyCode::Left => self.other_training(false),
            KeyCode::Right => self.other_training(true),
            KeyCode::Up if self.pane == Pane::Curves => self.metric = self.metric.saturating_sub(1),
            KeyCode::Down if self.pane == Pane::Curves => self.metric += 1,
            KeyCode::Up => self.scroll_by(-1),
            KeyCode::Down => self.scroll_by(1),
            KeyCode::PageUp => self.scroll_by(-10),
            KeyCode::PageDown => self.scroll_by(10),
            KeyCode::Home => self.scroll[self.pane as usize] = Some(0),
            KeyCode::End => self.scroll[self.pane as usize] = None,
            _ => {}
        }
        After::Stay
    }

    fn key_in_list(&mut self, code: KeyCode) {
        let Some(sweep) = &self.sweep else { return };
        let last = sweep.runs.len().saturating_sub(1);
        self.cursor = match code {
            KeyCode::Up => self.cursor.saturating_sub(1),
            KeyCode::Down => self.cursor + 1,
            KeyCode::PageUp => self.cursor.saturating_sub(10),
            KeyCode::PageDown => self.cursor + 10,
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => self.cursor,
        }
        .min(last);
        if let (KeyCode::Enter | KeyCode::Right, Some(run)) = (code, sweep.runs.get(self.cursor)) {
            let folder = run.folder.clone();
            self.open(&folder);
        }
    }

    fn open(&mut self, folder: &Path) {
        self.reader = Reader::new(folder);
        self.snapshot = self.reader.read();
        (self.listing, self.scroll, self.training, self.metric) = (false, [None; 5], None, 0);
    }

    fn turn(&mut self, by: usize) {
        self.pane = Pane::ALL[(self.pane as usize + by) % Pane::ALL.len()];
    }

    fn other_training(&mut self, next: bool) {
        let last = self.trainings().len().saturating_sub(1);
        let at = self.training.unwrap_or(last);
        let at = if next { at + 1 } else { at.saturating_sub(1) };
        // The last one is followed.
        self.training = (at < last).then_some(at);
    }

    fn scroll_by(&mut self, by: isize) {
        let pane = self.pane as usize;
        let at = self.scroll[pane].unwrap_or_else(|| self.depth[pane].min(self.start(pane)));
        self.scroll[pane] = Some(at.saturating_add_signed(by).min(self.depth[pane]));
    }

    /// Where a pane stands that follows the run.
    fn start(&self, pane: usize) -> usize {
        if pane == Pane::Stages as usize { self.followed() } else { 0 }
    }

    /// The line of the stages that the pane follows: a few of those that are over, then the present one.
    pub fn followed(&self) -> usize {
        use crate::report::live::StageState::{Done, Reused};
        let over = self.snapshot.stages.iter().rposition(|s| matches!(s.state, Done | Reused));
        over.map_or(0, |last| (last + 1).saturating_sub(3))
    }
}
