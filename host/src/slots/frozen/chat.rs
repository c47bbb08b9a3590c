//! A frozen model with its tokenizer and chat template, as a slot.

use std::path::PathBuf;

use creamery_plugin::{Generated, Logp};

use super::super::choose::{Scored, distribution};
use super::super::own::{content_key, encode, encode_prompt, logp, sampling, stream_key};
use super::super::{Backend, Capabilities, Draws, GenerateAsk, Reply, TextAsk};
use super::Frozen;
use crate::data::ChatFormat;
use crate::error::Result;
use crate::round::sample::{finish, without_eos};

/// Where a model is read from.
pub(in crate::slots) enum Source {
    Folder(PathBuf),
    Gguf(PathBuf),
}

impl Source {
    fn open(&self) -> Result<Frozen> {
        match self {
            Source::Folder(folder) => Frozen::open(folder),
            Source::Gguf(file) => Frozen::open_gguf(file),
        }
    }
}

pub(in crate::slots) struct FrozenModel {
    source: Source,
    /// `None` until it is asked again.
    model: Option<Frozen>,
    chat: ChatFormat,
    eos: Vec<u32>,
}

impl FrozenModel {
    /// `eos` are the end-of-sequence tokens that the tokenizer's folder names; without one, the model's own counts.
    /// `None` if neither names one.
    pub(in crate::slots) fn new(source: Source, chat: ChatFormat, mut eos: Vec<u32>) -> Result<Option<FrozenModel>> {
        let model = source.open()?;
        chat.tokenizer().check_vocab(model.vocabulary())?;
        if eos.is_empty() {
            eos.extend(model.eos);
        }
        Ok((!eos.is_empty()).then_some(FrozenModel { source, model: Some(model), chat, eos }))
    }

    /// The model, read again if it was released.
    fn model(&mut self) -> Result<(&mut Frozen, &ChatFormat, &[u32])> {
        let model = match self.model.take() {
            Some(model) => model,
            None => self.source.open()?,
        };
        Ok((self.model.insert(model), &self.chat, &self.eos))
    }

    fn scored(&mut self, ask: &TextAsk) -> Result<Reply<Scored>> {
        let (model, chat, _) = self.model()?;
        let (prompt, texts) = match encode(chat, ask, model.context())? {
            Ok(encoded) => encoded,
            Err(reason) => return Ok(Err(reason)),
        };
        let tokens: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let logps = model.logps(&prompt, &tokens)?.iter().map(|tokens| logp(tokens)).collect();
        Ok(Ok(Scored { logps, tokens: texts }))
    }
}

impl Backend for FrozenModel {
    fn capabilities(&self) -> Capabilities {
        // Another family reads the policy's token ids as other text.
        Capabilities { response_logps: false, ..Capabilities::ALL }
    }

    fn text_logps(&mut self, asks: &[TextAsk]) -> Result<Vec<Reply<Vec<Logp>>>> {
        asks.iter().map(|ask| Ok(self.scored(ask)?.map(|scored| scored.logps))).collect()
    }

    fn choose(&mut self, asks: &[TextAsk]) -> Result<Vec<Reply<Vec<f64>>>> {
        let of = |ask: &TextAsk, scored: Scored| distribution(&ask.texts, &scored.logps, &scored.tokens);
        asks.iter().map(|ask| Ok(self.scored(ask)?.and_then(|scored| of(ask, scored)))).collect()
    }

    fn generate(&mut self, asks: &[GenerateAsk], draws: &Draws) -> Result<Vec<Reply<Vec<Generated>>>> {
        let mut replies = Vec::with_capacity(asks.len());
        let (model, chat, eos) = self.model()?;
        for ask in asks {
            let prompt = match encode_prompt(chat, ask, model.context()) {
                Ok(prompt) => prompt,
                Err(reason) => {
                    replies.push(Err(reason));
                    continue;
                }
            };
            let content = content_key(draws, &prompt);
            let (key, count) = (stream_key(draws, &content), ask.count as usize);
            let samples = model.sample(&prompt, count, key, &sampling(ask), eos)?;
            let mut texts = Vec::with_capacity(samples.len());
            for sample in samples {
                let text = chat.tokenizer().decode(without_eos(&sample.ids, eos))?;
                texts.push(Generated { text, finish: finish(sample.finish) });
            }
            replies.push(Ok(texts));
        }
        Ok(replies)
    }

    fn release(&mut self) {
        self.model = None;
    }
}
