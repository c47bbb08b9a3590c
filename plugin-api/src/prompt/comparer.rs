//! A judge that compares two texts, a and b.

use super::{Fields, Prompt, Sampling, distribution, texts};
use crate::params::out_of_range;
use crate::stats;
use crate::types::{Answer, Finish, Generated, Measure, PluginError, Query};

/// How a comparison is asked. Both lists hold what stands for "a is better", "b is better" and perhaps "they tie".
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// By the probabilities of labels, in one forward pass.
    Choose { labels: Vec<String> },
    /// By texts that end with a verdict.
    Generate { verdicts: Vec<String>, sampling: Sampling },
}

/// Compares two texts, shown as `a` and `b`.
#[derive(Debug)]
pub struct Comparer {
    pub prompt: Prompt,
    pub slot: String,
    pub ask: Ask,
}

impl Ask {
    /// The error names the parameter that is out of range; `parameter` is that of the labels or verdicts.
    pub fn check(&self, parameter: &str) -> Result<(), PluginError> {
        let texts = match self {
            Ask::Choose { labels } => labels,
            Ask::Generate { verdicts, sampling } => {
                sampling.check()?;
                verdicts
            }
        };
        let bad =
            |found: String| Err(out_of_range(parameter, found, "two or three different texts: a, b and perhaps a tie"));
        if !(2..=3).contains(&texts.len()) {
            return bad(format!("{} texts", texts.len()));
        }
        match (0..texts.len()).find(|&i| texts[i].trim().is_empty() || texts[..i].contains(&texts[i])) {
            Some(i) => bad(format!("\"{}\" at place {i}", texts[i])),
            None => Ok(()),
        }
    }

    /// The fields of a comparison, with made-up values: `a`, `b`, `ask` ("choose" or "generate") and `labels`, the
    /// labels or verdicts.
    pub fn sample(&self) -> Fields {
        let (ask, labels) = match self {
            Ask::Choose { labels } => ("choose", labels),
            Ask::Generate { verdicts, .. } => ("generate", verdicts),
        };
        let labels = labels.iter().map(String::as_str);
        Fields::default().text("a", "a text").text("b", "another text").text("ask", ask).texts("labels", labels)
    }
}

impl Comparer {
    /// Asks which of `a` and `b` is better. `fields` holds all others of the prompt, those of [`Ask::sample`] among them.
    pub fn query(&self, fields: &Fields, a: &str, b: &str) -> Result<Query, PluginError> {
        let messages = self.prompt.messages(&fields.clone().text("a", a).text("b", b))?;
        Ok(match &self.ask {
            Ask::Choose { labels } => Query::Choose { slot: self.slot.clone(), messages, labels: labels.clone() },
            Ask::Generate { sampling, .. } => sampling.query(&self.slot, messages),
        })
    }

    /// P(a is better) + ½ P(they tie): from the labels' probabilities, or the mean over the texts with a verdict. The
    /// reason if there is neither.
    pub fn read(&self, answer: &Answer) -> Result<Result<f64, String>, PluginError> {
        match &self.ask {
            Ask::Choose { labels } => {
                Ok(distribution(answer, labels.len())?.map(|p| p[0] + p.get(2).map_or(0.0, |tie| tie / 2.0)))
            }
            Ask::Generate { verdicts, sampling } => {
                let texts = match texts(answer, sampling.k)? {
                    Ok(texts) => texts,
                    Err(reason) => return Ok(Err(format!("no judgment: {reason}"))),
                };
                let said = |t: &Generated| verdict(&t.text, verdicts, t.finish == Finish::Length);
                let points: Vec<f64> = texts.iter().filter_map(said).map(|v| [1.0, 0.0, 0.5][v]).collect();
                Ok(stats::mean(&points).ok_or_else(|| format!("none of {} judgments holds a verdict", texts.len())))
            }
        }
    }

    /// The measures of comparisons that were asked in pairs of orders, `[P(a), P(b)]` each as far as they are known:
    ///
    /// * `first_position_wins`: the share of decided comparisons that the text shown first won; ½ without a bias
    /// * `orders_disagree`: the share of pairs, answered in both orders, that have another winner in each
    /// * `unanswered`: the share of comparisons without a result
    pub fn measures(comparisons: &[Vec<Option<f64>>]) -> Vec<Measure> {
        let share =
            |name: &str, yes: usize, of: usize| Measure { name: name.into(), sum: yes as f64, count: of as u64 };
        let all: Vec<Option<f64>> = comparisons.iter().flatten().copied().collect();
        let won = |first: bool| all.iter().flatten().filter(|p| if first { **p > 0.5 } else { **p < 0.5 }).count();
        let both = comparisons.iter().filter_map(|c| match c[..] {
            [Some(p), Some(q)] => Some(winner(p) != winner(1.0 - q)),
            _ => None,
        });
        let both: Vec<bool> = both.collect();
        let measures = [
            share("first_position_wins", won(true), won(true) + won(false)),
            share("orders_disagree", both.iter().filter(|d| **d).count(), both.len()),
            share("unanswered", all.iter().filter(|p| p.is_none()).count(), all.len()),
        ];
        measures.into_iter().filter(|m| m.count > 0).collect()
    }
}

/// 1 if the first is better, −1 if the second is, 0 for a tie.
pub fn winner(p: f64) -> i32 {
    i32::from(p > 0.5) - i32::from(p < 0.5)
}

/// The place in `verdicts` of the one that the text ends with: the last one in it. Letters and digits around a verdict
/// that begins or ends with one make it part of something else, and where the text was `cut_off` they may be missing.
pub fn verdict(text: &str, verdicts: &[String], cut_off: bool) -> Option<usize> {
    let wordy = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let stands = |at: usize, verdict: &str| {
        let (before, after) = (&text[..at], &text[at + verdict.len()..]);
        let open_end = wordy(verdict.chars().next_back());
        !(wordy(before.chars().next_back()) && wordy(verdict.chars().next()))
            && !(open_end && (wordy(after.chars().next()) || (cut_off && after.is_empty())))
    };
    let last = |v: usize| {
        let found = text.match_indices(&verdicts[v]).filter(|(at, _)| stands(*at, &verdicts[v])).last();
        // of two that end at one place the longer one was meant
        found.map(|(at, found)| (at + found.len(), found.len(), v))
    };
    (0..verdicts.len()).filter_map(last).max().map(|(_, _, v)| v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_verdict_counts() {
        let brackets = ["[[A]]", "[[B]]", "[[C]]"].map(String::from);
        let words = ["Best: A", "Best: B"].map(String::from);
        let nested = ["better", "not better"].map(String::from);
        for (text, verdicts, cut_off, expected) in [
            ("[[A]]", &brackets[..], false, Some(0)),
            ("Not [[A]] but [[B]].", &brackets, false, Some(1)),
            ("[[C]]", &brackets, true, Some(2)),
            ("[[D]] A", &brackets, false, None),
            ("", &brackets, false, None),
            ("Best: B", &words, false, Some(1)),
            ("Best: B", &words, true, None),
            ("Best: Both", &words, false, None),
            ("Best: A. xBest: B", &words, false, Some(0)),
            ("it is not better", &nested, false, Some(1)),
        ] {
            assert_eq!(verdict(text, verdicts, cut_off), expected, "{text}");
        }
    }

    #[test]
    fn measures_of_position() {
        // first wins twice, second once; one tie; the first pair agrees (A, then A shown second)
        let comparisons = [vec![Some(0.9), Some(0.2)], vec![Some(1.0), Some(0.5)], vec![None, None]];
        let shares: Vec<(String, f64, u64)> =
            Comparer::measures(&comparisons).into_iter().map(|m| (m.name, m.sum, m.count)).collect();
        let expected = [("first_position_wins", 2.0, 3), ("orders_disagree", 1.0, 2), ("unanswered", 2.0, 6)];
        assert_eq!(shares, expected.map(|(name, sum, count)| (name.to_owned(), sum, count)));
        assert_eq!(Comparer::measures(&[]), []);
    }
}
