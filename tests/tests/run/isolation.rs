//! A run whose judge is a native library in a process of its own.

use super::*;

fn sets(mode: &str, policy: &str) -> Vec<String> {
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile/judge");
    let sets = [
        format!("judge.plugin={}", hostile.display()),
        "judge.artifact=native".to_owned(),
        "judge.isolation=process".to_owned(),
        format!("judge.params={{mode=\"{mode}\"}}"),
        format!("judge.on-failure={policy}"),
        format!("out={mode}-{policy}"),
    ];
    sets.into_iter().flat_map(|set| ["--set".to_owned(), set]).collect()
}

fn run(world: &World, sets: &[String]) -> Output {
    world.run(&sets.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A crash is the group's at fault or the run's end, as the policy says, and never this program's.
#[test]
fn a_crash_costs_the_groups_at_fault_or_stops_the_run() {
    let world = World::new();
    for (mode, found) in [
        ("crash-on-sevens", "signal 11 (segmentation fault)"),
        ("exit-on-sevens", "its process ended with code 0 in the middle of a call"),
        ("sleep-on-sevens", "it ran longer than its deadline of 2s for one call"),
    ] {
        let mut sets = sets(mode, "stop");
        if mode == "sleep-on-sevens" {
            sets.extend(["--set", "judge.limits.deadline-seconds=2"].map(str::to_owned));
        }
        let stopped = run(&world, &sets);
        let errors = String::from_utf8_lossy(&stopped.stderr);
        assert!(!stopped.status.success(), "{mode}: {errors}");
        for part in ["plugin 'hostile-judge'", found, "judging round 1 as current"] {
            assert!(errors.contains(part), "{mode}: no '{part}' in\n{errors}");
        }
    }
    let output = run(&world, &sets("crash-on-sevens", "abstain"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(world.path("crash-on-sevens-abstain/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    for round in summary["rounds"].as_array().unwrap() {
        // Of twenty prompts a round two ids end in 7; each has four responses.
        let judged = &round["judging"]["current"];
        assert_eq!((&judged["failed_groups"], &judged["abstentions"]), (&2.into(), &8.into()), "{judged}");
    }
    // What was made before is whole: with a good judge the run goes on from it, to what it gives where nothing failed.
    world.ok(&["--set", "out=good"]);
    let other = World::new();
    other.ok(&["--set", "out=good"]);
    assert_same(&world.results("good"), &other.results("good"), "after plugins that failed");
}

/// Printing of a plugin does not get into what the run prints.
#[test]
fn standard_output_is_the_runs_own() {
    let world = World::new();
    let mut sets = sets("print-and-score", "stop");
    sets.extend(["--set", "rounds.count=1", "--json"].map(str::to_owned));
    let output = run(&world, &sets);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("one JSON object");
}

/// However the run ends, the plugin's process ends with it, even one that never looks up.
#[test]
fn a_killed_run_leaves_no_process() {
    let world = World::new();
    let sets = sets("sleep", "stop");
    let mut command = world.command(&sets.iter().map(String::as_str).collect::<Vec<_>>());
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let parent = running.id();
    let children = || -> Vec<u32> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap() {
            let folder = entry.unwrap().path();
            let Some(id) = folder.file_name().and_then(|n| n.to_str()?.parse().ok()) else { continue };
            let Ok(stat) = fs::read_to_string(folder.join("stat")) else { continue };
            let Some((_, rest)) = stat.rsplit_once(')') else { continue };
            let plugin = fs::read(folder.join("cmdline")).is_ok_and(|line| line.ends_with(b"plugin-host\0"));
            if plugin && rest.split_whitespace().nth(1) == Some(&parent.to_string()) {
                found.push(id);
            }
        }
        found
    };
    let patience = std::time::Instant::now() + Duration::from_secs(300);
    let wait = || {
        assert!(std::time::Instant::now() < patience);
        std::thread::sleep(Duration::from_millis(10));
    };
    let child = loop {
        match children().first() {
            Some(child) => break *child,
            None => wait(),
        }
    };
    running.kill().unwrap();
    running.wait().unwrap();
    while fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|line| line.ends_with(b"plugin-host\0")) {
        wait();
    }
}
