//! Model slots of the judges' own: frozen models, GGUF files, servers and programs behind `[slots.NAME]`.

mod config;
#[cfg(feature = "hub")]
mod endpoint;
mod frozen;
mod gguf;
mod judges;
#[cfg(unix)]
mod program;
#[path = "../../../examples/methods/recipe/judges.rs"]
mod recipe;
mod rounds;
#[cfg(feature = "hub")]
mod server;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn json_file(path: PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Fails unless every number is within `relative` of what is expected.
fn assert_close(what: &str, found: &[f32], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= relative * expected.abs(), "{what}, number {i}: {found} is not {expected}");
    }
}

fn quickstart_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/model")
}

/// A copy of a folder's files, with the quickstart's tokenizer and template where it has none.
fn with_tokenizer(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for folder in [&quickstart_model(), from] {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            if folder != from && !text.starts_with("tokenizer") && !text.starts_with("chat_template") {
                continue;
            }
            if text != "expected.json" {
                fs::copy(entry.path(), to.join(name)).unwrap();
            }
        }
    }
}
