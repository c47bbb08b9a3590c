//! A model that is not there: answers that depend on nothing but what is asked.

use creamery_plugin::{Answer, Finish, Generated, Groups, Logp, Message, Query};

/// How queries are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Script {
    /// As a model might.
    Ordinary,
    /// Every query fails.
    Fails,
    /// About every other query fails, whichever step or batch it is in.
    SomeFail,
    /// Numbers that are not finite, empty texts, texts without a sense.
    Odd,
}

impl Script {
    pub(super) fn answer(self, query: &Query, groups: &Groups) -> Answer {
        match self {
            Script::Ordinary => ordinary(query, groups),
            Script::SomeFail if unit(&[&asked(query, groups)]) < 0.5 => ordinary(query, groups),
            Script::Fails | Script::SomeFail => Answer::Failed("the prompt is too long for the model".to_owned()),
            Script::Odd => odd(query),
        }
    }
}

fn ordinary(query: &Query, groups: &Groups) -> Answer {
    match query {
        Query::ResponseLogps { slot, responses } => Answer::Logps(
            (responses.iter())
                .map(|r| {
                    let response = &groups.responses[*r as usize];
                    let tokens = response.tokens.max(1);
                    let share = unit(&[slot, &response.text]);
                    Logp { sum: -f64::from(tokens) * (0.2 + share), tokens }
                })
                .collect(),
        ),
        Query::TextLogp { slot, messages, continuation } => {
            let tokens = continuation.chars().count().max(1) as u32;
            let share = unit(&[slot, &flat(messages), continuation]);
            Answer::Logps(vec![Logp { sum: -f64::from(tokens) * (0.2 + share), tokens }])
        }
        Query::Generate { slot, messages, count, temperature, .. } => {
            let messages = flat(messages);
            let text = |i: u32| {
                let sample = if *temperature > 0.0 { i.to_string() } else { String::new() };
                let share = unit(&[slot, &messages, &sample]);
                let (grade, letter) = (1 + (share * 5.0) as u32, if share < 0.5 { "A" } else { "B" });
                let text = format!("It is to the point. Winner: {letter} [[{letter}]]\nScore: {grade}");
                Generated { text, finish: Finish::Stop }
            };
            Answer::Texts((0..*count).map(text).collect())
        }
        Query::Choose { slot, messages, labels } => {
            let messages = flat(messages);
            let weights: Vec<f64> = labels.iter().map(|label| 0.05 + unit(&[slot, &messages, label])).collect();
            let total: f64 = weights.iter().sum();
            Answer::Distribution(weights.into_iter().map(|w| w / total).collect())
        }
    }
}

fn odd(query: &Query) -> Answer {
    const SUMS: [f64; 5] = [f64::NAN, f64::NEG_INFINITY, -1e300, -0.0, f64::INFINITY];
    const TEXTS: [&str; 5] = ["", "no idea", "Score: 1e999", "Score: NaN", "\u{0}Score: -3 [[C]] 分数"];
    match query {
        Query::ResponseLogps { responses, .. } => {
            let logp = |r: &u32| Logp { sum: SUMS[*r as usize % SUMS.len()], tokens: *r % 3 };
            Answer::Logps(responses.iter().map(logp).collect())
        }
        Query::TextLogp { messages, continuation, .. } => {
            // By what is asked, so that judges that always ask for the same word meet all of them.
            let share = unit(&[&flat(messages), continuation]);
            Answer::Logps(vec![Logp { sum: SUMS[(share * SUMS.len() as f64) as usize], tokens: 0 }])
        }
        Query::Generate { count, .. } => {
            let text = |i: usize| Generated { text: TEXTS[i % TEXTS.len()].to_owned(), finish: Finish::Length };
            Answer::Texts((0..*count as usize).map(text).collect())
        }
        Query::Choose { labels, .. } => {
            // The last label is certain, so that others have no logarithm.
            Answer::Distribution((1..=labels.len()).map(|i| f64::from(u8::from(i == labels.len()))).collect())
        }
    }
}

/// What a query is about.
fn asked(query: &Query, groups: &Groups) -> String {
    match query {
        Query::ResponseLogps { responses, .. } => {
            responses.iter().flat_map(|r| [groups.responses[*r as usize].text.as_str(), "\n"]).collect()
        }
        Query::TextLogp { messages, continuation, .. } => flat(messages) + continuation,
        Query::Generate { messages, .. } | Query::Choose { messages, .. } => flat(messages),
    }
}

fn flat(messages: &[Message]) -> String {
    messages.iter().flat_map(|m| [m.role.as_str(), "\n", m.content.as_str(), "\n"]).collect()
}

/// A number in [0, 1) from some texts.
fn unit(texts: &[&str]) -> f64 {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    let bytes = hasher.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&bytes.as_bytes()[..8]);
    (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
}
