//! Every way in which a model cannot be had says what it is and what to do.

use std::fs;
use std::net::TcpListener;

use super::server::{Fault, etag};
use super::world::{WEIGHTS, World, repository};

#[test]
fn what_cannot_be_fetched_is_named_with_what_to_do() {
    let zero: &[(&str, &str)] = &[("Retry-After", "0")];
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    /// What makes it fail.
    type Setup<'s> = Box<dyn Fn(&World) + Sync + Send + 's>;
    /// Name, model, environment, setup, exit code, parts of the message.
    type Case<'c> = (&'c str, &'c str, Vec<(&'c str, &'c str)>, Setup<'c>, i32, Vec<&'c str>);
    let fault = |request: &'static str, faults: Vec<Fault>| -> Setup {
        Box::new(move |world: &World| world.hub.fault(request, faults.clone()))
    };
    let nothing = || -> Setup { Box::new(|_: &World| {}) };
    let (tiny, storage) = ("hf:test/tiny", "GET model.safetensors");
    let second = |fault: Fault| vec![Fault::Headers(&[]), fault];
    let tls = |world: &World| world.hub.endpoint().replace("http:", "https:");
    let tls_world = World::new();
    let tls_endpoint = tls(&tls_world);
    let cases: Vec<Case> = vec![
        ("no such name", "hf:test/../tiny", vec![], nothing(), 2, vec!["'/'", "hf:owner/name"]),
        (
            "no repository",
            "hf:test/other",
            vec![],
            nothing(),
            3,
            vec!["hf:test/other@main", "status 401 of 127.0.0.1", "HF_TOKEN"],
        ),
        (
            "no revision",
            "hf:test/tiny@v9",
            vec![],
            nothing(),
            3,
            vec!["hf:test/tiny@v9", "no such revision", "/test/tiny/tree/main"],
        ),
        (
            "gated, no token",
            tiny,
            vec![],
            Box::new(|w| w.hub.require("hf_right")),
            3,
            vec!["hf:test/tiny@main", "no access", "accept its conditions", "set HF_TOKEN"],
        ),
        (
            "gated, wrong token",
            tiny,
            vec![("HF_TOKEN", "hf_wrong")],
            Box::new(|w| w.hub.require("hf_right")),
            3,
            vec!["no access", "the token in HF_TOKEN may"],
        ),
        (
            "gated file",
            tiny,
            vec![],
            fault("HEAD model.safetensors", vec![Fault::Status(403, &[])]),
            3,
            vec!["hf:test/tiny@main/model.safetensors", "status 403", "HF_TOKEN"],
        ),
        (
            "a listed file that is not there",
            tiny,
            vec![],
            Box::new(|w| w.hub.list("special_tokens_map.json")),
            3,
            vec!["hf:test/tiny@main/special_tokens_map.json", "no such file"],
        ),
        (
            "the storage refuses",
            tiny,
            vec![],
            fault(storage, second(Fault::Status(403, &[]))),
            3,
            vec![WEIGHTS, "the storage", "try again"],
        ),
        (
            "offline",
            tiny,
            vec![("HF_HUB_OFFLINE", "1")],
            nothing(),
            3,
            vec!["no such model", "HF_HUB_OFFLINE", "127.0.0.1"],
        ),
        (
            "nobody listens",
            tiny,
            vec![("HF_ENDPOINT", &closed)],
            nothing(),
            6,
            vec![closed.strip_prefix("http://").unwrap(), "HF_HUB_OFFLINE=1"],
        ),
        (
            "no such host",
            tiny,
            vec![("HF_ENDPOINT", "http://hub.invalid")],
            nothing(),
            6,
            vec!["hub.invalid", "network"],
        ),
        (
            "no TLS",
            tiny,
            vec![("HF_ENDPOINT", &tls_endpoint)],
            nothing(),
            6,
            vec!["no secure connection to 127.0.0.1", "SSL_CERT_FILE"],
        ),
        (
            "no certificates",
            tiny,
            vec![("SSL_CERT_FILE", "/nonexistent.pem")],
            nothing(),
            3,
            vec!["/nonexistent.pem", "SSL_CERT_FILE"],
        ),
        ("no address", tiny, vec![("HF_ENDPOINT", "hub.example")], nothing(), 2, vec!["HF_ENDPOINT", "hub.example"]),
        (
            "down for good",
            tiny,
            vec![],
            fault("GET /revision/main", vec![Fault::Status(502, zero); 6]),
            6,
            vec!["hf:test/tiny@main", "status 502", "try again later"],
        ),
        (
            "asks to wait too long",
            tiny,
            vec![],
            fault("GET /revision/main", vec![Fault::Status(429, &[("Retry-After", "86400")])]),
            6,
            vec!["status 429", "86400 s"],
        ),
        (
            "wrong bytes",
            tiny,
            vec![],
            fault(storage, second(Fault::Wrong)),
            6,
            vec!["hf:test/tiny@main/model.safetensors", "SHA-256", "removed"],
        ),
        (
            "wrong bytes of a small file",
            tiny,
            vec![],
            fault("GET tokenizer.json", vec![Fault::Wrong]),
            6,
            vec!["hf:test/tiny@main/tokenizer.json", "SHA-1", "removed"],
        ),
        (
            "an absurd length",
            tiny,
            vec![],
            fault(storage, second(Fault::Length("18446744073709551615"))),
            6,
            vec![WEIGHTS, "announces 18446744073709551615 bytes"],
        ),
        (
            "an absurd size",
            tiny,
            vec![],
            fault("HEAD model.safetensors", vec![Fault::Headers(&[("X-Linked-Size", "9223372036854775807")])]),
            3,
            vec![WEIGHTS, "9223372036854775807 bytes", "hostile"],
        ),
        (
            "an absurd size of a small file",
            tiny,
            vec![],
            fault("HEAD tokenizer.json", vec![Fault::Length("99999999999")]),
            3,
            vec!["tokenizer.json", "99999999999 bytes"],
        ),
        (
            "an etag that climbs",
            tiny,
            vec![],
            fault("HEAD model.safetensors", vec![Fault::Headers(&[("X-Linked-Etag", "\"../../../x\"")])]),
            6,
            vec![WEIGHTS, "ETag"],
        ),
        (
            "an etag that changes for ever",
            tiny,
            vec![],
            fault(
                "GET model.safetensors",
                [Fault::Headers(&[("X-Linked-Etag", "\"other\"")]), Fault::Headers(&[])].repeat(3),
            ),
            6,
            vec![WEIGHTS, "changes on 127.0.0.1"],
        ),
        (
            "another commit",
            tiny,
            vec![],
            fault("HEAD config.json", vec![Fault::Headers(&[("X-Repo-Commit", "ffff")])]),
            6,
            vec!["config.json", "ffff"],
        ),
        (
            "a name that climbs",
            tiny,
            vec![],
            Box::new(|w| w.hub.list("../../../../x.json")),
            3,
            vec!["../../../../x.json", "outside"],
        ),
        (
            "a redirect to a file",
            tiny,
            vec![],
            fault(storage, vec![Fault::Headers(&[("Location", "file:///etc/passwd")])]),
            6,
            vec![WEIGHTS, "redirects to an address that is none"],
        ),
        (
            "redirects in a circle",
            tiny,
            vec![],
            fault(
                "HEAD config.json",
                vec![Fault::Status(307, &[("Location", "/test/tiny/resolve/main/config.json")]); 11],
            ),
            6,
            vec!["config.json", "more than 10 times"],
        ),
        (
            "a page in place of the listing",
            tiny,
            vec![],
            fault("GET /revision/main", vec![Fault::Cut(0), Fault::Status(204, &[])]),
            3,
            vec!["not JSON", "HF_ENDPOINT"],
        ),
        (
            "a cache that is a file",
            tiny,
            vec![],
            Box::new(|w| fs::write(w.home().join("hub"), "").unwrap()),
            6,
            vec!["HF_HUB_CACHE", "fetching hf:test/tiny@main/chat_template.jinja"],
        ),
    ];
    std::thread::scope(|scope| {
        for (name, model, environment, setup, code, parts) in cases {
            scope.spawn(move || {
                let world = World::new();
                setup(&world);
                let ran = world.ran(model, &environment);
                assert_eq!(ran.code, Some(code), "{name}: {}", ran.stderr);
                for part in parts.iter().chain(&["error:", "help:"]) {
                    let help_follows_from_the_name = name == "a listed file that is not there" && *part == "help:";
                    assert!(
                        ran.stderr.contains(part) || help_follows_from_the_name,
                        "{name}: no '{part}' in\n{}",
                        ran.stderr
                    );
                }
                for secret in ["hf_wrong", "hf_right", "signature=", "panicked"] {
                    assert!(!ran.stderr.contains(secret), "{name}: '{secret}' in\n{}", ran.stderr);
                }
                assert!(!world.cached("refs/main").exists(), "{name}: the revision is noted");
                if world.cached("blobs").exists() {
                    world.assert_clean_but_for_parts();
                }
            });
        }
    });
}

#[test]
fn a_repository_that_is_no_model_is_an_error() {
    let without = |names: &[&str]| {
        let mut files = repository();
        files.retain(|name, _| !names.contains(&name.as_str()));
        files
    };
    let mut adapter = without(&["config.json"]);
    adapter.insert("adapter_config.json".into(), b"{}".to_vec());
    let mut climbing = without(&[WEIGHTS]);
    climbing.insert("model.safetensors.index.json".into(), br#"{"weight_map": {"x": "../../x.safetensors"}}"#.to_vec());
    let cases: [(&str, _, &[&str]); 4] = [
        ("no config", without(&["config.json"]), &["hf:test/tiny@main", "no config.json"]),
        ("pickled weights only", without(&[WEIGHTS]), &["no model.safetensors", "pytorch_model.bin", "never fetched"]),
        ("an adapter", adapter, &["--adapter"]),
        ("an index that climbs", climbing, &["../../x.safetensors", "'x'"]),
    ];
    for (name, files, parts) in cases {
        let world = World::of(files);
        let ran = world.ran("hf:test/tiny", &[]);
        assert_eq!(ran.code, Some(3), "{name}: {}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "{name}: no '{part}' in\n{}", ran.stderr);
        }
    }
}

/// A limit on the size of files stands for a full disk: a write fails in the middle of the weights.
#[cfg(unix)]
#[test]
fn a_disk_that_refuses_keeps_what_has_arrived() {
    let world = World::new();
    let whole = world.logps("hf:test/tiny");
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\""]).arg(whole.get_program());
    limited.args(whole.get_args()).current_dir(world.home());
    for (name, value) in whole.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let ran = creamery_tests::run(&mut limited);
    assert_eq!(ran.code, Some(6), "{}", ran.stderr);
    for part in ["cannot write", ".incomplete", "fetching hf:test/tiny@main/model.safetensors", "HF_HUB_CACHE"] {
        assert!(ran.stderr.contains(part), "no '{part}' in\n{}", ran.stderr);
    }
    world.hub.seen();
    world.ok("hf:test/tiny", &[]);
    let asked: Vec<_> = world.hub.seen().into_iter().filter(|r| r.storage).map(|r| r.range).collect();
    assert!(matches!(asked.as_slice(), [Some(_)]), "what has arrived is not fetched again: {asked:?}");
    world.assert_clean();
}

#[test]
fn half_a_model_is_not_one_when_offline() {
    let world = World::new();
    world.ok("hf:test/tiny", &[]);
    fs::remove_file(world.cached("blobs").join(etag(WEIGHTS, &repository()[WEIGHTS]))).unwrap();
    let ran = world.ran("hf:test/tiny", &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("without model.safetensors"), "{}", ran.stderr);
    // A link that leads nowhere is replaced.
    world.ok("hf:test/tiny", &[]);
    world.assert_clean();
}

#[test]
fn a_config_names_the_key_of_a_wrong_name() {
    let world = World::new();
    fs::write(world.home().join("p.jsonl"), "{\"prompt\": \"a\"}\n").unwrap();
    for (key, line) in [("path", 2), ("scoring-reference", 3)] {
        let other = if key == "path" { "max-length = 9" } else { "path = \"hf:test/tiny\"" };
        let (second, third) = match key {
            "path" => ("path = \"hf:a/b/c\"", other),
            _ => (other, "scoring-reference = \"hf:a/b/c\""),
        };
        fs::write(
            world.home().join("run.toml"),
            format!("[model]\n{second}\n{third}\n[data]\nprompts = \"p.jsonl\"\n"),
        )
        .unwrap();
        let ran = creamery_tests::run(world.command().args(["config", "run.toml"]));
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        for part in [&format!("run.toml:{line}"), &format!("model.{key}"), "more than one '/'"] {
            assert!(ran.stderr.contains(part), "no '{part}' in\n{}", ran.stderr);
        }
    }
    assert!(world.hub.seen().is_empty(), "a config is read without the hub");
}
