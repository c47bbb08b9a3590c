//! `examples/third-party`: a plugin outside the workspace, with its own lock file and nothing but the interface crate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use creamery_tests::run;

use crate::world::{World, repository};

/// Runs cargo in the folder, without the network.
fn cargo(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("cargo");
    command.args(arguments).args(["--locked", "--offline", "--quiet"]).current_dir(folder);
    command.env("CARGO_TARGET_DIR", target());
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-component-ld");
    // Settings of the cargo that runs this test are not meant for another workspace.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_MAKEFLAGS", "MAKEFLAGS"] {
        command.env_remove(name);
    }
    let ran = run(&mut command);
    assert_eq!(ran.code, Some(0), "cargo {arguments:?}\n{}{}", ran.stdout, ran.stderr);
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("third-party")
}

#[test]
fn it_is_built_tested_and_used_as_anybody_would() {
    let folder = repository().join("examples/third-party/dpo-shift");
    cargo(&folder, &["test", "--release"]);
    cargo(&folder, &["build", "--release"]);
    cargo(&folder, &["build", "--release", "--target", "wasm32-unknown-unknown"]);
    let world = World::new();
    let prefix = std::env::consts::DLL_PREFIX;
    let ending = std::env::consts::DLL_SUFFIX;
    let native = format!("shift{ending}");
    fs::copy(target().join(format!("release/{prefix}dpo_shift{ending}")), world.path(&native)).unwrap();
    fs::copy(target().join("wasm32-unknown-unknown/release/dpo_shift.wasm"), world.path("shift.wasm")).unwrap();

    world.groups();
    world.ok("judge --model model --groups groups.jsonl --param score=mean-likelihood --quiet --out scores.jsonl");
    world.ok("rank --groups scores.jsonl --quiet --out ranked.jsonl");
    let train = |plugin: &str, more: &str, out: &str| {
        world.ok(&format!(
            "train dpo --model model --data pairs.jsonl --objective {plugin} {more} --lora-r 2 --set epochs=1 \
             --set learning-rate=1e-3 --set warmup-ratio=0 --set batch-size=4 --quiet --out {out}"
        ));
        fs::read(world.path(out).join("adapter_model.safetensors")).unwrap()
    };
    world.ok("label --groups ranked.jsonl --plugin shift.wasm --param lambda=0.9 --quiet --out pairs.jsonl");
    let labels = world.rows("pairs.jsonl");
    assert!(labels.len() > 3 && labels.iter().all(|row| row["consistency"] == 1.0), "{labels:?}");
    let native_labels =
        world.ok(&format!("label --groups ranked.jsonl --plugin ./{native} --allow-native --quiet")).stdout;
    assert_eq!(world.read("pairs.jsonl"), native_labels);

    let component = train("shift.wasm", "--objective-param lambda=0.9", "component");
    let library = train(&format!("./{native}"), "--objective-native --objective-param lambda=0.9", "native");
    assert!(component == library, "the two forms train to other weights");
    world.ok("plugin check shift.wasm");
    world.ok(&format!("plugin check ./{native} --allow-native"));
    let as_dpo = train("shift.wasm", "--objective-param lambda=1", "dpo");
    assert!(component != as_dpo, "lambda has no effect");
}
