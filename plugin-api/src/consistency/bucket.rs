//! Buckets of prompts: groups that are alike share one C.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::types::{Groups, PluginError};

/// What puts a prompt into a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bucket {
    /// The first word of the last user message, in lower case and without the punctuation around it.
    FirstWord,
    /// The part of the prompt's id before the first separator; the whole id where there is none.
    IdPrefix,
    /// Quantiles of the prompt's length, in characters of all its messages: "length-1" is the shortest. Prompts of
    /// equal length stay together.
    Length,
}

/// The name of the bucket of every group in `groups`, by group number. `quantiles` is the number of buckets by length.
pub fn assign(
    rule: Bucket,
    separator: &str,
    quantiles: usize,
    all: &Groups,
    groups: impl Iterator<Item = u32>,
) -> BTreeMap<u32, String> {
    match rule {
        Bucket::FirstWord => groups.map(|g| (g, first_word(all, g as usize))).collect(),
        Bucket::IdPrefix => {
            let prefix = |g: u32| named(all.ids[g as usize].split(separator).next().unwrap_or_default());
            groups.map(|g| (g, prefix(g))).collect()
        }
        Bucket::Length => {
            let length = |g: u32| all.prompt(g as usize).iter().map(|m| m.content.chars().count()).sum::<usize>();
            let lengths: BTreeMap<u32, usize> = groups.map(|g| (g, length(g))).collect();
            let mut sorted: Vec<usize> = lengths.values().copied().collect();
            sorted.sort_unstable();
            let quantile = |length: usize| sorted.partition_point(|l| *l < length) * quantiles / sorted.len();
            lengths.iter().map(|(g, length)| (*g, format!("length-{}", 1 + quantile(*length)))).collect()
        }
    }
}

/// Checks the parameters of [`assign`].
pub(super) fn check(rule: Bucket, separator: &str, quantiles: usize) -> Result<(), PluginError> {
    if rule == Bucket::IdPrefix && separator.is_empty() {
        return Err(PluginError::new("parameter 'bucket-separator' is empty, but ids are split there: give a text"));
    }
    if rule == Bucket::Length && !(2..=100).contains(&quantiles) {
        return Err(crate::params::out_of_range("buckets", quantiles, "between 2 and 100"));
    }
    Ok(())
}

fn first_word(all: &Groups, g: usize) -> String {
    let last = all.prompt(g).iter().rev().find(|m| m.role == "user");
    let words = last.map_or("", |m| &m.content).split_whitespace();
    let bare = words.map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    named(&bare.filter(|word| !word.is_empty()).map(str::to_lowercase).next().unwrap_or_default())
}

fn named(text: &str) -> String {
    if text.is_empty() { "(none)".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Message;

    fn groups(rows: &[(&str, &str)]) -> Groups {
        let mut groups = Groups::default();
        for (id, prompt) in rows {
            groups.push(*id, vec![Message::new("system", "Be brief."), Message::user(*prompt)], vec![]);
        }
        groups
    }

    #[test]
    fn rules() {
        let all = groups(&[
            ("math-1", "  \"Add\" 2 and 3"),
            ("math-2", "add 4"),
            ("poem", "¿Qué es?"),
            ("-x", "— !"),
            ("a-b-c", ""),
        ]);
        let names = |rule, separator| assign(rule, separator, 2, &all, 0..5).into_values().collect::<Vec<_>>();
        assert_eq!(names(Bucket::FirstWord, "-"), ["add", "add", "qué", "(none)", "(none)"]);
        assert_eq!(names(Bucket::IdPrefix, "-"), ["math", "math", "poem", "(none)", "a"]);
        assert_eq!(names(Bucket::IdPrefix, "-b"), ["math-1", "math-2", "poem", "-x", "a"]);
        // lengths 23, 14, 17, 12 and 9: halves of five are 3 and 2
        assert_eq!(names(Bucket::Length, "-"), ["length-2", "length-1", "length-2", "length-1", "length-1"]);
    }

    #[test]
    fn prompts_of_equal_length_stay_together() {
        let all = groups(&[("a", "xx"), ("b", "xx"), ("c", "xx"), ("d", "xxx")]);
        let of = |quantiles| assign(Bucket::Length, "-", quantiles, &all, [0, 1, 3].into_iter());
        assert_eq!(of(2).into_values().collect::<Vec<_>>(), ["length-1", "length-1", "length-2"]);
        assert_eq!(of(3)[&3], "length-3");
        assert!(assign(Bucket::Length, "-", 2, &all, std::iter::empty()).is_empty());
    }
}
