//! One engine for all components of this program.

use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::{Config, Engine};

/// Deadlines are counted in ticks of this length.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// The engine, made on first use together with the thread that advances its clock.
pub(super) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        // The configuration is fixed, so this cannot fail on user input.
        let engine = Engine::new(&config()).expect("the engine's configuration is valid");
        let clock = engine.clone();
        let ticking = std::thread::Builder::new().name("plugin-deadline".to_owned()).spawn(move || {
            loop {
                std::thread::sleep(TICK);
                clock.increment_epoch();
            }
        });
        // Without the thread there is no deadline; the fuel limit still ends every call.
        drop(ticking);
        engine
    })
}

/// Deterministic: the same component gives the same bits everywhere.
fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .concurrency_support(false)
        .max_wasm_stack(1 << 20)
        // For loading in less time: no report names a place in the code, and an instance is made once.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .memory_init_cow(false);
    config
}
