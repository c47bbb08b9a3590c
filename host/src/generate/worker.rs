//! One batch: rows enter, take one token a step, and leave.

use std::collections::VecDeque;
use std::ops::Range;

use super::slots::Slots;
use super::{Finish, Queue, Request, Sample, Sampler, SamplingConfig, Stream};
use crate::error::{Error, Result};
use crate::model::{Decoder, KvCache, Span, token_logp};

/// Rows that are decoded together on a thread: enough to use each weight often, few enough to stay in the caches.
const ROWS: usize = 64;
/// Prompt tokens that go through the model at once, unless a single prompt is longer.
const PROMPT_TOKENS: usize = 1024;
/// Memory for the keys and values of all threads.
const CACHE_BYTES: usize = 2 << 30;

/// Whose sample it is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub request: usize,
    pub sample: usize,
}

/// The rows of a batch, so that the caches of all threads stay within bounds.
pub fn rows_that_fit(model: &Decoder, requests: &[Request], config: &SamplingConfig, threads: usize) -> usize {
    let longest = requests.iter().map(|r| r.prompt.len()).max().unwrap_or(0) + config.max_new_tokens;
    let slot = model.config.num_layers * model.config.kv_width() * 2 * size_of::<f32>();
    (CACHE_BYTES / threads / (longest.min(model.max_positions()) * slot).max(1)).clamp(1, ROWS)
}

/// Samples until the queue is empty, or until `deliver` says that nobody wants more.
pub fn run(
    model: &Decoder,
    queue: &Queue,
    config: &SamplingConfig,
    eos: &[u32],
    rows: usize,
    deliver: &mut dyn FnMut(Place, Sample) -> bool,
) -> Result<()> {
    let mut batch = Batch {
        model,
        config,
        eos,
        sampler: Sampler::new(config)?,
        cache: KvCache::new(model, 0)?,
        slots: Slots::default(),
        prompts: Vec::new(),
        waiting: VecDeque::new(),
        rows: Vec::new(),
    };
    loop {
        let finished = batch.admit(queue, rows)?;
        for (place, sample) in finished {
            if !deliver(place, sample) {
                return Ok(());
            }
        }
        if batch.rows.is_empty() && batch.waiting.is_empty() {
            return Ok(());
        }
        for (place, sample) in batch.step()? {
            if !deliver(place, sample) {
                return Ok(());
            }
        }
    }
}

/// A prompt whose keys and values are in the cache, for as long as a sample needs them.
struct Prompt<'a> {
    request: usize,
    of: &'a Request<'a>,
    slots: Range<usize>,
    /// Logits after its last token.
    logits: Vec<f32>,
    started: usize,
    finished: usize,
}

/// A response in the making.
struct Row<'a> {
    place: Place,
    /// Index into the batch's prompts.
    prompt: usize,
    tokens: &'a [u32],
    /// Room for the keys and values of its tokens; the last one's are never needed.
    slots: Range<usize>,
    /// Tokens it may have at most.
    room: usize,
    ids: Vec<u32>,
    logps: Vec<f32>,
    stream: Stream,
}

struct Batch<'a> {
    model: &'a Decoder,
    config: &'a SamplingConfig,
    eos: &'a [u32],
    sampler: Sampler,
    cache: KvCache,
    slots: Slots,
    /// `None` where all samples are finished.
    prompts: Vec<Option<Prompt<'a>>>,
    /// Prompts with samples that have not started.
    waiting: VecDeque<usize>,
    rows: Vec<Row<'a>>,
}

type Finished = Vec<(Place, Sample)>;

impl<'a> Batch<'a> {
    /// Fills the batch up to `rows`. Returns the samples that ended with their first token.
    fn admit(&mut self, queue: &Queue<'a>, rows: usize) -> Result<Finished> {
        let mut finished = Vec::new();
        while self.rows.len() < rows {
            if self.waiting.is_empty() {
                self.prefill(queue, rows - self.rows.len())?;
            }
            let Some(&index) = self.waiting.front() else { break };
            finished.extend(self.start(index)?);
        }
        Ok(finished)
    }

    /// Takes requests from the queue until they have `samples` samples, and computes their prompts in one pass.
    fn prefill(&mut self, queue: &Queue<'a>, samples: usize) -> Result<()> {
        let (mut tokens, mut slots, mut spans, mut last) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut fresh, mut wanted) = (Vec::new(), 0);
        while wanted < samples && tokens.len() < PROMPT_TOKENS {
            let Some((request, of)) = queue.take() else { break };
            if of.n == 0 {
                continue;
            }
            wanted += of.n;
            let own = self.slots.take(of.prompt.len());
            let queries = tokens.len()..tokens.len() + own.len();
            last.push(queries.end as u32 - 1);
            spans.push(Span { queries, context: 0..0, own: own.clone() });
            tokens.extend_from_slice(of.prompt);
            slots.extend(own.clone().map(|s| s as u32));
            fresh.push(Prompt { request, of, slots: own, logits: Vec::new(), started: 0, finished: 0 });
        }
        if fresh.is_empty() {
            return Ok(());
        }
        self.make_room()?;
        let hidden = self.model.extend(&mut self.cache, &tokens, &slots, &spans)?;
        let logits = self.model.head_logits(&hidden, &last)?.to_vec2::<f32>()?;
        for (mut prompt, logits) in fresh.into_iter().zip(logits) {
            prompt.logits = logits;
            let place = self.prompts.iter().position(Option::is_none).unwrap_or(self.prompts.len());
            if place == self.prompts.len() {
                self.prompts.push(None);
            }
            self.prompts[place] = Some(prompt);
            self.waiting.push_back(place);
        }
        Ok(())
    }

    /// Starts the next sample of a waiting prompt with its first token.
    fn start(&mut self, index: usize) -> Result<Option<(Place, Sample)>> {
        let Some(prompt) = &mut self.prompts[index] else { return Ok(None) };
        let (of, sample) = (prompt.of, prompt.started);
        prompt.started += 1;
        if prompt.started == of.n {
            self.waiting.pop_front();
        }
        let room = self.config.max_new_tokens.min(self.model.max_positions() - of.prompt.len());
        let mut row = Row {
            place: Place { request: prompt.request, sample },
            prompt: index,
            tokens: of.prompt,
            slots: 0..0,
            room,
            ids: Vec::new(),
            logps: Vec::new(),
            stream: of.key.stream(of.first + sample),
        };
        if let Some(finish) =
            row.take_token(&mut self.sampler, &prompt.logits, self.eos).map_err(|e| sampling(e, of))?
        {
            return Ok(Some(self.finish(row, finish)));
        }
        row.slots = self.slots.take(room - 1);
        self.rows.push(row);
        Ok(None)
    }

    /// One token for each row. Returns the samples that ended.
    fn step(&mut self) -> Result<Finished> {
        if self.rows.is_empty() {
            return Ok(Vec::new());
        }
        self.make_room()?;
        let (mut tokens, mut slots, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        for (i, row) in self.rows.iter().enumerate() {
            // A row that is in the batch has a token and is not finished.
            tokens.extend(row.ids.last());
            let own = row.slots.start..row.slots.start + row.ids.len();
            slots.push(own.end as u32 - 1);
            let context = self.prompts[row.prompt].as_ref().map_or(0..0, |p| p.slots.clone());
            spans.push(Span { queries: i..i + 1, context, own });
        }
        let hidden = self.model.extend(&mut self.cache, &tokens, &slots, &spans)?;
        let all: Vec<u32> = (0..tokens.len() as u32).collect();
        let logits = self.model.head_logits(&hidden, &all)?.flatten_all()?.to_vec1::<f32>()?;
        let vocabulary = self.model.config.vocab_size;
        let mut finished = Vec::new();
        for (row, logits) in std::mem::take(&mut self.rows).into_iter().zip(logits.chunks_exact(vocabulary)) {
            let mut row = row;
            let taken = row.take_token(&mut self.sampler, logits, self.eos);
            match taken.map_err(|e| self.failed(e, &row))? {
                Some(finish) => finished.push(self.finish(row, finish)),
                None => self.rows.push(row),
            }
        }
        Ok(finished)
    }

    fn failed(&self, e: Error, row: &Row) -> Error {
        match &self.prompts[row.prompt] {
            Some(prompt) => sampling(e, prompt.of),
            None => e,
        }
    }

    /// Frees what only this row needed.
    fn finish(&mut self, row: Row<'a>, finish: Finish) -> (Place, Sample) {
        self.slots.give_back(row.slots);
        if let Some(prompt) = &mut self.prompts[row.prompt] {
            prompt.finished += 1;
            if prompt.finished == prompt.of.n {
                self.slots.give_back(prompt.slots.clone());
                self.prompts[row.prompt] = None;
            }
        }
        (row.place, Sample { ids: row.ids, logps: row.logps, finish })
    }

    /// A larger cache where slots were handed out beyond its end.
    fn make_room(&mut self) -> Result<()> {
        if self.slots.end() > self.cache.slots() {
            // Half as much again, so that growing stays rare.
            self.cache = self.cache.grown(self.slots.end() + self.slots.end() / 2)?;
        }
        Ok(())
    }
}

fn sampling(e: Error, request: &Request) -> Error {
    e.context(format!("sampling a response to the prompt '{}'", request.key.prompt))
}

impl Row<'_> {
    /// Chooses the next token. Returns why the response ended, if it did.
    fn take_token(&mut self, sampler: &mut Sampler, logits: &[f32], eos: &[u32]) -> Result<Option<Finish>> {
        let stream = &mut self.stream;
        let id = sampler.choose(logits, self.tokens, &self.ids, || stream.next_u64())?;
        self.logps.push(token_logp(logits, id));
        self.ids.push(id);
        Ok(if eos.contains(&id) {
            Some(Finish::Stop)
        } else if self.ids.len() == self.room {
            Some(Finish::Length)
        } else {
            None
        })
    }
}
