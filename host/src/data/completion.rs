//! A prompt and a given response as token ids.
//!
//! Text that a user gives becomes ids here, once. (A sampled response keeps the ids it was sampled with.)
//!
//! These are the tokens that a model would sample: the response ends with its end token. `creamery train` makes TRL's
//! rows instead (`train::encode`), which keep what a template writes after it and add an end token to plain text.

use creamery_plugin::Message;

use super::template::ChatFormat;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// A conversation's ids, cut where the response starts. The response ends with the last of the `stop` tokens, since a
/// model stops there; what a template writes after it is left out.
pub fn conversation(
    chat: &ChatFormat,
    stop: &[u32],
    prompt: &[Message],
    completion: &str,
) -> Result<(Vec<u32>, Vec<u32>)> {
    let start = chat.encode(prompt, true)?;
    let mut messages = prompt.to_vec();
    messages.push(Message { role: "assistant".into(), content: completion.to_owned() });
    let whole = chat.encode(&messages, false)?;
    let Some(response) = whole.strip_prefix(start.as_slice()) else {
        return Err(Error::input("the chat template writes a conversation that does not start with its prompt")
            .help("a template that changes earlier text when an answer follows cannot be used with given responses"));
    };
    let end = response.iter().rposition(|id| stop.contains(id)).map_or(response.len(), |at| at + 1);
    if end == 0 {
        return Err(Error::input("the response has no tokens"));
    }
    Ok((start, response[..end].to_vec()))
}

/// Plain text's ids, with the special tokens that the tokenizer puts around a text. The response starts where the
/// prompt's ids and the whole text's ids part, as in TRL: where tokens merge across the border, the prompt is shorter.
pub fn plain(tokenizer: &Tokenizer, prompt: &str, completion: &str) -> Result<(Vec<u32>, Vec<u32>)> {
    let start = tokenizer.encode_with_special(prompt)?;
    let whole = tokenizer.encode_with_special(&format!("{prompt}{completion}"))?;
    let common = start.iter().zip(&whole).take_while(|(a, b)| a == b).count();
    if common == 0 || common == whole.len() {
        let what = if common == 0 { "the prompt has no tokens of its own" } else { "the response has no tokens" };
        return Err(Error::input(what).help("give the row as token ids, or as messages"));
    }
    Ok((whole[..common].to_vec(), whole[common..].to_vec()))
}
