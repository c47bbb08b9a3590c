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
        self.ends(line, 0);
    }

    /// Runs a line in a shell; gives what it writes to the standard error.
    fn ends(&self, line: &str, code: i32) -> String {
        let mut shell = Command::new("sh");
        shell.args(["-euc", line]).current_dir(&self.folder).env("PATH", &self.path);
        shell.env("CREAMERY_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins"));
        let ran = run(&mut shell);
        assert_eq!(ran.code, Some(code), "{line}\nstdout:\n{}\nstderr:\n{}", ran.stdout, ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{line}\n{}", ran.stderr);
        ran.stderr
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

/// The blocks of a language under a heading of a page.
fn blocks<'a>(page: &'a str, heading: &str, language: &str) -> Vec<&'a str> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or(section);
    let start = format!("```{language}\n");
    section.split(start.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap_or(rest)).collect()
}

/// What the guide says on locking and signing, as it stands there: "# exit code 4" says that a command fails, and how.
#[test]
fn the_guide_on_locking_and_signing() {
    let world = World::new();
    let page = fs::read_to_string(world.folder.path().join("plugin-api/GUIDE.md")).expect("the guide");
    let heading = "Locking and signing";
    let [config] = blocks(&page, heading, "toml")[..] else { panic!("one config") };
    // The rest of the config, and what the page takes for granted.
    let small = "[model]\npath = \"examples/quickstart/model\"\n[data]\n\
        prompts = \"examples/quickstart/prompts.jsonl\"\n[rounds]\ncount = 1\nprompts-per-round = 16\n\
        [sample]\nmax-new-tokens = 8\n[train]\nwarmup-ratio = 0\n";
    world.succeeds("creamery plugin build plugins/best-worst --out mine.wasm");
    world.succeeds("creamery plugin build plugins/best-worst --native --out mine.so");
    world.succeeds(
        "creamery judge --model examples/quickstart/model --param score=mean-likelihood \
                    --groups examples/stages/groups.jsonl --out scores.jsonl",
    );
    let lines: Vec<&str> = blocks(&page, heading, "sh").iter().flat_map(|block| block.lines()).collect();
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    assert!(lines.len() >= 10, "{lines:?}");
    for line in lines {
        assert!(line.starts_with("creamery "), "{line}");
        let Some((_, said)) = line.split_once("# exit code ") else {
            world.succeeds(line);
            let public = world.folder.path().join("my.key.pub");
            if line.contains(" keygen ") {
                let key = fs::read_to_string(public).expect("the key");
                let text = format!("{small}{}", config.replace("ed25519:…", key.trim()));
                assert!(text.contains(key.trim()), "{text}");
                fs::write(world.folder.path().join("my.toml"), text).expect("a config");
            }
            continue;
        };
        let (code, what) = said.split_once(": ").expect("a code and what it is");
        let errors = world.ends(line, code.parse().expect("a code"));
        let part = match what {
            "another file" => "its digest is",
            "needs --allow-native" => "add --allow-native if you trust it",
            other => other,
        };
        assert!(errors.contains(part), "no {part:?} in\n{errors}");
    }
    // Signatures are asked for, not only accepted.
    fs::remove_file(world.folder.path().join("mine.wasm.sig")).expect("the signature");
    let refused = [
        "creamery run my.toml --locked",
        "creamery rank --plugin mine.wasm --groups scores.jsonl --trust-key my.key.pub --require-signature",
    ];
    for line in refused {
        let errors = world.ends(line, 4);
        assert!(errors.contains("mine.wasm: it is not signed"), "{errors}");
    }
}
