//! Sampling: N responses to each prompt from a model.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use serde_json::{Value, json};

use super::groups::{self, SampledGroup, SampledResponse};
use super::models::ModelRef;
use super::setup::{Prompt, Run};
use super::viewpoints;
use crate::config::RunConfig;
use crate::data::ChatFormat;
use crate::error::Result;
use crate::generate::{self, Delivery, Request, SamplingConfig, StreamKey, generate_telling};
use crate::model::Decoder;
use crate::store::Artifact;
use crate::train::sequence_logp;

/// The responses of M_t to the prompts of round `t`, and those of the models of `[[sample.from]]`: `samples.jsonl`.
///
/// Temporal self-rewarding (arXiv 2508.06026) takes the rejected responses from an earlier model's. Where that model is
/// M_t itself, as M1 is in the first round, its responses are fresh ones all the same: every source has random streams
/// of its own.
pub fn stage(run: &mut Run, t: usize, policy: &ModelRef) -> Result<Samples> {
    let draw = of_round(run.config, t);
    let prompts = run.round_prompts(t)?;
    let label = format!("round {t}: sample");
    let own = draw.stage(run, &label, policy, &prompts)?;
    draw.with_sources(run, t, &label, own, &prompts)
}

/// What is drawn from the policy of round `t`.
pub fn of_round(config: &RunConfig, t: usize) -> Draw<'static> {
    let s = &config.sample;
    let sampling = SamplingConfig {
        temperature: s.temperature as f32,
        top_p: s.top_p as f32,
        top_k: s.top_k,
        min_p: s.min_p as f32,
        max_new_tokens: s.max_new_tokens,
        ..SamplingConfig::default()
    };
    Draw { purpose: "sample", seed: config.seed, round: t, n: s.n, sampling }
}

/// An artifact of samples and the models that drew them.
pub struct Samples {
    pub artifact: Artifact,
    pub drawn_by: DrawnBy,
}

/// The models that drew the responses.
#[derive(Clone, Debug, PartialEq)]
pub struct DrawnBy {
    pub policy: ModelRef,
    /// The other models by name.
    pub sources: BTreeMap<String, ModelRef>,
}

impl DrawnBy {
    /// The model of a response, whose `logp` is under this model alone.
    pub fn model(&self, response: &SampledResponse) -> Option<&ModelRef> {
        match &response.source {
            None => Some(&self.policy),
            Some(name) => self.sources.get(name),
        }
    }
}

impl Samples {
    pub fn read(&self) -> Result<Vec<SampledGroup>> {
        groups::read(&self.artifact.path.join("samples.jsonl"))
    }
}

/// The purpose of the random streams of a source, beside those of `purpose`.
pub fn source_purpose(purpose: &str, source: &str) -> String {
    format!("{purpose} source {source}")
}

/// What to draw; shared by sampling and evaluation.
#[derive(Clone)]
pub struct Draw<'a> {
    /// With seed, round and a prompt's id, names the random streams.
    pub purpose: &'a str,
    pub seed: u64,
    pub round: usize,
    pub n: usize,
    pub sampling: SamplingConfig,
}

impl Draw<'_> {
    /// What decides the samples. The arguments are digests.
    pub fn key(&self, model: &str, tokenizer: &str, prompts: &str) -> Value {
        // Greedy answers have no random streams.
        let seed = (!self.sampling.is_greedy()).then_some(self.seed);
        json!({
            "model": model, "tokenizer": tokenizer, "prompts": prompts, "n": self.n, "sampling": self.sampling,
            "seed": seed, "purpose": self.purpose, "round": self.round,
        })
    }

    pub fn stage(&self, run: &mut Run, label: &str, policy: &ModelRef, prompts: &[Prompt]) -> Result<Samples> {
        let key = self.key(&policy.id, &run.chat_digest, &digest(prompts));
        let artifact = run.stage(label, "sample", key, |run, folder| {
            let model = run.models.get(policy)?;
            let progress = &mut *run.progress;
            let mut tokens = 0;
            let rows = self.groups(&model, &run.chat, &run.eos, prompts, &mut |drawn| {
                tokens += drawn.tokens();
                progress.update(drawn.done(), drawn.all());
                progress.tokens(tokens);
                if progress.wants_sample() {
                    progress.sample(drawn.prompt(), &drawn.text());
                }
            })?;
            groups::write(&folder.join("samples.jsonl"), &rows)
        })?;
        if artifact.hit
            && let Some((prompt, response)) = first_sample(&artifact)
        {
            run.progress.sample(&prompt, &response);
        }
        Ok(Samples { artifact, drawn_by: DrawnBy { policy: policy.clone(), sources: BTreeMap::new() } })
    }

    /// `own` with the responses of the models of `[[sample.from]]` behind the policy's, in the order of the config; `own`
    /// itself where there are none. A source gives as many responses for each of the policy's as in sampling, at least
    /// one. Its samples are an artifact of their own, for all runs that draw them.
    pub fn with_sources(
        &self,
        run: &mut Run,
        t: usize,
        label: &str,
        own: Samples,
        prompts: &[Prompt],
    ) -> Result<Samples> {
        let sources = run.sources.clone();
        if sources.is_empty() {
            return Ok(own);
        }
        let mut drawn_by = own.drawn_by.clone();
        let mut all = vec![(None, own.artifact)];
        for source in sources {
            let model = viewpoints::model_of(run, t, &source.model, source.external.as_ref())?;
            let purpose = source_purpose(self.purpose, &source.name);
            let draw = Draw { purpose: &purpose, n: self.n_of(run.config, source.n), ..self.clone() };
            let samples = draw.stage(run, &format!("{label} from {}", source.name), &model, prompts)?;
            all.push((Some(source.name.clone()), samples.artifact));
            drawn_by.sources.insert(source.name, model);
        }
        let key = merged_key(all.iter().map(|(source, artifact)| (source.as_deref(), artifact.id.as_str())));
        let artifact = run.stage(&format!("{label}: merge"), "sample", key, |_, folder| {
            let read = |(source, artifact): &(Option<String>, Artifact)| {
                Ok((source.clone(), groups::read(&artifact.path.join("samples.jsonl"))?))
            };
            let merged = merge(all.iter().map(read).collect::<Result<_>>()?)?;
            groups::write(&folder.join("samples.jsonl"), &merged)
        })?;
        Ok(Samples { artifact, drawn_by })
    }

    /// Responses to each prompt of a source that gives `n` in sampling.
    pub fn n_of(&self, config: &RunConfig, n: usize) -> usize {
        (self.n * n / config.sample.n).max(1)
    }

    /// A group per prompt, in order. `progress` is told of each response as it is drawn.
    pub fn groups(
        &self,
        model: &Decoder,
        chat: &ChatFormat,
        eos: &[u32],
        prompts: &[Prompt],
        progress: &mut dyn FnMut(&Drawn),
    ) -> Result<Vec<SampledGroup>> {
        let key = |prompt| StreamKey { seed: self.seed, purpose: self.purpose, round: self.round as u64, prompt };
        let requests: Vec<Request> =
            prompts.iter().map(|p| Request { prompt: &p.ids, n: self.n, first: 0, key: key(&p.id) }).collect();
        let samples = generate_telling(model, &requests, &self.sampling, eos, &mut |delivery| {
            progress(&Drawn { delivery, prompts, chat, eos });
        })?;
        let mut rows = Vec::with_capacity(prompts.len());
        for (prompt, samples) in prompts.iter().zip(samples) {
            let mut responses = Vec::with_capacity(samples.len());
            for sample in samples {
                let text = chat.tokenizer().decode(without_eos(&sample.ids, eos))?;
                let (logp, finish) = (sequence_logp(&sample.logps), finish(sample.finish));
                responses.push(SampledResponse { text, finish, ids: sample.ids, logp, source: None });
            }
            let (id, prompt_ids) = (prompt.id.clone(), prompt.ids.clone());
            rows.push(SampledGroup { id, prompt: prompt.messages.clone(), prompt_ids, responses });
        }
        Ok(rows)
    }
}

/// What decides merged samples: the sources, `None` for the policy, and the ids of their samples.
pub fn merged_key<'a>(all: impl Iterator<Item = (Option<&'a str>, &'a str)>) -> Value {
    json!({ "merged": all.collect::<Vec<_>>() })
}

/// The first prompt's last message and the first response to it, for a person to see.
fn first_sample(artifact: &Artifact) -> Option<(String, String)> {
    const LONGEST: u64 = 1 << 20;
    let file = File::open(artifact.path.join("samples.jsonl")).ok()?;
    let mut line = String::new();
    BufReader::new(file.take(LONGEST)).read_line(&mut line).ok()?;
    let group: SampledGroup = serde_json::from_str(&line).ok()?;
    Some((group.prompt.last()?.content.clone(), group.responses.first()?.text.clone()))
}

/// A response that was just drawn.
pub struct Drawn<'a> {
    delivery: &'a Delivery<'a>,
    prompts: &'a [Prompt],
    chat: &'a ChatFormat,
    eos: &'a [u32],
}

impl Drawn<'_> {
    /// How many are drawn.
    pub fn done(&self) -> usize {
        self.delivery.done
    }

    pub fn all(&self) -> usize {
        self.delivery.all
    }

    /// Of this response.
    pub fn tokens(&self) -> usize {
        self.delivery.sample.ids.len()
    }

    /// The prompt's last message.
    pub fn prompt(&self) -> &str {
        self.prompts[self.delivery.request].messages.last().map_or("", |m| &m.content)
    }

    /// The response, for a person to see; what cannot be decoded is empty here, and an error later.
    pub fn text(&self) -> String {
        let ids = without_eos(&self.delivery.sample.ids, self.eos);
        self.chat.tokenizer().decode(ids).unwrap_or_default()
    }
}

/// The groups of the first list, with the responses of the others behind theirs, marked by the lists' sources.
fn merge(lists: Vec<(Option<String>, Vec<SampledGroup>)>) -> Result<Vec<SampledGroup>> {
    let mut lists = lists.into_iter();
    let mut merged = lists.next().map(|(_, groups)| groups).unwrap_or_default();
    for (source, groups) in lists {
        let by_id = groups::by_id(&groups, |group| &group.id);
        for group in &mut merged {
            let more = &groups::joined(&by_id, &group.id)?.responses;
            group.responses.extend(more.iter().map(|r| SampledResponse { source: source.clone(), ..r.clone() }));
        }
    }
    Ok(merged)
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
pub fn digest(prompts: &[Prompt]) -> String {
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
