//! The live view in a terminal.

mod app;
mod chart;
mod draw;
mod panes;
mod terminal;

use std::time::{Duration, Instant};

use ratatui_crossterm::crossterm::event::{self, Event};

use super::place::Place;
use crate::error::Result;
use app::{After, App};
use terminal::{Signals, failed};
pub use terminal::{on_screen, possible};

/// Between two looks at the run's files.
const REFRESH: Duration = Duration::from_millis(500);
/// How long a signal may wait.
const TICK: Duration = Duration::from_millis(100);

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Else everything is ASCII.
    pub unicode: bool,
    /// Else there is bold and reversed text alone.
    pub colour: bool,
}

impl Look {
    /// As LC_ALL, LC_CTYPE, LANG, TERM and NO_COLOR say.
    pub fn of_environment() -> Look {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Look::of(get)
    }

    /// The console of Linux has few characters and claims UTF-8 all the same.
    fn of(get: impl Fn(&str) -> Option<String>) -> Look {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(&get).unwrap_or_default().to_lowercase();
        let utf8 = cfg!(windows) || locale.contains("utf-8") || locale.contains("utf8");
        let poor = get("TERM").is_some_and(|term| term == "linux" || term == "dumb");
        // The sequences for colours are those of the last thirty years.
        let old = get("TERM").is_some_and(|term| term.starts_with("vt"));
        Look { unicode: utf8 && !poor, colour: !old && get("NO_COLOR").is_none() }
    }
}

/// Shows a place until the user leaves, or a signal comes, which then has its usual effect.
///
/// # Errors
/// The terminal cannot be set up, or is gone.
pub fn show(place: Place, look: Look) -> Result<()> {
    let signals = Signals::catch()?;
    let mut app = App::new(place);
    let shown = on_screen(|terminal| {
        let mut looked: Option<Instant> = None;
        let mut draw = true;
        loop {
            if signals.caught().is_some() {
                return Ok(());
            }
            if looked.is_none_or(|time| time.elapsed() >= REFRESH) {
                draw |= app.look();
                looked = Some(Instant::now());
            }
            if draw {
                terminal.draw(|frame| draw::draw(frame, &mut app, look)).map_err(|e| failed(&e))?;
                draw = false;
            }
            // All that is waiting, before the next picture.
            let mut patience = TICK;
            while event::poll(patience).map_err(|e| failed(&e))? {
                patience = Duration::ZERO;
                draw = true;
                if let Event::Key(key) = event::read().map_err(|e| failed(&e))?
                    && app.key(key) == After::Leave
                {
                    return Ok(());
                }
            }
        }
    });
    // A terminal that is gone makes an error as well.
    signals.pass_on();
    shown
}

#[cfg(test)]
mod tests;
