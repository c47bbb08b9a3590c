//! Every command's `--help` has examples, and each of them works, in the order of the help's list of commands, in a
//! folder that looks like this repository. So what an example writes, a later one may read.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use creamery_tests::{creamery, run};

/// Wide enough that no line of help is broken.
const COLUMNS: &str = "1000";

/// The commands under `path`, as its help lists them.
fn commands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    list.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The lines under `Examples:`; one that ends in a backslash goes on in the next.
fn examples(help: &str) -> Vec<String> {
    let block = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let block: Vec<&str> = block.take_while(|line| line.starts_with("  ")).map(str::trim).collect();
    let text = block.join("\n").replace("\\\n", "");
    text.lines().map(str::to_owned).collect()
}

/// All commands, those with commands of their own replaced by them, with their help.
fn leaves(path: &[String], found: &mut Vec<(String, String)>) {
    let mut command = creamery!();
    let ran = run(command.args(path).arg("--help").env("COLUMNS", COLUMNS));
    assert_eq!(ran.code, Some(0), "{path:?} --help: {}", ran.stderr);
    let inner = commands(&ran.stdout);
    if inner.is_empty() {
        found.push((path.join(" "), ran.stdout));
    }
    for name in inner {
        leaves(&[path, &[name]].concat(), found);
    }
}

/// The commands in the README that work on this repository's own files.
fn readme(text: &str) -> Vec<String> {
    let own = |line: &&str| line.starts_with("creamery ") && (line.contains(" examples/") || line.contains(" out/"));
    text.lines().filter(own).map(str::to_owned).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder for the copy");
    for entry in fs::read_dir(from).expect("the examples") {
        let entry = entry.expect("an example");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy of an example");
        }
    }
}

/// A folder that looks like the repository, with the program on the path.
struct World {
    folder: tempfile::TempDir,
    path: OsString,
}

impl World {
    fn new() -> World {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&repository.join("examples"), &folder.path().join("examples"));
        for entry in fs::read_dir(&repository).expect("the repository") {
            let name = entry.expect("an entry").file_name();
            if name != "examples" && name != "target" && !name.to_string_lossy().starts_with('.') {
                symlink(repository.join(&name), folder.path().join(&name)).expect("a link");
            }
        }
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).expect("a folder for the program");
        symlink(creamery!().get_program(), bin.join("creamery")).expect("a link to the program");
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&paths))).expect("a PATH");
        World { folder, path }
    }

    /// Runs a line in a shell; it must succeed.
    fn succeeds(&self, line: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-euc", line]).current_dir(&self.folder).env("PATH", &self.path);
        shell.env("CREAMERY_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"));
        let ran = run(&mut shell);
        assert_eq!(ran.code, Some(0), "{line}\nstdout:\n{}\nstderr:\n{}", ran.stdout, ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{line}\n{}", ran.stderr);
    }
}

#[test]
fn every_example_of_every_command_works() {
    let world = World::new();
    let mut found = Vec::new();
    leaves(&[], &mut found);
    assert!(found.len() > 3, "the list of commands was not understood: {found:?}");
    for (name, help) in &found {
        let lines = examples(help);
        assert!(!lines.is_empty(), "`creamery {name} --help` has no examples:\n{help}");
        for line in lines {
            assert!(line.starts_with(&format!("creamery {name}")), "an example of another command in {name}: {line}");
            world.succeeds(&line);
        }
    }
}

#[test]
fn the_commands_of_the_readme_work() {
    let world = World::new();
    let text = fs::read_to_string(world.folder.path().join("README.md")).expect("the README");
    let lines = readme(&text);
    assert!(lines.len() >= 6, "the README's commands were not understood: {lines:?}");
    lines.iter().for_each(|line| world.succeeds(line));
}
