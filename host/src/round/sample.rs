//! Sampling: N responses to each prompt from a model.

use serde_json::json;

use super::groups::{self, SampledGroup, SampledResponse};
use super::models::ModelRef;
use super::setup::{Prompt, Run};
use crate::data::ChatFormat;
use crate::error::Result;
use crate::generate::{self, Request, SamplingConfig, StreamKey, generate};
use crate::model::Decoder;
use crate::store::Artifact;
use crate::train::sequence_logp;

/// The responses of M_t to the prompts of round `t`: `samples.jsonl`.
pub fn stage(run: &mut Run, t: usize, policy: &ModelRef) -> Result<Samples> {
    let s = &run.config.sample;
    let sampling = SamplingConfig {
        temperature: s.temperature as f32,
        top_p: s.top_p as f32,
        top_k: s.top_k,
        min_p: s.min_p as f32,
        max_new_tokens: s.max_new_tokens,
        ..SamplingConfig::default()
    };
    let draw = Draw { purpose: "sample", seed: run.config.seed, round: t, n: s.n, sampling };
    let prompts = run.round_prompts(t)?;
    draw.stage(run, &format!("round {t}: sample"), policy, &prompts)
}

/// An artifact of samples and the model that drew them.
pub struct Samples {
    pub artifact: Artifact,
    pub policy: ModelRef,
}

impl Samples {
    pub fn read(&self) -> Result<Vec<SampledGroup>> {
        groups::read(&self.artifact.path.join("samples.jsonl"))
    }
}

/// What to draw; shared by sampling and evaluation.
pub struct Draw {
    /// With seed, round and a prompt's id, names the random streams.
    pub purpose: &'static str,
    pub seed: u64,
    pub round: usize,
    pub n: usize,
    pub sampling: SamplingConfig,
}

impl Draw {
    pub fn stage(&self, run: &mut Run, label: &str, policy: &ModelRef, prompts: &[Prompt]) -> Result<Samples> {
        // Greedy answers have no random streams.
        let seed = (!self.sampling.is_greedy()).then_some(self.seed);
        let key = json!({
            "model": policy.id, "tokenizer": run.chat_digest, "prompts": digest(prompts), "n": self.n,
            "sampling": self.sampling, "seed": seed, "purpose": self.purpose, "round": self.round,
        });
        let artifact = run.stage(label, "sample", key, |run, folder| {
            let model = run.models.get(policy)?;
            let progress = &mut *run.progress;
            let rows = self.groups(&model, &run.chat, &run.eos, prompts, &mut |d, all| progress.update(d, all))?;
            groups::write(&folder.join("samples.jsonl"), &rows)
        })?;
        Ok(Samples { artifact, policy: policy.clone() })
    }

    /// A group per prompt, in order. `progress` is told how many of all responses are drawn.
    pub fn groups(
        &self,
        model: &Decoder,
        chat: &ChatFormat,
        eos: &[u32],
        prompts: &[Prompt],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<SampledGroup>> {
        let key = |prompt| StreamKey { seed: self.seed, purpose: self.purpose, round: self.round as u64, prompt };
        let requests: Vec<Request> =
            prompts.iter().map(|p| Request { prompt: &p.ids, n: self.n, key: key(&p.id) }).collect();
        let samples = generate(model, &requests, &self.sampling, eos, progress)?;
        let mut rows = Vec::with_capacity(prompts.len());
        for (prompt, samples) in prompts.iter().zip(samples) {
            let mut responses = Vec::with_capacity(samples.len());
            for sample in samples {
                let text = chat.tokenizer().decode(without_eos(&sample.ids, eos))?;
                let (logp, finish) = (sequence_logp(&sample.logps), finish(sample.finish));
                responses.push(SampledResponse { text, finish, ids: sample.ids, logp });
            }
            let (id, prompt_ids) = (prompt.id.clone(), prompt.ids.clone());
            rows.push(SampledGroup { id, prompt: prompt.messages.clone(), prompt_ids, responses });
        }
        Ok(rows)
    }
}

/// A response without the end-of-sequence token that ended it.
pub fn without_eos<'a>(ids: &'a [u32], eos: &[u32]) -> &'a [u32] {
    match ids.split_last() {
        Some((last, rest)) if eos.contains(last) => rest,
        _ => ids,
    }
}

/// A finish as plugins know it.
pub fn finish(finish: generate::Finish) -> creamery_plugin::Finish {
    match finish {
        generate::Finish::Stop => creamery_plugin::Finish::Stop,
        generate::Finish::Length => creamery_plugin::Finish::Length,
    }
}

/// A digest of the prompts, in order.
fn digest(prompts: &[Prompt]) -> String {
    let mut hasher = blake3::Hasher::new();
    for prompt in prompts {
        let words = prompt.messages.iter().flat_map(|m| [&m.role, &m.content]);
        for text in std::iter::once(&prompt.id).chain(words) {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hasher.update(&(prompt.ids.len() as u64).to_le_bytes());
        for id in &prompt.ids {
            hasher.update(&id.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
