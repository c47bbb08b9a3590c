//! Parameters are checked against the plugin's schema; errors point at the line of the config.

use creamery::plugins::{Kind, Place, inspect};
use serde_json::json;

use super::*;

/// Places as a config file would have them.
fn place(pointer: &str) -> Option<Place> {
    let line = match pointer {
        "" => 10,
        "/form" => 11,
        "/frm" => 12,
        "/clamp" => 13,
        _ => return None,
    };
    Some(Place::Line(PathBuf::from("run.toml"), line))
}

#[test]
fn wrong_parameters_name_plugin_field_and_line() {
    let cases: &[(Value, &[&str])] = &[
        (json!({"frm": "sample"}), &["run.toml:12: ", "plugin 'cream' has no parameter 'frm'", "did you mean 'form'?"]),
        (json!({"zzz": 1}), &["run.toml:10: ", "no parameter 'zzz'", "known parameters: form, clamp, undefined"]),
        (
            json!({"form": "best"}),
            &["run.toml:11: ", "parameter 'form' of plugin 'cream' is \"best\"", "expected one of", "\"sample\""],
        ),
        (json!({"form": 3}), &["run.toml:11: ", "parameter 'form'", "3"]),
        (json!({"clamp": [0.5, 2]}), &["run.toml:13: ", "parameter 'clamp.1'", "is 2, expected a number", "at most 1"]),
        (json!({"clamp": [0.5]}), &["run.toml:13: ", "parameter 'clamp'"]),
        (json!([1]), &["run.toml:10: ", "must be a table, found [1]"]),
    ];
    for (value, parts) in cases {
        let params = Params { place_of: &place, ..Params::of(value) };
        let error = fails(load_regularizer("builtin:cream", &root(), &params, &options()));
        says(&error, parts);
        assert_eq!(error.kind(), creamery::Kind::Config);
    }
}

#[test]
fn defaults_complete_the_parameters() {
    let given = json!({"undefined": "half"});
    let plugin = regularizer("cream", Artifact::Builtin, &given).unwrap();
    let expected = json!({
        "bucket": "first-word", "bucket-separator": "-", "buckets": 4, "clamp": [0, 1], "form": "average",
        "measure": "kendall", "min-bucket": 10, "rbo-p": 0.5, "reference-compat": "none", "running": "none",
        "running-decay": 0.5, "undefined": "half", "viewpoints": [0, 1],
    });
    // Sorted, so that equal parameters are equal text.
    assert_eq!(plugin.info().params.to_string(), expected.to_string());
}

#[test]
fn a_schema_within_a_schema() {
    let schema = json!({"properties": {
        "inner": {"type": "object", "properties": {"depth": {"type": "integer", "default": 2}}, "default": {}},
        "free": {"type": "object", "additionalProperties": {"type": "number"}},
    }});
    let resolve = |value: Value| creamery::plugins::resolve_params("p", &schema, &Params::of(&value));
    assert_eq!(resolve(json!({})).unwrap(), json!({"inner": {"depth": 2}}));
    assert_eq!(resolve(json!({"free": {"x": 1}})).unwrap(), json!({"free": {"x": 1}, "inner": {"depth": 2}}));
    says(&fails(resolve(json!({"inner": {"dpth": 2}}))), &["no parameter 'dpth'", "did you mean 'depth'?"]);
    says(&fails(resolve(json!({"inner": {"depth": "x"}}))), &["parameter 'inner.depth'"]);
    says(&fails(resolve(json!({"free": {"x": "y"}}))), &["parameter 'free.x'"]);
}

/// What a schema wants is said in words, also where it wants one of several things.
#[test]
fn what_does_not_fit_is_told_in_words() {
    let schema = json!({"properties": {
        "eta": {"oneOf": [{"const": "auto"}, {"type": "number", "exclusiveMinimum": 0}], "description": "The scale."},
        "who": {"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 2,
            "maxItems": 2, "uniqueItems": true}]},
        "loss": {"enum": ["dpo", "simpo", "hinge"]},
        "gamma": {"type": ["number", "null"], "minimum": 0, "exclusiveMaximum": 0.5},
        "on": {"type": "boolean"},
        "many": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
        "odd": {"type": "string", "pattern": "^a+$"},
    }});
    let resolve = |value: Value| creamery::plugins::resolve_params("p", &schema, &Params::of(&value));
    let cases: &[(Value, &str, &str)] = &[
        (
            json!({"eta": "aut"}),
            "'eta' of plugin 'p' is \"aut\", expected \"auto\", or a number above 0",
            "mean \"auto\"?",
        ),
        (json!({"eta": -1}), "'eta' of plugin 'p' is -1, expected \"auto\", or a number above 0", "'eta': The scale."),
        (
            json!({"who": ["a", "a"]}),
            "is [\"a\",\"a\"], expected \"all\", or a list of 2, each a text, not empty, none twice",
            "",
        ),
        (json!({"loss": "simp"}), "is \"simp\", expected one of \"dpo\", \"simpo\", \"hinge\"", "mean \"simpo\"?"),
        (json!({"gamma": 1e300}), "is 1e+300, expected a number of at least 0 and below 0.5 or null", ""),
        (json!({"on": "yes"}), "is \"yes\", expected true or false", ""),
        (json!({"many": [1, 0]}), "'many.1' of plugin 'p' is 0, expected a whole number of at least 1", ""),
        (json!({"many": []}), "'many' of plugin 'p' is [], expected a list of at least 1", ""),
        // Keywords that are not known are left to the validator's words.
        (json!({"odd": "b"}), "parameter 'odd' of plugin 'p': \"b\" does not match", ""),
    ];
    for (value, message, help) in cases {
        says(&fails(resolve(value.clone())), &[*message, *help]);
    }
}

#[test]
fn builtin_plugins_by_name() {
    let names = creamery::plugins::builtin_names();
    for (i, name) in names.iter().enumerate() {
        assert!(!names[..i].contains(name), "{name} is there twice");
        assert_eq!(inspect(&format!("builtin:{name}"), &root(), &options()).unwrap().name, *name);
    }
    for name in ["implicit-reward", "rubric", "best-worst", "cream", "none", "sppo"] {
        assert!(names.contains(&name), "{name}");
    }
    let found = inspect("builtin:rubric", &root(), &options()).unwrap();
    assert_eq!((found.name.as_str(), found.kind), ("rubric", Kind::Judge));
    let none = json!({});
    let load = |source: &str| fails(load_judge(source, &root(), &Params::of(&none), &options()));
    says(&load("builtin:rubrik"), &["no builtin plugin 'rubrik'", "did you mean 'builtin:rubric'?"]);
    says(&load("builtin:xyz"), &[&format!("builtin plugins: {}", names.join(", "))]);
    says(&load("builtin:cream"), &["'cream' is a regularizer, but a judge is expected here", "[regularizer]"]);
}

#[test]
fn a_string_may_be_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    file("prompt.jinja", "Ärger\n{{ prompt }}".as_bytes());
    file("latin.txt", b"\xe4");
    file("huge.txt", &vec![b'x'; (16 << 20) + 1]);
    let schema = json!({"properties": {
        "prompt": {"type": "string", "default": "x"},
        "count": {"type": "integer"},
        "texts": {"type": "array", "items": {"type": "string"}},
        "inner": {"type": "object", "properties": {"text": {"type": ["string", "null"]}}},
        "where": {"type": "object", "properties": {"file": {"type": "string"}}},
        "any": {"type": "object", "additionalProperties": {"type": "string"}},
    }});
    let resolve = |value: Value| {
        let path_of = |_: &str, path: &str| folder.path().join(path);
        creamery::plugins::resolve_params("p", &schema, &Params { path_of: &path_of, ..Params::of(&value) })
    };
    let text = "Ärger\n{{ prompt }}";
    let from = json!({"file": "prompt.jinja"});
    assert_eq!(resolve(json!({"prompt": from})).unwrap(), json!({"prompt": text}));
    assert_eq!(resolve(json!({"texts": ["a", from]})).unwrap()["texts"], json!(["a", text]));
    assert_eq!(resolve(json!({"inner": {"text": from}})).unwrap()["inner"], json!({"text": text}));
    assert_eq!(resolve(json!({"any": {"a": from, "file": "x"}})).unwrap()["any"], json!({"a": text, "file": "x"}));
    // A table is what the schema wants here, so it stays one.
    assert_eq!(resolve(json!({"where": from})).unwrap()["where"], from);
    let cases: &[(Value, &[&str])] = &[
        (json!({"prompt": {"file": "none.txt"}}), &["parameter 'prompt' of plugin 'p'", "none.txt", "cannot be read"]),
        (json!({"prompt": {"file": "latin.txt"}}), &["parameter 'prompt'", "latin.txt", "is not UTF-8 text"]),
        (json!({"texts": [{"file": "huge.txt"}]}), &["parameter 'texts.0'", "huge.txt", "more than 16 MiB"]),
        (json!({"prompt": {"file": "."}}), &["parameter 'prompt'", "is a folder"]),
        (
            json!({"prompt": {"file": "prompt.jinja", "as": "x"}}),
            &["parameter 'prompt'", "a table with the keys file, as", "'file' must stand alone"],
        ),
        (
            json!({"prompt": {"fil": "prompt.jinja"}}),
            &[
                "parameter 'prompt' of plugin 'p' is a table with the key 'fil'",
                "{ file = \"PATH\" }",
                "mean 'file' by 'fil'?",
            ],
        ),
        (json!({"count": from}), &["parameter 'count'"]),
    ];
    for (value, parts) in cases {
        let error = fails(resolve(value.clone()));
        says(&error, parts);
        assert_eq!(error.kind(), creamery::Kind::Config);
    }
}
