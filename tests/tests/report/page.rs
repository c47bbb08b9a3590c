//! The page: whole in itself, the same each time, and safe whatever it shows.

use serde_json::json;

use crate::world::{Made, World, group};

const HOSTILE: &str = "</script><img src=x onerror=\"document.title='taken'\"><!--";

/// A page on hostile runs.
pub fn hostile() -> World {
    let world = World::new();
    let mut last = None;
    for seed in 0..2 {
        world.make(&format!("none-{seed}"), &Made::new("none", seed, 0.6));
        let made = Made { regularizer: HOSTILE.into(), ..Made::new(HOSTILE, seed, 0.65) };
        last.get_or_insert(world.make(&format!("hostile-{seed}"), &made));
    }
    let mut groups = vec![
        group("p-0", HOSTILE, [HOSTILE, "38"], 0.4, true),
        group("p-1", "add 1 2", ["4\u{2028}", "3\u{0}\u{202e}"], 0.9, false),
    ];
    groups[1]["dropped"] = json!(HOSTILE);
    groups[1]["pairs"] = json!([]);
    groups[1]["said"] = json!([HOSTILE, "I give it 4 points."]);
    groups[0]["abstained"] = json!({"0": HOSTILE});
    world.artifacts(&last.unwrap(), &groups);
    let ran = world.report(&["none-0", "none-1", "hostile-0", "hostile-1", "-o", "report.html"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    world
}

#[test]
fn texts_of_others_stay_text() {
    let world = hostile();
    let page = world.read("report.html");
    assert!(!page.contains("<img"), "markup of a name or a response");
    // The page's own two scripts, and the samples.
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script").count(), 3);
    assert!(page.contains("\\u003c/script>"), "the response is there");
    assert!(page.contains("&lt;img src=x onerror="), "the name is there");
    assert!(!page.contains('\u{2028}'));
}

#[test]
fn the_page_needs_nothing_else() {
    let world = hostile();
    let page = world.read("report.html");
    for outside in ["http://", "https://", "url(", "@import", " src=", "<link", "<iframe", "style=\""] {
        let text = page.replace("<img src=x", "").replace("&lt;img src=x", "").replace("\\u003cimg src=x", "");
        assert!(!text.contains(outside), "{outside:?} in the page");
    }
    assert!(page.contains("default-src 'none'"));
    let folder = world.folder.path().display().to_string();
    assert!(!page.contains(&folder), "a path of this machine");
    // Every drawing says what it shows; every table has headers.
    let drawings = page.matches("<svg class=\"chart\"").count();
    assert!(drawings > 8, "{drawings}");
    assert_eq!(page.matches("<svg class=\"chart\"").count(), page.matches("<desc>").count());
    assert_eq!(page.matches("<table").count(), page.matches("<caption>").count());
    // The same runs, the same bytes.
    world.report(&["none-0", "none-1", "hostile-0", "hostile-1", "-o", "again.html"]);
    assert!(world.read("again.html") == page, "another page of the same runs");
}

#[test]
fn without_artifacts_the_page_says_so() {
    let world = World::new();
    let run = world.make("run", &Made::new("run", 0, 0.6));
    let ran = world.report(&["run", "-o", "report.html"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(world.read("report.html").contains("did not list their artifacts"));
    world.artifacts(&run, &[group("p-0", "add 1 2", ["3", "4"], 0.5, false)]);
    std::fs::remove_dir_all(world.path("store/sample")).unwrap();
    world.report(&["run", "-o", "report.html"]);
    assert!(world.read("report.html").contains("is no longer in the store"));
}

#[test]
fn many_arms_are_folded_and_few_are_drawn() {
    let world = World::new();
    let names: Vec<String> = (0..60).map(|i| format!("arm-{i:02}")).collect();
    let values: Vec<[f64; 2]> = (0..60).map(|i| [0.5 + 0.001 * f64::from(i), 0.51]).collect();
    let arms: Vec<(&str, &[f64])> = names.iter().zip(&values).map(|(n, v)| (n.as_str(), v.as_slice())).collect();
    let folders = world.arms(&arms);
    let mut arguments: Vec<&str> = folders.iter().map(|f| f.to_str().unwrap()).collect();
    arguments.extend(["-o", "report.html"]);
    let ran = world.report(&arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let page = world.read("report.html");
    assert!(page.contains("Show all 60 arms"));
    assert!(page.contains("Drawn are the baseline and the best 7 of 60 arms."));
    // Of each of the three tables; the baseline, which is nearly the worst, is never hidden.
    let hidden = page.matches("<tr class=\"more\">").count();
    assert!((29 * 3..=30 * 3).contains(&hidden), "{hidden}");
    let base =
        page.split("<tr").find(|row| row.contains("arm-00") && row.contains("baseline</span>")).expect("the baseline");
    assert!(!base.starts_with(" class=\"more\""), "{base}");
}
