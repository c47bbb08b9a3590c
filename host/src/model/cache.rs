//! Keys and values of tokens already fed, and passes that extend them: what generation needs.

use candle_core::{DType, Tensor};

use super::decoder::Decoder;
use super::forward::{Keys, Pass};
use super::ops::{self, Span, cpu};
use crate::error::{Error, Result};

/// For each layer, `slots` rows of keys and of values. Who uses it decides which rows belong to which sequence.
pub struct KvCache {
    layers: Vec<(Tensor, Tensor)>,
    slots: usize,
}

impl KvCache {
    pub fn new(model: &Decoder, slots: usize) -> Result<Self> {
        let shape = (slots.max(1), model.config.kv_width());
        let zeros = || Tensor::zeros(shape, DType::F32, model.device());
        let layers: Result<Vec<_>> = (0..model.config.num_layers).map(|_| Ok((zeros()?, zeros()?))).collect();
        Ok(KvCache { layers: layers?, slots })
    }

    pub fn slots(&self) -> usize {
        self.slots
    }

    /// A cache with more slots, the first ones as here.
    pub fn grown(&self, slots: usize) -> Result<Self> {
        let grow = |old: &Tensor| -> Result<Tensor> {
            let new = Tensor::zeros((slots.max(self.slots).max(1), old.dims()[1]), DType::F32, old.device())?;
            ops::put_rows(&new, old, &(0..old.dims()[0] as u32).collect::<Vec<_>>())?;
            Ok(new)
        };
        let layers: Result<Vec<_>> = self.layers.iter().map(|(k, v)| Ok((grow(k)?, grow(v)?))).collect();
        Ok(KvCache { layers: layers?, slots: slots.max(self.slots) })
    }
}

impl Decoder {
    /// Feeds `tokens`: row i is written to the cache's slot `slots[i]`, and the spans say which slots its query sees
    /// (itself included, so its own slot must be the matching one of `own`). The spans' queries cover the rows in
    /// order. Positions follow from the spans. Returns the final hidden states `[T, hidden]`, after the last norm.
    ///
    /// The numbers of a row are bit-equal to those of [`crate::score::group_logps`] for the same tokens.
    pub fn extend(&self, cache: &mut KvCache, tokens: &[u32], slots: &[u32], spans: &[Span]) -> Result<Tensor> {
        self.check_spans(cache, tokens, slots, spans)?;
        let positions: Vec<u32> = spans.iter().flat_map(|s| s.positions().map(|p| p as u32)).collect();
        ops::within_pool(|| {
            let mut x = ops::embedding(&self.base.embedding, tokens)?;
            let pass = Pass { rotations: self.rotations(&positions)?, positions: &positions, spans, dropout: None };
            for (i, layer) in self.base.layers.iter().enumerate() {
                let (k, v) = &cache.layers[i];
                (x, _) = self.layer_forward(i, layer, x, &pass, &Keys::Cache { k, v, places: slots })?;
            }
            Ok(ops::rms_norm(&x, &self.base.norm, self.config.rms_norm_eps)?.0)
        })
    }

    /// Logits `[rows, vocabulary]` of the given rows of hidden states.
    pub fn head_logits(&self, hidden: &Tensor, rows: &[u32]) -> Result<Tensor> {
        if let Some(row) = rows.iter().find(|r| **r as usize >= hidden.dims()[0]) {
            return Err(Error::run(format!("row {row} of hidden states with {} rows", hidden.dims()[0])));
        }
        ops::within_pool(|| ops::linear(&ops::take_rows(hidden, rows)?, self.head(), None, None))
    }

    /// Logits after the last of `ids`, without a cache.
    pub fn logits(&self, ids: &[u32]) -> Result<Vec<f32>> {
        self.check_ids(ids).map_err(|what| Error::input(format!("row 0: {what}")))?;
        let mut cache = KvCache::new(self, ids.len())?;
        let slots: Vec<u32> = (0..ids.len() as u32).collect();
        let span = Span { queries: 0..ids.len(), context: 0..0, own: 0..ids.len() };
        let hidden = self.extend(&mut cache, ids, &slots, &[span])?;
        Ok(self.head_logits(&hidden, &[ids.len() as u32 - 1])?.flatten_all()?.to_vec1()?)
    }

    /// What is wrong with a sequence of token ids, if anything.
    pub(crate) fn check_ids(&self, ids: &[u32]) -> Result<(), String> {
        let (vocabulary, longest) = (self.config.vocab_size, self.config.max_positions);
        if ids.is_empty() {
            return Err("it has no tokens".to_owned());
        }
        if ids.len() > longest {
            return Err(format!("it has {} tokens, the model takes at most {longest}", ids.len()));
        }
        match ids.iter().position(|id| *id as usize >= vocabulary) {
            Some(i) => Err(format!("token {i} has the id {}, but the model's ids end at {}", ids[i], vocabulary - 1)),
            None => Ok(()),
        }
    }

    fn check_spans(&self, cache: &KvCache, tokens: &[u32], slots: &[u32], spans: &[Span]) -> Result<()> {
        let fail = |what: String| Err(Error::run(what));
        if let Some(id) = tokens.iter().find(|id| **id as usize >= self.config.vocab_size) {
            return fail(format!("token {id} is outside the vocabulary of {}", self.config.vocab_size));
        }
        if slots.len() != tokens.len() || slots.iter().any(|s| *s as usize >= cache.slots) {
            return fail(format!("{} tokens need as many slots below {}", tokens.len(), cache.slots));
        }
        let mut row = 0;
        for span in spans {
            let fits = span.own.end <= cache.slots && span.context.end <= cache.slots;
            if span.queries.start != row || span.queries.len() > span.own.len() || !fits {
                return fail(format!("span {span:?} does not fit rows from {row} and {} slots", cache.slots));
            }
            if span.keys() > self.config.max_positions {
                return fail(format!(
                    "a sequence has {} tokens, the model takes {}",
                    span.keys(),
                    self.config.max_positions
                ));
            }
            row = span.queries.end;
        }
        if row != tokens.len() { fail(format!("spans cover {row} of {} rows", tokens.len())) } else { Ok(()) }
    }
}

/// The log-probability of `token` under a whole row of logits, with the bits that scoring gives it.
pub fn token_logp(logits: &[f32], token: u32) -> f32 {
    logits[token as usize] - cpu::logps::log_sum_exp(logits)
}
