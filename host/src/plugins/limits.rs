//! What a plugin may use.

use std::time::Duration;

/// Limits of every call into a plugin. A component cannot exceed them, a native plugin in a process of its own none but
/// the fuel, which is not counted there. Native code in this process has none: it cannot be stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Instructions of one call, as wasmtime counts them (about one for each WebAssembly instruction).
    /// Deterministic: this limit, not the deadline, should decide.
    pub fuel: u64,
    /// Wall-clock time of one call.
    pub deadline: Duration,
    /// All linear memory of a plugin.
    pub memory_bytes: usize,
    /// All table elements of a plugin.
    pub table_elements: usize,
    /// What one call may hand to the host.
    pub output_bytes: usize,
    /// How often a judge may ask before it gives scores.
    pub steps: usize,
    /// How often a native plugin's process is started again in the place of one that ended.
    pub restarts: u64,
}

impl Default for Limits {
    /// About 20 seconds of work, a minute of time, 256 MiB of memory, 64 MiB of output, 64 steps, 100 restarts.
    fn default() -> Self {
        Limits {
            fuel: 20_000_000_000,
            deadline: Duration::from_secs(60),
            memory_bytes: 256 << 20,
            table_elements: 1 << 20,
            output_bytes: 64 << 20,
            steps: 64,
            restarts: 100,
        }
    }
}
