//! Messages of plugins to the user.

use std::cell::RefCell;
use std::sync::Arc;

use abi_stable::std_types::RStr;
use creamery_plugin::Level;

use super::{LoadOptions, PluginInfo};

/// Takes a message: the plugin's name, how much it matters, and the text.
pub type LogFn = Arc<dyn Fn(&str, Level, &str) + Send + Sync>;

/// Longer messages are cut.
const MAX_BYTES: usize = 4096;

thread_local! {
    /// The plugin that runs on this thread, and where its messages go. A library has one log function however
    /// often it is configured, so who speaks is known only from the call that is going on.
    static CURRENT: RefCell<Option<Arc<Speaker>>> = const { RefCell::new(None) };
}

/// A plugin, and where its messages go.
pub(super) struct Speaker {
    plugin: String,
    log: LogFn,
}

impl Speaker {
    /// The plugin of this name; none if nobody listens.
    pub(super) fn new(plugin: &str, options: &LoadOptions) -> Option<Arc<Self>> {
        options.on_log.clone().map(|log| Arc::new(Speaker { plugin: plugin.to_owned(), log }))
    }
}

/// Runs `call`, a call into a plugin, with its messages going to `speaker`.
pub(super) fn during<T>(speaker: &Option<Arc<Speaker>>, call: impl FnOnce() -> T) -> T {
    let _restore = Restore(CURRENT.replace(speaker.clone()));
    call()
}

/// As [`during`], for the calls that make a plugin.
pub(super) fn loading<T>(info: &PluginInfo, options: &LoadOptions, call: impl FnOnce() -> T) -> T {
    during(&Speaker::new(info.name(), options), call)
}

struct Restore(Option<Arc<Speaker>>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// A message from the plugin that runs on this thread.
pub(super) fn forward(level: Level, message: &str) {
    // Cloned, so that the function may itself call a plugin.
    if let Some(speaker) = CURRENT.with_borrow(Clone::clone) {
        (speaker.log)(&speaker.plugin, level, &tamed(message));
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
