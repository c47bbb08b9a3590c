//! Chat templates against transformers.

use super::*;

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
