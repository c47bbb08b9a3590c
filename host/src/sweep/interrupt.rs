//! Ctrl-C and SIGTERM: noted, so that the runs can be ended before the program ends.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT and SIGTERM only are noted; a second one ends the program.
pub(super) fn watch() {
    #[cfg(target_os = "linux")]
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic and resets the signal, both of which are allowed in one.
        unsafe { libc::signal(signal, note as *const () as libc::sighandler_t) };
    }
}

#[cfg(target_os = "linux")]
extern "C" fn note(signal: libc::c_int) {
    ASKED.store(true, Ordering::Relaxed);
    // SAFETY: a plain system call.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Whether the program was asked to end.
pub(super) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
