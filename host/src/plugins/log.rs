//! Messages of plugins to the user.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use abi_stable::std_types::RStr;
use creamery_plugin::Level;

use super::{LoadOptions, PluginInfo};

/// Takes a message: the plugin's name, how much it matters, and the text.
pub type LogFn = Arc<dyn Fn(&str, Level, &str) + Send + Sync>;

/// Longer messages are cut.
const MAX_BYTES: usize = 4096;

thread_local! {
    /// The plugin that runs on this thread, by its speaker's number; 0 where none does. A library has one log function
    /// however often it is configured, so who speaks is known only from the call that is going on.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// Where messages go, by the number of the speaker. A call sets a number alone: that takes next to no time.
static LISTENERS: RwLock<BTreeMap<u64, Arc<Listener>>> = RwLock::new(BTreeMap::new());

/// A plugin, and where its messages go.
struct Listener {
    plugin: String,
    log: LogFn,
}

/// The right of a plugin's calls to be heard: as long as this lives, and 0 if nobody listens.
pub(super) struct Speaker(u64);

impl Speaker {
    /// The plugin of this name.
    pub(super) fn new(plugin: &str, options: &LoadOptions) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let Some(log) = options.on_log.clone() else { return Speaker(0) };
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let listener = Arc::new(Listener { plugin: plugin.to_owned(), log });
        LISTENERS.write().unwrap_or_else(PoisonError::into_inner).insert(number, listener);
        Speaker(number)
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        if self.0 != 0 {
            // Dropped after the lock is: it may be anything.
            let _listener = LISTENERS.write().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        }
    }
}

/// Runs `call`, a call into a plugin, with its messages going to `speaker`.
pub(super) fn during<T>(speaker: &Speaker, call: impl FnOnce() -> T) -> T {
    let _restore = Restore(CURRENT.replace(speaker.0));
    call()
}

/// As [`during`], for the calls that make a plugin.
pub(super) fn loading<T>(info: &PluginInfo, options: &LoadOptions, call: impl FnOnce() -> T) -> T {
    during(&Speaker::new(info.name(), options), call)
}

struct Restore(u64);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// A message from the plugin that runs on this thread.
pub(super) fn forward(level: Level, message: &str) {
    let listeners = LISTENERS.read().unwrap_or_else(PoisonError::into_inner);
    let listener = listeners.get(&CURRENT.get()).cloned();
    // The function may itself load or call a plugin.
    drop(listeners);
    if let Some(listener) = listener {
        (listener.log)(&listener.plugin, level, &tamed(message));
    }
}

/// As [`forward`], for native libraries.
pub(super) extern "C" fn forward_native(level: u32, message: RStr<'_>) {
    // A panic must not cross into the library.
    let _ = std::panic::catch_unwind(|| forward(Level::from_code(level), message.as_str()));
}

/// A message of the host itself about `plugin`.
pub(super) fn host(options: &LoadOptions, plugin: &str, level: Level, message: &str) {
    if let Some(log) = &options.on_log {
        log(plugin, level, message);
    }
}

/// What a plugin says, fit for a terminal: not too long, and without sequences that would command it or turn the text
/// around.
pub(super) fn tamed(message: &str) -> String {
    let commands = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut text = String::with_capacity(message.len().min(MAX_BYTES));
    for c in message[..message.floor_char_boundary(MAX_BYTES)].chars() {
        match commands(c) {
            true => text.extend(c.escape_default()),
            false => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_commanded() {
        for (said, shown) in [
            ("plain\ttext\nin two lines: ä, 日本", "plain\ttext\nin two lines: ä, 日本"),
            ("\u{1b}]0;title\u{7}\r", r"\u{1b}]0;title\u{7}\r"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("a\u{202e}b", r"a\u{202e}b"),
        ] {
            assert_eq!(tamed(said), shown);
        }
        assert_eq!(tamed(&"ä".repeat(MAX_BYTES)).len(), MAX_BYTES);
    }
}
