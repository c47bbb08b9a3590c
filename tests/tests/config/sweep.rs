//! `[sweep]`: which arms a file describes, and what is wrong with others.

use creamery::config::{Metric, SweepConfig};

use super::*;

fn sweep(folder: &Path, more: &str, sets: &[&str]) -> Result<SweepConfig, Error> {
    let path = folder.join("run.toml");
    fs::write(&path, with(more)).unwrap();
    let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
    SweepConfig::load(&path, &sets)
}

fn names(sweep: &SweepConfig) -> Vec<&str> {
    sweep.arms.iter().map(|arm| arm.name.as_str()).collect()
}

#[test]
fn every_combination_is_an_arm_with_a_readable_name() {
    let world = world();
    let cases: &[(&str, &[&str])] = &[
        ("[sweep.grid]\n\"train.beta\" = [0.1, 2]\n", &["beta0.1", "beta2"]),
        ("[sweep.grid.train]\nlearning-rate = [1e-5, 5e-5]\n", &["learning-rate1e-5", "learning-rate5e-5"]),
        ("[sweep.grid]\n\"train.decay-all\" = [true, false]\n", &["decay-all-true", "decay-all-false"]),
        ("[sweep.grid]\n\"train.schedule\" = [\"linear\", \"cosine\"]\n", &["linear", "cosine"]),
        (
            "[sweep.grid]\n\"train.adam-betas\" = [[0.9, 0.99], [0.8, 0.9]]\n",
            &["adam-betas0.9+0.99", "adam-betas0.8+0.9"],
        ),
        ("[sweep.grid]\nsft = [{ epochs = 1, schedule = \"linear\" }]\n", &["epochs1-linear"]),
        (
            "[sweep.grid]\nregularizer = [{ plugin = \"builtin:none\" }, \
             { plugin = \"builtin:cream\", params = { form = \"average\" } }, { name = \"gone\", plugin = \"builtin:filter\" }]\n",
            &["none", "cream-average", "gone"],
        ),
        (
            "[sweep.grid]\n\"train.beta\" = [{ name = \"low\", value = 0.1 }, 0.2]\n\"sample.n\" = [4, 5]\n",
            &["low-n4", "low-n5", "beta0.2-n4", "beta0.2-n5"],
        ),
        (
            "[[sweep.zip]]\n\"train.learning-rate\" = [1e-5, 5e-5]\n\"train.epochs\" = [2, 1]\n",
            &["learning-rate1e-5-epochs2", "learning-rate5e-5-epochs1"],
        ),
        (
            "[[sweep.zip]]\n\"train.beta\" = [{ name = \"slow\", value = 0.1 }, 0.2]\n\"train.epochs\" = [2, 1]\n",
            &["slow", "beta0.2-epochs1"],
        ),
        (
            "[sweep.arms.a]\ntrain.beta = 0.2\n[sweep.arms.b]\n[sweep.grid]\n\"sample.n\" = [4, 6]\n",
            &["a-n4", "a-n6", "b-n4", "b-n6"],
        ),
        (
            "[sweep.grid]\n\"train.beta\" = [0.1, 0.2]\n\"sample.n\" = [4, 5]\n\
             [[sweep.exclude]]\n\"train.beta\" = 0.2\n\"sample.n\" = 4\n",
            &["beta0.1-n4", "beta0.1-n5", "beta0.2-n5"],
        ),
        (
            "[sweep.grid]\n\"train.beta\" = [{ name = \"low\", value = 0.1 }, 0.2]\n[sweep.arms.a]\n[sweep.arms.b]\nsample.n = 3\n\
             [[sweep.exclude]]\ntrain.beta = \"low\"\narm = \"a\"\n",
            &["a-beta0.2", "b-low", "b-beta0.2"],
        ),
        ("[sweep]\nseeds = [3, 1]\n", &["base"]),
    ];
    for (more, expected) in cases {
        let found = sweep(world.path(), more, &[]).unwrap_or_else(|e| panic!("{more}\n{e}"));
        assert_eq!(names(&found), *expected, "{more}");
    }
}

#[test]
fn an_arm_is_the_base_with_its_values() {
    let world = world();
    let more = "seed = 7\n[regularizer]\nplugin = \"builtin:cream\"\n[regularizer.params]\nform = \"average\"\n\
        [sweep]\nbaseline = \"b-none\"\nmetric = \"greedy\"\nout = \"results\"\n\
        [sweep.arms.a]\ntrain.beta = 0.3\n[sweep.arms.b.lora]\nr = 2\n\
        [sweep.grid]\nregularizer = [{ plugin = \"builtin:none\" }, { plugin = \"builtin:cream\" }]\n";
    // Keys of the root come before its tables.
    let text =
        format!("seed = 7\n{MINIMAL}sft = \"sft.jsonl\"\neval = \"eval.jsonl\"\n{}", &more["seed = 7\n".len()..]);
    let path = world.path().join("many.toml");
    fs::write(&path, text).unwrap();
    let found = SweepConfig::load(&path, &["sample.n=9".to_owned()]).unwrap();
    assert_eq!(names(&found), ["a-none", "a-cream", "b-none", "b-cream"]);
    assert_eq!((found.name.as_str(), found.baseline.as_str(), found.metric), ("many", "b-none", Metric::Greedy));
    assert_eq!((found.out.clone(), found.seeds.clone()), (world.path().join("results"), vec![7]));
    let [a, _, b, cream] = &found.arms[..] else { panic!("four arms") };
    assert_eq!((a.config.train.beta, b.config.train.beta), (0.3, 0.1));
    assert_eq!((a.config.lora.is_some(), b.config.lora.as_ref().unwrap().r), (false, 2));
    assert!(found.arms.iter().all(|arm| arm.config.sample.n == 9), "--set works on the base");
    // The section is replaced: nothing of the base's parameters stays.
    assert_eq!(cream.config.regularizer.params.value, serde_json::json!({}));
    assert_eq!(
        serde_json::json!(a.values),
        serde_json::json!({"train.beta": 0.3, "regularizer": {"plugin": "builtin:none"}})
    );

    let runs = found.runs();
    assert_eq!(found.name_of(runs[1]), "a-cream-seed7");
    let config = found.config_of(runs[1]);
    assert_eq!((config.seed, config.name.as_str()), (7, "a-cream-seed7"));
    assert_eq!(config.out, world.path().join("results/runs/a-cream-seed7"));
    // What is written for a run is a config of its own.
    let again = load(world.path(), config.to_toml().unwrap(), &[]).unwrap();
    assert_eq!(RunConfig { file: config.file.clone(), ..again }, config);
}

#[test]
fn what_is_wrong_with_a_sweep_is_said_with_its_line() {
    let world = world();
    // `more` starts at line 7.
    let cases: &[(&str, &[&str])] = &[
        ("", &["run.toml: there is no [sweep]", "creamery run"]),
        ("[sweep]\n", &["run.toml:7: [sweep] varies nothing", "several seeds"]),
        (
            "[sweep.grid]\njudge = [{ plugin = \"judge.wasm\" }, {}]\n",
            &["run.toml:8: two values of `judge` are called \"judge\"", "name them"],
        ),
        ("[sweep]\nseed = [1]\n", &["run.toml:8: unknown key `sweep.seed`", "did you mean `sweep.seeds`?"]),
        ("[sweep]\nseeds = []\n", &["run.toml:8: `sweep.seeds` is a list of 0, expected a list of whole numbers"]),
        ("[sweep]\nseeds = [1, -1]\n", &["run.toml:8: `sweep.seeds` is -1"]),
        ("[sweep]\nseeds = [1, 1]\n", &["run.toml:8: the seed 1 stands twice"]),
        (
            "[sweep]\nseeds = [1, 2]\nmetric = \"sample\"\n",
            &["run.toml:9: `sweep.metric` is the string \"sample\"", "\"sampled\""],
        ),
        (
            "[sweep]\nseeds = [1, 2]\nbaseline = \"bace\"\n",
            &["run.toml:9: `sweep.baseline` is \"bace\"", "did you mean \"base\"?"],
        ),
        ("[sweep]\ngrid = 3\n", &["run.toml:8: `sweep.grid` is 3, expected a table"]),
        ("[sweep.grid]\n", &["[sweep.grid] is empty"]),
        ("[sweep.grid]\n\"train.beta\" = []\n", &["run.toml:8: `train.beta` in [sweep.grid] is an empty list"]),
        (
            "[sweep.grid]\n\"train.beta\" = 0.1\n",
            &["run.toml:8: `train.beta` in [sweep.grid] is 0.1", "belongs to the base"],
        ),
        ("[sweep.grid]\n\"train..beta\" = [0.1]\n", &["run.toml:8: \"train..beta\" is no path of a field"]),
        (
            "[sweep.grid]\n\"train.betta\" = [0.1, 0.2]\n",
            &["run.toml:8: unknown key `train.betta`", "did you mean `train.beta`?", "the arm 'betta0.1'"],
        ),
        ("[sweep.grid]\n\"train.beta\" = [0.1,\n  -1]\n", &["run.toml:9: `train.beta` is -1", "the arm 'beta-1'"]),
        (
            "[sweep.grid]\n\"train.beta\" = [0.1, 0.1]\n",
            &["run.toml:8: two values of `train.beta` are called \"beta0.1\"", "remove one"],
        ),
        ("[sweep.grid]\nseed = [0, 1]\n", &["run.toml:8: `seed` cannot be varied", "seeds = […]"]),
        ("[sweep.grid]\nout = [\"a\"]\n", &["run.toml:8: `out` cannot be varied"]),
        ("[sweep.grid]\nstore = [\"a\"]\n", &["run.toml:8: `store` cannot be varied"]),
        ("[sweep.arms.a]\nname = \"b\"\n", &["run.toml:8: `name` cannot be varied"]),
        (
            "[sweep.grid]\n\"train.beta\" = [{ name = \"a b\", value = 1 }]\n",
            &["run.toml:8: the `name` of a value of `train.beta`"],
        ),
        (
            "[sweep.grid]\n\"train.beta\" = [{ name = \"a\" }]\n",
            &["run.toml:8: a value of `train.beta` has a name and nothing else"],
        ),
        (
            "[[sweep.zip]]\n\"train.beta\" = [1, 2]\n\"sample.n\" = [3]\n",
            &["run.toml:9: `sample.n` in [[sweep.zip]] has 1 values, but `train.beta` has 2"],
        ),
        (
            "[[sweep.zip]]\n\"train.beta\" = [1, 2]\n[sweep.grid]\n\"train.beta\" = [3]\n",
            &["`train.beta` is varied twice"],
        ),
        ("[sweep.grid]\n\"train.beta\" = [1, 2]\n[sweep.arms.a]\ntrain.beta = 3\n", &["`train.beta` is varied twice"]),
        (
            "[sweep.arms.a]\ntrain.beta = 3\n[sweep.arms.b]\ntrain.beta = 3\n",
            &["the arms \"a\" and \"b\" are the same run"],
        ),
        ("[sweep.arms.a]\ntrain.beta = 3\n[sweep.arms.A]\ntrain.beta = 4\n", &["two arms are called \"a\""]),
        ("[sweep.arms.\"a b\"]\n", &["run.toml:7: the arm \"a b\" cannot name a folder"]),
        ("[sweep.arms]\na = 3\n", &["run.toml:8: `sweep.arms.a` is 3, expected a table"]),
        (
            "[sweep.grid]\n\"train.beta\" = [1, 2]\n[[sweep.exclude]]\n\"train.beta\" = 3\n",
            &["run.toml:10: `train.beta` in [[sweep.exclude]] is none of the sweep's values", "beta1, beta2"],
        ),
        (
            "[sweep.grid]\n\"train.beta\" = [1, 2]\n[[sweep.exclude]]\n\"train.epochs\" = 3\n",
            &[
                "run.toml:10: `train.epochs` in [[sweep.exclude]] is nothing that the sweep varies",
                "it varies train.beta",
            ],
        ),
        (
            "[sweep.grid]\n\"train.beta\" = [1, 2]\n[[sweep.exclude]]\n\"train.beta\" = 1\n[[sweep.exclude]]\n\"train.beta\" = 2\n",
            &["leaves no arm"],
        ),
        ("[sweep.grid]\n\"train.beta\" = [1, 2]\n[[sweep.exclude]]\n", &["a [[sweep.exclude]] is empty"]),
        (
            "[sweep.grid]\njudge = [{ plugin = \"builtin:rubric\", prams = {} }]\n",
            &["run.toml:8: unknown key `judge.prams`"],
        ),
    ];
    for (more, parts) in cases {
        let error = sweep(world.path(), more, &[]).map(|_| ()).expect_err(more);
        let shown = error.to_string();
        for part in *parts {
            assert!(shown.contains(part), "{more}\nno {part:?} in {shown}");
        }
        assert_eq!(error.kind(), Kind::Config, "{shown}");
    }
    let many = (0..400).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let grid =
        format!("[sweep.grid]\n\"train.beta\" = [{many}]\n\"sample.top-k\" = [{many}]\n").replace("= [0, ", "= [");
    let error = sweep(world.path(), &grid, &[]).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("the sweep has 159201 arms, more than 100000 arms"), "{error}");
    // An exclusion whose values never stand together: the second leaves the first nothing.
    let more = "[sweep.grid]\n\"train.beta\" = [1, 2]\n\"sample.n\" = [3, 4]\n\
        [[sweep.exclude]]\n\"train.beta\" = 1\n\"sample.n\" = 3\n";
    assert_eq!(sweep(world.path(), more, &[]).unwrap().arms.len(), 3);
    // Without rows there is no accuracy to compare.
    let path = world.path().join("run.toml");
    fs::write(&path, format!("{MINIMAL}[sweep]\nseeds = [1, 2]\n")).unwrap();
    let error = SweepConfig::load(&path, &[]).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("the arms are compared by \"sampled\", which needs `data.eval`"), "{error}");
}

#[test]
fn commands_for_single_runs_say_that_the_file_is_a_sweep() {
    let world = world();
    let path = world.path().join("run.toml");
    fs::write(&path, with("[sweep]\nseeds = [1, 2]\n")).unwrap();
    for command in ["run", "config"] {
        let ran = run(creamery!(command, &path).current_dir(world.path()));
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        for part in ["run.toml:7: this file has a [sweep]", "creamery sweep run", "creamery sweep plan"] {
            assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
        }
    }
    let out = "out = \"results\"\n".to_owned() + &with("[sweep]\nseeds = [1, 2]\n");
    fs::write(&path, out).unwrap();
    let ran = run(&mut creamery!("sweep", "plan", &path));
    assert!(ran.stderr.contains("run.toml:1: `out` is the folder of a single run"), "{}", ran.stderr);
}
