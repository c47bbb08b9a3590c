//! From logits to a token: transformers' logits processors, in transformers' order, then one draw.
//!
//! Order: repetition penalty, temperature, top-k, top-p, min-p. Each filter sees the probabilities that the ones before
//! it left. Ties are kept by top-k; top-p breaks them by the smaller id.

use crate::error::{Error, Result};

/// How tokens are chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingConfig {
    /// Divides the logits; 0 means greedy.
    pub temperature: f32,
    /// Keep the smallest set of tokens whose probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// Keep the k most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep tokens at least this probable relative to the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens already in prompt or response; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Tokens a response may have at most, the end token included.
    pub max_new_tokens: usize,
    /// Take the most probable token, whatever the temperature.
    pub greedy: bool,
}

impl Default for SamplingConfig {
    /// The paper's: temperature 0.8, top-p 0.95, at most 768 tokens.
    fn default() -> Self {
        SamplingConfig {
            temperature: 0.8,
            top_p: 0.95,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_new_tokens: 768,
            greedy: false,
        }
    }
}

impl SamplingConfig {
    /// Fails on a value out of its range, named.
    pub fn validate(&self) -> Result<()> {
        let check = |ok: bool, name: &str, value: f32, range: &str| {
            if ok { Ok(()) } else { Err(Error::config(format!("{name} is {value}; it must be {range}"))) }
        };
        let t = self.temperature;
        check(t.is_finite() && t >= 0.0, "temperature", t, "0 or more")?;
        check(self.top_p > 0.0 && self.top_p <= 1.0, "top_p", self.top_p, "more than 0 and at most 1")?;
        check((0.0..=1.0).contains(&self.min_p), "min_p", self.min_p, "between 0 and 1")?;
        let penalty = self.repetition_penalty;
        check(penalty.is_finite() && penalty > 0.0, "repetition_penalty", penalty, "more than 0")?;
        check(self.max_new_tokens > 0, "max_new_tokens", self.max_new_tokens as f32, "1 or more")
    }

    pub fn is_greedy(&self) -> bool {
        self.greedy || self.temperature == 0.0
    }
}

/// Chooses tokens; holds the working memory of one row.
pub struct Sampler {
    config: SamplingConfig,
    logits: Vec<f32>,
    kept: Vec<Candidate>,
    work: Vec<Candidate>,
    seen: Vec<u32>,
}

/// A token that is still possible, with its probability relative to the most probable one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    id: u32,
    weight: f32,
}

/// The more probable first; equal ones by id. Weights are never NaN.
fn by_weight(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id))
}

impl Sampler {
    pub fn new(config: &SamplingConfig) -> Result<Self> {
        config.validate()?;
        Ok(Sampler { config: config.clone(), logits: Vec::new(), kept: Vec::new(), work: Vec::new(), seen: Vec::new() })
    }

    /// The next token after `prompt` and `response` for `logits` [vocabulary]. `draw` is asked for one number, unless
    /// the choice is greedy. Fails on logits that hold NaN or have no largest finite value.
    pub fn choose(
        &mut self,
        logits: &[f32],
        prompt: &[u32],
        response: &[u32],
        draw: impl FnOnce() -> u64,
    ) -> Result<u32> {
        if self.config.is_greedy() {
            self.penalize(logits, prompt, response);
            let logits = if self.config.repetition_penalty == 1.0 { logits } else { &self.logits };
            return Ok(argmax(logits)? as u32);
        }
        self.filter(logits, prompt, response)?;
        let total: f64 = self.kept.iter().map(|c| f64::from(c.weight)).sum();
        // 53 bits, uniform on [0, 1): the inverse of the cumulative distribution, in f64.
        let mut left = (draw() >> 11) as f64 * (1.0 / (1u64 << 53) as f64) * total;
        for candidate in &self.kept {
            left -= f64::from(candidate.weight);
            if left < 0.0 {
                return Ok(candidate.id);
            }
        }
        // Rounding may leave a crumb: it belongs to the last token that has any probability.
        self.kept
            .iter()
            .rev()
            .find(|c| c.weight > 0.0)
            .map(|c| c.id)
            .ok_or_else(|| Error::run("no token has any probability"))
    }

    /// The probabilities [vocabulary] that [`Self::choose`] draws from; not for greedy choice.
    pub fn probabilities(&mut self, logits: &[f32], prompt: &[u32], response: &[u32]) -> Result<Vec<f64>> {
        self.filter(logits, prompt, response)?;
        let total: f64 = self.kept.iter().map(|c| f64::from(c.weight)).sum();
        let mut probabilities = vec![0.0; logits.len()];
        for c in &self.kept {
            probabilities[c.id as usize] = f64::from(c.weight) / total;
        }
        Ok(probabilities)
    }

    /// Leaves the possible tokens in `kept`, in an order that depends on the logits alone.
    fn filter(&mut self, logits: &[f32], prompt: &[u32], response: &[u32]) -> Result<()> {
        self.penalize(logits, prompt, response);
        let Sampler { config, logits: scaled, kept, work, .. } = self;
        if config.repetition_penalty == 1.0 {
            scaled.clear();
            scaled.extend_from_slice(logits);
        }
        if config.temperature != 1.0 {
            scaled.iter_mut().for_each(|x| *x /= config.temperature);
        }
        let top = scaled[argmax(scaled)?];
        // Top-k on logits: whatever ties with the k-th stays.
        let mut floor = f32::NEG_INFINITY;
        if config.top_k > 0 && config.top_k < scaled.len() {
            let mut sorted = scaled.clone();
            floor = *sorted.select_nth_unstable_by(config.top_k - 1, |a, b| b.total_cmp(a)).1;
        }
        kept.clear();
        let candidates = scaled.iter().enumerate().filter(|(_, x)| **x >= floor);
        kept.extend(candidates.map(|(id, x)| Candidate { id: id as u32, weight: (x - top).exp() }));
        if config.top_p < 1.0 {
            keep_nucleus(kept, work, f64::from(config.top_p));
        }
        if config.min_p > 0.0 {
            // The most probable token has weight 1 and always stays.
            kept.retain(|c| c.weight >= config.min_p);
        }
        Ok(())
    }

    /// Copies the logits with the repetition penalty applied, once for each token seen; nothing to do without one.
    fn penalize(&mut self, logits: &[f32], prompt: &[u32], response: &[u32]) {
        let penalty = self.config.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        self.seen.clear();
        self.seen.extend_from_slice(prompt);
        self.seen.extend_from_slice(response);
        self.seen.sort_unstable();
        self.seen.dedup();
        for &id in &self.seen {
            if let Some(x) = self.logits.get_mut(id as usize) {
                *x = if *x < 0.0 { *x * penalty } else { *x / penalty };
            }
        }
    }
}

/// Keeps the most probable tokens up to and including the one that brings their probability to `p`, in their order.
///
/// Nothing is sorted but the surroundings of that last token, which is found by halving; `work` is scratch memory.
fn keep_nucleus(kept: &mut Vec<Candidate>, work: &mut Vec<Candidate>, p: f64) {
    let total: f64 = kept.iter().map(|c| f64::from(c.weight)).sum();
    // All tokens below this together weigh less than 1 - p, so that they lie in the tail that is cut off. Halved, to
    // stay clear of rounding.
    let negligible = ((1.0 - p) * total / kept.len() as f64 * 0.5) as f32;
    work.clear();
    work.extend(kept.iter().filter(|c| c.weight >= negligible || c.weight == 1.0));
    let target = p * total;
    let (mut low, mut high, mut reached) = (0, work.len(), 0.0);
    while high - low > 16 {
        let middle = low + (high - low) / 2;
        work[low..high].select_nth_unstable_by(middle - low, by_weight);
        let upper: f64 = work[low..middle].iter().map(|c| f64::from(c.weight)).sum();
        if reached + upper >= target {
            high = middle;
        } else {
            (low, reached) = (middle, reached + upper);
        }
    }
    work[low..high].sort_unstable_by(by_weight);
    let last = work[low..high].iter().find(|c| {
        reached += f64::from(c.weight);
        reached >= target
    });
    // Rounding may keep the sum just below the target: then all of `work` belongs to the nucleus.
    if let Some(&last) = last.or(work.last()) {
        kept.retain(|c| by_weight(c, &last).is_le());
    }
}

/// The index of the first largest value. Fails on NaN, and where no value is finite.
pub fn argmax(logits: &[f32]) -> Result<usize> {
    let (mut best, mut at) = (f32::NEG_INFINITY, None);
    let mut nan = false;
    for (i, &x) in logits.iter().enumerate() {
        nan |= x.is_nan();
        if x > best {
            (best, at) = (x, Some(i));
        }
    }
    let help = "the model diverged or its weights are damaged; a lower learning rate may help";
    match at {
        _ if nan => Err(Error::run("the model's logits hold NaN").help(help)),
        Some(at) if best.is_finite() => Ok(at),
        _ => Err(Error::run("the model's logits have no largest finite value").help(help)),
    }
}
