//! The sampler against transformers.

use super::*;

fn plain() -> SamplingConfig {
    SamplingConfig { temperature: 1.0, top_p: 1.0, ..SamplingConfig::default() }
}

#[test]
fn filters_leave_the_probabilities_of_transformers() {
    for case in fixture("sampling.json")["cases"].as_array().unwrap() {
        let config = match case["filter"].as_str().unwrap() {
            "t0.8_p0.95" => SamplingConfig { temperature: 0.8, top_p: 0.95, ..plain() },
            "t1_k5" => SamplingConfig { top_k: 5, ..plain() },
            "t0.5_k20_p0.7" => SamplingConfig { temperature: 0.5, top_k: 20, top_p: 0.7, ..plain() },
            "t1.3_minp0.1" => SamplingConfig { temperature: 1.3, min_p: 0.1, ..plain() },
            "rep1.2" => SamplingConfig { repetition_penalty: 1.2, ..plain() },
            "p_tiny" => SamplingConfig { top_p: 1e-6, ..plain() },
            other => panic!("unknown filter {other}"),
        };
        let logits: Vec<f32> = floats(&case["logits"]).into_iter().map(|x| x as f32).collect();
        let (prompt, response) = (ids(&case["previous_ids"]), []);
        let found = Sampler::new(&config).unwrap().probabilities(&logits, &prompt, &response).unwrap();
        for (i, (found, expected)) in found.iter().zip(floats(&case["probabilities"])).enumerate() {
            assert!((found - expected).abs() <= 1e-6, "{}: token {i}: {found}, {expected}", case["filter"]);
            assert_eq!(*found == 0.0, expected == 0.0, "{}: token {i}", case["filter"]);
        }
    }
}

/// Logits without order or ties, the same on every machine.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..len).map(|_| 4.0 * (next() + next() + next() - 1.5)).collect()
}

#[test]
fn a_large_vocabulary_keeps_the_same_nucleus_as_a_full_sort() {
    for (len, p, seed) in [(320, 0.95, 1), (5000, 0.95, 2), (5000, 0.3, 3), (49_152, 0.999, 4), (33, 0.5, 5)] {
        let logits = noise(len, seed);
        let config = SamplingConfig { top_p: p, ..plain() };
        let found = Sampler::new(&config).unwrap().probabilities(&logits, &[], &[]).unwrap();
        let mut sorted: Vec<(f64, usize)> = logits.iter().enumerate().map(|(i, x)| (f64::from(*x).exp(), i)).collect();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let total: f64 = sorted.iter().map(|x| x.0).sum();
        let mut before = 0.0;
        let mut kept = Vec::new();
        for (weight, id) in sorted {
            if before / total >= f64::from(p) {
                break;
            }
            before += weight;
            kept.push(id);
        }
        assert_eq!(found.iter().filter(|p| **p > 0.0).count(), kept.len(), "{len} {p}");
        assert!(kept.iter().all(|&i| found[i] > 0.0), "{len} {p}");
        assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}

#[test]
fn draws_follow_the_probabilities() {
    let logits = [1.0f32, 3.0, 2.0, -1.0, 2.5];
    let config = SamplingConfig { top_p: 0.97, ..plain() };
    let mut sampler = Sampler::new(&config).unwrap();
    let expected = sampler.probabilities(&logits, &[], &[]).unwrap();
    let mut counts = [0usize; 5];
    let draws = 20_000u64;
    for i in 0..draws {
        // Evenly spaced numbers: the counts are exact up to one at each border.
        let token = sampler.choose(&logits, &[], &[], || i * (u64::MAX / draws)).unwrap();
        counts[token as usize] += 1;
    }
    for (count, p) in counts.iter().zip(&expected) {
        assert!((*count as f64 - p * draws as f64).abs() <= 2.0, "{counts:?} {expected:?}");
    }
    assert!(expected[3] == 0.0 && counts[3] == 0);
    for extreme in [0, u64::MAX] {
        let token = sampler.choose(&logits, &[], &[], || extreme).unwrap();
        assert!(expected[token as usize] > 0.0);
    }
}

#[test]
fn greedy_takes_the_first_largest_and_draws_nothing() {
    for config in [SamplingConfig { temperature: 0.0, ..plain() }, SamplingConfig { greedy: true, ..plain() }] {
        let mut sampler = Sampler::new(&config).unwrap();
        let token = sampler.choose(&[0.0, 2.0, 1.0, 2.0], &[], &[], || panic!("no draw")).unwrap();
        assert_eq!(token, 1);
    }
    let config = SamplingConfig { greedy: true, repetition_penalty: 3.0, ..plain() };
    let mut sampler = Sampler::new(&config).unwrap();
    assert_eq!(sampler.choose(&[0.0, 2.0, 1.0], &[1], &[], || 0).unwrap(), 2);
    assert_eq!(sampler.choose(&[0.0, 2.0, 1.0], &[1], &[2], || 0).unwrap(), 1);
}

#[test]
fn logits_that_are_no_numbers_are_an_error() {
    for config in [plain(), SamplingConfig { greedy: true, ..plain() }] {
        let mut sampler = Sampler::new(&config).unwrap();
        for (logits, expected) in [
            ([0.0, f32::NAN, 1.0], "NaN"),
            ([f32::NAN; 3], "NaN"),
            ([f32::NEG_INFINITY; 3], "finite"),
            ([0.0, f32::INFINITY, 1.0], "finite"),
        ] {
            let error = sampler.choose(&logits, &[], &[], || 0).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
            assert_eq!(error.kind(), creamery::Kind::Run);
        }
        assert!(sampler.choose(&[f32::NEG_INFINITY, 0.0], &[], &[], || 0).is_ok());
    }
}

#[test]
fn a_setting_out_of_range_is_named() {
    for (config, name) in [
        (SamplingConfig { temperature: -1.0, ..plain() }, "temperature"),
        (SamplingConfig { temperature: f32::NAN, ..plain() }, "temperature"),
        (SamplingConfig { top_p: 0.0, ..plain() }, "top_p"),
        (SamplingConfig { top_p: 1.5, ..plain() }, "top_p"),
        (SamplingConfig { min_p: -0.1, ..plain() }, "min_p"),
        (SamplingConfig { repetition_penalty: 0.0, ..plain() }, "repetition_penalty"),
        (SamplingConfig { max_new_tokens: 0, ..plain() }, "max_new_tokens"),
    ] {
        let error = Sampler::new(&config).err().expect("out of range");
        assert!(error.message().starts_with(name), "{error}");
    }
}
