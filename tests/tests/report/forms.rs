//! The answer, the tables and the errors.

use std::fs;

use serde_json::json;

use crate::world::{Made, World};

const NONE: &[f64] = &[0.60, 0.61, 0.62, 0.60, 0.61];
const CREAM: &[f64] = &[0.65, 0.655, 0.67, 0.66, 0.65];

#[test]
fn an_answer_with_intervals_a_test_and_a_correction() {
    let world = World::new();
    world.arms(&[("none", NONE), ("cream", CREAM), ("constant", &[0.59, 0.62, 0.61, 0.60, 0.62])]);
    let folders: Vec<String> =
        ["none", "cream", "constant"].iter().flat_map(|a| (0..5).map(move |s| format!("{a}-{s}"))).collect();
    let mut arguments: Vec<&str> = folders.iter().map(String::as_str).collect();
    arguments.extend(["--format", "markdown"]);
    let ran = world.report(&arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // Differences 5, 4.5, 5, 6 and 4 points: mean 4.9, from scipy an interval of 3.98 … 5.82 and p = 1.238e-4.
    for part in [
        "cream beats none by 4.90 points of sampled accuracy (95 % CI 3.98 … 5.82, paired t over 5 seeds, Holm-adjusted p < 0.001).",
        "Of 2 arms compared with none, 1 are better and 0 worse",
        "| cream | 5 | 65.7 | 64.7 … 66.7 | +4.90 | 3.98 … 5.82 |",
        "| none | 5 | 60.8 |",
        "| consistency C | round 1 |",
        "| sampled accuracy | M0 | M1 | M2 |",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in\n{}", ran.stdout);
    }
    // Another baseline and another question.
    arguments.extend(["--baseline", "cream", "--metric", "greedy-accuracy"]);
    let ran = world.report(&arguments);
    assert!(ran.stdout.contains("No arm beats cream: the best of the others, "), "{}", ran.stdout);
    assert!(ran.stdout.contains("points of greedy accuracy behind"), "{}", ran.stdout);
}

#[test]
fn csv_holds_every_number_in_full() {
    let world = World::new();
    world.arms(&[("none", &[0.6, 0.7]), ("a \"quoted\", name", &[0.65, 0.1 + 0.7])]);
    let mut folders: Vec<String> =
        ["none", "a \"quoted\", name"].iter().flat_map(|a| (0..2).map(move |s| format!("{a}-{s}"))).collect();
    folders.extend(["-o".into(), "table.csv".into()]);
    let ran = world.report(&folders.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let text = world.read("table.csv");
    assert!(text.ends_with("\r\n") && !text.replace("\r\n", "").contains('\n'));
    let rows: Vec<&str> = text.lines().collect();
    assert!(rows[0].starts_with("table,arm,metric,at,seed,n,mean,ci_low,ci_high,difference,"), "{}", rows[0]);
    let columns = rows[0].split(',').count();
    let run = rows
        .iter()
        .find(|row| row.starts_with("run,\"a \"\"quoted\"\", name\",eval/sampled,last,1,1,"))
        .expect("a run");
    assert!(run.contains(&format!(",{},", 0.1 + 0.7)), "{run}");
    // The quoted name has a comma of its own.
    assert_eq!(run.split(',').count(), columns + 1);
    assert!(rows.iter().any(|row| row.starts_with("round,none,eval/sampled,M0,,2,0.5,0.5,0.5,")), "{text}");
    assert!(rows.iter().any(|row| row.starts_with("cost,none,seconds_alone,")), "{text}");
}

#[test]
fn runs_that_did_not_end_are_said_and_not_counted() {
    let world = World::new();
    world.arms(&[("none", NONE), ("cream", &CREAM[..3])]);
    world.make("cream-9", &Made { rounds: 0, ..Made::new("cream", 9, 0.0) });
    world.make("cream-4", &Made { accuracy: None, ..Made::new("cream", 4, 0.0) });
    // A sweep names a run that has not begun.
    let arm = |name: &str, runs: &[(u64, &str)]| {
        json!({"name": name, "values": {"regularizer.plugin": format!("builtin:{name}")},
               "runs": runs.iter().map(|(seed, folder)| json!({"seed": seed, "folder": folder})).collect::<Vec<_>>()})
    };
    let sweep = json!({
        "name": "ablation", "config": "ablation.toml", "baseline": "none", "metric": "eval/sampled",
        "arms": [
            arm("cream", &[(0, "../cream-0"), (1, "../cream-1"), (2, "../cream-2"), (4, "../cream-4"), (9, "../cream-9"), (10, "nowhere")]),
            arm("none", &[(0, "../none-0"), (1, "../none-1"), (2, "../none-2"), (3, "../none-3")]),
        ],
    });
    fs::create_dir(world.path("sweep")).unwrap();
    fs::write(world.path("sweep/sweep.json"), sweep.to_string()).unwrap();
    let ran = world.report(&["sweep", "--format", "markdown"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for part in [
        "# ablation",
        "cream beats none by 4.83 points of sampled accuracy",
        "paired t over 3 seeds",
        "1 run is left out (unfinished: 0 of 1 rounds): cream seed 9.",
        "1 run is left out (not started, or its folder is gone): cream seed 10.",
        "4 seeds are few",
        "The arms have 3 to 4 seeds with a value; differences are over the seeds that an arm and the baseline both have.",
    ] {
        assert!(ran.stdout.contains(part), "no {part:?} in\n{}", ran.stdout);
    }
    // A damaged file is noted in the page, which is written all the same.
    fs::write(world.path("none-3/metrics.jsonl"), "{\"stage\": \"round\"\n").unwrap();
    fs::remove_file(world.path("none-2/plugins.json")).unwrap();
    let ran = world.report(&["sweep", "-o", "report.html"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let page = world.read("report.html");
    for part in
        ["metrics.jsonl: line 1 is no JSON object", "plugins.json: cannot read", "creamery sweep run ablation.toml"]
    {
        assert!(page.contains(part), "no {part:?}");
    }
}

#[test]
fn one_seed_says_nothing_about_chance() {
    let world = World::new();
    world.arms(&[("none", &[0.6]), ("cream", &[0.65])]);
    let ran = world.report(&["none-0", "cream-0", "--format", "markdown"]);
    assert!(ran.stdout.contains("With a single seed nothing can be said about chance between seeds"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("| cream | 1 | 65.0 ± 1.0 (over rows) | – | +5.00 | – | – | – | – |"),
        "{}",
        ran.stdout
    );
}

#[test]
fn runs_that_differ_in_more_than_the_seed_are_arms() {
    let world = World::new();
    for (folder, regularizer, seed) in [("a", "builtin:none", 0), ("b", "builtin:none", 1), ("c", "builtin:cream", 0)] {
        // All of one name, so what differs names them.
        world.make(folder, &Made { regularizer: regularizer.into(), ..Made::new("run", seed, 0.6) });
    }
    let ran = world.report(&["a", "b", "c", "--format", "markdown"]);
    assert!(ran.stdout.contains("| regularizer.plugin=builtin:none | 2 |"), "{}", ran.stdout);
    assert!(ran.stdout.contains("| regularizer.plugin=builtin:cream | 1 |"), "{}", ran.stdout);
}

#[test]
fn mistakes_name_what_to_do() {
    let world = World::new();
    world.arms(&[("none", &[0.6])]);
    fs::create_dir(world.path("empty")).unwrap();
    fs::create_dir(world.path("broken")).unwrap();
    fs::write(world.path("broken/sweep.json"), "{\"arms\": 3}").unwrap();
    let cases: [(&[&str], u8, &str); 6] = [
        (&["empty", "-o", "r.html"], 3, "neither a run's folder nor a sweep's"),
        (&["none-0"], 2, "a page needs a file"),
        (&["none-0", "--baseline", "cream", "--format", "csv"], 2, "the baseline 'cream' is no arm of these runs"),
        (&["none-0", "--metric", "charm", "--format", "csv"], 2, "no run has the metric 'charm'"),
        (&["broken", "--format", "csv"], 3, "not a sweep's file"),
        (&["none-0", "none-0", "--format", "pdf"], 2, "invalid value 'pdf'"),
    ];
    for (arguments, code, part) in cases {
        let ran = world.report(arguments);
        assert_eq!(ran.code, Some(code.into()), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{arguments:?}: {}", ran.stderr);
    }
}
