//! Packed batches: rows of all sequences one after the other, without padding. A prompt and the responses to it are
//! one group: the prompt's rows come first and are computed once, each response attends to them and to itself.

use std::ops::Range;

use super::adapter::Noise;
use super::ops::{Span, Targets};

/// A prompt and its responses, as token ids.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    pub prompt: &'a [u32],
    pub responses: Vec<&'a [u32]>,
}

impl Group<'_> {
    /// Rows that the group takes in a batch: a response's last token is predicted but never fed.
    pub fn rows(&self) -> usize {
        self.prompt.len() + self.responses.iter().map(|r| r.len().saturating_sub(1)).sum::<usize>()
    }

    /// Tokens of the longest prompt-and-response.
    pub fn longest(&self) -> usize {
        self.prompt.len() + self.responses.iter().map(|r| r.len()).max().unwrap_or(0)
    }
}

/// The rows of a forward pass and the tokens they predict.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub tokens: Vec<u32>,
    pub positions: Vec<u32>,
    pub spans: Vec<Span>,
    /// Runs of spans that share rows.
    pub groups: Vec<Range<usize>>,
    pub targets: Targets,
    /// For each response, in order, its targets.
    pub sequences: Vec<Range<usize>>,
    /// Keys the dropout of an adapter; `None` is a pass without dropout.
    pub noise: Option<Noise>,
}

impl Batch {
    pub fn new(groups: &[Group]) -> Self {
        let mut batch = Batch::default();
        groups.iter().for_each(|group| batch.push(group));
        batch
    }

    fn push(&mut self, group: &Group) {
        let first_span = self.spans.len();
        let prompt = self.feed(group.prompt, 0..0);
        let last = (prompt.end - 1) as u32;
        for response in &group.responses {
            let from = self.targets.tokens.len();
            if let Some((_, fed)) = response.split_last() {
                self.targets.rows.push(last);
                let own = self.feed(fed, prompt.clone());
                self.targets.rows.extend(own.map(|row| row as u32));
                self.targets.tokens.extend_from_slice(response);
            }
            self.sequences.push(from..self.targets.tokens.len());
        }
        self.groups.push(first_span..self.spans.len());
    }

    fn feed(&mut self, tokens: &[u32], context: Range<usize>) -> Range<usize> {
        let rows = self.tokens.len()..self.tokens.len() + tokens.len();
        if !tokens.is_empty() {
            self.tokens.extend_from_slice(tokens);
            let span = Span { queries: rows.clone(), context, own: rows.clone() };
            self.positions.extend(span.positions().map(|p| p as u32));
            self.spans.push(span);
        }
        rows
    }
}
