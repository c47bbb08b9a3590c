//! The final answer of a response, and whether it equals the known one.
//!
//! Where the response has a marker ("Answer:", in any case, with or without emphasis), only what follows the last one
//! that has text after it counts. A response without a recognizable answer has none: it is wrong, not guessed at.
//! The program's evaluation and the judges `vote` and `labels` read answers with it. Behind the feature `answer`, for
//! its patterns.

mod choice;
mod number;

use std::sync::LazyLock;

use regex::Regex;

use crate::types::PluginError;
use choice::Choices;

/// How an answer is read out of a response. The known answer is read the same way, so that "#### 72" or "(B)" may
/// stand in the data.
#[derive(Clone, Debug)]
pub enum Extractor {
    /// The whole trimmed text.
    Exact,
    /// A number. After the marker it is the first one, or the first after the last "=" of that line; without a marker
    /// the boxed one, the one after "answer is" or "####", or else the last one of the text.
    Number,
    /// The letter of a choice, in upper case.
    Choice,
    /// The first match of a pattern: its first group, or all of it where it has no group.
    Regex(Regex),
}

impl Extractor {
    /// `exact`, `number`, `choice` or `regex:PATTERN`; the error says what is wrong with another text.
    ///
    /// ```
    /// use creamery_plugin::answer::Extractor;
    /// let number = Extractor::parse("number").unwrap();
    /// assert_eq!(number.extract("2 + 3 makes 5.\nAnswer: 5.0"), Some("5".to_owned()));
    /// ```
    pub fn parse(text: &str) -> Result<Self, PluginError> {
        match text {
            "exact" => Ok(Extractor::Exact),
            "number" => Ok(Extractor::Number),
            "choice" => Ok(Extractor::Choice),
            _ => match text.strip_prefix("regex:") {
                Some(pattern) => Regex::new(pattern)
                    .map(Extractor::Regex)
                    .map_err(|e| PluginError::new(format!("the pattern of the answer extractor cannot be used: {e}"))),
                None => Err(PluginError::new(format!(
                    "unknown answer extractor '{text}', expected exact, number, choice or regex:PATTERN"
                ))),
            },
        }
    }

    /// The answer in `response`, in normal form; `None` where there is none.
    pub fn extract(&self, response: &str) -> Option<String> {
        self.extract_among(response, &[])
    }

    /// The same, where the texts of the choices A, B, C … are known: a choice may be given by its text, and only their
    /// letters name one. Other extractors do not look at the choices.
    pub fn extract_among(&self, response: &str, choices: &[String]) -> Option<String> {
        let tail = after_marker(response);
        let text = tail.unwrap_or(response);
        match self {
            Extractor::Exact => {
                let text = without_emphasis(text);
                (!text.is_empty()).then(|| text.to_owned())
            }
            Extractor::Number => match tail {
                Some(tail) => number::of_answer(tail),
                None => boxed(response).and_then(number::of_answer).or_else(|| number::of_text(response)),
            },
            Extractor::Choice => match tail {
                Some(tail) => Choices(choices).of_answer(tail),
                None => Choices(choices).of_text(response),
            },
            Extractor::Regex(pattern) => {
                let found = pattern.captures(text)?;
                let whole = found.get(1).or_else(|| (pattern.captures_len() == 1).then(|| found.get(0)).flatten())?;
                Some(whole.as_str().trim().to_owned())
            }
        }
    }

    /// Whether the answer in `response` is the known `answer`.
    pub fn is_correct(&self, response: &str, answer: &str) -> bool {
        self.extract(response).is_some_and(|found| found == self.known(answer, &[]))
    }

    /// The known answer in normal form; as it stands where the extractor finds none in it.
    pub fn known(&self, answer: &str, choices: &[String]) -> String {
        self.extract_among(answer, choices).unwrap_or_else(|| answer.trim().to_owned())
    }
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns of this file are fixed and tested")
}

/// "Answer:", "the answer is:", or a heading "## Answer".
static MARKER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?im)\banswer(?:\s+is)?\b[*_]*[ \t]*[:：]|^[ \t]*(?:\#+|\*\*|__)[ \t]*(?:the[ ])?(?:final[ ])?answer[*_]*[ \t]*$",
    )
});

/// What follows the last marker that has text after it.
fn after_marker(text: &str) -> Option<&str> {
    let mut end = text.len();
    let mut found = None;
    for marker in MARKER.find_iter(text).collect::<Vec<_>>().into_iter().rev() {
        if found.is_none() && !without_emphasis(&text[marker.end()..end]).is_empty() {
            found = Some(text[marker.end()..end].trim());
        }
        end = marker.start();
    }
    found
}

/// Trimmed, and without the asterisks of bold text, of which one pair may have been cut by the marker.
fn without_emphasis(text: &str) -> &str {
    let mut text = text.trim();
    text = text.strip_prefix("**").unwrap_or(text).trim_start();
    text.strip_suffix("**").unwrap_or(text).trim_end()
}

/// What stands in the last `\boxed{…}`, braces within it included.
fn boxed(text: &str) -> Option<&str> {
    let start = text.rfind(r"\boxed{")? + r"\boxed{".len();
    let mut depth = 1;
    for (i, c) in text[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&text[start..start + i]);
        }
    }
    None
}

#[cfg(test)]
mod tests;
