//! A run whose plugins are locked.

use super::*;

#[test]
fn a_locked_run() {
    let world = World::new();
    let ranker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/best-worst");
    let config = CONFIG.replace("allow-native = true\n", "").replace(
        "plugin = \"builtin:best-worst\"",
        &format!("plugin = {:?}\nartifact = \"native\"", ranker.to_str().unwrap()),
    );
    world.write("run.toml", &config);
    let fails = |arguments: &[&str], code: i32, parts: &[&str]| {
        let output = world.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        for part in parts {
            assert!(errors.contains(part), "{arguments:?}: no '{part}' in\n{errors}");
        }
    };
    fails(&[], 2, &["`ranker.plugin` is a native library", "creamery plugin lock"]);
    fails(
        &["--locked", "--set", "allow-native=true"],
        4,
        &["creamery.lock: --locked, but there are no plugins of run.toml"],
    );

    let mut command = Command::new(env!("CARGO_BIN_EXE_creamery-under-test"));
    command.env("CREAMERY_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"));
    let output = command.args(["plugin", "lock"]).arg(world.path("run.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for part in
        ["[judge] implicit-reward", "[ranker] best-worst 0.1.0 (native)", "[regularizer] cream", "creamery.lock"]
    {
        assert!(said.contains(part), "no '{part}' in\n{said}");
    }

    let one_round = ["--set", "rounds.count=1"];
    world.ok(&one_round);
    world.ok(&[&one_round[..], &["--locked"]].concat());
    fails(
        &["--locked", "--set", "ranker.params.on-tie=drop"],
        4,
        &["plugin 'best-worst' is not what was locked: its parameters", "[ranker]", "creamery plugin lock"],
    );
    fails(&["--locked", "--set", "objective.plugin=builtin:preference-loss"], 4, &["of [objective] is not locked"]);
    let file = world.path("creamery.lock");
    let text = fs::read_to_string(&file).unwrap();
    let entry = text.find("part = \"ranker\"").unwrap();
    let digest = entry + text[entry..].find("digest = \"").unwrap() + "digest = \"".len();
    let mut changed = text.clone();
    changed.replace_range(digest..digest + 4, "zzzz");
    fs::write(&file, &changed).unwrap();
    // Native code that is not what was locked, with or without the argument.
    for arguments in [&[][..], &["--locked"]] {
        fails(arguments, 4, &["plugin 'creamery-best-worst' is not what was locked: its digest is", "expected zzzz"]);
    }
    // The files say which one it was; the digest alone decides.
    for (from, to, part) in [
        ("\"src/lib.rs\" = \"", "\"src/lib.rs\" = \"0", "src/lib.rs was changed"),
        ("\"params.schema.json\" = ", "\"old.json\" = ", "params.schema.json is new, old.json is gone"),
    ] {
        assert!(changed.contains(from), "no {from} in\n{changed}");
        fs::write(&file, changed.replace(from, to)).unwrap();
        fails(
            &["--locked"],
            4,
            &["its digest is", &format!("expected zzzz{}: {part}", &text[digest + 4..digest + 64])],
        );
        fs::write(&file, text.replace(from, to)).unwrap();
        world.ok(&[&one_round[..], &["--locked"]].concat());
    }
    let more = text.replace("part = \"ranker\"", "part = \"judges.other\"");
    fs::write(&file, more).unwrap();
    fails(&["--locked"], 4, &["creamery.lock: it has [judges.other], which the config has not"]);
}
