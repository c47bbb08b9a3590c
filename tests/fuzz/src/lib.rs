//! What each fuzz target does with its input. libFuzzer runs these without end; the ordinary tests include this file
//! and run each on a fixed number of mutated seeds.
//!
//! A body fails by panicking, by taking too long, or by asking for memory out of all proportion; an error is a result
//! like any other.

use std::fs;
use std::path::Path;

use creamery::config::RunConfig;
use creamery::data::rows;
use creamery::data::{ChatFormat, Message, Tokenizer};
use creamery::model::{Checkpoint, ModelConfig, Weights};
use creamery::plugins::{self, Params};
use creamery_plugin::descriptor::{MAGIC, WASM_SECTION};

mod outputs;
pub use outputs::outputs;

/// A target's name and body.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 10] = [
    ("safetensors", safetensors),
    ("index", index),
    ("rows", rows),
    ("template", template),
    ("tokenizer", tokenizer),
    ("config", config),
    ("model_config", model_config),
    ("descriptor", descriptor),
    ("outputs", outputs),
    ("messages", messages),
];

/// What the process of a native plugin sends. Processes of their own are for Linux.
pub fn messages(data: &[u8]) {
    #[cfg(target_os = "linux")]
    plugins::read_messages(data);
    #[cfg(not(target_os = "linux"))]
    let _ = data;
}

/// A folder for the input's files; on Linux in memory, as long as the thread lives.
fn folder<R>(f: impl FnOnce(&Path) -> R) -> R {
    thread_local! {
        static FOLDER: tempfile::TempDir = {
            let memory = Path::new("/dev/shm");
            let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
            made.expect("a folder for the inputs")
        };
    }
    FOLDER.with(|folder| f(folder.path()))
}

fn put(folder: &Path, name: &str, data: &[u8]) {
    fs::write(folder.join(name), data).expect("the input's file");
}

/// A file of weights: what its header promises is read, or refused.
pub fn safetensors(data: &[u8]) {
    folder(|folder| {
        put(folder, "weights.safetensors", data);
        let Ok(mut weights) = Weights::open(folder.join("weights.safetensors")) else { return };
        let names: Vec<String> = weights.names().map(str::to_owned).collect();
        for name in names {
            let shape = weights.shape(&name).expect("a tensor that is listed").to_vec();
            if let Ok(values) = weights.read(&name, &shape) {
                assert_eq!(values.len(), shape.iter().product::<usize>());
                assert!(values.iter().all(|x| x.is_finite()));
            }
        }
    });
}

/// A checkpoint's index, beside two shards.
pub fn index(data: &[u8]) {
    let shard = |name: &str| {
        let header = format!(r#"{{"{name}":{{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}}}"#);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0, 60]].concat()
    };
    let config = br#"{"model_type": "llama", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 4,
        "num_hidden_layers": 1, "num_attention_heads": 1}"#;
    folder(|folder| {
        put(folder, "config.json", config);
        put(folder, "a.safetensors", &shard("a"));
        put(folder, "b.safetensors", &shard("model.norm.weight"));
        put(folder, "model.safetensors.index.json", data);
        // The shards hold no model.
        assert!(Checkpoint::open(folder).is_err());
        fs::remove_file(folder.join("config.json")).expect("the file that was written");
    });
}

/// A file of rows, read as each kind.
pub fn rows(data: &[u8]) {
    folder(|folder| {
        put(folder, "rows.jsonl", data);
        let path = &folder.join("rows.jsonl");
        let _ = rows::read_prompts(path);
        let _ = rows::read_sft(path);
        let _ = rows::read_sft_training(path);
        let _ = rows::read_pair_training(path);
        let _ = rows::read_evaluation(path);
        for line in rows::read_scoring(path).unwrap_or_default() {
            let _ = line.row.encode(None, &[1]);
        }
    });
}

const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tokenizer");

/// The fixture's tokenizer folder, from either package.
fn fixture() -> &'static Path {
    let here = Path::new(TOKENIZER);
    if here.is_dir() { here } else { Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/tokenizer")) }
}

/// A chat template, on some conversations.
pub fn template(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let tokenizer = Tokenizer::load(fixture()).expect("the fixture's tokenizer");
    let Ok(format) = ChatFormat::new(tokenizer, source, Path::new("chat_template.jinja")) else { return };
    let (user, assistant) = (Message::user("1 + 1 = <b>'?'</b> é 🚀"), Message::assistant(" 2\n"));
    for chat in [vec![user.clone()], vec![Message::new("system", "Be brief."), user.clone(), assistant, user]] {
        for prompt in [true, false] {
            let _ = format.render(&chat, prompt);
        }
    }
}

/// A tokenizer.json, on some text.
pub fn tokenizer(data: &[u8]) {
    folder(|folder| {
        put(folder, "tokenizer.json", data);
        let Ok(tokenizer) = Tokenizer::load(folder) else { return };
        let _ = tokenizer.check_vocab(320);
        for text in ["", "a", "Hello <s> é 🚀\n 12", "\u{0}\u{feff}"] {
            if let Ok(ids) = tokenizer.encode(text) {
                let _ = tokenizer.decode(&ids);
            }
        }
        let _ = tokenizer.decode(&[0, 5, u32::MAX]);
    });
}

/// A run's config file.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(config) = RunConfig::from_toml(text, Path::new("/nowhere/config.toml"), &[]) {
        let _ = config.to_toml();
    }
}

/// config.json; after a byte 0xFF, generation_config.json.
pub fn model_config(data: &[u8]) {
    let mut parts = data.splitn(2, |b| *b == 0xff);
    folder(|folder| {
        put(folder, "config.json", parts.next().unwrap_or_default());
        let generation = folder.join("generation_config.json");
        match parts.next() {
            Some(data) => fs::write(&generation, data).expect("the input's file"),
            None => drop(fs::remove_file(&generation)),
        }
        if let Ok(config) = ModelConfig::load(folder) {
            assert_eq!(config.windows.len(), config.num_layers);
            assert_eq!(config.rope.inverse_frequencies.len() * 2, config.head_dim);
            assert!(config.eos_token_ids.iter().all(|id| (*id as usize) < config.vocab_size));
        }
        let _ = fs::remove_file(generation);
        fs::remove_file(folder.join("config.json")).expect("the file that was written");
    });
}

/// A plugin's file, and the JSON of a descriptor in a file that is otherwise right. What can be read of it is used as
/// `plugin inspect` and loading do before anything of the plugin runs.
pub fn descriptor(data: &[u8]) {
    for file in [data.to_vec(), component(data)] {
        let _ = plugins::read_imports(&file);
        let Ok(descriptor) = plugins::descriptor::read_bytes(&file) else { continue };
        assert!(descriptor.params.is_object() && !descriptor.name.is_empty());
        let _ = descriptor.check_platform();
        let _ = creamery::author::inspect::parameters(&descriptor.params);
        for params in ["{}", r#"{"mode": "good", "beta": 1, "": null}"#] {
            let params = serde_json::from_str(params).expect("parameters of ours");
            if let Ok(params) = plugins::resolve_params(&descriptor.name, &descriptor.params, &Params::of(&params)) {
                assert!(params.is_object());
            }
        }
    }
}

/// The smallest component with this descriptor.
fn component(json: &[u8]) -> Vec<u8> {
    let section = [&MAGIC[..], &(json.len() as u32).to_le_bytes(), json].concat();
    let name = [&leb128(WASM_SECTION.len())[..], WASM_SECTION.as_bytes()].concat();
    let size = leb128(name.len() + section.len());
    [&b"\0asm\x0d\0\x01\0"[..], &[0], &size, &name, &section].concat()
}

fn leb128(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
