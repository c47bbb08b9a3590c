//! A ranker's input without its texts.

use crate::consistency::identical;
use crate::types::{Finish, Groups, PluginError, Score, Scores};

/// What a ranking rule may look at besides texts, in flat arrays that cross any boundary in bulk. G groups have R
/// responses in all, scored from V viewpoints. Since 1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NumbersView<'a> {
    /// `[G + 1]` group `g` owns the responses `response_offsets[g] .. response_offsets[g + 1]`.
    pub response_offsets: &'a [u32],
    /// `[R]` number of sampled tokens, the end-of-sequence token included.
    pub tokens: &'a [u32],
    /// `[R]` 1 where the token limit cut the response off, else 0.
    pub cut_off: &'a [u8],
    /// `[R]` the place within its group of the first response that is identical to it (same text, same reason to end):
    /// its own place where there is none before it.
    pub first: &'a [u32],
    /// Viewpoint 0 is the current policy.
    pub viewpoints: u32,
    /// `[V × R]` finite, or NaN where the viewpoint abstains.
    pub scores: &'a [f64],
}

impl NumbersView<'_> {
    /// Number of groups G.
    pub fn len(&self) -> usize {
        self.response_offsets.len().saturating_sub(1)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The flat response numbers of group `g`.
    pub fn response_range(&self, g: usize) -> std::ops::Range<usize> {
        self.response_offsets[g] as usize..self.response_offsets[g + 1] as usize
    }

    /// Whether the lists are as long as they must be; the error names one that is not.
    #[inline]
    pub fn check(&self) -> Result<(), PluginError> {
        let total = self.tokens.len();
        let fits = self.viewpoints > 0
            && self.response_offsets.last().map_or(0, |end| *end as usize) == total
            && self.cut_off.len() == total
            && self.first.len() == total
            && Some(self.scores.len()) == total.checked_mul(self.viewpoints as usize);
        if fits { Ok(()) } else { Err(self.wrong()) }
    }

    #[cold]
    fn wrong(&self) -> PluginError {
        let (viewpoints, total) = (self.viewpoints as usize, self.tokens.len());
        if viewpoints == 0 {
            return PluginError::new("there is no viewpoint to rank by");
        }
        let responses = self.response_offsets.last().map_or(0, |end| *end as usize);
        let expected = viewpoints.saturating_mul(total);
        let lists = [
            ("token counts", total, responses),
            ("cut-off marks", self.cut_off.len(), total),
            ("first responses", self.first.len(), total),
            ("scores", self.scores.len(), expected),
        ];
        let wrong = lists.into_iter().find(|(_, found, expected)| found != expected);
        let (what, found, expected) = wrong.unwrap_or(lists[0]);
        PluginError::new(format!(
            "{found} {what} for {viewpoints} viewpoints of {responses} responses: expected {expected}"
        ))
    }
}

/// The numbers of groups and their scores, as a [`NumbersView`] shows them. Since 1.1.
///
/// ```
/// use creamery_plugin::{Numbers, testkit};
///
/// let groups = testkit::groups(&[("x", &["a", "bc", "a"]), ("y", &["d"])]);
/// let scores = testkit::scores(&[("current", &[Some(0.5), None, Some(2.0), Some(1.0)])]);
/// let numbers = Numbers::of(&groups, &scores);
/// assert_eq!(numbers.response_offsets, [0, 3, 4]);
/// assert_eq!(numbers.tokens, [1, 2, 1, 1]);
/// assert_eq!(numbers.first, [0, 1, 0, 0]);
/// assert!(numbers.scores[1].is_nan());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    pub response_offsets: Vec<u32>,
    pub tokens: Vec<u32>,
    pub cut_off: Vec<u8>,
    pub first: Vec<u32>,
    pub viewpoints: u32,
    pub scores: Vec<f64>,
}

impl Numbers {
    pub fn of(groups: &Groups, scores: &Scores) -> Self {
        let mut numbers = Numbers::default();
        numbers.fill(groups, scores);
        numbers
    }

    /// Makes these the numbers of other groups and scores, in the memory that is there.
    pub fn fill(&mut self, groups: &Groups, scores: &Scores) {
        let Numbers { response_offsets, tokens, cut_off, first, viewpoints, scores: values } = self;
        let score = |score: &Score| match score {
            Score::Value(value) => *value,
            Score::Abstain(_) => f64::NAN,
        };
        let responses = &groups.responses;
        response_offsets.clone_from(&groups.response_offsets);
        again(tokens, responses.iter().map(|r| r.tokens));
        again(cut_off, responses.iter().map(|r| u8::from(r.finish == Finish::Length)));
        first.clear();
        first.reserve(responses.len());
        for g in 0..groups.len() {
            first.extend(identical(groups, g).map(|place| place as u32));
        }
        *viewpoints = scores.viewpoints.len() as u32;
        again(values, scores.scores.iter().map(score));
    }

    pub fn view(&self) -> NumbersView<'_> {
        NumbersView {
            response_offsets: &self.response_offsets,
            tokens: &self.tokens,
            cut_off: &self.cut_off,
            first: &self.first,
            viewpoints: self.viewpoints,
            scores: &self.scores,
        }
    }
}

fn again<T>(list: &mut Vec<T>, items: impl Iterator<Item = T>) {
    list.clear();
    list.extend(items);
}
