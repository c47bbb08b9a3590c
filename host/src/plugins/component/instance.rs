//! An instance of a component, its limits, and what happens when it hits them.

use creamery_plugin::{Level, PluginError};
use wasmtime::component::{Component, Instance, InstancePre, Linker, WasmStr};
use wasmtime::{ResourceLimiter, Store, StoreContextMut, Trap};

use super::bindings::judge::creamery::plugin::host;
use super::bindings::judge::exports::creamery::plugin::{judge, judge_report};
use super::bindings::ranker::exports::creamery::plugin::{ranker, ranker_numbers, ranker_sources};
use super::bindings::regularizer::exports::creamery::plugin::{regularizer, regularizer_columns};
use super::engine::{TICK, engine};
use super::wasi;
use crate::plugins::{Failure, Limits, Usage, log};

/// Messages of one call beyond this number are dropped.
const MAX_MESSAGES: usize = 1000;
/// What the help says where no user can help.
const TELL_AUTHOR: &str = "this is a mistake of the plugin, for its author to mend";

/// A kind of plugin: how to instantiate and configure it.
pub(super) trait World: Sized + Send + 'static {
    /// Where a component's functions are: those of 1.0, and those of 1.1 that it has.
    type Exports: Send;
    fn find(instance: &InstancePre<State>, component: &Component) -> wasmtime::Result<Self::Exports>;
    fn load(exports: &Self::Exports, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Self>;
    fn configure(&self, store: &mut Store<State>, params: &str) -> wasmtime::Result<Result<(), String>>;
}

macro_rules! world {
    ($(#[$doc:meta])* $name:ident, $exports:ident: $base:ident, $($extra:ident: $module:ident = $interface:literal),+) => {
        $(#[$doc])*
        pub(super) struct $name {
            pub(super) base: $base::Guest,
            $($extra: Option<$module::Guest>),+
        }

        pub(super) struct $exports {
            base: $base::GuestIndices,
            $(pub(super) $extra: Option<$module::GuestIndices>),+
        }

        impl $name {
            $(pub(super) fn $extra(&self) -> wasmtime::Result<&$module::Guest> {
                self.$extra.as_ref().ok_or_else(|| wasmtime::format_err!("it does not export {}", $interface))
            })+
        }

        impl World for $name {
            type Exports = $exports;

            fn find(instance: &InstancePre<State>, component: &Component) -> wasmtime::Result<Self::Exports> {
                Ok($exports {
                    base: $base::GuestIndices::new(instance)?,
                    // A lookup takes any 1.x.
                    $($extra: match component.get_export_index(None, $interface) {
                        Some(_) => Some($module::GuestIndices::new(instance)?),
                        None => None,
                    }),+
                })
            }

            fn load(exports: &$exports, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Self> {
                let base = exports.base.load(&mut *store, instance)?;
                $(let $extra = exports.$extra.as_ref().map(|e| e.load(&mut *store, instance)).transpose()?;)+
                Ok($name { base, $($extra),+ })
            }

            fn configure(&self, store: &mut Store<State>, params: &str) -> wasmtime::Result<Result<(), String>> {
                self.base.call_configure(store, params)
            }
        }
    };
}

world! {
    /// An instance of a judge.
    JudgeWorld, JudgeExports: judge, report: judge_report = "creamery:plugin/judge-report@1.1.0"
}
world! {
    /// An instance of a ranker.
    RankerWorld, RankerExports: ranker,
    sources: ranker_sources = "creamery:plugin/ranker-sources@1.1.0",
    numbers: ranker_numbers = "creamery:plugin/ranker-numbers@1.1.0"
}
world! {
    /// An instance of a regularizer.
    RegularizerWorld, RegularizerExports: regularizer,
    columns: regularizer_columns = "creamery:plugin/regularizer-columns@1.1.0"
}

/// A configured component. After a trap its instance is gone; the next call makes and configures a new one.
pub(super) struct Sandbox<W: World> {
    pre: InstancePre<State>,
    exports: W::Exports,
    params: String,
    limits: Limits,
    instance: Option<(W, Store<State>)>,
    usage: Usage,
}

impl<W: World> Sandbox<W> {
    /// Links the component. Nothing of it runs yet.
    pub(super) fn new(component: Component, params: String, limits: Limits, deny_wasi: bool) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine());
        // By hand and not by the bindings, which would copy every message before it can be refused.
        linker.instance("creamery:plugin/host@1.1.0")?.func_wrap("log", take_message)?;
        if deny_wasi {
            wasi::deny(&mut linker, &component)?;
        }
        let pre = linker.instantiate_pre(&component)?;
        let exports = W::find(&pre, &component)?;
        Ok(Sandbox { pre, exports, params, limits, instance: None, usage: Usage::default() })
    }

    /// Makes an instance and gives it its parameters.
    pub(super) fn configure(&mut self) -> Result<(), Failure> {
        self.call(|_, _| Ok(Ok(())))
    }

    /// What the last call used.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Where the component's functions are.
    pub(super) fn exports(&self) -> &W::Exports {
        &self.exports
    }

    /// Calls a function of the component within the limits.
    pub(super) fn call<T>(
        &mut self,
        call: impl FnOnce(&W, &mut Store<State>) -> wasmtime::Result<Result<T, String>>,
    ) -> Result<T, Failure> {
        let (world, mut store) = match self.instance.take() {
            Some(instance) => instance,
            None => self.start()?,
        };
        refill(&mut store, &self.limits).map_err(|e| self.failure(e, None))?;
        let called = call(&world, &mut store);
        let left = store.get_fuel().unwrap_or(0);
        self.usage = Usage { fuel: self.limits.fuel - left.min(self.limits.fuel), memory_bytes: store.data().memory };
        match called {
            Ok(result) => {
                tell_rest(store.data_mut(), None);
                self.instance = Some((world, store));
                result.map_err(said)
            }
            Err(error) => Err(self.trapped(error, &mut store)),
        }
    }

    fn start(&self) -> Result<(W, Store<State>), Failure> {
        let mut store = Store::new(engine(), State::new(&self.limits));
        store.limiter(|state| state);
        store.epoch_deadline_trap();
        refill(&mut store, &self.limits).map_err(|e| self.failure(e, None))?;
        let world = (self.pre.instantiate(&mut store))
            .and_then(|instance| W::load(&self.exports, &mut store, &instance))
            .map_err(|e| self.trapped(e, &mut store))?;
        let configured = world.configure(&mut store, &self.params);
        match configured {
            Ok(answer) => {
                tell_rest(store.data_mut(), None);
                answer.map(|()| (world, store)).map_err(said)
            }
            Err(error) => Err(self.trapped(error, &mut store)),
        }
    }

    fn trapped(&self, error: wasmtime::Error, store: &mut Store<State>) -> Failure {
        let failure = self.failure(error, Some(store.data()));
        tell_rest(store.data_mut(), Some(&failure));
        failure
    }

    /// What a trap means, and what to do.
    fn failure(&self, error: wasmtime::Error, state: Option<&State>) -> Failure {
        let limits = &self.limits;
        let failure = |message: String, help: &str| Failure { message, help: Some(help.to_owned()), timed_out: false };
        if let Some(refused) = state.and_then(|s| s.refused.clone()) {
            return failure(refused.message, refused.help);
        }
        let trap = error.downcast_ref::<Trap>();
        match trap {
            Some(Trap::OutOfFuel) => {
                return failure(
                    format!("it used up its fuel of {} instructions for one call", limits.fuel),
                    "raise `limits.fuel`; if it never ends, the plugin loops",
                );
            }
            Some(Trap::Interrupt) => {
                return Failure {
                    timed_out: true,
                    ..failure(
                        format!("it ran longer than its deadline of {:?} for one call", limits.deadline),
                        "raise `limits.deadline-seconds`, or lower `limits.fuel` so that the outcome does not depend on speed",
                    )
                };
            }
            _ => {}
        }
        // What it says of itself explains the other traps, but not those of the host's clocks.
        if let Some(last) = state.and_then(|s| s.last_words.as_ref()) {
            return Failure { message: last.text.clone(), help: None, timed_out: false };
        }
        match trap {
            Some(Trap::StackOverflow) => {
                failure("it overflowed its stack".to_owned(), "the plugin recurses too deeply; that is for its author to mend")
            }
            Some(Trap::MemoryOutOfBounds) => failure(
                "it accessed memory out of bounds".to_owned(),
                "a wrong pointer or index (in C), or a stack that overflowed; that is for its author to mend",
            ),
            Some(Trap::CannotLeaveComponent) => failure(
                "it called the host while it gives memory (`cabi_realloc`) or cleans up after its answer (post-return), \
                 where no calls are allowed"
                    .to_owned(),
                TELL_AUTHOR,
            ),
            Some(Trap::UnreachableCodeReached) => failure(
                "it trapped: wasm `unreachable` instruction executed".to_owned(),
                "the plugin gave up; one in Python or JavaScript does so where it uses a clock, files or the network, none of \
                 which a plugin has, and, if it was not built by `creamery plugin build`, where a value that it gives has \
                 another shape than the contract says; that is for its author to mend",
            ),
            Some(trap) => {
                let text = trap.to_string();
                failure(format!("it trapped: {}", text.trim_start_matches("wasm trap: ")), TELL_AUTHOR)
            }
            None => self.broken(&error),
        }
    }

    /// What an error that is no trap means: the host could not read what the component gives it, or refused it.
    fn broken(&self, error: &wasmtime::Error) -> Failure {
        let failure = |message: String, help: &str| Failure { message, help: Some(help.to_owned()), timed_out: false };
        // Not the whole chain: it holds names that the component chose.
        let text = error.root_cause().to_string();
        if let Some(name) = text.split("unknown import: `").nth(1).and_then(|rest| rest.split('`').next()) {
            return failure(
                format!("it called {name}, which is denied"),
                "`wasi = \"deny\"` lets a plugin load, not use WASI: build it without, or leave this call out",
            );
        }
        if text.starts_with("too much data is being copied") {
            let most = self.limits.output_bytes;
            return failure(format!("it returned more than {most} bytes in one call"), "raise `limits.output-mib`");
        }
        if let Some(what) = text.strip_prefix("realloc return: ") {
            let message = format!("its `cabi_realloc` does not give the memory that the host asks for: {what}");
            return failure(message, TELL_AUTHOR);
        }
        if text.starts_with("expected ") {
            return failure(
                format!("its functions are not those of the contract: {text}"),
                "build it with creamery-plugin 1.x",
            );
        }
        // The words of wasmtime's errors about values; none of them is needed to tell that the call failed.
        let about_values = ["pointer", "discriminant", "utf-8", "utf-16"].iter().any(|word| text.contains(word));
        match about_values {
            true => failure(format!("what it gives the host is not valid: {text}"), TELL_AUTHOR),
            false => failure(text, TELL_AUTHOR),
        }
    }
}

/// The plugin's own error.
fn said(message: String) -> Failure {
    PluginError::new(log::tamed(&message)).into()
}

/// Full limits for the next call.
fn refill(store: &mut Store<State>, limits: &Limits) -> wasmtime::Result<()> {
    store.set_fuel(limits.fuel)?;
    store.set_hostcall_fuel(limits.output_bytes);
    let ticks = limits.deadline.as_nanos().div_ceil(TICK.as_nanos());
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX / 2).min(u64::MAX / 2) + 1);
    let state = store.data_mut();
    state.messages = 0;
    state.message_bytes = limits.output_bytes;
    state.random = 0;
    state.last_words = None;
    state.refused = None;
    Ok(())
}

/// What the host keeps for an instance.
pub(super) struct State {
    memory_limit: usize,
    memory: usize,
    table_limit: usize,
    tables: usize,
    /// Why the instance was stopped.
    refused: Option<Refused>,
    /// What looks like the guest's panic, sent before its trap.
    last_words: Option<LastWords>,
    messages: usize,
    /// How many bytes of messages are still read in this call.
    message_bytes: usize,
    /// How far the random numbers of this call are.
    random: u64,
}

struct LastWords {
    text: String,
    /// Whether the user sees it if no trap follows: not beyond [`MAX_MESSAGES`].
    shown: bool,
}

#[derive(Clone)]
struct Refused {
    message: String,
    help: &'static str,
}

impl State {
    fn new(limits: &Limits) -> Self {
        State {
            memory_limit: limits.memory_bytes,
            memory: 0,
            table_limit: limits.table_elements,
            tables: 0,
            refused: None,
            last_words: None,
            messages: 0,
            message_bytes: 0,
            random: 0,
        }
    }
}

impl State {
    /// The next random number of this call: SplitMix64 from 0.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Memory and tables are counted over all of the component's modules.
impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|most| desired > most) {
            // It will not grow, so it counts for nothing.
            return Ok(false);
        }
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.memory_limit {
            let message = format!("it wants {total} bytes of memory, the limit is {}", self.memory_limit);
            let help = "raise `limits.memory-mib`";
            self.refused = Some(Refused { message, help });
            wasmtime::bail!("memory limit");
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        let total = self.tables.saturating_add(desired.saturating_sub(current));
        if total > self.table_limit {
            let message = format!("it wants {total} table elements, the limit is {}", self.table_limit);
            self.refused = Some(Refused { message, help: "this is much for a plugin; that is for its author to mend" });
            wasmtime::bail!("table limit");
        }
        self.tables = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        64
    }
}

/// The host's `log`. Beyond its number and bytes a message is not even read, so that a flood of huge ones, which takes
/// the plugin hardly any fuel, costs the host hardly any time.
fn take_message(
    mut store: StoreContextMut<'_, State>,
    (level, message): (host::Level, WasmStr),
) -> wasmtime::Result<()> {
    let state = store.data_mut();
    state.messages += 1;
    let (shown, may_be_panic) = (state.messages <= MAX_MESSAGES, level == host::Level::Error);
    if state.message_bytes == 0 || !(shown || may_be_panic) {
        return Ok(());
    }
    let text = message.to_str(&store)?;
    let (length, text) = (text.len(), log::tamed(&text));
    let state = store.data_mut();
    state.message_bytes = state.message_bytes.saturating_sub(length);
    if may_be_panic && text.starts_with("panicked: ") {
        // If the call traps now, this is its error, and told as such.
        tell_rest(state, None);
        state.last_words = Some(LastWords { text, shown });
    } else if shown {
        log::forward(level.into(), &text);
    }
    Ok(())
}

/// Tells what looked like a panic but is not the call's error.
fn tell_rest(state: &mut State, failure: Option<&Failure>) {
    let Some(last) = state.last_words.take() else { return };
    if last.shown && failure.is_none_or(|failure| failure.message != last.text) {
        log::forward(Level::Error, &last.text);
    }
}
