//! Plugins from source folders, outside this workspace.

use std::fs;

use creamery::plugins::inspect;
use serde_json::json;
use tempfile::TempDir;

use super::*;

const SOURCE: &str = r#"
use creamery_plugin::{Answer, Groups, Judge, JudgeContext, PluginError, Score, Step};

pub struct Constant;

impl Judge for Constant {
    fn new(_: &str) -> Result<Self, PluginError> {
        Ok(Constant)
    }
    fn step(&self, _: &JudgeContext, groups: &Groups, _: &[Vec<Answer>]) -> Result<Step, PluginError> {
        Ok(Step::Scores(vec![Score::Value(1.0); groups.responses.len()]))
    }
}

creamery_plugin::export_plugin! {
    kind: judge,
    type: Constant,
    name: "constant",
    summary: "One for all.",
    schema: r"{ }",
}
"#;

/// A plugin package of somebody else, with our lock file so that no version is looked up.
fn package(crate_type: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let api = root().join("plugin-api").canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"constant-judge\"\nversion = \"2.1.0\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [{crate_type}]\n\n\
         [dependencies]\ncreamery-plugin = {{ path = {api:?} }}\n\n[profile.release]\ndebug = \"line-tables-only\"\nstrip = \"debuginfo\"\n"
    );
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.path().join("src/lib.rs"), SOURCE).unwrap();
    fs::copy(root().join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    folder
}

fn load(folder: &TempDir, options: &LoadOptions) -> Result<Box<dyn JudgePlugin>> {
    load_judge(".", folder.path(), &Params::of(&json!({})), options)
}

fn score(judge: &mut dyn JudgePlugin) -> String {
    format!("{:?}", judge.step(&context(), &two_groups(), &[]).unwrap())
}

#[test]
fn a_folder_is_built_once_and_again_after_a_change() {
    let folder = package("\"cdylib\", \"rlib\"");
    for form in [Artifact::Component, Artifact::Native] {
        fs::write(folder.path().join("src/lib.rs"), SOURCE).unwrap();
        let (options, messages) = recording(in_form(form));
        let builds = || messages.lock().unwrap().iter().filter(|m| m.contains("on first use")).count();

        let mut first = load(&folder, &options).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((first.info().name(), first.info().descriptor.version.as_str()), ("constant", "2.1.0"));
        assert_eq!(builds(), 1);
        let again = load(&folder, &options).unwrap();
        assert_eq!(builds(), 1, "the second load should find the first one's build");
        assert_eq!(first.info().digest, again.info().digest);

        fs::write(folder.path().join("src/lib.rs"), SOURCE.replace("Value(1.0)", "Value(2.0)")).unwrap();
        let mut changed = load(&folder, &options).unwrap();
        assert_eq!(builds(), 2);
        assert_ne!(first.info().digest, changed.info().digest);
        assert!(score(&mut *first).contains("Value(1.0)"), "the plugin that is loaded stays what it was");
        assert!(score(&mut *changed).contains("Value(2.0)"));
    }
}

#[test]
fn a_build_that_fails_shows_what_the_compiler_says() {
    let folder = package("\"cdylib\", \"rlib\"");
    fs::write(folder.path().join("src/lib.rs"), SOURCE.replace("Value(1.0)", "Value(one)")).unwrap();
    let error = fails(load(&folder, &options()));
    says(&error, &["building plugin 'constant-judge' failed", "cannot find value `one`", "src/lib.rs:11"]);
}

/// Cargo alone would take one for the other: same name, same version, same place in its workspace, older files.
#[test]
fn copies_of_a_package_do_not_mix() {
    let (one, two) = (package("\"cdylib\", \"rlib\""), package("\"cdylib\", \"rlib\""));
    fs::write(two.path().join("src/lib.rs"), SOURCE.replace("Value(1.0)", "Value(3.0)")).unwrap();
    let mut first = load(&one, &options()).unwrap();
    let mut second = load(&two, &options()).unwrap();
    assert!(score(&mut *first).contains("Value(1.0)"));
    assert!(score(&mut *second).contains("Value(3.0)"));
}

#[test]
fn a_package_that_gives_no_library() {
    let folder = package("\"rlib\"");
    says(&fails(load(&folder, &options())), &["gave no library", "crate-type = [\"cdylib\", \"rlib\"]", "Cargo.toml"]);
}

#[test]
fn bad_manifests() {
    let folder = package("\"cdylib\"");
    let manifest = folder.path().join("Cargo.toml");
    let good = fs::read_to_string(&manifest).unwrap();
    let metadata = format!("{good}\n[package.metadata.creamery]\nartifact = \"wasm\"\n");
    let missing = good.replace("plugin-api", "no-such-folder");
    let cases: &[(&str, &[&str])] = &[
        ("[package\n", &["Cargo.toml:1: ", "not a valid Cargo.toml"]),
        ("[workspace]\n", &["has no [package] name", "not of a workspace"]),
        (&metadata, &["artifact is \"wasm\"", "expected \"component\" or \"native\""]),
        (&missing, &["no-such-folder", "following the path dependency 'creamery-plugin'"]),
    ];
    for (text, parts) in cases {
        fs::write(&manifest, text).unwrap();
        says(&fails(load(&folder, &options())), parts);
    }
    // The manifest decides what is built if nobody else does.
    fs::write(&manifest, metadata.replace("\"wasm\"", "\"native\"")).unwrap();
    assert_eq!(inspect(".", folder.path(), &options()).unwrap().artifact, Artifact::Native);
}

#[test]
fn without_cargo() {
    let folder = package("\"cdylib\"");
    let options = LoadOptions { cargo: Some(folder.path().join("no-cargo")), ..options() };
    says(&fails(load(&folder, &options)), &["cargo cannot be started", "https://rustup.rs", "builtin:NAME"]);
}

/// A folder that others can write to could give this program foreign code to run.
#[cfg(unix)]
#[test]
fn builds_are_kept_in_a_private_folder() {
    use std::os::unix::fs::PermissionsExt;
    let folder = package("\"cdylib\"");
    let cache = TempDir::new().unwrap();
    let built = cache.path().join("built");
    fs::create_dir(&built).unwrap();
    fs::set_permissions(&built, fs::Permissions::from_mode(0o777)).unwrap();
    let options = LoadOptions { cache_dir: cache.path().to_owned(), ..options() };
    says(&fails(load(&folder, &options)), &["others can open it (mode 777); run `chmod 700` on it"]);
}

/// Plugin crates keep unwinding, whatever they are linked into: a panic must become an error.
#[test]
fn release_builds_unwind() {
    for name in ["cream", "hostile-judge"] {
        assert!(!creamery::plugins::descriptor::read(&built(name, Artifact::Native)).unwrap().panic_aborts, "{name}");
    }
}

/// What decides the result of a build is in the digest of the sources, or the build is refused.
#[test]
fn nothing_is_built_of_what_nobody_can_name() {
    let folder = package("\"cdylib\", \"rlib\"");
    let options = in_form(Artifact::Component);
    let other = TempDir::new().unwrap();
    fs::write(other.path().join("text.txt"), "{ }").unwrap();

    // A file elsewhere.
    let included = SOURCE.replace("r\"{ }\"", &format!("include_str!({:?})", other.path().join("text.txt")));
    fs::write(folder.path().join("src/lib.rs"), included).unwrap();
    says(&fails(load(&folder, &options)), &["text.txt", "reads a file that is not among its sources", "move it into"]);
    // A hidden folder, which no digest holds; the file of a folder that is named as builds are does count.
    for (hidden, refused) in [(".data", true), ("src/target", false)] {
        fs::create_dir_all(folder.path().join(hidden)).unwrap();
        fs::write(folder.path().join(hidden).join("text.txt"), "{ }").unwrap();
        let path = if refused { "../.data/text.txt" } else { "target/text.txt" };
        let included = SOURCE.replace("r\"{ }\"", &format!("include_str!({path:?})"));
        fs::write(folder.path().join("src/lib.rs"), included).unwrap();
        match refused {
            true => says(&fails(load(&folder, &options)), &["text.txt", "is not among its sources"]),
            false => drop(load(&folder, &options).unwrap()),
        }
    }

    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(other.path(), folder.path().join("linked")).unwrap();
        says(&fails(load(&folder, &options)), &["linked", "this is a link to a folder"]);
    }
}
