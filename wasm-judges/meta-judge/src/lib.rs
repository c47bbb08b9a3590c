//! A rubric whose judgments are judged in turn: actor, judge and meta-judge are one model.
//!
//! Source: Meta-Rewarding Language Models (Wu et al., arXiv 2407.19594, sections 2.2 and 2.3).
//!
//! # Scores
//! As the judge `rubric`: k judgments of each response, and the mean of the scores that they hold.
//!
//! # Pairs of judgments
//! They train the model as a judge, and come with the report. In each group the `per-group` responses whose scores vary
//! most over their judgments are looked at. Their judgments that hold a score and were not cut off are compared, each
//! pair in both orders, by the meta-judge's prompt.
//!
//! The meta-judge may prefer a place, so a win is worth the more the rarer it is at its place. With W₁ and W₂ the wins
//! of the judgment shown first and second over the whole set, a win at the first place counts ω₁ = 2W₂ / (W₁ + W₂), at the
//! second ω₂ = 2W₁ / (W₁ + W₂) (the paper's weights, doubled, so that their mean is 1 where W₁ = W₂; ties count nothing).
//! With `position-weight = false` both are 1.
//!
//! Elo scores are fitted to the wins by their likelihood ([`Tournament::elo`], with a small prior that keeps them
//! finite). The judgment with the highest one is chosen, that with the lowest rejected; no pair where they tie. Long
//! judgments win more than they should, so a pair is dropped where the chosen text has more than `max-length-ratio` times
//! the characters of the rejected one.
//!
//! Worked example: the judgments of a response end with "Score: 4", "Score: 2" and "Score: 4", k = 3. Its score is 10/3.
//! Judgment 1 wins against 2 and 3 in both orders, 2 against 3 too: W₁ = W₂ = 3, so all wins count 1; the Elo scores
//! fall from 1 to 3, and the pair is 1 over 3.
//!
//! The report measures `parsed` and `score_std` as `rubric`, and of the meta-judge `first_position_wins`,
//! `orders_disagree` and `unanswered` as `pairwise`, besides `judgment_pairs`: how many of the compared responses gave a
//! pair.
//!
//! The plugin wants the whole set in one call, since the weights are over all comparisons.

mod params;

use std::collections::BTreeMap;

use creamery_plugin::compare::{Aggregate, Tournament};
use creamery_plugin::prompt::{Comparer, Distinct, Fields, Rater, answered, measure, texts, winner};
use creamery_plugin::{
    Answer, Finish, Groups, Judge, JudgeContext, JudgeReport, JudgmentPair, PluginError, Query, Step, stats,
};
use params::Params;

/// The built-in prompt of the judge, the same as that of `rubric`.
pub const DEFAULT_PROMPT: &str = include_str!("default_prompt.jinja");
/// The built-in prompt of the meta-judge.
pub const DEFAULT_META_PROMPT: &str = include_str!("default_meta_prompt.jinja");

/// The judge; [`MetaJudge::new`](Judge::new) takes the parameters that `params.schema.json` describes.
pub struct MetaJudge {
    rater: Rater,
    comparer: Comparer,
    per_group: usize,
    position_weight: bool,
    max_length_ratio: f64,
}

/// A response whose judgments are compared.
#[derive(Debug, PartialEq)]
struct Contest {
    group: usize,
    /// The query that gave the judgments: the place among the distinct responses.
    query: usize,
    /// The judgments that take part, by their numbers in the answer: no two with the same text.
    judgments: Vec<usize>,
}

impl Contest {
    /// The pairs of places in `judgments`, in the order in which they are asked.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let n = self.judgments.len();
        (1..n).flat_map(|j| (0..j).map(move |i| (i, j)))
    }
}

impl Judge for MetaJudge {
    fn new(params: &str) -> Result<Self, PluginError> {
        creamery_plugin::params::parse::<Params>(params)?.judge()
    }

    fn step(&self, _: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError> {
        let distinct = Distinct::new(groups);
        if distinct.responses().is_empty() {
            return Ok(Step::Scores(Vec::new()));
        }
        let Some(judgments) = answers.first() else {
            return Ok(Step::Ask(self.rater.queries(groups, &distinct)?));
        };
        let scores = self.rater.scores(&distinct, judgments)?;
        let contests = self.contests(groups, &distinct, judgments)?;
        match contests.is_empty() || answers.len() > 1 {
            true => Ok(Step::Scores(scores)),
            false => Ok(Step::Ask(self.comparisons(groups, &distinct, judgments, &contests)?)),
        }
    }

    fn report(&self, _: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<JudgeReport, PluginError> {
        let Some(judgments) = answers.first() else { return Ok(JudgeReport::default()) };
        let mut measures = self.rater.measures(judgments)?;
        let contests = self.contests(groups, &Distinct::new(groups), judgments)?;
        let Some(compared) = answers.get(1) else { return Ok(JudgeReport { measures, pairs: Vec::new() }) };
        let orders = self.compared(compared, &contests)?;
        measures.extend(Comparer::measures(&orders));
        let weights = if self.position_weight { position_weights(&orders) } else { [1.0; 2] };
        let (mut pairs, mut rest) = (Vec::new(), orders.as_slice());
        for contest in &contests {
            let (own, others) = rest.split_at(contest.pairs().count());
            rest = others;
            pairs.extend(self.pair(contest, own, weights, &judgments[contest.query])?);
        }
        let gave: Vec<f64> = contests
            .iter()
            .map(|c| f64::from(pairs.iter().any(|p: &JudgmentPair| p.query as usize == c.query)))
            .collect();
        measures.push(measure("judgment_pairs", &gave));
        Ok(JudgeReport { measures, pairs })
    }
}

impl MetaJudge {
    /// In each group the `per_group` responses with at least two judgments to compare, those with the highest variance
    /// of scores first and the earlier one among equals; then in the order of the responses.
    fn contests(&self, groups: &Groups, distinct: &Distinct, answers: &[Answer]) -> Result<Vec<Contest>, PluginError> {
        let answers = answered(answers, distinct.responses().len())?;
        let (mut contests, mut query) = (Vec::new(), 0);
        for group in 0..groups.len() {
            let mut found = Vec::new();
            for _ in distinct.of_group(groups, group) {
                let (judgments, scores) = self.eligible(&answers[query])?;
                if judgments.len() >= 2 {
                    let spread = stats::standard_deviation(&scores).unwrap_or_default();
                    found.push((spread, Contest { group, query, judgments }));
                }
                query += 1;
            }
            found.sort_by(|a, b| b.0.total_cmp(&a.0));
            found.truncate(self.per_group);
            found.sort_by_key(|(_, contest)| contest.query);
            contests.extend(found.into_iter().map(|(_, contest)| contest));
        }
        Ok(contests)
    }

    /// The judgments of a response that hold a score and are whole, each text once, and the scores of all that hold one.
    fn eligible(&self, answer: &Answer) -> Result<(Vec<usize>, Vec<f64>), PluginError> {
        let (Ok(read), Ok(texts)) = (self.rater.read(answer)?, texts(answer, self.rater.sampling.k)?) else {
            return Ok(Default::default());
        };
        let mut judgments: Vec<usize> = Vec::new();
        for i in 0..texts.len() {
            let new = !judgments.iter().any(|&j| texts[j].text == texts[i].text);
            if read[i].is_some() && texts[i].finish == Finish::Stop && new {
                judgments.push(i);
            }
        }
        Ok((judgments, read.into_iter().flatten().collect()))
    }

    fn comparisons(
        &self,
        groups: &Groups,
        distinct: &Distinct,
        answers: &[Answer],
        contests: &[Contest],
    ) -> Result<Vec<Query>, PluginError> {
        let mut queries = Vec::new();
        for contest in contests {
            let response = &groups.responses[distinct.responses()[contest.query]].text;
            let rated =
                Rater::sample(&self.rater.rule).and(&Fields::group(groups, contest.group)).text("response", response);
            let asked = self.rater.prompt.messages(&rated)?;
            let judging_prompt = asked.last().map_or("", |m| m.content.as_str());
            let fields = self.comparer.ask.sample().and(&rated).text("judging_prompt", judging_prompt);
            let Ok(texts) = texts(&answers[contest.query], self.rater.sampling.k)? else { continue };
            for (i, j) in contest.pairs() {
                let [a, b] = [i, j].map(|place| texts[contest.judgments[place]].text.as_str());
                queries.push(self.comparer.query(&fields, a, b)?);
                queries.push(self.comparer.query(&fields, b, a)?);
            }
        }
        Ok(queries)
    }

    /// P(first is better) of both orders, for all pairs of all contests.
    fn compared(&self, answers: &[Answer], contests: &[Contest]) -> Result<Vec<Vec<Option<f64>>>, PluginError> {
        let pairs: usize = contests.iter().map(|c| c.pairs().count()).sum();
        let read = |a: &Answer| Ok(self.comparer.read(a)?.ok());
        answered(answers, 2 * pairs)?.chunks(2).map(|pair| pair.iter().map(read).collect()).collect()
    }

    fn pair(
        &self,
        contest: &Contest,
        orders: &[Vec<Option<f64>>],
        [first, second]: [f64; 2],
        answer: &Answer,
    ) -> Result<Option<JudgmentPair>, PluginError> {
        let n = contest.judgments.len();
        let mut wins = Tournament::new(n);
        for ((i, j), p) in contest.pairs().zip(orders) {
            for (shown, p) in [(i, j), (j, i)].into_iter().zip(p.iter().flatten()) {
                match winner(*p) {
                    1 => wins.add(shown.0, shown.1, first, 0.0),
                    -1 => wins.add(shown.0, shown.1, 0.0, second),
                    _ => {}
                }
            }
        }
        // One that won and lost nothing has not played, and is neither the best nor the worst.
        let elo: BTreeMap<usize, f64> = (wins.scores(Aggregate::Elo, &vec![1.0; n]).into_iter().enumerate())
            .filter_map(|(place, score)| Some((place, score?)))
            .collect();
        let (places, scores): (Vec<usize>, Vec<f64>) = elo.into_iter().unzip();
        let (Some(best), Some(worst)) = (stats::argmax(&scores), stats::argmin(&scores)) else { return Ok(None) };
        if scores[best] == scores[worst] {
            return Ok(None);
        }
        let [chosen, rejected] = [best, worst].map(|s| contest.judgments[places[s]]);
        let Ok(texts) = texts(answer, self.rater.sampling.k)? else { return Ok(None) };
        let length = |t: usize| texts[t].text.chars().count() as f64;
        if self.max_length_ratio > 0.0 && length(chosen) > self.max_length_ratio * length(rejected) {
            return Ok(None);
        }
        let [query, chosen, rejected] = [contest.query, chosen, rejected].map(|n| n as u32);
        Ok(Some(JudgmentPair { step: 0, query, chosen, rejected, weight: 1.0 }))
    }
}

/// What a win at the first and at the second place is worth, from all comparisons.
fn position_weights(orders: &[Vec<Option<f64>>]) -> [f64; 2] {
    let wins = |side: i32| orders.iter().flatten().flatten().filter(|p| winner(**p) == side).count() as f64;
    let (first, second) = (wins(1), wins(-1));
    match first + second > 0.0 {
        true => [2.0 * second / (first + second), 2.0 * first / (first + second)],
        false => [1.0; 2],
    }
}

creamery_plugin::export_plugin! {
    kind: judge,
    type: MetaJudge,
    name: "meta-judge",
    summary: "A rubric whose judgments are compared in turn: pairs of judgments train the judge.",
    schema: include_str!("../params.schema.json"),
    features: ["whole-set"],
}

#[cfg(test)]
mod tests;
