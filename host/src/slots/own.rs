//! A model of Creamery's own families: the run's models, or a frozen judge's with a tokenizer and template of its own.

use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::Device;
use creamery_plugin::{Generated, Logp};

use super::choose::{Scored, distribution};
use super::{Backend, Capabilities, Draws, GenerateAsk, Reply, TextAsk};
use crate::data::ChatFormat;
use crate::error::Result;
use crate::generate::{Request, SamplingConfig, StreamKey, generate};
use crate::model::Decoder;
use crate::round::answers::Drawn;
use crate::round::models::{ModelRef, Models};
use crate::round::sample::{finish, without_eos};
use crate::score::{ScoreGroup, group_logps};
use crate::train::sequence_logp;

/// A decoder and what turns texts into its tokens.
pub(crate) struct Engine<'a> {
    pub model: &'a Decoder,
    pub chat: &'a ChatFormat,
    /// End-of-sequence tokens.
    pub eos: &'a [u32],
}

/// The texts of an answer, and their tokens where those are the run's models'.
pub(crate) struct Written {
    pub texts: Vec<Generated>,
    pub drawn: Option<Drawn>,
}

impl Engine<'_> {
    /// Σ log p of each response of each group.
    pub fn response_logps(&self, groups: &[ScoreGroup]) -> Result<Vec<Vec<f64>>> {
        let logps = group_logps(self.model, groups)?;
        Ok(logps.iter().map(|group| group.iter().map(|tokens| sequence_logp(tokens)).collect()).collect())
    }

    /// Σ log p of several continuations of one conversation.
    pub fn text_logps(&self, ask: &TextAsk) -> Result<Reply<Vec<Logp>>> {
        Ok(self.scored(ask)?.map(|scored| scored.logps))
    }

    /// The distribution over several continuations of one conversation.
    pub fn choose(&self, ask: &TextAsk) -> Result<Reply<Vec<f64>>> {
        Ok(self.scored(ask)?.and_then(|scored| distribution(&ask.texts, &scored.logps, &scored.tokens)))
    }

    fn scored(&self, ask: &TextAsk) -> Result<Reply<Scored>> {
        let (prompt, texts) = match encode(self.chat, ask, self.model.max_positions())? {
            Ok(encoded) => encoded,
            Err(reason) => return Ok(Err(reason)),
        };
        let responses = texts.iter().map(Vec::as_slice).collect();
        let logps = group_logps(self.model, &[ScoreGroup { prompt: &prompt, responses }])?.remove(0);
        Ok(Ok(Scored { logps: logps.iter().map(|tokens| logp(tokens)).collect(), tokens: texts }))
    }

    /// Continues conversations; those with the same settings in one batch.
    pub fn generate(&self, asks: &[GenerateAsk], draws: &Draws) -> Result<Vec<Reply<Written>>> {
        let mut replies: Vec<Reply<Written>> = asks.iter().map(|_| Err("not answered".to_owned())).collect();
        let mut batches: BTreeMap<(u32, u32, u64, u64), Vec<usize>> = BTreeMap::new();
        for (i, ask) in asks.iter().enumerate() {
            let settings = (ask.count, ask.max_new_tokens, ask.temperature.to_bits(), ask.top_p.to_bits());
            batches.entry(settings).or_default().push(i);
        }
        for members in batches.into_values() {
            self.batch(asks, &members, draws, &mut replies)?;
        }
        Ok(replies)
    }

    fn batch(
        &self,
        asks: &[GenerateAsk],
        members: &[usize],
        draws: &Draws,
        replies: &mut [Reply<Written>],
    ) -> Result<()> {
        let mut prompts = Vec::new();
        for &i in members {
            match encode_prompt(self.chat, &asks[i], self.model.max_positions()) {
                Ok(ids) => prompts.push((i, content_key(draws, &ids), ids)),
                Err(reason) => replies[i] = Err(reason),
            }
        }
        let requests: Vec<Request> = (prompts.iter())
            .map(|(i, content, ids)| Request {
                prompt: ids,
                n: asks[*i].count as usize,
                first: 0,
                key: stream_key(draws, content),
            })
            .collect();
        let Some(first) = members.first() else { return Ok(()) };
        let texts = generate(self.model, &requests, &sampling(&asks[*first]), self.eos, &mut |_, _| {})?;
        for ((i, _, prompt_ids), samples) in prompts.into_iter().zip(texts) {
            let (mut generated, mut texts) = (Vec::with_capacity(samples.len()), Vec::with_capacity(samples.len()));
            for sample in samples {
                let text = self.chat.tokenizer().decode(without_eos(&sample.ids, self.eos))?;
                generated.push(Generated { text, finish: finish(sample.finish) });
                texts.push(sample.ids);
            }
            replies[i] = Ok(Written { texts: generated, drawn: Some(Drawn { prompt_ids, texts }) });
        }
        Ok(())
    }
}

/// Of a text, from its tokens'.
pub(super) fn logp(tokens: &[f32]) -> Logp {
    Logp { sum: sequence_logp(tokens), tokens: tokens.len() as u32 }
}

/// The tokens of a conversation, and of each continuation.
pub(super) type Encoded = (Vec<u32>, Vec<Vec<u32>>);

/// A conversation and its continuations as tokens that fit the context; the inner error is why not.
pub(super) fn encode(chat: &ChatFormat, ask: &TextAsk, context: usize) -> Result<Reply<Encoded>> {
    let prompt = match chat.encode(ask.messages, true) {
        Ok(ids) => ids,
        Err(e) => return Ok(Err(e.message().to_owned())),
    };
    let mut texts = Vec::with_capacity(ask.texts.len());
    for text in &ask.texts {
        let ids = chat.tokenizer().encode(text)?;
        let length = prompt.len() + ids.len();
        if ids.is_empty() {
            return Ok(Err("the continuation is empty".into()));
        }
        if length > context {
            return Ok(Err(format!("{length} tokens do not fit the context of {context}")));
        }
        texts.push(ids);
    }
    Ok(Ok((prompt, texts)))
}

/// A conversation as tokens that leave room for an answer.
pub(super) fn encode_prompt(chat: &ChatFormat, ask: &GenerateAsk, context: usize) -> Reply<Vec<u32>> {
    match chat.encode(ask.messages, true) {
        Ok(ids) if ids.len() < context => Ok(ids),
        Ok(ids) => Err(format!("a prompt of {} tokens does not fit the context of {context}", ids.len())),
        Err(e) => Err(e.message().to_owned()),
    }
}

pub(super) fn sampling(ask: &GenerateAsk) -> SamplingConfig {
    SamplingConfig {
        temperature: ask.temperature as f32,
        top_p: ask.top_p as f32,
        max_new_tokens: ask.max_new_tokens as usize,
        ..SamplingConfig::default()
    }
}

pub(super) fn stream_key<'a>(draws: &Draws, content: &'a str) -> StreamKey<'a> {
    StreamKey { seed: draws.seed, purpose: "judge", round: u64::from(draws.round), prompt: content }
}

/// Names the random streams of a judging prompt by its content and by who is asked, so that they depend on nothing else.
pub(super) fn content_key(draws: &Draws, ids: &[u32]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in [draws.slot, draws.model].iter().filter(|text| !text.is_empty()) {
        hasher.update(text.as_bytes()).update(&[0]);
    }
    for id in ids {
        hasher.update(&id.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// A frozen judge of one of Creamery's own families.
pub(super) struct OwnModel {
    reference: ModelRef,
    device: Device,
    /// `None` until it is asked again.
    model: Option<Rc<Decoder>>,
    chat: ChatFormat,
    eos: Vec<u32>,
    /// It reads token ids as the run's model does.
    same_tokens: bool,
}

impl OwnModel {
    /// `model` is what `reference` names.
    pub(super) fn new(
        reference: ModelRef,
        model: Rc<Decoder>,
        chat: ChatFormat,
        eos: Vec<u32>,
        same_tokens: bool,
    ) -> OwnModel {
        OwnModel { reference, device: model.device().clone(), model: Some(model), chat, eos, same_tokens }
    }

    fn with<T>(&mut self, work: impl FnOnce(&Engine) -> Result<T>) -> Result<T> {
        let model = match &self.model {
            Some(model) => model.clone(),
            None => {
                let again = Models::new(self.device.clone()).get(&self.reference)?;
                self.model.insert(again).clone()
            }
        };
        work(&Engine { model: &model, chat: &self.chat, eos: &self.eos })
    }
}

impl Backend for OwnModel {
    fn capabilities(&self) -> Capabilities {
        Capabilities { response_logps: self.same_tokens, ..Capabilities::ALL }
    }

    fn response_logps(&mut self, groups: &[ScoreGroup]) -> Result<Vec<Vec<f64>>> {
        self.with(|engine| engine.response_logps(groups))
    }

    fn text_logps(&mut self, asks: &[TextAsk]) -> Result<Vec<Reply<Vec<Logp>>>> {
        self.with(|engine| asks.iter().map(|ask| engine.text_logps(ask)).collect())
    }

    fn choose(&mut self, asks: &[TextAsk]) -> Result<Vec<Reply<Vec<f64>>>> {
        self.with(|engine| asks.iter().map(|ask| engine.choose(ask)).collect())
    }

    fn generate(&mut self, asks: &[GenerateAsk], draws: &Draws) -> Result<Vec<Reply<Vec<Generated>>>> {
        let replies = self.with(|engine| engine.generate(asks, draws))?;
        Ok(replies.into_iter().map(|reply| reply.map(|written| written.texts)).collect())
    }

    fn release(&mut self) {
        self.model = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two models that drew with the same numbers would seem to agree; one model must, whatever asks it.
    #[test]
    fn the_streams_of_a_judging_prompt_are_those_of_its_model() {
        let of = |slot, model, ids: &[u32]| content_key(&Draws { seed: 1, round: 1, slot, model }, ids);
        let key = of("judge", "m1", &[5, 6]);
        assert_eq!(key, of("judge", "m1", &[5, 6]));
        for other in [of("judge", "m0", &[5, 6]), of("initial", "m1", &[5, 6]), of("judge", "m1", &[5, 7])] {
            assert_ne!(key, other);
        }
        assert_ne!(of("grader", "", &[5]), of("judge", "", &[5]));
    }
}
