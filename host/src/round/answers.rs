//! The host's side of judging: it answers a judge's queries with the models behind the slots.
//!
//! All queries of a step are answered together, and an answer depends on its query alone, never on what else
//! was asked with it.

use std::collections::BTreeMap;
use std::rc::Rc;

use creamery_plugin::{Answer, Generated, Logp, Message, Query};

use super::groups::SampledGroup;
use super::models::{ModelRef, Models};
use super::sample::{DrawnBy, finish, without_eos};
use crate::data::ChatFormat;
use crate::error::{Error, Result};
use crate::generate::{Request, SamplingConfig, StreamKey, generate};
use crate::model::Decoder;
use crate::score::{ScoreGroup, group_logps};
use crate::train::sequence_logp;

/// The models that a judge may ask, and what turns its texts into their tokens.
pub struct Desk<'a> {
    pub models: &'a mut Models,
    pub slots: &'a [(&'static str, ModelRef)],
    pub chat: &'a ChatFormat,
    /// End-of-sequence tokens.
    pub eos: &'a [u32],
    /// The models whose log-probabilities the samples carry; `None` if they are not known.
    pub sampled_by: Option<&'a DrawnBy>,
    /// With the round, names the random streams of generation.
    pub seed: u64,
    pub round: u32,
}

/// The tokens of an answer's texts, as a model of the run drew them.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The templated prompt.
    pub prompt_ids: Vec<u32>,
    /// `[count]` with the end-of-sequence token, if one was sampled.
    pub texts: Vec<Vec<u32>>,
}

impl Desk<'_> {
    /// One answer per query, in order, and the tokens of generated texts by query. `batch` is what the judge sees as
    /// its groups.
    pub fn answer(
        &mut self,
        queries: &[Query],
        batch: &[SampledGroup],
    ) -> Result<(Vec<Answer>, BTreeMap<usize, Drawn>)> {
        let mut drawn = BTreeMap::new();
        let mut answers: Vec<Option<Answer>> = vec![None; queries.len()];
        let mut generations: BTreeMap<GenerateKey, Vec<usize>> = BTreeMap::new();
        for (i, query) in queries.iter().enumerate() {
            match query {
                Query::ResponseLogps { slot, responses } => {
                    answers[i] = Some(Answer::Logps(self.response_logps(slot, responses, batch)?));
                }
                Query::TextLogp { slot, messages, continuation } => {
                    answers[i] = Some(match self.text_logps(slot, messages, &[continuation])? {
                        Ok(logps) => Answer::Logps(logps),
                        Err(reason) => Answer::Failed(reason),
                    });
                }
                Query::Choose { slot, messages, labels } => {
                    let labels: Vec<&String> = labels.iter().collect();
                    answers[i] = Some(match self.text_logps(slot, messages, &labels)? {
                        Ok(logps) => Answer::Distribution(normalized(&logps)),
                        Err(reason) => Answer::Failed(reason),
                    });
                }
                Query::Generate { slot, count, max_new_tokens, temperature, top_p, .. } => {
                    let key = GenerateKey {
                        slot: slot.clone(),
                        count: *count,
                        max_new_tokens: *max_new_tokens,
                        temperature: temperature.to_bits(),
                        top_p: top_p.to_bits(),
                    };
                    generations.entry(key).or_default().push(i);
                }
            }
        }
        for (key, members) in generations {
            self.generate(&key, &members, queries, &mut answers, &mut drawn)?;
        }
        let answered = |a: Option<Answer>| a.unwrap_or_else(|| Answer::Failed("not answered".into()));
        Ok((answers.into_iter().map(answered).collect(), drawn))
    }

    /// Σ log p of sampled responses, on the very tokens that were sampled.
    fn response_logps(&mut self, slot: &str, responses: &[u32], batch: &[SampledGroup]) -> Result<Vec<Logp>> {
        // Flat number → (group, response).
        let flat: Vec<(usize, usize)> =
            batch.iter().enumerate().flat_map(|(g, group)| (0..group.responses.len()).map(move |r| (g, r))).collect();
        let at = |r: &u32| flat[*r as usize];
        let tokens = |(g, r): (usize, usize)| batch[g].responses[r].ids.len() as u32;
        let model = self.slot(slot)?;
        // By the model that sampled them: those log-probabilities were kept, bit for bit the ones of a new pass.
        let kept = |(g, r): (usize, usize)| {
            let response = &batch[g].responses[r];
            let by = self.sampled_by.and_then(|models| models.model(response));
            by.filter(|by| by.id == model.id).map(|_| response.logp)
        };
        let mut sums: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        let mut wanted: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (group, response) in responses.iter().map(at) {
            match kept((group, response)) {
                Some(logp) => drop(sums.insert((group, response), logp)),
                None => wanted.entry(group).or_default().push(response),
            }
        }
        if wanted.is_empty() {
            return Ok(responses.iter().map(|r| Logp { sum: sums[&at(r)], tokens: tokens(at(r)) }).collect());
        }
        for list in wanted.values_mut() {
            list.sort_unstable();
            list.dedup();
        }
        let groups: Vec<ScoreGroup> = (wanted.iter())
            .map(|(&g, list)| ScoreGroup {
                prompt: &batch[g].prompt_ids,
                responses: list.iter().map(|&r| batch[g].responses[r].ids.as_slice()).collect(),
            })
            .collect();
        let logps = group_logps(&*self.model(slot)?, &groups)?;
        for ((&g, list), group) in wanted.iter().zip(&logps) {
            for (&r, tokens) in list.iter().zip(group) {
                sums.insert((g, r), sequence_logp(tokens));
            }
        }
        Ok(responses.iter().map(|r| Logp { sum: sums[&at(r)], tokens: tokens(at(r)) }).collect())
    }

    /// Σ log p of several continuations of one conversation; the inner error is the reason of a refusal.
    fn text_logps(&mut self, slot: &str, messages: &[Message], texts: &[&String]) -> Result<Result<Vec<Logp>, String>> {
        let model = self.model(slot)?;
        let prompt = match self.chat.encode(messages, true) {
            Ok(ids) => ids,
            Err(e) => return Ok(Err(e.message().to_owned())),
        };
        let mut continuations = Vec::with_capacity(texts.len());
        for text in texts {
            let ids = self.chat.tokenizer().encode(text)?;
            let (length, context) = (prompt.len() + ids.len(), model.max_positions());
            if ids.is_empty() {
                return Ok(Err("the continuation is empty".into()));
            }
            if length > context {
                return Ok(Err(format!("{length} tokens do not fit the context of {context}")));
            }
            continuations.push(ids);
        }
        let responses = continuations.iter().map(Vec::as_slice).collect();
        let logps = group_logps(&model, &[ScoreGroup { prompt: &prompt, responses }])?.remove(0);
        let sum = |tokens: Vec<f32>| Logp { sum: sequence_logp(&tokens), tokens: tokens.len() as u32 };
        Ok(Ok(logps.into_iter().map(sum).collect()))
    }

    /// Answers all `Generate` queries that share a slot and settings in one batch.
    fn generate(
        &mut self,
        key: &GenerateKey,
        members: &[usize],
        queries: &[Query],
        answers: &mut [Option<Answer>],
        drawn: &mut BTreeMap<usize, Drawn>,
    ) -> Result<()> {
        let model = self.model(&key.slot)?;
        let mut prompts = Vec::new();
        for &i in members {
            let Query::Generate { messages, .. } = &queries[i] else { continue };
            match self.chat.encode(messages, true) {
                Ok(ids) if ids.len() < model.max_positions() => prompts.push((i, content_key(&key.slot, &ids), ids)),
                Ok(ids) => {
                    let context = model.max_positions();
                    let reason = format!("a prompt of {} tokens does not fit the context of {context}", ids.len());
                    answers[i] = Some(Answer::Failed(reason));
                }
                Err(e) => answers[i] = Some(Answer::Failed(e.message().to_owned())),
            }
        }
        let requests: Vec<Request> = (prompts.iter())
            .map(|(_, content, ids)| Request {
                prompt: ids,
                n: key.count as usize,
                key: StreamKey { seed: self.seed, purpose: "judge", round: u64::from(self.round), prompt: content },
            })
            .collect();
        let sampling = SamplingConfig {
            temperature: f64::from_bits(key.temperature) as f32,
            top_p: f64::from_bits(key.top_p) as f32,
            max_new_tokens: key.max_new_tokens as usize,
            ..SamplingConfig::default()
        };
        let texts = generate(&model, &requests, &sampling, self.eos, &mut |_, _| {})?;
        for ((i, _, prompt_ids), samples) in prompts.into_iter().zip(texts) {
            let (mut generated, mut texts) = (Vec::with_capacity(samples.len()), Vec::with_capacity(samples.len()));
            for sample in samples {
                let text = self.chat.tokenizer().decode(without_eos(&sample.ids, self.eos))?;
                generated.push(Generated { text, finish: finish(sample.finish) });
                texts.push(sample.ids);
            }
            answers[i] = Some(Answer::Texts(generated));
            drawn.insert(i, Drawn { prompt_ids, texts });
        }
        Ok(())
    }

    fn slot(&self, name: &str) -> Result<&ModelRef> {
        self.slots.iter().find(|(slot, _)| *slot == name).map(|(_, model)| model).ok_or_else(|| {
            let known: Vec<&str> = self.slots.iter().map(|(slot, _)| *slot).collect();
            Error::plugin(format!("the judge asks for the model slot '{name}'; known are {}", known.join(", ")))
        })
    }

    fn model(&mut self, slot: &str) -> Result<Rc<Decoder>> {
        let model = self.slot(slot)?.clone();
        self.models.get(&model)
    }
}

/// What generation queries must share to run in one batch; the floats as bits, to be ordered.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct GenerateKey {
    slot: String,
    count: u32,
    max_new_tokens: u32,
    temperature: u64,
    top_p: u64,
}

/// Names the random streams of a judging prompt by its content, so that they depend on nothing else.
fn content_key(slot: &str, ids: &[u32]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(slot.as_bytes()).update(&[0]);
    for id in ids {
        hasher.update(&id.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// softmax over the labels' log-probabilities.
fn normalized(logps: &[Logp]) -> Vec<f64> {
    let max = logps.iter().map(|l| l.sum).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logps.iter().map(|l| (l.sum - max).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / total).collect()
}
