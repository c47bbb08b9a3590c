//! The same through the program.

use super::*;

#[test]
fn the_program_answers_with_exit_codes() {
    let world = world();
    let at = |name: &str, text: &str| -> PathBuf {
        let path = world.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let good = at("good.toml", &with(""));
    let bad = at("bad.toml", &with("[train]\nbta = 1"));
    let no_data = at("no-data.toml", "[model]\npath = \"model\"\n[data]\nprompts = \"none.jsonl\"");
    let no_plugin = at("no-plugin.toml", &with("[judge]\nplugin = \"none.wasm\""));
    // (command, exit code, a part of stderr)
    let cases = [
        (creamery!("config", &good, "--no-plugins"), 0, ""),
        (creamery!("config", &bad), 2, "bad.toml:8: unknown key `train.bta`"),
        (creamery!("run", &bad), 2, "bad.toml:8: unknown key `train.bta`"),
        (creamery!("run", &good, "--set", "train.beta=-1"), 2, "--set train.beta=-1: `train.beta` is -1"),
        (creamery!("run", &good, "--threads", "5000"), 2, "--set threads=5000: `threads` is 5000"),
        (creamery!("run", world.path().join("none.toml")), 2, "there is no such config file"),
        (creamery!("run", &no_data), 3, "no-data.toml:4: "),
        (creamery!("run", &no_plugin), 4, "no-plugin.toml:8: "),
        (creamery!("run"), 2, "required arguments"),
        (creamery!("rnu", &good), 2, "unrecognized subcommand"),
        (creamery!(), 2, "Usage"),
    ];
    for (mut command, code, part) in cases {
        let ran = run(&mut command);
        assert_eq!(ran.code, Some(code), "{command:?}\n{ran:?}");
        assert!(ran.stderr.contains(part), "{command:?}\n{ran:?}");
        assert_eq!(ran.stderr.contains("error: "), code != 0 && !part.starts_with("Usage"), "{command:?}\n{ran:?}");
        assert_eq!(ran.stdout.is_empty(), code != 0, "{command:?}\n{ran:?}");
    }
}

#[test]
fn the_program_prints_the_resolved_config() {
    let world = world();
    let path = world.path().join("run.toml");
    let config = load(world.path(), FULL, &["seed=11"]).unwrap();
    let ran = run(&mut creamery!("config", &path, "--no-plugins", "--set", "seed=11"));
    assert_eq!((ran.code, ran.stdout), (Some(0), config.to_toml().unwrap()));
}

#[test]
fn help_names_the_exit_codes() {
    let ran = run(&mut creamery!("--help"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    for kind in [Kind::Config, Kind::Input, Kind::Plugin, Kind::Run, Kind::Io] {
        assert!(ran.stdout.contains(&format!("\n  {}  ", kind.exit_code())), "{}", ran.stdout);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = world();
    let path = world.path().join("run.toml");
    fs::write(&path, MINIMAL).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = run(creamery!("config", &path, "--no-plugins").stdout(writer));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let world = world();
    let path = world.path().join("run.toml");
    fs::write(&path, MINIMAL).unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = run(creamery!("config", &path, "--no-plugins").stdout(full));
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.stderr.starts_with("error: cannot write to standard output"), "{ran:?}");
}

#[test]
fn the_doctor_looks_and_leaves_nothing() {
    let world = world();
    let path = world.path().join("run.toml");
    fs::write(&path, format!("out = \"o\"\nstore = \"s\"\ndevice = \"cpu\"\n{MINIMAL}")).unwrap();
    let before = fs::read_dir(world.path()).unwrap().count();
    let ran = run(&mut creamery!("doctor", &path));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for part in ["ok    device cpu: available", "ok    store: ", "ok    config's out: ", "wasm target: ", "threads: "] {
        assert!(ran.stdout.contains(part), "no {part:?} in {ran:?}");
    }
    assert_eq!(fs::read_dir(world.path()).unwrap().count(), before);

    // A store that cannot be: a file stands in its way.
    fs::write(&path, format!("store = \"prompts.jsonl/s\"\n{MINIMAL}")).unwrap();
    let ran = run(&mut creamery!("doctor", &path));
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.stdout.contains("BAD   store: ") && ran.stderr.contains("1 of the findings"), "{ran:?}");
}
