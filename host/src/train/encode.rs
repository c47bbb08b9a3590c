//! Rows of `creamery train` as tokens, the way TRL 1.16 makes them.
//!
//! * A conversation goes through the chat template twice, the prompt with the generation prompt and the whole without.
//!   The response starts where the two part; where that is before the prompt's end, the rest of the prompt is left out,
//!   counted and reported. What the template writes after the answer belongs to the response.
//! * Plain text is joined and tokenized with the tokenizer's special tokens; a response that does not end with the
//!   end-of-sequence token gets one.
//! * Token ids are taken as they are.
//!
//! In contrast to TRL, which cuts them, rows that are too long are dropped and counted.

use std::path::Path;

use crate::data::rows::{PairRow, TrainingLine, TrainingText};
use crate::data::{ChatFormat, Message, Tokenizer};
use crate::error::{Error, Result};

use super::{PreferencePair, SftRow};

/// What makes tokens of rows.
pub struct Encoder<'a> {
    /// The data file, for errors.
    pub file: &'a Path,
    /// `None` for a model without a tokenizer: then rows must hold token ids.
    pub chat: Option<&'a ChatFormat>,
    /// Of the model: token ids are below it.
    pub vocab_size: usize,
    /// A token that only fills up rows: a response of nothing else is none. `None` where there is no such token, or
    /// where it ends responses too.
    pub padding: Option<u32>,
    /// Rows with more tokens, prompt and the longer response together, are dropped.
    pub max_length: usize,
}

/// Rows as tokens.
#[derive(Debug)]
pub struct Encoded<T> {
    pub rows: Vec<T>,
    /// Where each of them stands among all lines.
    pub kept: Vec<usize>,
    /// The ids of rows that are too long.
    pub too_long: Vec<String>,
    /// Rows whose prompt lost its end, since it is written otherwise when an answer follows.
    pub cut_prompts: usize,
}

impl Encoder<'_> {
    /// # Errors
    /// A row that gives no tokens for its prompt or a response, or tokens that the model does not know, named with its
    /// line; and no row left.
    pub fn sft(&self, lines: &[TrainingLine<TrainingText<1>>]) -> Result<Encoded<SftRow>> {
        self.all(lines, |row| row, |line, prompt, [response]| Ok(SftRow { id: line.id.clone(), prompt, response }))
    }

    /// The pairs, without a reference yet. A pair has weight 1 if its row has none.
    ///
    /// # Errors
    /// As [`Encoder::sft`]; and a row without consistency where the objective needs it.
    pub fn pairs(&self, lines: &[TrainingLine<PairRow>], needs_consistency: bool) -> Result<Encoded<PreferencePair>> {
        self.all(
            lines,
            |row| &row.text,
            |line, prompt, [chosen, rejected]| {
                let consistency = match line.row.consistency {
                    None if needs_consistency => {
                        return Err(Error::input("the field 'consistency' is missing, and the objective needs it")
                            .help("add it to every row (`creamery label` does), or choose another loss or objective"));
                    }
                    given => given.unwrap_or(1.0),
                };
                let (reference_chosen, reference_rejected) = (0.0, 0.0);
                let (id, weight) = (line.id.clone(), line.row.weight.unwrap_or(1.0));
                let pair = PreferencePair {
                    id,
                    prompt,
                    chosen,
                    rejected,
                    reference_chosen,
                    reference_rejected,
                    consistency,
                    weight,
                };
                Ok(pair)
            },
        )
    }

    fn all<R, T, const N: usize>(
        &self,
        lines: &[TrainingLine<R>],
        text: impl Fn(&R) -> &TrainingText<N>,
        make: impl Fn(&TrainingLine<R>, Vec<u32>, [Vec<u32>; N]) -> Result<T>,
    ) -> Result<Encoded<T>> {
        let mut encoded = Encoded { rows: Vec::new(), kept: Vec::new(), too_long: Vec::new(), cut_prompts: 0 };
        for (i, line) in lines.iter().enumerate() {
            let place = |e: Error| e.row(self.file, line.line);
            let text = text(&line.row);
            let (prompt, responses, cut) = self.tokens(text).map_err(place)?;
            self.check(&prompt, &responses, matches!(text, TrainingText::Ids { .. })).map_err(place)?;
            let length = prompt.len() + responses.iter().map(Vec::len).max().unwrap_or(0);
            let row = make(line, prompt, responses).map_err(place)?;
            if length > self.max_length {
                encoded.too_long.push(line.id.clone());
                continue;
            }
            encoded.cut_prompts += usize::from(cut);
            encoded.rows.push(row);
            encoded.kept.push(i);
        }
        if encoded.rows.is_empty() {
            let (count, limit) = (lines.len(), self.max_length);
            return Err(Error::input(format!("all {count} rows have more than {limit} tokens, so none is left"))
                .file(self.file)
                .help("raise max-length, or shorten the rows; the model's own context is the highest limit"));
        }
        Ok(encoded)
    }

    /// What the model cannot learn from. `as_ids`: the row was given as token ids.
    fn check<const N: usize>(&self, prompt: &[u32], responses: &[Vec<u32>; N], as_ids: bool) -> Result<()> {
        let end = if as_ids { "_ids" } else { "" };
        let named = responses.iter().enumerate().map(|(i, ids)| (response_name::<N>(i), ids.as_slice()));
        for (name, ids) in std::iter::once(("prompt", prompt)).chain(named.clone()) {
            if let Some(i) = ids.iter().position(|id| *id as usize >= self.vocab_size) {
                let (id, last) = (ids[i], self.vocab_size.saturating_sub(1));
                return Err(Error::input(format!(
                    "token {i} of '{name}{end}' has the id {id}, but the model's ids end at {last}"
                ))
                .help("the row was made with another tokenizer than the model's"));
            }
        }
        let Some(padding) = self.padding else { return Ok(()) };
        match named.into_iter().find(|(_, ids)| ids.iter().all(|id| *id == padding)) {
            None => Ok(()),
            Some((name, _)) => Err(Error::input(format!("'{name}{end}' is only padding, the token {padding}"))
                .help("give responses without the tokens that fill them up, or take the row out")),
        }
    }

    /// Prompt and responses, and whether the prompt lost its end.
    fn tokens<const N: usize>(&self, text: &TrainingText<N>) -> Result<(Vec<u32>, [Vec<u32>; N], bool)> {
        let chat = || {
            self.chat.ok_or_else(|| {
                Error::input("the row is text, and the model's folder has no tokenizer.json to read it with")
                    .help("add the tokenizer's files to the model's folder, or give the row as token ids")
            })
        };
        match text {
            TrainingText::Ids { prompt, responses, texts } => {
                for (i, (ids, text)) in responses.iter().zip(texts).enumerate() {
                    if let (Some(chat), Some(text)) = (self.chat, text) {
                        says(chat.tokenizer(), response_name::<N>(i), ids, text)?;
                    }
                }
                Ok((prompt.clone(), responses.clone(), false))
            }
            TrainingText::Chat { prompt, responses } => {
                let chat = chat()?;
                let start = chat.encode(prompt, true)?;
                let whole = |answer: &String| {
                    let mut messages = prompt.clone();
                    messages.push(Message { role: "assistant".into(), content: answer.clone() });
                    chat.encode(&messages, false)
                };
                split(start, each(responses, whole)?)
            }
            TrainingText::Text { prompt, responses } => {
                let tokenizer = chat()?.tokenizer();
                let eos = tokenizer.special("eos_token").ok_or_else(|| {
                    Error::input("the tokenizer names no eos_token to end a plain text with")
                        .help("add eos_token to tokenizer_config.json, or give the rows as messages")
                })?;
                let whole = |response: &String| {
                    let end = if response.ends_with(eos) { "" } else { eos };
                    tokenizer.encode_with_special(&format!("{prompt}{response}{end}"))
                };
                split(tokenizer.encode_with_special(prompt)?, each(responses, whole)?)
            }
        }
    }
}

/// Fails if a response's ids do not say its text, with or without the token that ends it: one of them was edited.
fn says(tokenizer: &Tokenizer, name: &str, ids: &[u32], text: &str) -> Result<()> {
    let known = [ids, &ids[..ids.len().saturating_sub(1)]];
    if known.iter().any(|ids| tokenizer.decode(ids).is_ok_and(|said| said == text)) {
        return Ok(());
    }
    let said = tokenizer.decode(ids).unwrap_or_default();
    Err(Error::input(format!("'{name}_ids' say {said:?}, and '{name}' says {text:?}"))
        .help("the ids are what is trained on: take all *_ids out of the row to train on the text"))
}

/// Cuts each whole text where the first of them parts from the prompt.
fn split<const N: usize>(start: Vec<u32>, wholes: [Vec<u32>; N]) -> Result<(Vec<u32>, [Vec<u32>; N], bool)> {
    let common = |whole: &Vec<u32>| start.iter().zip(whole).take_while(|(a, b)| a == b).count();
    let at = wholes.iter().map(common).min().unwrap_or(0);
    if at == 0 {
        return Err(Error::input("the prompt has no tokens of its own"));
    }
    if let Some(i) = wholes.iter().position(|whole| whole.len() == at) {
        return Err(Error::input(format!("'{}' has no tokens", response_name::<N>(i))));
    }
    let cut = at < start.len();
    let mut prompt = start;
    prompt.truncate(at);
    Ok((prompt, wholes.map(|whole| whole[at..].to_vec()), cut))
}

/// The field of the response `i`, where a row has N of them.
fn response_name<const N: usize>(i: usize) -> &'static str {
    if N == 1 { "completion" } else { ["chosen", "rejected"][i] }
}

fn each<T, const N: usize>(texts: &[String; N], make: impl Fn(&String) -> Result<T>) -> Result<[T; N]> {
    let made = texts.iter().map(make).collect::<Result<Vec<T>>>()?;
    Ok(made.try_into().unwrap_or_else(|_| unreachable!("one for each text")))
}
