//! What is fetched, how, and where it lies then.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use creamery_tests::run;

use super::server::{COMMIT, Fault, etag};
use super::world::{WEIGHTS, World, examples, repository};

const MODEL: &str = "hf:test/tiny@main";

#[test]
fn a_model_is_fetched_once_and_lies_where_python_looks() {
    let world = World::new();
    let ran = world.ok(MODEL, &[("HF_TOKEN", "hf_secret")]);
    assert!(ran.stderr.contains("hf:test/tiny: weights"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("hf_secret"), "{}", ran.stderr);

    let seen = world.hub.seen();
    for request in &seen {
        let token = (!request.storage).then_some("Bearer hf_secret");
        assert_eq!(request.token.as_deref(), token, "the token goes to the hub and nowhere else: {request:?}");
        for unwanted in [".bin", ".onnx", "README", "gitattributes"] {
            assert!(!request.path.ends_with(unwanted), "{request:?}");
        }
    }
    let bytes = |name: &str| seen.iter().filter(|r| r.method == "GET" && r.path.ends_with(name)).count();
    assert_eq!((bytes("/config.json"), bytes("/tokenizer.json")), (1, 1));
    assert!(seen.iter().any(|r| r.storage && r.path.ends_with(WEIGHTS)), "the weights come from the storage");

    world.assert_clean();
    assert_eq!(fs::read_to_string(world.cached("refs/main")).unwrap(), COMMIT);
    for (name, content) in repository() {
        let needed = !["README.md", ".gitattributes", "pytorch_model.bin", "onnx/model.onnx"].contains(&name.as_str());
        let snapshot = world.snapshot(&name);
        assert_eq!(snapshot.exists(), needed, "{name}");
        if needed {
            assert_eq!(fs::read(&snapshot).unwrap(), content, "{name}");
            let link = fs::read_link(&snapshot).expect("a link");
            assert_eq!(link.to_str(), Some(format!("../../blobs/{}", etag(&name, &content)).as_str()), "{name}");
        }
    }

    // Again: one question, what the revision is. Offline: none.
    world.ok(MODEL, &[]);
    let paths: Vec<String> = world.hub.seen().into_iter().map(|r| r.path).collect();
    assert_eq!(paths, ["/api/models/test/tiny/revision/main"]);
    for variable in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        for model in [MODEL, "hf:test/tiny", &format!("hf:test/tiny@{COMMIT}")] {
            world.ok(model, &[(variable, "1")]);
        }
    }
    assert!(world.hub.seen().is_empty());
}

#[test]
fn downloads_survive_what_networks_and_servers_do() {
    let storage = "GET model.safetensors";
    let all = repository()[WEIGHTS].len();
    let zero: &[(&str, &str)] = &[("Retry-After", "0")];
    /// Name, the faults by request, the ranges that the weights are asked for then.
    type Case<'c> = (&'c str, Vec<(&'c str, Vec<Fault>)>, Vec<Option<String>>);
    let from = |n: usize| Some(format!("bytes={n}-"));
    // Redirected by the hub: each part is asked for twice, there and at the storage, and the fault is the second's.
    let second = |fault: Fault| vec![Fault::Headers(&[]), fault];
    let cases: Vec<Case> = vec![
        ("cut in the middle", vec![(storage, second(Fault::Cut(1_234_567)))], vec![None, from(1_234_567)]),
        ("cut before the first byte", vec![(storage, second(Fault::Cut(0)))], vec![None, None]),
        ("cut before the last byte", vec![(storage, second(Fault::Cut(all - 1)))], vec![None, from(all - 1)]),
        (
            "cut twice",
            vec![(storage, [second(Fault::Cut(70_001)), second(Fault::Cut(2_000_003))].concat())],
            vec![None, from(70_001), from(2_070_004)],
        ),
        (
            "cut, then the range is ignored",
            vec![(storage, [second(Fault::Cut(1_000_000)), second(Fault::IgnoreRange)].concat())],
            vec![None, from(1_000_000)],
        ),
        (
            "cut, then another range",
            vec![(storage, [second(Fault::Cut(1_000_000)), second(Fault::OtherRange)].concat())],
            vec![None, from(1_000_000), None],
        ),
        (
            "cut, then 416",
            vec![(storage, [second(Fault::Cut(1_000_000)), second(Fault::Status(416, &[]))].concat())],
            vec![None, from(1_000_000), None],
        ),
        ("503 with Retry-After", vec![(storage, second(Fault::Status(503, zero)))], vec![None, None]),
        (
            "429 of the hub's own",
            vec![("HEAD config.json", vec![Fault::Status(429, &[("RateLimit", "\"api\";r=0;t=0")])])],
            vec![None],
        ),
        (
            "500 of the listing",
            vec![("GET /revision/main", vec![Fault::Status(500, zero), Fault::Cut(20)])],
            vec![None],
        ),
        ("no HTTP", vec![(storage, second(Fault::Garbage))], vec![None, None]),
        (
            "without a length",
            vec![(storage, second(Fault::Chunked)), ("GET tokenizer.json", vec![Fault::Chunked])],
            vec![None],
        ),
        ("stalled", vec![(storage, second(Fault::Stall(500_000)))], vec![None, from(500_000)]),
    ];
    std::thread::scope(|scope| {
        for (name, faults, ranges) in cases {
            scope.spawn(move || {
                let world = World::new();
                for (request, faults) in faults {
                    world.hub.fault(request, faults);
                }
                world.ok(MODEL, &[("HF_HUB_DOWNLOAD_TIMEOUT", "1")]);
                assert_eq!(world.hub.faults_left(), 0, "{name}");
                let seen = world.hub.seen();
                let asked = seen.into_iter().filter(|r| r.storage && r.method == "GET").map(|r| r.range);
                assert_eq!(asked.collect::<Vec<_>>(), ranges, "{name}");
                world.assert_clean();
            });
        }
    });
}

#[test]
fn a_killed_download_continues() {
    let world = World::new();
    world.hub.fault("GET model.safetensors", [Fault::Headers(&[]), Fault::Stall(2_000_000)]);
    let mut child = world.logps(MODEL).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let part = world.cached("blobs").join(format!("{}.incomplete", etag(WEIGHTS, &repository()[WEIGHTS])));
    world.hub.wait_for(|r| r.storage);
    while part.metadata().map_or(0, |m| m.len()) < 2_000_000 {
        assert!(child.try_wait().unwrap().is_none(), "the program ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    world.hub.seen();
    assert!(!world.cached("refs/main").exists(), "a revision is noted when all of it is there");
    world.ok(MODEL, &[]);
    let asked: Vec<_> = world.hub.seen().into_iter().filter(|r| r.storage).map(|r| r.range).collect();
    assert_eq!(asked, [Some("bytes=2000000-".to_owned())]);
    world.assert_clean();
}

#[test]
fn what_an_earlier_download_left_is_not_trusted() {
    let bytes = &repository()[WEIGHTS];
    let mut wrong = bytes[..1_000_000].to_vec();
    wrong[5] ^= 1;
    let mut whole = bytes.clone();
    whole[5] ^= 1;
    let cases: [(&str, &[u8], usize, bool); 5] = [
        ("wrong bytes", &wrong, 2, true),
        ("all bytes, one wrong", &whole, 1, true),
        ("too many", &[bytes.as_slice(), b"more"].concat(), 1, false),
        ("all of it", bytes, 0, false),
        ("nothing", b"", 1, false),
    ];
    for (name, left, requests, told) in cases {
        let world = World::new();
        fs::create_dir_all(world.cached("blobs")).unwrap();
        fs::write(world.cached("blobs").join(format!("{}.incomplete", etag(WEIGHTS, bytes))), left).unwrap();
        let ran = world.ok(MODEL, &[]);
        assert_eq!(world.hub.seen().iter().filter(|r| r.storage).count(), requests, "{name}");
        assert_eq!(ran.stderr.contains("starting anew"), told, "{name}: {}", ran.stderr);
        world.assert_clean();
    }
}

#[test]
fn two_processes_fetch_a_model_once() {
    let world = World::new();
    world.hub.fault("GET model.safetensors", [Fault::Headers(&[]), Fault::Stall(1_000_000)]);
    let spawn = || world.logps(MODEL).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let first = spawn();
    world.hub.wait_for(|r| r.storage);
    let second = spawn();
    // The second has asked for the weights and waits for the lock, or is about to.
    world.hub.wait_for(|r| r.storage);
    while world.hub.seen().iter().filter(|r| r.method == "HEAD" && r.path.ends_with(WEIGHTS)).count() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    world.hub.release();
    for child in [first, second] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let parts: Vec<_> = world.hub.seen().into_iter().filter(|r| r.storage).map(|r| r.range).collect();
    // The stalled answer ends early, so the first process asks for the rest; the second asks for nothing.
    assert_eq!(parts, [Some("bytes=1000000-".to_owned())]);
    world.assert_clean();
}

#[test]
fn shards_subfolders_and_a_branch_that_moves() {
    let mut files = repository();
    let weights = files.remove(WEIGHTS).unwrap();
    let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&weights[8..8 + header]).unwrap();
    let names = header.as_object().unwrap().keys().filter(|name| *name != "__metadata__");
    let map: serde_json::Map<_, _> = names.map(|n| (n.clone(), "model-00001-of-00001.safetensors".into())).collect();
    files.insert("model-00001-of-00001.safetensors".into(), weights);
    files.insert("other-00001.safetensors".into(), b"not in the index".to_vec());
    files.insert("model.safetensors.index.json".into(), serde_json::json!({ "weight_map": map }).to_string().into());
    files.insert("additional_chat_templates/tools.jinja".into(), b"{{ messages }}".to_vec());
    let world = World::of(files);
    world.ok(MODEL, &[]);
    assert!(!world.snapshot("other-00001.safetensors").exists());
    let template = fs::read_link(world.snapshot("additional_chat_templates/tools.jinja")).unwrap();
    assert!(template.starts_with("../../../blobs/"), "{}", template.display());

    // One file differs at the branch's next commit: it alone is fetched, and both commits stay usable.
    world.hub.seen();
    let next = "f".repeat(40);
    world.hub.commit(&next, "generation_config.json", br#"{"eos_token_id": [0, 1]}"#);
    world.ok(MODEL, &[]);
    let fetched: Vec<_> = world.hub.seen().into_iter().filter(|r| r.method == "GET").map(|r| r.path).collect();
    assert_eq!(fetched.len(), 2, "the listing and a file: {fetched:?}");
    assert_eq!(fs::read_to_string(world.cached("refs/main")).unwrap(), next);
    for revision in [COMMIT, &next] {
        world.ok(&format!("hf:test/tiny@{revision}"), &[("HF_HUB_OFFLINE", "1")]);
    }
}

#[test]
fn a_mirror_that_points_at_the_hub_keeps_the_token_to_itself() {
    let (mirror, hub) = (World::new(), World::new());
    let location = format!("{}/test/tiny/resolve/{COMMIT}/config.json", hub.hub.endpoint());
    let headers: &[(&str, &str)] = Box::leak(Box::new([("Location", &*location.leak())]));
    for request in ["HEAD /config.json", "GET /config.json"] {
        mirror.hub.fault(request, [Fault::Status(308, headers)]);
    }
    mirror.ok(MODEL, &[("HF_TOKEN", "hf_secret")]);
    let asked: Vec<_> = hub.hub.seen().into_iter().map(|r| (r.method, r.token)).collect();
    assert_eq!(asked, [("HEAD".to_owned(), None), ("GET".to_owned(), None)]);
    assert!(mirror.hub.seen().iter().filter(|r| !r.storage).all(|r| r.token.is_some()));
    mirror.assert_clean();
}

#[test]
fn a_cache_helps_where_the_hub_does_not() {
    let world = World::new();
    world.ok(MODEL, &[]);
    let faults: [(&str, Fault, &str); 3] = [
        ("down", Fault::Status(503, &[("Retry-After", "3600")]), "status 503"),
        ("private now", Fault::Status(401, &[("X-Error-Code", "RepoNotFound")]), "status 401"),
        ("cut", Fault::Cut(3), "cut the connection"),
    ];
    for (name, fault, said) in faults {
        world.hub.fault("GET /revision/main", [fault]);
        let ran = world.ok(MODEL, &[]);
        for part in ["warning:", said, COMMIT] {
            assert!(ran.stderr.contains(part), "{name}: no '{part}' in\n{}", ran.stderr);
        }
    }
    let ran = world.ok(MODEL, &[("HF_ENDPOINT", "http://127.0.0.1:9")]);
    assert!(ran.stderr.contains("warning:") && ran.stderr.contains("127.0.0.1:9"), "{}", ran.stderr);
}

#[test]
fn a_cache_without_links_holds_files() {
    let world = World::new();
    let plain = [("HF_HUB_DISABLE_SYMLINKS", "1")];
    world.ok(MODEL, &plain);
    let file = world.snapshot(WEIGHTS);
    assert!(file.symlink_metadata().unwrap().is_file(), "a file in place of a link");
    world.ok(MODEL, &[("HF_HUB_OFFLINE", "1")]);
    // A cache with blobs, used without links: the files are copies, the blobs stay.
    let world = World::new();
    world.ok(MODEL, &[]);
    world.hub.commit(&"e".repeat(40), "README.md", b"new");
    world.ok(MODEL, &plain);
    let copy = world.cached("snapshots").join("e".repeat(40)).join(WEIGHTS);
    assert!(copy.symlink_metadata().unwrap().is_file());
    assert!(world.snapshot(WEIGHTS).exists(), "the older commit has its bytes still");
    world.assert_clean();
}

#[test]
fn a_run_takes_its_models_from_the_hub() {
    let world = World::new();
    let take = |name: &str, rows: usize| {
        let text = fs::read_to_string(examples().join("quickstart").join(name)).unwrap();
        let lines: Vec<&str> = text.lines().take(rows).collect();
        fs::write(world.home().join(name), lines.join("\n")).unwrap();
    };
    take("prompts.jsonl", 6);
    let config = format!(
        "device = \"cpu\"\nout = \"out\"\nstore = \"store\"\n[model]\npath = \"{MODEL}\"\n\
         scoring-reference = \"hf:test/tiny\"\n[data]\nprompts = \"prompts.jsonl\"\n[rounds]\ncount = 1\n\
         [sample]\nn = 3\nmax-new-tokens = 4\ntemperature = 1.5\n[train]\nbatch-size = 2\nlearning-rate = 1e-4\n"
    );
    fs::write(world.home().join("run.toml"), config).unwrap();
    let ran = run(world.command().args(["run", "run.toml", "--threads", "1"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let resolved = fs::read_to_string(world.home().join("out/config.resolved.toml")).unwrap();
    assert_eq!(resolved.matches(&format!("\"hf:test/tiny@{COMMIT}\"")).count(), 2, "{resolved}");
    // The resolved config runs as well, from the cache alone.
    let again = ["run", "out/config.resolved.toml", "--set", "out=../again", "--threads", "1"];
    let ran = run(world.command().args(again).env("HF_HUB_OFFLINE", "1"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let weights = |out: &str| fs::read(world.home().join(out).join("M2/model.safetensors")).unwrap();
    assert!(weights("out") == weights("again"));
}
