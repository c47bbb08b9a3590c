//! Plugins in C, Python and JavaScript: the folders that authors start from give the bits of a builtin. Where the tools of
//! a language are missing, its tests say so and stop.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use creamery::author::templates::{Guest, files};
use creamery::plugins::Kind;
use creamery_tests::{Ran, creamery, run};

use crate::world::{World, model};

/// Writes the folder that an author starts from.
fn start(world: &World, folder: &str, language: Guest, kind: Kind) -> PathBuf {
    for (path, text) in files(language, kind, "of-mine") {
        world.write(&format!("{folder}/{path}"), &text);
    }
    world.path(folder)
}

/// Groups with scores of two viewpoints: ties, abstentions, groups of one, more than ASCII.
fn scored(world: &World) {
    let mut state = 7u64;
    let mut next = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % n
    };
    let mut text = String::new();
    for g in 0..40 {
        let n = 1 + next(6);
        let responses: Vec<String> = (0..n)
            .map(|i| {
                let finish = ["stop", "length"][next(2) as usize];
                let ids = vec!["5"; 1 + next(4) as usize].join(",");
                format!(r#"{{"text":"{i} — 模","finish":"{finish}","ids":[{ids}]}}"#)
            })
            .collect();
        let mut scores = || {
            let score = |i: u64| match i {
                0 => "null".to_owned(),
                1..4 => format!("{}", i as f64 * 0.5),
                _ => format!("{}", i as f64 / 7.0 - 2.0),
            };
            (0..n).map(|_| score(next(40))).collect::<Vec<_>>().join(",")
        };
        let (current, previous) = (scores(), scores());
        text += &format!(
            r#"{{"id":"é{g}","prompt":[{{"role":"user","content":"x"}}],"prompt_ids":[1,4,5],"responses":[{}],"scores":{{"current":[{current}],"previous":[{previous}]}}}}"#,
            responses.join(",")
        );
        text.push('\n');
    }
    world.write("scores.jsonl", &text);
}

/// Runs `creamery COMMAND --plugin FOLDER`; none where a tool is missing.
fn with(world: &World, command: &str, folder: &str) -> Option<Ran> {
    let ran = world.run(&format!("{command} --plugin {folder}"));
    if ran.stderr.contains("is needed, which is not there") {
        println!("skipped: {}", ran.stderr.lines().next().unwrap_or_default());
        return None;
    }
    Some(ran)
}

type Case = (Kind, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The command, what it is compared with, and the parameters of the two.
const KINDS: [Case; 3] = [
    (
        Kind::Ranker,
        "rank --groups scores.jsonl --quiet",
        "builtin:best-worst --param deduplicate=false",
        &[("", ""), ("--param min-margin=0.75", "--param min-margin=0.75")],
    ),
    (
        Kind::Judge,
        "judge --model model --groups groups.jsonl --quiet",
        "builtin:implicit-reward --param score=mean-likelihood",
        &[("", ""), ("--param length-penalty=0.1", "--param length-penalty=0.1")],
    ),
    (
        Kind::Regularizer,
        "label --groups ranked.jsonl --quiet",
        "builtin:cream --param form=sample --param undefined=half",
        &[("", ""), ("--param lowest=0.3", "--param clamp=[0.3,1]")],
    ),
];

/// All kinds of a language, against a builtin, twice.
fn gives_the_bits_of_the_builtin(language: Guest) {
    let world = World::new();
    world.groups();
    scored(&world);
    world.ok("rank --groups scores.jsonl --param deduplicate=false --quiet --out ranked.jsonl");
    for (kind, command, builtin, parameters) in KINDS {
        start(&world, kind.name(), language, kind);
        for (ours, theirs) in parameters {
            let expected = world.ok(&format!("{command} --plugin {builtin} {theirs}")).stdout;
            assert!(expected.lines().count() > 5, "{kind}: {expected}");
            for _ in 0..2 {
                let Some(found) = with(&world, &format!("{command} {ours}"), kind.name()) else { return };
                assert_eq!(found.code, Some(0), "{language:?} {kind} {ours}\n{}", found.stderr);
                assert_eq!(found.stdout, expected, "{language:?} {kind} {ours}");
            }
        }
        let checked = world.run(&format!("plugin check {}", kind.name()));
        assert_eq!(checked.code, Some(0), "{language:?} {kind}\n{}", checked.stdout);
    }
}

/// What the author's guide shows works as it stands.
#[test]
fn the_guides_judges_pass_their_check() {
    let world = World::new();
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api/GUIDE.md")).unwrap();
    for (language, name, file) in
        [(Guest::Python, "python", "plugin.py"), (Guest::JavaScript, "javascript", "plugin.js")]
    {
        let code = guide.split(&format!("```{name}\n")).nth(1).and_then(|rest| rest.split("```").next());
        start(&world, name, language, Kind::Judge);
        world.write(&format!("{name}/{file}"), code.expect("code of this language"));
        let checked = world.run(&format!("plugin check {name}"));
        if checked.stderr.contains("is needed, which is not there") {
            println!("skipped: {}", checked.stderr.lines().next().unwrap_or_default());
            continue;
        }
        assert_eq!(checked.code, Some(0), "{name}\n{}{}", checked.stdout, checked.stderr);
    }
}

#[test]
fn c_gives_the_bits_of_the_builtin() {
    gives_the_bits_of_the_builtin(Guest::C);
}

#[test]
fn python_gives_the_bits_of_the_builtin() {
    gives_the_bits_of_the_builtin(Guest::Python);
}

#[test]
fn javascript_gives_the_bits_of_the_builtin() {
    gives_the_bits_of_the_builtin(Guest::JavaScript);
}

/// Rows of one viewpoint alone, so that a regularizer of two fails.
fn one_viewpoint(world: &World) {
    world.groups();
    world.ok("judge --model model --groups groups.jsonl --param score=mean-likelihood --quiet --out one.jsonl");
    world.ok("rank --groups one.jsonl --quiet --out one-ranked.jsonl");
}

#[test]
fn what_goes_wrong_in_a_plugin_is_said() {
    let world = World::new();
    one_viewpoint(&world);
    for (language, parts) in [
        (Guest::C, &["expected scores of two viewpoints"][..]),
        (Guest::Python, &["ValueError: expected scores of two viewpoints", "at label, line "][..]),
        (Guest::JavaScript, &["Error: expected scores of two viewpoints", "plugin.js:"][..]),
    ] {
        let folder = format!("{language:?}");
        start(&world, &folder, language, Kind::Regularizer);
        let Some(ran) = with(&world, "label --groups one-ranked.jsonl --quiet", &folder) else { continue };
        assert_eq!(ran.code, Some(4), "{language:?}\n{}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "{language:?}: expected {part:?} in\n{}", ran.stderr);
        }
    }
}

/// What is written in the place of what in the plugin's file, and parts of the error.
type Mistake = (&'static str, &'static str, &'static [&'static str]);

/// What the bindings of a language would turn into a trap without a word, or into another value.
#[test]
fn a_value_of_another_shape_is_an_error_that_says_where() {
    const JUDGE_JS: &[Mistake] = &[
        (
            "slot: \"judge\"",
            "slott: \"judge\"",
            &[
                "step of plugin.js gives another shape",
                "result.val[0].val.slot is undefined, beside slott, expected a text",
            ],
        ),
        (
            "\"response-logps\"",
            "\"responseLogps\"",
            &["its result.val[0].tag is \"responseLogps\", expected \"response-logps\" or"],
        ),
    ];
    const RANKER_JS: &[Mistake] = &[
        ("weight: 1", "weight: \"1\"", &["result.pairs[0].weight is \"1\", expected a number"]),
        (
            "chosen: first + found.best",
            "chosen: first + found.best + 0.5",
            &["result.pairs[0].chosen is ", ".5, expected a whole number from 0 to 4294967295"],
        ),
        ("  rank(context", "  async rank(context", &["its result is a promise"]),
        ("const ranker", "const rankr", &["plugin.js exports no ranker (only rankr)"]),
        ("  configure(text", "  async configure(text", &["configure of plugin.js", "is a promise"]),
        (
            "result.dropped.push({ index: group, reason: found })",
            "result.dropped.push({ index: group, reason: \"\\ud83d\" })",
            &["half of a surrogate pair"],
        ),
        (
            "return result;",
            "return { ...result, ranks: Uint32Array.from(result.ranks) };",
            &["is a Uint32Array (Array.from makes a list of it), expected a list"],
        ),
        (
            "  rank(context, groups, scores) {",
            "  rank(context, groups, scores) {\n    throw { code: 3 };",
            &["{\"code\":3}"],
        ),
    ];
    const RANKER_PY: &[Mistake] = &[
        (
            "weight=1.0",
            "weight=\"1\"",
            &["rank of plugin.py gives another shape", "result.pairs[0].weight is '1', expected a number"],
        ),
        ("    def rank(", "    async def rank(", &["rank of plugin.py is async: no function of the contract is"]),
        ("    def rank(", "    def ranks(", &["class Ranker of plugin.py has no function rank"]),
        // `configure` may be any kind of function, and not even an exit ends the plugin.
        (
            "    def configure(self, params: str) -> None:\n        PARAMS.update(json.loads(params))\n",
            "    @staticmethod\n    def configure(params):\n        PARAMS.update(json.loads(params))\n        raise SystemExit(json.dumps(3))\n",
            &["configure: SystemExit: 3 (at configure, line 17 of plugin.py)"],
        ),
    ];
    let world = World::new();
    world.groups();
    scored(&world);
    for (language, kind, mistakes) in [
        (Guest::JavaScript, Kind::Judge, JUDGE_JS),
        (Guest::JavaScript, Kind::Ranker, RANKER_JS),
        (Guest::Python, Kind::Ranker, RANKER_PY),
    ] {
        let command = match kind {
            Kind::Judge => "judge --model model --groups groups.jsonl --quiet",
            _ => "rank --groups scores.jsonl --quiet",
        };
        for (i, (from, to, parts)) in mistakes.iter().enumerate() {
            let folder = format!("{language:?}-{kind}-{i}");
            start(&world, &folder, language, kind);
            let file = format!("{folder}/plugin.{}", if language == Guest::Python { "py" } else { "js" });
            let code = world.read(&file);
            assert!(code.contains(from), "{from:?} is not in {file}");
            world.write(&file, &code.replacen(from, to, 1));
            let Some(ran) = with(&world, command, &folder) else { break };
            assert_eq!(ran.code, Some(4), "{from:?}\n{}", ran.stderr);
            for part in *parts {
                assert!(ran.stderr.contains(part), "{from:?}: expected {part:?} in\n{}", ran.stderr);
            }
        }
    }
}

/// A folder may bring packages of its language along; with `--locked`, where nobody has locked them, it may not.
#[test]
fn packages_of_a_folder_are_used_but_not_when_all_is_locked() {
    let world = World::new();
    scored(&world);
    start(&world, "mine", Guest::JavaScript, Kind::Ranker);
    let code = world.read("mine/plugin.js").replace("weight: 1 }", "weight: heavy }");
    world.write("mine/plugin.js", &format!("import heavy from \"heavy\";\n{code}"));
    world.write("mine/node_modules/heavy/package.json", r#"{"name": "heavy", "type": "module", "main": "index.js"}"#);
    world.write("mine/node_modules/heavy/index.js", "export default 2;\n");
    let Some(ran) = with(&world, "rank --groups scores.jsonl --quiet", "mine") else { return };
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains(r#""weight":2"#), "{}", ran.stdout);
    // Another one makes another plugin.
    world.write("mine/node_modules/heavy/index.js", "export default 3;\n");
    assert!(world.ok("rank --groups scores.jsonl --quiet --plugin mine").stdout.contains(r#""weight":3"#));

    world.write("creamery.lock", &locked_ranker(&world));
    let ran = world.run("rank --groups scores.jsonl --quiet --plugin mine --locked");
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("Error resolving module 'heavy'"), "{}", ran.stderr);
}

/// What is compiled is what the digest of the sources says, and nothing else.
#[test]
fn c_is_built_of_its_sources_alone() {
    let world = World::new();
    scored(&world);
    start(&world, "mine", Guest::C, Kind::Ranker);
    let rank = "rank --groups scores.jsonl --quiet";
    let Some(ran) = with(&world, rank, "mine") else { return };
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let digest = || {
        let inspected = world.ok("plugin inspect mine --json").stdout;
        serde_json::from_str::<serde_json::Value>(&inspected).expect("JSON")["sources-digest"].to_string()
    };
    let before = digest();
    // The program that the tests of the folder are compiled to.
    world.write("mine/test_rule", "a program");
    assert_eq!(digest(), before);
    let rule = world.read("mine/rule.c");
    world.write("secret.h", "\n");
    let absolute = world.path("secret.h").display().to_string();
    for (name, parts) in [
        (absolute.as_str(), &["it includes ", "secret.h, which is not among its sources"][..]),
        ("../secret.h", &["'../secret.h' file not found"]),
        (".hidden.h", &["'.hidden.h' file not found"]),
        ("stdio.h", &["'stdio.h' file not found"]),
    ] {
        world.write("mine/.hidden.h", "\n");
        world.write("mine/rule.c", &format!("#include \"{name}\"\n{rule}"));
        let ran = world.run(&format!("{rank} --plugin mine"));
        assert_eq!(ran.code, Some(4), "{name}: {}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "{name}: expected {part:?} in\n{}", ran.stderr);
        }
    }
    world.write("mine/rule.c", &rule);
    assert_ne!(digest(), "null");
    assert_eq!(digest(), before);
}

/// Python packages come from the folder's own environment, never from the machine's Python.
#[test]
fn python_packages_are_those_of_the_folders_environment() {
    let world = World::new();
    scored(&world);
    start(&world, "mine", Guest::Python, Kind::Ranker);
    let code = world.read("mine/plugin.py").replace("weight=1.0", "weight=heavy.WEIGHT");
    world.write("mine/plugin.py", &code.replace("import rule\n", "import heavy\nimport rule\n"));
    let rank = "rank --groups scores.jsonl --quiet";
    let Some(ran) = with(&world, rank, "mine") else { return };
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("ModuleNotFoundError: No module named 'heavy'"), "{}", ran.stderr);
    for weight in ["2", "3"] {
        let packages = "mine/.venv/lib/python3.11/site-packages";
        world.write(&format!("{packages}/heavy.py"), &format!("WEIGHT = {weight}.0\n"));
        let ran = world.ok(&format!("{rank} --plugin mine"));
        assert!(ran.stdout.contains(&format!(r#""weight":{weight}"#)), "{}", ran.stdout);
    }
    // No lock holds them.
    world.groups();
    let config = "[data]\nprompts = \"groups.jsonl\"\n[judge]\nplugin = \"builtin:implicit-reward\"\n\
                  [ranker]\nplugin = \"mine\"\n[regularizer]\nplugin = \"builtin:cream\"\n[model]\npath = ";
    world.write("run.toml", &format!("{config}{:?}\n", model()));
    let locked = world.ok("plugin lock run.toml");
    assert!(locked.stderr.contains("warning: [ranker] mine: packages are installed for it"), "{}", locked.stderr);
    fs::remove_dir_all(world.path("mine/.venv")).unwrap();
    world.write("mine/plugin.py", &code.replace("heavy.WEIGHT", "1.0"));
    assert!(!world.ok("plugin lock run.toml").stderr.contains("packages"));
}

/// A lock file that holds the ranker in the folder `mine`.
fn locked_ranker(world: &World) -> String {
    let inspected = world.ok("plugin inspect mine --json").stdout;
    let found: serde_json::Value = serde_json::from_str(&inspected).expect("JSON");
    format!(
        "version = 1\n[[plugin]]\nconfig = \"run.toml\"\npart = \"ranker\"\nsource = \"mine\"\nkind = \"ranker\"\nname = \"of-mine\"\n\
         version = \"0.1.0\"\nabi = \"1.1\"\nartifact = \"component\"\ndigest = {}\nfeatures = []\nparams = '{{\"min-margin\":0}}'\n",
        found["sources-digest"]
    )
}

/// Randomness of a language's own is the same in every run.
#[test]
fn random_numbers_are_the_same_in_every_run() {
    for (language, file, from, to) in [
        (
            Guest::Python,
            "rule.py",
            "return total / tokens",
            "return random.random() + hash(str(total)) % 97 + total / tokens",
        ),
        (Guest::JavaScript, "rule.js", "return total / tokens", "return Math.random() + total / tokens"),
    ] {
        let world = World::new();
        world.groups();
        start(&world, "judge", language, Kind::Judge);
        let rule = world
            .read(&format!("judge/{file}"))
            .replace(from, to)
            .replace("import math\n", "import math\nimport random\n");
        assert!(rule.contains("andom()"), "{rule}");
        world.write(&format!("judge/{file}"), &rule);
        let judge = || with(&world, "judge --model model --groups groups.jsonl --quiet", "judge");
        let (Some(first), Some(second)) = (judge(), judge()) else { continue };
        assert_eq!(first.code, Some(0), "{language:?}\n{}", first.stderr);
        let plain = world.ok("judge --model model --groups groups.jsonl --param score=mean-likelihood --quiet");
        assert_ne!(first.stdout, plain.stdout, "{language:?}");
        assert_eq!(first.stdout, second.stdout, "{language:?}");
    }
}

/// The tests that come with the folders.
#[test]
fn the_tests_of_the_folders_pass() {
    let world = World::new();
    for (language, line) in [
        (Guest::C, "cc -Wall -Werror test_rule.c rule.c -lm -o test_rule && ./test_rule"),
        (Guest::Python, "python3 -m unittest"),
        (Guest::JavaScript, "node --test"),
    ] {
        for kind in [Kind::Judge, Kind::Ranker, Kind::Regularizer] {
            let folder = start(&world, &format!("{language:?}-{kind}"), language, kind);
            let tool = line.split(' ').next().unwrap_or_default();
            if Command::new(tool).arg("--version").output().is_err() {
                println!("skipped: there is no {tool}");
                continue;
            }
            let ran = run(Command::new("sh").args(["-c", line]).current_dir(&folder));
            assert_eq!(ran.code, Some(0), "{language:?} {kind}\n{}{}", ran.stdout, ran.stderr);
        }
    }
}

#[test]
fn a_missing_tool_and_a_wrong_manifest_are_errors() {
    let world = World::new();
    scored(&world);
    let rank = |folder: &str, more: &str, path: Option<&Path>| {
        let mut command = creamery!();
        command.current_dir(&world.folder).env("CREAMERY_CACHE", world.path("cache"));
        command.args(["rank", "--groups", "scores.jsonl", "--plugin", folder]).args(more.split_whitespace());
        if let Some(path) = path {
            command.env("PATH", path);
        }
        run(&mut command)
    };
    let nowhere = world.path("nowhere");
    fs::create_dir(&nowhere).unwrap();
    for (language, parts) in [
        (Guest::C, ["to build a plugin in C, clang with WebAssembly is needed", "apt install clang"]),
        (Guest::Python, ["componentize-py is needed", ".venv/bin/pip install componentize-py"]),
        (Guest::JavaScript, ["componentize-qjs is needed", "npm install"]),
    ] {
        let folder = format!("{language:?}");
        start(&world, &folder, language, Kind::Ranker);
        let ran = rank(&folder, "", Some(&nowhere));
        assert_eq!(ran.code, Some(4), "{}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "expected {part:?} in\n{}", ran.stderr);
        }
        let ran = rank(&folder, "--artifact native --allow-native", None);
        assert_eq!(ran.code, Some(4), "{}", ran.stderr);
        assert!(ran.stderr.contains("cannot be built as a native library"), "{}", ran.stderr);
    }
    let manifest = world.read("C/plugin.toml");
    for (from, to, part) in [
        ("\"c\"", "\"cobol\"", "unknown variant `cobol`"),
        ("kind = \"ranker\"\n", "", "missing field `kind`"),
        ("\"of-mine\"", "\"of mine\"", "the plugin's name is \"of mine\""),
    ] {
        world.write("C/plugin.toml", &manifest.replace(from, to));
        let ran = rank("C", "", None);
        assert_eq!(ran.code, Some(4), "{}", ran.stderr);
        assert!(
            ran.stderr.contains(part) && ran.stderr.contains("plugin.toml"),
            "expected {part:?} in\n{}",
            ran.stderr
        );
    }
    world.write("C/plugin.toml", &manifest.replace("\"ranker\"", "\"judge\""));
    let ran = world.run("plugin build C");
    if !ran.stderr.contains("is needed, which is not there") {
        assert_eq!(ran.code, Some(4), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("is said to be a judge, but exports creamery:plugin/ranker@1.1.0"),
            "{}",
            ran.stderr
        );
    }
}

/// A component that imports WASI is refused; with `--wasi deny` it loads, and gets nothing.
#[test]
fn wasi_is_denied() {
    let world = World::new();
    scored(&world);
    start(&world, "wants", Guest::C, Kind::Ranker);
    world.write(
        "wants/wit/deps/clocks/clocks.wit",
        "package wasi:clocks@0.2.0;\ninterface monotonic-clock { now: func() -> u64; }\n",
    );
    world.write(
        "wants/wit/deps/random/random.wit",
        "package wasi:random@0.2.0;\ninterface random { get-random-u64: func() -> u64; }\n",
    );
    world.write(
        "wants/wit/deps/cli/cli.wit",
        "package wasi:cli@0.2.0;\ninterface exit { exit: func(status: result); }\n",
    );
    let imports = "{\n  import wasi:clocks/monotonic-clock@0.2.0;\n  import wasi:random/random@0.2.0;\n  import wasi:cli/exit@0.2.0;";
    let wit = world.read("wants/wit/world.wit").replacen('{', imports, 1);
    world.write("wants/wit/world.wit", &wit);
    let import = |interface: &str, name: &str, function: &str| {
        format!("__attribute__((import_module(\"wasi:{interface}@0.2.0\"), import_name(\"{name}\"))) {function};\n")
    };
    let code = world.read("wants/plugin.c").replace(
        "static double min_margin;",
        &format!(
            "static double min_margin;\n{}{}{}",
            import("clocks/monotonic-clock", "now", "uint64_t wasi_now(void)"),
            import("random/random", "get-random-u64", "uint64_t wasi_random(void)"),
            import("cli/exit", "exit", "void wasi_exit(int status)"),
        ),
    );
    // The clock says 0, the random number is one that is not 0.
    let code = code.replace(
        "creamery_string_free(params);",
        "creamery_string_free(params);\n  min_margin += wasi_now() + (wasi_random() ? 0 : 1000);\n  if (min_margin > 100) wasi_exit(0);",
    );
    world.write("wants/plugin.c", &code);
    let rank = "rank --groups scores.jsonl --quiet";
    let Some(refused) = with(&world, rank, "wants") else { return };
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    for part in ["it imports wasi:", "wasi:clocks/monotonic-clock@0.2.0", "plugins are granted nothing", "--wasi deny"]
    {
        assert!(refused.stderr.contains(part), "expected {part:?} in\n{}", refused.stderr);
    }
    let expected = world.ok(&format!("{rank} --param deduplicate=false")).stdout;
    assert_eq!(world.ok(&format!("{rank} --plugin wants --wasi deny")).stdout, expected);
    let ran = world.run(&format!("{rank} --plugin wants --wasi deny --param min-margin=1000"));
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("it called wasi:cli/exit@0.2.0#exit, which is denied"), "{}", ran.stderr);
}
