//! What the model computes: against transformers, against candle-transformers, and whatever the batch or threads.

use candle_core::{DType, Device, Tensor};
use creamery::model::{Decoder, KvCache, ModelConfig, Span, token_logp};
use creamery::score::{ScoreGroup, group_logps};
use serde_json::{Value, json};

use crate::*;

#[test]
fn token_logps_and_last_logits_equal_transformers() {
    for name in MODELS {
        let model = load(name);
        for case in json_file(model_dir(name).join("expected.json"))["cases"].as_array().unwrap() {
            let all = ids(&case["input_ids"]);
            let (prompt, response) = all.split_at(case["response_start"].as_u64().unwrap() as usize);
            let what = format!("{name}, {} tokens", all.len());
            let (found, expected) = (logps(&model, prompt, response), floats(&case["token_logps"]));
            assert_close(&what, &found, &expected, 1e-4);
            // Each by its own size as well. A logit near 0 is a difference of larger numbers, so only logps can be.
            for (found, expected) in found.iter().zip(&expected) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 1e-4 * expected.abs(), "{what}: {found} is not {expected}");
            }
            assert_close(&what, &model.logits(&all).unwrap(), &floats(&case["last_logits"]), 1e-4);
        }
    }
}

fn argmax(logits: &[f32]) -> u32 {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32
}

#[test]
fn greedy_tokens_equal_transformers_and_the_cache_changes_no_bit() {
    for name in MODELS {
        let model = load(name);
        let greedy = &json_file(model_dir(name).join("expected.json"))["greedy"];
        let (prompt, expected) = (ids(&greedy["prompt_ids"]), ids(&greedy["new_ids"]));
        let (mut all, mut fed, mut sampled) = (prompt.clone(), 0, Vec::new());
        let mut cache = KvCache::new(&model, 64).unwrap();
        for token in &expected {
            let slots: Vec<u32> = (fed as u32..all.len() as u32).collect();
            let span = Span { queries: 0..slots.len(), context: 0..0, own: 0..all.len() };
            let hidden = model.extend(&mut cache, &all[fed..], &slots, &[span]).unwrap();
            let logits = values(&model.head_logits(&hidden, &[slots.len() as u32 - 1]).unwrap());
            assert_eq!(logits, model.logits(&all).unwrap(), "{name} after {} tokens", all.len());
            assert_eq!(argmax(&logits), *token, "{name} after {} tokens", all.len());
            sampled.push(token_logp(&logits, *token));
            fed = all.len();
            all.push(*token);
        }
        assert_eq!(sampled, logps(&model, &prompt, &expected), "{name}: sampling and scoring differ in bits");
        assert_eq!(model.eos_token_ids(), [6]);
    }
}

fn score(model: &Decoder, rows: &[Row]) -> Vec<Vec<Vec<f32>>> {
    let group = |(p, r): &'_ Row| -> (Vec<u32>, Vec<Vec<u32>>) { (p.clone(), r.clone()) };
    let rows: Vec<Row> = rows.iter().map(group).collect();
    let groups: Vec<_> =
        rows.iter().map(|(p, r)| ScoreGroup { prompt: p, responses: r.iter().map(Vec::as_slice).collect() }).collect();
    group_logps(model, &groups).unwrap()
}

#[test]
fn a_rows_bits_depend_on_nothing_but_the_row() {
    for name in MODELS {
        let model = load(name);
        let rows = random_rows(40, 9);
        let together = with_threads(2, || score(&model, &rows));
        assert_eq!(together, with_threads(1, || score(&model, &rows)), "{name}: threads change bits");
        let reversed: Vec<_> = rows.iter().rev().cloned().collect();
        let mut other = score(&model, &reversed);
        other.reverse();
        assert_eq!(together, other, "{name}: the order of groups changes bits");
        for ((prompt, responses), scores) in rows.iter().zip(&together) {
            for (response, score) in responses.iter().zip(scores) {
                assert_eq!(score.len(), response.len());
                assert_eq!(*score, logps(&model, prompt, response), "{name}: sharing a prompt changes bits");
            }
        }
    }
}

#[test]
fn candle_transformers_llama_agrees() {
    use candle_transformers::models::llama::{Cache, Config, Llama, LlamaConfig};
    let dir = model_dir("llama_tied");
    let mut config = json_file(dir.join("config.json"));
    config["rope_theta"] = config["rope_parameters"]["rope_theta"].clone();
    let config: LlamaConfig = serde_json::from_value(config).unwrap();
    let config: Config = config.into_config(false);
    let tensors = candle_core::safetensors::load(dir.join("model.safetensors"), &Device::Cpu).unwrap();
    let vars = candle_nn::VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let oracle = Llama::load(vars, &config).unwrap();
    let model = load("llama_tied");
    for (prompt, _) in random_rows(12, 4) {
        let mut cache = Cache::new(false, DType::F32, &config, &Device::Cpu).unwrap();
        let input = Tensor::new(prompt.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let expected = values(&oracle.forward(&input, 0, &mut cache).unwrap());
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        assert_close("logits", &model.logits(&prompt).unwrap(), &expected, 1e-5);
    }
}

#[test]
fn wrong_rows_are_named() {
    let model = load("llama_tied");
    let long = vec![9; 250];
    let cases: [(&[u32], &[u32], &str); 4] = [
        (&[], &[5], "group 1, prompt: it has no tokens"),
        (&[1, 320], &[5], "group 1, prompt: token 1 has the id 320, but the model's ids end at 319"),
        (&[1], &[5, 6, 4_000_000_000], "group 1, response 1: token 2 has the id 4000000000"),
        (&[1; 7], &long, "group 1, response 1: with its prompt it has 257 tokens, the model takes at most 256"),
    ];
    for (prompt, response, message) in cases {
        let good: &[u32] = &[8, 9];
        let first = ScoreGroup { prompt: good, responses: vec![good] };
        let error = group_logps(&model, &[first, ScoreGroup { prompt, responses: vec![good, response] }]).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn random_models_depend_on_the_seed_alone() {
    let config = || ModelConfig::load(model_dir("qwen2_bias")).unwrap();
    let make = |seed| bits(&Decoder::random(config(), seed, &Device::Cpu).unwrap());
    assert_eq!(make(1), make(1));
    assert_ne!(make(1), make(2));
    for (name, values) in make(3) {
        let values: Vec<f64> = values.into_iter().map(|b| f64::from(f32::from_bits(b))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let deviation = (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt();
        if name.ends_with("bias") {
            assert_eq!(deviation, 0.0, "{name}");
        } else if name.contains("norm") {
            assert!(values.iter().all(|x| *x == 1.0), "{name}");
        } else {
            assert!(mean.abs() < 3e-3 && (deviation - 0.02).abs() < 2e-3, "{name}: mean {mean}, deviation {deviation}");
        }
    }
}

#[test]
fn every_form_of_rope_configuration_is_understood() {
    let base = json_file(model_dir("llama3_rope").join("config.json"));
    let rope = |edit: &dyn Fn(&mut Value)| {
        let mut config = base.clone();
        edit(&mut config);
        ModelConfig::from_json(config, None).unwrap().rope
    };
    let new = rope(&|_| {});
    let old = rope(&|c| {
        let mut scaling = c["rope_parameters"].clone();
        c["rope_theta"] = scaling["rope_theta"].clone();
        scaling.as_object_mut().unwrap().remove("rope_theta");
        c["rope_scaling"] = scaling;
        c.as_object_mut().unwrap().remove("rope_parameters");
    });
    assert_eq!(new, old);
    let plain = rope(&|c| c["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 1e4}));
    assert_ne!(plain, new);
    let linear = rope(&|c| c["rope_parameters"] = json!({"type": "linear", "rope_theta": 1e4, "factor": 4}));
    assert!(plain.inverse_frequencies.iter().zip(&linear.inverse_frequencies).all(|(p, l)| *p == *l * 4.0));
    // transformers 5.23, ROPE_INIT_FUNCTIONS["yarn"]: head_dim 8, theta 1e4, factor 4, 64 original positions
    let yarn = rope(&|c| {
        c["rope_parameters"] =
            json!({"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64});
    });
    assert_close("yarn", &yarn.inverse_frequencies, &[1.0, 0.0625, 0.0025, 0.00025], 1e-6);
    assert_close("yarn", &[yarn.attention_factor], &[1.138_629_436_111_989], 1e-6);
}

#[test]
fn devices_that_are_not_there_are_named() {
    assert!(creamery::model::device("cpu").unwrap().is_cpu());
    assert!(creamery::model::device("auto").is_ok());
    let cases = [("cuda:7", "'cuda:7' is not available"), ("tpu", "unknown device 'tpu'"), ("cudax", "unknown device")];
    for (name, message) in cases {
        let error = creamery::model::device(name).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
