//! What cannot be trained is named, and nothing is written.

use serde_json::json;

use super::command::{World, demonstration, pair};
use super::load_from;

#[test]
fn what_cannot_be_trained_is_named_and_nothing_is_written() {
    type Edit = fn(&World);
    /// Name, what is broken, method, arguments, exit code, parts of the message.
    type Case = (&'static str, Edit, &'static str, &'static [&'static str], i32, &'static [&'static str]);
    let cases: [Case; 29] = [
        ("no rows", |w| w.write("data.jsonl", ""), "dpo", &[], 3, &["data.jsonl", "no rows"]),
        ("no file", |_| {}, "sft", &[], 3, &["data.jsonl", "cannot read"]),
        (
            "all rows too long",
            |w| w.write("data.jsonl", &format!("{}\n", pair(0))),
            "dpo",
            &["--set", "max-length=4"],
            3,
            &["data.jsonl", "all 1 rows have more than 4 tokens"],
        ),
        (
            "no consistency",
            |w| {
                let mut row = pair(1);
                row.as_object_mut().unwrap().remove("consistency");
                w.write("data.jsonl", &format!("{}\n{row}\n", pair(0)));
            },
            "dpo",
            &["--loss", "cream"],
            3,
            &["data.jsonl:2", "'consistency' is missing", "creamery label"],
        ),
        (
            "consistency out of range",
            |w| w.write("data.jsonl", "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\",\"consistency\":1.5}\n"),
            "dpo",
            &[],
            3,
            &["data.jsonl:1", "'consistency' is 1.5, expected a number from 0 to 1"],
        ),
        (
            "negative weight",
            |w| w.write("data.jsonl", "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\",\"weight\":-1}\n"),
            "dpo",
            &[],
            3,
            &["data.jsonl:1", "'weight' is -1"],
        ),
        (
            "ids of one response only",
            |w| w.write("data.jsonl", "{\"prompt_ids\":[7],\"chosen_ids\":[8]}\n"),
            "dpo",
            &[],
            3,
            &["data.jsonl:1", "'rejected_ids' is missing"],
        ),
        (
            "id outside the vocabulary",
            |w| w.write("data.jsonl", "{\"id\":\"x\",\"prompt_ids\":[7],\"completion_ids\":[8,99999]}\n"),
            "sft",
            &[],
            3,
            &["data.jsonl:1", "token 1 of 'completion_ids' has the id 99999, but the model's ids end at 319"],
        ),
        (
            "id outside the vocabulary in a pair",
            |w| {
                let row = json!({ "prompt_ids": [7], "chosen_ids": [8], "rejected_ids": [9, 8, 320] });
                w.write("data.jsonl", &format!("{}\n\n{row}\n", pair(0)));
            },
            "dpo",
            &[],
            3,
            &["data.jsonl:3", "token 2 of 'rejected_ids' has the id 320"],
        ),
        (
            "a completion of padding",
            |w| w.write("data.jsonl", "{\"prompt_ids\":[7],\"completion_ids\":[0,0]}\n"),
            "sft",
            &[],
            3,
            &["data.jsonl:1", "'completion_ids' is only padding, the token 0"],
        ),
        (
            "a response of padding, with a tokenizer",
            |w| {
                let row = json!({ "prompt_ids": [7], "chosen_ids": [0], "rejected_ids": [8] });
                w.write("data.jsonl", &format!("{}\n{row}\n", pair(0)));
            },
            "dpo",
            &[],
            3,
            &["data.jsonl:2", "'chosen_ids' is only padding"],
        ),
        (
            "empty response",
            |w| w.write("data.jsonl", "{\"prompt\":\"a\",\"chosen\":\"\",\"rejected\":\"c\"}\n"),
            "dpo",
            &[],
            3,
            &["data.jsonl:1", "'chosen' is empty"],
        ),
        (
            "two forms in one row",
            |w| {
                w.write(
                    "data.jsonl",
                    "{\"prompt\":\"a\",\"completion\":[{\"role\":\"assistant\",\"content\":\"b\"}]}\n",
                )
            },
            "sft",
            &[],
            3,
            &["data.jsonl:1", "in one form"],
        ),
        (
            "no common prompt",
            |w| {
                let row = json!({
                    "chosen": [{"role": "assistant", "content": "a"}],
                    "rejected": [{"role": "assistant", "content": "b"}],
                });
                w.write("data.jsonl", &format!("{row}\n"));
            },
            "dpo",
            &[],
            3,
            &["data.jsonl:1", "there is no prompt"],
        ),
        (
            "weights too large",
            |w| {
                w.write("data.jsonl", &format!("{}\n", pair(3)));
                damage(w, 3e38);
            },
            "dpo",
            &["--set", "warmup-ratio=0"],
            5,
            &["pair 'pair-3'", "log-probabilities are"],
        ),
        (
            "a loss that is not a number",
            |w| {
                w.write("data.jsonl", &format!("{}\n", demonstration(3, 4)));
                damage(w, 3e38);
            },
            "sft",
            &["--set", "warmup-ratio=0"],
            5,
            &["not finite"],
        ),
        ("within the warm-up", |w| w.write("data.jsonl", &format!("{}\n", pair(0))), "dpo", &[], 5, &["warm-up"]),
        ("unknown setting", |_| {}, "sft", &["--set", "learning-rat=1"], 2, &["did you mean `learning-rate`?"]),
        ("not for sft", |_| {}, "sft", &["--set", "beta=1"], 2, &["--set beta=1", "unknown key `beta`"]),
        ("unknown loss", |_| {}, "dpo", &["--loss", "robusr"], 2, &["--loss robusr", "did you mean \"robust\"?"]),
        ("no meaning", |_| {}, "dpo", &["--label-smoothing", "0.1", "--loss", "ipo"], 2, &["no meaning for the loss"]),
        (
            "a reference that is not looked at",
            |w| w.write("data.jsonl", &format!("{}\n", pair(0))),
            "dpo",
            &["--loss", "simpo", "--reference", "MODEL", "--set", "warmup-ratio=0"],
            2,
            &["this loss has no reference"],
        ),
        (
            "a reference that the plugin's objective does not look at",
            |w| w.write("data.jsonl", &format!("{}\n", pair(0))),
            "dpo",
            &[
                "--objective",
                "builtin:preference-loss",
                "--objective-param",
                "loss=simpo",
                "--reference",
                "MODEL",
                "--set",
                "warmup-ratio=0",
            ],
            2,
            &["the objective of plugin 'preference-loss'", "has no reference, so --reference has no meaning"],
        ),
        (
            "no reference for a loss that looks at one",
            |w| w.write("data.jsonl", &format!("{}\n", pair(0))),
            "dpo",
            &["--no-reference", "--set", "warmup-ratio=0"],
            2,
            &["this loss looks at a reference, and --no-reference is given"],
        ),
        (
            "no reference for an objective that looks at one",
            |w| w.write("data.jsonl", &format!("{}\n", pair(0))),
            "dpo",
            &["--objective", "builtin:cream", "--no-reference", "--set", "warmup-ratio=0"],
            2,
            &["the objective of plugin 'cream'", "looks at a reference"],
        ),
        (
            "columns that the pairs do not have",
            |w| w.write("data.jsonl", &format!("{}\n", pair(0))),
            "dpo",
            &["--objective", "builtin:sppo", "--set", "warmup-ratio=0"],
            4,
            &["the pairs have no win rates", "trying the objective before training"],
        ),
        (
            "a weight beyond all others",
            |w| w.write("data.jsonl", "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\",\"weight\":1e300}\n"),
            "dpo",
            &[],
            3,
            &["data.jsonl:1", "'weight' is 1e+300, expected a number from 0 to 1000000000"],
        ),
        (
            "a parameter of the objective",
            |w| w.write("data.jsonl", &format!("{}\n", pair(0))),
            "dpo",
            &["--objective", "builtin:preference-loss", "--objective-param", "loss=simpoo"],
            2,
            &[
                "--objective-param loss=simpoo: ",
                "parameter 'loss' of plugin 'preference-loss' is \"simpoo\", expected one of \"dpo\", \"cream\"",
                "did you mean \"simpo\"?",
            ],
        ),
        (
            "a line of the settings' file",
            |w| w.write("settings.toml", "epochs = 1\nbeta = \"high\"\n"),
            "dpo",
            &["--config", "SETTINGS"],
            2,
            &["settings.toml:2", "`beta` is the string \"high\", expected a number above 0"],
        ),
    ];
    for (name, edit, method, arguments, code, parts) in cases {
        let world = World::new();
        edit(&world);
        let [model, settings] = ["model", "settings.toml"].map(|name| world.path(name).to_str().unwrap().to_owned());
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| match *argument {
                "MODEL" => model.as_str(),
                "SETTINGS" => settings.as_str(),
                other => other,
            })
            .collect();
        let ran = world.train(method, "data.jsonl", "out", &arguments);
        assert_eq!(ran.code, Some(code), "{name}: {}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "{name}: no '{part}' in {}", ran.stderr);
        }
        assert!(!world.path("out").exists() && !world.path("out.partial").exists(), "{name}: an output was left");
    }
}

/// Makes weights that are numbers, but too large to compute with.
fn damage(world: &World, size: f32) {
    let mut model = load_from(&world.path("model"));
    let (name, tensor) = model.parameters().into_iter().find(|(n, _)| n.ends_with("down_proj.weight")).unwrap();
    model.set_parameter(&name, &vec![size; tensor.elem_count()]).unwrap();
    model.save(world.path("model")).unwrap();
}
