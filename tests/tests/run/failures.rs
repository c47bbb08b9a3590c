//! What goes wrong in a run: it is named, and nothing is half-written.

use super::*;

#[test]
fn a_failing_judge_stops_the_run_or_costs_only_the_groups_at_fault() {
    let world = World::new();
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile/judge");
    let plugin = format!("judge.plugin={}", hostile.display());
    let run = |policy: &str| {
        let (policy, out) = (format!("judge.on-failure={policy}"), format!("out={policy}"));
        let sets = [plugin.as_str(), "judge.artifact=component", "judge.params={mode=\"sevens\"}", &policy, &out];
        world.run(&sets.iter().flat_map(|set| ["--set", set]).collect::<Vec<_>>())
    };
    let stopped = run("stop");
    let errors = String::from_utf8_lossy(&stopped.stderr);
    assert_eq!(stopped.status.code(), Some(4), "{errors}");
    for part in ["plugin 'hostile-judge'", "no sevens, please: p-0007", "judging round 1 as current"] {
        assert!(errors.contains(part), "no '{part}' in\n{errors}");
    }
    for (policy, abstentions) in [("abstain", 8), ("skip", 8)] {
        let output = run(policy);
        assert!(output.status.success(), "{policy}: {}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(world.path(policy).join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        for round in summary["rounds"].as_array().unwrap() {
            // Of twenty prompts a round two ids end in 7; each has four responses.
            let judged = &round["judging"]["current"];
            assert_eq!(judged["failed_groups"], 2, "{policy}: {judged}");
            assert_eq!(judged["abstentions"], abstentions, "{policy}: {judged}");
            let dropped = round["ranking"]["dropped"].as_object().unwrap();
            let failed = dropped.iter().filter(|(why, _)| why.contains("judge failed")).count();
            assert_eq!(failed > 0, policy == "skip", "{policy}: {dropped:?}");
        }
    }
}

#[test]
fn bad_input_is_named_and_nothing_is_half_written() {
    /// Name, what is broken, arguments, exit code, parts of the message.
    type Case = (&'static str, fn(&World), &'static [&'static str], i32, &'static [&'static str]);
    let cases: [Case; 16] = [
        ("no prompts file", |w| fs::remove_file(w.path("prompts.jsonl")).unwrap(), &[], 3, &["prompts.jsonl"]),
        ("empty prompts", |w| w.write("prompts.jsonl", ""), &[], 3, &["prompts.jsonl", "no rows"]),
        (
            "broken line",
            |w| w.write("prompts.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \n"),
            &[],
            3,
            &["prompts.jsonl:2"],
        ),
        (
            "prompt longer than the context",
            |w| w.write("prompts.jsonl", &format!("{{\"id\": \"long\", \"prompt\": \"{}\"}}\n", "a".repeat(400))),
            &[],
            3,
            &["prompts.jsonl", "context is 256", "'long'"],
        ),
        ("too few prompts", |_| {}, &["--set", "rounds.count=3"], 2, &["run.toml", "60 prompts", "has 40"]),
        (
            "truncated checkpoint",
            |w| {
                let file = w.path("model/model.safetensors");
                let bytes = fs::read(&file).unwrap();
                fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
            },
            &[],
            3,
            &["model.safetensors"],
        ),
        (
            "raising template",
            |w| w.write("model/chat_template.jinja", "{{ raise_exception('no such role') }}"),
            &[],
            3,
            &["no such role"],
        ),
        ("training within the warm-up", |_| {}, &["--set", "sft.batch-size=64"], 5, &["warm-up", "lower batch-size"]),
        (
            "no end token",
            |w| {
                w.write(
                    "model/chat_template.jinja",
                    "{{ messages[0].content }}{% if messages | length > 1 %}{{ messages[1].content }}{% endif %}",
                )
            },
            &[],
            3,
            &["no row's response ends"],
        ),
        (
            "another tokenizer",
            |w| {
                fs::create_dir(w.path("other")).unwrap();
                for entry in fs::read_dir(w.path("model")).unwrap() {
                    let file = entry.unwrap().path();
                    fs::copy(&file, w.path("other").join(file.file_name().unwrap())).unwrap();
                }
                let tokenizer = fs::read_to_string(w.path("other/tokenizer.json")).unwrap();
                w.write("other/tokenizer.json", &(tokenizer + " "));
            },
            &["--set", "model.scoring-reference=other"],
            3,
            &["another tokenizer"],
        ),
        (
            "a wrong parameter from the command line",
            |_| {},
            &["--set", "judge.params.scoer=1"],
            2,
            &["--set judge.params.scoer=1: ", "no parameter 'scoer'", "did you mean 'score'?"],
        ),
        ("bad pattern", |_| {}, &["--set", "eval.extractor=regex", "--set", "eval.pattern=("], 2, &["eval.pattern"]),
        (
            "an answer without a number",
            |w| {
                let row = |answer: &str| format!("{{\"prompt\": \"a\", \"answer\": \"{answer}\"}}\n");
                w.write("eval.jsonl", &(row("7") + &row("seven")));
            },
            &["--set", "eval.extractor=number"],
            3,
            &["eval.jsonl:2: the answer \"seven\"", "has no number", "another extractor"],
        ),
        (
            "an answer that is no choice",
            |w| w.write("eval.jsonl", "{\"prompt\": \"a\", \"answer\": \"C\", \"choices\": [\"x\", \"y\"]}\n"),
            &["--set", "eval.extractor=choice"],
            3,
            &["eval.jsonl:1: the answer \"C\"", "is none of the row's choices"],
        ),
        ("cuda", |_| {}, &["--set", "device=cuda:0"], 2, &["cuda:0", "not available"]),
        ("output is a file", |w| w.write("blocked", "x"), &["--set", "store=blocked/store"], 6, &["blocked"]),
    ];
    for (name, damage, arguments, code, parts) in cases {
        let world = World::new();
        damage(&world);
        let output = world.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}:\n{errors}");
        for part in parts {
            assert!(errors.contains(part), "{name}: no '{part}' in\n{errors}");
        }
        assert!(!world.path("out").exists(), "{name}: a run folder was written");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_the_same_command_continues_later() {
    // A file size limit stands in for a full disk: writes beyond it fail in the middle of a file.
    let world = World::new();
    let limited = format!(
        "trap '' XFSZ; ulimit -f 1000; exec '{}' run '{}'",
        env!("CARGO_BIN_EXE_creamery-under-test"),
        world.path("run.toml").display()
    );
    let output = Command::new("bash").args(["-c", &limited]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("cannot"), "{errors}");
    world.ok(&[]);
    let continued = world.results("out");
    world.ok(&["--set", "out=whole", "--set", "store=whole-store"]);
    assert_same(&continued, &world.results("whole"), "after a full disk");
}

#[test]
fn rows_over_the_context_are_dropped_and_counted() {
    let world = World::new();
    let short = ["--set", "rounds.count=1", "--set", "eval.limit=2"];
    world.ok(&short);
    let weights = || fs::read(world.path("out/M1/model.safetensors")).unwrap();
    let without = weights();
    let long = format!("{{\"id\":\"long\",\"prompt\":\"add 1 2\",\"completion\":\"{}\"}}\n", "9".repeat(1000));
    let rows = fs::read_to_string(world.path("sft.jsonl")).unwrap();
    world.write("sft.jsonl", &format!("{rows}{long}"));
    let output = world.run(&short);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 of 33 rows of data.sft"), "{said}");
    assert!(said.contains("are dropped: 'long'"), "{said}");
    assert!(without == weights(), "a row that is dropped changes nothing");

    world.write("sft.jsonl", &long);
    let output = world.run(&short);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("1 of 1 rows of data.sft"), "{said}");
}
