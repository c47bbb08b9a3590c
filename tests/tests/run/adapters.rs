//! Runs with LoRA.

use super::*;

/// With `[lora]` every model is an adapter on M0, which any program can load.
#[test]
fn a_run_with_adapters() {
    let world = World::new();
    let lora =
        ["--set", "lora.r=4", "--set", "lora.dropout=0.1", "--set", "lora.target-modules=[\"q_proj\", \"down_proj\"]"];
    let with = |more: &[&str]| world.ok(&[&lora[..], &["--set", "train.learning-rate=1e-3"], more].concat());
    // What an earlier run of all weights left must not stay beside the adapters.
    world.ok(&["--set", "rounds.count=1"]);
    assert!(world.results("out").contains_key("M1/model.safetensors"));
    with(&["--threads", "1"]);
    let results = world.results("out");
    let base = Decoder::load(world.path("model"), &Device::Cpu).unwrap();
    let mut logits = vec![base.logits(&[5, 9, 30]).unwrap()];
    for model in ["M1", "M2", "M3"] {
        for file in ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"] {
            assert!(results.contains_key(&format!("{model}/{file}")), "no {model}/{file}");
        }
        for file in ["config.json", "model.safetensors"] {
            assert!(!results.contains_key(&format!("{model}/{file}")), "{model}/{file} is there");
        }
        let folder = world.path("out").join(model);
        assert_eq!(Path::new(&adapter_base(&folder).unwrap()), world.path("model"));
        let adapted = base.load_adapter(&folder).unwrap();
        assert_eq!(adapted.parameters().len(), 2 * 2 * base.config.num_layers);
        logits.push(adapted.logits(&[5, 9, 30]).unwrap());
    }
    for (i, one) in logits.iter().enumerate() {
        assert!(logits[..i].iter().all(|other| other != one), "M{i} is an earlier model");
    }
    let metrics = String::from_utf8(results["metrics.jsonl"].clone()).unwrap();
    let rows: Vec<serde_json::Value> = metrics.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for round in [1, 2] {
        let first = rows.iter().find(|r| r["stage"] == "train" && r["round"] == round).expect("a step");
        // The check without dropout has passed; with it the first loss of later rounds is near ln 2.
        assert!((first["loss"].as_f64().unwrap() - std::f64::consts::LN_2).abs() < 0.2, "{first}");
    }

    // Another thread count and store, and a resumed run: the same bytes.
    with(&["--threads", "2", "--set", "out=second", "--set", "store=second-store"]);
    assert_same(&results, &world.results("second"), "two threads");
    with(&["--set", "out=third"]);
    assert_same(&results, &world.results("third"), "from the store");
    let timings = fs::read_to_string(world.path("third/timings.json")).unwrap();
    assert!(!timings.contains("\"reused\": false"), "everything is reused:\n{timings}");

    // The published adapter is a scoring reference like any model.
    with(&["--set", "model.scoring-reference=out/M1", "--set", "judge.params.score=log-ratio", "--set", "out=fourth"]);
    // Merged, it is a model.
    let merged = world.path("merged");
    let ran = Command::new(env!("CARGO_BIN_EXE_creamery-under-test"))
        .args(["merge", "--model"])
        .arg(world.path("model"))
        .arg("--adapter")
        .arg(world.path("out/M3"))
        .arg("--out")
        .arg(&merged)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let whole = Decoder::load(&merged, &Device::Cpu).unwrap().logits(&[5, 9, 30]).unwrap();
    let largest = logits[3].iter().fold(0f32, |a, b| a.max(b.abs()));
    assert!(whole.iter().zip(&logits[3]).all(|(a, b)| (a - b).abs() <= 1e-5 * largest));
    for entry in fs::read_dir(world.path("model")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(merged.join(&name).is_file(), "no {name:?} in the merged folder");
    }
}

#[test]
fn adapter_settings_that_do_not_fit_stop_the_run_before_it_starts() {
    let world = World::new();
    let cases: [(&[&str], &[&str], i32); 3] = [
        (&["lora.target-modules=[\"q_prj\"]"], &["target module 'q_prj'", "[lora]", "q_proj, k_proj"], 2),
        (&["lora.r=4000"], &["rank 4000 is more than", "[lora]"], 2),
        (&["model.path=adapter"], &["`model.path` is an adapter", "creamery merge"], 3),
    ];
    let base = Decoder::load(world.path("model"), &Device::Cpu).unwrap();
    let adapter = base.add_adapter(&LoraConfig { r: 2, ..LoraConfig::default() }, 1).unwrap();
    adapter.save_adapter(world.path("adapter"), world.path("model").to_str().unwrap()).unwrap();
    for (sets, parts, code) in cases {
        let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let output = world.run(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{sets:?}: {errors}");
        for part in parts {
            assert!(errors.contains(part), "{sets:?}: no {part:?} in {errors}");
        }
        assert!(!world.path("out").exists());
    }
}
