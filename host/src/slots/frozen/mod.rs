//! Frozen models that candle-transformers computes: other families than our own, and quantized files. On the CPU, in
//! f32 where weights are not quantized.
//!
//! A network gives the logits after the last token it was fed, so a continuation goes through it token by token. One
//! sequence is computed at a time: nothing else can change its bits.

mod chat;
mod families;
mod gguf;
mod weights;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use candle_core::{DType, Device, Tensor};

pub(super) use chat::{FrozenModel, Source};
pub(super) use families::{config_file, is_own_family};

use crate::error::{Error, Result};
use crate::generate::{Finish, Sample, Sampler, SamplingConfig, StreamKey};
use crate::model::token_logp;

/// A judging prompt is never as long; tables of positions are made up to here.
const MAX_CONTEXT: usize = 32_768;

/// One of candle-transformers' models, with its memory of what it was fed.
pub(super) trait Network {
    /// Forgets everything.
    fn start(&mut self);

    /// Feeds tokens after the `fed` ones before; the logits after the last.
    fn step(&mut self, tokens: &[u32], fed: usize) -> candle_core::Result<Tensor>;

    /// The same network with the same memory, if it can be copied.
    fn fork(&self) -> Option<Box<dyn Network>>;
}

/// A network whose copies share its weights, and whose memory is a tensor that is never written into.
pub(super) struct Copied<M> {
    pristine: M,
    live: M,
    forward: Forward<M>,
}

type Forward<M> = fn(&mut M, &Tensor, usize) -> candle_core::Result<Tensor>;

impl<M: Clone + 'static> Copied<M> {
    pub(super) fn network(model: M, forward: Forward<M>) -> Box<dyn Network> {
        Box::new(Copied { live: model.clone(), pristine: model, forward })
    }
}

impl<M: Clone + 'static> Network for Copied<M> {
    fn start(&mut self) {
        self.live = self.pristine.clone();
    }

    fn step(&mut self, tokens: &[u32], fed: usize) -> candle_core::Result<Tensor> {
        (self.forward)(&mut self.live, &row(tokens)?, fed)
    }

    fn fork(&self) -> Option<Box<dyn Network>> {
        let (pristine, live) = (self.pristine.clone(), self.live.clone());
        Some(Box::new(Copied { pristine, live, forward: self.forward }))
    }
}

/// [1, tokens]
fn row(tokens: &[u32]) -> candle_core::Result<Tensor> {
    Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)
}

/// A network that is loaded, with what bounds its input.
pub struct Frozen {
    network: Box<dyn Network>,
    vocabulary: usize,
    context: usize,
    /// What the file itself names, if it does.
    eos: Option<u32>,
}

impl Frozen {
    /// Loads a Hugging Face folder of a family that candle-transformers knows.
    ///
    /// # Errors
    /// A family or an option that is not supported, and weights that are not those of `config.json`.
    pub fn open(folder: &Path) -> Result<Frozen> {
        families::open(folder)
    }

    /// Loads a GGUF file.
    ///
    /// # Errors
    /// A file that is damaged or of an architecture that is not supported.
    pub fn open_gguf(file: &Path) -> Result<Frozen> {
        gguf::open(file, false)
    }

    /// As [`Frozen::open_gguf`], but weights stay quantized in memory however small the file is.
    ///
    /// # Errors
    /// The same.
    pub fn open_gguf_quantized(file: &Path) -> Result<Frozen> {
        gguf::open(file, true)
    }

    /// Runs what builds a network of foreign parts, and the network once. A panic there becomes an error.
    fn build(vocabulary: usize, context: usize, make: impl FnOnce() -> Result<Box<dyn Network>>) -> Result<Frozen> {
        let built = catch_unwind(AssertUnwindSafe(|| {
            let mut frozen = Frozen { network: make()?, vocabulary, context, eos: None };
            frozen.network.start();
            frozen.feed(&[0], 0)?;
            frozen.network.start();
            Ok(frozen)
        }));
        built.unwrap_or_else(|_| Err(Error::input("its parts do not fit together: loading it failed inside candle")))
    }

    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Tokens of prompt and answer together.
    pub fn context(&self) -> usize {
        self.context
    }

    /// log p of each token of each continuation of `prompt`, at temperature 1. What several continuations begin with
    /// is computed once.
    pub fn logps(&mut self, prompt: &[u32], continuations: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        for continuation in continuations.iter().filter(|c| !c.is_empty()) {
            self.check(continuation, prompt.len())?;
        }
        self.network.start();
        let first = self.feed(prompt, 0)?;
        let mut all: Vec<Vec<f32>> = continuations.iter().map(|c| Vec::with_capacity(c.len())).collect();
        let mut forks = Vec::new();
        let everyone = (0..continuations.len()).collect();
        self.score(
            Fork { branch: Branch::Itself, fed: 0, members: everyone },
            &first,
            continuations,
            &mut all,
            &mut forks,
        );
        while let Some(Fork { mut branch, fed, members }) = forks.pop() {
            let path = &continuations[members[0]][..=fed];
            if let Branch::Lost = branch {
                self.network.start();
                self.feed(prompt, 0)?;
                for (i, token) in path[..fed].iter().enumerate() {
                    self.feed(&[*token], prompt.len() + i)?;
                }
                branch = Branch::Itself;
            }
            let logits = branch.feed(self, path[fed], prompt.len() + fed)?;
            self.score(Fork { branch, fed: fed + 1, members }, &logits, continuations, &mut all, &mut forks);
        }
        Ok(all)
    }

    /// Scores the next token of each member, and puts those that go on into `forks`, by that token.
    fn score(&self, at: Fork, logits: &[f32], continuations: &[&[u32]], all: &mut [Vec<f32>], forks: &mut Vec<Fork>) {
        let Fork { branch, fed, members } = at;
        let mut going_on: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for member in members {
            if let Some(&token) = continuations[member].get(fed) {
                all[member].push(token_logp(logits, token));
                if continuations[member].len() > fed + 1 {
                    going_on.entry(token).or_default().push(member);
                }
            }
        }
        // The last one goes on where the branch is, and before the others.
        let last = going_on.pop_last();
        for members in going_on.into_values() {
            forks.push(Fork { branch: branch.copy(self), fed, members });
        }
        forks.extend(last.map(|(_, members)| Fork { branch, fed, members }));
    }

    /// `n` continuations of `prompt`, with the sampler and the keyed streams of the run's own models.
    pub fn sample(
        &mut self,
        prompt: &[u32],
        n: usize,
        key: StreamKey,
        sampling: &SamplingConfig,
        eos: &[u32],
    ) -> Result<Vec<Sample>> {
        let mut sampler = Sampler::new(sampling)?;
        self.network.start();
        let first = self.feed(prompt, 0)?;
        let room = sampling.max_new_tokens.min(self.context.saturating_sub(prompt.len()));
        let mut samples: Vec<Sample> = Vec::with_capacity(n);
        for index in 0..n {
            if let (true, Some(same)) = (sampling.is_greedy(), samples.first()) {
                samples.push(same.clone());
                continue;
            }
            let mut stream = key.stream(index);
            let mut branch: Option<Branch> = None;
            let mut sample = Sample { ids: Vec::new(), logps: Vec::new(), finish: Finish::Length };
            while sample.ids.len() < room {
                let logits = match (&mut branch, sample.ids.last()) {
                    (Some(branch), Some(&last)) => branch.feed(self, last, prompt.len() + sample.ids.len() - 1)?,
                    _ => first.clone(),
                };
                let id = sampler.choose(&logits, prompt, &sample.ids, || stream.next_u64())?;
                sample.logps.push(token_logp(&logits, id));
                sample.ids.push(id);
                if eos.contains(&id) {
                    sample.finish = Finish::Stop;
                    break;
                }
                if branch.is_none() && sample.ids.len() < room {
                    branch = Some(self.branch(prompt)?);
                }
            }
            samples.push(sample);
        }
        Ok(samples)
    }

    /// A network that was fed the prompt: a copy of the one at hand, or that one itself, fed again.
    fn branch(&mut self, prompt: &[u32]) -> Result<Branch> {
        if let Some(copy) = self.network.fork() {
            return Ok(Branch::Copy(copy));
        }
        self.network.start();
        self.feed(prompt, 0)?;
        Ok(Branch::Itself)
    }

    fn feed(&mut self, tokens: &[u32], fed: usize) -> Result<Vec<f32>> {
        self.check(tokens, fed)?;
        logits(self.network.step(tokens, fed), self.vocabulary)
    }

    /// Fails unless the tokens may come after the `fed` ones before.
    fn check(&self, tokens: &[u32], fed: usize) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::input("the prompt has no tokens"));
        }
        if fed + tokens.len() > self.context {
            let context = self.context;
            return Err(Error::input(format!("more than {context} tokens, the context of the judge model")));
        }
        match tokens.iter().find(|id| **id as usize >= self.vocabulary) {
            Some(id) => Err(Error::input(format!("token {id} is not in the vocabulary of {}", self.vocabulary))),
            None => Ok(()),
        }
    }
}

/// Continuations that begin alike, and the network that was fed what they have in common.
struct Fork {
    branch: Branch,
    /// Their tokens that it was fed.
    fed: usize,
    members: Vec<usize>,
}

/// Where a continuation is computed.
enum Branch {
    Copy(Box<dyn Network>),
    Itself,
    /// Of a network that cannot be copied: it is to be fed again.
    Lost,
}

impl Branch {
    fn copy(&self, of: &Frozen) -> Branch {
        let copy = match self {
            Branch::Copy(network) => network.fork(),
            Branch::Itself => of.network.fork(),
            Branch::Lost => None,
        };
        copy.map_or(Branch::Lost, Branch::Copy)
    }

    fn feed(&mut self, of: &mut Frozen, token: u32, fed: usize) -> Result<Vec<f32>> {
        match self {
            Branch::Copy(network) => {
                of.check(&[token], fed)?;
                logits(network.step(&[token], fed), of.vocabulary)
            }
            Branch::Itself => of.feed(&[token], fed),
            Branch::Lost => Err(Error::run("a network is asked that was not fed")),
        }
    }
}

fn logits(stepped: candle_core::Result<Tensor>, vocabulary: usize) -> Result<Vec<f32>> {
    let failed = |e: candle_core::Error| Error::run(format!("the judge model cannot be computed: {e}"));
    let read = |t: Tensor| t.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>();
    let logits = stepped.and_then(read).map_err(failed)?;
    match logits.len() == vocabulary {
        true => Ok(logits),
        false => Err(Error::input(format!("{} logits for a vocabulary of {vocabulary}", logits.len()))),
    }
}

/// An error of candle's while a model was loaded.
fn unusable(e: &candle_core::Error) -> Error {
    let text = e.to_string();
    let first = text.lines().next().unwrap_or_default();
    Error::input(format!("the model cannot be loaded: {first:.300}"))
}
