//! The score that a judgment ends with.

/// Reads the score after the last `marker` that a number follows. Letters of the marker match in either case
/// (ASCII); between it and the number, spaces and the signs `*` `_` `` ` `` `"` `<` `(` `[` may stand. The number
/// may be followed by "/ M" or "out of M", with M the highest score.
///
/// `None`, never a guess, if there is no such number, if it lies outside of `min..=max`, if it counts against
/// another highest score, if it is part of something else ("4-5", "3.2.1", "4th", "80%"), or if the text was
/// `cut_off` right after it, where digits may be missing.
pub fn score(text: &str, marker: &str, min: f64, max: f64, cut_off: bool) -> Option<f64> {
    // to_ascii_lowercase keeps the length, so places in one are places in the other
    let (lower, marker) = (text.to_ascii_lowercase(), marker.to_ascii_lowercase());
    let mut end = lower.len();
    while let Some(at) = lower[..end].rfind(&marker) {
        let after = &text[at + marker.len()..];
        let number = after.trim_start_matches(|c: char| c.is_whitespace() || "*_`\"<([".contains(c));
        if !continues_word(&text[..at], &marker) && starts_number(number) {
            return read(number, min, max, cut_off);
        }
        // the next candidate ends before this one's last character
        end = at + marker.len() - marker.chars().next_back().map_or(1, char::len_utf8);
    }
    None
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
            assert_eq!(score(text, "Score:", 0.0, 5.0, false), *expected, "{text:?}");
        }
    }

    #[test]
    fn a_number_at_the_cut_is_not_trusted() {
        assert_eq!(score("Score: 4", "Score:", 0.0, 50.0, true), None);
        assert_eq!(score("Score: 4\nBecause", "Score:", 0.0, 50.0, true), Some(4.0));
    }

    #[test]
    fn any_marker_works() {
        assert_eq!(score("[[3]]", "[[", 1.0, 5.0, false), Some(3.0));
        assert_eq!(score("aaa3", "aa", 1.0, 5.0, false), None, "the tail of a longer word");
        assert_eq!(score("→→2", "→", 1.0, 5.0, false), Some(2.0));
        assert_eq!(score("Note: 10 Note: 7", "note:", 1.0, 10.0, false), Some(7.0));
    }
}
