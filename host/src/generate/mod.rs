//! Sampling of responses, with continuous batching over a key/value cache.
//!
//! A prompt is computed once for all its samples. A finished response leaves the batch and a waiting one enters; there
//! is no padding. Each thread has a batch of its own, so that threads never wait for one another. A sample's tokens
//! and log-probabilities have the same bits whatever else is in the batch, in whatever order, on however many threads:
//! the model's operations treat rows independently, and random numbers are keyed by prompt and sample.

mod defaults;
pub mod sampler;
mod slots;
pub mod stream;
mod worker;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

pub use defaults::Defaults;
pub use sampler::{Sampler, SamplingConfig};
pub use stream::{Stream, StreamKey};

use crate::error::{Error, Result};
use crate::model::Decoder;

/// A prompt to sample responses to.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Token ids, special tokens included.
    pub prompt: &'a [u32],
    /// Responses to sample.
    pub n: usize,
    /// The number of the first of them: 0, or how many were drawn with this key before.
    pub first: usize,
    /// What the random numbers depend on; the number of the sample is added.
    pub key: StreamKey<'a>,
}

/// A sampled response.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its tokens, with the end token if it was sampled. Never empty.
    pub ids: Vec<u32>,
    /// For each token the model's log-probability, at temperature 1 and before all filters: bit-equal to scoring.
    pub logps: Vec<f32>,
    pub finish: Finish,
}

/// Why a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// An end token was sampled.
    Stop,
    /// It reached `max_new_tokens` or the end of the model's context.
    Length,
}

/// Samples responses to all requests: for each request, in order, its `n` samples.
///
/// `eos` are the token ids that end a response. `on_progress` is told how many of all samples are done.
/// Fails on an empty prompt, on a prompt that leaves no room for a response, on a token outside the vocabulary, and on
/// logits that are not finite.
pub fn generate(
    model: &Decoder,
    requests: &[Request],
    config: &SamplingConfig,
    eos: &[u32],
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<Sample>>> {
    generate_telling(model, requests, config, eos, &mut |delivery| on_progress(delivery.done, delivery.all))
}

/// A sample that was just drawn.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Its place among the requests.
    pub request: usize,
    pub sample: &'a Sample,
    /// How many samples are drawn.
    pub done: usize,
    pub all: usize,
}

/// As [`generate`]; `on_sample` sees each sample when it is drawn, in whatever order that is.
pub fn generate_telling(
    model: &Decoder,
    requests: &[Request],
    config: &SamplingConfig,
    eos: &[u32],
    on_sample: &mut dyn FnMut(&Delivery),
) -> Result<Vec<Vec<Sample>>> {
    config.validate()?;
    requests.iter().try_for_each(|r| check_prompt(model, r))?;
    let total = requests.iter().map(|r| r.n).sum();
    let mut samples: Vec<Vec<Option<Sample>>> = requests.iter().map(|r| vec![None; r.n]).collect();
    let mut done = 0;
    let mut deliver = |at: worker::Place, sample: Sample| {
        done += 1;
        on_sample(&Delivery { request: at.request, sample: &sample, done, all: total });
        samples[at.request][at.sample] = Some(sample);
    };

    let queue = Queue { requests, next: AtomicUsize::new(0) };
    let threads = rayon::current_num_threads();
    let rows = worker::rows_that_fit(model, requests, config, threads);
    if threads == 1 || requests.len() < threads {
        // Too little to share out: one batch, whose operations use the threads.
        worker::run(model, &queue, config, eos, rows, &mut |at, sample| {
            deliver(at, sample);
            true
        })?;
    } else {
        run_threads(model, &queue, config, eos, rows, threads, &mut deliver)?;
    }
    let complete = samples.into_iter().map(|row| row.into_iter().collect::<Option<Vec<_>>>());
    complete.collect::<Option<_>>().ok_or_else(|| Error::run("a response was not sampled"))
}

/// The requests that wait, handed out in order.
struct Queue<'a> {
    requests: &'a [Request<'a>],
    next: AtomicUsize,
}

impl<'a> Queue<'a> {
    fn take(&self) -> Option<(usize, &'a Request<'a>)> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        self.requests.get(index).map(|request| (index, request))
    }
}

/// A batch on each of `threads` threads, all fed from one queue.
fn run_threads(
    model: &Decoder,
    queue: &Queue,
    config: &SamplingConfig,
    eos: &[u32],
    rows: usize,
    threads: usize,
    deliver: &mut dyn FnMut(worker::Place, Sample),
) -> Result<()> {
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(move || {
                    // A pool of this one thread: the model's operations stay on it.
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
                    let pool = pool.map_err(|e| Error::run(format!("cannot start a thread for sampling: {e}")))?;
                    // A failed send means that the receiver is gone: there is nobody to sample for.
                    pool.install(|| {
                        worker::run(model, queue, config, eos, rows, &mut |at, sample| {
                            sender.send((at, sample)).is_ok()
                        })
                    })
                })
            })
            .collect();
        drop(sender);
        for (at, sample) in receiver {
            deliver(at, sample);
        }
        let results = workers.into_iter().map(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        // All are joined; the error of the first thread that has one is told.
        results.collect::<Vec<Result<()>>>().into_iter().collect()
    })
}

fn check_prompt(model: &Decoder, request: &Request) -> Result<()> {
    let (name, length, longest) = (request.key.prompt, request.prompt.len(), model.max_positions());
    if length == 0 {
        return Err(Error::input(format!("the prompt '{name}' is empty")));
    }
    if length + 1 > longest {
        return Err(Error::input(format!(
            "the prompt '{name}' has {length} tokens; with one token of a response that is more than the {longest} \
             positions of the model"
        ))
        .help("shorten the prompt, leave it out, or use a model with a longer context"));
    }
    let vocabulary = model.config.vocab_size;
    match request.prompt.iter().find(|id| **id as usize >= vocabulary) {
        Some(id) => Err(Error::input(format!(
            "the prompt '{name}' has the token {id}; the model's vocabulary has {vocabulary} entries"
        ))
        .help("the tokenizer and the model belong to different checkpoints")),
        None => Ok(()),
    }
}
