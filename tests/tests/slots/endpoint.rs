//! Models behind an OpenAI-compatible server.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::server::{Act, Server, completion};
use crate::world::{RESPONSES, World};

fn world(server: &Server, keys: &str) -> World {
    let world = World::new();
    let address = server.address;
    world.write(
        "slots.toml",
        &format!("[slots.grader]\nendpoint = \"http://{address}/v1\"\nserved-model = \"tiny\"\n{keys}\n"),
    );
    world
}

fn status(code: u16, headers: &'static str, message: &str) -> Act {
    Act::Status(code, headers, json!({"error": {"message": message}}).to_string())
}

/// All text under a folder.
fn texts(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.path().is_dir() {
            true => all += &texts(&entry.path()),
            false => all += &String::from_utf8_lossy(&fs::read(entry.path()).unwrap()),
        }
    }
    all
}

#[test]
fn a_server_is_asked_once_for_each_text_and_never_again() {
    let server = Server::new(Vec::new());
    let world = world(&server, "api-key-env = \"GRADER_KEY\"");
    let secret = "sk-test-4711";
    let key = [("GRADER_KEY", secret)];
    let ran = world.judge(&[], &key);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let requests = server.requests();
    assert_eq!(requests.len(), RESPONSES);
    let prompts: BTreeSet<String> = requests.iter().map(|r| r["messages"].to_string()).collect();
    assert_eq!(prompts.len(), RESPONSES);
    for request in &requests {
        assert_eq!((&request["model"], &request["max_tokens"]), (&json!("tiny"), &json!(8)));
        assert_eq!(request.get("seed"), None, "greedy");
    }
    assert!(server.keys().iter().all(|key| key.as_deref() == Some("Bearer sk-test-4711")));
    assert!(world.scores().iter().all(|score| score.is_some_and(|s| (0.0..=5.0).contains(&s))));
    let first = world.read("out.jsonl");

    // Again, and with another number of requests at a time: no request, the same bytes.
    let slots = world.read("slots.toml");
    world.write("slots.toml", &format!("{slots}concurrency = 1\n"));
    let again = world.judge(&[], &key);
    assert_eq!((again.code, server.requests().len()), (Some(0), 0), "{}", again.stderr);
    assert_eq!(world.read("out.jsonl"), first);
    // The key is nowhere: not in the cache, the output or the messages.
    let everything = texts(world.folder.path()) + &ran.stderr + &again.stderr;
    assert!(everything.contains("chat") || everything.contains("Score:"));
    assert!(!everything.contains(secret), "the key was written down");

    // A damaged answer is asked for again, with a warning.
    let damaged = walk(&world.path(".creamery/store/answers")).remove(0);
    fs::write(&damaged, "{").unwrap();
    let ran = world.judge(&[], &key);
    assert_eq!((ran.code, server.requests().len()), (Some(0), 1), "{}", ran.stderr);
    assert!(ran.stderr.contains("asked for again"), "{}", ran.stderr);
    assert_eq!(world.read("out.jsonl"), first);

    // Without the cache everything is asked.
    world.write("slots.toml", &format!("{slots}cache = false\n"));
    assert_eq!(world.judge(&[], &key).code, Some(0));
    assert_eq!(server.requests().len(), RESPONSES);
    assert_eq!(world.read("out.jsonl"), first);
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.path().is_dir() {
            true => files.extend(walk(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files.sort();
    files
}

#[test]
fn random_texts_have_a_seed_of_the_run_s() {
    let server = Server::new(Vec::new());
    let world = world(&server, "");
    let seeds = |more: &[&str]| -> BTreeSet<String> {
        let sampled = [&["--param", "temperature=0.7", "--param", "k=2"], more].concat();
        let ran = world.judge(&sampled, &[]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        server.requests().iter().map(|request| request["seed"].to_string()).collect()
    };
    let first = seeds(&[]);
    assert_eq!(first.len(), 2, "one for each text to a prompt: {first:?}");
    assert_eq!(seeds(&[]).len(), 0, "kept");
    let other = seeds(&["--seed", "1"]);
    assert!(other.len() == 2 && other.is_disjoint(&first), "{other:?}");
    assert!(seeds(&["--round", "2"]).is_disjoint(&first));
}

#[test]
fn what_may_pass_is_tried_again() {
    let acts = vec![
        status(429, "Retry-After: 0\r\n", "slow down"),
        status(500, "", "oops"),
        Act::Cut,
        Act::Good,
        status(503, "Retry-After: 0\r\n", "busy"),
        status(200, "Retry-After: 0\r\n", "no capacity"),
    ];
    let attempts = acts.len() - 1;
    let server = Server::new(acts);
    let world = world(&server, "concurrency = 1");
    let ran = world.judge(&[], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(server.requests().len(), RESPONSES + attempts);
    for part in [
        "status 429: slow down",
        "status 500",
        "an error: no capacity",
        "trying again in 0.0 s",
        "trying again in 1.0 s",
    ] {
        assert!(ran.stderr.contains(part), "no '{part}' in {}", ran.stderr);
    }
    assert!(world.scores().iter().all(Option::is_some));
}

#[test]
fn what_was_answered_before_the_end_is_kept() {
    let mut acts = vec![Act::Good; 10];
    acts.push(Act::Silence);
    let server = Server::new(acts);
    let world = world(&server, "concurrency = 1\nretries = 0\ntimeout-seconds = 1");
    world.fails(6, &["within timeout-seconds", "asks only for the rest", "http://127.0.0.1"], &[]);
    assert_eq!(server.requests().len(), 11);
    let ran = world.judge(&[], &[]);
    assert_eq!((ran.code, server.requests().len()), (Some(0), RESPONSES - 10), "{}", ran.stderr);
}

#[test]
fn a_query_that_is_refused_or_badly_answered_abstains() {
    let empty = json!({"choices": [{"message": {"content": null}, "finish_reason": "content_filter"}]}).to_string();
    let acts = vec![
        status(400, "", "too long for the context"),
        Act::Status(200, "", empty),
        Act::Status(200, "", completion(&"x".repeat(17 << 20)).to_string()),
    ];
    let abstained = acts.len();
    let server = Server::new(acts);
    let world = world(&server, "concurrency = 1");
    let ran = world.judge(&[], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(server.requests().len(), RESPONSES);
    let out = world.read("out.jsonl");
    for part in ["status 400: too long", "answer is empty", "more than 16 MiB"] {
        assert!(out.contains(part), "no '{part}' in {out}");
    }
    // Equal responses share an answer.
    assert!(world.scores().iter().filter(|score| score.is_none()).count() >= abstained);
}

#[test]
fn a_server_that_is_none_ends_the_run() {
    let text = |body: &str| Act::Status(200, "", body.to_owned());
    let cases: [(Act, i32, &[&str]); 9] = [
        (text("<html>hello"), 5, &["no JSON", "<html>hello"]),
        (text("{}"), 5, &["without choices"]),
        (text("{\"choices\": []}"), 5, &["without choices"]),
        (text("{\"choices\": [{\"message\": 3}]}"), 5, &["without a message"]),
        (text("{\"choices\": [{\"message\": {\"content\": 3}}]}"), 5, &["content is no text"]),
        (status(401, "", "sk-test-4711 is no key"), 2, &["status 401", "GRADER_KEY"]),
        (status(404, "", "no model tiny"), 2, &["status 404: no model tiny", "served-model"]),
        (Act::Status(302, "Location: http://elsewhere/\r\n", String::new()), 2, &["sends to another address"]),
        (Act::Status(429, "Retry-After: 86400\r\n", String::new()), 6, &["asks to wait 86400 s"]),
    ];
    for (act, code, parts) in cases {
        let server = Server::new(Vec::new()).always(act);
        let world = world(&server, "api-key-env = \"GRADER_KEY\"");
        let shown = world.fails(code, parts, &[("GRADER_KEY", "sk-test-4711")]);
        assert!(!shown.contains("4711"), "{shown}");
    }
    let server = Server::new(Vec::new());
    let world = world(&server, "api-key-env = \"CREAMERY_NO_SUCH_KEY\"");
    world.fails(2, &["CREAMERY_NO_SUCH_KEY", "not set", "[slots.grader]"], &[]);
    assert_eq!(server.requests().len(), 0);
    // Nobody listens there.
    let slots = "[slots.grader]\nendpoint = \"http://127.0.0.1:1/v1\"\nserved-model = \"x\"\nretries = 1\n";
    world.write("slots.toml", slots);
    world.fails(6, &["127.0.0.1:1", "check that the server runs"], &[]);
}
