//! Rows, tokenizer, chat template and sampling filters, through the library's public interfaces.

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

#[test]
fn chats_become_the_text_and_ids_of_transformers() {
    let format = ChatFormat::load(&fixtures().join("tokenizer")).unwrap();
    let expected = fixture("tokenizer/expected.json");
    for case in expected["chat"].as_array().unwrap() {
        let (chat, prompt) = (messages(&case["messages"]), case["add_generation_prompt"].as_bool().unwrap());
        assert_eq!(format.render(&chat, prompt).unwrap(), case["text"].as_str().unwrap());
        assert_eq!(format.encode(&chat, prompt).unwrap(), ids(&case["ids"]));
    }
    let error = format.encode(&messages(&expected["bad_role_must_fail"]), true).unwrap_err();
    assert!(error.message().contains("unknown role tool"), "{error}");
    assert!(error.to_string().contains("chat_template.jinja:1: "), "{error}");
}

#[test]
fn templates_run_as_in_transformers() {
    let chat = [Message::new("system", "s"), Message::user(" <b> 'é' "), Message::assistant("x\ny")];
    // Expected texts are those of transformers' apply_chat_template.
    for (template, expected) in [
        (
            "{% for m in messages %}\n  {% if m.role == 'user' %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}\nend\n",
            " <b> 'é' \nend",
        ),
        (
            "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m['role'] }}{% break %}{% endfor %}",
            "user",
        ),
        ("{{ messages[1].content | tojson }}", "\" <b> 'é' \""),
        ("{{ messages[2] | tojson }}", "{\"role\": \"assistant\", \"content\": \"x\\ny\"}"),
        (
            "{{ {'b': 1, 'a': [true, none]} | tojson(indent=2) }}",
            "{\n  \"b\": 1,\n  \"a\": [\n    true,\n    null\n  ]\n}",
        ),
        ("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, ensure_ascii=false) }}", "{\"a\": 2, \"b\": 1}"),
        ("{%- generation -%} {{ bos_token }}\n {%- endgeneration %}|{{ eos_token }}", "<s>|<|end|>"),
        ("{% generation %}\na\n{% endgeneration %}\nb", "a\nb"),
        (
            "{{ pad_token is defined }} {{ tools is none }} {{ unk_token is defined }} {{ nothing }}",
            "False True False ",
        ),
        ("{{ messages[2]['content'].split('\\n')[-1].strip().upper() }}{{ 'ab'.startswith('a') }}", "YTrue"),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages[1:] %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "2",
        ),
        ("{% macro show(m) %}[{{ m.role }}]{% endmacro %}{{ show(messages[0]) }}{{ messages | length }}", "[system]3"),
        (
            "{{ '<|' + messages[0].role + '|>' }}{{ add_generation_prompt }}{{ messages[0].get('name', 'no') }}",
            "<|system|>Trueno",
        ),
        (
            "{% if messages[0].content is string and messages[0] is mapping %}{{ messages[1].content | trim }}{% endif %}",
            "<b> 'é'",
        ),
    ] {
        assert_eq!(format_of(template).render(&chat, true).unwrap(), expected, "{template}");
    }
    let template = "{{ strftime_now('%d %b %Y') }}";
    assert_eq!(format_of(template).render(&chat, true).unwrap(), "26 Jul 2024");
    assert_eq!(format_of(template).with_date(951_827_696).render(&chat, false).unwrap(), "29 Feb 2000");
}

#[test]
fn a_template_that_fails_is_an_error_with_its_message_and_line() {
    for (template, expected) in [
        ("a\n{{ raise_exception('roles must alternate') }}", ":2: the chat template failed: roles must alternate"),
        ("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "too many steps"),
        (
            "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
            "too many steps",
        ),
        ("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", "chat template"),
        ("{{ 'x' * 1000000000000 }}", "chat template"),
        ("{{ messages[0].nothing.more }}", "chat template failed"),
        ("{{ messages | no_such_filter }}", "no_such_filter"),
        ("{% include 'other' %}", "chat template failed"),
    ] {
        let error = format_of(template).render(&[Message::user("x")], true).expect_err(template).to_string();
        assert!(error.contains(expected), "{template}: {error}");
    }
    let folder = tokenizer_folder(Some("a\n{% if %}"), &json!({}));
    let error = ChatFormat::load(folder.path()).err().expect("a syntax error").to_string();
    assert!(error.contains("chat_template.jinja:2: the chat template cannot be read"), "{error}");
}

#[test]
fn a_template_may_stand_in_the_configuration() {
    for (template, expected) in [
        (json!("{{ bos_token }}1"), Ok("<s>1")),
        (json!([{"name": "tool_use", "template": "2"}, {"name": "default", "template": "3"}]), Ok("3")),
        (json!([{"name": "tool_use", "template": "2"}]), Err("no template named 'default'")),
        (json!(7), Err("must be a string or a list")),
        (json!(null), Err("no chat template")),
    ] {
        let folder = tokenizer_folder(None, &json!({"bos_token": "<s>", "chat_template": template}));
        let found = ChatFormat::load(folder.path()).map(|f| f.render(&[Message::user("x")], true).unwrap());
        match expected {
            Ok(expected) => assert_eq!(found.unwrap(), expected),
            Err(message) => assert!(found.unwrap_err().message().contains(message), "{template}"),
        }
    }
}

fn options(name: Option<&str>, args: Value, date: Option<&str>) -> ChatOptions {
    let Value::Object(args) = args else { panic!("arguments are an object") };
    ChatOptions { name: name.map(str::to_owned), args, date: date.map(str::to_owned) }
}

/// `tests/parity/templates.py` makes the expected texts with transformers.
#[test]
fn a_template_of_each_family_gives_the_text_of_transformers() {
    let expected = fixture("templates/expected.json");
    let conversations: Vec<_> = expected["conversations"].as_array().unwrap().iter().map(messages).collect();
    let config = json!({"bos_token": "<s>", "eos_token": "<|end|>", "pad_token": "<pad>"});
    let mut refused = 0;
    for (name, cases) in expected["templates"].as_object().unwrap() {
        let source = std::fs::read_to_string(fixtures().join("templates").join(format!("{name}.jinja"))).unwrap();
        let folder = tokenizer_folder(Some(&source), &config);
        for case in cases.as_array().unwrap() {
            let format = ChatFormat::load_with(folder.path(), &options(None, case["arguments"].clone(), None)).unwrap();
            let chat = &conversations[case["conversation"].as_u64().unwrap() as usize];
            let found = format.render(chat, case["generation_prompt"].as_bool().unwrap());
            match case["text"].as_str() {
                Some(text) => assert_eq!(found.unwrap(), text, "{name}: {case}"),
                None => {
                    refused += 1;
                    assert!(found.is_err(), "{name}: transformers refuses {case}");
                }
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_folder_may_have_several_templates_and_they_may_be_told_something() {
    let config = json!({
        "bos_token": "<s>", "image_token": "<img>", "extra_special_tokens": {"start_token": "<go>"},
        "chat_template": [{"name": "default", "template": "listed"}, {"name": "tools", "template": "tools"}],
    });
    let chat = [Message::user("x")];
    let render = |folder: &tempfile::TempDir, options: &ChatOptions| {
        ChatFormat::load_with(folder.path(), options).and_then(|f| f.render(&chat, true))
    };
    let folder = tokenizer_folder(None, &config);
    assert_eq!(render(&folder, &options(Some("tools"), json!({}), None)).unwrap(), "tools");
    let error = render(&folder, &options(Some("rag"), json!({}), None)).unwrap_err().to_string();
    assert!(error.contains("no chat template named 'rag' (found: default, tools)"), "{error}");

    // Files go before the list.
    let source =
        "{{ mode | default('plain') }} {{ strftime_now('%F') }} {{ image_token }}{{ start_token }}{{ bos_token }}";
    let folder = tokenizer_folder(Some(source), &config);
    let more = folder.path().join("additional_chat_templates");
    std::fs::create_dir(&more).unwrap();
    std::fs::write(more.join("rag.jinja"), "rag {{ depth + 1 }}").unwrap();
    for (options, expected) in [
        (options(None, json!({}), None), Ok("plain 2024-07-26 <img><go><s>")),
        (
            options(None, json!({"mode": "other", "bos_token": "<b>"}), Some("2000-02-29")),
            Ok("other 2000-02-29 <img><go><b>"),
        ),
        (options(Some("rag"), json!({"depth": 2}), None), Ok("rag 3")),
        (options(Some("tools"), json!({}), None), Err("found: default, rag")),
        (options(None, json!({"mod": true}), None), Err("no variable 'mod'")),
        (options(None, json!({"messages": []}), None), Err("set by the conversation itself")),
        (options(None, json!({}), Some("2000-02-30")), Err("is not a day")),
    ] {
        let found = render(&folder, &options);
        match expected {
            Ok(expected) => assert_eq!(found.unwrap(), expected),
            Err(message) => {
                let error = found.unwrap_err().to_string();
                assert!(error.contains(message), "{error}");
            }
        }
    }
}

#[test]
fn the_last_message_may_be_left_open() {
    let chat = |last: &str| [Message::user("q"), Message::assistant(last)];
    let plain = format_of("{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}");
    assert_eq!(plain.render_to_continue(&chat("so far ")).unwrap(), "<user>q</><assistant>so far ");
    let trimmed = format_of("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}");
    assert_eq!(trimmed.render_to_continue(&chat("so far ")).unwrap(), "<user>q</><assistant>so far");
    let cut = format_of("{% for m in messages %}{{ m.content.split('far')[0] }}{% endfor %}");
    assert!(cut.render_to_continue(&chat("so far")).unwrap_err().message().contains("cannot be continued"));
}

#[test]
fn a_template_cannot_take_the_program_down() {
    for template in [
        "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | tojson }}",
        "{{ 'x'.center(10000000000) }}",
        "{{ 'x'.zfill(10000000000) }}",
        "{{ 'x' | indent(10000000000) }}",
        "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
        "{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}",
        "{{ ('b' * 1000000).join(('a' * 1000000) | list) }}",
    ] {
        assert!(format_of(template).render(&[Message::user("x")], true).is_err(), "{template}");
    }
    for (start, part, end) in
        [("", "[", ""), ("", "-", "1"), ("", "not ", "1"), ("a", ".b", ""), ("1", " ~ 1", ""), ("a", "|upper", "")]
    {
        for count in [2_000, 100_000] {
            let folder = tokenizer_folder(Some(&format!("{{{{ {start}{}{end} }}}}", part.repeat(count))), &json!({}));
            // Read or refused, but no overflow of the stack.
            if let Ok(format) = ChatFormat::load(folder.path()) {
                let _ = format.render(&[Message::user("x")], true);
            }
        }
    }
}

fn plain() -> SamplingConfig {
    SamplingConfig { temperature: 1.0, top_p: 1.0, ..SamplingConfig::default() }
}

#[test]
fn filters_leave_the_probabilities_of_transformers() {
    for case in fixture("sampling.json")["cases"].as_array().unwrap() {
        let config = match case["filter"].as_str().unwrap() {
            "t0.8_p0.95" => SamplingConfig { temperature: 0.8, top_p: 0.95, ..plain() },
            "t1_k5" => SamplingConfig { top_k: 5, ..plain() },
            "t0.5_k20_p0.7" => SamplingConfig { temperature: 0.5, top_k: 20, top_p: 0.7, ..plain() },
            "t1.3_minp0.1" => SamplingConfig { temperature: 1.3, min_p: 0.1, ..plain() },
            "rep1.2" => SamplingConfig { repetition_penalty: 1.2, ..plain() },
            "p_tiny" => SamplingConfig { top_p: 1e-6, ..plain() },
            other => panic!("unknown filter {other}"),
        };
        let logits: Vec<f32> = floats(&case["logits"]).into_iter().map(|x| x as f32).collect();
        let (prompt, response) = (ids(&case["previous_ids"]), []);
        let found = Sampler::new(&config).unwrap().probabilities(&logits, &prompt, &response).unwrap();
        for (i, (found, expected)) in found.iter().zip(floats(&case["probabilities"])).enumerate() {
            assert!((found - expected).abs() <= 1e-6, "{}: token {i}: {found}, {expected}", case["filter"]);
            assert_eq!(*found == 0.0, expected == 0.0, "{}: token {i}", case["filter"]);
        }
    }
}

/// Logits without order or ties, the same on every machine.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..len).map(|_| 4.0 * (next() + next() + next() - 1.5)).collect()
}

#[test]
fn a_large_vocabulary_keeps_the_same_nucleus_as_a_full_sort() {
    for (len, p, seed) in [(320, 0.95, 1), (5000, 0.95, 2), (5000, 0.3, 3), (49_152, 0.999, 4), (33, 0.5, 5)] {
        let logits = noise(len, seed);
        let config = SamplingConfig { top_p: p, ..plain() };
        let found = Sampler::new(&config).unwrap().probabilities(&logits, &[], &[]).unwrap();
        let mut sorted: Vec<(f64, usize)> = logits.iter().enumerate().map(|(i, x)| (f64::from(*x).exp(), i)).collect();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let total: f64 = sorted.iter().map(|x| x.0).sum();
        let mut before = 0.0;
        let mut kept = Vec::new();
        for (weight, id) in sorted {
            if before / total >= f64::from(p) {
                break;
            }
            before += weight;
            kept.push(id);
        }
        assert_eq!(found.iter().filter(|p| **p > 0.0).count(), kept.len(), "{len} {p}");
        assert!(kept.iter().all(|&i| found[i] > 0.0), "{len} {p}");
        assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}

#[test]
fn draws_follow_the_probabilities() {
    let logits = [1.0f32, 3.0, 2.0, -1.0, 2.5];
    let config = SamplingConfig { top_p: 0.97, ..plain() };
    let mut sampler = Sampler::new(&config).unwrap();
    let expected = sampler.probabilities(&logits, &[], &[]).unwrap();
    let mut counts = [0usize; 5];
    let draws = 20_000u64;
    for i in 0..draws {
        // Evenly spaced numbers: the counts are exact up to one at each border.
        let token = sampler.choose(&logits, &[], &[], || i * (u64::MAX / draws)).unwrap();
        counts[token as usize] += 1;
    }
    for (count, p) in counts.iter().zip(&expected) {
        assert!((*count as f64 - p * draws as f64).abs() <= 2.0, "{counts:?} {expected:?}");
    }
    assert!(expected[3] == 0.0 && counts[3] == 0);
    for extreme in [0, u64::MAX] {
        let token = sampler.choose(&logits, &[], &[], || extreme).unwrap();
        assert!(expected[token as usize] > 0.0);
    }
}

#[test]
fn greedy_takes_the_first_largest_and_draws_nothing() {
    for config in [SamplingConfig { temperature: 0.0, ..plain() }, SamplingConfig { greedy: true, ..plain() }] {
        let mut sampler = Sampler::new(&config).unwrap();
        let token = sampler.choose(&[0.0, 2.0, 1.0, 2.0], &[], &[], || panic!("no draw")).unwrap();
        assert_eq!(token, 1);
    }
    let config = SamplingConfig { greedy: true, repetition_penalty: 3.0, ..plain() };
    let mut sampler = Sampler::new(&config).unwrap();
    assert_eq!(sampler.choose(&[0.0, 2.0, 1.0], &[1], &[], || 0).unwrap(), 2);
    assert_eq!(sampler.choose(&[0.0, 2.0, 1.0], &[1], &[2], || 0).unwrap(), 1);
}

#[test]
fn logits_that_are_no_numbers_are_an_error() {
    for config in [plain(), SamplingConfig { greedy: true, ..plain() }] {
        let mut sampler = Sampler::new(&config).unwrap();
        for (logits, expected) in [
            ([0.0, f32::NAN, 1.0], "NaN"),
            ([f32::NAN; 3], "NaN"),
            ([f32::NEG_INFINITY; 3], "finite"),
            ([0.0, f32::INFINITY, 1.0], "finite"),
        ] {
            let error = sampler.choose(&logits, &[], &[], || 0).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
            assert_eq!(error.kind(), creamery::Kind::Run);
        }
        assert!(sampler.choose(&[f32::NEG_INFINITY, 0.0], &[], &[], || 0).is_ok());
    }
}

#[test]
fn a_setting_out_of_range_is_named() {
    for (config, name) in [
        (SamplingConfig { temperature: -1.0, ..plain() }, "temperature"),
        (SamplingConfig { temperature: f32::NAN, ..plain() }, "temperature"),
        (SamplingConfig { top_p: 0.0, ..plain() }, "top_p"),
        (SamplingConfig { top_p: 1.5, ..plain() }, "top_p"),
        (SamplingConfig { min_p: -0.1, ..plain() }, "min_p"),
        (SamplingConfig { repetition_penalty: 0.0, ..plain() }, "repetition_penalty"),
        (SamplingConfig { max_new_tokens: 0, ..plain() }, "max_new_tokens"),
    ] {
        let error = Sampler::new(&config).err().expect("out of range");
        assert!(error.message().starts_with(name), "{error}");
    }
}
