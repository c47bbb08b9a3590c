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
        (speaker.log)(&speaker.plugin, level, shortened(message));
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

pub(super) fn shortened(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_BYTES)]
}
