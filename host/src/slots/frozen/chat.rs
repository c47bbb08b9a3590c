//! A frozen model with its tokenizer and chat template, as a slot.

use creamery_plugin::{Generated, Logp};

use super::super::own::{content_key, encode, encode_prompt, sampling, stream_key};
use super::super::{Backend, Capabilities, Draws, GenerateAsk, Reply, TextAsk};
use super::Frozen;
use crate::data::ChatFormat;
use crate::error::Result;
use crate::round::sample::{finish, without_eos};
use crate::train::sequence_logp;

pub(in crate::slots) struct FrozenModel {
    model: Frozen,
    chat: ChatFormat,
    eos: Vec<u32>,
}

impl FrozenModel {
    /// `eos` are the end-of-sequence tokens that the tokenizer's folder names; without one, the model's own counts.
    /// `None` if neither names one.
    pub(in crate::slots) fn new(model: Frozen, chat: ChatFormat, mut eos: Vec<u32>) -> Result<Option<FrozenModel>> {
        chat.tokenizer().check_vocab(model.vocabulary())?;
        if eos.is_empty() {
            eos.extend(model.eos);
        }
        Ok((!eos.is_empty()).then_some(FrozenModel { model, chat, eos }))
    }
}

impl Backend for FrozenModel {
    fn capabilities(&self) -> Capabilities {
        // Another family reads the policy's token ids as other text.
        Capabilities { response_logps: false, ..Capabilities::ALL }
    }

    fn text_logps(&mut self, asks: &[TextAsk]) -> Result<Vec<Reply<Vec<Logp>>>> {
        let mut replies = Vec::with_capacity(asks.len());
        for ask in asks {
            replies.push(match encode(&self.chat, ask, self.model.context())? {
                Err(reason) => Err(reason),
                Ok((prompt, texts)) => {
                    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
                    let sum = |tokens: &Vec<f32>| Logp { sum: sequence_logp(tokens), tokens: tokens.len() as u32 };
                    Ok(self.model.logps(&prompt, &texts)?.iter().map(sum).collect())
                }
            });
        }
        Ok(replies)
    }

    fn generate(&mut self, asks: &[GenerateAsk], draws: &Draws) -> Result<Vec<Reply<Vec<Generated>>>> {
        let mut replies = Vec::with_capacity(asks.len());
        for ask in asks {
            let prompt = match encode_prompt(&self.chat, ask, self.model.context()) {
                Ok(prompt) => prompt,
                Err(reason) => {
                    replies.push(Err(reason));
                    continue;
                }
            };
            let content = content_key(draws, &prompt);
            let (key, count) = (stream_key(draws, &content), ask.count as usize);
            let samples = self.model.sample(&prompt, count, key, &sampling(ask), &self.eos)?;
            let mut texts = Vec::with_capacity(samples.len());
            for sample in samples {
                let text = self.chat.tokenizer().decode(without_eos(&sample.ids, &self.eos))?;
                texts.push(Generated { text, finish: finish(sample.finish) });
            }
            replies.push(Ok(texts));
        }
        Ok(replies)
    }
}
