//! A model behind an OpenAI-compatible server: `POST ENDPOINT/chat/completions`.
//!
//! A text is one request, so that servers without `n` do as well, and a request's place in a batch decides nothing:
//! what differs between two texts to one prompt is the seed that is sent. What was answered is kept in the store, by
//! everything that was asked; a run that was killed asks nothing twice. The key is a header and nothing else.

mod answer;
mod cache;
mod client;
mod limiter;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use creamery_plugin::Generated;
use serde_json::{Value, json};

use self::answer::Kept;
use self::cache::Cache;
use self::client::Client;
use super::{Backend, Capabilities, Draws, GenerateAsk, Reply, TextAsk};
use crate::config::EndpointSlot;
use crate::error::{Error, Result};
use crate::store::ANSWERS;

/// The most that OpenAI's own servers give.
const TOP_LOGPROBS: usize = 20;

pub(super) struct Endpoint {
    client: Client,
    cache: Option<Cache>,
    served_model: String,
    concurrency: usize,
    logprobs: bool,
    seed: bool,
}

/// One request.
struct Job {
    body: Value,
    /// What besides the request makes this answer another one, where texts are drawn at random.
    draw: Value,
}

impl Endpoint {
    /// `store` is the root of the store.
    pub(super) fn open(slot: &EndpointSlot, store: &Path, warn: Arc<dyn Fn(&str) + Send + Sync>) -> Result<Endpoint> {
        let client = Client::new(slot, warn.clone())?;
        let cache = slot.cache.then(|| Cache::new(store.join(ANSWERS), &slot.endpoint, warn));
        Ok(Endpoint {
            client,
            cache,
            served_model: slot.served_model.clone(),
            concurrency: slot.concurrency,
            logprobs: slot.logprobs,
            seed: slot.seed,
        })
    }

    /// The answer to each job, in order; equal ones are asked once.
    fn all(&self, jobs: &[Job]) -> Result<Vec<Reply<Kept>>> {
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, job) in jobs.iter().enumerate() {
            places.entry(json!([job.body, job.draw]).to_string()).or_default().push(i);
        }
        let mut unique: Vec<usize> = places.values().map(|same| same[0]).collect();
        unique.sort_unstable();
        let mut answers: Vec<Option<Reply<Kept>>> = jobs.iter().map(|_| None).collect();
        let mut missing = Vec::new();
        for i in unique {
            match self.cache.as_ref().and_then(|cache| cache.get(&jobs[i].body, &jobs[i].draw)) {
                Some(kept) => answers[i] = Some(Ok(kept)),
                None => missing.push(i),
            }
        }
        for (i, answer) in self.ask_all(jobs, &missing)? {
            answers[i] = Some(answer);
        }
        for same in places.values() {
            for &i in &same[1..] {
                answers[i] = answers[same[0]].clone();
            }
        }
        let complete: Option<Vec<_>> = answers.into_iter().collect();
        complete.ok_or_else(|| Error::run("a request was not sent"))
    }

    /// Sends the jobs `wanted`, several at a time. The first error ends it; what was answered until then is kept.
    fn ask_all(&self, jobs: &[Job], wanted: &[usize]) -> Result<Vec<(usize, Reply<Kept>)>> {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done: Mutex<Vec<(usize, Result<Reply<Kept>>)>> = Mutex::new(Vec::with_capacity(wanted.len()));
        std::thread::scope(|scope| {
            for _ in 0..self.concurrency.min(wanted.len()) {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let Some(&i) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                        let answer = self.ask(&jobs[i], &stop);
                        if answer.is_err() {
                            stop.store(true, Ordering::Relaxed);
                        }
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((i, answer));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(i, _)| *i);
        done.into_iter().map(|(i, answer)| Ok((i, answer?))).collect()
    }

    fn ask(&self, job: &Job, stop: &AtomicBool) -> Result<Reply<Kept>> {
        let answer = self.client.ask(&job.body, self.cache.is_some(), stop)?;
        if let (Some(cache), Ok(kept)) = (&self.cache, &answer)
            && !kept.is_empty()
        {
            cache.put(&job.body, &job.draw, kept)?;
        }
        Ok(answer)
    }

    fn text_job(&self, ask: &GenerateAsk, draws: &Draws, index: u32) -> Job {
        let mut body = json!({
            "model": self.served_model, "messages": ask.messages, "max_tokens": ask.max_new_tokens,
            "temperature": ask.temperature, "top_p": ask.top_p,
        });
        if ask.temperature == 0.0 {
            // Greedy: seed, round and number of the text decide nothing.
            return Job { body, draw: Value::Null };
        }
        if self.seed {
            let name = json!([draws.seed, draws.round, index]).to_string();
            let hash = blake3::derive_key("creamery 1.0 seed of a request", name.as_bytes());
            // 31 bits, which every server's number has.
            body["seed"] = (u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]) >> 1).into();
        }
        Job { body, draw: json!([draws.seed, draws.round, index]) }
    }
}

impl Backend for Endpoint {
    fn capabilities(&self) -> Capabilities {
        Capabilities { response_logps: false, text_logps: false, choose: self.logprobs, generate: true }
    }

    fn choose(&mut self, asks: &[TextAsk]) -> Result<Vec<Reply<Vec<f64>>>> {
        let job = |ask: &TextAsk| Job {
            // At temperature 1 a server's log-probabilities are the model's, whichever way it computes them.
            body: json!({
                "model": self.served_model, "messages": ask.messages, "max_tokens": 1, "temperature": 1.0,
                "top_p": 1.0, "logprobs": true, "top_logprobs": TOP_LOGPROBS,
            }),
            draw: Value::Null,
        };
        let answers = self.all(&asks.iter().map(job).collect::<Vec<_>>())?;
        let distribution = |(ask, answer): (&TextAsk, Reply<Kept>)| match answer {
            Ok(kept) => match kept.distribution(&ask.texts) {
                Some(reply) => Ok(reply),
                None => Err(self
                    .client
                    .unusable("gives no log-probabilities")
                    .help("set logprobs = false, and choose a judge that reads texts")),
            },
            Err(reason) => Ok(Err(reason)),
        };
        asks.iter().zip(answers).map(distribution).collect()
    }

    fn generate(&mut self, asks: &[GenerateAsk], draws: &Draws) -> Result<Vec<Reply<Vec<Generated>>>> {
        let jobs: Vec<Job> =
            asks.iter().flat_map(|ask| (0..ask.count).map(|index| self.text_job(ask, draws, index))).collect();
        let mut answers = self.all(&jobs)?.into_iter();
        let texts = |ask: &GenerateAsk| {
            // All of this ask are taken, whatever they are.
            let texts: Vec<_> = answers.by_ref().take(ask.count as usize).collect();
            texts.into_iter().map(|answer| answer.and_then(|kept| kept.text())).collect()
        };
        Ok(asks.iter().map(texts).collect())
    }
}
