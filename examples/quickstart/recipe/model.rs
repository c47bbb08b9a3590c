//! M0: trained from scratch on rows whose answers are wrong half of the time, so that it knows the tasks but
//! not to be careful, and, once it knows them, on rows of judging. The questions of the data files are left out.

use std::path::Path;

use creamery::data::{ChatFormat, Message};
use creamery::model::{Decoder, ModelConfig, device};
use creamery::train::{OptimizerConfig, Schedule, SftRow, TrainingConfig, Warmup, sft};
use creamery::{Error, Result};

use crate::files::reserved;
use crate::judging;
use crate::tasks::{Random, corrupt, problem};

const SEED: u64 = 1;
const STEPS: usize = 5000;
/// Steps on tasks alone: who cannot solve them learns nothing from judgments of others' answers.
const TASKS_ALONE: usize = 1500;
/// Of the rows after those.
const JUDGING_PERCENT: u64 = 50;
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
        let share = if rows.len() < TASKS_ALONE * BATCH { 0 } else { JUDGING_PERCENT };
        let (prompt, response) = if random.below(100) < share {
            let kind = if random.below(2) == 0 { judging::Kind::Rate } else { judging::Kind::Compare };
            judging::example(kind, &problem, &mut random)
        } else {
            let wrong = random.below(2) == 0;
            let answer = if wrong { corrupt(&problem.answer, &mut random) } else { problem.answer };
            (problem.question, answer)
        };
        let (prompt, response) = tokens(chat, prompt, response)?;
        rows.push(SftRow { id: format!("row-{}", rows.len()), prompt, response });
    }
    Ok(rows)
}

/// Of the prompt and of what follows it.
fn tokens(chat: &ChatFormat, prompt: String, response: String) -> Result<(Vec<u32>, Vec<u32>)> {
    let question = Message { role: "user".into(), content: prompt };
    let prompt = chat.encode(std::slice::from_ref(&question), true)?;
    let answer = Message { role: "assistant".into(), content: response };
    let whole = chat.encode(&[question, answer], false)?;
    let response = whole.strip_prefix(prompt.as_slice()).map(<[u32]>::to_vec);
    let response = response.ok_or_else(|| Error::input("the template does not start with its prompt"))?;
    Ok((prompt, response))
}
