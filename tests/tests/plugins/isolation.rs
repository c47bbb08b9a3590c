//! Native plugins in processes of their own: the same bits, and whatever they do fails one call at most.

use std::time::Duration;

use creamery::Kind;
use creamery::plugins::{Isolation, Limits};
use creamery_plugin::testkit::{self, groups, pair, records};
use creamery_plugin::{Column, ObjectiveBatch, RankContext, Score, Sources, Step};

use super::forms::{Random, run_judge};
use super::*;

fn isolated() -> LoadOptions {
    LoadOptions {
        isolation: Isolation::Process,
        plugin_host: Some(PathBuf::from(env!("CARGO_BIN_EXE_creamery-under-test"))),
        ..in_form(Artifact::Native)
    }
}

fn hostile(mode: &str, limits: Limits) -> Box<dyn JudgePlugin> {
    let options = LoadOptions { limits, ..isolated() };
    let params = json!({"mode": mode});
    load_judge(&source("hostile-judge", Artifact::Native), &root(), &Params::of(&params), &options)
        .unwrap_or_else(|e| panic!("{mode}: {e}"))
}

/// Processes whose parent is this one and that run plugins, zombies included. Those of other tests too.
fn children() -> Vec<u32> {
    let this = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let entry = entry.unwrap();
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        if rest.split_whitespace().nth(1).and_then(|parent| parent.parse::<u32>().ok()) == Some(this) {
            found.push(id);
        }
    }
    found
}

/// Judges, a ranker and regularizers, every function of theirs.
#[test]
fn a_process_gives_the_same_bits() {
    let load = |name: &str, params: &Value, options: &LoadOptions| {
        load_judge(&source(name, Artifact::Native), &root(), &Params::of(params), options).unwrap()
    };
    let here = in_form(Artifact::Native);
    for (name, params) in
        [("implicit-reward", json!({})), ("meta-judge", json!({"per-group": 2, "max-length-ratio": 0}))]
    {
        let (mut one, mut other) = (load(name, &params, &here), load(name, &params, &isolated()));
        assert_eq!(one.info().digest, other.info().digest);
        for seed in 0..12 {
            let groups = Random(seed).groups();
            let runs = [&mut one, &mut other].map(|j| run_judge(&mut **j, &context(), &groups, seed));
            assert_eq!(runs[0], runs[1], "{name} seed {seed}");
        }
    }
    let params = json!({"on-tie": "random"});
    let load = |options: &LoadOptions| {
        load_ranker(&source("temporal", Artifact::Native), &root(), &Params::of(&params), options).unwrap()
    };
    let (mut one, mut other) = (load(&here), load(&isolated()));
    for seed in 0..12 {
        let mut random = Random(seed);
        let groups = random.groups();
        let scores = random.scores(groups.responses.len());
        let context = RankContext { round: 2, seed };
        let responses = (0..groups.responses.len()).map(|_| random.below(2) as u32).collect();
        let sources = Sources { names: vec!["current".to_owned(), "M1".to_owned()], responses };
        let both = [&mut one, &mut other].map(|r| {
            format!(
                "{:?} {:?}",
                r.rank(&context, &groups, &scores),
                r.rank_sources(&context, &groups, &scores, &sources)
            )
        });
        assert_eq!(both[0], both[1], "seed {seed}");
    }
    // By numbers, too: its pairs weigh by all of them.
    let params = json!({"mode": "numbers"});
    let load = |options: &LoadOptions| {
        load_ranker(&source("hostile-ranker", Artifact::Native), &root(), &Params::of(&params), options).unwrap()
    };
    let scores = testkit::scores(&[("current", &[Some(1.0), Some(0.1), None, Some(1.0 / 3.0)])]);
    let both = [load(&here), load(&isolated())]
        .map(|mut r| (r.by_numbers(), r.rank(&RankContext::default(), &two_groups(), &scores).unwrap()));
    assert_eq!(both[0], both[1]);
    assert!(both[0].0 && both[0].1.pairs[0].weight != 1.0, "{both:?}");
    let params = json!({"mode": "columns"});
    let load = |options: &LoadOptions| {
        load_regularizer(&source("hostile-regularizer", Artifact::Native), &root(), &Params::of(&params), options)
            .unwrap()
    };
    let (mut one, mut other) = (load(&here), load(&isolated()));
    let scores = testkit::scores(&[("current", &[Some(1.0), Some(0.1), Some(2.0), Some(1.0 / 3.0)])]);
    let records = records(two_groups(), scores, vec![pair(0, 0, 1), pair(1, 2, 3)]);
    let batch = Random(5).batch();
    let column = |pairs: &ObjectiveBatch| Column {
        name: "Ziel — 目標".to_owned(),
        values: pairs.weight.iter().map(|w| w / 3.0).collect(),
    };
    let both = [&mut one, &mut other].map(|r| {
        let labels = r.label(&records).unwrap();
        let columns = r.columns(&records, &labels).unwrap();
        let with = r.objective_columns(&batch, &[column(&batch)]).unwrap();
        format!("{labels:?} {columns:?} {with:?} {:?}", r.objective(&batch).unwrap())
    });
    assert_eq!(both[0], both[1]);
}

/// A process that ends is started again as often as the limit says, and no more.
#[test]
fn restarts_are_bounded() {
    for restarts in [0, 2] {
        let mut judge = hostile("segfault", Limits { restarts, ..Limits::default() });
        for call in 0..restarts + 3 {
            let error = judge.step(&context(), &two_groups(), &[]).unwrap_err().to_string();
            let expected = match call <= restarts {
                true => "its process was ended by signal 11".to_owned(),
                false => format!("its process has ended {} times and is not started again", restarts + 1),
            };
            assert!(error.contains(&expected), "call {call} of {restarts}: {error}");
        }
    }
}

#[test]
fn a_crash_or_a_lie_fails_one_call_and_the_next_one_works() {
    let limits = || Limits { deadline: Duration::from_secs(60), output_bytes: 1 << 20, ..Limits::default() };
    let hurried = || Limits { deadline: Duration::from_millis(300), ..limits() };
    let late = ["step: it ran longer than its deadline of 300ms", "`limits.deadline-seconds`"];
    let cases: &[(&str, Limits, &[&str])] = &[
        ("abort", limits(), &["step: its process was ended by signal 6 (abort)", "for its author to mend"]),
        ("exit", limits(), &["step: its process ended with code 0 in the middle of a call"]),
        ("segfault", limits(), &["step: its process was ended by signal 11 (segmentation fault)"]),
        ("recurse", limits(), &["step: its process was ended by signal 6 (abort)", "has overflowed its stack"]),
        ("memory", limits(), &["step: it ran out of its 268435456 bytes of memory", "`limits.memory-mib`"]),
        ("output", limits(), &["step: it returned more than 1048576 bytes in one call", "`limits.output-mib`"]),
        ("panic", limits(), &["step: panicked: the sky is falling on p0 (at ", "lib.rs:"]),
        ("lie", limits(), &["step: it returned more than 1048576 bytes in one call"]),
        ("lie-within", limits(), &["step: its process sent something that is no answer", "a list of 4294967295"]),
        ("write-everywhere", limits(), &["step: it returned more than 1048576 bytes in one call"]),
        ("close-everything", limits(), &["step: its process ended with code 0"]),
        ("nan", limits(), &["step: the score of response 0 (prompt \"p0\") is NaN"]),
        ("loop", hurried(), &late),
        ("sleep", hurried(), &late),
    ];
    for (mode, limits, parts) in cases {
        let mut judge = hostile(mode, limits.clone());
        for _ in 0..2 {
            // Every time in the same way, by a new process.
            let error = fails(judge.step(&context(), &two_groups(), &[]));
            says(&error, parts);
            says(&error, &["plugin 'hostile-judge' 0.1.0 (native): step: "]);
            let late = matches!(*mode, "loop" | "sleep");
            assert_eq!(error.kind(), if late { Kind::Run } else { Kind::Plugin }, "{mode}");
        }
    }
    let mut judge = hostile("loop-on-request", hurried());
    for _ in 0..2 {
        judge.step(&context(), &two_groups(), &[]).unwrap();
        says(&fails(judge.step(&context(), &groups(&[("stop", &["loop", "x"])]), &[])), &late);
    }
    judge.step(&context(), &two_groups(), &[]).unwrap();
}

/// What it writes is no message, and is not shown; threads are its own business.
#[test]
fn printing_and_threads_do_no_harm() {
    for mode in ["print", "thread"] {
        let mut judge = hostile(mode, Limits::default());
        for _ in 0..2 {
            let step = judge.step(&context(), &two_groups(), &[]).unwrap_or_else(|e| panic!("{mode}: {e}"));
            assert_eq!(step, Step::Scores(vec![Score::Value(1.0); 4]));
        }
    }
}

#[test]
fn a_process_has_no_rights() {
    let reached = |judge: &mut dyn JudgePlugin| {
        let groups = groups(&[("one", &["a", "b", "c", "d", "e"]), ("two", &["f", "g", "h", "i"])]);
        match judge.step(&context(), &groups, &[]).unwrap() {
            Step::Scores(scores) => scores
                .into_iter()
                .map(|score| match score {
                    Score::Abstain(reason) => reason,
                    Score::Value(value) => value.to_string(),
                })
                .collect::<Vec<_>>(),
            Step::Ask(queries) => panic!("{queries:?}"),
        }
    };
    let wanted = [
        "read a file",
        "list a folder",
        "write a file",
        "remove a file",
        "open a socket",
        "send a packet",
        "start a program",
    ];
    // Nor has a thread that the library's initializer started, before the last rights were given up.
    for mode in ["reach-out", "reach-out-early"] {
        let found = reached(&mut *hostile(mode, Limits::default()));
        for (found, what) in found.iter().zip(wanted) {
            assert!(
                found.starts_with(&format!("{what}: no (Operation not permitted"))
                    || found.contains("ermission denied"),
                "{mode}: {found}"
            );
        }
        assert_eq!(&found[7..], ["see the environment: no (empty)", "see the arguments: no (2)"], "{mode}");
    }
    // The same code has all of it in this process.
    let mut free = judge("hostile-judge", Artifact::Native, &json!({"mode": "reach-out"})).unwrap();
    assert_eq!(reached(&mut *free)[0], "read a file: yes");
    std::fs::remove_file(std::env::temp_dir().join("hostile-judge-was-here")).unwrap();
}

#[test]
fn messages_of_a_process_reach_the_host() {
    for (mode, expected) in [("log", 1), ("log-flood", 1000)] {
        let (options, messages) = recording(isolated());
        let params = json!({"mode": mode});
        let mut judge =
            load_judge(&source("hostile-judge", Artifact::Native), &root(), &Params::of(&params), &options).unwrap();
        messages.lock().unwrap().clear();
        judge.step(&context(), &two_groups(), &[]).unwrap();
        let messages = messages.lock().unwrap();
        assert_eq!(messages.len(), expected, "{mode}");
        if mode == "log" {
            assert_eq!(messages[0], "hostile-judge Warn it is raining: ☔");
        }
    }
}

#[test]
fn what_isolation_is_not_for() {
    for (form, part) in [(Artifact::Component, "has a sandbox already"), (Artifact::Builtin, "is part of this program")]
    {
        let options = LoadOptions { isolation: Isolation::Process, ..in_form(form) };
        let error = fails(load_ranker(&source("best-worst", form), &root(), &Params::of(&json!({})), &options));
        says(&error, &[part, "`isolation = \"process\"` is not for it", "leave out `isolation`"]);
        assert_eq!(error.kind(), Kind::Config);
    }
    let params = json!({"mode": "refuse-params"});
    let error =
        fails(load_judge(&source("hostile-judge", Artifact::Native), &root(), &Params::of(&params), &isolated()));
    says(&error, &["configure: these parameters do not please me", "check the plugin's parameters"]);
    // A program that is no creamery.
    let options = LoadOptions { plugin_host: Some(PathBuf::from("/bin/true")), ..isolated() };
    let error =
        fails(load_judge(&source("hostile-judge", Artifact::Native), &root(), &Params::of(&json!({})), &options));
    says(&error, &["its process ended with code 0 in the middle of a call"]);
    let options = LoadOptions { plugin_host: Some(PathBuf::from("/no/such/program")), ..isolated() };
    let error =
        fails(load_judge(&source("hostile-judge", Artifact::Native), &root(), &Params::of(&json!({})), &options));
    says(&error, &["its process cannot be started: No such file"]);
}

/// By hand the command does nothing but say what it is for.
#[test]
fn the_command_is_for_the_program_itself() {
    use creamery_tests::{creamery, run};
    let ran = run(creamery!("plugin-host").stdin(std::process::Stdio::null()));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("this command is for creamery itself"), "{}", ran.stderr);
    assert!(!run(&mut creamery!("--help")).stdout.contains("plugin-host"));
}

/// With the plugin its process goes, and a process that has crashed is no zombie.
#[test]
fn no_process_is_left() {
    let before: std::collections::BTreeSet<u32> = children().into_iter().collect();
    let mine = || children().into_iter().filter(|id| !before.contains(id)).count();
    let mut judges: Vec<_> = ["good", "segfault", "exit"].map(|mode| hostile(mode, Limits::default())).into();
    // Other tests have theirs at the same time, so only that there are some is known.
    assert!(mine() >= 3);
    let ids: Vec<u32> = children();
    for judge in &mut judges {
        let _ = judge.step(&context(), &two_groups(), &[]);
    }
    drop(judges);
    // Those that are left are others': none that was there with ours stays for long.
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while ids.iter().any(|id| children().contains(id) && !before.contains(id)) {
        assert!(std::time::Instant::now() < until, "a process is left");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// However a process ends, and whatever it ends in, it is gone when the next call is made, and none is left after it.
#[test]
fn no_failure_leaves_a_process_or_a_file() {
    if !alone("isolation::no_failure_leaves_a_process_or_a_file") {
        return;
    }
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let limits = || Limits { output_bytes: 1 << 20, ..Limits::default() };
    let hurried = || Limits { deadline: Duration::from_millis(100), ..limits() };
    let modes = ["abort", "exit", "segfault", "memory", "output", "panic", "lie", "lie-within", "close-everything"];
    let cases = modes.map(|mode| (mode, limits())).into_iter().chain(["loop", "sleep"].map(|mode| (mode, hurried())));
    let before = open_files();
    for (mode, limits) in cases {
        let mut judge = hostile(mode, limits);
        assert_eq!(children().len(), 1, "{mode}");
        for _ in 0..3 {
            fails(judge.step(&context(), &two_groups(), &[]));
            assert!(children().len() <= 1, "{mode}: a process that has failed is still there");
        }
        drop(judge);
        assert_eq!(children(), [0; 0], "{mode}");
        assert_eq!(open_files(), before, "{mode}");
    }
    // Loading fails as well.
    for mode in ["refuse-params", "panic-in-new"] {
        let params = json!({"mode": mode});
        fails(load_judge(&source("hostile-judge", Artifact::Native), &root(), &Params::of(&params), &isolated()));
        assert_eq!((children().len(), open_files()), (0, before), "{mode}");
    }
}
