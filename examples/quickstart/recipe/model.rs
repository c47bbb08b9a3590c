//! M0: trained from scratch on rows whose answers are wrong half of the time, so that it knows the tasks but
//! not to be careful. The questions of the data files are left out.

use std::path::Path;

use creamery::data::{ChatFormat, Message};
use creamery::model::{Decoder, ModelConfig, device};
use creamery::train::{OptimizerConfig, Schedule, SftRow, TrainingConfig, Warmup, sft};
use creamery::{Error, Result};

use crate::files::reserved;
use crate::tasks::{Random, corrupt, problem};

const SEED: u64 = 1;
const STEPS: usize = 2200;
const BATCH: usize = 128;
const WARMUP: usize = 100;
const LEARNING_RATE: f64 = 2e-3;

pub fn train(root: &Path) -> Result<()> {
    let folder = root.join("model");
    let chat = ChatFormat::load(&folder)?;
    let mut model = Decoder::random(ModelConfig::load(&folder)?, SEED, &device("cpu")?)?;
    let rows = rows(&chat, STEPS * BATCH)?;
    let config = TrainingConfig {
        epochs: 1,
        batch_size: BATCH,
        micro_batch_tokens: 8192,
        seed: SEED,
        optimizer: OptimizerConfig {
            learning_rate: LEARNING_RATE,
            betas: [0.9, 0.98],
            eps: 1e-8,
            weight_decay: 0.01,
            decay_all: false,
            max_grad_norm: 1.0,
        },
        schedule: Schedule::Cosine,
        warmup: Warmup::Steps(WARMUP),
        ..TrainingConfig::default()
    };
    sft(&mut model, &rows, &config, &mut |step| {
        if step.step % 100 == 0 || step.step == step.total_steps {
            let value = |name| step.get(name).unwrap_or(f64::NAN);
            println!("step {:5}  loss {:.4}  gradient norm {:.3}", step.step, value("loss"), value("grad_norm"));
        }
        Ok(())
    })?;
    model.save(&folder)
}

fn rows(chat: &ChatFormat, count: usize) -> Result<Vec<SftRow>> {
    let (reserved, mut random) = (reserved(), Random::new(SEED));
    let mut rows = Vec::with_capacity(count);
    while rows.len() < count {
        let problem = problem(rows.len() % 5, &mut random);
        if reserved.contains(&problem.question) {
            continue;
        }
        let answer = if random.below(2) == 0 { corrupt(&problem.answer, &mut random) } else { problem.answer };
        let question = Message { role: "user".into(), content: problem.question };
        let prompt = chat.encode(std::slice::from_ref(&question), true)?;
        let answer = Message { role: "assistant".into(), content: answer };
        let whole = chat.encode(&[question, answer], false)?;
        let response = whole.strip_prefix(prompt.as_slice()).map(<[u32]>::to_vec);
        let response = response.ok_or_else(|| Error::input("the template does not start with its prompt"))?;
        rows.push(SftRow { id: format!("row-{}", rows.len()), prompt, response });
    }
    Ok(rows)
}
