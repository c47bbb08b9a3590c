//! Adapters: peft's numbers and files, gradients, dropout, sharing of the base.

use std::path::{Path, PathBuf};

use candle_core::Device;
use creamery::generate::{Request, SamplingConfig, StreamKey, generate};
use creamery::model::{Decoder, Group, LoraConfig, ModelConfig, Noise, TargetModules};
use creamery::score::{ScoreGroup, group_logps};
use serde_json::{Value, json};

use crate::checkpoints::{Entry, read_weights, write_weights};
use crate::training::{dpo_config, groups_of, objective, random_pairs, train, training};
use crate::*;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

fn peft_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lora")
}

fn config(r: usize, targets: &[&str]) -> LoraConfig {
    let target_modules = TargetModules::Names(targets.iter().map(|t| t.to_string()).collect());
    LoraConfig { r, target_modules, ..LoraConfig::default() }
}

/// A model with an adapter whose B is not 0.
fn adapted(base: &Decoder, config: &LoraConfig) -> Decoder {
    let mut model = base.add_adapter(config, 4).unwrap();
    let mut state = 7u32;
    for (name, tensor) in model.parameters() {
        if name.contains("lora_B") {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 0.3
            };
            let data: Vec<f32> = (0..tensor.elem_count()).map(|_| next()).collect();
            model.set_parameter(&name, &data).unwrap();
        }
    }
    model
}

/// A model in which every kind of parameter is met.
fn random_base(name: &str) -> Decoder {
    let mut config = json_file(model_dir(name).join("config.json"));
    if name.starts_with("llama") {
        (config["attention_bias"], config["mlp_bias"]) = (true.into(), true.into());
    }
    config["initializer_range"] = 0.3.into();
    Decoder::random(ModelConfig::from_json(config, None).unwrap(), 3, &Device::Cpu).unwrap()
}

#[test]
fn logits_equal_pefts() {
    let expected = fixture("lora/expected.json");
    let input = ids(&expected["input_ids"]);
    let base = load("llama_tied");
    let model = base.load_adapter(peft_folder()).unwrap();
    let with = floats(&expected["last_logits_with_adapter"]);
    assert_close("with", &model.logits(&input).unwrap(), &with, 1e-4);
    for (what, plain) in [("the base", &base), ("without", &model.without_adapter())] {
        assert_close(what, &plain.logits(&input).unwrap(), &floats(&expected["last_logits_without_adapter"]), 1e-4);
    }
    let merged: Vec<f64> = model.logits(&input).unwrap().into_iter().map(f64::from).collect();
    assert_close("merged", &model.merged().unwrap().logits(&input).unwrap(), &merged, 1e-5);
    let config = model.adapter().unwrap();
    assert_eq!((config.r, config.alpha, config.dropout, config.rslora), (4, 8.0, 0.0, false));
    assert_eq!(model.parameters().len(), 2 * 3 * 2);
}

#[test]
fn a_fresh_adapter_changes_no_bit_and_its_draws_are_pefts_distribution() {
    for name in MODELS {
        let base = load(name);
        let model = base.add_adapter(&LoraConfig { r: 6, ..LoraConfig::default() }, 1).unwrap();
        let input = [7, 20, 33, 41];
        assert_eq!(model.logits(&input).unwrap(), base.logits(&input).unwrap(), "{name}");
        assert_eq!(model.parameters().len(), 2 * 7 * base.config.num_layers);
        for (name, tensor) in model.parameters() {
            let data = values(&tensor);
            if name.contains("lora_B") {
                assert!(data.iter().all(|x| *x == 0.0), "{name}");
                continue;
            }
            let bound = 1.0 / (tensor.dims()[1] as f32).sqrt();
            let largest = data.iter().fold(0f32, |a, b| a.max(b.abs()));
            assert!(largest <= bound && largest > 0.9 * bound, "{name}: {largest} and {bound}");
            let mean = data.iter().sum::<f32>() / data.len() as f32;
            assert!(mean.abs() < 0.2 * bound, "{name}: {mean}");
        }
        let again = base.add_adapter(&LoraConfig { r: 6, ..LoraConfig::default() }, 1).unwrap();
        let other = base.add_adapter(&LoraConfig { r: 6, ..LoraConfig::default() }, 2).unwrap();
        assert_eq!(bits(&model), bits(&again));
        assert_ne!(bits(&model), bits(&other));
    }
}

#[test]
fn gradients_equal_central_differences_with_and_without_dropout() {
    let cases: Vec<(&str, LoraConfig, Option<Noise>)> = vec![
        ("llama_tied", LoraConfig { r: 3, ..LoraConfig::default() }, None),
        ("qwen2_bias", config(4, &["q_proj", "v_proj"]), None),
        ("mistral_window", LoraConfig { r: 2, rslora: true, ..LoraConfig::default() }, None),
        ("qwen3_qknorm", LoraConfig { r: 3, dropout: 0.3, ..LoraConfig::default() }, Some(noise(5, 2, 0))),
        ("llama3_rope", LoraConfig { layers: Some(vec![1]), dropout: 0.5, ..config(5, &["k_proj", "o_proj"]) }, {
            Some(noise(1, 1, 3))
        }),
    ];
    for (name, config, noise) in cases {
        let model = adapted(&random_base(name), &config);
        let rows = random_rows(6, 8);
        let groups = groups_of(&rows);
        let logps = |model: &Decoder| match noise {
            Some(noise) => model.noisy_logps(&groups, noise).unwrap(),
            None => score(model, &groups),
        };
        let g = |i: usize| 0.3 + 0.7 * ((i * 37 % 11) as f64 / 11.0) * if i.is_multiple_of(3) { -1.0 } else { 1.0 };
        let loss =
            |model: &Decoder| -> f64 { logps(model).iter().enumerate().map(|(i, logp)| g(i) * f64::from(*logp)).sum() };
        let weights: Vec<f32> = (0..logps(&model).len()).map(|i| g(i) as f32).collect();
        let gradients = model.token_gradients(&groups, &weights, noise, false).unwrap();
        let again = model.token_gradients(&groups, &weights, noise, true).unwrap();
        assert_eq!(gradients.tensors.len(), model.parameters().len(), "only the adapter is trained");
        for (i, (tensor, data)) in model.parameters().iter().enumerate() {
            let gradient = values(&gradients.tensors[i]);
            assert_eq!(gradient, values(&again.tensors[i]), "{name}, {tensor}: checkpointing");
            let largest = gradient.iter().fold(0f32, |a, b| a.max(b.abs()));
            assert!(largest > 0.0, "{name}, {tensor}: no gradient");
            let top = gradient.iter().position(|x| x.abs() == largest).unwrap();
            for at in [top, gradient.len() / 3, gradient.len() - 1] {
                let original = values(data);
                let moved = |by: f32| {
                    let mut changed = original.clone();
                    changed[at] += by;
                    let mut other = model.copy().unwrap();
                    other.set_parameter(tensor, &changed).unwrap();
                    loss(&other)
                };
                let h = 2e-3;
                let numeric = (moved(h) - moved(-h)) / (2.0 * f64::from(h));
                let difference = (numeric - f64::from(gradient[at])).abs();
                let scale = f64::from(largest).max(0.05);
                assert!(difference < 2e-2 * scale, "{name}, {tensor}[{at}]: {} is not {numeric}", gradient[at]);
            }
        }
    }
}

fn noise(seed: u64, step: u64, first_group: u64) -> Noise {
    Noise { seed, step, first_group }
}

fn score(model: &Decoder, groups: &[Group]) -> Vec<f32> {
    let groups: Vec<ScoreGroup> =
        groups.iter().map(|g| ScoreGroup { prompt: g.prompt, responses: g.responses.clone() }).collect();
    group_logps(model, &groups).unwrap().into_iter().flatten().flatten().collect()
}

/// A group's mask follows from its place in the global batch, whatever batch it is computed in.
#[test]
fn dropout_depends_on_the_key_and_not_on_the_batch() {
    let model = adapted(&random_base("llama_tied"), &LoraConfig { r: 3, dropout: 0.4, ..LoraConfig::default() });
    let rows = random_rows(6, 8);
    let groups = groups_of(&rows);
    let whole = model.noisy_logps(&groups, noise(1, 1, 0)).unwrap();
    let (left, right) = groups.split_at(2);
    let parts: Vec<f32> = [(left, 0), (right, 2)]
        .into_iter()
        .flat_map(|(groups, first)| model.noisy_logps(groups, noise(1, 1, first)).unwrap())
        .collect();
    assert_eq!(whole, parts);
    assert_eq!(whole, with_threads(1, || model.noisy_logps(&groups, noise(1, 1, 0)).unwrap()));
    for other in [noise(2, 1, 0), noise(1, 2, 0), noise(1, 1, 1)] {
        assert_ne!(whole, model.noisy_logps(&groups, other).unwrap(), "{other:?}");
    }
    assert_ne!(whole, score(&model, &groups), "scoring has no dropout");
    let without = adapted(&random_base("llama_tied"), &LoraConfig { r: 3, ..LoraConfig::default() });
    assert_eq!(score(&without, &groups), without.noisy_logps(&groups, noise(1, 1, 0)).unwrap(), "no dropout is set");
    assert_eq!(score(&without, &groups), score(&model, &groups));
}

#[test]
fn samples_carry_the_scores_of_the_adapted_model() {
    for name in MODELS {
        let base = load(name);
        let model = adapted(&base, &LoraConfig { r: 5, dropout: 0.5, ..LoraConfig::default() });
        let prompts: [&[u32]; 2] = [&[1, 20, 33], &[7, 8, 9, 10, 11]];
        let key = StreamKey { seed: 1, purpose: "sample", round: 1, prompt: "p" };
        let requests = prompts.map(|prompt| Request { prompt, n: 3, first: 0, key });
        let sampling = SamplingConfig { max_new_tokens: 12, ..SamplingConfig::default() };
        let samples = generate(&model, &requests, &sampling, model.eos_token_ids(), &mut |_, _| {}).unwrap();
        for (prompt, samples) in prompts.iter().zip(&samples) {
            for sample in samples {
                assert_eq!(sample.logps, logps(&model, prompt, &sample.ids), "{name}");
                assert_ne!(sample.logps, logps(&base, prompt, &sample.ids), "{name}: the adapter does nothing");
            }
        }
    }
}

#[test]
fn models_share_the_base_and_not_the_adapter() {
    let mut base = load("qwen2_bias");
    let before = bits(&base);
    let config = LoraConfig { r: 4, ..LoraConfig::default() };
    let one = adapted(&base, &config);
    let mut two = one.copy().unwrap();
    assert!(
        one.shares_base_with(&base) && two.shares_base_with(&base) && !base.copy().unwrap().shares_base_with(&base)
    );
    let (name, tensor) = two.parameters().remove(1);
    two.set_parameter(&name, &vec![0.5; tensor.elem_count()]).unwrap();
    assert_ne!(bits(&one), bits(&two));
    assert_eq!(bits(&base), before);
    let error = base.set_parameter(&before[0].0, &vec![0.0; before[0].1.len()]).unwrap_err().to_string();
    assert!(error.contains("shared with another model"), "{error}");
    assert_eq!(bits(&base), before);
    drop((one, two));
    base.set_parameter(&before[0].0, &vec![0.0; before[0].1.len()]).unwrap();
    assert_ne!(bits(&base), before);
}

/// With dropout too, no bit depends on the threads or on checkpointing, and micro-batches make one large batch.
#[test]
fn training_changes_the_adapter_alone() {
    for name in ["llama_tied", "qwen3_qknorm"] {
        let base = load(name);
        let before = bits(&base);
        for dropout in [0.0, 0.3] {
            let start = base.add_adapter(&LoraConfig { r: 4, dropout, ..LoraConfig::default() }, 3).unwrap();
            let pairs = random_pairs(&start, 12);
            let run = |micro_batch_tokens, gradient_checkpointing, threads| {
                let mut config = training(2, 6);
                (config.micro_batch_tokens, config.gradient_checkpointing) =
                    (micro_batch_tokens, gradient_checkpointing);
                let mut model = start.copy().unwrap();
                let metrics = with_threads(threads, || train(&mut model, &pairs, &dpo_config(config)));
                (bits(&model), metrics)
            };
            let whole = run(8192, false, 2);
            assert_eq!(whole, run(8192, true, 1), "{name}, dropout {dropout}");
            assert_eq!(run(64, false, 1), run(64, true, 2), "{name}, dropout {dropout}");
            let (a, b) = (&whole.1[0], &run(64, false, 2).1[0]);
            for key in ["loss", "grad_norm"] {
                let (a, b) = (a.get(key).unwrap(), b.get(key).unwrap());
                assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{name}, {key}: {a} and {b}");
            }
            let last = whole.1.last().unwrap();
            assert!(last.get("rewards/margins").unwrap() > 0.0, "{name}: nothing is learnt");
            // From a trained adapter on: the check of the first loss is without dropout.
            let mut next = start.copy().unwrap();
            for (name, bits) in &whole.0 {
                next.set_parameter(name, &bits.iter().map(|b| f32::from_bits(*b)).collect::<Vec<_>>()).unwrap();
            }
            let pairs = random_pairs(&next, 12);
            let first = &train(&mut next, &pairs, &dpo_config(training(1, 6)))[0];
            let distance = (first.get("loss").unwrap() - std::f64::consts::LN_2).abs();
            assert_eq!(distance < 1e-6, dropout == 0.0, "{name}, dropout {dropout}: {distance} from ln 2");

            let mut wrong = pairs.clone();
            wrong[3].reference_chosen += 1.0;
            let mut model = start.copy().unwrap();
            let error =
                creamery::train::dpo(&mut model, &wrong, &mut objective, &dpo_config(training(1, 12)), &mut |_| Ok(()));
            assert!(error.unwrap_err().to_string().contains("wrong reference"), "{name}");
        }
        assert_eq!(bits(&base), before, "{name}: the base has changed");
    }
}

#[test]
fn saved_adapters_load_with_the_same_bits() {
    let settings = [
        LoraConfig { r: 5, alpha: 7.5, dropout: 0.1, rslora: true, ..LoraConfig::default() },
        config(3, &["q_proj", "model.layers.1.mlp.up_proj"]),
        LoraConfig {
            target_modules: TargetModules::Regex(r".*\.(k_proj|down_proj)".into()),
            layers: Some(vec![1]),
            rank_pattern: vec![("k_proj".into(), 2), (r"layers\.\d+\.mlp\.down_proj".into(), 7)],
            alpha_pattern: vec![("down_proj".into(), 3.0)],
            ..LoraConfig::default()
        },
    ];
    for settings in settings {
        let base = load("qwen3_qknorm");
        let model = adapted(&base, &settings);
        let dir = tempfile::tempdir().unwrap();
        model.save_adapter(dir.path(), "some/base").unwrap();
        let loaded = base.load_adapter(dir.path()).unwrap();
        assert_eq!(bits(&model), bits(&loaded), "{settings:?}");
        assert_eq!(model.logits(&[7, 9, 11]).unwrap(), loaded.logits(&[7, 9, 11]).unwrap());
        let json = json_file(dir.path().join(CONFIG));
        assert_eq!(json["base_model_name_or_path"], "some/base");
        assert_eq!(json["r"], settings.r);
        // Two writes, one file.
        let first = std::fs::read(dir.path().join(WEIGHTS)).unwrap();
        loaded.save_adapter(dir.path(), "some/base").unwrap();
        assert_eq!(first, std::fs::read(dir.path().join(WEIGHTS)).unwrap());
    }
    let pattern = adapted(
        &load("qwen3_qknorm"),
        &LoraConfig { rank_pattern: vec![("k_proj".into(), 2)], ..config(3, &["q_proj", "k_proj"]) },
    );
    let ranks: Vec<usize> = pattern.parameters().iter().step_by(2).map(|(_, a)| a.dims()[0]).collect();
    assert_eq!(ranks[..2], [3, 2]);
}

#[test]
fn half_precision_adapters_are_read() {
    let base = load("llama_tied");
    let full = base.load_adapter(peft_folder()).unwrap();
    let input = [1, 20, 33, 41];
    let expected: Vec<f64> = full.logits(&input).unwrap().into_iter().map(f64::from).collect();
    type Half = fn(f32) -> u16;
    let cases: [(&str, Half); 2] = [
        ("BF16", |x| ((x.to_bits() + 0x7fff + (x.to_bits() >> 16 & 1)) >> 16) as u16),
        // All are normal numbers of half precision; the rest of the mantissa is cut off.
        ("F16", |x| {
            let bits = x.to_bits();
            let exponent = (bits >> 23 & 0xff) as i32 - 112;
            if exponent <= 0 { 0 } else { (bits >> 16 & 0x8000 | (exponent as u32) << 10 | bits >> 13 & 0x3ff) as u16 }
        }),
    ];
    for (dtype, half) in cases {
        let dir = copy();
        edit_weights(dir.path(), |tensors| {
            for (_, entry, bytes) in tensors {
                let floats = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                *bytes = floats.flat_map(|x| half(x).to_le_bytes()).collect();
                entry["dtype"] = dtype.into();
            }
        });
        let model = base.load_adapter(dir.path()).unwrap();
        assert_close(dtype, &model.logits(&input).unwrap(), &expected, 5e-3);
        assert_ne!(bits(&model), bits(&full));
    }
}

/// A copy of the fixture's adapter.
fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in [CONFIG, WEIGHTS] {
        std::fs::copy(peft_folder().join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn edit_weights(dir: &Path, edit: impl FnOnce(&mut Vec<Entry>)) {
    let mut tensors = read_weights(&dir.join(WEIGHTS));
    edit(&mut tensors);
    write_weights(&dir.join(WEIGHTS), &tensors);
}

#[test]
fn unsupported_settings_name_their_field() {
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("peft_type", json!("LOHA"), &["'peft_type' is \"LOHA\"", "expected \"LORA\""]),
        ("use_dora", json!(true), &["unsupported", "'use_dora' is true"]),
        ("use_qalora", json!(true), &["unsupported", "'use_qalora' is true"]),
        ("bias", json!("all"), &["unsupported", "'bias' is \"all\""]),
        ("modules_to_save", json!(["lm_head"]), &["unsupported", "'modules_to_save' is [\"lm_head\"]"]),
        ("fan_in_fan_out", json!(true), &["unsupported", "'fan_in_fan_out' is true"]),
        ("layer_replication", json!([[0, 2]]), &["unsupported", "'layer_replication'"]),
        ("trainable_token_indices", json!([1]), &["unsupported", "'trainable_token_indices'"]),
        ("target_parameters", json!(["x"]), &["unsupported", "'target_parameters'"]),
        ("exclude_modules", json!(["x"]), &["unsupported", "'exclude_modules'"]),
        ("lora_bias", json!(true), &["unsupported", "'lora_bias' is true"]),
        ("alora_invocation_tokens", json!([1]), &["unsupported", "'alora_invocation_tokens'"]),
        ("init_lora_weights", json!("pissa"), &["unsupported", "'init_lora_weights' is \"pissa\""]),
        ("task_type", json!("SEQ_CLS"), &["unsupported", "'task_type' is \"SEQ_CLS\""]),
        ("some_new_option", json!(3), &["unsupported", "'some_new_option' is 3"]),
        ("layers_pattern", json!("blocks"), &["unsupported", "'layers_pattern'"]),
        ("layers_to_transform", json!([5]), &["'layers_to_transform' names layer 5", "layers 0 to 1"]),
        ("layers_to_transform", json!("x"), &["'layers_to_transform' is \"x\""]),
        ("r", json!(0), &["'r' is 0", "from 1 to"]),
        ("r", json!(-3), &["'r' is -3"]),
        ("r", json!(100_000_000), &["'r' is 100000000"]),
        ("r", Value::Null, &["'r' is missing"]),
        ("r", json!(5), &["has shape [4, ", "the base asks for [5, "]),
        ("lora_alpha", json!("8"), &["'lora_alpha' is \"8\""]),
        ("lora_dropout", json!(1.0), &["'lora_dropout' is 1"]),
        ("use_rslora", json!(1), &["'use_rslora' is 1"]),
        ("rank_pattern", json!({"q_proj": "x"}), &["'rank_pattern' is \"x\""]),
        ("rank_pattern", json!({"(": 3}), &["'rank_pattern' is not a regular expression"]),
        ("rank_pattern", json!({"q_proj": 3}), &["q_proj.lora_A.weight' has shape [4, 32], the base asks for [3, 32]"]),
        ("alpha_pattern", json!({"q_proj": []}), &["'alpha_pattern'"]),
        ("target_modules", Value::Null, &["'target_modules' is null"]),
        ("target_modules", json!([]), &["'target_modules' is []"]),
        ("target_modules", json!([1]), &["'target_modules' is [1]"]),
        ("target_modules", json!("(?!x)y"), &["'target_modules' is not a regular expression"]),
        ("target_modules", json!(["nothing"]), &["matches no linear map", "q_proj"]),
        ("target_modules", json!(["lm_head", "q_proj"]), &["unsupported", "names lm_head"]),
        ("target_modules", json!(["embed_tokens", "q_proj"]), &["unsupported", "names model.embed_tokens"]),
        ("target_modules", json!(["q_proj"]), &["down_proj.lora_A.weight' has no place"]),
        ("target_modules", json!("all-linear"), &["k_proj.lora_A.weight' is missing", "another base"]),
    ];
    let base = load("llama_tied");
    for (field, value, parts) in cases {
        let dir = copy();
        let mut json = json_file(dir.path().join(CONFIG));
        json[field] = value.clone();
        std::fs::write(dir.path().join(CONFIG), json.to_string()).unwrap();
        let error =
            base.load_adapter(dir.path()).err().unwrap_or_else(|| panic!("{field} = {value} loads")).to_string();
        assert!(error.contains(CONFIG) || error.contains(WEIGHTS), "{field} = {value}: no file in {error}");
        for part in parts {
            assert!(error.contains(part), "{field} = {value}: no {part:?} in {error}");
        }
    }
}

#[test]
fn broken_adapters_are_named() {
    type Edit = fn(&Path);
    let cases: [(&str, Edit, &[&str]); 9] = [
        ("no config", |d| std::fs::remove_file(d.join(CONFIG)).unwrap(), &["no adapter", CONFIG]),
        ("no weights", |d| std::fs::remove_file(d.join(WEIGHTS)).unwrap(), &[WEIGHTS]),
        (
            "a pickle",
            |d| std::fs::rename(d.join(WEIGHTS), d.join("adapter_model.bin")).unwrap(),
            &["adapter_model.bin is a pickle"],
        ),
        ("no JSON", |d| std::fs::write(d.join(CONFIG), "{\n\"r\": }").unwrap(), &["not valid JSON", ":2:"]),
        ("a list", |d| std::fs::write(d.join(CONFIG), "[]").unwrap(), &["expected a JSON object"]),
        (
            "no B",
            |d| edit_weights(d, |t| t.retain(|(name, ..)| !name.contains("layers.1.self_attn.v_proj.lora_B"))),
            &["layers.1.self_attn.v_proj.lora_B.weight' is missing", "another base"],
        ),
        (
            "a layer too many",
            |d| {
                edit_weights(d, |t| {
                    let mut extra = t[0].clone();
                    extra.0 = extra.0.replace("layers.0", "layers.7");
                    t.push(extra);
                })
            },
            &["layers.7", "has no place"],
        ),
        (
            "NaN",
            |d| edit_weights(d, |t| t[3].2[..4].copy_from_slice(&f32::NAN.to_le_bytes())),
            &["has the value NaN at element 0"],
        ),
        (
            "truncated",
            |d| {
                let bytes = std::fs::read(d.join(WEIGHTS)).unwrap();
                std::fs::write(d.join(WEIGHTS), &bytes[..bytes.len() - 7]).unwrap();
            },
            &[WEIGHTS],
        ),
    ];
    let base = load("llama_tied");
    for (what, edit, parts) in cases {
        let dir = copy();
        edit(dir.path());
        let error = base.load_adapter(dir.path()).err().unwrap_or_else(|| panic!("{what} loads")).to_string();
        for part in parts {
            assert!(error.contains(part), "{what}: no {part:?} in {error}");
        }
    }
}

#[test]
fn an_adapter_of_another_base_is_refused() {
    let base = load("llama_tied");
    let dir = tempfile::tempdir().unwrap();
    adapted(&base, &config(2, &["q_proj"])).save_adapter(dir.path(), "llama_tied").unwrap();
    // Another shape.
    let error = load("llama3_rope").load_adapter(dir.path()).err().expect("another shape").to_string();
    assert!(error.contains("another base"), "{error}");
    // The same shape with other weights.
    let other = Decoder::random(base.config.clone(), 1, &Device::Cpu).unwrap();
    let error = other.load_adapter(dir.path()).err().expect("other weights").to_string();
    assert!(error.contains("trained on another base") && error.contains("base_model_name_or_path"), "{error}");
    // The same weights, rounded.
    let mut rounded = base.copy().unwrap();
    for (name, tensor) in base.parameters() {
        let round = |x: f32| f32::from_bits((x.to_bits() + 0x8000) & 0xffff_0000);
        rounded.set_parameter(&name, &values(&tensor).into_iter().map(round).collect::<Vec<_>>()).unwrap();
    }
    rounded.load_adapter(dir.path()).unwrap();
}

#[test]
fn settings_that_do_not_fit_the_model_are_named() {
    let cases: [(LoraConfig, &str); 6] = [
        (config(4, &["q_prj"]), "target module 'q_prj' is no linear map"),
        (config(4, &["q_proj", "norm"]), "target module 'norm'"),
        (config(4, &["lm_head"]), "names lm_head"),
        (LoraConfig { dropout: f64::NAN, ..LoraConfig::default() }, "'lora_dropout' is NaN"),
        (LoraConfig { r: 33, ..LoraConfig::default() }, "rank 33 is more than"),
        (LoraConfig { layers: Some(vec![2]), ..LoraConfig::default() }, "names layer 2"),
    ];
    let base = load("llama_tied");
    for (config, part) in cases {
        let error = base.add_adapter(&config, 0).err().unwrap_or_else(|| panic!("{config:?} is accepted")).to_string();
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    let model = base.add_adapter(&config(2, &["q_proj"]), 0).unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert!(model.save(dir.path()).unwrap_err().to_string().contains("adapter"));
    assert!(base.save_adapter(dir.path(), "x").unwrap_err().to_string().contains("no adapter"));
}
