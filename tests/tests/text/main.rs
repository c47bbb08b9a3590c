//! Rows, tokenizer, chat template and sampling filters, through the library's public interfaces.

mod sampler;
mod templates;

use std::path::{Path, PathBuf};

use creamery::data::rows::{TrainingText, read_evaluation, read_pair_training, read_prompts, read_sft};
use creamery::data::{ChatFormat, ChatOptions, Message, Tokenizer};
use creamery::generate::{Sampler, SamplingConfig};
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).to_owned()
}

fn fixture(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixtures().join(name)).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn messages(value: &Value) -> Vec<Message> {
    let text = |m: &Value, key: &str| m[key].as_str().unwrap().to_owned();
    value.as_array().unwrap().iter().map(|m| Message::new(text(m, "role"), text(m, "content"))).collect()
}

/// A file with this content in a folder that lives as long as the guard.
fn file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

/// A tokenizer folder like the fixture's with another template or configuration.
fn tokenizer_folder(template: Option<&str>, config: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixtures().join("tokenizer/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    if let Some(template) = template {
        std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    }
    folder
}

fn format_of(template: &str) -> ChatFormat {
    let config = json!({"bos_token": "<s>", "eos_token": {"content": "<|end|>", "lstrip": false}, "unk_token": null});
    ChatFormat::load(tokenizer_folder(Some(template), &config).path()).unwrap()
}

#[test]
fn prompts_may_be_messages_or_text() {
    let rows = concat!(
        "\u{feff}{\"prompt\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", \"content\": \"Hi\"}]}\r\n",
        "\r\n",
        "{\"prompt\": \"Hi there\", \"answer\": 3, \"source\": {\"x\": [1]}, \"tools\": null}\n",
        "{\"id\": \"q7\", \"prompt\": \"caf\\u00e9 \\ud83d\\ude80\"}\n",
        "{\"id\": 12, \"prompt\": \"x\"}",
    );
    let (_guard, path) = file(rows);
    let rows = read_prompts(&path).unwrap();
    let names: Vec<&str> = rows.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(names, ["row-000000", "row-000001", "q7", "12"]);
    assert_eq!(rows[0].prompt, [Message::new("system", "Be brief."), Message::user("Hi")]);
    assert_eq!(rows[1].prompt, [Message::user("Hi there")]);
    assert_eq!(rows[2].prompt, [Message::user("café 🚀")]);
}

#[test]
fn the_other_files_have_their_fields() {
    let (_guard, path) = file(concat!(
        r#"{"prompt": "a", "completion": "b"}"#,
        "\n",
        r#"{"prompt": "a", "completion": [{"role": "assistant", "content": "c"}]}"#,
    ));
    let rows: Vec<String> = read_sft(&path).unwrap().into_iter().map(|r| r.completion).collect();
    assert_eq!(rows, ["b", "c"]);

    let (_guard, path) = file(concat!(
        r#"{"prompt": [{"role": "user", "content": "a"}], "#,
        r#""chosen": [{"role": "assistant", "content": "c"}], "rejected": "r"}"#,
    ));
    let row = &read_pair_training(&path).unwrap().lines[0].row;
    let responses = ["c".to_owned(), "r".to_owned()];
    assert_eq!(row.text, TrainingText::Chat { prompt: vec![Message::user("a")], responses });

    let (_guard, path) =
        file(concat!(r#"{"prompt": "a", "answer": "42", "task": "sum"}"#, "\n", r#"{"prompt": "a", "answer": "7"}"#,));
    let rows = read_evaluation(&path).unwrap();
    assert_eq!((rows[0].answer.as_str(), rows[0].task.as_deref()), ("42", Some("sum")));
    assert_eq!((rows[1].answer.as_str(), rows[1].task.as_deref()), ("7", None));
}

#[derive(Clone, Copy, Debug)]
enum Reader {
    Prompts,
    Sft,
    Preferences,
    Evaluation,
}

impl Reader {
    /// The error of reading `path`, with its full text.
    fn error(self, path: &Path) -> creamery::Error {
        match self {
            Reader::Prompts => read_prompts(path).err(),
            Reader::Sft => read_sft(path).err(),
            Reader::Preferences => read_pair_training(path).err(),
            Reader::Evaluation => read_evaluation(path).err(),
        }
        .expect("the file is bad")
    }
}

#[test]
fn a_bad_row_is_named_with_its_line() {
    let good =
        "{\"prompt\": \"ok\", \"completion\": \"ok\", \"chosen\": \"a\", \"rejected\": \"b\", \"answer\": \"1\"}\n";
    use Reader::*;
    let cases: &[(Reader, &[u8], &str)] = &[
        (Prompts, b"{\"prompt\": \"a\"", "not a JSON object"),
        (Prompts, b"[{\"prompt\": \"a\"}]", "found a list"),
        (Prompts, b"{\"prompt\": \"a\"} x", "not a JSON object"),
        (Prompts, b"{\"text\": \"a\"}", "the field 'prompt' is missing (found: text)"),
        (Prompts, b"{\"messages\": []}", "'messages' must be split"),
        (Prompts, b"{\"prompt\": 3}", "found a number"),
        (Prompts, b"{\"prompt\": null}", "found null"),
        (Prompts, b"{\"prompt\": \"a\", \"prompt\": \"b\"}", "'prompt' is given twice"),
        (Prompts, b"{\"prompt\": [{\"role\": \"user\", \"content\": \"a\", \"content\": \"b\"}]}", "given twice"),
        (Prompts, b"{\"prompt\": \"  \"}", "the prompt is empty"),
        (Prompts, b"{\"prompt\": []}", "empty list"),
        (Prompts, b"{\"prompt\": [\"a\"]}", "message 1 of 'prompt' must be an object"),
        (Prompts, b"{\"prompt\": [{\"role\": \"user\"}]}", "has no 'content'"),
        (Prompts, b"{\"prompt\": [{\"content\": \"a\"}]}", "has no 'role'"),
        (Prompts, b"{\"prompt\": [{\"role\": \"\", \"content\": \"a\"}]}", "is empty"),
        (Prompts, b"{\"prompt\": [{\"role\": \"user\", \"content\": \" \"}]}", "message 1 has no text"),
        (Prompts, b"{\"prompt\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}]}", "found a list"),
        (Prompts, b"{\"prompt\": [{\"role\": \"user\", \"content\": \"a\", \"tool_calls\": [1]}]}", "'tool_calls'"),
        (Prompts, b"{\"prompt\": [{\"role\": \"assistant\", \"content\": \"a\"}]}", "ends with an assistant message"),
        (Prompts, b"{\"prompt\": \"a\", \"tools\": [1]}", "the field 'tools' is not supported"),
        (Prompts, b"{\"prompt\": \"a\\u0000b\"}", "NUL character"),
        (Prompts, b"{\"prompt\": \"a\0b\"}", "NUL byte"),
        (Prompts, b"{\"prompt\": \"a\xff\"}", "not valid UTF-8 at column 14"),
        (Prompts, b"{\"id\": \"row-000000\", \"prompt\": \"a\"}", "the id 'row-000000' is already taken"),
        (Prompts, b"{\"id\": [1], \"prompt\": \"a\"}", "the field 'id' must be a string"),
        (Prompts, b"{\"id\": 1.5, \"prompt\": \"a\"}", "the field 'id' must be a string"),
        (Prompts, b"{\"id\": \"\", \"prompt\": \"a\"}", "the field 'id' is empty"),
        (Sft, b"{\"prompt\": \"a\"}", "the field 'completion' is missing"),
        (Sft, b"{\"prompt\": \"a\", \"completion\": \"\"}", "the field 'completion' is empty"),
        (Sft, b"{\"prompt\": \"a\", \"completion\": {}}", "found an object"),
        (Sft, b"{\"prompt\": \"a\", \"completion\": [{\"role\": \"user\", \"content\": \"b\"}]}", "found 'user'"),
        (Preferences, b"{\"prompt\": \"a\", \"chosen\": \"b\"}", "the field 'rejected' is missing"),
        (Preferences, b"{\"prompt\": \"a\", \"chosen\": [], \"rejected\": \"b\"}", "found 0 messages"),
        (Evaluation, b"{\"prompt\": \"a\"}", "the field 'answer' is missing"),
        (Evaluation, b"{\"prompt\": \"a\", \"answer\": 42}", "must be a string, found a number"),
        (Evaluation, b"{\"prompt\": \"a\", \"answer\": \" \"}", "the field 'answer' is empty"),
        (Evaluation, b"{\"prompt\": \"a\", \"answer\": \"1\", \"task\": 3}", "the field 'task' must be a string"),
    ];
    for (reader, row, expected) in cases {
        let (_guard, path) = file([good.as_bytes(), b"\n", row].concat());
        let error = reader.error(&path);
        let shown = String::from_utf8_lossy(row);
        assert!(error.message().contains(expected), "{shown}: {error}");
        assert_eq!(error.line_number(), Some(3), "{shown}: {error}");
        assert!(error.to_string().contains("rows.jsonl:3: "), "{shown}: {error}");
        assert_eq!(error.kind(), creamery::Kind::Input, "{shown}: {error}");
    }
}

#[test]
fn a_file_without_rows_or_of_another_kind_is_an_error() {
    for (content, expected) in [
        (b"".as_slice(), "no rows"),
        (b"\n  \r\n", "no rows"),
        (b"\xff\xfe{\0\"\0", "UTF-16"),
        (b"\x7fELF\0\0", "NUL byte at column 5"),
    ] {
        let (_guard, path) = file(content);
        let error = read_prompts(&path).unwrap_err();
        assert!(error.message().contains(expected), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let missing = read_prompts(&folder.path().join("missing.jsonl")).unwrap_err();
    assert!(missing.to_string().contains("missing.jsonl"), "{missing}");
    assert!(read_prompts(folder.path()).unwrap_err().message().contains("folder"));
}

#[test]
fn the_tokenizer_is_that_of_transformers() {
    let tokenizer = Tokenizer::load(&fixtures().join("tokenizer")).unwrap();
    for case in fixture("tokenizer/expected.json")["encode"].as_array().unwrap() {
        let (text, expected) = (case["text"].as_str().unwrap(), ids(&case["ids"]));
        assert_eq!(tokenizer.encode(text).unwrap(), expected, "{text:?}");
        assert_eq!(tokenizer.decode(&expected).unwrap(), case["decoded"].as_str().unwrap());
    }
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id()), (Some(1), Some(6), Some(0)));
    assert_eq!(tokenizer.decode(&[1, 85, 81, 6]).unwrap(), "ok");
    assert_eq!(tokenizer.decode_with_special(&[1, 85, 81, 6]).unwrap(), "<s>ok<|end|>");
    assert!(tokenizer.encode("").unwrap().is_empty());
}

#[test]
fn a_tokenizer_must_fit_its_model() {
    let tokenizer = Tokenizer::load(&fixtures().join("tokenizer")).unwrap();
    tokenizer.check_vocab(320).unwrap();
    let error = tokenizer.check_vocab(319).unwrap_err();
    assert!(error.message().contains("id 319"), "{error}");
    assert!(error.message().contains("319 entries"), "{error}");
}

#[test]
fn stop_ids_come_from_the_first_file_that_names_them() {
    let files = ["generation_config.json", "config.json"];
    for (contents, expected) in [
        ([None, None], Ok(vec![6])),
        ([None, Some(json!({"eos_token_id": 3}))], Ok(vec![3])),
        ([Some(json!({"eos_token_id": [2, 5]})), Some(json!({"eos_token_id": 3}))], Ok(vec![2, 5])),
        ([Some(json!({"eos_token_id": null})), Some(json!({"eos_token_id": 3}))], Ok(vec![3])),
        ([Some(json!({"eos_token_id": "x"})), None], Err("eos_token_id")),
        ([Some(json!({"eos_token_id": []})), None], Err("eos_token_id")),
        ([Some(json!([])), None], Err("JSON object")),
    ] {
        let folder = tokenizer_folder(None, &json!({"eos_token": "<|end|>"}));
        for (name, content) in files.iter().zip(&contents) {
            if let Some(content) = content {
                std::fs::write(folder.path().join(name), content.to_string()).unwrap();
            }
        }
        let found = Tokenizer::load(folder.path()).unwrap().stop_ids(folder.path());
        match expected {
            Ok(expected) => assert_eq!(found.unwrap(), expected, "{contents:?}"),
            Err(message) => assert!(found.unwrap_err().message().contains(message), "{contents:?}"),
        }
    }
}

#[test]
fn a_broken_tokenizer_folder_is_an_error() {
    for (files, expected) in [
        (vec![], "tokenizer.json"),
        (vec![("tokenizer.json", "{}")], "not a tokenizer"),
        (vec![("tokenizer_config.json", "{")], "not valid JSON"),
        (vec![("tokenizer_config.json", "{\"eos_token\": 3}")], "eos_token"),
        (vec![("tokenizer_config.json", "{\"eos_token\": \"<none>\"}")], "'<none>' is not in the vocabulary"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        if !files.is_empty() {
            std::fs::copy(fixtures().join("tokenizer/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
        }
        for (name, content) in &files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let error = Tokenizer::load(folder.path()).err().expect("the folder is broken").to_string();
        assert!(error.contains(expected), "{error}");
    }
}
