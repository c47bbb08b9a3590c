//! Numbers in text, in one normal form: no thousands separators, no trailing zeros, fractions in lowest terms and, where
//! they end, as decimals. Signs of currency, percent signs and units are no part of a number.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{pattern, without_emphasis};

/// Digits with or without thousands separators, and a fraction's denominator, maybe after a whole number: "1 1/2".
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?x)
        (?<whole>\d+) [\ ] (?<above>\d+) / (?<below>\d+)
        | (?<plain> (?: \d{1,3}(?:,\d{3})+\b | \d+ ) (?:\.\d+)? | \.\d+ ) (?: \ ?/\ ? (?<denominator>\d+) )?",
    )
});
/// LaTeX's fractions, and its ways to set thousands apart.
static FRACTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}"));
static THOUSANDS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(\d)(?:\{,\}|\\[,!;:]|[\u{a0}\u{202f}\u{2009}])(\d{3})\b"));
/// Where a sentence without a marker says what the answer is; a line of GSM8K's own answers.
static SAID: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)####|\banswer\s+(?:is|equals|=)|\banswer\s+would\s+be"));
static PARENTHESES: LazyLock<Regex> = LazyLock::new(|| pattern(r"\([^()]*\)"));

/// The number of a text that is an answer: after the last "=" of its first line, else the first one. What stands in
/// parentheses counts only if there is no number outside of them.
pub(super) fn of_answer(text: &str) -> Option<String> {
    let text = plain(without_emphasis(text));
    let line = text.trim_start().lines().next().unwrap_or("");
    let outside = PARENTHESES.replace_all(line, " ");
    let line = if numbers(&outside).is_empty() { line } else { &outside };
    let result = line.rsplit_once('=').and_then(|(_, right)| first(right));
    result.or_else(|| first(line)).or_else(|| first(&text))
}

/// The number of a text without a marker: what it says is the answer, else its last one.
pub(super) fn of_text(text: &str) -> Option<String> {
    let said = SAID.find_iter(text).filter_map(|m| {
        let line = text[m.end()..].lines().next().unwrap_or("");
        of_answer(line)
    });
    said.last().or_else(|| numbers(&plain(text)).pop())
}

fn first(text: &str) -> Option<String> {
    numbers(text).into_iter().next()
}

/// LaTeX's numbers as plain text has them.
fn plain(text: &str) -> Cow<'_, str> {
    let text = match FRACTION.replace_all(text, |c: &Captures| format!("{}/{}", &c[1], &c[2])) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(text) => Cow::Owned(text),
    };
    let text = if text.contains("\\$") { Cow::Owned(text.replace("\\$", "$")) } else { text };
    match THOUSANDS.is_match(&text) {
        // Twice, since the digits of two separators are shared: 1{,}234{,}567.
        true => Cow::Owned(THOUSANDS.replace_all(&THOUSANDS.replace_all(&text, "$1$2"), "$1$2").into_owned()),
        false => text,
    }
}

/// The numbers of a text in normal form. Digits within a word ("B12", "x2") are no numbers.
fn numbers(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(captures) = NUMBER.captures_at(text, at) {
        let all = captures.get(0).expect("a match has a whole");
        let (value, end) = value(text, &captures);
        at = end;
        if let Some(negative) = sign(&text[..all.start()]) {
            found.push(if negative && value != "0" { format!("-{value}") } else { value });
        }
    }
    found
}

/// Whether a number after `before` is negative; `None` if it is no number but the end of a word or of a decimal.
fn sign(before: &str) -> Option<bool> {
    let mut before = before.chars().rev().peekable();
    if before.peek().is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '.')) {
        return None;
    }
    // "-$5" is as negative as "$-5".
    before.next_if(|c| matches!(c, '$' | '€' | '£' | '¥'));
    let minus = before.next_if(|c| matches!(c, '-' | '−')).is_some();
    // A minus is a sign unless something stands right before it: "3-4", "step-2".
    Some(minus && !before.peek().is_some_and(|c| c.is_alphanumeric() || *c == ')'))
}

/// The normal form of a match, and where it ends.
fn value(text: &str, captures: &Captures<'_>) -> (String, usize) {
    let group = |name: &str| captures.name(name);
    // A date or a path has more slashes than a fraction.
    let slash = |end: usize| text[end..].starts_with('/');
    if let (Some(whole), Some(above), Some(below)) = (group("whole"), group("above"), group("below")) {
        let mixed = || {
            let (whole, above, below): (u128, u128, u128) =
                (whole.as_str().parse().ok()?, above.as_str().parse().ok()?, below.as_str().parse().ok()?);
            let over = whole.checked_mul(below)?.checked_add(above)?;
            (above < below).then(|| ratio(over, below)).flatten()
        };
        return match mixed().filter(|_| !slash(below.end())) {
            Some(value) => (value, below.end()),
            None => (decimal(whole.as_str()), whole.end()),
        };
    }
    let number = group("plain").expect("one of the two forms matched");
    let fraction = group("denominator").filter(|d| !slash(d.end()) && !text[..number.start()].ends_with('/'));
    let fraction = fraction.and_then(|below| {
        let above = number.as_str().replace(',', "");
        Some((ratio(above.parse().ok()?, below.as_str().parse().ok()?)?, below.end()))
    });
    fraction.unwrap_or_else(|| (decimal(number.as_str()), number.end()))
}

/// A decimal in normal form.
fn decimal(digits: &str) -> String {
    let plain = digits.replace(',', "");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{whole}{point}{fraction}")
}

/// A fraction in normal form: a decimal where that ends. `None` for a denominator of 0, and beyond 128 bits.
fn ratio(above: u128, below: u128) -> Option<String> {
    if below == 0 {
        return None;
    }
    let (mut a, mut b) = (above, below);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let (above, below) = (above / a, below / a);
    let mut rest = below;
    let mut divide = |by: u128| {
        let mut times = 0;
        while rest % by == 0 {
            rest /= by;
            times += 1;
        }
        times
    };
    let places = divide(2).max(divide(5));
    if rest != 1 {
        return Some(format!("{above}/{below}"));
    }
    let scale = 10u128.checked_pow(places)?;
    let digits = above.checked_mul(scale / below)?;
    let places = places as usize;
    Some(decimal(&format!("{}.{:0places$}", digits / scale, digits % scale)))
}
