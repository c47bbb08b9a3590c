//! Values as bytes, between this program and a plugin's process.
//!
//! Numbers are little-endian, floats keep all their bits, a list is a count and its elements, a text is a list of bytes,
//! an enum is a number and its fields. A reader takes nothing on trust: a count is held against the bytes that are left
//! before anything is allocated.

use creamery_plugin::{
    Answer, Column, Dropped, Finish, Generated, Groups, JudgeContext, JudgeReport, JudgmentPair, Labels, Logp, Measure,
    Message, Metric, Numbers, NumbersView, ObjectiveBatch, ObjectiveValue, Pair, Query, RankContext, Ranking, Records,
    Response, RoundRecord, Score, Scores, Slot, Sources, Step,
};

/// What is wrong with the bytes.
pub(super) type Broken = String;

pub(super) trait Wire: Sized {
    /// No value takes fewer bytes.
    const LEAST: usize;

    fn put(&self, out: &mut Vec<u8>);

    fn get(input: &mut Reader<'_>) -> Result<Self, Broken>;
}

/// The bytes that are left.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let (head, tail) = (self.0.split_at_checked(count))
            .ok_or_else(|| format!("{count} bytes are expected where {} are left", self.0.len()))?;
        self.0 = tail;
        Ok(head)
    }

    /// A value, and nothing after it.
    pub(super) fn whole<T: Wire>(mut self) -> Result<T, Broken> {
        let value = T::get(&mut self)?;
        match self.0.len() {
            0 => Ok(value),
            left => Err(format!("{left} bytes are left over")),
        }
    }
}

/// As a `Vec` of the same elements.
pub(super) fn put_list<T: Wire>(list: &[T], out: &mut Vec<u8>) {
    put_count(list.len(), out);
    list.iter().for_each(|x| x.put(out));
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_count(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// As [`Numbers`] of the same lists.
pub(super) fn put_numbers(numbers: NumbersView<'_>, out: &mut Vec<u8>) {
    let NumbersView { response_offsets, tokens, cut_off, first, viewpoints, scores } = numbers;
    put_list(response_offsets, out);
    put_list(tokens, out);
    put_list(cut_off, out);
    put_list(first, out);
    viewpoints.put(out);
    put_list(scores, out);
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    (count as u64).put(out);
}

/// A count of elements of at least `least` bytes each, all of which must be there.
fn get_count(input: &mut Reader<'_>, least: usize) -> Result<usize, Broken> {
    let count = u64::get(input)?;
    match usize::try_from(count).ok().filter(|n| n.checked_mul(least).is_some_and(|bytes| bytes <= input.0.len())) {
        Some(count) => Ok(count),
        None => Err(format!("a list of {count} elements is announced where {} bytes are left", input.0.len())),
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Wire for $number {
            const LEAST: usize = size_of::<$number>();

            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn get(input: &mut Reader<'_>) -> Result<Self, Broken> {
                let mut bytes = [0; size_of::<$number>()];
                bytes.copy_from_slice(input.take(size_of::<$number>())?);
                Ok(<$number>::from_le_bytes(bytes))
            }
        }
    )*};
}

numbers! { u8 u32 u64 f64 }

impl Wire for String {
    const LEAST: usize = 8;

    fn put(&self, out: &mut Vec<u8>) {
        put_text(self, out);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Broken> {
        let count = get_count(input, 1)?;
        let text = std::str::from_utf8(input.take(count)?).map_err(|_| "a text is not UTF-8")?;
        Ok(text.to_owned())
    }
}

impl<T: Wire> Wire for Vec<T> {
    const LEAST: usize = 8;

    fn put(&self, out: &mut Vec<u8>) {
        put_list(self, out);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Broken> {
        let count = get_count(input, T::LEAST)?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(T::get(input)?);
        }
        Ok(list)
    }
}

impl<T: Wire> Wire for Option<T> {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        u8::from(self.is_some()).put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Broken> {
        match u8::get(input)? {
            0 => Ok(None),
            1 => T::get(input).map(Some),
            other => Err(unknown("an option", other)),
        }
    }
}

macro_rules! records {
    ($($name:ident { $($field:ident: $type:ty),* })*) => {$(
        impl Wire for $name {
            const LEAST: usize = 0 $(+ <$type as Wire>::LEAST)*;

            fn put(&self, out: &mut Vec<u8>) {
                let $name { $($field),* } = self;
                $($field.put(out);)*
            }

            fn get(input: &mut Reader<'_>) -> Result<Self, Broken> {
                $(let $field = <$type as Wire>::get(input)?;)*
                Ok($name { $($field),* })
            }
        }
    )*};
}
pub(super) use records;

records! {
    Message { role: String, content: String }
    Response { text: String, tokens: u32, finish: Finish }
    Groups {
        ids: Vec<String>, messages: Vec<Message>, message_offsets: Vec<u32>, responses: Vec<Response>,
        response_offsets: Vec<u32>
    }
    Slot { name: String, model: String }
    JudgeContext { round: u32, viewpoint: String, slots: Vec<Slot> }
    Logp { sum: f64, tokens: u32 }
    Generated { text: String, finish: Finish }
    JudgeReport { measures: Vec<Measure>, pairs: Vec<JudgmentPair> }
    Measure { name: String, sum: f64, count: u64 }
    JudgmentPair { step: u32, query: u32, chosen: u32, rejected: u32, weight: f64 }
    Sources { names: Vec<String>, responses: Vec<u32> }
    Scores { viewpoints: Vec<String>, scores: Vec<Score> }
    RankContext { round: u32, seed: u64 }
    Numbers {
        response_offsets: Vec<u32>, tokens: Vec<u32>, cut_off: Vec<u8>, first: Vec<u32>, viewpoints: u32, scores: Vec<f64>
    }
    Ranking { ranks: Vec<u32>, pairs: Vec<Pair>, dropped: Vec<Dropped> }
    Pair { group: u32, chosen: u32, rejected: u32, weight: f64 }
    Dropped { index: u32, reason: String }
    Records {
        round: u32, groups: Groups, scores: Scores, ranks: Vec<u32>, pairs: Vec<Pair>, history: Vec<RoundRecord>
    }
    RoundRecord { round: u32, pairs: u32, metrics: Vec<Metric> }
    Metric { name: String, value: f64 }
    Labels { consistency: Vec<f64>, weights: Vec<f64>, dropped: Vec<Dropped>, metrics: Vec<Metric> }
    Column { name: String, values: Vec<f64> }
    ObjectiveBatch {
        beta: f64, policy_chosen: Vec<f64>, policy_rejected: Vec<f64>, reference_chosen: Vec<f64>,
        reference_rejected: Vec<f64>, chosen_tokens: Vec<u32>, rejected_tokens: Vec<u32>, consistency: Vec<f64>,
        weight: Vec<f64>
    }
    ObjectiveValue { loss: Vec<f64>, d_chosen: Vec<f64>, d_rejected: Vec<f64> }
}

impl Wire for Finish {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        let code: u8 = match self {
            Finish::Stop => 0,
            Finish::Length => 1,
        };
        code.put(out);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Broken> {
        match u8::get(input)? {
            0 => Ok(Finish::Stop),
            1 => Ok(Finish::Length),
            other => Err(unknown("a finish reason", other)),
        }
    }
}

impl Wire for Query {
    const LEAST: usize = 1 + 8 + 8;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Query::ResponseLogps { slot, responses } => {
                out.push(0);
                slot.put(out);
                responses.put(out);
            }
            Query::TextLogp { slot, messages, continuation } => {
                out.push(1);
                slot.put(out);
                messages.put(out);
                continuation.put(out);
            }
            Query::Generate { slot, messages, count, max_new_tokens, temperature, top_p } => {
                out.push(2);
                slot.put(out);
                messages.put(out);
                count.put(out);
                max_new_tokens.put(out);
                temperature.put(out);
                top_p.put(out);
            }
            Query::Choose { slot, messages, labels } => {
                out.push(3);
                slot.put(out);
                messages.put(out);
                labels.put(out);
            }
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Broken> {
        let kind = u8::get(input)?;
        let slot = String::get(input)?;
        Ok(match kind {
            0 => Query::ResponseLogps { slot, responses: Wire::get(input)? },
            1 => Query::TextLogp { slot, messages: Wire::get(input)?, continuation: Wire::get(input)? },
            2 => Query::Generate {
                slot,
                messages: Wire::get(input)?,
                count: Wire::get(input)?,
                max_new_tokens: Wire::get(input)?,
                temperature: Wire::get(input)?,
                top_p: Wire::get(input)?,
            },
            3 => Query::Choose { slot, messages: Wire::get(input)?, labels: Wire::get(input)? },
            other => return Err(unknown("a query", other)),
        })
    }
}

impl Wire for Answer {
    const LEAST: usize = 1 + 8;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Answer::Logps(logps) => {
                out.push(0);
                logps.put(out);
            }
            Answer::Texts(texts) => {
                out.push(1);
                texts.put(out);
            }
            Answer::Distribution(probabilities) => {
                out.push(2);
                probabilities.put(out);
            }
            Answer::Failed(reason) => {
                out.push(3);
                reason.put(out);
            }
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Broken> {
        match u8::get(input)? {
            0 => Wire::get(input).map(Answer::Logps),
            1 => Wire::get(input).map(Answer::Texts),
            2 => Wire::get(input).map(Answer::Distribution),
            3 => Wire::get(input).map(Answer::Failed),
            other => Err(unknown("an answer", other)),
        }
    }
}

impl Wire for Step {
    const LEAST: usize = 1 + 8;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Step::Ask(queries) => {
                out.push(0);
                queries.put(out);
            }
            Step::Scores(scores) => {
                out.push(1);
                scores.put(out);
            }
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Broken> {
        match u8::get(input)? {
            0 => Wire::get(input).map(Step::Ask),
            1 => Wire::get(input).map(Step::Scores),
            other => Err(unknown("a step", other)),
        }
    }
}

impl Wire for Score {
    const LEAST: usize = 1 + 8;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Score::Value(value) => {
                out.push(0);
                value.put(out);
            }
            Score::Abstain(reason) => {
                out.push(1);
                reason.put(out);
            }
        }
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, Broken> {
        match u8::get(input)? {
            0 => Wire::get(input).map(Score::Value),
            1 => Wire::get(input).map(Score::Abstain),
            other => Err(unknown("a score", other)),
        }
    }
}

fn unknown(what: &str, code: u8) -> Broken {
    format!("{what} of kind {code} is unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<T: Wire>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        value.put(&mut out);
        out
    }

    /// Every kind of value, the odd ones among the floats, Unicode, and empty lists.
    #[test]
    fn values_come_back_with_all_their_bits() {
        let message = || vec![Message::user("Ärger 🍦"), Message::new("system", "")];
        let slot = || "judge".to_owned();
        let queries = vec![
            Query::ResponseLogps { slot: slot(), responses: vec![0, u32::MAX] },
            Query::TextLogp { slot: slot(), messages: message(), continuation: "…".into() },
            Query::Generate {
                slot: slot(),
                messages: Vec::new(),
                count: 3,
                max_new_tokens: 9,
                temperature: 0.5,
                top_p: 1.0,
            },
            Query::Choose { slot: slot(), messages: message(), labels: vec!["ja".into(), String::new()] },
        ];
        let steps = [
            Step::Ask(queries),
            Step::Ask(Vec::new()),
            Step::Scores(vec![Score::Value(-0.0), Score::Abstain("why".into()), Score::Value(f64::MIN_POSITIVE)]),
        ];
        for step in steps {
            assert_eq!(format!("{:?}", Reader(&bytes(&step)).whole::<Step>()), format!("Ok({step:?})"));
        }
        let answers = vec![
            Answer::Logps(vec![Logp { sum: f64::NEG_INFINITY, tokens: 3 }]),
            Answer::Texts(vec![Generated { text: "x".into(), finish: Finish::Length }]),
            Answer::Distribution(vec![0.25, f64::from_bits(1)]),
            Answer::Failed("too long".into()),
        ];
        assert_eq!(Reader(&bytes(&answers)).whole::<Vec<Answer>>(), Ok(answers));
        let numbers = Numbers {
            response_offsets: vec![0, 3],
            tokens: vec![1, 2, u32::MAX],
            cut_off: vec![0, 1, 0],
            first: vec![0, 1, 0],
            viewpoints: 1,
            scores: vec![-0.0, f64::MAX, 1e-300],
        };
        let mut out = Vec::new();
        put_numbers(numbers.view(), &mut out);
        assert_eq!(out, bytes(&numbers));
        assert_eq!(Reader(&out).whole::<Numbers>(), Ok(numbers));
        let odd = f64::from_bits(0x7ff4_dead_beef_0001);
        assert_eq!(Reader(&bytes(&odd)).whole::<f64>().map(f64::to_bits), Ok(odd.to_bits()));
    }

    /// Whatever stands in a reply: an error, and no more memory than the bytes are worth.
    #[test]
    fn bytes_that_lie_are_refused() {
        let counts = |count: u64, rest: &[u8]| [&count.to_le_bytes()[..], rest].concat();
        let list = |bytes: &[u8]| Reader(bytes).whole::<Vec<f64>>().unwrap_err();
        assert_eq!(
            list(&counts(u64::MAX, &[0; 16])),
            format!("a list of {} elements is announced where 16 bytes are left", u64::MAX)
        );
        assert_eq!(list(&counts(3, &[0; 16])), "a list of 3 elements is announced where 16 bytes are left");
        assert_eq!(list(&counts(1, &[0; 16])), "8 bytes are left over");
        assert_eq!(list(&[1, 0]), "8 bytes are expected where 2 are left");
        assert_eq!(Reader(&counts(2, &[0xff, 0xfe])).whole::<String>().unwrap_err(), "a text is not UTF-8");
        assert_eq!(Reader(&[7, 0, 0, 0, 0, 0, 0, 0, 0]).whole::<Step>().unwrap_err(), "a step of kind 7 is unknown");
        // Every beginning of a value, and every value with one byte changed, is read or refused.
        let value = Step::Scores(vec![Score::Value(1.0), Score::Abstain("because".into())]);
        let good = bytes(&value);
        for end in 0..good.len() {
            assert!(Reader(&good[..end]).whole::<Step>().is_err());
        }
        for i in 0..good.len() {
            let mut changed = good.clone();
            changed[i] ^= 0xff;
            let read = Reader(&changed).whole::<Step>();
            assert!(read.as_ref() != Ok(&value), "byte {i} means nothing");
        }
    }
}
