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
        (json!({"form": "best"}), &["run.toml:11: ", "parameter 'form' of plugin 'cream'", "best", "sample"]),
        (json!({"form": 3}), &["run.toml:11: ", "parameter 'form'", "3"]),
        (json!({"clamp": [0.5, 2]}), &["run.toml:13: ", "parameter 'clamp.1'", "2", "maximum"]),
        (json!({"clamp": [0.5]}), &["run.toml:13: ", "parameter 'clamp'"]),
        (json!([1]), &["run.toml:10: ", "must be a table, found an array"]),
    ];
    for (value, parts) in cases {
        let params = Params { value, place_of: &place };
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
