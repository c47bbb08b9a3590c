//! The letter of a choice in text: by itself, in a phrase that names it, or, where the choices are known, by its words.

use std::sync::LazyLock;

use regex::{Match, Regex};

use super::{boxed, pattern, without_emphasis};

/// A phrase that says which choice is meant: before the letter, or after it.
static BEFORE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?:(?i:answer|choice|option|pick|choose|select)(?:\s+(?i:is|was|should\s+be|would\s+be))?|(?i:correct|right|best)\s+(?i:one\s+)?(?i:is))\s*:?[\s*_("'\[]*([A-Za-z])\b"#,
    )
});
static AFTER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"\b([A-Z])[\s*_)"'\].]*\s(?i:is|seems|would\s+be|must\s+be)\s+(?:(?i:the|most\s+likely|clearly)\s+)*(?i:correct|right|best|answer)\b"#,
    )
});
/// A letter at the very start that stands for a choice: "B", "(b)", "**B**", "b.", "B) because".
static LEADING: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"^[\s*_("'\[$]*(?:([A-Z])\b|([a-z])(?:[\s*_"'\]]*$|[).:\]*,]))"#));
static CAPITAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b[A-Z]\b"));
static WORD_AFTER: LazyLock<Regex> = LazyLock::new(|| pattern(r"^ +([a-z]+)"));
/// LaTeX's text within formulas.
static TEXT: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}"));

/// The choices of a row, A, B, C … in order; none if they are not known.
pub(super) struct Choices<'a>(pub(super) &'a [String]);

impl Choices<'_> {
    /// After a marker: the whole text of a choice, the letter at the start, a letter that a phrase names, the words of
    /// one choice, the first letter.
    pub(super) fn of_answer(&self, tail: &str) -> Option<String> {
        let tail = &TEXT.replace_all(tail, "$1");
        if let Some(inner) = boxed(tail) {
            return self.whole(inner).or_else(|| self.leading(inner));
        }
        let line = without_emphasis(tail).lines().next().unwrap_or("");
        (self.whole(line))
            .or_else(|| self.leading(tail))
            .or_else(|| self.phrases(tail).next())
            .or_else(|| self.words(line))
            .or_else(|| self.letters(tail).next())
            .or_else(|| self.words(tail))
    }

    /// Without a marker: a boxed choice, the last one that a phrase names, the letter at the start, the only choice
    /// whose words are there, or the only letter there is.
    pub(super) fn of_text(&self, text: &str) -> Option<String> {
        let text = &TEXT.replace_all(text, "$1");
        if let Some(letter) = boxed(text).and_then(|inner| self.whole(inner).or_else(|| self.leading(inner))) {
            return Some(letter);
        }
        let only = || {
            let mut found = self.letters(text);
            let first = found.next()?;
            found.all(|other| other == first).then_some(first)
        };
        (self.whole(text))
            .or_else(|| self.phrases(text).last())
            .or_else(|| self.leading(text))
            .or_else(|| self.words(text))
            .or_else(only)
    }

    fn leading(&self, text: &str) -> Option<String> {
        let found = LEADING.captures(text)?;
        let letter = found.get(1).or_else(|| found.get(2))?;
        let lower_case = found.get(2).is_some();
        (self.known(letter.as_str()) && (lower_case || stands_for_choice(text, &letter)))
            .then(|| letter.as_str().to_ascii_uppercase())
    }

    /// The letters that phrases name, in the order of the text.
    fn phrases(&self, text: &str) -> impl DoubleEndedIterator<Item = String> {
        let mut found: Vec<Match> = [&*BEFORE, &*AFTER]
            .into_iter()
            .flat_map(|phrase| phrase.captures_iter(text).filter_map(|c| c.get(1)))
            .filter(|m| self.known(m.as_str()) && stands_for_choice(text, m))
            .collect();
        found.sort_by_key(Match::start);
        found.into_iter().map(|m| m.as_str().to_ascii_uppercase()).collect::<Vec<_>>().into_iter()
    }

    /// The capital letters that stand alone and are no words.
    fn letters(&self, text: &str) -> impl Iterator<Item = String> {
        let named = CAPITAL.find_iter(text).filter(|m| self.known(m.as_str()) && stands_for_choice(text, m));
        named.map(|m| m.as_str().to_owned())
    }

    /// Whether the row has a choice of this letter.
    fn known(&self, letter: &str) -> bool {
        let number = letter.bytes().next().map(|b| usize::from(b.to_ascii_uppercase().wrapping_sub(b'A')));
        self.0.is_empty() || number.is_some_and(|n| n < self.0.len())
    }

    /// The choice whose text this is.
    fn whole(&self, text: &str) -> Option<String> {
        let text = folded(text);
        let mut same = (0..self.0.len()).filter(|i| folded(&self.0[*i]) == text);
        same.next().map(letter)
    }

    /// The only choice whose words stand in the text. A choice within a longer one that is there too does not count.
    fn words(&self, text: &str) -> Option<String> {
        let text = format!(" {} ", folded(text));
        let folded: Vec<String> = self.0.iter().map(|choice| format!(" {} ", folded(choice))).collect();
        let there: Vec<usize> =
            (0..folded.len()).filter(|i| folded[*i].len() > 2 && text.contains(&folded[*i])).collect();
        let within = |i: &usize| there.iter().any(|j| j != i && folded[*j].contains(&folded[*i]));
        let mut longest = there.iter().filter(|i| !within(i));
        match (longest.next(), longest.next()) {
            (Some(only), None) => Some(letter(*only)),
            _ => None,
        }
    }
}

fn letter(number: usize) -> String {
    char::from(b'A' + number as u8).to_string()
}

/// Lower case, words and numbers alone, one space between them.
fn folded(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    spaced.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// Whether a letter names a choice: not the article of "A good fit", not the pronoun "I", no part of "I'm" or "C++".
fn stands_for_choice(text: &str, letter: &Match<'_>) -> bool {
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
        // In lower case a letter is a choice only where it ends the phrase.
        small if small.as_bytes()[0].is_ascii_lowercase() => {
            let ends = after.is_empty() || after.starts_with(['.', ',', ')', ']', ':', ';', '*', '"', '\'', '\n', '!']);
            ends || (!matches!(small, "a" | "i") && next_word.is_some_and(|w| AFTER_CHOICE.contains(&w)))
        }
        _ => true,
    }
}
