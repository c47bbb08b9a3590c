//! Messages from a plugin to the user.

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    Debug = 0,
    Info = 1,
    Warn = 2,
    Error = 3,
}

impl Level {
    /// The level with this code; codes that this version does not know are errors.
    pub fn from_code(code: u32) -> Self {
        match code {
            0 => Level::Debug,
            1 => Level::Info,
            2 => Level::Warn,
            _ => Level::Error,
        }
    }
}

/// Tells the user something. Without a host (in unit tests) it goes nowhere.
pub fn log(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::wasm::log(level, message);
    #[cfg(not(target_family = "wasm"))]
    if let Some(sink) = SINK.get() {
        sink(level, message);
    }
}

/// Says where [`log`] goes. Only the first call counts. Called by the host, once.
pub fn set_log_sink(sink: impl Fn(Level, &str) + Send + Sync + 'static) {
    #[cfg(not(target_family = "wasm"))]
    let _ = SINK.set(Box::new(sink));
    #[cfg(target_family = "wasm")]
    drop(sink);
}

#[cfg(not(target_family = "wasm"))]
type Sink = Box<dyn Fn(Level, &str) + Send + Sync>;

#[cfg(not(target_family = "wasm"))]
static SINK: std::sync::OnceLock<Sink> = std::sync::OnceLock::new();
