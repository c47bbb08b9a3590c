//! `creamery eval`

use std::fs;
use std::process::Command;

use creamery_tests::run;
use serde_json::{Value, json};

use crate::world::{World, model, quickstart_rows, repository};

#[test]
fn an_evaluation_gives_the_accuracy_of_a_run() {
    let world = World::new();
    world.write("eval.jsonl", &quickstart_rows("eval.jsonl", 30));
    world.write("prompts.jsonl", &quickstart_rows("prompts.jsonl", 8));
    world.write(
        "run.toml",
        &format!(
            "seed = 5\ndevice = \"cpu\"\nout = \"out\"\nstore = \"store\"\n[model]\npath = \"{}\"\n[data]\n\
             prompts = \"prompts.jsonl\"\neval = \"eval.jsonl\"\n[rounds]\ncount = 1\n[sample]\nn = 3\n\
             max-new-tokens = 10\n[judge]\nparams = {{ score = \"mean-likelihood\" }}\n[train]\nbatch-size = 2\n\
             [eval]\nsamples = 3\ntemperature = 0.9\n",
            model().display()
        ),
    );
    world.ok("run run.toml --quiet");
    let summary: Value = serde_json::from_str(&world.read("out/summary.json")).unwrap();
    let accuracy = &summary["models"][0]["accuracy"];

    const EVAL: &str = "eval --model model --task eval.jsonl --max-new-tokens 10 --seed 5";
    let table = world.ok(&format!("{EVAL} --temperature 0.9 -n 3 --out sampled")).stdout;
    world.ok(&format!("{EVAL} --greedy --out greedy"));
    let results = |name: &str| -> Value { serde_json::from_str(&world.read(&format!("{name}/results.json"))).unwrap() };
    let (sampled, greedy) = (results("sampled"), results("greedy"));
    for (found, mean, error) in [(&sampled, "sampled", "sampled_error"), (&greedy, "greedy", "greedy_error")] {
        assert_eq!(found["results"]["eval"]["exact_match,exact"], accuracy[mean], "{mean}");
        assert_eq!(found["results"]["eval"]["exact_match_stderr,exact"], accuracy[error], "{error}");
    }
    for (task, mean) in accuracy["by_task"].as_object().unwrap() {
        assert_eq!(sampled["results"][task]["exact_match,exact"], *mean, "{task}");
        assert_eq!(sampled["n-samples"][task], json!({"original": 6, "effective": 6}));
        assert_eq!(sampled["higher_is_better"][task], json!({"exact_match": true}));
        assert!(table.contains(task.as_str()), "{table}");
        // The table's numbers are those of the samples.
        let samples = world.rows(&format!("sampled/samples_{task}.jsonl"));
        assert_eq!(samples.len(), 6);
        let total: f64 = samples.iter().map(|s| s["exact_match"].as_f64().unwrap()).sum();
        assert!((total / 6.0 - mean.as_f64().unwrap()).abs() < 1e-12);
        for sample in &samples {
            let right = sample["filtered_resps"].as_array().unwrap().iter().filter(|r| **r == sample["target"]).count();
            assert_eq!(sample["exact_match"], json!(right as f64 / 3.0));
            assert_eq!(sample["resps"][0].as_array().unwrap().len(), 3);
            assert_eq!(sample["doc"]["answer"], sample["target"]);
        }
    }
    assert_eq!(sampled["group_subtasks"]["eval"].as_array().unwrap().len(), 5);
    assert_eq!(sampled["groups"]["eval"], sampled["results"]["eval"]);
    assert_eq!(greedy["config"]["gen_kwargs"]["do_sample"], false);
    assert_eq!(sampled["configs"]["add"]["repeats"], 3);
    assert_eq!(sampled["results"]["add"]["alias"], "add");

    // The same bytes again, on one thread.
    world.ok(&format!("{EVAL} --temperature 0.9 -n 3 --threads 1 --out again"));
    for name in ["results.json", "samples_add.jsonl", "samples_sort.jsonl"] {
        assert_eq!(world.read(&format!("sampled/{name}")), world.read(&format!("again/{name}")), "{name}");
    }
    // A part of the rows.
    world.ok(&format!("{EVAL} --limit 7 --out part"));
    assert_eq!(results("part")["n-samples"]["add"], json!({"original": 6, "effective": 2}));
}

#[test]
fn the_results_name_model_and_adapter_as_lm_eval_does() {
    let world = World::new();
    world.write("eval.jsonl", &quickstart_rows("eval.jsonl", 2));
    let base = model().display().to_string();
    world.adapter("tuned", &model(), &base);
    for (arguments, args, name) in [
        ("", json!({"pretrained": base}), base.as_str()),
        ("--adapter tuned", json!({"pretrained": base, "peft": "tuned"}), "tuned"),
    ] {
        world.ok(&format!("eval --model model {arguments} --task eval.jsonl --max-new-tokens 2 --out out"));
        let results: Value = serde_json::from_str(&world.read("out/results.json")).unwrap();
        assert_eq!((&results["config"]["model_args"], &results["model_name"]), (&args, &json!(name)));
    }
}

#[test]
fn the_benchmarks_rows_are_evaluated() {
    let world = World::new();
    let folder = repository().join("examples/benchmarks");
    for (task, extractor) in [
        ("arc_easy", "choice"),
        ("arc_challenge", "choice"),
        ("openbookqa", "choice"),
        ("siqa", "choice"),
        ("gsm8k", "number"),
    ] {
        let file = folder.join(format!("{task}.jsonl"));
        let ran = world.ok(&format!(
            "eval --model model --task {} --extractor {extractor} --max-new-tokens 8 --out {task}",
            file.display()
        ));
        assert!(ran.stdout.contains(task), "{}", ran.stdout);
        let results: Value = serde_json::from_str(&world.read(&format!("{task}/results.json"))).unwrap();
        let accuracy = &results["results"][task][format!("exact_match,{extractor}")];
        assert!((0.0..=1.0).contains(&accuracy.as_f64().unwrap()), "{results}");
        assert_eq!(results["n-samples"][task]["effective"], 3);
        assert_eq!(results["group_subtasks"], json!({task: []}));
        let samples = world.rows(&format!("{task}/samples_{task}.jsonl"));
        for (sample, answer) in samples.iter().zip(fs::read_to_string(&file).unwrap().lines()) {
            let row: Value = serde_json::from_str(answer).unwrap();
            assert_eq!(sample["target"], row["answer"]);
        }
    }
}

#[test]
fn published_files_become_rows() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    let script = repository().join("examples/benchmarks/convert.py");
    let abcd = "\"choices\": {\"text\": [\"ice\", \"fire\"], \"label\": [\"A\", \"B\"]}";
    let cases = [
        ("arc_easy", format!("{{\"id\": \"M1\", \"question\": \"Hot?\", {abcd}, \"answerKey\": \"B\"}}"), "B", true),
        (
            "arc_challenge",
            format!(
                "{{\"id\": \"M1\", \"question\": \"Hot?\", {}, \"answerKey\": \"2\"}}",
                abcd.replace("\"A\", \"B\"", "\"1\", \"2\"")
            ),
            "B",
            true,
        ),
        (
            "arc_easy",
            "{\"id\": \"M1\", \"question\": {\"stem\": \"Hot?\", \"choices\": [{\"text\": \"ice\", \"label\": \"A\"}, \
             {\"text\": \"fire\", \"label\": \"B\"}]}, \"answerKey\": \"A\"}"
                .into(),
            "A",
            true,
        ),
        (
            "openbookqa",
            format!("{{\"id\": \"7\", \"question_stem\": \"Hot?\", {abcd}, \"answerKey\": \"A\"}}"),
            "A",
            true,
        ),
        (
            "siqa",
            "{\"context\": \"It burns.\", \"question\": \"Hot?\", \"answerA\": \"ice\", \"answerB\": \"fire\", \
             \"answerC\": \"rain\", \"label\": \"2\"}"
                .into(),
            "B",
            true,
        ),
        ("gsm8k", "{\"question\": \"Hot?\", \"answer\": \"1+1=2\\n#### 1,002\"}".into(), "1,002", false),
    ];
    for (task, published, answer, choices) in cases {
        let world = World::new();
        world.write("published.jsonl", &format!("{published}\n"));
        let mut command = Command::new("sh");
        command.args(["-euc", "python3 \"$1\" \"$2\" < published.jsonl > rows.jsonl", "sh"]).arg(&script).arg(task);
        let ran = run(command.current_dir(&world.folder));
        assert_eq!(ran.code, Some(0), "{task}: {}", ran.stderr);
        let row = &world.rows("rows.jsonl")[0];
        assert_eq!((&row["answer"], &row["task"]), (&json!(answer), &json!(task)));
        assert!(row["prompt"][0]["content"].as_str().unwrap().contains("Hot?"), "{row}");
        assert_eq!(row["prompt"][0]["content"].as_str().unwrap().contains("\nB. fire"), choices, "{row}");
        assert_eq!(row.get("choices").is_some(), choices);
        let extractor = if choices { "choice" } else { "number" };
        world.ok(&format!("eval --model model --task rows.jsonl --extractor {extractor} --max-new-tokens 2 --out out"));
    }
}

#[test]
fn wrong_questions_are_named() {
    let world = World::new();
    let cases: &[(&str, &str, i32, &[&str])] = &[
        ("{\"prompt\": \"a\"}", "", 3, &["task.jsonl:1: the field 'answer' is missing"]),
        ("{\"prompt\": \"a\", \"answer\": \" \"}", "", 3, &["task.jsonl:1: the field 'answer' is empty"]),
        ("{\"prompt\": \"\", \"answer\": \"x\"}", "", 3, &["task.jsonl:1: the prompt is empty"]),
        ("{\"prompt\": \"a\", \"answer\": \"x\", \"task\": \"\"}", "", 3, &["task.jsonl:1: the field 'task' is empty"]),
        (
            "{\"prompt\": \"a\", \"answer\": \"x\", \"choices\": [\"x\"]}",
            "",
            3,
            &["'choices' has 1 entries, expected 2 to 26"],
        ),
        (
            "{\"prompt\": \"a\", \"answer\": \"x\", \"choices\": [\"x\", \"x\"]}",
            "",
            3,
            &["choice 2 of 'choices' is empty or there twice"],
        ),
        ("{\"prompt\": \"a\", \"answer\": \"x\", \"choices\": \"x\"}", "", 3, &["'choices' must be a list"]),
        (
            "{\"id\": \"q\", \"prompt\": \"a\", \"answer\": \"C\", \"choices\": [\"x\", \"y\"]}",
            "--extractor choice",
            3,
            &["task.jsonl:1: ", "the answer \"C\" of the row 'q' is none of the row's choices"],
        ),
        ("{\"prompt\": \"a\", \"answer\": \"none\"}", "--extractor choice", 3, &["names no choice"]),
        ("{\"prompt\": \"a\", \"answer\": \"none\"}", "--extractor number", 3, &["has no number"]),
        ("{\"prompt\": \"a\", \"answer\": \"x\"}", "--extractor regex", 2, &["--extractor regex needs a --pattern"]),
        ("{\"prompt\": \"a\", \"answer\": \"x\"}", "--extractor regex --pattern (", 2, &["pattern"]),
        (
            "{\"prompt\": \"a\", \"answer\": \"x\"}",
            "--pattern x",
            2,
            &["--pattern is used only with --extractor regex"],
        ),
        ("{\"prompt\": \"a\", \"answer\": \"x\"}", "--greedy --temperature 1", 2, &["--greedy"]),
        ("{\"prompt\": \"a\", \"answer\": \"x\"}", "--temperature 0", 2, &["--greedy"]),
        ("{\"prompt\": \"a\", \"answer\": \"x\"}", "--paper-suffix --suffix x", 2, &["--paper-suffix"]),
        ("{\"prompt\": \"a\", \"answer\": \"x\"}", "--limit 0", 2, &["--limit"]),
    ];
    for (row, arguments, code, parts) in cases {
        world.write("task.jsonl", &format!("{row}\n"));
        let ran = world.run(&format!("eval --model model --task task.jsonl --out out {arguments}"));
        assert_eq!(ran.code, Some(*code), "{row} {arguments}: {}", ran.stderr);
        for part in *parts {
            assert!(ran.stderr.contains(part), "{row} {arguments}: no '{part}' in\n{}", ran.stderr);
        }
        assert!(!world.path("out/results.json").exists());
    }
    let long = json!({"prompt": "a".repeat(300), "answer": "x"}).to_string() + "\n";
    world.write("task.jsonl", &("{\"prompt\": \"a\", \"answer\": \"x\"}\n\n".to_owned() + &long));
    let ran = world.run("eval --model model --task task.jsonl --out out");
    assert_eq!(ran.code, Some(3));
    for part in ["task.jsonl:3: ", "the model's context is 256"] {
        assert!(ran.stderr.contains(part), "no '{part}' in\n{}", ran.stderr);
    }
    // What cuts answers off is said.
    world.write("task.jsonl", &quickstart_rows("eval.jsonl", 5));
    let ran = world.ok("eval --model model --task task.jsonl --max-new-tokens 1 --out out --quiet");
    assert!(ran.stderr.contains("5 of 5 responses were cut off"), "{}", ran.stderr);
}
