//! Components as no compiler makes them: they lie about memory, lengths and values, trap wherever they can and call
//! back where they must not. Each ends in an error that says so, and the host goes on.

mod core;
#[cfg(target_os = "linux")]
mod growth;

use std::time::Duration;

use creamery::plugins::{Kind, Limits};
use creamery_plugin::testkit::{column, pair, records, scores, sources};
use creamery_plugin::{Labels, ObjectiveBatch, RankContext};
use serde_json::json;

use self::core::{Core, ROOM};
use super::forms::Random;
use super::*;

const KINDS: [Kind; 3] = [Kind::Judge, Kind::Ranker, Kind::Regularizer];

const INVALID: &str = "what it gives the host is not valid: ";
const LIST_BOUNDS: &str = "what it gives the host is not valid: list pointer/length out of bounds of memory";
const STRING_BOUNDS: &str = "what it gives the host is not valid: string pointer/length out of bounds of memory";
const LOOP: &str = "(loop $forever (br $forever))";
const GROW: &str = "(loop $forever (drop (memory.grow (i32.const 16))) (br $forever))";
const TOO_MUCH_MEMORY: &str = "bytes of memory, the limit is 16777216";
const OUT_OF_FUEL: &str = "it used up its fuel of 5000000 instructions for one call";
const TRAPPED: &str = "it trapped: wasm `unreachable` instruction executed";
const NO_CALLS: &str = "it called the host while it gives memory (`cabi_realloc`) or cleans up after its answer";

/// A loaded plugin of any kind.
enum Plugin {
    Judge(Box<dyn JudgePlugin>),
    Ranker(Box<dyn RankerPlugin>),
    Regularizer(Box<dyn RegularizerPlugin>),
}

impl Plugin {
    fn load(core: &Core, options: &LoadOptions) -> Result<Plugin> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("raw.wasm"), core.build()).unwrap();
        let none = json!({});
        let (source, base, params) = ("raw.wasm", folder.path(), Params::of(&none));
        Ok(match core.described {
            Kind::Judge => Plugin::Judge(load_judge(source, base, &params, options)?),
            Kind::Ranker => Plugin::Ranker(load_ranker(source, base, &params, options)?),
            Kind::Regularizer => Plugin::Regularizer(load_regularizer(source, base, &params, options)?),
        })
    }

    /// Calls the function of this name in the contract. `words` are where [`Core::echo`] looks for them.
    fn call(&mut self, function: &str, words: &[u32]) -> Result<()> {
        let mut groups = Groups { message_offsets: words.to_vec(), ..two_groups() };
        if function == "rank-numbers" {
            // Beyond the offsets that the host reads.
            groups.response_offsets.extend(words);
        }
        let scores = scores(&[("current", &[Some(1.0), Some(0.0), Some(2.0), Some(1.0)])]);
        match (self, function) {
            (Plugin::Judge(p), "step") => p.step(&context(), &groups, &[]).map(drop),
            (Plugin::Judge(p), "make-report") => p.report(&context(), &groups, &[]).map(drop),
            (Plugin::Ranker(p), "rank") => p.rank_texts(&RankContext::default(), &groups, &scores).map(drop),
            (Plugin::Ranker(p), "rank-numbers") => p.rank(&RankContext::default(), &groups, &scores).map(drop),
            (Plugin::Ranker(p), "rank-sources") => {
                p.rank_sources(&RankContext::default(), &groups, &scores, &sources(&["current"], &[0; 4])).map(drop)
            }
            (Plugin::Regularizer(p), _) => {
                let records = records(groups, scores, vec![pair(0, 0, 1), pair(1, 2, 3)]);
                let labels = Labels { consistency: vec![1.0; 2], weights: vec![1.0; 2], ..Labels::default() };
                let one = || vec![1.0];
                let batch = ObjectiveBatch {
                    beta: 0.1,
                    policy_chosen: one(),
                    policy_rejected: one(),
                    reference_chosen: one(),
                    reference_rejected: one(),
                    chosen_tokens: words.to_vec(),
                    rejected_tokens: vec![1],
                    consistency: one(),
                    weight: one(),
                };
                match function {
                    "label" => p.label(&records).map(drop),
                    "objective" => p.objective(&batch).map(drop),
                    "columns" => p.columns(&records, &labels).map(drop),
                    "objective-columns" => p.objective_columns(&batch, &[column("c", &[1.0])]).map(drop),
                    _ => panic!("{function}"),
                }
            }
            _ => panic!("{function}"),
        }
    }
}

/// A cache of its own, so that no test leaves its components behind, and small limits.
fn confined(cache: &Path) -> LoadOptions {
    LoadOptions {
        limits: Limits {
            fuel: 5_000_000,
            memory_bytes: 16 << 20,
            output_bytes: 1 << 20,
            deadline: Duration::from_secs(600),
            ..Limits::default()
        },
        ..LoadOptions::new(cache)
    }
}

/// What the host calls a function of the contract.
fn host_name(function: &str) -> &str {
    match function {
        "make-report" => "report",
        "rank-sources" | "rank-numbers" => "rank",
        "objective-columns" => "objective",
        _ => function,
    }
}

/// Plugins that do what they must, to see that the host still works.
struct Good {
    cache: tempfile::TempDir,
    plugins: Vec<(Core, Plugin)>,
}

impl Good {
    fn new() -> Self {
        let cache = tempfile::tempdir().unwrap();
        let load = |kind| {
            let core = Core::new(kind);
            let plugin = Plugin::load(&core, &confined(cache.path())).unwrap_or_else(|e| panic!("{kind}: {e}"));
            (core, plugin)
        };
        Good { plugins: KINDS.map(load).into(), cache }
    }

    fn options(&self) -> LoadOptions {
        confined(self.cache.path())
    }

    #[track_caller]
    fn works(&mut self) {
        for (core, plugin) in &mut self.plugins {
            for function in core.names().skip(1) {
                plugin.call(function, &[]).unwrap_or_else(|e| panic!("{function}: {e}"));
            }
        }
    }

    /// `function` of `core` fails for the reason `text`, each time, and nothing else does.
    #[track_caller]
    fn survives(&mut self, core: &Core, function: &str, text: &str) {
        let options = self.options();
        let expected = ["plugin 'raw' 1.0.0 (component): ", &format!("{}: ", host_name(function)), text];
        if function == "configure" {
            for _ in 0..2 {
                says(&fails(Plugin::load(core, &options)), &expected);
            }
        } else {
            let mut plugin = Plugin::load(core, &options).unwrap_or_else(|e| panic!("{function}: {e}"));
            let error = fails(plugin.call(function, &[]));
            says(&error, &expected);
            assert_eq!(error.kind(), creamery::Kind::Plugin);
            assert_eq!(fails(plugin.call(function, &[])).to_string(), error.to_string());
        }
        self.works();
    }
}

#[test]
fn a_trap_in_every_export() {
    let mut good = Good::new();
    good.works();
    for kind in KINDS {
        for function in Core::new(kind).names() {
            good.survives(&Core::new(kind).first(function, "(unreachable)"), function, TRAPPED);
            // After the host has read the answer.
            good.survives(&Core::new(kind).cleanup(function, "(unreachable)"), function, TRAPPED);
            good.survives(&Core::new(kind).cleanup(function, LOOP), function, OUT_OF_FUEL);
        }
        // One export that fails does not keep the others from working.
        let names: Vec<_> = Core::new(kind).names().skip(1).collect();
        let mut plugin = Plugin::load(&Core::new(kind).first(names[0], "(unreachable)"), &good.options()).unwrap();
        for _ in 0..3 {
            fails(plugin.call(names[0], &[]));
            plugin.call(names[1], &[]).unwrap();
        }
    }
}

#[test]
fn memory_for_the_host_that_is_none() {
    let mut good = Good::new();
    let call_host = "(call $log (i32.const 1) (i32.const 256) (i32.const 4))";
    let recurse = "(return (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3)))";
    let no_memory = "its `cabi_realloc` does not give the memory that the host asks for: ";
    let bounds = format!("{no_memory}beyond end of memory");
    let cases: &[(&str, &str)] = &[
        ("(return (i32.const 0xfffffff0))", &bounds),
        ("(return (i32.mul (memory.size) (i32.const 65536)))", &bounds),
        ("(unreachable)", TRAPPED),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "it trapped: integer divide by zero"),
        (LOOP, OUT_OF_FUEL),
        (GROW, TOO_MUCH_MEMORY),
        (recurse, "it overflowed its stack"),
        (call_host, NO_CALLS),
    ];
    for (body, text) in cases {
        good.survives(&Core::new(Kind::Ranker).realloc(body), "configure", text);
        for kind in KINDS {
            for function in Core::new(kind).names().skip(1) {
                good.survives(&Core::new(kind).realloc_of_lists(body), function, text);
            }
        }
    }
    let odd = Core::new(Kind::Judge).realloc_of_lists("(return (i32.const 8193))");
    good.survives(&odd, "step", &format!("{no_memory}result not aligned"));
    // The last bytes of the memory, but fewer than are wanted.
    let end = "(return (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 8)))";
    good.survives(&Core::new(Kind::Judge).realloc_of_lists(end), "step", &bounds);
    // The same memory again and again, and the address 0, harm nobody but the plugin.
    for place in ["(return (i32.const 8192))", "(return (i32.const 0))"] {
        for kind in [Kind::Judge, Kind::Regularizer] {
            let answers = "(memory.fill (i32.const 0) (i32.const 0) (i32.const 4096))";
            let core = Core::new(kind).realloc(place);
            for function in core.names().skip(1) {
                let core = core.clone().first(function, answers);
                // Whatever the answer is then, the host reads it and goes on.
                let _ = Plugin::load(&core, &good.options()).unwrap().call(function, &[]);
            }
        }
    }
    good.works();
}

#[test]
fn answers_that_lie() {
    /// The function, the words of its answer, what is said.
    type Case<'a> = (&'a str, &'a [u32], &'a str);
    let utf8 = format!("{INVALID}invalid utf-8");
    let cut = format!("{INVALID}incomplete utf-8");
    let aligned = format!("{INVALID}list pointer is not aligned");
    let case = |number| format!("{INVALID}unexpected discriminant: {number}");
    let (seventh, fifth, ninth) = (case(7), case(5), case(9));
    let result = format!("{INVALID}invalid expected discriminant");
    let option = format!("{INVALID}invalid option discriminant");
    let all = u32::MAX;
    let judge: &[Case] = &[
        ("step", &[2], &result),
        ("step", &[0x00ff_00ff], &result),
        ("step", &[1, all, 1], STRING_BOUNDS),
        ("step", &[1, 0, all], STRING_BOUNDS),
        ("step", &[1, all, all], STRING_BOUNDS),
        ("step", &[1, ROOM + 12, 4, 0xfffe_fdff], &utf8),
        // Half a surrogate pair, and a character cut off.
        ("step", &[1, ROOM + 12, 3, 0x0080_a0ed], &utf8),
        ("step", &[1, ROOM + 12, 2, 0x0000_82e2], &cut),
        ("step", &[0, 7, 256, 4], &seventh),
        ("step", &[0, 1, 256, all], LIST_BOUNDS),
        ("step", &[0, 1, 256, 0x1000_0000], LIST_BOUNDS),
        ("step", &[0, 1, 0xffff_fff8, 4], LIST_BOUNDS),
        ("step", &[0, 1, 260, 4], &aligned),
        ("step", &[0, 1, ROOM + 16, 4, 5], &fifth),
        ("step", &[0, 1, ROOM + 16, 4, 1, 0, all, 1], STRING_BOUNDS),
        ("step", &[0, 0, ROOM + 16, 1, 9], &ninth),
        ("step", &[0, 0, 256, all], LIST_BOUNDS),
        // A question to a slot whose name has no end, with so many messages, with so many labels.
        ("step", &[0, 0, ROOM + 16, 1, 3, 0, 256, all, 0, 0, 0, 0, 0, 0, 0, 0], STRING_BOUNDS),
        ("step", &[0, 0, ROOM + 16, 1, 3, 0, 256, 1, 256, all, 0, 0, 0, 0, 0, 0], LIST_BOUNDS),
        ("step", &[0, 0, ROOM + 16, 1, 3, 0, 256, 1, 0, 0, 256, all, 0, 0, 0, 0], LIST_BOUNDS),
        ("step", &[0, 0, ROOM + 16, 1, 0, 0, 256, 1, 257, 1, 0, 0, 0, 0, 0, 0], &aligned),
        ("make-report", &[0, 256, all, 0, 0], LIST_BOUNDS),
        ("make-report", &[0, 0, 0, 256, 0x0aaa_aaab], LIST_BOUNDS),
        ("make-report", &[0, 0, 0, 404, 1], &aligned),
        ("make-report", &[3, 0, 0, 0, 0], &result),
    ];
    let ranker: &[Case] = &[
        ("rank", &[0, 256, all, 400, 2, 0, 0], LIST_BOUNDS),
        ("rank", &[0, 256, 4, 400, 0x1000_0000, 0, 0], LIST_BOUNDS),
        ("rank", &[0, 256, 4, 400, 2, 256, 0x4000_0000], LIST_BOUNDS),
        ("rank", &[0, all - 3, 4, 400, 2, 0, 0], LIST_BOUNDS),
        ("rank", &[0, 257, 4, 400, 2, 0, 0], &aligned),
        ("rank", &[0, 256, 4, 400, 1, ROOM + 28, 1, 1, all, 4], STRING_BOUNDS),
        ("rank", &[0, 256, 4, 400, 1, ROOM + 28, 1, 1, ROOM + 40, 2, 0xffff], &utf8),
        ("rank", &[255], &result),
        ("rank-sources", &[0, 256, all, 400, 2, 0, 0], LIST_BOUNDS),
        ("rank-sources", &[1, ROOM, all], STRING_BOUNDS),
        ("rank-numbers", &[0, 1, 256, all, 400, 2, 0, 0], LIST_BOUNDS),
        ("rank-numbers", &[0, 1, 256, 4, 404, 2, 0, 0], &aligned),
        ("rank-numbers", &[0, 2], &option),
        ("rank-numbers", &[1, all, 1], STRING_BOUNDS),
    ];
    let regularizer: &[Case] = &[
        ("label", &[0, 256, 0x2000_0000, 256, 2, 0, 0, 0, 0], LIST_BOUNDS),
        ("label", &[0, 256, 2, 256, all, 0, 0, 0, 0], LIST_BOUNDS),
        ("label", &[0, 256, 2, 256, 2, 0, 0, 256, all], LIST_BOUNDS),
        ("label", &[0, 256, 2, 260, 2, 0, 0, 0, 0], &aligned),
        ("label", &[0, 256, 2, 256, 2, 0, 0, ROOM + 40, 1, 0, all, 1, 0, 0, 0], STRING_BOUNDS),
        ("objective", &[0, 256, 1, 256, all, 256, 1], LIST_BOUNDS),
        ("objective", &[0, 0xffff_fff8, 1, 256, 1, 256, 1], LIST_BOUNDS),
        ("objective", &[0, 256, 1, 256, 1, 257, 1], &aligned),
        ("columns", &[0, 256, all], LIST_BOUNDS),
        ("columns", &[0, ROOM + 12, 1, 256, 1, 256, all], LIST_BOUNDS),
        ("columns", &[0, ROOM + 12, 1, all, all, 256, 2], STRING_BOUNDS),
        ("objective-columns", &[0, 256, 1, 256, 1, 256, all], LIST_BOUNDS),
        ("objective-columns", &[9], &result),
    ];
    let mut good = Good::new();
    for (kind, cases) in KINDS.into_iter().zip([judge, ranker, regularizer]) {
        let core = Core::echo(kind);
        let mut plugin = Plugin::load(&core, &good.options()).unwrap();
        for (function, words, text) in cases {
            let error = fails(plugin.call(function, words));
            says(&error, &["plugin 'raw' 1.0.0 (component): ", &format!("{}: {text}", host_name(function))]);
            says(&error, &["this is a mistake of the plugin, for its author to mend"]);
            plugin.call(function, core.good(function)).unwrap_or_else(|e| panic!("{function}: {e}"));
        }
        // The answer itself is nowhere.
        for function in core.names().skip(1) {
            for (place, text) in [
                (1022, "return pointer not aligned"),
                (0xffff_fffc_u32, "pointer out of bounds of memory"),
                (65536 - 4, "pointer out of bounds of memory"),
            ] {
                let core = Core::new(kind).body(function, &format!("(i32.const {place})"));
                good.survives(&core, function, &format!("{INVALID}{text}"));
            }
        }
    }
    good.works();
}

/// Whatever bits an answer has, it is one or it is an error of the plugin.
#[test]
fn answers_of_any_bits() {
    let cache = tempfile::tempdir().unwrap();
    let (mut answers, mut errors) = (0, 0);
    for kind in KINDS {
        let core = Core::echo(kind);
        let mut plugin = Plugin::load(&core, &confined(cache.path())).unwrap();
        for function in core.names().skip(1) {
            for seed in 0..500 {
                let mut random = Random(seed);
                // A good answer, some words of it changed, and a tail that its pointers may reach.
                let mut words = core.good(function).to_vec();
                words.extend((0..40).map(|_| any_word(&mut random)));
                for _ in 0..=random.below(4) {
                    let at = random.below(12) as usize;
                    words[at] = any_word(&mut random);
                }
                if function == "rank-numbers" {
                    // A ranker that has said that it needs texts is not asked again.
                    plugin = Plugin::load(&core, &confined(cache.path())).unwrap();
                }
                match plugin.call(function, &words) {
                    Ok(()) => answers += 1,
                    Err(error) => {
                        assert_eq!(error.kind(), creamery::Kind::Plugin, "{function} {words:?}: {error}");
                        says(&error, &[&format!("plugin 'raw' 1.0.0 (component): {}: ", host_name(function))]);
                        assert!(!error.message().ends_with(": "), "{error}");
                        errors += 1;
                    }
                }
            }
            let mut plugin = Plugin::load(&core, &confined(cache.path())).unwrap();
            plugin.call(function, core.good(function)).unwrap();
        }
    }
    assert!(answers > 100 && errors > 1000, "{answers} answers, {errors} errors");
}

/// A word that may pass for a number of something, for an address or for nothing at all.
fn any_word(random: &mut Random) -> u32 {
    match random.below(5) {
        0 => random.below(5) as u32,
        1 => ROOM + 4 * random.below(60) as u32,
        2 => 256 + 8 * random.below(16) as u32,
        3 => u32::MAX - random.below(16) as u32,
        _ => random.below(1 << 32) as u32,
    }
}

/// The same few bytes named again and again: what the host would hold is counted, not what the plugin holds.
#[test]
fn small_answers_that_claim_to_be_huge() {
    let mut good = Good::new();
    for (core, function) in amplified() {
        good.survives(&core, function, "it returned more than 1048576 bytes in one call");
    }
}

/// Plugins with less than 256 KiB of memory whose answers would take gigabytes.
fn amplified() -> [(Core, &'static str); 5] {
    let (lists, texts, text) = (0x20000, 0x28000, [0x30000, 60_000]);
    let many = |words: &[u32], count| words.repeat(count);
    let core = |kind| Core::new(kind).memory("4");
    [
        (
            core(Kind::Judge).answer("step", &[0, 1, lists, 2000]).data(lists, &many(&[1, 0, text[0], text[1]], 2000)),
            "step",
        ),
        (
            core(Kind::Judge)
                .answer("step", &[0, 0, lists, 500])
                .data(lists, &many(&[3, 0, text[0], 0, 0, 0, texts, 1000, 0, 0, 0, 0], 500))
                .data(texts, &many(&text, 1000)),
            "step",
        ),
        (
            core(Kind::Ranker)
                .answer("rank", &[0, 256, 4, 400, 2, lists, 2000])
                .data(lists, &many(&[0, text[0], text[1]], 2000)),
            "rank",
        ),
        (
            core(Kind::Regularizer)
                .answer("columns", &[0, lists, 1000])
                .data(lists, &many(&[text[0], text[1], text[0], 7500], 1000)),
            "columns",
        ),
        // One list of numbers is as large as the memory, three of them are too much.
        (
            Core::new(Kind::Regularizer)
                .memory("12")
                .answer("objective", &[0, 0x10000, 0x10000, 0x10000, 0x10000, 0x10000, 0x10000]),
            "objective",
        ),
    ]
}

#[test]
fn messages_that_lie() {
    let mut good = Good::new();
    let log = |level: u32, at: u32, length: u32| {
        format!("(call $log (i32.const {level}) (i32.const {at}) (i32.const {length}))")
    };
    let utf8 = format!("{INVALID}invalid utf-8");
    let level = format!("{INVALID}unexpected discriminant: 9");
    let cases = [
        (log(1, 0xffff_fff0, 4), STRING_BOUNDS),
        (log(1, 256, u32::MAX), STRING_BOUNDS),
        (log(3, 65536, 1), STRING_BOUNDS),
        (log(9, 256, 1), &level),
        (log(1, ROOM, 4), &utf8),
    ];
    for kind in KINDS {
        for (call, text) in &cases {
            for function in Core::new(kind).names() {
                let core = Core::new(kind).data(ROOM, &[u32::MAX]).first(function, call);
                good.survives(&core, function, text);
            }
        }
    }
    let huge = Core::new(Kind::Ranker).memory("33").first("rank", &log(1, 0x10000, (1 << 20) + 1));
    good.survives(&huge, "rank", "it returned more than 1048576 bytes in one call");
    // Where it may not call.
    for function in Core::new(Kind::Regularizer).names() {
        let core = Core::new(Kind::Regularizer).cleanup(function, &log(1, 256, 4));
        good.survives(&core, function, NO_CALLS);
    }
}

/// A million messages, each as long as the host takes any: the first are shown, the others not even read.
#[test]
fn a_flood_of_messages() {
    let cache = tempfile::tempdir().unwrap();
    for (length, shown) in [(4, 1000), (1 << 10, 1000), (1 << 20, 1)] {
        for level in [1, 3] {
            let core = Core::new(Kind::Ranker).memory("33").more("(global $left (mut i32) (i32.const 0))").first(
                "rank",
                &format!(
                    "(global.set $left (i32.const 1000000))
                    (loop $again
                        (call $log (i32.const {level}) (i32.const 65536) (i32.const {length}))
                        (global.set $left (i32.sub (global.get $left) (i32.const 1)))
                        (br_if $again (global.get $left)))"
                ),
            );
            let mut options = confined(cache.path());
            options.limits.fuel = 100_000_000;
            let (options, messages) = recording(options);
            let mut plugin = Plugin::load(&core, &options).unwrap();
            plugin.call("rank", &[]).unwrap();
            let messages = messages.lock().unwrap();
            assert_eq!(messages.len(), shown, "{length} bytes");
            assert!(messages.iter().all(|m| m.len() < 5000));
        }
    }
}

/// What a plugin says of itself explains its trap, not the end of its fuel or time.
#[test]
fn a_panic_that_is_none() {
    let mut good = Good::new();
    let say = format!("(call $log (i32.const 3) (i32.const {ROOM}) (i32.const 16))");
    let text = ["pani", "cked", ": bo", "o!!!"].map(|part| u32::from_le_bytes(part.as_bytes().try_into().unwrap()));
    let core = |then: &str| Core::new(Kind::Ranker).data(ROOM, &text).first("rank", &format!("{say} {then}"));
    good.survives(&core("(unreachable)"), "rank", "panicked: boo!!!");
    good.survives(&core(LOOP), "rank", OUT_OF_FUEL);
    good.survives(&core(GROW), "rank", TOO_MUCH_MEMORY);
    Plugin::load(&core(""), &good.options()).unwrap().call("rank", &[]).unwrap();
    let mut options = good.options();
    (options.limits.fuel, options.limits.deadline) = (u64::MAX, Duration::from_millis(30));
    let error = fails(Plugin::load(&core(LOOP), &options).unwrap().call("rank", &[]));
    says(&error, &["rank: it ran longer than its deadline of 30ms"]);
    assert_eq!(error.kind(), creamery::Kind::Run);
}

/// Before any function of it is called.
#[test]
fn what_starts_with_the_module() {
    let mut good = Good::new();
    let start = |body: &str| format!("(func $start {body}) (start $start)");
    let cases: &[(&str, String, &str)] = &[
        ("1", start("(unreachable)"), TRAPPED),
        ("1", start(LOOP), OUT_OF_FUEL),
        ("1", start(GROW), TOO_MUCH_MEMORY),
        ("1", start("(call $start)"), "it overflowed its stack"),
        ("1", start("(call $log (i32.const 1) (i32.const 0) (i32.const 4))"), "it trapped: uninitialized element"),
        ("65536", String::new(), "it wants 4294967296 bytes of memory, the limit is 16777216"),
        ("257", String::new(), "it wants 16842752 bytes of memory, the limit is 16777216"),
        ("1", "(table 2000000 funcref)".to_owned(), "it wants 2000001 table elements, the limit is 1048576"),
        ("1", "(table 600000 funcref) (table 600000 funcref)".to_owned(), "it wants 1200001 table elements"),
        ("1", "(memory 100) (memory 200)".to_owned(), TOO_MUCH_MEMORY),
        ("1", "(memory 0)".repeat(70), "memory count too high"),
        ("1", "(data (i32.const 65535) \"four\")".to_owned(), "out of bounds"),
    ];
    for (memory, more, text) in cases {
        good.survives(&Core::new(Kind::Ranker).memory(memory).more(more), "configure", text);
    }
    let table = "(table $t 1 funcref)";
    let grow = "(loop $forever (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $forever))";
    good.survives(
        &Core::new(Kind::Ranker).more(table).first("rank", grow),
        "rank",
        "table elements, the limit is 1048576",
    );
}

/// Memory and tables that refuse to grow are no reason to end the plugin.
#[test]
fn what_does_not_grow_does_not_count() {
    let good = Good::new();
    let core = Core::new(Kind::Ranker)
        .memory("1 2")
        .more("(table $t 1 10 funcref) (global $left (mut i32) (i32.const 0))")
        .first(
            "rank",
            "(global.set $left (i32.const 10000))
        (loop $again
            (if (i32.ne (memory.grow (i32.const 100)) (i32.const -1)) (then (unreachable)))
            (if (i32.ne (table.grow $t (ref.null func) (i32.const 200)) (i32.const -1)) (then (unreachable)))
            (global.set $left (i32.sub (global.get $left) (i32.const 1)))
            (br_if $again (global.get $left)))",
        );
    Plugin::load(&core, &good.options()).unwrap().call("rank", &[]).unwrap();
}

/// Components that are not what their descriptor or the contract says are refused when they are loaded.
#[test]
fn another_contract() {
    let cache = tempfile::tempdir().unwrap();
    let ranker = || Core::new(Kind::Ranker);
    let cases = [
        (
            ranker().renamed("dropped", "dripped"),
            "its functions are not those of the contract: expected record field named dropped, found dripped",
        ),
        (ranker().renamed("abstain", "abstein"), "expected variant case named abstain, found abstein"),
        (ranker().renamed("rank-sources", "rank-saucers"), "rank-sources"),
        (ranker().renamed("rank-numbers", "rank-lumbers"), "rank-numbers"),
        (ranker().renamed("\x05error", "\x05arror"), "log"),
        (ranker().renamed("\x03log", "\x03lug"), "lug"),
        (ranker().renamed("plugin/ranker@1", "plugin/renker@1"), "creamery:plugin/ranker@1"),
        (ranker().renamed("\x04rank", "\x04runk"), "rank"),
        (Core::new(Kind::Judge).described(Kind::Ranker), "creamery:plugin/ranker@1"),
        (Core::new(Kind::Ranker).described(Kind::Regularizer), "creamery:plugin/regularizer@1"),
    ];
    for (core, text) in cases {
        let error = fails(Plugin::load(&core, &confined(cache.path())));
        says(&error, &["plugin 'raw' 1.0.0 (component): ", text, "help: "]);
    }
}
