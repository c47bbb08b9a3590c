//! All plugin crates, built at once: one cargo for the native libraries and one for the components. The host's own
//! builder, which builds one plugin at a time as its user needs it, has tests of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use creamery::plugins::Artifact;

const WASM: &str = "wasm32-unknown-unknown";

/// The built file of the plugin crate in `folder`.
pub fn file(folder: &str, artifact: Artifact) -> PathBuf {
    static NATIVE: OnceLock<PathBuf> = OnceLock::new();
    static COMPONENTS: OnceLock<PathBuf> = OnceLock::new();
    let package = package(Path::new(folder)).replace('-', "_");
    match artifact {
        Artifact::Component => COMPONENTS.get_or_init(|| build(Some(WASM))).join(format!("{package}.wasm")),
        _ => {
            let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
            NATIVE.get_or_init(|| build(None)).join(format!("{prefix}{package}{suffix}"))
        }
    }
}

/// A crate's name, by the rule of this repository.
fn package(folder: &Path) -> String {
    let name = folder.file_name().and_then(|n| n.to_str()).expect("a folder has a name");
    match folder.starts_with("tests/hostile") {
        true => format!("hostile-{name}"),
        false => format!("creamery-{name}"),
    }
}

/// Builds them all; gives the folder of the files.
fn build(target: Option<&str>) -> PathBuf {
    let root = super::root();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins/together");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(&root).args(["build", "--release", "--lib", "--color=never", "--target-dir"]).arg(&place);
    for parent in ["plugins", "wasm-judges", "tests/hostile"] {
        let mut folders: Vec<_> =
            std::fs::read_dir(root.join(parent)).unwrap().map(|e| e.unwrap().file_name()).collect();
        folders.sort();
        for folder in folders {
            command.arg("-p").arg(package(&Path::new(parent).join(folder)));
        }
    }
    // As the host's builder does.
    for name in ["CARGO_BUILD_TARGET", "CARGO_INCREMENTAL", "CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS"] {
        command.env_remove(name);
    }
    if let Some(target) = target {
        command.args(["--target", target]);
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-component-ld");
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    }
    let output = command.output().expect("cargo starts");
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    place.join(target.unwrap_or_default()).join("release")
}
