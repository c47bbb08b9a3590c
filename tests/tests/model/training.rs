//! Training: gradients, PyTorch's numbers, schedules, accumulation, determinism, and the checks at the start.

use candle_core::Device;
use creamery::Result;
use creamery::model::{Decoder, ModelConfig};
use creamery::score::{ScoreGroup, group_logps};
use creamery::train::{
    DpoConfig, LearningRate, Objective, OptimizerConfig, PreferencePair, Reference, Schedule, SftRow, StepMetrics,
    TrainingConfig, Warmup, dpo, dpo_with_checkpoints, sequence_logp, sft,
};
use creamery_plugin::objective::c_mix;
use creamery_plugin::{Column, ObjectiveBatch, ObjectiveValue};

use crate::*;

pub fn training(epochs: usize, batch_size: usize) -> TrainingConfig {
    TrainingConfig {
        epochs,
        batch_size,
        micro_batch_tokens: 8192,
        gradient_checkpointing: false,
        seed: 5,
        optimizer: OptimizerConfig { learning_rate: 1e-3, decay_all: true, ..Default::default() },
        schedule: Schedule::Cosine,
        warmup: Warmup::Steps(1),
        ..Default::default()
    }
}

pub fn dpo_config(training: TrainingConfig) -> DpoConfig {
    DpoConfig { training, beta: 0.1, nll_weight: 0.0, expect_ln2: true, reference: Reference::Start }
}

/// Sets the reference of each pair to what `model` says.
fn with_references(model: &Decoder, mut pairs: Vec<PreferencePair>) -> Vec<PreferencePair> {
    let groups: Vec<_> =
        pairs.iter().map(|p| ScoreGroup { prompt: &p.prompt, responses: vec![&p.chosen, &p.rejected] }).collect();
    let scores = group_logps(model, &groups).unwrap();
    for (pair, score) in pairs.iter_mut().zip(scores) {
        (pair.reference_chosen, pair.reference_rejected) = (sequence_logp(&score[0]), sequence_logp(&score[1]));
    }
    pairs
}

fn pair(id: String, prompt: Vec<u32>, chosen: Vec<u32>, rejected: Vec<u32>, consistency: f64) -> PreferencePair {
    let (reference_chosen, reference_rejected, weight) = (0.0, 0.0, 1.0);
    PreferencePair { id, prompt, chosen, rejected, reference_chosen, reference_rejected, consistency, weight }
}

pub fn random_pairs(model: &Decoder, count: u32) -> Vec<PreferencePair> {
    let make = |(i, (prompt, responses)): (usize, (Vec<u32>, Vec<Vec<u32>>))| {
        let chosen = responses.last().unwrap().iter().copied().chain([6]).collect();
        let rejected = prompt.iter().rev().copied().chain([6]).collect();
        pair(format!("p{i}"), prompt, chosen, rejected, 0.8)
    };
    with_references(model, random_rows(count, 3).into_iter().enumerate().map(make).collect())
}

pub fn objective(batch: &ObjectiveBatch) -> Result<ObjectiveValue> {
    Ok(c_mix(batch))
}

pub fn train(model: &mut Decoder, pairs: &[PreferencePair], config: &DpoConfig) -> Vec<StepMetrics> {
    let mut steps = Vec::new();
    let mut on_step = |m: &StepMetrics| {
        steps.push(m.clone());
        Ok(())
    };
    dpo(model, pairs, &mut objective, config, &mut on_step).unwrap();
    steps
}

#[test]
fn dpo_equals_pytorch() {
    let fixture = fixture("dpo_training.json");
    for (name, run) in fixture["runs"].as_object().unwrap() {
        let (model_name, method) = name.split_once('/').unwrap();
        let mut model = load(model_name);
        let pairs = fixture["pairs"].as_array().unwrap().iter().enumerate().map(|(i, p)| {
            let consistency = if method == "cream" { p["consistency"].as_f64().unwrap() } else { 1.0 };
            let [prompt, chosen, rejected] = ["prompt_ids", "chosen_ids", "rejected_ids"].map(|key| ids(&p[key]));
            pair(format!("p{i}"), prompt, chosen, rejected, consistency)
        });
        let pairs = with_references(&model, pairs.collect());
        let steps = train(&mut model, &pairs, &dpo_config(training(5, 8)));
        let expected = run["steps"].as_array().unwrap();
        assert_eq!(steps.len(), expected.len());
        for (got, want) in steps.iter().zip(expected) {
            let what = format!("{name}, step {}", got.step);
            let near = |key: &str, want: f64, tolerance: f64| {
                let got = got.get(key).unwrap();
                assert!((got - want).abs() <= tolerance, "{what}, {key}: {got} is not {want}");
            };
            near("loss", want["loss"].as_f64().unwrap(), 1e-4);
            let norm = want["grad_norm"].as_f64().unwrap();
            near("grad_norm", norm, 1e-3 * norm);
            near("learning_rate", want["lr"].as_f64().unwrap(), 1e-12);
            for (key, values) in [("logps/chosen", "policy_chosen"), ("logps/rejected", "policy_rejected")] {
                let values = floats(&want[values]);
                near(key, values.iter().sum::<f64>() / values.len() as f64, 5e-3);
            }
        }
        assert_eq!(steps[0].get("rewards/margins"), Some(0.0), "{name}: scoring and training differ in bits");
        for (tensor, data) in model.parameters() {
            let norm = values(&data).iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
            let want = run["final_l2"][&tensor].as_f64().unwrap();
            assert!((norm - want).abs() <= 1e-4 * want, "{name}, {tensor}: norm {norm} is not {want}");
        }
    }
}

#[test]
fn schedules_equal_transformers() {
    let fixture = fixture("schedules.json");
    let kinds = [
        ("cosine", Schedule::Cosine),
        ("linear", Schedule::Linear),
        ("constant", Schedule::Constant),
        ("constant_with_warmup", Schedule::ConstantWithWarmup),
    ];
    for (name, schedule) in kinds {
        let rate = LearningRate { peak: 1.0, schedule, warmup_steps: 4, total_steps: 40 };
        let expected = floats(&fixture["lr_at_step"][name]);
        assert_eq!(expected.len(), 41);
        for (step, want) in expected.iter().enumerate() {
            assert!((rate.lr_at(step) - want).abs() < 1e-6, "{name} at {step}: {} is not {want}", rate.lr_at(step));
        }
    }
    assert_eq!([Warmup::Ratio(0.1).steps(31), Warmup::Ratio(0.0).steps(31), Warmup::Steps(3).steps(31)], [4, 0, 3]);
}

#[test]
fn gradients_equal_central_differences() {
    for name in MODELS {
        // Biases everywhere, so that each kind of parameter is met.
        let mut config = json_file(model_dir(name).join("config.json"));
        if name.starts_with("llama") {
            (config["attention_bias"], config["mlp_bias"]) = (true.into(), true.into());
        }
        config["initializer_range"] = 0.3.into();
        let config = ModelConfig::from_json(config, None).unwrap();
        let model = Decoder::random(config, 3, &Device::Cpu).unwrap();
        let rows = random_rows(6, 8);
        let groups: Vec<_> = rows
            .iter()
            .map(|(p, r)| ScoreGroup { prompt: p, responses: r.iter().map(Vec::as_slice).collect() })
            .collect();
        // Any fixed numbers: different g for every token.
        let g = |i: usize| 0.3 + 0.7 * ((i * 37 % 11) as f64 / 11.0) * if i.is_multiple_of(3) { -1.0 } else { 1.0 };
        let loss = |model: &Decoder| -> f64 {
            let flat = group_logps(model, &groups).unwrap().into_iter().flatten().flatten();
            flat.enumerate().map(|(i, logp)| g(i) * f64::from(logp)).sum()
        };
        let tokens = group_logps(&model, &groups).unwrap().iter().flatten().flatten().count();
        let weights: Vec<f32> = (0..tokens).map(|i| g(i) as f32).collect();
        let gradients = model.token_gradients(&groups_of(&rows), &weights, None, false).unwrap();
        for (i, (tensor, data)) in model.parameters().iter().enumerate() {
            let gradient = values(&gradients.tensors[i]);
            let largest = gradient.iter().fold(0f32, |a, b| a.max(b.abs()));
            assert!(largest > 0.0, "{name}, {tensor}: no gradient");
            // The coordinate with the largest gradient, and two others.
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

pub fn groups_of(rows: &[Row]) -> Vec<creamery::model::Group<'_>> {
    rows.iter()
        .map(|(p, r)| creamery::model::Group { prompt: p, responses: r.iter().map(Vec::as_slice).collect() })
        .collect()
}

#[test]
fn checkpointing_changes_no_bit() {
    for name in MODELS {
        let start = load(name);
        let rows = random_rows(8, 11);
        let tokens = group_logps(
            &start,
            &rows
                .iter()
                .map(|(p, r)| ScoreGroup { prompt: p, responses: r.iter().map(Vec::as_slice).collect() })
                .collect::<Vec<_>>(),
        )
        .unwrap();
        let weights: Vec<f32> = (0..tokens.iter().flatten().flatten().count()).map(|i| (i % 7) as f32 - 3.1).collect();
        let gradients = |checkpointing| -> Vec<Vec<u32>> {
            let gradients = start.token_gradients(&groups_of(&rows), &weights, None, checkpointing).unwrap();
            gradients.tensors.iter().map(|t| values(t).into_iter().map(f32::to_bits).collect()).collect()
        };
        assert_eq!(gradients(false), gradients(true), "{name}");

        let pairs = random_pairs(&start, 12);
        let run = |gradient_checkpointing, micro_batch_tokens| {
            let config = TrainingConfig { gradient_checkpointing, micro_batch_tokens, ..training(1, 6) };
            let mut model = start.copy().unwrap();
            let metrics = train(&mut model, &pairs, &dpo_config(config));
            (bits(&model), metrics)
        };
        for micro_batch_tokens in [8192, 64] {
            let (kept, computed) = (run(false, micro_batch_tokens), run(true, micro_batch_tokens));
            assert_ne!(kept.0, bits(&start), "{name}: nothing was trained");
            assert_eq!(kept, computed, "{name}, micro-batches of {micro_batch_tokens}");
        }
    }
}

#[test]
fn micro_batches_make_one_large_batch() {
    for name in ["llama_tied", "qwen3_qknorm"] {
        let start = load(name);
        let pairs = random_pairs(&start, 12);
        let rows: Vec<SftRow> = pairs
            .iter()
            .map(|p| SftRow { id: p.id.clone(), prompt: p.prompt.clone(), response: p.chosen.clone() })
            .collect();
        let run = |micro_batch_tokens| {
            let config = TrainingConfig { micro_batch_tokens, ..training(1, 12) };
            let config = TrainingConfig { warmup: Warmup::Steps(0), ..config };
            let (mut a, mut b) = (start.copy().unwrap(), start.copy().unwrap());
            let mut metrics = train(&mut a, &pairs, &dpo_config(config.clone()));
            sft(&mut b, &rows, &config, &mut |m| {
                metrics.push(m.clone());
                Ok(())
            })
            .unwrap();
            metrics
        };
        let (large, small) = (run(100_000), run(64));
        for (large, small) in large.iter().zip(&small) {
            for key in ["loss", "grad_norm"] {
                let (a, b) = (large.get(key).unwrap(), small.get(key).unwrap());
                assert!((a - b).abs() <= 1e-6 * a.abs().max(1.0), "{name}, {key}: {a} and {b}");
            }
        }
    }
}

#[test]
fn training_has_the_same_bits_with_one_and_two_threads() {
    let run = |threads| {
        with_threads(threads, || {
            let mut model = load("qwen2_bias");
            let pairs = random_pairs(&model, 30);
            let metrics = train(&mut model, &pairs, &dpo_config(training(2, 8)));
            (bits(&model), metrics)
        })
    };
    let (one, two) = (run(1), run(2));
    assert_eq!(one.1, two.1);
    assert_eq!(one.0, two.0);
    assert_eq!(one.1.len(), 8);
}

#[test]
fn sft_learns_responses_and_ignores_prompts() {
    let mut model = load("llama_tied");
    let rows: Vec<SftRow> = random_rows(8, 2)
        .into_iter()
        .enumerate()
        .map(|(i, (prompt, _))| SftRow { id: format!("r{i}"), response: vec![10 + i as u32, 50, 6], prompt })
        .collect();
    let (mut losses, mut seen) = (Vec::new(), 0.0);
    let mut config = TrainingConfig { warmup: Warmup::Ratio(0.1), ..training(30, 4) };
    config.optimizer.learning_rate = 5e-3;
    let expected = rows[..].iter().map(|r| -sequence_logp(&logps(&model, &r.prompt, &r.response))).sum::<f64>() / 24.0;
    sft(&mut model, &rows, &config, &mut |m| {
        losses.push(m.get("loss").unwrap());
        assert_eq!(m.total_steps, 60);
        seen = m.get("num_tokens").unwrap();
        Ok(())
    })
    .unwrap();
    // The warm-up's first step changes nothing, so the first two losses are the start's.
    assert!(((losses[0] + losses[1]) / 2.0 - expected).abs() < 1e-5, "{} {} {expected}", losses[0], losses[1]);
    assert!(losses[59] < 0.25 * losses[0], "{losses:?}");
    assert_eq!(seen, rows.iter().map(|r| 30.0 * (r.prompt.len() + 3) as f64).sum::<f64>(), "prompts and responses");
}

#[test]
fn the_nll_term_adds_the_mean_likelihood_of_chosen_tokens() {
    let start = load("llama_tied");
    let pairs = random_pairs(&start, 6);
    let nll = pairs.iter().map(|p| -p.reference_chosen / p.chosen.len() as f64).sum::<f64>() / 6.0;
    let config = DpoConfig { nll_weight: 0.5, ..dpo_config(training(1, 6)) };
    let step = &train(&mut start.copy().unwrap(), &pairs, &config)[0];
    assert!((step.get("loss").unwrap() - (2f64.ln() + 0.5 * nll)).abs() < 1e-6);
    assert!((step.get("nll_loss").unwrap() - nll).abs() < 1e-9);
    let plain = &train(&mut start.copy().unwrap(), &pairs, &dpo_config(training(1, 6)))[0];
    assert_ne!(plain.get("grad_norm"), step.get("grad_norm"));
}

/// ScPO (arXiv 2411.04109): a pair's weight counts for both terms of its loss.
#[test]
fn the_nll_term_counts_as_much_as_its_pair() {
    let start = load("llama_tied");
    let mut pairs = random_pairs(&start, 4);
    for (pair, weight) in pairs.iter_mut().zip([0.25, 0.5, 1.0, 3.0]) {
        pair.weight = weight;
    }
    let nll = pairs.iter().map(|p| p.weight * -p.reference_chosen / p.chosen.len() as f64).sum::<f64>() / 4.0;
    let config = DpoConfig { nll_weight: 0.5, ..dpo_config(training(1, 4)) };
    let step = &train(&mut start.copy().unwrap(), &pairs, &config)[0];
    let weight = (0.25 + 0.5 + 1.0 + 3.0) / 4.0;
    assert!((step.get("loss").unwrap() - (weight * 2f64.ln() + 0.5 * nll)).abs() < 1e-6);
    assert!((step.get("nll_loss").unwrap() - nll).abs() < 1e-9);

    // All weights doubled double the gradient.
    let norm =
        |pairs: &[PreferencePair]| train(&mut start.copy().unwrap(), pairs, &config)[0].get("grad_norm").unwrap();
    let doubled: Vec<_> = pairs.iter().map(|p| PreferencePair { weight: 2.0 * p.weight, ..p.clone() }).collect();
    let (once, twice) = (norm(&pairs), norm(&doubled));
    assert!((twice - 2.0 * once).abs() < 1e-4 * twice, "{twice} is not twice {once}");
    // A pair of no weight has no part in either term.
    let mut without = pairs.clone();
    without[3].weight = 0.0;
    let scaled = norm(&pairs[..3]) * 3.0 / 4.0;
    assert!((norm(&without) - scaled).abs() < 1e-4 * scaled);
}

#[test]
fn an_objective_gets_the_columns_of_its_batch() {
    let start = load("llama_tied");
    let pairs = random_pairs(&start, 5);
    let column = |name: &str, of: fn(f64) -> f64| Column {
        name: name.into(),
        values: (0..pairs.len()).map(|i| of(i as f64)).collect(),
    };
    let columns = [column("place", |i| i), column("square", |i| i * i)];
    let reference: Vec<f64> = pairs.iter().map(|p| p.reference_chosen).collect();
    let mut seen = Vec::new();
    let mut evaluate = |batch: &ObjectiveBatch, columns: &[Column]| {
        let [place, square] = columns else { panic!("{columns:?}") };
        assert_eq!((place.name.as_str(), square.name.as_str()), ("place", "square"));
        for (i, reference_chosen) in batch.reference_chosen.iter().enumerate() {
            let (place, square) = (place.values[i], square.values[i]);
            assert_eq!((*reference_chosen, square), (reference[place as usize], place * place));
            seen.push(place as usize);
        }
        Ok(c_mix(batch))
    };
    let config = DpoConfig { training: training(2, 2), ..dpo_config(training(2, 2)) };
    let mut objective = Objective { evaluate: &mut evaluate, columns: &columns };
    let mut model = start.copy().unwrap();
    dpo_with_checkpoints(&mut model, &pairs, &mut objective, &config, None, &mut |_| Ok(())).unwrap();
    let plain = &mut start.copy().unwrap();
    train(plain, &pairs, &config);
    for ((name, a), (_, b)) in model.parameters().iter().zip(plain.parameters()) {
        let of = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(of(a) == of(&b), "columns that an objective does not use change nothing: {name}");
    }
    seen.sort_unstable();
    let twice: Vec<usize> = (0..pairs.len()).flat_map(|i| [i, i]).collect();
    assert_eq!(seen, twice, "every pair in each epoch");

    for (values, part) in
        [(vec![1.0; 4], "the column 'x' has 4 values for 5 pairs"), (vec![1.0, 2.0, f64::NAN, 0.0, 0.0], "'p2'")]
    {
        let columns = [Column { name: "x".into(), values }];
        let mut objective = Objective { evaluate: &mut |batch, _| Ok(c_mix(batch)), columns: &columns };
        let error =
            dpo_with_checkpoints(&mut model, &pairs, &mut objective, &config, None, &mut |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn undecided_pairs_train_without_complaint() {
    let mut model = load("llama_tied");
    let mut pairs = random_pairs(&model, 4);
    pairs.iter_mut().for_each(|p| p.consistency = 0.5);
    let steps = train(&mut model, &pairs, &dpo_config(training(1, 4)));
    assert_eq!(steps[0].get("grad_norm"), Some(0.0));
}

#[test]
fn broken_training_is_named() {
    type Objective = fn(&ObjectiveBatch) -> Result<ObjectiveValue>;
    type Edit = fn(&mut Vec<PreferencePair>);
    let cases: [(&str, Edit, Objective, &[&str]); 8] = [
        (
            "wrong reference",
            |p| p[2].reference_chosen += 1.0,
            objective,
            &["wrong reference, template or mask", "step 1"],
        ),
        ("empty response", |p| p[1].chosen.clear(), objective, &["pair 'p1'", "chosen response", "no tokens"]),
        ("unknown token", |p| p[3].rejected.push(999), objective, &["pair 'p3'", "rejected response", "999"]),
        ("too long", |p| p[0].rejected = vec![9; 300], objective, &["pair 'p0'", "rejected response", "at most 256"]),
        ("no pairs", Vec::clear, objective, &["nothing to train on"]),
        ("NaN weight", |p| p[0].weight = f64::NAN, objective, &["pair 'p0'", "weight is NaN"]),
        (
            "NaN gradient",
            |_| {},
            |b| {
                let mut value = c_mix(b);
                value.d_chosen[1] = f64::NAN;
                Ok(value)
            },
            &["step 1", "d_chosen is NaN", "pair 'p"],
        ),
        (
            "too few values",
            |_| {},
            |b| {
                let mut value = c_mix(b);
                value.loss.pop();
                Ok(value)
            },
            &["3 values of loss for 4 pairs"],
        ),
    ];
    for (what, edit, mut objective, expected) in cases {
        let mut model = load("llama_tied");
        let mut pairs = random_pairs(&model, 4);
        edit(&mut pairs);
        let error = dpo(&mut model, &pairs, &mut objective, &dpo_config(training(1, 4)), &mut |_| Ok(()));
        let error = error.unwrap_err().to_string();
        assert!(expected.iter().all(|e| error.contains(e)), "{what}: {error}");
    }
}

#[test]
fn a_parameter_without_gradient_stops_training() {
    let mut model = load("llama_tied");
    let name = "model.layers.1.mlp.down_proj.weight";
    model.set_parameter(name, &vec![0.0; 32 * 80]).unwrap();
    let pairs = random_pairs(&model, 4);
    let error = dpo(&mut model, &pairs, &mut objective, &dpo_config(training(1, 4)), &mut |_| Ok(())).unwrap_err();
    assert!(
        error.to_string().contains("'model.layers.1.post_attention_layernorm.weight' receives no gradient"),
        "{error}"
    );
}

#[test]
fn a_run_that_diverges_stops_and_names_the_step() {
    let mut model = load("llama_tied");
    let pairs = random_pairs(&model, 4);
    let mut config = dpo_config(training(40, 4));
    (config.training.optimizer.learning_rate, config.training.schedule) = (1e30, Schedule::Constant);
    let error = dpo(&mut model, &pairs, &mut objective, &config, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("training step 2 on pairs 'p"), "{error}");
}
