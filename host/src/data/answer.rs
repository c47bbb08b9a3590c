//! The final answer of a response, and whether it equals the known one.
//!
//! Where the response has a marker ("Answer:", in any case, with or without emphasis), only what follows the last one
//! that has text after it counts. A response without a recognizable answer has none: it is wrong, not guessed at.

use std::sync::LazyLock;

use regex::Regex;

use crate::error::{Error, Result};

/// How an answer is read out of a response. The known answer is read the same way, so that "#### 72" or "(B)" may
/// stand in the data.
#[derive(Clone, Debug)]
pub enum Extractor {
    /// The whole trimmed text.
    Exact,
    /// A decimal number: after the marker the first one, or the first after the last "=" of that line; without a
    /// marker the last one of the text. Written without thousands separators and trailing zeros.
    Number,
    /// A capital letter that names a choice.
    Choice,
    /// The first match of a pattern: its first group, or all of it where it has no group.
    Regex(Regex),
}

impl Extractor {
    /// `exact`, `number`, `choice` or `regex:PATTERN`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "exact" => Ok(Extractor::Exact),
            "number" => Ok(Extractor::Number),
            "choice" => Ok(Extractor::Choice),
            _ => match text.strip_prefix("regex:") {
                Some(pattern) => Regex::new(pattern)
                    .map(Extractor::Regex)
                    .map_err(|e| Error::config(format!("the pattern of the answer extractor cannot be used: {e}"))),
                None => Err(Error::config(format!("unknown answer extractor '{text}'"))
                    .help("one of: exact, number, choice, regex:PATTERN")),
            },
        }
    }

    /// The answer in `response`, in normal form; `None` where there is none.
    pub fn extract(&self, response: &str) -> Option<String> {
        let tail = after_marker(response);
        let text = tail.unwrap_or(response);
        match self {
            Extractor::Exact => {
                let text = without_emphasis(text);
                (!text.is_empty()).then(|| text.to_owned())
            }
            Extractor::Number => match tail {
                Some(tail) => number_of_answer(tail),
                None => match BOXED.captures_iter(response).last() {
                    Some(boxed) => number_of_answer(&boxed[1]),
                    None => numbers(response).last(),
                },
            },
            Extractor::Choice => match tail {
                Some(tail) => choice_of_answer(tail),
                None => choice_of_text(response),
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
        let known = self.extract(answer).unwrap_or_else(|| answer.trim().to_owned());
        self.extract(response).is_some_and(|found| found == known)
    }
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns of this file are fixed and tested")
}

static MARKER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\banswer\b[*_]*[ \t]*[:：]"));
static BOXED: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\boxed\{([^{}]*)\}"));
static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?:\d{1,3}(?:,\d{3})+\b|\d+)(?:\.\d+)?|\.\d+"));
/// A phrase that says which choice is meant.
static PHRASE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?:(?i:answer|choice|option|pick|choose)(?:\s+(?i:is|was|should\s+be|would\s+be))?|(?i:correct|right|best)\s+(?i:one\s+)?(?i:is))\s*:?[\s*_("'\[]*([A-Z])\b"#,
    )
});
/// A letter at the very start that stands for a choice: "B", "(b)", "**B**", "b.", "B) because".
static LEADING: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"^[\s*_("'\[]*(?:([A-Z])\b|([a-z])(?:[\s*_"'\]]*$|[).:\]*]))"#));
static CAPITAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b[A-Z]\b"));
static WORD_AFTER: LazyLock<Regex> = LazyLock::new(|| pattern(r"^ +([a-z]+)"));

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

/// The number that an answer ends in: after the last "=" of its first line, else the first one.
fn number_of_answer(tail: &str) -> Option<String> {
    let line = without_emphasis(tail).lines().next().unwrap_or("");
    let result = line.rsplit_once('=').and_then(|(_, right)| numbers(right).next());
    result.or_else(|| numbers(line).next()).or_else(|| numbers(tail).next())
}

/// The numbers of a text in normal form. Digits within a word ("B12", "x2") are no numbers.
fn numbers(text: &str) -> impl Iterator<Item = String> {
    NUMBER.find_iter(text).filter_map(|m| {
        let mut before = text[..m.start()].chars().rev();
        let previous = before.next();
        if previous.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.') {
            return None;
        }
        // A minus is a sign unless something stands right before it: "3-4", "step-2".
        let bound = before.next().is_some_and(|c| c.is_alphanumeric() || c == ')');
        let negative = matches!(previous, Some('-' | '−')) && !bound;
        Some(normal_number(m.as_str(), negative))
    })
}

fn normal_number(digits: &str, negative: bool) -> String {
    let plain = digits.replace(',', "");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if negative && (whole != "0" || !fraction.is_empty()) { "-" } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

/// After a marker: the letter at the start, else the first letter that is named as a choice, else the first one.
fn choice_of_answer(tail: &str) -> Option<String> {
    if let Some(letter) = leading_letter(tail) {
        return Some(letter);
    }
    let phrase = PHRASE.captures_iter(tail).find_map(|c| c.get(1).filter(|m| names_choice(tail, m)));
    phrase.map(|m| m.as_str().to_owned()).or_else(|| letters(tail).next())
}

/// Without a marker: the last choice named in a phrase, the letter at the start, or the only letter there is.
fn choice_of_text(text: &str) -> Option<String> {
    if let Some(boxed) = BOXED.captures_iter(text).last()
        && let Some(letter) = leading_letter(&boxed[1])
    {
        return Some(letter);
    }
    if let Some(named) = PHRASE.captures_iter(text).filter_map(|c| c.get(1).filter(|m| names_choice(text, m))).last() {
        return Some(named.as_str().to_owned());
    }
    if let Some(letter) = leading_letter(text) {
        return Some(letter);
    }
    let mut found = letters(text);
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

fn leading_letter(text: &str) -> Option<String> {
    let found = LEADING.captures(text)?;
    let letter = found.get(1).or_else(|| found.get(2))?;
    names_choice(text, &letter).then(|| letter.as_str().to_ascii_uppercase())
}

/// The capital letters of a text that stand alone and are no words.
fn letters(text: &str) -> impl Iterator<Item = String> {
    CAPITAL.find_iter(text).filter(|m| names_choice(text, m)).map(|m| m.as_str().to_owned())
}

/// Whether a letter names a choice: not the article of "A good fit", not the pronoun "I", no part of "I'm" or "C++".
fn names_choice(text: &str, letter: &regex::Match<'_>) -> bool {
    let after = &text[letter.end()..];
    let next_word = WORD_AFTER.captures(after).map(|c| c.get(1).map_or("", |m| m.as_str()));
    if after.starts_with(['\'', '’', '+', '#']) && !after.starts_with("' ") && after != "'" {
        return false;
    }
    const AFTER_CHOICE: [&str; 14] =
        ["because", "since", "as", "is", "was", "for", "and", "or", "but", "so", "due", "would", "which", "with"];
    match letter.as_str() {
        "A" => next_word.is_none_or(|w| AFTER_CHOICE.contains(&w)),
        "I" => next_word.is_none(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_where_they_stand() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            // The four defects of the reference code (method.md, trap 10).
            ("choice", "The best choice is C, because it is a good fit", Some("C")),
            ("choice", "Answer: **B** since C is a trap", Some("B")),
            ("number", "### Step 1\nadd 2 and 3\nAnswer: 5", Some("5")),
            ("number", "Answer: 3 x 4 = 12", Some("12")),
            // Markers.
            ("number", "Answer: 4\nNo, wait.\nANSWER: 5", Some("5")),
            ("number", "**Answer:** 5", Some("5")),
            ("number", "**Answer**: 5 (from step 2)", Some("5")),
            ("number", "Final answer:\n\n 7 apples, not 8", Some("7")),
            ("number", "Answer: 5\nAnswer:", Some("5")),
            ("number", "1 and 2. Answer: none", None),
            ("exact", "I think.\nAnswer: **stone** ", Some("stone")),
            ("exact", "  stone\n", Some("stone")),
            ("exact", " ", None),
            // Numbers.
            ("number", "2 + 3 makes 5", Some("5")),
            ("number", "so it is $1,234.50.", Some("1234.5")),
            ("number", "Answer: -3", Some("-3")),
            ("number", "Answer: −3.0", Some("-3")),
            ("number", "Answer: 007", Some("7")),
            ("number", "Answer: -0.0", Some("0")),
            ("number", "Answer: .5", Some("0.5")),
            ("number", "take 7-4 away", Some("4")),
            ("number", "1,2345", Some("2345")),
            ("number", "vitamin B12", None),
            ("number", r"hence \boxed{42}, as 6 x 7", Some("42")),
            ("number", "#### 72", Some("72")),
            ("number", "no digits", None),
            // Choices.
            ("choice", "C", Some("C")),
            ("choice", "(b)", Some("B")),
            ("choice", "b. It is cold", Some("B")),
            ("choice", "Answer: A good fit is D", Some("D")),
            ("choice", "Answer: A because it fits", Some("A")),
            ("choice", "Answer: a", Some("A")),
            ("choice", "Answer: (D) iron", Some("D")),
            ("choice", "Answer: The correct option is B, not C", Some("B")),
            ("choice", "I'm sure it is a dog", None),
            ("choice", "I believe B fits", Some("B")),
            ("choice", "B or C could be", Some("B")),
            ("choice", "Both B and C could be", None),
            ("choice", "A is wrong. The answer is D.", Some("D")),
            ("choice", "Answer: neither", None),
            // Patterns.
            ("regex:x=(\\d+)", "y=1, x=23", Some("23")),
            ("regex:[a-z]{3}", "Answer: 12 abc def", Some("abc")),
            ("regex:x=(\\d+)", "x=", None),
        ];
        for (extractor, response, expected) in cases {
            let found = Extractor::parse(extractor).unwrap().extract(response);
            assert_eq!(found.as_deref(), *expected, "{extractor} of {response:?}");
        }
    }

    #[test]
    fn a_known_answer_is_read_the_same_way() {
        for (extractor, response, answer, correct) in [
            ("number", "Answer: 1,000", "#### 1000", true),
            ("number", "Answer: 12.0", "12", true),
            ("number", "Answer: 12", "13", false),
            ("number", "no idea", "13", false),
            ("choice", "Answer: b", "B", true),
            ("choice", "Answer: B", "(B) iron", true),
            ("exact", "stone\n", " stone", true),
            ("exact", "Stone", "stone", false),
        ] {
            let extractor = Extractor::parse(extractor).unwrap();
            assert_eq!(extractor.is_correct(response, answer), correct, "{extractor:?}: {response:?}, {answer:?}");
        }
    }

    #[test]
    fn an_unusable_extractor_is_an_error() {
        assert!(Extractor::parse("regex:(").unwrap_err().message().contains("pattern"));
        assert!(Extractor::parse("letters").unwrap_err().message().contains("letters"));
    }
}
