//! A judge asks a scripted model about made-up responses.

use std::collections::BTreeSet;

use creamery_plugin::contract::NO_SLOT;
use creamery_plugin::{Answer, Finish, Generated, Groups, JudgeContext, JudgeReport, Logp, Query, Score, Slot, Step};

use super::SlotAbilities;
use crate::error::{Error, Result};
use crate::plugins::JudgePlugin;
use crate::plugins::check::{ASKED_AGAIN, BROKEN};
use crate::slots::{Capabilities, OWN_NAMES};

/// What a judge did.
#[derive(Debug, Default)]
pub struct Performance {
    /// `[R]` its scores; `None` if it came to none.
    pub scores: Option<Vec<Score>>,
    /// The scores show its scale. They do not where it read them from a program's output, which nobody can make up.
    pub own_scale: bool,
    /// The slots that it asked.
    pub asked: BTreeSet<String>,
    /// It reported preference pairs of judgments.
    pub judgments: bool,
}

/// Lets a judge ask. `part` is its table in the config, `slots` are all it may ask. An error about a slot that is not
/// there comes without help, which depends on where slots come from.
pub fn judge(
    judge: &mut dyn JudgePlugin,
    part: &str,
    viewpoint: &str,
    slots: &[SlotAbilities],
    groups: &Groups,
    max_steps: usize,
) -> Result<Performance> {
    let slot = |s: &SlotAbilities| Slot { name: s.name.clone(), model: format!("rehearsal of {}", s.name) };
    let slots_of = slots.iter().map(slot).collect();
    let context = JudgeContext { round: 1, viewpoint: viewpoint.to_owned(), slots: slots_of };
    let place = |e: Error| e.context(format!("rehearsing [{part}]"));
    let mut performance = Performance { own_scale: true, ..Performance::default() };
    let (mut asked, mut answers): (Vec<Vec<Query>>, Vec<Vec<Answer>>) = Default::default();
    loop {
        let queries = match judge.step(&context, groups, &answers) {
            Ok(Step::Ask(queries)) if answers.len() < max_steps => queries,
            Ok(Step::Ask(_)) => return Ok(performance),
            Ok(Step::Scores(scores)) => {
                if let Ok(report) = judge.report(&context, groups, &answers) {
                    check_report(judge, &report, &asked).map_err(place)?;
                    performance.judgments = !report.pairs.is_empty();
                }
                performance.scores = Some(scores);
                return Ok(performance);
            }
            Err(e) if is_about_slots(&e, answers.is_empty()) => {
                return Err(place(Error::new(e.kind(), e.message())));
            }
            Err(e) if breaks_contract(&e) => return Err(place(e)),
            // What it makes of made-up answers decides nothing.
            Err(_) => return Ok(performance),
        };
        for query in &queries {
            let (name, _) = slot_of(query);
            check_ability(judge, query, slots).map_err(place)?;
            performance.asked.insert(name.to_owned());
            let program = |s: &SlotAbilities| s.name == name && s.can.generate && !s.can.text_logps && !s.can.choose;
            performance.own_scale &= !slots.iter().any(program);
        }
        let step = answers.len();
        answers.push(queries.iter().enumerate().map(|(i, query)| answer(query, groups, step + i)).collect());
        asked.push(queries);
    }
}

/// The slots of the judges' own that no judge asked, if all judges came to their scores.
pub fn unasked<'a>(slots: impl Iterator<Item = &'a str>, performances: &[Performance]) -> Vec<&'a str> {
    match performances.iter().all(|p| p.scores.is_some()) {
        true => slots.filter(|name| !performances.iter().any(|p| p.asked.contains(*name))).collect(),
        false => Vec::new(),
    }
}

/// The host's own check of slots, or a judge's before it has seen any answer.
fn is_about_slots(error: &Error, first: bool) -> bool {
    error.message().contains(NO_SLOT) || first && error.message().contains("slot")
}

/// Queries or scores that are none, whatever it was told; asking too often may be due to made-up answers.
fn breaks_contract(error: &Error) -> bool {
    error.help_text().is_some_and(|help| help.starts_with(BROKEN)) && !error.message().contains(ASKED_AGAIN)
}

/// The slot that a query is for, and what it is asked for.
fn slot_of(query: &Query) -> (&str, &'static str) {
    match query {
        Query::ResponseLogps { slot, .. } => (slot, "log-probabilities of the sampled responses"),
        Query::TextLogp { slot, .. } => (slot, "log-probabilities of texts"),
        Query::Generate { slot, .. } => (slot, "generated texts"),
        Query::Choose { slot, .. } => (slot, "a distribution over labels"),
    }
}

fn check_ability(judge: &dyn JudgePlugin, query: &Query, slots: &[SlotAbilities]) -> Result<()> {
    let (slot, what) = slot_of(query);
    let able = |can: Capabilities| match query {
        Query::ResponseLogps { .. } => can.response_logps,
        Query::TextLogp { .. } => can.text_logps,
        Query::Generate { .. } => can.generate,
        Query::Choose { .. } => can.choose,
    };
    if slots.iter().all(|s| s.name != *slot || able(s.can)) {
        return Ok(());
    }
    let others: Vec<&str> = slots.iter().filter(|s| able(s.can)).map(|s| s.name.as_str()).collect();
    let help = match others.is_empty() {
        true => "use a judge that asks for something else, or another kind of model behind the slot".to_owned(),
        false => {
            format!("use another slot ({} can give that), or a judge that asks for something else", others.join(", "))
        }
    };
    Err(Error::config(format!(
        "{} asks the slot '{slot}' for {what}, which the model behind it cannot give",
        judge.info().title()
    ))
    .help(help))
}

/// Pairs of judgments train the model that made them, by the tokens that it drew.
fn check_report(judge: &dyn JudgePlugin, report: &JudgeReport, asked: &[Vec<Query>]) -> Result<()> {
    let queries = report.pairs.iter().filter_map(|pair| asked.get(pair.step as usize)?.get(pair.query as usize));
    match queries.map(|query| slot_of(query).0).find(|slot| !OWN_NAMES.contains(slot)) {
        Some(slot) => Err(Error::config(format!(
            "{} reports pairs of judgments by the model slot '{slot}', whose tokens are not the trained model's",
            judge.info().title()
        ))
        .help("judgments train the model that made them: let the judge ask the slot \"judge\"")),
        None => Ok(()),
    }
}

/// What a model might say: a verdict and a score, in the words of most prompts. `k` varies it.
fn answer(query: &Query, groups: &Groups, k: usize) -> Answer {
    match query {
        Query::ResponseLogps { responses, .. } => {
            let logp = |r: &u32| {
                let tokens = groups.responses[*r as usize].tokens.max(1);
                Logp { sum: -0.1 * f64::from(tokens) - 0.01 * ((*r as usize * 7 + k) % 13) as f64, tokens }
            };
            Answer::Logps(responses.iter().map(logp).collect())
        }
        Query::TextLogp { continuation, .. } => {
            let tokens = continuation.len().max(1) as u32;
            Answer::Logps(vec![Logp { sum: -0.5 * f64::from(tokens), tokens }])
        }
        Query::Generate { count, .. } => {
            let text = |i: usize| {
                let verdict = if (k / 2 + i).is_multiple_of(3) { "[[B]]" } else { "[[A]]" };
                Generated { text: format!("{verdict}\nScore: {}", 1 + (k + i) % 5), finish: Finish::Stop }
            };
            Answer::Texts((0..*count as usize).map(text).collect())
        }
        Query::Choose { labels, .. } => {
            let weights: Vec<f64> = (0..labels.len()).map(|i| 1.0 + ((i + k) % 5) as f64).collect();
            let total: f64 = weights.iter().sum();
            Answer::Distribution(weights.into_iter().map(|w| w / total).collect())
        }
    }
}
