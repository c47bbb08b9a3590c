//! A rehearsal at load: judge, ranker and regularizer work once on a few made-up responses and scores, against a
//! scripted model, so that parts that do not go together are an error before any work. Nothing of it is kept.
//!
//! A judge may well fail on made-up answers, so only what it asks counts: a slot that is not there, a query that the
//! slot's model cannot answer. A ranker and a regularizer get scores of the usual form, so that their errors count.

use creamery_plugin::{
    Answer, Column, Finish, Generated, Groups, JudgeContext, Labels, Logp, Message, ObjectiveBatch, ObjectiveValue,
    Pair, Query, RankContext, Records, Response, Score, Scores, Slot, Sources, Step,
};

use super::check::NO_SLOT;
use super::{JudgePlugin, RankerPlugin, RegularizerPlugin};
use crate::error::{Error, Result};
use crate::slots::{Capabilities, OWN_NAMES};

/// Groups of a rehearsal.
pub const GROUPS: usize = 8;

/// A model slot of a judge and what its model can do.
#[derive(Clone, Debug)]
pub struct SlotAbilities {
    pub name: String,
    pub can: Capabilities,
}

impl SlotAbilities {
    pub fn new(name: &str, can: Capabilities) -> Self {
        SlotAbilities { name: name.to_owned(), can }
    }

    /// The slots that every judge of a run has.
    pub fn own() -> Vec<Self> {
        OWN_NAMES.map(|name| SlotAbilities::new(name, Capabilities::ALL)).into()
    }
}

/// Up to [`GROUPS`] groups of `n` made-up responses to these prompts, or to made-up ones.
pub fn groups<'a>(prompts: impl Iterator<Item = &'a [Message]>, n: usize) -> Groups {
    let mut prompts: Vec<Vec<Message>> = prompts.take(GROUPS).map(<[Message]>::to_vec).collect();
    if prompts.is_empty() {
        prompts = (0..GROUPS).map(|g| vec![Message::user(format!("What is {g} + {g}?"))]).collect();
    }
    let mut groups = Groups::default();
    for (g, prompt) in prompts.into_iter().enumerate() {
        let response = |r: usize| {
            let text = format!("The answer is {}.{}", g + r, " Indeed.".repeat((g + 2 * r) % 3));
            Response { tokens: text.len() as u32, text, finish: Finish::Stop }
        };
        groups.push(format!("rehearsal-{g}"), prompt, (0..n).map(response).collect());
    }
    groups
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
) -> Result<()> {
    let slot = |s: &SlotAbilities| Slot { name: s.name.clone(), model: format!("rehearsal of {}", s.name) };
    let slots_of = slots.iter().map(slot).collect();
    let context = JudgeContext { round: 1, viewpoint: viewpoint.to_owned(), slots: slots_of };
    let mut answers: Vec<Vec<Answer>> = Vec::new();
    while answers.len() < max_steps {
        let queries = match judge.step(&context, groups, &answers) {
            Ok(Step::Ask(queries)) => queries,
            Ok(Step::Scores(_)) => return Ok(()),
            Err(e) if is_about_slots(&e, answers.is_empty()) => {
                return Err(Error::new(e.kind(), e.message()).context(format!("rehearsing [{part}]")));
            }
            // What it makes of made-up answers decides nothing.
            Err(_) => return Ok(()),
        };
        for query in &queries {
            check_ability(judge, part, query, slots)?;
        }
        let step = answers.len();
        answers.push(queries.iter().enumerate().map(|(i, query)| answer(query, groups, step + i)).collect());
    }
    Ok(())
}

/// The host's own check of slots, or a judge's before it has seen any answer.
fn is_about_slots(error: &Error, first: bool) -> bool {
    error.message().contains(NO_SLOT) || first && error.message().contains("slot")
}

fn check_ability(judge: &dyn JudgePlugin, part: &str, query: &Query, slots: &[SlotAbilities]) -> Result<()> {
    let (slot, what) = match query {
        Query::ResponseLogps { slot, .. } => (slot, "log-probabilities of the sampled responses"),
        Query::TextLogp { slot, .. } => (slot, "log-probabilities of texts"),
        Query::Generate { slot, .. } => (slot, "generated texts"),
        Query::Choose { slot, .. } => (slot, "a distribution over labels"),
    };
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
    .help(help)
    .context(format!("rehearsing [{part}]")))
}

/// What a model might say. `k` varies it.
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
            let text = |i: usize| Generated { text: format!("Score: {}", 1 + (k + i) % 5), finish: Finish::Stop };
            Answer::Texts((0..*count as usize).map(text).collect())
        }
        Query::Choose { labels, .. } => {
            let weights: Vec<f64> = (0..labels.len()).map(|i| 1.0 + ((i + k) % 5) as f64).collect();
            let total: f64 = weights.iter().sum();
            Answer::Distribution(weights.into_iter().map(|w| w / total).collect())
        }
    }
}

/// The parts behind the judges.
pub struct Rest<'a> {
    pub ranker: &'a mut dyn RankerPlugin,
    pub regularizer: &'a mut dyn RegularizerPlugin,
    /// `[objective]`; `None` if the regularizer's objective trains.
    pub objective: Option<&'a mut dyn RegularizerPlugin>,
    /// "current" first.
    pub viewpoints: Vec<String>,
    /// The names of the models that draw responses, "current" first, and how many in a group are each one's; empty if
    /// all are the policy's.
    pub sources: Vec<(String, usize)>,
    /// Training has a reference model.
    pub has_reference: bool,
}

/// Ranks made-up scores, labels the pairs, and computes the objective on them. Some parts take only scores of one
/// form, so it is an error if they work with none: shares from 0 to 1, and counts.
pub fn rest(mut rest: Rest, groups: &Groups) -> Result<()> {
    let shares = with_scores(&mut rest, groups, true);
    match shares {
        Ok(()) => Ok(()),
        Err(e) => with_scores(&mut rest, groups, false).map_err(|_| e),
    }
}

fn with_scores(rest: &mut Rest, groups: &Groups, shares: bool) -> Result<()> {
    let scores = made_up_scores(&rest.viewpoints, groups, shares);
    let context = RankContext { round: 1, seed: 0 };
    let ranking = match sources(&rest.sources, groups) {
        None => rest.ranker.rank(&context, groups, &scores),
        Some(sources) => rest.ranker.rank_sources(&context, groups, &scores, &sources),
    };
    let ranking = ranking.map_err(|e| e.context("rehearsing [ranker] on made-up scores"))?;
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
    let labels =
        rest.regularizer.label(&records).map_err(|e| e.context("rehearsing [regularizer] on made-up scores"))?;
    // As in a run: columns come from the plugin whose objective it is.
    let (plugin, part) = match &mut rest.objective {
        Some(plugin) => (&mut **plugin, "objective"),
        None => (&mut *rest.regularizer, "regularizer"),
    };
    let columns =
        plugin.columns(&records, &labels).map_err(|e| e.context(format!("rehearsing [{part}] on made-up scores")))?;
    objective(plugin, part, &records, &labels, &columns, rest.has_reference)
}

/// Distinct scores in each group, in another order from each viewpoint.
fn made_up_scores(viewpoints: &[String], groups: &Groups, shares: bool) -> Scores {
    let mut scores = Vec::new();
    for v in 0..viewpoints.len() {
        for g in 0..groups.len() {
            let range = groups.response_range(g);
            let n = range.len();
            let start = (g + v * (g % 3)) % n.max(1);
            let scale = if shares { n as f64 } else { 1.0 };
            scores.extend((0..n).map(|r| Score::Value(((r + start) % n) as f64 / scale)));
        }
    }
    Scores { viewpoints: viewpoints.to_vec(), scores }
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

fn objective(
    plugin: &mut dyn RegularizerPlugin,
    part: &str,
    records: &Records,
    labels: &Labels,
    columns: &[Column],
    has_reference: bool,
) -> Result<()> {
    let mut value = |reference: f64| -> Result<ObjectiveValue> {
        let batch = made_up_batch(records, labels, reference);
        match columns.is_empty() {
            true => plugin.objective(&batch),
            false => plugin.objective_columns(&batch, columns),
        }
        .map_err(|e| e.context(format!("rehearsing the objective of [{part}]")))
    };
    let near = value(0.0)?;
    if has_reference || near == value(-3.0)? {
        return Ok(());
    }
    Err(Error::config(format!(
        "the objective of {} depends on a reference model, but training has none",
        plugin.info().title()
    ))
    .help("give training a reference, or choose an objective that needs none")
    .context(format!("rehearsing the objective of [{part}]")))
}

/// Log-probabilities of the pairs; `shift` moves the reference's of the chosen responses.
fn made_up_batch(records: &Records, labels: &Labels, shift: f64) -> ObjectiveBatch {
    let count = records.pairs.len();
    let numbers = |start: f64, step: f64| -> Vec<f64> { (0..count).map(|i| start - step * (i % 5) as f64).collect() };
    let tokens = |of: fn(&Pair) -> u32| -> Vec<u32> {
        records.pairs.iter().map(|p| records.groups.responses[of(p) as usize].tokens.max(1)).collect()
    };
    ObjectiveBatch {
        beta: 0.1,
        policy_chosen: numbers(-5.0, 0.5),
        policy_rejected: numbers(-6.0, 0.25),
        reference_chosen: numbers(-5.5 + shift, 0.5),
        reference_rejected: numbers(-5.75, 0.25),
        chosen_tokens: tokens(|p| p.chosen),
        rejected_tokens: tokens(|p| p.rejected),
        consistency: labels.consistency.clone(),
        weight: labels.weights.iter().zip(&records.pairs).map(|(w, p)| w * p.weight).collect(),
    }
}
