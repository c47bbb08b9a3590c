//! Answers of plugins, made of any bytes. What the host's checks let pass must be what the rest of the host relies on.

use creamery_plugin::testkit::{groups, scores};
use creamery_plugin::{
    Answer, Column, Dropped, Finish, Generated, Groups, JudgeContext, JudgeReport, JudgmentPair, Labels, Measure,
    Message, Metric, ObjectiveValue, Pair, Query, Ranking, Score, Slot, contract,
};

/// The first byte says what the rest is.
pub fn outputs(data: &[u8]) {
    let mut bytes = Bytes(data);
    match bytes.byte() % 7 {
        0 => of_scores(&mut bytes),
        1 => of_queries(&mut bytes),
        2 => of_ranking(&mut bytes),
        3 => of_labels(&mut bytes),
        4 => of_objective(&mut bytes),
        5 => of_columns(&mut bytes),
        _ => of_report(&mut bytes),
    }
}

/// Pairs that a regularizer gets.
const PAIRS: usize = 2;

/// Groups of one, two and three responses.
fn given() -> Groups {
    groups(&[("one", &["a"]), ("two", &["b", "c"]), ("three", &["d", "e", "f"])])
}

fn of_scores(bytes: &mut Bytes) {
    let groups = given();
    let scores = bytes.list(|b| if b.0.len() % 5 == 4 { Score::Abstain(b.text()) } else { Score::Value(b.number()) });
    if contract::scores(&scores, &groups).is_ok() {
        assert_eq!(scores.len(), groups.responses.len());
        assert!(scores.iter().filter_map(Score::value).all(f64::is_finite));
    }
}

fn of_queries(bytes: &mut Bytes) {
    let groups = given();
    let slot = |name: &str| Slot { name: name.to_owned(), model: "m".to_owned() };
    let context =
        JudgeContext { round: 1, viewpoint: "current".to_owned(), slots: vec![slot("judge"), slot("reference")] };
    let names = ["judge", "reference", "oracle", ""];
    let queries = bytes.list(|b| {
        let slot = names[b.byte() as usize % names.len()].to_owned();
        let roles = ["user", "assistant", "system", "king"];
        let messages = |b: &mut Bytes| b.list(|b| Message::new(roles[b.byte() as usize % 4], b.text()));
        match b.byte() % 4 {
            0 => Query::ResponseLogps { slot, responses: b.list(Bytes::index) },
            1 => Query::TextLogp { slot, messages: messages(b), continuation: b.text() },
            2 => Query::Generate {
                slot,
                messages: messages(b),
                count: b.index(),
                max_new_tokens: b.index(),
                temperature: b.number(),
                top_p: b.number(),
            },
            _ => Query::Choose { slot, messages: messages(b), labels: b.list(Bytes::text) },
        }
    });
    if contract::queries(&queries, &context, &groups).is_err() {
        return;
    }
    assert!(!queries.is_empty() || groups.responses.is_empty());
    for query in queries {
        let (slot, messages) = match &query {
            Query::ResponseLogps { slot, responses } => {
                assert!(!responses.is_empty() && responses.iter().all(|r| groups.responses.get(*r as usize).is_some()));
                (slot, None)
            }
            Query::TextLogp { slot, messages, continuation } => {
                assert!(!continuation.is_empty());
                (slot, Some(messages))
            }
            Query::Generate { slot, messages, count, max_new_tokens, temperature, top_p } => {
                assert!(*count > 0 && *max_new_tokens > 0 && temperature.is_finite() && *temperature >= 0.0);
                assert!(*top_p > 0.0 && *top_p <= 1.0);
                (slot, Some(messages))
            }
            Query::Choose { slot, messages, labels } => {
                assert!(!labels.is_empty() && labels.iter().all(|label| !label.is_empty()));
                (slot, Some(messages))
            }
        };
        assert!(context.slot(slot).is_some() && messages.is_none_or(|m| !m.is_empty()));
    }
}

fn of_ranking(bytes: &mut Bytes) {
    let groups = given();
    let row = [Some(0.5); 6];
    let scores = scores(&[("current", &row), ("previous", &row)]);
    // Ranks first, a byte each, so that mutations of the rest leave them right.
    let ranks = (0..12).map(|_| u32::from(bytes.byte())).collect();
    let pairs = bytes.list(|b| Pair {
        group: b.index(),
        chosen: b.index(),
        rejected: b.index(),
        weight: if b.byte() == 0 { 1.0 } else { b.number() },
    });
    let dropped =
        bytes.list(|b| Dropped { index: b.index(), reason: if b.byte() == 0 { "why".into() } else { b.text() } });
    let ranking = Ranking { ranks, pairs, dropped };
    if contract::ranking(&ranking, &groups, &scores).is_err() {
        return;
    }
    assert_eq!(ranking.ranks.len(), scores.scores.len());
    for pair in &ranking.pairs {
        let range = groups.response_range(pair.group as usize);
        assert!(range.contains(&(pair.chosen as usize)) && range.contains(&(pair.rejected as usize)));
        assert!(pair.chosen != pair.rejected && pair.weight.is_finite() && pair.weight > 0.0);
    }
    for g in 0..groups.len() as u32 {
        let paired = ranking.pairs.iter().any(|p| p.group == g);
        assert_ne!(paired, ranking.dropped.iter().any(|d| d.index == g));
    }
}

fn of_labels(bytes: &mut Bytes) {
    let (consistency, weights) = (bytes.numbers(), bytes.numbers());
    let dropped = bytes.list(|b| Dropped { index: b.index(), reason: b.text() });
    let metrics = bytes.list(|b| Metric { name: b.text(), value: b.number() });
    let labels = Labels { consistency, weights, dropped, metrics };
    if contract::labels(&labels, PAIRS).is_ok() {
        assert_eq!((labels.consistency.len(), labels.weights.len()), (PAIRS, PAIRS));
        assert!(labels.consistency.iter().all(|c| (0.0..=1.0).contains(c)));
        assert!(labels.weights.iter().all(|w| w.is_finite() && *w >= 0.0));
        assert!(labels.dropped.iter().all(|d| (d.index as usize) < PAIRS));
        assert!(labels.metrics.iter().all(|m| m.value.is_finite() && !m.name.is_empty()));
    }
}

fn of_objective(bytes: &mut Bytes) {
    let value = ObjectiveValue { loss: bytes.numbers(), d_chosen: bytes.numbers(), d_rejected: bytes.numbers() };
    if contract::objective(&value, PAIRS).is_ok() {
        for list in [&value.loss, &value.d_chosen, &value.d_rejected] {
            assert!(list.len() == PAIRS && list.iter().all(|x| x.is_finite()));
        }
    }
}

fn of_columns(bytes: &mut Bytes) {
    let columns = bytes.list(|b| Column { name: b.text(), values: b.numbers() });
    if contract::columns(&columns, PAIRS).is_ok() {
        assert!(columns.iter().all(|c| c.values.len() == PAIRS && c.values.iter().all(|x| x.is_finite())));
    }
}

fn of_report(bytes: &mut Bytes) {
    let texts = ["good", "bad", "good"];
    let text = |t: &&str| Generated { text: (*t).to_owned(), finish: Finish::Stop };
    let given = [vec![Answer::Texts(texts.iter().map(text).collect()), Answer::Distribution(vec![0.5, 0.5])]];
    let measures = bytes.list(|b| Measure { name: b.text(), sum: b.number(), count: u64::from(b.index()) });
    let pairs = bytes.list(|b| JudgmentPair {
        step: b.index(),
        query: b.index(),
        chosen: b.index(),
        rejected: b.index(),
        weight: if b.byte() == 0 { 1.0 } else { b.number() },
    });
    let report = JudgeReport { measures, pairs };
    if contract::report(&report, &given).is_ok() {
        assert!(report.measures.iter().all(|m| m.sum.is_finite() && (m.count > 0 || m.sum == 0.0)));
        for pair in &report.pairs {
            let Answer::Texts(texts) = &given[pair.step as usize][pair.query as usize] else { panic!("no texts") };
            assert_ne!(texts[pair.chosen as usize].text, texts[pair.rejected as usize].text);
        }
    }
}

/// What is left of the input; at its end there are zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Small, or any: numbers of responses are small.
    fn index(&mut self) -> u32 {
        match self.byte() {
            255 => u32::from_le_bytes([(); 4].map(|()| self.byte())),
            small => u32::from(small),
        }
    }

    /// A few that are often wrong, or any.
    fn number(&mut self) -> f64 {
        const NUMBERS: [f64; 8] = [0.0, 1.0, 0.5, -0.0, -1.0, f64::NAN, f64::INFINITY, 1e300];
        match self.byte() {
            255 => f64::from_bits(u64::from_le_bytes([(); 8].map(|()| self.byte()))),
            small => NUMBERS[small as usize % NUMBERS.len()],
        }
    }

    fn text(&mut self) -> String {
        let length = (self.byte() as usize % 8).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    /// Up to 15 of them, as long as there are bytes.
    fn list<T>(&mut self, mut of: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = self.byte() % 16;
        let mut list = Vec::new();
        while list.len() < usize::from(length) && !self.0.is_empty() {
            list.push(of(self));
        }
        list
    }

    fn numbers(&mut self) -> Vec<f64> {
        self.list(Self::number)
    }
}
