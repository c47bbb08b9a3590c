//! The terminal is given back as it was: at the end, on an error, on a signal and on a panic.

use std::io::{self, Stdout, stdout};
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
#[cfg(unix)]
use std::time::Duration;

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
        // First what cannot be held up.
        let _ = disable_raw_mode();
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
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
    /// Whoever draws has a second to leave by itself. It may not be able to: a terminal that is gone, or takes no more
    /// bytes, holds it up for ever.
    #[cfg(unix)]
    pub(super) fn catch() -> Result<Signals> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
        use signal_hook::{flag, iterator, low_level};

        const ALL: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
        let failed = |e: io::Error| Error::new(Kind::Io, format!("cannot wait for signals: {e}"));
        let again = Arc::new(AtomicBool::new(false));
        for signal in ALL {
            flag::register_conditional_default(signal, again.clone()).map_err(failed)?;
            flag::register(signal, again.clone()).map_err(failed)?;
        }
        let mut coming = iterator::Signals::new(ALL).map_err(failed)?;
        let caught = Arc::new(AtomicUsize::new(0));
        let tell = caught.clone();
        let wait = move || {
            if let Some(signal) = coming.forever().next() {
                tell.store(signal as usize, Ordering::SeqCst);
                std::thread::sleep(Duration::from_secs(1));
                give_back();
                let _ = low_level::emulate_default_handler(signal);
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
        #[cfg(target_os = "linux")]
        std::thread::Builder::new().name("terminal".into()).spawn(raise_on_hang_up).map_err(failed)?;
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

/// A terminal that goes sends SIGHUP only to the programs of its own session; to others reading it just never waits
/// again.
#[cfg(target_os = "linux")]
fn raise_on_hang_up() {
    let mut screen = libc::pollfd { fd: libc::STDOUT_FILENO, events: 0, revents: 0 };
    loop {
        // SAFETY: a system call that writes to the one record that it is given. With no events asked for it returns
        // when the terminal is gone.
        let ready = unsafe { libc::poll(&mut screen, 1, -1) };
        if ready > 0 {
            let _ = signal_hook::low_level::raise(libc::SIGHUP);
            return;
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}
