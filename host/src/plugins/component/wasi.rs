//! WASI for components that import it, when the config says `wasi = "deny"`: nothing is granted.
//!
//! Arguments, environment and preopened folders are empty, terminals are none, clocks stand still at 0, and random
//! numbers are the same in every call. Every other function ends the call with an error that names it. So a component
//! whose language brings WASI along (a C library, Rust's `wasm32-wasip2`) runs as long as it does not use it.

use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, Val};

use super::engine::engine;
use super::instance::State;

/// What the names of all WASI interfaces begin with.
pub(super) const PREFIX: &str = "wasi:";

/// More random bytes are not given at once.
const MOST_RANDOM_BYTES: u64 = 1 << 20;

/// Defines what the component imports of WASI.
pub(super) fn deny(linker: &mut Linker<State>, component: &Component) -> wasmtime::Result<()> {
    for (interface, item) in component.component_type().imports(engine()) {
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        let Some(base) = interface.strip_prefix(PREFIX).map(|name| name.split('@').next().unwrap_or(name)) else {
            continue;
        };
        let mut definitions = linker.instance(interface)?;
        for (name, _) in instance.exports(engine()) {
            if let Some(answer) = answer(base, name) {
                definitions.func_new(name, move |store, _, arguments, results| {
                    if let Some(result) = results.first_mut() {
                        *result = answer(store, arguments)?;
                    }
                    Ok(())
                })?;
            }
        }
    }
    linker.define_unknown_imports_as_traps(component)
}

type Answer = fn(StoreContextMut<'_, State>, &[Val]) -> wasmtime::Result<Val>;

/// What a function of WASI gives, if it gives anything.
fn answer(interface: &str, function: &str) -> Option<Answer> {
    Some(match (interface, function) {
        ("cli/environment", "get-environment" | "get-arguments") | ("filesystem/preopens", "get-directories") => {
            |_, _| Ok(Val::List(Vec::new()))
        }
        ("cli/environment", "initial-cwd" | "get-initial-cwd")
        | ("cli/terminal-stdin", "get-terminal-stdin")
        | ("cli/terminal-stdout", "get-terminal-stdout")
        | ("cli/terminal-stderr", "get-terminal-stderr") => |_, _| Ok(Val::Option(None)),
        ("clocks/wall-clock", "now" | "resolution") => |_, _| {
            let fields = [("seconds", Val::U64(0)), ("nanoseconds", Val::U32(0))];
            Ok(Val::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
        },
        ("clocks/monotonic-clock", "now") => |_, _| Ok(Val::U64(0)),
        ("clocks/monotonic-clock", "resolution") => |_, _| Ok(Val::U64(1)),
        ("random/random", "get-random-u64") | ("random/insecure", "get-insecure-random-u64") => {
            |mut store, _| Ok(Val::U64(store.data_mut().random()))
        }
        ("random/random", "get-random-bytes") | ("random/insecure", "get-insecure-random-bytes") => random_bytes,
        ("random/insecure-seed", "insecure-seed" | "get-insecure-seed") => {
            |_, _| Ok(Val::Tuple(vec![Val::U64(0), Val::U64(0)]))
        }
        _ => return None,
    })
}

fn random_bytes(mut store: StoreContextMut<'_, State>, arguments: &[Val]) -> wasmtime::Result<Val> {
    let Some(Val::U64(length)) = arguments.first() else { wasmtime::bail!("a length is missing") };
    if *length > MOST_RANDOM_BYTES {
        wasmtime::bail!("it wants {length} random bytes at once, at most {MOST_RANDOM_BYTES} are given");
    }
    let mut bytes = Vec::with_capacity(*length as usize);
    while bytes.len() < *length as usize {
        let left = *length as usize - bytes.len();
        bytes.extend(store.data_mut().random().to_le_bytes().into_iter().take(left).map(Val::U8));
    }
    Ok(Val::List(bytes))
}
