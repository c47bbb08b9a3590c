//! A training that is broken off goes on from its newest checkpoint and ends with the same bytes.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use creamery::error::{Error, Result};
use creamery::model::Decoder;
use creamery::train::{
    Checkpoints, DpoConfig, Objective, OptimizerConfig, PreferencePair, Reference, Schedule, SftRow, StepMetrics,
    TrainingConfig, Warmup, dpo_with_checkpoints, sft_with_checkpoints,
};
use creamery_plugin::objective::c_mix;
use creamery_plugin::{Column, ObjectiveBatch};
use serde_json::{Value, json};

use crate::{bits, load, tokens};

fn config() -> TrainingConfig {
    TrainingConfig {
        epochs: 2,
        batch_size: 2,
        // Two micro-batches in most steps.
        micro_batch_tokens: 24,
        seed: 5,
        optimizer: OptimizerConfig { learning_rate: 2e-3, ..Default::default() },
        schedule: Schedule::Cosine,
        warmup: Warmup::Steps(1),
        ..Default::default()
    }
}

/// Seven rows: an epoch of four steps, the last of one row.
fn rows() -> Vec<SftRow> {
    let row = |i: u32| SftRow {
        id: format!("r{i}"),
        prompt: tokens(i, 3 + i as usize % 3),
        response: tokens(100 + i, 4 + i as usize % 4),
    };
    (0..7).map(row).collect()
}

fn pairs() -> Vec<PreferencePair> {
    let pair = |(i, row): (u32, SftRow)| PreferencePair {
        id: row.id,
        prompt: row.prompt,
        chosen: row.response,
        rejected: tokens(200 + i, 5),
        reference_chosen: -20.0,
        reference_rejected: -21.5,
        consistency: 0.8,
        weight: 1.0,
    };
    (0..).zip(rows()).map(pair).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Sft,
    Dpo,
}

/// What a training made and said.
struct Outcome {
    result: Result<()>,
    bits: Vec<(String, Vec<u32>)>,
    steps: Vec<StepMetrics>,
    warnings: Vec<String>,
}

/// Trains with checkpoints in `folder`, and breaks off when step `stop` is done.
fn train(method: Method, config: &TrainingConfig, folder: &Path, save: usize, stop: usize) -> Outcome {
    train_with(method, config, folder, (save, None), stop, &pairs(), json!({ "model": "a" }))
}

fn train_with(
    method: Method,
    config: &TrainingConfig,
    folder: &Path,
    (save_steps, save_total_limit): (usize, Option<usize>),
    stop: usize,
    pairs: &[PreferencePair],
    inputs: Value,
) -> Outcome {
    let mut model = load("llama_tied");
    let warnings = RefCell::new(Vec::new());
    let checkpoints = Checkpoints {
        folder: folder.to_owned(),
        save_steps,
        save_total_limit,
        inputs,
        export: &|model: &Decoder, folder: &Path| model.save(folder.join("model")),
        warn: &|what: &str| warnings.borrow_mut().push(what.to_owned()),
    };
    let mut steps = Vec::new();
    let mut on_step = |step: &StepMetrics| {
        steps.push(step.clone());
        if step.step == stop { Err(Error::run("broken off")) } else { Ok(()) }
    };
    let result = match method {
        Method::Sft => sft_with_checkpoints(&mut model, &rows(), config, Some(&checkpoints), &mut on_step),
        Method::Dpo => {
            let config = DpoConfig {
                training: config.clone(),
                beta: 0.1,
                nll_weight: 0.1,
                expect_ln2: false,
                reference: Reference::Other,
            };
            let columns =
                [Column { name: "target".into(), values: pairs.iter().map(|p| p.consistency - 0.5).collect() }];
            let evaluate = &mut |batch: &ObjectiveBatch, columns: &[Column]| {
                let mut batch = batch.clone();
                batch.consistency.iter_mut().zip(&columns[0].values).for_each(|(c, target)| *c = target + 0.5);
                Ok(c_mix(&batch))
            };
            let objective = &mut Objective { evaluate, columns: &columns };
            dpo_with_checkpoints(&mut model, pairs, objective, &config, Some(&checkpoints), &mut on_step)
        }
    };
    Outcome { result, bits: bits(&model), steps, warnings: warnings.into_inner() }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_training_broken_off_anywhere_ends_with_the_same_bytes() {
    for method in [Method::Sft, Method::Dpo] {
        let none = tempfile::tempdir().unwrap();
        let whole = train(method, &config(), none.path(), 0, 0);
        whole.result.unwrap();
        assert_eq!(whole.steps.len(), 8);
        assert_eq!(names(none.path()), [""; 0]);
        for save in [1, 3] {
            for stop in 1..=8 {
                let folder = tempfile::tempdir().unwrap();
                let broken = train(method, &config(), folder.path(), save, stop);
                assert!(broken.result.is_err());
                let last = (stop - 1) / save * save;
                assert_eq!(folder.path().join(format!("checkpoint-{last}")).exists(), last > 0);
                let resumed = train(method, &config(), folder.path(), save, 0);
                resumed.result.unwrap();
                assert_eq!(resumed.steps, whole.steps, "{method:?}, every {save}, stopped at {stop}");
                assert!(resumed.bits == whole.bits, "{method:?}, every {save}, stopped at {stop}: other weights");
                assert_eq!(resumed.warnings, [""; 0]);
            }
        }
    }
}

#[test]
fn steps_can_end_within_an_epoch_and_rows_can_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainingConfig { max_steps: Some(6), shuffle: false, ..config() };
    let six = train(Method::Dpo, &config, folder.path(), 0, 0);
    six.result.unwrap();
    let epochs: Vec<f64> = six.steps.iter().map(|s| s.get("epoch").unwrap()).collect();
    assert_eq!(epochs, [0.25, 0.5, 0.75, 1.0, 1.25, 1.5]);
    // The first step of the second epoch has the first two rows again: as many tokens as the first of all.
    let tokens: Vec<f64> = six.steps.iter().map(|s| s.get("num_tokens").unwrap()).collect();
    assert_eq!(tokens[4] - tokens[3], tokens[0]);
    let of = |p: &PreferencePair| (2 * p.prompt.len() + p.chosen.len() + p.rejected.len()) as f64;
    assert_eq!(tokens[0], pairs()[..2].iter().map(of).sum::<f64>());
}

#[test]
fn only_the_newest_checkpoints_are_kept_and_leftovers_go() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".checkpoint-7.123.tmp")).unwrap();
    let run = |stop| train_with(Method::Sft, &config(), folder.path(), (1, Some(2)), stop, &pairs(), json!({}));
    run(7).result.unwrap_err();
    assert_eq!(names(folder.path()), ["checkpoint-5", "checkpoint-6"]);
    run(0).result.unwrap();
    assert_eq!(names(folder.path()), ["checkpoint-7", "checkpoint-8"]);
    let files = names(&folder.path().join("checkpoint-8"));
    assert_eq!(files, ["artifact.json", "model", "state.safetensors", "trainer_state.json"]);
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_used() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 6] = [
        ("'state.safetensors' has", |c| {
            let file = c.join("state.safetensors");
            let bytes = fs::read(&file).unwrap();
            fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("checksum of 'state.safetensors'", |c| {
            let file = c.join("state.safetensors");
            let mut bytes = fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&file, bytes).unwrap();
        }),
        ("'trainer_state.json' is missing", |c| fs::remove_file(c.join("trainer_state.json")).unwrap()),
        ("artifact.json", |c| fs::write(c.join("artifact.json"), "{}").unwrap()),
        ("artifact.json", |c| fs::remove_file(c.join("artifact.json")).unwrap()),
        ("'extra' does not belong", |c| fs::write(c.join("extra"), "").unwrap()),
    ];
    let none = tempfile::tempdir().unwrap();
    let whole = train(Method::Dpo, &config(), none.path(), 0, 0);
    for (what, damage) in cases {
        let folder = tempfile::tempdir().unwrap();
        train(Method::Dpo, &config(), folder.path(), 2, 7).result.unwrap_err();
        damage(&folder.path().join("checkpoint-6"));
        let resumed = train(Method::Dpo, &config(), folder.path(), 2, 0);
        resumed.result.unwrap();
        let warnings = resumed.warnings.join("\n");
        assert!(warnings.contains("checkpoint-6 is damaged") && warnings.contains(what), "{what}: {warnings}");
        assert_eq!(resumed.steps, whole.steps, "{what}");
        assert!(resumed.bits == whole.bits, "{what}: other weights");
    }
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    train(Method::Dpo, &config(), folder.path(), 2, 3).result.unwrap_err();
    let go = |method, config: &TrainingConfig, pairs: &[PreferencePair], inputs| {
        train_with(method, config, folder.path(), (2, None), 0, pairs, inputs).result
    };
    let same = json!({ "model": "a" });
    let optimizer = OptimizerConfig { learning_rate: 1e-3, ..config().optimizer };
    let mut others = pairs();
    others[3].consistency = 0.7;
    let cases = [
        ("'training.optimizer.learning_rate' is 0.002 there and 0.001 now", {
            go(Method::Dpo, &TrainingConfig { optimizer, ..config() }, &pairs(), same.clone())
        }),
        ("'training.epochs' is 2 there and 3 now", {
            go(Method::Dpo, &TrainingConfig { epochs: 3, ..config() }, &pairs(), same.clone())
        }),
        ("'data' is", go(Method::Dpo, &config(), &others, same.clone())),
        ("'inputs.model' is \"a\" there and \"b\" now", go(Method::Dpo, &config(), &pairs(), json!({ "model": "b" }))),
        ("'kind' is \"pairs\" there and \"rows\" now", go(Method::Sft, &config(), &pairs(), same.clone())),
    ];
    for (part, result) in cases {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("checkpoint-2") && error.contains("belongs to another training"), "{error}");
        assert!(error.contains(part), "no '{part}' in {error}");
    }
    go(Method::Dpo, &config(), &pairs(), same).unwrap();
}

#[test]
fn weights_that_are_not_finite_are_never_saved() {
    // One step, so that no later loss shows what it did.
    let optimizer = OptimizerConfig { learning_rate: 1e39, max_grad_norm: 1.0, ..Default::default() };
    let config = TrainingConfig { max_steps: Some(1), optimizer, schedule: Schedule::Constant, ..config() };
    let folder = tempfile::tempdir().unwrap();
    let error = train(Method::Sft, &config, folder.path(), 1, 0).result.unwrap_err().to_string();
    assert!(error.contains("step 1 left weights") && error.contains("on rows 'r"), "{error}");
    assert_eq!(names(folder.path()), [""; 0]);
}
