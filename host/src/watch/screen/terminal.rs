//! The terminal is given back as it was: at the end, on an error, on a signal and on a panic.

use std::io::{self, Stdout, stdout};
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ratatui::Terminal;
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::cursor::Show;
use ratatui_crossterm::crossterm::execute;
use ratatui_crossterm::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use crate::error::{Error, Kind, Result};

/// The terminal is in our hands. There is one terminal in a process.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Does `work` on the terminal's other screen, with keys as they are typed.
///
/// # Errors
/// The terminal cannot be set up, and those of `work`.
pub fn on_screen<T>(work: impl FnOnce(&mut Terminal<CrosstermBackend<Stdout>>) -> Result<T>) -> Result<T> {
    give_back_on_panic();
    let _back = Back;
    TAKEN.store(true, Ordering::SeqCst);
    // `Terminal::clear` would ask the terminal where the cursor is, and wait for an answer.
    enable_raw_mode()
        .and_then(|()| execute!(stdout(), EnterAlternateScreen, Clear(ClearType::All)))
        .map_err(|e| failed(&e))?;
    let mut terminal = Terminal::new(CrosstermBackend::new(stdout())).map_err(|e| failed(&e))?;
    work(&mut terminal)
}

/// The cursor can be moved on this terminal.
pub fn possible() -> bool {
    cfg!(windows) || std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb")
}

pub(super) fn failed(e: &io::Error) -> Error {
    Error::new(Kind::Io, format!("the terminal cannot be used: {e}")).help("`--once` prints the state as plain text")
}

struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        give_back();
    }
}

/// Does nothing the second time. A terminal that is gone needs nothing.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// So that the message stands on the screen that stays.
fn give_back_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            earlier(panic);
        }));
    });
}

/// The signals that ask a program to end. A second one ends it at once.
pub(super) struct Signals {
    caught: Arc<AtomicUsize>,
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn catch() -> Result<Signals> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
        use signal_hook::flag;

        let (caught, again) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let registered = flag::register_conditional_default(signal, again.clone())
                .and_then(|_| flag::register(signal, again.clone()))
                .and_then(|_| flag::register_usize(signal, caught.clone(), signal as usize));
            registered.map_err(|e| Error::new(Kind::Io, format!("cannot wait for signals: {e}")))?;
        }
        Ok(Signals { caught })
    }

    #[cfg(not(unix))]
    pub(super) fn catch() -> Result<Signals> {
        Ok(Signals { caught: Arc::new(AtomicUsize::new(0)) })
    }

    pub(super) fn caught(&self) -> Option<usize> {
        Some(self.caught.load(Ordering::SeqCst)).filter(|signal| *signal > 0)
    }

    /// Ends the process as the signal would have, if there was one: who waits for it sees why it ended.
    pub(super) fn pass_on(&self) {
        #[cfg(unix)]
        if let Some(signal) = self.caught() {
            let _ = signal_hook::low_level::emulate_default_handler(signal as i32);
        }
    }
}
