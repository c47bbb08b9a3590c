//! The artifact store: reuse, damage, failures, kills.

use std::cell::Cell;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::{env, fs};

use creamery::store::{Store, canonical_json, create_folder, write_atomic};
use creamery::{Error, Kind, Result};
use serde_json::json;

fn fill(folder: &Path) -> Result<()> {
    fs::create_dir(folder.join("part")).unwrap();
    fs::write(folder.join("data.bin"), [1, 2, 3, 4]).unwrap();
    fs::write(folder.join("part/more.txt"), "text").unwrap();
    Ok(())
}

/// Everything under a folder, as sorted paths.
fn entries(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(here) = open.pop() {
        for entry in fs::read_dir(here).unwrap() {
            let path = entry.unwrap().path();
            all.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    all.sort();
    all
}

#[test]
fn made_once_then_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/store");
    let made = Store::open(&root).unwrap().stage("sample", &json!({ "seed": 1 }), fill).unwrap();
    assert!(!made.hit);
    assert_eq!(made.id, Store::id("sample", &json!({ "seed": 1 })).unwrap());
    assert_eq!(made.path, root.join("sample").join(&made.id));
    assert_eq!(fs::read(made.path.join("data.bin")).unwrap(), [1, 2, 3, 4]);

    let store = Store::open(&root).unwrap();
    let again = store.stage("sample", &json!({ "seed": 1 }), |_| panic!("made twice")).unwrap();
    assert!(again.hit);
    assert_eq!((&again.id, &again.path, again.seconds), (&made.id, &made.path, made.seconds));

    // The stage's name and every part of the key tell artifacts apart.
    let other = store.stage("sample", &json!({ "seed": 2 }), fill).unwrap();
    let third = store.stage("judge", &json!({ "seed": 1 }), fill).unwrap();
    assert!(!other.hit && !third.hit && other.id != made.id && third.id != made.id && third.id != other.id);
    assert_eq!(entries(&root.join("tmp")), [""; 0]);

    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(made.path.join("artifact.json")).unwrap()).unwrap();
    assert_eq!(manifest["stage"], "sample");
    assert_eq!(manifest["key"], json!({ "seed": 1 }));
    assert_eq!(manifest["files"][0]["name"], "data.bin");
    assert_eq!(manifest["files"][1]["name"], "part/more.txt");
    assert_eq!(manifest["files"][0]["size"], 4);
}

#[test]
fn the_order_of_a_keys_fields_does_not_matter() {
    let a = json!({ "b": [1, { "y": 1.5, "x": null }], "a": "é\n" });
    let b = json!({ "a": "é\n", "b": [1, { "x": null, "y": 1.5 }] });
    assert_eq!(canonical_json(&a), r#"{"a":"é\n","b":[1,{"x":null,"y":1.5}]}"#);
    assert_eq!(Store::id("s", &a).unwrap(), Store::id("s", &b).unwrap());
    assert_ne!(Store::id("s", &json!([1])).unwrap(), Store::id("s", &json!([1.0])).unwrap());
}

#[test]
fn a_damaged_artifact_is_named_moved_aside_and_made_again() {
    type Damage = fn(&Path);
    let cases: &[(&str, Damage, &str)] = &[
        ("truncated", |p| fs::write(p.join("data.bin"), [1, 2]).unwrap(), "'data.bin' has 2 bytes, expected 4"),
        ("flipped", |p| fs::write(p.join("data.bin"), [1, 2, 3, 5]).unwrap(), "checksum of 'data.bin' differs"),
        ("missing file", |p| fs::remove_file(p.join("part/more.txt")).unwrap(), "'part/more.txt' is missing"),
        ("extra file", |p| fs::write(p.join("part/x"), "").unwrap(), "'part/x' does not belong to it"),
        ("no manifest", |p| fs::remove_file(p.join("artifact.json")).unwrap(), "artifact.json: "),
        ("half a manifest", |p| fs::write(p.join("artifact.json"), "{\"stage\": \"s").unwrap(), "artifact.json: "),
        (
            "another's manifest",
            |p| {
                let text = fs::read_to_string(p.join("artifact.json")).unwrap();
                let other = text.replace("\"seed\": 1", "\"seed\": 9");
                assert_ne!(text, other);
                fs::write(p.join("artifact.json"), other).unwrap();
            },
            "about another artifact",
        ),
        (
            "a file in its place",
            |p| {
                fs::remove_dir_all(p).unwrap();
                fs::write(p, "x").unwrap();
            },
            "artifact.json: ",
        ),
    ];
    for (name, damage, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let log = warnings.clone();
        let store = Store::open(folder.path()).unwrap().on_warning(move |w| log.lock().unwrap().push(w.to_owned()));
        let key = json!({ "seed": 1 });
        for attempt in 1..=2 {
            let whole = store.stage("s", &key, fill).unwrap();
            damage(&whole.path);
            let again = store.stage("s", &key, fill).unwrap();
            assert!(!again.hit, "{name}");
            assert_eq!(fs::read(again.path.join("data.bin")).unwrap(), [1, 2, 3, 4], "{name}");
            assert!(store.stage("s", &key, |_| panic!("made twice")).unwrap().hit, "{name}");
            let warnings = warnings.lock().unwrap();
            assert_eq!(warnings.len(), attempt, "{name}: {warnings:?}");
            let warning = &warnings[attempt - 1];
            assert!(warning.contains(words) && warning.contains(&format!("s/{}", whole.id)), "{name}: {warning}");
            let aside = folder.path().join(format!("damaged/s-{}-{attempt}", whole.id));
            assert!(aside.exists() && warning.contains(aside.to_str().unwrap()), "{name}: {warning}");
        }
    }
}

#[test]
fn a_failed_make_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let failed = store.stage("s", &1, |path| {
        fill(path)?;
        Err(Error::run("the loss is not a number"))
    });
    let error = failed.unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Run, "the loss is not a number"));
    assert_eq!(entries(folder.path()), [".lock", "tmp"]);

    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = store.stage("s", &1, |path| {
            fill(path)?;
            std::panic::panic_any("stop")
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(entries(folder.path()), [".lock", "tmp"]);
    assert!(!store.stage("s", &1, fill).unwrap().hit);

    // What a stage may not do.
    for stage in ["", "a/b", "..", "tmp", "damaged"] {
        let error = store.stage(stage, &1, fill).unwrap_err();
        assert!(error.to_string().contains("cannot name a stage"), "{error}");
    }
    let error = store.stage("s", &2, |p| write_atomic(p.join("artifact.json"), "{}")).unwrap_err();
    assert!(error.to_string().contains("which is the store's"), "{error}");
}

#[test]
fn the_first_of_two_makers_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let inner_made = Cell::new(false);
    let artifact = store
        .stage("s", &1, |path| {
            fill(path)?;
            // While this one is at work, another opens the store, which leaves us alone, and is done first.
            let other = Store::open(folder.path())?.stage("s", &1, fill)?;
            inner_made.set(!other.hit);
            assert!(path.join("data.bin").exists());
            Ok(())
        })
        .unwrap();
    assert!(inner_made.get() && artifact.hit);
    assert_eq!(entries(&folder.path().join("tmp")), [""; 0]);
    assert_eq!(fs::read_dir(folder.path().join("s")).unwrap().count(), 1);
}

#[test]
fn a_killed_maker_leaves_no_artifact() {
    // This test is its own child.
    if let (Some(root), Some(ready)) = (env::var_os("CREAMERY_TEST_STORE"), env::var_os("CREAMERY_TEST_READY")) {
        never_finish(root.as_ref(), ready.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let root = folder.path().join("store");
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_killed_maker_leaves_no_artifact"])
        .env("CREAMERY_TEST_STORE", &root)
        .env("CREAMERY_TEST_READY", &ready)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !ready.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        std::thread::yield_now();
    }
    // Alive: its work is left alone.
    Store::open(&root).unwrap();
    let alive = entries(&root.join("tmp"));
    assert!(alive.iter().any(|e| e.ends_with("data.bin")), "{alive:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(entries(&root.join("tmp")), alive, "a killed process cannot have cleaned up");

    let store = Store::open(&root).unwrap();
    assert_eq!(entries(&root), [".lock", "tmp"]);
    let artifact = store.stage("s", &1, fill).unwrap();
    assert!(!artifact.hit);
    assert_eq!(fs::read(artifact.path.join("data.bin")).unwrap(), [1, 2, 3, 4]);
}

/// Makes half an artifact in the store at `root`, and the file `ready`.
fn never_finish(root: &Path, ready: &Path) -> ! {
    let made = Store::open(root).unwrap().stage("s", &1, |path| {
        fs::write(path.join("data.bin"), [1, 2]).unwrap();
        fs::write(ready, "").unwrap();
        loop {
            std::thread::park();
        }
    });
    panic!("it ended: {:?}", made.map(|artifact| artifact.path));
}

#[test]
fn places_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for root in [file.clone(), file.join("below")] {
        let error = Store::open(&root).err().expect("a file is no store");
        assert_eq!(error.kind(), Kind::Io, "{error}");
        assert!(error.to_string().contains(root.to_str().unwrap()), "{error}");
    }
    let error = write_atomic(file.join("table.txt"), "x").unwrap_err();
    assert_eq!(error.kind(), Kind::Io, "{error}");

    // A file where the stage's folder should be.
    let store = Store::open(folder.path().join("store")).unwrap();
    fs::write(store.root().join("s"), "x").unwrap();
    let error = store.stage("s", &1, fill).unwrap_err();
    assert_eq!(error.kind(), Kind::Io, "{error}");
    assert_eq!(entries(&store.root().join("tmp")), [""; 0]);

    // The store vanishes while an artifact is made.
    let store = Store::open(folder.path().join("gone")).unwrap();
    let error = store
        .stage("s", &1, |path| {
            fill(path)?;
            fs::remove_dir_all(folder.path().join("gone")).unwrap();
            Ok(())
        })
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Io, "{error}");
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write anywhere: then there is nothing to see here.
    if fs::write(folder.path().join("probe"), "").is_err() {
        let error = Store::open(folder.path().join("store")).err().expect("not writable");
        assert_eq!(error.kind(), Kind::Io);
        assert!(error.to_string().contains("permission"), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let error = store
        .stage("s", &1, |path| {
            fill(path)?;
            let full = Path::new("/dev/full");
            let mut file = fs::OpenOptions::new().write(true).open(full).unwrap();
            file.write_all(b"x").map_err(|e| Error::io("write", full, &e))
        })
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Io, "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert_eq!(entries(folder.path()), [".lock", "tmp"]);
}

/// A process in another container may have our number.
#[test]
fn a_new_folder_leaves_another_makers_alone() {
    let folder = tempfile::tempdir().unwrap();
    let theirs: Vec<_> = (0..4).map(|n| folder.path().join(format!(".model.{}.{n}.tmp", std::process::id()))).collect();
    for path in &theirs {
        fs::create_dir(path).unwrap();
        fs::write(path.join("data.bin"), "theirs").unwrap();
    }
    let path = folder.path().join("model");
    create_folder(&path, fill).unwrap();
    assert_eq!(entries(&path), ["data.bin", "part", "part/more.txt"]);
    let failed = create_folder(&folder.path().join("other"), |_| Err::<(), _>(Error::run("no")));
    assert_eq!(failed.unwrap_err().message(), "no");
    for path in &theirs {
        assert_eq!(fs::read_to_string(path.join("data.bin")).unwrap(), "theirs");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), theirs.len() + 1);
}

#[test]
fn atomic_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/table.txt");
    write_atomic(&path, "one").unwrap();
    write_atomic(&path, "two").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    assert_eq!(entries(path.parent().unwrap()), ["table.txt"]);
    // A folder in its place stays as it is, and no temporary remains.
    assert_eq!(write_atomic(path.parent().unwrap(), "x").unwrap_err().kind(), Kind::Io);
    assert_eq!(entries(&folder.path().join("new")), ["folder", "folder/table.txt"]);
}

/// Artifacts go when no run folder uses them, never while another program has the store.
#[test]
fn collecting_what_no_run_needs() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let error = Store::open_existing(&root).err().expect("there is none");
    assert_eq!(error.kind(), Kind::Input, "{error}");
    let store = Store::open(&root).unwrap();
    let names: Vec<String> = (0..3).map(|n| format!("s/{}", store.stage("s", &n, fill).unwrap().id)).collect();
    let (used, kept, lost) = (&names[0], &names[1], &names[2]);

    // A run folder that is there, one that is gone, and a record that is none.
    let (there, gone) = (folder.path().join("there"), folder.path().join("gone"));
    fs::create_dir(&there).unwrap();
    fs::create_dir(root.join("runs")).unwrap();
    let record = |out: &Path, artifact: &str| json!({ "out": out, "artifacts": [artifact] }).to_string();
    fs::write(root.join("runs/a.json"), record(&there, used)).unwrap();
    fs::write(root.join("runs/b.json"), record(&gone, lost)).unwrap();
    fs::write(root.join("runs/c.json"), "{").unwrap();
    let listed = store.list().unwrap();
    assert_eq!(listed.iter().filter(|a| !a.runs.is_empty()).count(), 2, "the run may not have come to its folder yet");
    let month = std::time::Duration::from_secs(30 * 24 * 60 * 60);
    let old = std::time::SystemTime::now() - month;
    fs::File::options().append(true).open(root.join("runs/b.json")).unwrap().set_modified(old).unwrap();

    let keep = std::collections::BTreeSet::from([kept.clone()]);
    let collect = |dry_run| Store::open_existing(&root).unwrap().collect(&keep, dry_run);
    let error = collect(false).unwrap_err();
    assert_eq!(error.kind(), Kind::Run, "{error}");
    drop(store);
    for dry_run in [true, false] {
        let collected = collect(dry_run).unwrap();
        assert_eq!(collected.artifacts.keys().collect::<Vec<_>>(), [lost]);
        assert_eq!(collected.forgotten_runs, std::slice::from_ref(&gone));
        assert_eq!(root.join(lost).exists(), dry_run);
        assert!(root.join(kept).exists() && root.join(used).exists());
    }
    assert_eq!(Store::open(&root).unwrap().list().unwrap().len(), 2);
}

#[test]
fn verifying_names_every_damage() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let made: Vec<_> = (0..3).map(|n| store.stage("s", &n, fill).unwrap()).collect();
    assert_eq!(store.verify(false).unwrap(), (3, Default::default()));
    fs::write(made[1].path.join("data.bin"), [1, 2, 3, 5]).unwrap();
    fs::remove_file(made[2].path.join("artifact.json")).unwrap();
    for repair in [false, true] {
        let (whole, damaged) = store.verify(repair).unwrap();
        assert_eq!((whole, damaged.len()), (1, 2));
        assert_eq!(damaged[&format!("s/{}", made[1].id)], "the checksum of 'data.bin' differs");
        assert!(damaged[&format!("s/{}", made[2].id)].starts_with("artifact.json: "));
    }
    assert_eq!(store.verify(false).unwrap(), (1, Default::default()), "the damaged ones are aside");
    assert_eq!(entries(&folder.path().join("damaged")).len(), 2 * 3 + 1 + 2);
}
