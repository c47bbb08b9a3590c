//! What is left of a call that fails: no memory, no mapping, no file.

use super::*;

/// This process's own figure from `/proc/self/status`, in bytes.
fn figure(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes: u64 = line.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes << 10
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

const MIB: u64 = 1 << 20;

/// Runs `work` some times, then 100 times more, and asserts that less than 32 MiB and no file are left of these, and
/// less address space than ten instances of a component take.
#[track_caller]
fn leaves_nothing(what: &str, mut work: impl FnMut()) {
    (0..20).for_each(|_| work());
    let before = (figure("VmRSS"), figure("VmSize"), open_files());
    (0..100).for_each(|_| work());
    let (resident, reserved) = (figure("VmRSS").saturating_sub(before.0), figure("VmSize").saturating_sub(before.1));
    assert!(resident < 32 * MIB, "{what}: {} MiB are left", resident / MIB);
    assert!(reserved < 40_960 * MIB, "{what}: {} MiB of addresses are left", reserved / MIB);
    assert_eq!(open_files(), before.2, "{what}");
}

/// Each instance has 4 MiB and writes to all of them, so that 100 of them would be 400 MiB.
#[test]
fn calls_that_fail_leave_no_memory_behind() {
    if !alone("raw::growth::calls_that_fail_leave_no_memory_behind") {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let fill = "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 4128768))";
    let core = || Core::new(Kind::Ranker).memory("64");
    let cases = [
        core().first("rank", &format!("{fill} (unreachable)")),
        core().first("rank", &format!("{fill} {LOOP}")),
        core().first("rank", &format!("{fill} {GROW}")),
        core().first("rank", fill).cleanup("rank", "(unreachable)"),
        core().realloc_of_lists(&format!("{fill} (return (i32.const 0xfffffff0))")),
        core().body("rank", &format!("{fill} (i32.const {ROOM})")).data(ROOM, &[0, 256, u32::MAX]),
        // Not the call fails, but what it gives.
        core().body("rank", &format!("{fill} (i32.const {ROOM})")).data(ROOM, &[0; 7]),
    ];
    for (i, core) in cases.iter().enumerate() {
        let mut plugin = Plugin::load(core, &confined(cache.path())).unwrap();
        leaves_nothing(&format!("case {i}"), || drop(fails(plugin.call("rank", &[]))));
    }
}

/// Loaded again and again, whether it succeeds or not: code and instances go with the plugin.
#[test]
fn loading_leaves_no_memory_behind() {
    if !alone("raw::growth::loading_leaves_no_memory_behind") {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fill = "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 4128768))";
    let core = || Core::new(Kind::Ranker).memory("64");
    let start = |body: &str| format!("(func $start {body}) (start $start)");
    for (core, works) in [
        (core().first("configure", fill), true),
        (core().first("configure", &format!("{fill} (unreachable)")), false),
        (core().more(&start(&format!("{fill} {LOOP}"))), false),
    ] {
        std::fs::write(folder.path().join("raw.wasm"), core.build()).unwrap();
        leaves_nothing("loading", || {
            let loaded = load_ranker("raw.wasm", folder.path(), &Params::of(&json!({})), &confined(cache.path()));
            assert_eq!(loaded.is_ok(), works);
        });
    }
}

/// The most memory that the host ever has is what the output limit says, not what the plugin claims.
#[test]
fn claims_take_no_memory() {
    if !alone("raw::growth::claims_take_no_memory") {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    for (limit, bound) in [(1 << 20, 32 * MIB), (64 << 20, 512 * MIB)] {
        for (core, function) in amplified().into_iter().take(4) {
            let mut options = confined(cache.path());
            options.limits.output_bytes = limit;
            let mut plugin = Plugin::load(&core, &options).unwrap();
            let before = figure("VmHWM");
            for _ in 0..5 {
                says(&fails(plugin.call(function, &[])), &["it returned more than"]);
            }
            let more = figure("VmHWM") - before;
            assert!(more < bound, "{function}: {} MiB for a limit of {} MiB", more / MIB, limit / MIB as usize);
        }
    }
}
