//! GGUF files, made here of the fixture models, against Creamery's own decoder.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use creamery::model::Decoder;
use creamery::score::{ScoreGroup, group_logps};
use creamery::slots::frozen::Frozen;
use creamery_tests::fixture;
use tempfile::TempDir;

use crate::world::World;
use crate::{quickstart_model, recipe};

const PROMPT: [u32; 5] = [1, 40, 77, 130, 200];
const RESPONSE: [u32; 12] = [9, 250, 31, 31, 7, 99, 180, 260, 55, 12, 8, 6];

struct Made {
    folder: TempDir,
    path: PathBuf,
}

/// A GGUF file of a fixture model; matrices whose rows fit its blocks are of the type `stored`.
fn made(model: &str, stored: GgmlDType, changed: &[(&str, Value)]) -> Made {
    let bytes = recipe::gguf(&fixture(&format!("models/{model}")), stored, changed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    Made { folder, path }
}

fn ours(model: &str) -> Vec<f64> {
    let decoder = Decoder::load(fixture(&format!("models/{model}")), &Device::Cpu).unwrap();
    let group = ScoreGroup { prompt: &PROMPT, responses: vec![&RESPONSE] };
    group_logps(&decoder, &[group]).unwrap()[0][0].iter().map(|x| f64::from(*x)).collect()
}

#[test]
fn gguf_files_give_the_log_probabilities_of_the_models_they_were_made_of() {
    // Per token: relative where weights are floats; absolute, in nats, with 8 bits for weights and activations. This
    // model's logits are steep, since its weights are drawn and large: 0.24 nats were measured. A trained model's are
    // nearer, see `judges`.
    let cases = [
        ("llama_tied", GgmlDType::F32, true, 1e-4, 0.0),
        ("llama_tied", GgmlDType::F16, true, 2e-3, 0.0),
        ("llama_tied", GgmlDType::Q8_0, true, 0.0, 0.35),
        ("llama_tied", GgmlDType::F32, false, 1e-4, 0.0),
        ("llama_tied", GgmlDType::Q8_0, false, 0.0, 0.35),
        ("qwen2_bias", GgmlDType::F32, true, 1e-4, 0.0),
        ("qwen2_bias", GgmlDType::F32, false, 1e-4, 0.0),
        ("qwen3_qknorm", GgmlDType::F32, true, 1e-4, 0.0),
        ("qwen3_qknorm", GgmlDType::F32, false, 1e-4, 0.0),
    ];
    for (model, stored, quantized, relative, absolute) in cases {
        let made = made(model, stored, &[]);
        let opened = if quantized { Frozen::open_gguf_quantized(&made.path) } else { Frozen::open_gguf(&made.path) };
        let mut frozen = opened.unwrap_or_else(|e| panic!("{model}: {e}"));
        assert_eq!((frozen.context(), frozen.vocabulary()), (256, 320), "{model}");
        let found = frozen.logps(&PROMPT, &[&RESPONSE, &RESPONSE[..3], &RESPONSE]).unwrap();
        assert_eq!(found[0], found[2], "{model}: what was scored before changes bits");
        assert_eq!(found[0][..3], found[1], "{model}");
        let expected = ours(model);
        let mut worst: f64 = 0.0;
        for (found, expected) in found[0].iter().zip(&expected) {
            let error = (f64::from(*found) - expected).abs();
            worst = worst.max(error);
            assert!(error <= relative * expected.abs() + absolute, "{model} {stored:?}: {found} is not {expected}");
        }
        assert!(stored != GgmlDType::Q8_0 || worst > 0.0, "quantized weights are other weights");
    }
}

#[test]
fn damaged_and_foreign_files_are_errors() {
    let whole = made("llama_tied", GgmlDType::F32, &[]);
    let bytes = fs::read(&whole.path).unwrap();
    let open = |bytes: &[u8]| {
        let path = whole.folder.path().join("broken.gguf");
        fs::write(&path, bytes).unwrap();
        Frozen::open_gguf(&path).err().map(|e| e.to_string())
    };
    assert_eq!(open(&bytes), None);
    for length in [0, 3, 4, 8, 20, 24, 60, 300, 900, bytes.len() / 2, bytes.len() - 40] {
        let error = open(&bytes[..length]).unwrap_or_else(|| panic!("{length} bytes are a model"));
        assert!(error.contains("broken.gguf"), "{length}: {error}");
    }
    assert!(open(&[b'x'; 4000]).unwrap().contains("not a GGUF file"));
    // Numbers of tensors and of fields, and the length of the first field's name.
    for (at, what) in [(8, "tensors"), (16, "fields"), (24, "a name")] {
        for huge in [u64::MAX, 1 << 40, 1 << 29] {
            let mut changed = bytes.clone();
            changed[at..at + 8].copy_from_slice(&huge.to_le_bytes());
            assert!(open(&changed).is_some(), "{huge} {what}");
        }
    }
    // Every byte of the header in turn: an error or a model, never a crash.
    for at in (0..1200).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 0xff;
        let _ = open(&changed);
    }
    let cases: [(&str, Value, &str); 9] = [
        ("general.architecture", Value::String("mamba".into()), "llama, qwen2, qwen3"),
        ("general.architecture", Value::U32(7), "general.architecture"),
        ("llama.block_count", Value::U32(u32::MAX), "llama.block_count"),
        ("llama.block_count", Value::U32(9_000), "9000 layers"),
        ("llama.attention.head_count", Value::U32(0), "head_count"),
        ("llama.attention.head_count_kv", Value::U32(3), "3 key-value heads"),
        ("llama.expert_count", Value::U32(8), "mixture of experts"),
        ("llama.rope.scaling.type", Value::String("linear".into()), "rotary positions"),
        ("llama.embedding_length", Value::U32(64), "token_embd.weight"),
    ];
    for (field, value, part) in cases {
        let made = made("llama_tied", GgmlDType::F32, &[(field, value)]);
        let error = Frozen::open_gguf(&made.path).err().unwrap_or_else(|| panic!("{field}")).to_string();
        assert!(error.contains(part) && error.contains("model.gguf"), "{field}: no '{part}' in {error}");
    }
    let missing = Frozen::open_gguf(Path::new("nowhere.gguf")).err().unwrap().to_string();
    assert!(missing.contains("nowhere.gguf"), "{missing}");
}

#[test]
fn a_judge_asks_a_quantized_model() {
    let world = World::new();
    let made = made("llama_tied", GgmlDType::Q8_0, &[]);
    fs::copy(&made.path, world.path("model.gguf")).unwrap();
    let tokenizer = quickstart_model();
    let slots = format!("[slots.grader]\ngguf = \"model.gguf\"\ntokenizer = '{}'\n", tokenizer.display());
    world.write("slots.toml", &slots);
    let ran = world.judge(&[], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("25 queries"), "{}", ran.stderr);
    fs::remove_file(world.path("out.jsonl")).unwrap();
    world.write("model.gguf", "not a model");
    world.fails(3, &["model.gguf", "not a GGUF file", "[slots.grader]"], &[]);
}
