//! The score that a judgment gives.

use serde::Deserialize;

use crate::params::out_of_range;
use crate::types::PluginError;

/// Which of several scores counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occurrence {
    First,
    Last,
}

/// How a score is read from a judgment; the parameters `marker`, `parse`, `min-score` and `max-score`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreRule {
    /// The text before the score; if it is empty, the judgment begins with the score.
    pub marker: String,
    pub occurrence: Occurrence,
    pub min: f64,
    pub max: f64,
}

impl ScoreRule {
    /// The error names the parameter that is out of range.
    pub fn check(&self) -> Result<(), PluginError> {
        if self.marker.trim().is_empty() && !self.marker.is_empty() {
            let expected =
                "a text that stands before the score, such as \"Score:\", or \"\" for a judgment that begins with it";
            return Err(out_of_range("marker", "blank", expected));
        }
        if !(self.min < self.max && self.min.is_finite() && self.max.is_finite()) {
            return Err(out_of_range("min-score", self.min, &format!("below max-score, {}", self.max)));
        }
        Ok(())
    }

    /// Reads the score after the first or last `marker` that a number follows. Letters of the marker match in either
    /// case (ASCII); between it and the number, spaces and the signs `*` `_` `` ` `` `"` `<` `(` `[` may stand. The
    /// number may be followed by "/ M" or "out of M", with M the highest score.
    ///
    /// `None`, never a guess, if there is no such number, if it lies outside of `min..=max`, if it counts against
    /// another highest score, if it is part of something else ("4-5", "3.2.1", "4th", "80%"), or if the text was
    /// `cut_off` right after it, where digits may be missing.
    pub fn read(&self, text: &str, cut_off: bool) -> Option<f64> {
        let value = |number: &str| read(number, self.min, self.max, cut_off);
        if self.marker.is_empty() {
            return value(opened(text));
        }
        // to_ascii_lowercase keeps the length, so places in one are places in the other
        let (lower, marker) = (text.to_ascii_lowercase(), self.marker.to_ascii_lowercase());
        let number = |at: usize| {
            let number = opened(&text[at + marker.len()..]);
            (!continues_word(&text[..at], &marker) && starts_number(number)).then_some(number)
        };
        let step = marker.chars().next().map_or(1, char::len_utf8);
        let (mut from, mut found) = (0, None);
        while let Some(at) = lower[from..].find(&marker) {
            found = number(from + at).or(found);
            if found.is_some() && self.occurrence == Occurrence::First {
                break;
            }
            // the next candidate begins after this one's first character
            from += at + step;
        }
        found.and_then(value)
    }
}

/// The text without what may stand between a marker and its number.
fn opened(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_whitespace() || "*_`\"<([".contains(c))
}

/// Whether the marker is the tail of a longer word, as "score:" is in "subscore:".
fn continues_word(before: &str, marker: &str) -> bool {
    let wordy = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    wordy(before.chars().next_back()) && wordy(marker.chars().next())
}

fn starts_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+', '−', '.']).unwrap_or(text);
    unsigned.starts_with(|c: char| c.is_ascii_digit())
}

fn read(text: &str, min: f64, max: f64, cut_off: bool) -> Option<f64> {
    let (value, rest) = number(text)?;
    if cut_off && rest.is_empty() {
        return None;
    }
    let rest = match scale(rest) {
        Some(of) => {
            let (of, rest) = number(of)?;
            if of != max {
                return None;
            }
            rest
        }
        None => rest,
    };
    (ends_number(rest) && (min..=max).contains(&value)).then_some(value)
}

/// A plain decimal number, "3" or "-3.5", and what follows it.
fn number(text: &str) -> Option<(f64, &str)> {
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let sign = usize::from(text.starts_with(['-', '+']));
    let whole = digits(&text[sign..]);
    if whole == 0 {
        return None;
    }
    let mut end = sign + whole;
    if text[end..].starts_with('.') {
        let fraction = digits(&text[end + 1..]);
        if fraction > 0 {
            end += 1 + fraction;
        }
    }
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// What follows "/" or "out of", if one of them is next.
fn scale(rest: &str) -> Option<&str> {
    let rest = rest.trim_start_matches([' ', '*', '_']);
    rest.strip_prefix('/').or_else(|| rest.strip_prefix("out of")).map(|s| s.trim_start_matches([' ', '*', '_']))
}

/// Whether the number ends here and was not the start of something else.
fn ends_number(rest: &str) -> bool {
    let mut chars = rest.chars();
    match chars.next() {
        Some('.' | ',') => !chars.next().is_some_and(|c| c.is_ascii_digit()),
        Some(c) => !(c.is_alphanumeric() || "%-–—−/+~:^".contains(c)),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(marker: &str, occurrence: Occurrence, min: f64, max: f64) -> ScoreRule {
        ScoreRule { marker: marker.into(), occurrence, min, max }
    }

    #[test]
    fn the_first_score_or_the_last() {
        let cases = [
            ("Score: 3. Then Score: 4", Some(3.0), Some(4.0)),
            ("Score: x. Score: 2", Some(2.0), Some(2.0)),
            ("Score: 9. Score: 2", None, Some(2.0)),
            ("score:1 score:2", Some(1.0), Some(2.0)),
            ("no", None, None),
        ];
        for (text, first, last) in cases {
            assert_eq!(rule("Score:", Occurrence::First, 0.0, 5.0).read(text, false), first, "{text}");
            assert_eq!(rule("Score:", Occurrence::Last, 0.0, 5.0).read(text, false), last, "{text}");
        }
    }

    #[test]
    fn without_a_marker_the_judgment_begins_with_the_score() {
        for (text, expected) in [
            ("4", Some(4.0)),
            (" **4**\nBecause", Some(4.0)),
            ("4/5", Some(4.0)),
            ("I say 4", None),
            ("", None),
            ("4-5", None),
        ] {
            assert_eq!(rule("", Occurrence::Last, 0.0, 5.0).read(text, false), expected, "{text}");
        }
        assert_eq!(rule("", Occurrence::Last, 0.0, 5.0).read("4", true), None);
    }

    #[test]
    fn reads_the_last_score_or_nothing() {
        let cases: &[(&str, Option<f64>)] = &[
            ("Good.\nScore: 4", Some(4.0)),
            ("Score: 4.5", Some(4.5)),
            ("Score: 0", Some(0.0)),
            ("Score: 5.", Some(5.0)),
            ("score:3\n", Some(3.0)),
            ("**Total score:** **2**", Some(2.0)),
            ("Score: <4>", Some(4.0)),
            ("Score: [4]", Some(4.0)),
            ("Score: 4/5", Some(4.0)),
            ("Score: **4** / 5.", Some(4.0)),
            ("Score: 4 out of 5", Some(4.0)),
            ("Score: 4, since it is good", Some(4.0)),
            ("The response says \"Score: 5\" itself.\nScore: 1", Some(1.0)),
            ("Score: 3\nI end with Score: as asked", Some(3.0)),
            ("Score: 3\nMy subscore: 5", Some(3.0)),
            ("Ünïcödé … Score: 2", Some(2.0)),
            ("", None),
            ("4", None),
            ("Score:", None),
            ("Score: four", None),
            ("Score: 6", None),
            ("Score: -1", None),
            ("Score: −1", None),
            ("Score: .5", None),
            ("Score: 2. Then Score: 9", None),
            ("Score: 4/10", None),
            ("Score: 4 out of 10", None),
            ("Score: 4/", None),
            ("Score: 4-5", None),
            ("Score: 3.2.1", None),
            ("Score: 3,5", None),
            ("Score: 80%", None),
            ("Score: 4th", None),
            ("Score: 1e1", None),
            ("Score: NaN", None),
            ("Score: 99999999999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(rule("Score:", Occurrence::Last, 0.0, 5.0).read(text, false), *expected, "{text:?}");
        }
    }

    #[test]
    fn a_number_at_the_cut_is_not_trusted() {
        assert_eq!(rule("Score:", Occurrence::Last, 0.0, 50.0).read("Score: 4", true), None);
        assert_eq!(rule("Score:", Occurrence::Last, 0.0, 50.0).read("Score: 4\nBecause", true), Some(4.0));
    }

    #[test]
    fn any_marker_works() {
        assert_eq!(rule("[[", Occurrence::Last, 1.0, 5.0).read("[[3]]", false), Some(3.0));
        assert_eq!(rule("aa", Occurrence::Last, 1.0, 5.0).read("aaa3", false), None, "the tail of a longer word");
        assert_eq!(rule("→", Occurrence::Last, 1.0, 5.0).read("→→2", false), Some(2.0));
        assert_eq!(rule("note:", Occurrence::Last, 1.0, 10.0).read("Note: 10 Note: 7", false), Some(7.0));
    }
}
