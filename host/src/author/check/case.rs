//! Inputs of the checks, in a form that can be made smaller.

use creamery_plugin::{Finish, Groups, Message, Pair, Records, Response, Score, Scores, Sources};
use serde::Serialize;

/// An input that a check fails on can be made smaller, as long as the check fails.
pub(super) trait Smaller: Clone + Serialize {
    /// Inputs that are a little smaller, the smallest first. Each step of it must end somewhere.
    fn smaller(&self) -> Vec<Self>;
    /// "2 groups, 5 responses"
    fn size(&self) -> String;
}

/// Groups with scores and sources, as a tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Case {
    pub viewpoints: Vec<String>,
    pub sources: Vec<String>,
    pub groups: Vec<CaseGroup>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct CaseGroup {
    pub id: String,
    pub prompt: Vec<Message>,
    pub responses: Vec<CaseResponse>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct CaseResponse {
    #[serde(flatten)]
    pub response: Response,
    /// By viewpoint.
    pub scores: Vec<Score>,
    /// The number of its model in `sources`.
    pub source: u32,
}

impl Case {
    /// `count` groups; `text` gives each response from the numbers of group and response, `score` its score from those
    /// and the viewpoint's.
    pub(super) fn new(
        count: usize,
        responses: usize,
        text: impl Fn(usize, usize) -> String,
        score: impl Fn(usize, usize, usize) -> Score,
    ) -> Self {
        let viewpoints = vec!["current".to_owned(), "previous".to_owned()];
        let response = |g: usize, r: usize| {
            let text = text(g, r);
            CaseResponse {
                response: Response { tokens: tokens(&text), text, finish: Finish::Stop },
                scores: (0..viewpoints.len()).map(|v| score(g, r, v)).collect(),
                source: (r % 2) as u32,
            }
        };
        let groups = (0..count)
            .map(|g| {
                let mut prompt = vec![Message::user(format!("What is {g} + {}?", g % 7))];
                if g % 3 == 1 {
                    prompt.insert(0, Message::new("system", "Answer in a few words."));
                }
                CaseGroup { id: format!("p{g}"), prompt, responses: (0..responses).map(|r| response(g, r)).collect() }
            })
            .collect();
        Case { viewpoints, sources: vec!["current".to_owned(), "M1".to_owned()], groups }
    }

    /// The same with the responses' texts changed, and their lengths with them.
    pub(super) fn with_texts(mut self, text: impl Fn(usize, usize) -> String) -> Self {
        for (g, group) in self.groups.iter_mut().enumerate() {
            for (r, response) in group.responses.iter_mut().enumerate() {
                response.response.text = text(g, r);
                response.response.tokens = tokens(&response.response.text);
            }
        }
        self
    }

    pub(super) fn with_scores(mut self, score: impl Fn(usize, usize, usize) -> Score) -> Self {
        for (g, group) in self.groups.iter_mut().enumerate() {
            for (r, response) in group.responses.iter_mut().enumerate() {
                for (v, own) in response.scores.iter_mut().enumerate() {
                    *own = score(g, r, v);
                }
            }
        }
        self
    }

    /// Some of its groups, in the order given.
    pub(super) fn select(&self, groups: impl IntoIterator<Item = usize>) -> Self {
        let groups = groups.into_iter().map(|g| self.groups[g].clone()).collect();
        Case { groups, ..self.clone_without_groups() }
    }

    /// With the responses of each group in reverse order.
    pub(super) fn turned_within(&self) -> Self {
        let mut case = self.clone();
        case.groups.iter_mut().for_each(|group| group.responses.reverse());
        case
    }

    /// Whether two responses of a group are alike in text, length or a score, so that their order may decide.
    pub(super) fn has_ties(&self) -> bool {
        let tie = |a: &CaseResponse, b: &CaseResponse| {
            a.response.text == b.response.text
                || a.response.tokens == b.response.tokens
                || a.scores.iter().zip(&b.scores).any(|(a, b)| a == b)
        };
        self.groups.iter().any(|group| {
            let responses = &group.responses;
            (1..responses.len()).any(|i| responses[..i].iter().any(|earlier| tie(earlier, &responses[i])))
        })
    }

    fn clone_without_groups(&self) -> Self {
        Case { viewpoints: self.viewpoints.clone(), sources: self.sources.clone(), groups: Vec::new() }
    }

    pub(super) fn responses(&self) -> usize {
        self.groups.iter().map(|g| g.responses.len()).sum()
    }

    pub(super) fn groups(&self) -> Groups {
        let mut groups = Groups { message_offsets: vec![0], response_offsets: vec![0], ..Groups::default() };
        for group in &self.groups {
            let responses = group.responses.iter().map(|r| r.response.clone()).collect();
            groups.push(group.id.clone(), group.prompt.clone(), responses);
        }
        groups
    }

    pub(super) fn scores(&self) -> Scores {
        let all = || self.groups.iter().flat_map(|g| &g.responses);
        let scores = (0..self.viewpoints.len()).flat_map(|v| all().map(move |r| r.scores[v].clone())).collect();
        Scores { viewpoints: self.viewpoints.clone(), scores }
    }

    pub(super) fn sources(&self) -> Sources {
        let responses = self.groups.iter().flat_map(|g| &g.responses).map(|r| r.source).collect();
        Sources { names: self.sources.clone(), responses }
    }

    /// What a regularizer gets after a ranker that pairs each group's best with its worst response by viewpoint 0.
    pub(super) fn records(&self) -> Records {
        let (groups, scores) = (self.groups(), self.scores());
        let count = groups.responses.len();
        let mut ranks = vec![0; scores.scores.len()];
        let mut pairs = Vec::new();
        for g in 0..groups.len() {
            let range = groups.response_range(g);
            for v in 0..self.viewpoints.len() {
                let value = |r: usize| scores.scores[v * count + r].value();
                for r in range.clone() {
                    let Some(own) = value(r) else { continue };
                    let better = range.clone().filter(|o| value(*o).is_some_and(|other| other > own)).count();
                    ranks[v * count + r] = better as u32 + 1;
                }
            }
            let mut scored: Vec<usize> = range.filter(|r| scores.scores[*r].value().is_some()).collect();
            scored.sort_by(|a, b| {
                let value = |r: &usize| scores.scores[*r].value().unwrap_or(0.0);
                value(b).total_cmp(&value(a)).then(a.cmp(b))
            });
            if let [best, .., worst] = scored[..] {
                pairs.push(Pair { group: g as u32, chosen: best as u32, rejected: worst as u32, weight: 1.0 });
            }
        }
        Records { round: 1, groups, scores, ranks, pairs, history: Vec::new() }
    }

    fn with_group(&self, g: usize, change: impl FnOnce(&mut CaseGroup)) -> Self {
        let mut case = self.clone();
        change(&mut case.groups[g]);
        case
    }
}

/// Groups whose content is made smaller; before that, groups are left out.
const FEW_GROUPS: usize = 4;

impl Smaller for Case {
    fn smaller(&self) -> Vec<Self> {
        let n = self.groups.len();
        let mut found = Vec::new();
        if n > 1 {
            found.push(self.select(0..n / 2));
            found.push(self.select(n / 2..n));
        }
        if (1..=16).contains(&n) {
            found.extend((0..n).map(|left_out| self.select((0..n).filter(|g| *g != left_out))));
        }
        if n > FEW_GROUPS {
            return found;
        }
        for (g, group) in self.groups.iter().enumerate() {
            let responses = group.responses.len();
            if responses > 2 {
                found.push(self.with_group(g, |group| group.responses.truncate(responses / 2)));
            }
            if responses > 1 {
                found.extend((0..responses).map(|r| self.with_group(g, |group| drop(group.responses.remove(r)))));
            }
            if group.prompt.len() > 1 {
                found.push(self.with_group(g, |group| drop(group.prompt.remove(0))));
            }
            if group.prompt.iter().any(|m| m.content.chars().count() > 1) {
                found.push(self.with_group(g, |group| {
                    group.prompt.iter_mut().for_each(|m| m.content = half(&m.content));
                }));
            }
            for (r, response) in group.responses.iter().enumerate() {
                let text = half(&response.response.text);
                if text != response.response.text {
                    found.push(self.with_group(g, |group| {
                        let response = &mut group.responses[r].response;
                        (response.tokens, response.text) = (tokens(&text), text);
                    }));
                }
            }
        }
        found
    }

    fn size(&self) -> String {
        count(self.groups.len(), "group") + ", " + &count(self.responses(), "response")
    }
}

/// As of a model with a token for each character and one for the end.
fn tokens(text: &str) -> u32 {
    u32::try_from(text.chars().count() + 1).unwrap_or(u32::MAX)
}

/// The first half of a text's characters; of one character nothing.
fn half(text: &str) -> String {
    text.chars().take(text.chars().count() / 2).collect()
}

/// "1 group", "2 groups"
pub(super) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
