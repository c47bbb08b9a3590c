//! The contract as text: its reference for authors, and snapshots that fail when a released part changes.
//!
//! After a change that only adds: `CREAMERY_BLESS=1 cargo test --release --workspace --test plugins abi`.

use std::fs;
use std::path::PathBuf;

use super::root;

/// A function or type of an interface.
struct Item {
    /// Like "record pair"; "func rank" for a function.
    name: String,
    /// Its text with single spaces.
    text: String,
    doc: String,
}

/// An interface or a world.
struct Part {
    /// Like "interface judge".
    name: String,
    since: Option<String>,
    doc: String,
    items: Vec<Item>,
}

fn wit() -> String {
    fs::read_to_string(root().join("plugin-api/wit/plugin.wit")).expect("the contract")
}

/// The parts of a WIT file of the form that ours has.
fn parse(text: &str) -> (String, Vec<Part>) {
    let (mut package, mut parts): (String, Vec<Part>) = (String::new(), Vec::new());
    let (mut doc, mut since, mut item) = (String::new(), None, String::new());
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(words) = line.strip_prefix("///") {
            doc = format!("{doc} {}", words.trim()).trim().to_owned();
        } else if let Some(version) = line.strip_prefix("@since(version = ") {
            since = Some(version.trim_end_matches(')').to_owned());
        } else if let Some(name) = line.strip_prefix("package ") {
            package = name.trim_end_matches(';').to_owned();
            doc.clear();
        } else if item.is_empty() && (line.starts_with("interface ") || line.starts_with("world ")) {
            let name = line.trim_end_matches('{').trim().to_owned();
            parts.push(Part { name, since: since.take(), doc: std::mem::take(&mut doc), items: Vec::new() });
        } else if item.is_empty() && line == "}" {
            doc.clear();
        } else {
            item = format!("{item} {line}").trim().to_owned();
            let opened = item.matches('{').count();
            if opened != item.matches('}').count() || !(item.ends_with(';') || item.ends_with('}')) {
                continue;
            }
            let text = std::mem::take(&mut item).replace(", }", " }");
            let name = match text.split_once(": func") {
                Some((name, _)) => format!("func {name}"),
                None => text.split(" {").next().unwrap_or(&text).trim_end_matches(';').to_owned(),
            };
            let part = parts.last_mut().expect("an item is part of an interface or a world");
            part.items.push(Item { name, text, doc: std::mem::take(&mut doc) });
            since = None;
        }
    }
    assert!(item.is_empty(), "an item has no end: {item}");
    (package, parts)
}

/// Compares with a file, or writes it when asked to.
fn holds(file: PathBuf, text: &str, what_to_do: &str) {
    if std::env::var_os("CREAMERY_BLESS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        return fs::write(&file, text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    if found != text {
        let line = found.lines().zip(text.lines()).position(|(a, b)| a != b);
        let line = line.unwrap_or_else(|| found.lines().count().min(text.lines().count()));
        let of = |text: &str| text.lines().nth(line).unwrap_or("(its end)").to_owned();
        panic!("{} line {}:\n  it has {}\n  expected {}\n{what_to_do}", file.display(), line + 1, of(&found), of(text));
    }
}

#[test]
fn the_reference_is_the_contract() {
    let (package, parts) = parse(&wit());
    let mut text = format!(
        "# The contract in WIT\n\nPackage `{package}`: what components import and export. A native plugin has the same functions \
         and types, as\nRust. Made from `plugin.wit` by the test `abi`; [GUIDE.md](../GUIDE.md) explains how to use it.\n"
    );
    for part in &parts {
        text += &format!("\n## {}\n\n", part.name);
        if let Some(since) = &part.since {
            text += &format!("Since {since}. ");
        }
        text += &format!("{}\n\n| | since | |\n|---|---|---|\n", part.doc);
        for item in &part.items {
            let shown = item.text.trim_end_matches(';').replace('|', "\\|");
            let since = part.since.as_deref().unwrap_or(if item.name.contains('-') { "1.1.0" } else { "1.0.0" });
            text += &format!("| `{shown}` | {since} | {} |\n", item.doc.replace('|', "\\|"));
        }
    }
    let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    holds(
        root().join("plugin-api/wit/REFERENCE.md"),
        &text,
        "It is made from plugin.wit: run this test with CREAMERY_BLESS=1.",
    );
    for part in parts.iter().filter(|p| p.name.starts_with("interface")) {
        assert!(part.since.is_some() && !part.doc.is_empty(), "{} has no @since or no doc", part.name);
        for item in part.items.iter().filter(|i| !i.name.starts_with("use ")) {
            assert!(!item.doc.is_empty(), "{}: {} has no doc", part.name, item.name);
        }
    }
}

const BREAKING: &str = "\
This is part of a released contract: built plugins have it compiled in, and would be refused or misread. 1.x only adds:
put a new function into a new interface (WIT), or behind the last function of its table (native), with a default in the
host, and leave what is there as it was. If this was no released part, run this test with CREAMERY_BLESS=1.";

/// Interfaces that are there stay as they are; new ones are added to the snapshot.
#[test]
fn released_interfaces_do_not_change() {
    let (_, parts) = parse(&wit());
    let interfaces = parts.iter().filter(|p| p.name.starts_with("interface"));
    let paragraph = |part: &Part| {
        let lines: String = part.items.iter().map(|i| format!("  {}\n", i.text)).collect();
        format!("{} since {}\n{lines}", part.name, part.since.as_deref().unwrap_or("?"))
    };
    let paragraphs: Vec<String> = interfaces.map(paragraph).collect();
    holds(root().join("tests/fixtures/abi/wit.txt"), &paragraphs.join("\n"), BREAKING);
}

/// A host of 1.0 finds in the worlds what it knew.
#[test]
fn the_parser_sees_all_there_is() {
    let (package, parts) = parse(&wit());
    assert!(package.starts_with("creamery:plugin@1."), "{package}");
    let names: Vec<&str> = parts.iter().map(|p| p.name.as_str()).collect();
    for name in
        ["interface types", "interface judge", "interface ranker", "interface regularizer", "world judge-plugin"]
    {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let of = |name: &str| &parts.iter().find(|p| p.name == format!("interface {name}")).unwrap().items;
    assert!(of("judge").iter().any(|i| i.name == "func step" && i.text.contains("answers: list<list<answer>>")));
    assert!(of("judge").iter().any(|i| i.name == "record generate" && i.text.contains("top-p: f64 }")));
    assert!(of("types").iter().any(|i| i.name == "variant score"));
    assert_eq!(of("ranker-sources").iter().filter(|i| i.name.starts_with("func")).count(), 1);
}

/// Sizes, alignments, fields and tables of everything that crosses to a native library.
#[cfg(target_pointer_width = "64")]
#[test]
fn the_native_layout_does_not_change() {
    holds(root().join("tests/fixtures/abi/native.txt"), &creamery_plugin::native::layout(), BREAKING);
}
