//! Generation through the key/value cache: transformers' greedy tokens, and bits that depend on nothing but the sample.

use std::path::Path;

use candle_core::Device;
use creamery::generate::{Finish, Request, Sample, SamplingConfig, StreamKey, generate};
use creamery::model::{Decoder, ModelConfig, ops};
use creamery::score::{ScoreGroup, group_logps};
use serde_json::Value;

const MODELS: [&str; 5] = ["llama_tied", "llama3_rope", "mistral_window", "qwen2_bias", "qwen3_qknorm"];

fn model(name: &str) -> Decoder {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models")).join(name);
    Decoder::load(folder, &Device::Cpu).unwrap()
}

fn expected(name: &str) -> Value {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/{}/expected.json"), name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

fn key(prompt: &str) -> StreamKey<'_> {
    StreamKey { seed: 5, purpose: "sample", round: 1, prompt }
}

fn greedy(max_new_tokens: usize) -> SamplingConfig {
    SamplingConfig { greedy: true, max_new_tokens, ..SamplingConfig::default() }
}

fn sampled(max_new_tokens: usize) -> SamplingConfig {
    SamplingConfig { temperature: 1.0, top_p: 0.9, max_new_tokens, ..SamplingConfig::default() }
}

/// Runs with `threads` threads.
fn run(
    threads: usize,
    model: &Decoder,
    requests: &[Request],
    config: &SamplingConfig,
    eos: &[u32],
) -> creamery::Result<Vec<Vec<Sample>>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| generate(model, requests, config, eos, &mut |_, _| {}))
}

/// One request, one greedy sample.
fn one(model: &Decoder, prompt: &[u32], config: &SamplingConfig, eos: &[u32]) -> Sample {
    let request = Request { prompt, n: 1, first: 0, key: key("p") };
    run(1, model, &[request], config, eos).unwrap().remove(0).remove(0)
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    for name in MODELS {
        let case = &expected(name)["greedy"];
        let (prompt, new) = (ids(&case["prompt_ids"]), ids(&case["new_ids"]));
        let sample = one(&model(name), &prompt, &greedy(new.len()), &[6]);
        assert_eq!(sample.ids, new, "{name}");
    }
}

/// Prompts of many lengths, with many samples: more rows than a batch holds.
fn prompts() -> Vec<Vec<u32>> {
    (0..23u32).map(|i| (0..1 + i * i % 37).map(|j| 7 + (i * 31 + j * 17) % 300).collect()).collect()
}

#[test]
fn a_sample_has_the_same_bits_in_every_batch_and_its_logps_are_those_of_scoring() {
    for name in MODELS {
        let model = model(name);
        let prompts = prompts();
        let names: Vec<String> = (0..prompts.len()).map(|i| format!("row-{i}")).collect();
        let request = |i: usize| Request { prompt: &prompts[i], n: 1 + i % 6, first: 0, key: key(&names[i]) };
        let requests: Vec<Request> = (0..prompts.len()).map(request).collect();
        // Many end tokens, so that rows leave and enter at every step.
        let (config, eos) = (sampled(40), (0..12).map(|i| i * 25 + 6).collect::<Vec<u32>>());

        let together = run(1, &model, &requests, &config, &eos).unwrap();
        assert_eq!(together, run(2, &model, &requests, &config, &eos).unwrap(), "{name}: two threads");
        let reversed: Vec<Request> = requests.iter().rev().copied().collect();
        let mut back = run(1, &model, &reversed, &config, &eos).unwrap();
        back.reverse();
        assert_eq!(together, back, "{name}: order");
        for (i, request) in requests.iter().enumerate() {
            let alone = run(1 + i % 2, &model, &[*request], &config, &eos).unwrap();
            assert_eq!(alone[0], together[i], "{name}: request {i} alone");
            let first = run(1, &model, &[Request { n: 1, ..*request }], &config, &eos).unwrap();
            assert_eq!(first[0][0], together[i][0], "{name}: the first sample of request {i} alone");
        }
        let all: Vec<&Sample> = together.iter().flatten().collect();
        assert!(all.iter().any(|s| s.finish == Finish::Stop) && all.iter().any(|s| s.ids.len() > 10));
        assert_ne!(together[5][0].ids, together[5][1].ids);

        let groups: Vec<ScoreGroup> = prompts
            .iter()
            .zip(&together)
            .map(|(prompt, samples)| ScoreGroup {
                prompt,
                responses: samples.iter().map(|s| s.ids.as_slice()).collect(),
            })
            .collect();
        for (i, (scores, samples)) in group_logps(&model, &groups).unwrap().iter().zip(&together).enumerate() {
            for (score, sample) in scores.iter().zip(samples) {
                assert_eq!(score, &sample.logps, "{name}: scores of request {i}");
            }
        }
    }
}

/// Sums over keys are cut into parts beyond some hundred keys; a window drops the first keys.
#[test]
fn logps_are_those_of_scoring_in_a_long_context() {
    for (name, window) in [("llama_tied", None), ("mistral_window", Some(450))] {
        let folder = tempfile::tempdir().unwrap();
        let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/{}/config.json"), name);
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        config["max_position_embeddings"] = 1100.into();
        if let Some(window) = window {
            config["sliding_window"] = window.into();
        }
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let mut config = ModelConfig::load(folder.path()).unwrap();
        config.initializer_range = 0.3;
        let model = Decoder::random(config, 1, &Device::Cpu).unwrap();
        let prompt: Vec<u32> = (0..370).map(|i| 7 + i * 17 % 300).collect();
        let requests = [
            Request { prompt: &prompt, n: 2, first: 0, key: key("p") },
            Request { prompt: &[1], n: 1, first: 0, key: key("q") },
        ];
        let samples = run(1, &model, &requests, &sampled(730), &[]).unwrap();
        assert_eq!(samples[0][1].ids.len(), 730);
        for (request, samples) in requests.iter().zip(&samples) {
            let responses = samples.iter().map(|s| s.ids.as_slice()).collect();
            let scores = group_logps(&model, &[ScoreGroup { prompt: request.prompt, responses }]).unwrap();
            for (sample, score) in samples.iter().zip(&scores[0]) {
                let first = sample.logps.iter().zip(score).position(|(a, b)| a.to_bits() != b.to_bits());
                assert_eq!(first, None, "{name}: the first token with other bits");
            }
        }
    }
}

#[test]
fn a_response_ends_where_it_must() {
    let model = model("llama_tied");
    let case = &expected("llama_tied")["greedy"];
    let (prompt, new) = (ids(&case["prompt_ids"]), ids(&case["new_ids"]));
    let unseen = (0..320).filter(|t| !new.contains(t)).collect::<Vec<u32>>();
    for (eos, max, length, finish) in [
        (vec![new[3]], 24, 4, Finish::Stop),
        (vec![unseen[0], new[7], new[2]], 24, 3, Finish::Stop),
        // The end token as the last token that is allowed is an end, not a cut.
        (vec![new[3]], 4, 4, Finish::Stop),
        (vec![new[3]], 3, 3, Finish::Length),
        (vec![new[0]], 24, 1, Finish::Stop),
        (vec![], 1, 1, Finish::Length),
        (vec![], 24, 24, Finish::Length),
    ] {
        let sample = one(&model, &prompt, &greedy(max), &eos);
        assert_eq!((sample.finish, sample.ids.len()), (finish, length), "{eos:?} {max}");
        assert_eq!(sample.ids, new[..length], "{eos:?} {max}");
        assert_eq!(sample.logps.len(), length);
        assert!(sample.logps.iter().all(|l| *l <= 0.0));
    }
}

#[test]
fn a_response_ends_with_the_context() {
    let model = model("llama_tied");
    for (prompt, room) in [(250, 6), (255, 1)] {
        let tokens = vec![9; prompt];
        let sample = one(&model, &tokens, &greedy(100), &[]);
        assert_eq!((sample.ids.len(), sample.finish), (room, Finish::Length));
    }
}

#[test]
fn progress_tells_every_sample() {
    let model = model("llama_tied");
    for threads in [1, 2] {
        let requests = [3, 0, 2, 4].map(|n| Request { prompt: &[1, 2, 3], n, first: 0, key: key("p") });
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut seen = Vec::new();
        // The callback is on the thread of the caller, so it may hold what it likes.
        let samples =
            pool.install(|| generate(&model, &requests, &sampled(5), &[6], &mut |done, all| seen.push((done, all))));
        assert_eq!(samples.unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [3, 0, 2, 4]);
        assert_eq!(seen, (1..=9).map(|i| (i, 9)).collect::<Vec<_>>());
    }
    let nothing = generate(&model, &[], &sampled(5), &[6], &mut |_, _| panic!("nothing to tell"));
    assert!(nothing.unwrap().is_empty());
}

#[test]
fn a_prompt_that_cannot_be_answered_is_named() {
    let model = model("llama_tied");
    let (long, full) = (vec![9; 257], vec![9; 256]);
    for (prompt, expected) in [
        (&[][..], "'row-7' is empty"),
        (&long[..], "'row-7' has 257 tokens"),
        (&full[..], "256 positions"),
        (&[9, 320][..], "token 320"),
    ] {
        let requests = [
            Request { prompt: &[1], n: 1, first: 0, key: key("ok") },
            Request { prompt, n: 1, first: 0, key: key("row-7") },
        ];
        let error = run(2, &model, &requests, &greedy(3), &[]).unwrap_err();
        assert!(error.message().contains(expected), "{error}");
        assert_eq!(error.kind(), creamery::Kind::Input);
    }
    let request = Request { prompt: &[1], n: 1, first: 0, key: key("p") };
    let error = run(1, &model, &[request], &greedy(0), &[]).unwrap_err();
    assert!(error.message().contains("max_new_tokens"), "{error}");
}

#[test]
fn a_diverged_model_is_an_error_that_names_the_prompt() {
    for threads in [1, 2] {
        let mut model = model("llama_tied");
        let (_, norm) = model.parameters().into_iter().find(|(name, _)| name == "model.norm.weight").unwrap();
        ops::write(&norm, |weights| weights[3] = f32::NAN).unwrap();
        model.parameters_changed();
        let requests = [0, 1, 2, 3].map(|_| Request { prompt: &[1, 2], n: 2, first: 0, key: key("row-7") });
        for config in [greedy(3), sampled(3)] {
            let error = run(threads, &model, &requests, &config, &[6]).unwrap_err();
            assert!(error.message().contains("NaN"), "{error}");
            assert!(error.to_string().contains("'row-7'"), "{error}");
        }
    }
}
