//! From the log-probabilities of labels to a distribution over them.

use creamery_plugin::Logp;

use super::Reply;

/// Texts after one prompt, as a model scores them.
pub(super) struct Scored {
    pub logps: Vec<Logp>,
    /// Of each text.
    pub tokens: Vec<Vec<u32>>,
}

/// p(label) as what the next message begins with, normalized over the labels; `[labels]`. `tokens` are each label's.
///
/// A message that begins with "10" also begins with "1". So that nothing is counted twice, a label has the probability
/// of the messages that begin with it and with no longer label: what the labels that go on from it have is taken off.
/// Labels none of which begins another one are not touched.
///
/// Worked example: p("1") = 0.5, p("10") = 0.3, p("2") = 0.2, where "10" is the token of "1" and one more. "1" without
/// "10" has 0.5 − 0.3 = 0.2, so the distribution is (0.2, 0.3, 0.2) / 0.7. Where "10" is a token of its own, nothing of
/// it is in p("1"), and nothing is taken off.
pub(super) fn distribution(labels: &[&str], logps: &[Logp], tokens: &[Vec<u32>]) -> Reply<Vec<f64>> {
    let count = labels.len();
    for i in 0..count {
        if let Some(same) = (0..i).find(|&same| tokens[same] == tokens[i]) {
            return Err(format!("the labels {:?} and {:?} are the same tokens to this model", labels[same], labels[i]));
        }
    }
    let begins = |i: usize, j: usize| i != j && tokens[j].starts_with(&tokens[i]);
    let max = logps.iter().map(|l| l.sum).fold(f64::NEG_INFINITY, f64::max);
    let weight = |i: usize| {
        let own = (logps[i].sum - max).exp();
        // Of the labels that go on from this one, the shortest: what goes on from those is in them.
        let next = |&j: &usize| begins(i, j) && !(0..count).any(|k| begins(i, k) && begins(k, j));
        let taken: f64 = (0..count).filter(next).map(|j| (logps[j].sum - max).exp()).sum();
        // Both are sums of rounded numbers.
        (own - taken).max(0.0)
    };
    let weights: Vec<f64> = (0..count).map(weight).collect();
    let total: f64 = weights.iter().sum();
    match total > 0.0 && total.is_finite() {
        true => Ok(weights.into_iter().map(|w| w / total).collect()),
        false => Err("the model gives none of the labels a probability above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels with their tokens and probabilities, and what is expected of them.
    type Case<'a> = &'a [(&'a str, &'a [u32], f64, f64)];

    #[test]
    fn a_label_that_begins_another_one_is_counted_without_it() {
        let cases: [Case; 6] = [
            &[("1", &[1], 0.5, 2.0 / 7.0), ("10", &[1, 0], 0.3, 3.0 / 7.0), ("2", &[2], 0.2, 2.0 / 7.0)],
            // "10" is one token.
            &[("1", &[1], 0.5, 0.5), ("10", &[10], 0.3, 0.3), ("2", &[2], 0.2, 0.2)],
            // "100" is taken off "10" alone, in which it is.
            &[("1", &[1], 0.8, 0.4), ("100", &[1, 0, 0], 0.1, 0.1), ("10", &[1, 0], 0.4, 0.3), ("3", &[3], 0.2, 0.2)],
            // Two go on.
            &[("1", &[1], 0.9, 0.4), ("10", &[1, 0], 0.3, 0.3), ("12", &[1, 2], 0.2, 0.2), ("4", &[4], 0.1, 0.1)],
            // All that begins with "1" goes on to "10", but for rounding.
            &[("1", &[1], 0.5, 0.0), ("10", &[1, 0], 0.5 + 1e-12, 1.0)],
            &[("A", &[7, 1], 0.03, 0.75), ("B", &[7, 2], 0.01, 0.25)],
        ];
        for case in cases {
            let labels: Vec<&str> = case.iter().map(|c| c.0).collect();
            let tokens: Vec<Vec<u32>> = case.iter().map(|c| c.1.to_vec()).collect();
            let logps: Vec<Logp> = case.iter().map(|c| Logp { sum: c.2.ln(), tokens: c.1.len() as u32 }).collect();
            let found = distribution(&labels, &logps, &tokens).unwrap();
            for (found, expected) in found.iter().zip(case.iter().map(|c| c.3)) {
                assert!((found - expected).abs() < 1e-9, "{labels:?}: {found} is not {expected}");
            }
        }
    }

    #[test]
    fn labels_that_cannot_be_told_apart_have_no_distribution() {
        let logp = |sum| Logp { sum, tokens: 1 };
        let same = distribution(&["A", " A"], &[logp(-1.0), logp(-1.0)], &[vec![3], vec![3]]).unwrap_err();
        assert!(same.contains("\"A\" and \" A\""), "{same}");
        let none = [logp(f64::NEG_INFINITY), logp(f64::NEG_INFINITY)];
        assert!(distribution(&["A", "B"], &none, &[vec![3], vec![4]]).is_err());
    }
}
