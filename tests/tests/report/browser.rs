//! The page in a real browser, without a window. `CREAMERY_BROWSER` names it; else Chromium or Chrome where it is
//! installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use creamery_tests::run;

use crate::page::hostile;
use crate::world::World;

/// `None`, with a line that says so, where there is no browser and none is asked for.
fn browser() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CREAMERY_BROWSER") {
        return Some(named.into());
    }
    let folders: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|p| p.is_file());
    if found.is_none() {
        println!("skipped: there is no chromium; set CREAMERY_BROWSER to a browser of its kind");
    }
    found
}

/// The page's elements once its script has run, at this place.
fn shown(browser: &Path, world: &World, place: &str) -> String {
    let profile = world.path("profile");
    let page = format!("file://{}{place}", world.path("report.html").display());
    let mut command = Command::new(browser);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--virtual-time-budget=4000",
    ]);
    command.arg(format!("--user-data-dir={}", profile.display())).args(["--dump-dom", &page]);
    let ran = run(&mut command);
    assert!(ran.stdout.contains("<h1>"), "{command:?}: {:?}\n{}", ran.code, ran.stderr);
    ran.stdout
}

/// Text after `<p id="found" …>`.
fn found(dom: &str) -> &str {
    let (_, rest) = dom.split_once("id=\"found\"").expect("the count of groups");
    rest.split_once('>').and_then(|(_, rest)| rest.split_once('<')).expect("its text").0
}

#[test]
fn a_browser_shows_the_page_and_filters_samples() {
    let Some(browser) = browser() else { return };
    let world = hostile();
    let dom = shown(&browser, &world, "");
    assert_eq!(found(&dom), "2 of 2 groups");
    assert_eq!(dom.matches("<article").count(), 2);
    // Texts are text, and nothing took the page over.
    assert!(!dom.contains("<img"), "markup of a response");
    assert!(!dom.contains("<title>taken"), "a script of a response ran");
    // By both viewpoints, which have one artifact here.
    assert!(dom.contains("models wrote (2)"), "what the judges' models wrote");
    assert!(dom.contains("class=\"js\""), "the policy keeps the page's own script from running");
    let cases = [
        ("text=add+1", "1 of 2 groups", "p-1"),
        ("text=38", "1 of 2 groups", "p-0"),
        ("text=give+it+4+points", "1 of 2 groups", "p-1"),
        ("dropped=1", "1 of 2 groups", "p-1"),
        ("differ=1", "1 of 2 groups", "p-0"),
        ("high=0.5", "1 of 2 groups", "p-0"),
        ("low=0.5", "0 of 2 groups", ""),
        ("round=1", "2 of 2 groups", "p-0"),
    ];
    for (place, count, id) in cases {
        let dom = shown(&browser, &world, &format!("#samples:{place}"));
        assert_eq!(found(&dom), count, "{place}");
        if !id.is_empty() {
            assert!(
                dom.contains(&format!("<code class=\"\">{id}</code>")) || dom.contains(&format!("<code>{id}</code>")),
                "{place}"
            );
        }
    }
}

#[test]
fn a_browser_draws_the_page() {
    let Some(browser) = browser() else { return };
    let world = hostile();
    for (name, size) in [("desk", "1280,1600"), ("phone", "500,1600")] {
        let picture = world.path(&format!("{name}.png"));
        let mut command = Command::new(&browser);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
        command.arg(format!("--user-data-dir={}", world.path("profile").display()));
        command.arg(format!("--window-size={size}")).arg(format!("--screenshot={}", picture.display()));
        command.arg(format!("file://{}", world.path("report.html").display()));
        let ran = run(&mut command);
        let size = std::fs::metadata(&picture).map(|m| m.len()).unwrap_or(0);
        // An empty page of that size is smaller by far.
        assert!(size > 30_000, "{name}: {size} bytes, {:?}\n{}", ran.code, ran.stderr);
    }
}
