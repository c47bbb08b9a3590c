//! Whose plugins are loaded: locks and signatures.

use std::fs;
use std::sync::Arc;

use creamery::plugins::lock::{Lock, Locked};
use creamery::plugins::signature::{PublicKey, SecretKey, beside};
use creamery::plugins::{Kind, Trust, identify};
use creamery_tests::{Ran, creamery, run};
use tempfile::TempDir;

use super::*;

/// Copies of a built plugin in a folder of their own, and a config beside them that is never read.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::copy(built("best-worst", Artifact::Native), folder.path().join("rank.so")).unwrap();
        fs::copy(built("best-worst", Artifact::Component), folder.path().join("rank.wasm")).unwrap();
        Place { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self, source: &str, params: &Value, trust: Trust) -> Result<Box<dyn RankerPlugin>> {
        let options = LoadOptions { allow_native: false, trust, ..options() };
        load_ranker(source, self.folder.path(), &Params::of(params), &options)
    }

    /// Locks the plugin as the ranker of run.toml.
    fn lock(&self, source: &str, params: &Value) {
        let info = identify(source, self.folder.path(), Kind::Ranker, &Params::of(params), &options()).unwrap();
        let config = self.path("run.toml");
        Lock::write(&config, vec![Locked::new(&config, "ranker", source, &info, &options())]).unwrap();
    }

    fn trust(&self, locked: bool) -> Trust {
        let lock = Lock::read(&self.path("run.toml")).unwrap().expect("it was written");
        Trust { lock: Some((Arc::new(lock), "ranker".to_owned())), locked, ..Trust::default() }
    }

    /// Replaces text in the lock file.
    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("creamery.lock")).unwrap();
        assert!(text.contains(from), "no {from:?} in\n{text}");
        let (head, entries) = text.split_once("[[plugin]]").expect("an entry");
        fs::write(self.path("creamery.lock"), format!("{head}[[plugin]]{}", entries.replacen(from, to, 1))).unwrap();
    }
}

#[test]
fn native_code_that_is_locked_needs_no_further_permission() {
    let (place, none) = (Place::new(), json!({}));
    let error = fails(place.load("rank.so", &none, Trust::default()));
    says(&error, &["plugin 'best-worst' is a native library", "creamery plugin lock", "allow-native = true"]);
    place.lock("rank.so", &none);
    for locked in [false, true] {
        place.load("rank.so", &none, place.trust(locked)).unwrap();
    }
    // Other parameters are other work, but not other code.
    let other = json!({"on-tie": "drop"});
    place.load("rank.so", &other, place.trust(false)).unwrap();
    let error = fails(place.load("rank.so", &other, place.trust(true)));
    says(
        &error,
        &[
            "plugin 'best-worst' is not what was locked: its parameters is",
            "\"on-tie\":\"drop\"",
            "creamery plugin lock",
        ],
    );

    // Another library, as little as it may differ.
    let file = place.path("rank.so");
    let (before, mut bytes) = (blake3_of(&place, "rank.so"), fs::read(&file).unwrap());
    bytes.push(0);
    // In its place, not into it: the library is mapped into this process for good.
    fs::remove_file(&file).unwrap();
    fs::write(&file, bytes).unwrap();
    for locked in [false, true] {
        let error = fails(place.load("rank.so", &none, place.trust(locked)));
        let after = blake3_of(&place, "rank.so");
        says(&error, &[&format!("its digest is {after}, expected {before}"), "if you trust what it is now"]);
        assert_eq!(error.kind(), creamery::Kind::Plugin);
    }
}

fn blake3_of(place: &Place, source: &str) -> String {
    let none = json!({});
    identify(source, place.folder.path(), Kind::Ranker, &Params::of(&none), &options()).unwrap().digest
}

#[test]
fn locked_means_everything() {
    let (place, none) = (Place::new(), json!({}));
    let folder = root().join(folder("best-worst"));
    for source in ["rank.wasm", "builtin:best-worst", folder.to_str().unwrap()] {
        place.lock(source, &none);
        place.load(source, &none, place.trust(true)).unwrap();
        let text = fs::read_to_string(place.path("creamery.lock")).unwrap();
        for (key, value, what) in [
            ("digest", "0123", "digest"),
            ("name", "worst-best", "name"),
            ("version", "9.9.9", "version"),
            ("abi", "1.0", "ABI"),
            ("artifact", "native", "form"),
            ("kind", "judge", "kind"),
            ("params", "{}", "parameters"),
        ] {
            let line = text
                .lines()
                .skip_while(|l| *l != "[[plugin]]")
                .find(|l| l.starts_with(&format!("{key} = ")))
                .unwrap_or_else(|| panic!("{text}"));
            place.edit(line, &format!("{key} = {value:?}"));
            let error = fails(place.load(source, &none, place.trust(true)));
            // Sources are compared before they are built.
            says(&error, &["creamery.lock: ", "plugin '", "' is not what was locked: its ", what, "expected", value]);
            if key != "digest" {
                place.load(source, &none, place.trust(false)).unwrap();
            }
            fs::write(place.path("creamery.lock"), &text).unwrap();
        }
    }
    place.lock("rank.wasm", &none);
    let mut trust = place.trust(true);
    trust.lock = trust.lock.map(|(lock, _)| (lock, "regularizer".to_owned()));
    says(&fails(place.load("rank.wasm", &none, trust)), &["of [regularizer] is not locked"]);
}

/// Where a plugin runs, and what it may import, are as much of the lock as what it is.
#[test]
fn rights_are_locked_too() {
    let (place, none) = (Place::new(), json!({}));
    let load = |source: &str, change: &dyn Fn(&mut LoadOptions)| {
        let mut options = LoadOptions { allow_native: false, trust: place.trust(true), ..options() };
        change(&mut options);
        load_ranker(source, place.folder.path(), &Params::of(&none), &options)
    };
    place.lock("rank.wasm", &none);
    load("rank.wasm", &|_| {}).unwrap();
    says(&fails(load("rank.wasm", &|o| o.deny_wasi = true)), &["its WASI is deny, expected none"]);
    place.lock("rank.so", &none);
    if cfg!(target_os = "linux") {
        // Fewer rights than were locked will do, more will not.
        let apart = |o: &mut LoadOptions| {
            o.isolation = creamery::plugins::Isolation::Process;
            o.plugin_host = Some(PathBuf::from(env!("CARGO_BIN_EXE_creamery-under-test")));
        };
        load("rank.so", &apart).unwrap();
        let text = fs::read_to_string(place.path("creamery.lock")).unwrap();
        fs::write(place.path("creamery.lock"), text + "isolation = \"process\"\n").unwrap();
        load("rank.so", &apart).unwrap();
        says(&fails(load("rank.so", &|_| {})), &["its isolation is none, expected process"]);
    }
    // Sources that were looked at as a component are not built as a native library.
    let folder = root().join(folder("best-worst"));
    place.lock(folder.to_str().unwrap(), &none);
    let native = |o: &mut LoadOptions| o.artifact = Some(creamery::plugins::Artifact::Native);
    says(&fails(load(folder.to_str().unwrap(), &native)), &["its form is native, expected component"]);
}

#[test]
fn lock_files_that_are_none() {
    let place = Place::new();
    let config = place.path("run.toml");
    assert_eq!(Lock::read(&config).unwrap(), None);
    let cases = [
        ("version = 1\nplugin = 7\n", "creamery.lock:2: not a valid lock file"),
        ("version = 1\n[[plugin]]\nname = \"x\"\n", "not a valid lock file: missing field"),
        ("version = 2\n", "it is a lock file of version 2, expected 1"),
        ("", "it has no `version`"),
        ("version = \n", "creamery.lock:1: not a valid lock file"),
    ];
    for (text, part) in cases {
        fs::write(place.path("creamery.lock"), text).unwrap();
        says(&fails(Lock::read(&config)), &[part]);
    }
}

/// The entries of other configs in the folder stay; the digest of sources does not depend on where they lie.
#[test]
fn a_lock_holds_the_plugins_of_several_configs() {
    let (place, none) = (Place::new(), json!({}));
    place.lock("rank.so", &none);
    let other = place.path("other.toml");
    let info = identify("builtin:none", &root(), Kind::Regularizer, &Params::of(&none), &options()).unwrap();
    Lock::write(&other, vec![Locked::new(&other, "regularizer", "builtin:none", &info, &options())]).unwrap();
    assert!(Lock::read(&other).unwrap().is_some());
    place.load("rank.so", &none, place.trust(true)).unwrap();
}

fn ok(ran: Ran) -> String {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout
}

#[test]
fn signed_files() {
    let (place, none) = (Place::new(), json!({}));
    let (key, public) = (place.path("key"), place.path("key.pub"));
    let said = ok(run(&mut creamery!("plugin", "keygen", &key)));
    let text = fs::read_to_string(&public).unwrap();
    let key_of = |text: &str| text.trim().parse::<PublicKey>().unwrap();
    assert!(said.contains(&format!("keys = [\"{}\"]", text.trim())), "{said}");
    assert_eq!(SecretKey::read(&key).unwrap().public(), key_of(&text));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = run(&mut creamery!("plugin", "keygen", &key));
    assert!(again.code != Some(0) && again.stderr.contains("never overwritten"), "{again:?}");

    let file = place.path("rank.wasm");
    let trust =
        |keys: &[PublicKey], require_signature| Trust { keys: keys.to_vec(), require_signature, ..Trust::default() };
    let mine = key_of(&text);
    let stranger = SecretKey::new().unwrap().public();
    says(
        &fails(place.load("rank.wasm", &none, trust(&[mine], true))),
        &["rank.wasm: it is not signed", "rank.wasm.sig"],
    );
    place.load("rank.wasm", &none, trust(&[mine], false)).unwrap();

    ok(run(&mut creamery!("plugin", "sign", &file, "--key", &key)));
    assert!(beside(&file).is_file());
    let verify = |key: &str| run(&mut creamery!("plugin", "verify", &file, "--key", key));
    assert!(ok(verify(public.to_str().unwrap())).contains(text.trim()));
    ok(verify(text.trim()));
    let refused = verify(&stranger.to_string());
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.stderr.contains("is not a key that you trust"), "{}", refused.stderr);
    assert_eq!(run(&mut creamery!("plugin", "verify", &file, "--key", "ed25519:12")).code, Some(2));

    for required in [false, true] {
        place.load("rank.wasm", &none, trust(&[stranger, mine], required)).unwrap();
        says(
            &fails(place.load("rank.wasm", &none, trust(&[stranger], required))),
            &["which is not a key that you trust"],
        );
    }
    place.load("builtin:best-worst", &none, trust(&[mine], true)).unwrap();
    let folder = root().join(folder("best-worst"));
    // Nothing is built for that.
    let unbuilt = LoadOptions { trust: trust(&[mine], true), cargo: Some("no-cargo".into()), ..options() };
    let error = fails(load_ranker(folder.to_str().unwrap(), place.folder.path(), &Params::of(&none), &unbuilt));
    says(&error, &["a source folder has no signature, and signatures are required"]);

    // A changed file, a changed signature, and what is no signature.
    let (bytes, signature) = (fs::read(&file).unwrap(), fs::read_to_string(beside(&file)).unwrap());
    let changed = [&bytes[..], &[0, 1, 0]].concat();
    fs::write(&file, changed).unwrap();
    says(&fails(place.load("rank.wasm", &none, trust(&[mine], false))), &["is not of this file"]);
    fs::write(&file, bytes).unwrap();
    let last = signature.lines().last().unwrap();
    let flipped = format!("{}{}", if last.starts_with('0') { '1' } else { '0' }, &last[1..]);
    for (text, part) in [
        (signature.replace(last, &flipped), "is not of this file"),
        (signature.replace(text.trim(), &stranger.to_string()), "is not of this file"),
        ("creamery signature 2\n".to_owned(), "this is no signature"),
        ("x".repeat(5000), "this is no signature: it has 5000 bytes"),
    ] {
        fs::write(beside(&file), text).unwrap();
        says(&fails(place.load("rank.wasm", &none, trust(&[mine], false))), &[part]);
    }
    let error = run(&mut creamery!("plugin", "sign", &file, "--key", &public));
    assert!(error.stderr.contains("this is no secret key"), "{}", error.stderr);
}

/// Commands for single stages: an entry of the lock for any config will do, but one there must be.
#[test]
fn stages_with_a_lock() {
    let (place, none) = (Place::new(), json!({}));
    let (dropping, no_lock) = (json!({"on-tie": "drop"}), "creamery.lock: --locked, but there is no such lock file");
    let row = json!({
        "id": "a", "prompt": [{"role": "user", "content": "x"}], "prompt_ids": [1],
        "responses": [{"text": "y", "ids": [2], "finish": "stop"}, {"text": "z", "ids": [3], "finish": "stop"}],
        "scores": {"current": [1.0, 0.0]},
    });
    fs::write(place.path("scores.jsonl"), format!("{row}\n")).unwrap();
    let rank = |arguments: &str| {
        let mut command = creamery!("rank", "--groups", "scores.jsonl");
        command.args(arguments.split_whitespace()).current_dir(place.folder.path());
        run(command.env("CREAMERY_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins")))
    };
    let refused = |arguments: &str, code: i32, parts: &[&str]| {
        let ran = rank(arguments);
        assert_eq!(ran.code, Some(code), "{arguments}: {ran:?}");
        for part in parts {
            assert!(ran.stderr.contains(part), "{arguments}: no {part:?} in\n{}", ran.stderr);
        }
    };
    refused("--plugin rank.wasm --locked", 4, &[no_lock, "creamery plugin lock CONFIG", "--lock"]);
    refused("--plugin rank.so", 2, &["rank.so is a native library", "--allow-native"]);
    refused("--plugin rank.wasm --lock creamery.lock", 2, &["--locked"]);
    refused("--plugin rank.wasm --require-signature", 2, &["--trust-key"]);
    refused(
        "--plugin rank.wasm --trust-key none.pub",
        2,
        &["--trust-key none.pub: cannot read this file", "64 digits"],
    );
    refused("--plugin rank.wasm --trust-key ed25519:12", 2, &["--trust-key ed25519:12: expected ed25519:"]);

    // Two configs, with one plugin in two forms and with other parameters.
    place.lock("rank.so", &none);
    let other = place.path("other.toml");
    let info = identify("rank.wasm", place.folder.path(), Kind::Ranker, &Params::of(&dropping), &options()).unwrap();
    Lock::write(&other, vec![Locked::new(&other, "ranker", "rank.wasm", &info, &options())]).unwrap();
    ok(rank("--plugin rank.so --locked"));
    ok(rank("--plugin rank.wasm --param on-tie=drop --locked --lock creamery.lock"));
    #[cfg(target_os = "linux")]
    ok(rank("--plugin rank.so --locked --isolation process"));
    // Without --locked nobody reads it.
    refused("--plugin rank.so", 2, &["rank.so is a native library"]);
    let changed = "plugin 'best-worst' is not what was locked: its parameters is";
    refused("--plugin rank.wasm --locked", 4, &[changed, "\"on-tie\":\"drop\"", "lock a config"]);
    refused("--plugin rank.so --param on-tie=drop --locked --allow-native", 4, &[changed]);
    refused("--plugin builtin:top-bottom --locked", 4, &["plugin 'top-bottom' 0.1.0 (builtin) is not locked"]);
    fs::remove_file(place.path("rank.so")).unwrap();
    let bytes = [&fs::read(built("best-worst", Artifact::Native)).unwrap()[..], &[0]].concat();
    fs::write(place.path("rank.so"), bytes).unwrap();
    for native in ["", " --allow-native"] {
        let arguments = format!("--plugin rank.so --locked{native}");
        refused(&arguments, 4, &["plugin 'best-worst' is not what was locked: its digest is"]);
    }
    // Sources are compared before they are built.
    let folder = root().join(folder("best-worst"));
    refused(&format!("--plugin {} --locked", folder.display()), 4, &["is not locked", "lock a config"]);
    place.lock(folder.to_str().unwrap(), &none);
    ok(rank(&format!("--plugin {} --locked", folder.display())));
    fs::write(place.path("empty.lock"), "version = 1\n").unwrap();
    refused("--locked --lock empty.lock", 4, &["empty.lock: --locked, but there are no plugins in it"]);

    // An entry is for its kind alone; an objective is a regularizer.
    let label = |arguments: &str| {
        let mut command = creamery!("label", "--groups", "ranking.jsonl");
        run(command.args(arguments.split_whitespace()).current_dir(place.folder.path()))
    };
    ok(rank("--out ranking.jsonl"));
    let ran = label("--locked");
    assert!(ran.code == Some(4) && ran.stderr.contains("plugin 'cream' 0.1.0 (builtin) is not locked"), "{ran:?}");
    let third = place.path("third.toml");
    let info = identify("builtin:none", &root(), Kind::Regularizer, &Params::of(&none), &options()).unwrap();
    Lock::write(&third, vec![Locked::new(&third, "regularizer", "builtin:none", &info, &options())]).unwrap();
    ok(label("--plugin builtin:none --locked"));
    let ran = label("--plugin builtin:none --objective builtin:preference-loss --locked");
    assert!(ran.code == Some(4) && ran.stderr.contains("plugin 'preference-loss'"), "{ran:?}");
    ok(label("--plugin builtin:none --objective builtin:preference-loss"));
    let ran = run(&mut creamery!("train", "dpo", "--model", "m", "--data", "d", "--out", "o", "--locked"));
    assert!(ran.code == Some(2) && ran.stderr.contains("--locked is for the plugin of --objective"), "{ran:?}");
}
