//! Ranker, regularizer and objective work on scores of made-up responses.

use creamery_plugin::{Groups, Pair, RankContext, Records, Score, Scores, Sources};

use super::Performance;
use super::objective::{batch_of, depends_on_reference};
use crate::error::{Error, Result};
use crate::plugins::columns::{self, no_columns_of_judgments};
use crate::plugins::{RankerPlugin, RegularizerPlugin};

/// The parts behind the judges.
pub struct Rest<'a> {
    pub ranker: &'a mut dyn RankerPlugin,
    pub regularizer: &'a mut dyn RegularizerPlugin,
    /// `[objective]`; `None` if the regularizer's objective trains.
    pub objective: Option<&'a mut dyn RegularizerPlugin>,
    /// "current" first.
    pub viewpoints: Vec<String>,
    /// What the judges of the viewpoints did, in their order.
    pub judged: &'a [Performance],
    /// The names of the models that draw responses, "current" first, and how many in a group are each one's; empty if
    /// all are the policy's.
    pub sources: Vec<(String, usize)>,
    pub beta: f64,
    /// Training has a reference model.
    pub has_reference: bool,
}

/// Ranks scores, labels the pairs, and computes the objective on them.
///
/// # Errors
/// What the parts fail with on the judges' own scores, though not on the same order in another scale; or, where these
/// scores tell nothing, on made-up ones: shares from 0 to 1, and counts. Some parts take only scores of one form, so it
/// is an error if they work with none.
pub fn rest(mut rest: Rest, groups: &Groups) -> Result<()> {
    if let Some(scores) = own_scores(rest.judged) {
        let Err(failure) = play(&mut rest, groups, scores.clone(), "the judges' scores of made-up responses") else {
            return Ok(());
        };
        let rescaled = |shares| in_order(&scores, groups, rest.viewpoints.len(), shares);
        let (shares, counts) = (rescaled(true), rescaled(false));
        if [shares, counts].into_iter().any(|scores| play(&mut rest, groups, scores, "other scores").is_ok()) {
            return Err(failure.error);
        }
    }
    let mut furthest: Option<Failure> = None;
    for shares in [true, false] {
        let scores = made_up(rest.viewpoints.len(), groups, shares);
        match play(&mut rest, groups, scores, "made-up scores") {
            Ok(()) => return Ok(()),
            Err(failure) if furthest.as_ref().is_none_or(|known| failure.at > known.at) => furthest = Some(failure),
            Err(_) => {}
        }
    }
    furthest.map_or(Ok(()), |failure| Err(failure.error))
}

/// Where the parts failed, in the order in which they work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Ranker,
    Regularizer,
    Columns,
    Objective,
}

struct Failure {
    at: At,
    error: Error,
}

fn play(rest: &mut Rest, groups: &Groups, scores: Vec<Score>, what: &str) -> std::result::Result<(), Failure> {
    let failed = |at: At, part: &str| {
        let place = format!("rehearsing [{part}] on {what}");
        move |e: Error| Failure { at, error: e.context(place) }
    };
    let scores = Scores { viewpoints: rest.viewpoints.clone(), scores };
    let context = RankContext { round: 1, seed: 0 };
    let ranking = match sources(&rest.sources, groups) {
        None => rest.ranker.rank(&context, groups, &scores),
        Some(sources) => rest.ranker.rank_sources(&context, groups, &scores, &sources),
    };
    let ranking = ranking.map_err(failed(At::Ranker, "ranker"))?;
    let mut records = Records { round: 1, groups: groups.clone(), scores, ranks: ranking.ranks, ..Records::default() };
    records.pairs = ranking.pairs;
    if records.pairs.is_empty() {
        // A strict ranker may find nothing in made-up scores; the regularizer is tried all the same.
        records.pairs = (0..groups.len())
            .filter(|g| groups.response_range(*g).len() > 1)
            .map(|g| {
                let range = groups.response_range(g);
                Pair { group: g as u32, chosen: range.start as u32, rejected: range.start as u32 + 1, weight: 1.0 }
            })
            .collect();
    }
    if records.pairs.is_empty() {
        return Ok(());
    }
    let labels = rest.regularizer.label(&records).map_err(failed(At::Regularizer, "regularizer"))?;
    let part = if rest.objective.is_some() { "objective" } else { "regularizer" };
    let mut objective = rest.objective.as_mut().map(|plugin| &mut **plugin as _);
    let columns = columns::of(&mut *rest.regularizer, &mut objective, &records, &labels);
    let columns = columns.map_err(failed(At::Columns, part))?;
    if let (true, Some(column)) = (rest.judged.first().is_some_and(|judge| judge.judgments), columns.first()) {
        return Err(failed(At::Columns, part)(no_columns_of_judgments(&column.name)));
    }
    let plugin = objective.unwrap_or(&mut *rest.regularizer);
    let evaluate = &mut |batch: &_| match columns.is_empty() {
        true => plugin.objective(batch),
        false => plugin.objective_columns(batch, &columns),
    };
    let depends = depends_on_reference(evaluate, &batch_of(&records, &labels, rest.beta));
    let at_objective =
        |e: Error| Failure { at: At::Objective, error: e.context(format!("rehearsing the objective of [{part}]")) };
    if depends.map_err(at_objective)? && !rest.has_reference {
        return Err(at_objective(needs_reference(plugin)));
    }
    Ok(())
}

/// An objective that looks at the reference where there is none.
fn needs_reference(plugin: &dyn RegularizerPlugin) -> Error {
    Error::config(format!("the objective of {} looks at a reference model, but training has none", plugin.info().title()))
        .help("leave `train.reference` out, so that the round's own model is the reference; or choose an objective that looks at none")
}

/// `[V × R]` where all judges gave scores that show their scale.
fn own_scores(judged: &[Performance]) -> Option<Vec<Score>> {
    let own = |judge: &Performance| judge.scores.clone().filter(|_| judge.own_scale);
    let scores: Vec<Score> = judged.iter().map(own).collect::<Option<Vec<_>>>()?.concat();
    scores.iter().any(|score| score.value().is_some()).then_some(scores)
}

/// The same order and ties, in another scale: counts from 0, or their shares.
fn in_order(scores: &[Score], groups: &Groups, viewpoints: usize, shares: bool) -> Vec<Score> {
    let mut rescaled = scores.to_vec();
    let responses = groups.responses.len();
    for v in 0..viewpoints {
        for g in 0..groups.len() {
            let range = groups.response_range(g);
            let (start, n) = (v * responses + range.start, range.len());
            let mut known: Vec<f64> = scores[start..start + n].iter().filter_map(Score::value).collect();
            known.sort_by(f64::total_cmp);
            known.dedup();
            let scale = if shares { n as f64 } else { 1.0 };
            for score in &mut rescaled[start..start + n] {
                if let Score::Value(value) = score {
                    *value = known.partition_point(|k| *k < *value) as f64 / scale;
                }
            }
        }
    }
    rescaled
}

/// Distinct scores in each group, in another order from each viewpoint.
fn made_up(viewpoints: usize, groups: &Groups, shares: bool) -> Vec<Score> {
    let mut scores = Vec::new();
    for v in 0..viewpoints {
        for g in 0..groups.len() {
            let range = groups.response_range(g);
            let n = range.len();
            let start = (g + v * (g % 3)) % n.max(1);
            let scale = if shares { n as f64 } else { 1.0 };
            scores.extend((0..n).map(|r| Score::Value(((r + start) % n) as f64 / scale)));
        }
    }
    scores
}

fn sources(counts: &[(String, usize)], groups: &Groups) -> Option<Sources> {
    if counts.is_empty() {
        return None;
    }
    let names = counts.iter().map(|(name, _)| name.clone()).collect();
    let of_group = || counts.iter().enumerate().flat_map(|(s, (_, count))| std::iter::repeat_n(s as u32, *count));
    let responses = (0..groups.len())
        .flat_map(|g| of_group().chain(std::iter::repeat(0)).take(groups.response_range(g).len()))
        .collect();
    Some(Sources { names, responses })
}
