//! `creamery logps`

use std::fs;
use std::path::{Path, PathBuf};

use creamery_tests::{Ran, creamery, fixture, run};
use serde_json::{Value, json};

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/model")
}

/// Runs the command on rows with these lines.
fn logps(model: &Path, lines: &str, more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows = folder.path().join("rows.jsonl");
    fs::write(&rows, lines).expect("the rows");
    let mut command = creamery!("logps", "--model", model, "--rows", &rows);
    run(command.args(more))
}

fn results(ran: &Ran) -> Vec<Value> {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON row")).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

#[test]
fn token_ids_give_the_numbers_of_transformers() {
    for model in ["llama_tied", "llama3_rope", "mistral_window", "qwen2_bias", "qwen3_qknorm"] {
        let folder = fixture("models").join(model);
        let text = fs::read_to_string(folder.join("expected.json")).expect("the fixture");
        let expected: Value = serde_json::from_str(&text).expect("the fixture's JSON");
        let cases = expected["cases"].as_array().expect("cases");
        let line =
            |c: &Value| json!({"input_ids": c["input_ids"], "response_start": c["response_start"]}).to_string() + "\n";
        // A fixture model has no tokenizer; ids need none.
        let rows = results(&logps(&folder, &cases.iter().map(line).collect::<String>(), &[]));
        assert_eq!(rows.len(), cases.len());
        for (row, case) in rows.iter().zip(cases) {
            let (found, wanted) = (numbers(&row["token_logps"]), numbers(&case["token_logps"]));
            assert_eq!((found.len(), row["tokens"].as_u64()), (wanted.len(), Some(wanted.len() as u64)), "{model}");
            for (a, b) in found.iter().zip(&wanted) {
                assert!((a - b).abs() <= 1e-4 * b.abs().max(1e-2), "{model}: {a} for {b}");
            }
            let (sum, wanted) = (row["sum_logp"].as_f64().unwrap(), case["sum_logp"].as_f64().unwrap());
            assert!((sum - wanted).abs() <= 1e-4 * wanted.abs(), "{model}: sum {sum} for {wanted}");
        }
    }
}

#[test]
fn a_row_is_the_same_in_every_form_and_beside_any_other() {
    let chat =
        r#"{"prompt":[{"role":"user","content":"add 23 4"}],"completion":[{"role":"assistant","content":"27"}]}"#;
    let short = r#"{"prompt":"add 23 4","completion":" is 27"}"#;
    let alone = results(&logps(&quickstart(), chat, &[]));
    let lines = format!("{short}\r\n\n{chat}\n{short}\n");
    let together = results(&logps(&quickstart(), &lines, &["--threads", "1"]));
    assert_eq!(together.len(), 3);
    assert_eq!(together[1]["token_logps"], alone[0]["token_logps"]);
    assert_eq!(together[0]["token_logps"], together[2]["token_logps"]);
    let ids: Vec<_> = together.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["row-000000", "row-000001", "row-000002"]);
    // "27" and the end of the turn.
    assert_eq!(alone[0]["tokens"], 3);
}

#[test]
fn a_bad_row_is_named_and_nothing_is_written() {
    let good = r#"{"input_ids":[1,5,9],"response_start":1}"#;
    let cases = [
        (r#"{"input_ids":[1,2],"response_start":2}"#, "expected an index from 1 to 1"),
        (r#"{"input_ids":[1,2],"response_start":0}"#, "'response_start' is 0"),
        (r#"{"input_ids":[],"response_start":1}"#, "'input_ids' has 0"),
        (r#"{"input_ids":[1,2]}"#, "the field 'response_start' is missing"),
        (r#"{"input_ids":[1,-2],"response_start":1}"#, "element 1 of 'input_ids' is -2"),
        (r#"{"input_ids":[1,2.5],"response_start":1}"#, "element 1 of 'input_ids' is 2.5"),
        (r#"{"input_ids":[1,99999],"response_start":1}"#, "99999"),
        (r#"{"input_ids":"1 2","response_start":1}"#, "must be a list of token ids, found a string"),
        (r#"{"prompt":"a"}"#, "the field 'completion' is missing"),
        (r#"{"prompt":"","completion":"x"}"#, "the prompt is empty"),
        (r#"{"prompt":"a","completion":""}"#, "the field 'completion' is empty"),
        (r#"{"prompt":"a","completion":[{"role":"assistant","content":"x"}]}"#, "give both in one form"),
        (r#"{"prompt":[{"role":"wizard","content":"a"}],"completion":"x"}"#, "unknown role wizard"),
    ];
    for (row, message) in cases {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = folder.path().join("logps.jsonl");
        fs::write(&out, "old\n").expect("an older result");
        let ran = logps(&quickstart(), &format!("{good}\n{row}\n"), &["--out", out.to_str().unwrap()]);
        assert_eq!(ran.code, Some(3), "{row}: {}", ran.stderr);
        assert!(ran.stderr.contains("rows.jsonl:2") && ran.stderr.contains(message), "{row}: {}", ran.stderr);
        assert_eq!(fs::read_to_string(&out).unwrap(), "old\n", "{row}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "a temporary file stays after {row}");
    }
}

#[test]
fn a_tokenizer_is_asked_for_only_where_there_is_text() {
    let ran = logps(&fixture("models/llama_tied"), r#"{"prompt":"a b","completion":" c"}"#, &[]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("tokenizer.json"), "{}", ran.stderr);
}

/// `--out /dev/null` must not make a file of the device, and a link stays a link.
#[cfg(unix)]
#[test]
fn what_is_no_ordinary_file_is_written_to_and_never_replaced() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let row = r#"{"input_ids":[1,5,9],"response_start":1}"#;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let device = folder.path().join("null");
    symlink("/dev/null", &device).expect("a link");
    let ran = logps(&quickstart(), row, &["--out", device.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert!(fs::metadata(&device).unwrap().file_type().is_char_device());

    let (file, link) = (folder.path().join("rows.jsonl"), folder.path().join("link"));
    fs::write(&file, "old\n").expect("a file");
    symlink(&file, &link).expect("a link");
    let ran = logps(&quickstart(), row, &["--out", link.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&file).unwrap().starts_with(r#"{"id":"row-000000""#));

    let full = logps(&quickstart(), row, &["--out", "/dev/full"]);
    assert_eq!(full.code, Some(6), "{}", full.stderr);
    assert!(full.stderr.contains("/dev/full: ") && full.stderr.contains("free some space"), "{}", full.stderr);
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
}

#[test]
fn what_the_command_line_gets_wrong_is_told_before_any_work() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows = folder.path().join("rows.jsonl");
    let text = "{\"input_ids\":[1,5,9],\"response_start\":1}\n";
    fs::write(&rows, text).expect("the rows");
    let model = quickstart();
    let config = model.join("config.json");
    let cases: [(&Path, &[&str], i32, &str); 4] = [
        (&model, &["--out", rows.to_str().unwrap()], 2, "--out is a file that this command reads"),
        (&model, &["--out", folder.path().to_str().unwrap()], 2, "this is a folder; --out takes a file"),
        (&model, &["--threads", "100000"], 2, "100000 worker threads, expected at most 512"),
        (&config, &[], 3, "a file stands where a folder is expected"),
    ];
    for (model, arguments, code, message) in cases {
        let mut command = creamery!("logps", "--model", model, "--rows", &rows);
        let ran = run(command.args(arguments));
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
        assert_eq!(fs::read_to_string(&rows).unwrap(), text, "{arguments:?}");
    }
}
