//! `creamery template`

use std::fs;
use std::path::Path;

use creamery_tests::{Ran, creamery, fixture, run};
use serde_json::{Value, json};

/// Runs the command with a template on rows with these lines.
fn template(source: &str, lines: &str, more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = folder.path().join("model");
    fs::create_dir(&model).expect("the model's folder");
    fs::copy(fixture("tokenizer/tokenizer.json"), model.join("tokenizer.json")).expect("the tokenizer");
    fs::write(model.join("tokenizer_config.json"), json!({"bos_token": "<s>"}).to_string()).expect("its configuration");
    fs::write(model.join("chat_template.jinja"), source).expect("the template");
    let rows = folder.path().join("rows.jsonl");
    fs::write(&rows, lines).expect("the rows");
    let mut command = creamery!("template", "--model", &model, "--messages", &rows);
    run(command.args(more))
}

const SOURCE: &str = "{% for m in messages %}{% if m.role == 'wizard' %}{{ raise_exception('no ' ~ m.role) }}{% endif %}\
                      <{{ m.role }}>{{ m.content }}{% endfor %}{{ '<a>' if add_generation_prompt }}\
                      {{ mode | default('') }}{{ strftime_now('%F') if dated }}";

#[test]
fn rows_become_text_and_ids() {
    let lines = concat!(
        r#"{"id":"a","messages":[{"role":"user","content":"x"},{"role":"assistant","content":""}]}"#,
        "\n",
        r#"{"prompt":[{"role":"user","content":"é\n"}],"answer":"other fields are left alone"}"#,
        "\n",
        r#"{"prompt":"z"}"#,
    );
    for (more, expected) in [
        (vec![], ["<user>x<assistant><a>", "<user>é\n<a>", "<user>z<a>"]),
        (vec!["--no-generation-prompt"], ["<user>x<assistant>", "<user>é\n", "<user>z"]),
        (vec!["--continue-final-message"], ["<user>x<assistant>", "<user>é\n", "<user>z"]),
        (
            vec![
                "--no-generation-prompt",
                "--template-arg",
                "mode=m",
                "--template-arg",
                "dated=true",
                "--date",
                "2000-01-02",
            ],
            ["<user>x<assistant>m2000-01-02", "<user>é\nm2000-01-02", "<user>zm2000-01-02"],
        ),
    ] {
        let ran = template(SOURCE, lines, &more);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let rows: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let texts: Vec<_> = rows.iter().map(|row| row["text"].as_str().expect("text")).collect();
        assert_eq!(texts, expected, "{more:?}");
        let ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().expect("id")).collect();
        assert_eq!(ids, ["a", "row-000001", "row-000002"]);
        assert!(rows.iter().all(|row| !row["ids"].as_array().expect("ids").is_empty()));
    }
}

#[test]
fn an_error_names_the_row_and_what_is_wrong() {
    let good = r#"{"messages":[{"role":"user","content":"x"}]}"#;
    for (row, more, code, messages) in [
        (
            r#"{"messages":[{"role":"wizard","content":"x"}]}"#,
            vec![],
            3,
            ["rows.jsonl:2", "no wizard", "chat_template.jinja"],
        ),
        (r#"{"messages":[]}"#, vec![], 3, ["rows.jsonl:2", "'messages' is an empty list", ""]),
        (r#"{"text":"x"}"#, vec![], 3, ["rows.jsonl:2", "the field 'prompt' is missing", ""]),
        (r#"{"messages":[{"role":"user"}]}"#, vec![], 3, ["rows.jsonl:2", "has no 'content'", ""]),
        (good, vec!["--template-arg", "mood=1"], 2, ["no variable 'mood'", "chat_template.jinja", ""]),
        (good, vec!["--template-arg", "mode"], 2, ["NAME=VALUE", "--template-arg mode", ""]),
        (good, vec!["--date", "tomorrow"], 2, ["'tomorrow' is not a day", "2024-07-26", ""]),
        (good, vec!["--template", "rag"], 3, ["no chat template named 'rag'", "found: default", ""]),
    ] {
        let ran = template(SOURCE, &format!("{good}\n{row}\n"), &more);
        assert_eq!(ran.code, Some(code), "{row} {more:?}: {}", ran.stderr);
        for message in messages {
            assert!(ran.stderr.contains(message), "{row} {more:?}: {}", ran.stderr);
        }
    }
    let ran = run(&mut creamery!("template", "--model", Path::new("nowhere"), "--messages", "rows.jsonl"));
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
}
