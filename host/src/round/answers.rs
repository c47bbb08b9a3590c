//! The host's side of judging: it answers a judge's queries with the models behind the slots.
//!
//! All queries of a step are answered together, and an answer depends on its query alone, never on what else
//! was asked with it.

use std::collections::BTreeMap;
use std::rc::Rc;

use creamery_plugin::{Answer, Logp, Query, Slot};

use super::groups::SampledGroup;
use super::models::{ModelRef, Models};
use super::sample::DrawnBy;
use crate::data::ChatFormat;
use crate::error::{Error, Result};
use crate::model::Decoder;
use crate::score::ScoreGroup;
use crate::slots::own::{Engine, Written};
use crate::slots::{Draws, GenerateAsk, Reply, Slots, TextAsk};

/// The models that a judge may ask, and what turns its texts into their tokens.
pub struct Desk<'a> {
    pub models: &'a mut Models,
    pub slots: &'a [(&'static str, ModelRef)],
    /// The judges' own: `[slots.NAME]`.
    pub others: &'a mut Slots,
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
    /// The slots as a judge sees them.
    pub fn described(&self) -> Vec<Slot> {
        let slot = |(name, model): &(&str, ModelRef)| Slot { name: (*name).to_owned(), model: model.id.clone() };
        self.slots.iter().map(slot).chain(self.others.described()).collect()
    }

    /// The end of a stage: nothing more is asked in it.
    pub fn finish(&mut self) -> Result<()> {
        self.others.finish()
    }

    /// One answer per query, in order, and the tokens of generated texts by query. `batch` is what the judge sees as
    /// its groups.
    pub fn answer(
        &mut self,
        queries: &[Query],
        batch: &[SampledGroup],
    ) -> Result<(Vec<Answer>, BTreeMap<usize, Drawn>)> {
        let mut drawn = BTreeMap::new();
        let mut answers: Vec<Option<Answer>> = vec![None; queries.len()];
        // Queries of one kind to one slot are answered together.
        let mut asked: BTreeMap<(&str, Ask), Vec<usize>> = BTreeMap::new();
        for (i, query) in queries.iter().enumerate() {
            let (slot, ask) = match query {
                Query::ResponseLogps { slot, .. } => (slot, Ask::ResponseLogps),
                Query::TextLogp { slot, .. } => (slot, Ask::TextLogp),
                Query::Choose { slot, .. } => (slot, Ask::Choose),
                Query::Generate { slot, .. } => (slot, Ask::Generate),
            };
            asked.entry((slot, ask)).or_default().push(i);
        }
        for ((slot, ask), members) in asked {
            self.others.check(slot, ask.name())?;
            match ask {
                Ask::ResponseLogps => {
                    for &i in &members {
                        let Query::ResponseLogps { responses, .. } = &queries[i] else { continue };
                        answers[i] = Some(Answer::Logps(self.response_logps(slot, responses, batch)?));
                    }
                }
                Ask::TextLogp | Ask::Choose => {
                    let asks: Vec<TextAsk> = members.iter().filter_map(|&i| text_ask(&queries[i])).collect();
                    let replies: Vec<Answer> = match ask {
                        Ask::TextLogp => answered(self.text_logps(slot, &asks)?, Answer::Logps),
                        _ => answered(self.choose(slot, &asks)?, Answer::Distribution),
                    };
                    members.iter().zip(replies).for_each(|(&i, answer)| answers[i] = Some(answer));
                }
                Ask::Generate => {
                    let asks: Vec<GenerateAsk> = members.iter().filter_map(|&i| generate_ask(&queries[i])).collect();
                    for (&i, reply) in members.iter().zip(self.generate(slot, &asks)?) {
                        answers[i] = Some(match reply {
                            Ok(written) => {
                                written.drawn.map(|tokens| drawn.insert(i, tokens));
                                Answer::Texts(written.texts)
                            }
                            Err(reason) => Answer::Failed(reason),
                        });
                    }
                }
            }
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
        // By the model that sampled them: those log-probabilities were kept, bit for bit the ones of a new pass.
        let own = self.own(slot)?.cloned();
        let kept = |(g, r): (usize, usize)| {
            let response = &batch[g].responses[r];
            let by = self.sampled_by.and_then(|models| models.model(response))?;
            own.as_ref().is_some_and(|model| by.id == model.id).then_some(response.logp)
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
        let logps = match self.others.backend(slot) {
            Some(backend) => backend.response_logps(&groups)?,
            None => self.with(slot, |engine| engine.response_logps(&groups))?,
        };
        for ((&g, list), group) in wanted.iter().zip(&logps) {
            for (&r, sum) in list.iter().zip(group) {
                sums.insert((g, r), *sum);
            }
        }
        Ok(responses.iter().map(|r| Logp { sum: sums[&at(r)], tokens: tokens(at(r)) }).collect())
    }

    fn text_logps(&mut self, slot: &str, asks: &[TextAsk]) -> Result<Vec<Reply<Vec<Logp>>>> {
        match self.others.backend(slot) {
            Some(backend) => backend.text_logps(asks),
            None => self.with(slot, |engine| asks.iter().map(|ask| engine.text_logps(ask)).collect()),
        }
    }

    fn choose(&mut self, slot: &str, asks: &[TextAsk]) -> Result<Vec<Reply<Vec<f64>>>> {
        match self.others.backend(slot) {
            Some(backend) => backend.choose(asks),
            None => self.with(slot, |engine| asks.iter().map(|ask| engine.choose(ask)).collect()),
        }
    }

    fn generate(&mut self, slot: &str, asks: &[GenerateAsk]) -> Result<Vec<Reply<Written>>> {
        let model = self.own(slot)?.map(|model| model.id.clone()).unwrap_or_default();
        let draws = Draws { seed: self.seed, round: self.round, slot, model: &model };
        match self.others.backend(slot) {
            Some(backend) => {
                // Their tokens are not the run's models', whoever drew them.
                let written = |texts| Written { texts, drawn: None };
                Ok(backend.generate(asks, &draws)?.into_iter().map(|reply| reply.map(written)).collect())
            }
            None => self.with(slot, |engine| engine.generate(asks, &draws)),
        }
    }

    /// Works with the run's own model behind a slot.
    fn with<T>(&mut self, slot: &str, work: impl FnOnce(&Engine) -> Result<T>) -> Result<T> {
        let model = self.model(slot)?;
        work(&Engine { model: &model, chat: self.chat, eos: self.eos })
    }

    /// The run's own model behind a slot; `None` if the slot is the judges' own.
    fn own(&self, name: &str) -> Result<Option<&ModelRef>> {
        match self.slots.iter().find(|(slot, _)| *slot == name) {
            Some((_, model)) => Ok(Some(model)),
            None if self.others.capabilities(name).is_some() => Ok(None),
            None => {
                let known = self.slots.iter().map(|(slot, _)| *slot).chain(self.others.names());
                let known = known.collect::<Vec<_>>().join(", ");
                Err(Error::plugin(format!("the judge asks for the model slot '{name}'; known are {known}")))
            }
        }
    }

    fn model(&mut self, slot: &str) -> Result<Rc<Decoder>> {
        match self.own(slot)?.cloned() {
            Some(model) => self.models.get(&model),
            None => Err(Error::run(format!("the slot '{slot}' is none of the run's own models"))),
        }
    }
}

/// The kinds of queries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ask {
    ResponseLogps,
    TextLogp,
    Choose,
    Generate,
}

impl Ask {
    fn name(self) -> &'static str {
        match self {
            Ask::ResponseLogps => "ResponseLogps",
            Ask::TextLogp => "TextLogp",
            Ask::Choose => "Choose",
            Ask::Generate => "Generate",
        }
    }
}

fn text_ask(query: &Query) -> Option<TextAsk<'_>> {
    match query {
        Query::TextLogp { messages, continuation, .. } => Some(TextAsk { messages, texts: vec![continuation] }),
        Query::Choose { messages, labels, .. } => {
            Some(TextAsk { messages, texts: labels.iter().map(String::as_str).collect() })
        }
        _ => None,
    }
}

fn generate_ask(query: &Query) -> Option<GenerateAsk<'_>> {
    match query {
        Query::Generate { messages, count, max_new_tokens, temperature, top_p, .. } => Some(GenerateAsk {
            messages,
            count: *count,
            max_new_tokens: *max_new_tokens,
            temperature: *temperature,
            top_p: *top_p,
        }),
        _ => None,
    }
}

fn answered<T>(replies: Vec<Reply<T>>, answer: impl Fn(T) -> Answer) -> Vec<Answer> {
    replies.into_iter().map(|reply| reply.map_or_else(Answer::Failed, &answer)).collect()
}
