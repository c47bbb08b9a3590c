//! What every answer must be, as the host checks it before use, and [`testkit`](crate::testkit) too. An error says what
//! was found and what was expected.

use crate::params::shown;
use crate::types::*;

/// Queries of one step.
const MAX_QUERIES: usize = 1 << 22;
/// Texts that one query may ask for.
const MAX_COUNT: u32 = 1024;
/// Texts that all queries of one step may ask for.
const MAX_TEXTS: u64 = 1 << 22;
/// Tokens of one generated text; the model's context limits it further.
const MAX_NEW_TOKENS: u32 = 1 << 20;
const MAX_LABELS: usize = 1024;
const MAX_METRICS: usize = 1000;
/// Pairs of judgments in one report.
const MAX_JUDGMENT_PAIRS: usize = 1 << 20;
const MAX_COLUMNS: usize = 64;
/// A pair that counts more than this drowns all others, and its gradient leaves the range of 32-bit numbers.
pub const MAX_WEIGHT: f64 = 1e9;
/// A pair's loss and its derivatives: what still fits 32-bit numbers as a square.
const MAX_LOSS: f64 = 1e18;
/// How the error about an unknown slot begins.
pub const NO_SLOT: &str = "there is no model slot";

/// What a judge asks in one step.
pub fn queries(queries: &[Query], context: &JudgeContext, groups: &Groups) -> Result<(), String> {
    // About no responses there is nothing to ask.
    if queries.is_empty() && !groups.responses.is_empty() {
        return Err("it asked nothing: an `Ask` without queries".to_owned());
    }
    if queries.len() > MAX_QUERIES {
        return Err(format!("it asked {} queries in one step, at most {MAX_QUERIES} are allowed", queries.len()));
    }
    let mut texts = 0;
    for (i, query) in queries.iter().enumerate() {
        query_fits(query, context, groups).map_err(|found| format!("query {i}: {found}"))?;
        if let Query::Generate { count, .. } = query {
            texts += u64::from(*count);
        }
    }
    if texts > MAX_TEXTS {
        return Err(format!("its queries ask for {texts} texts, at most {MAX_TEXTS} are allowed in one step"));
    }
    Ok(())
}

fn query_fits(query: &Query, context: &JudgeContext, groups: &Groups) -> Result<(), String> {
    let slot = match query {
        Query::ResponseLogps { slot, .. }
        | Query::TextLogp { slot, .. }
        | Query::Generate { slot, .. }
        | Query::Choose { slot, .. } => slot,
    };
    if context.slot(slot).is_none() {
        let known: Vec<&str> = context.slots.iter().map(|s| s.name.as_str()).collect();
        return Err(format!("{NO_SLOT} {slot:?} here, only {}", known.join(", ")));
    }
    let count = groups.responses.len();
    match query {
        Query::ResponseLogps { responses, .. } => {
            if responses.is_empty() && count > 0 {
                return Err("it names no response".to_owned());
            }
            match responses.iter().find(|r| **r as usize >= count) {
                Some(r) => Err(format!("there is no response {r}, only 0 to {}", count.saturating_sub(1))),
                None => Ok(()),
            }
        }
        Query::TextLogp { messages, continuation, .. } => {
            messages_fit(messages)?;
            if continuation.is_empty() { Err("the continuation is empty".to_owned()) } else { Ok(()) }
        }
        Query::Generate { messages, count, max_new_tokens, temperature, top_p, .. } => {
            messages_fit(messages)?;
            within("count", *count, 1, MAX_COUNT)?;
            within("max_new_tokens", *max_new_tokens, 1, MAX_NEW_TOKENS)?;
            if !(temperature.is_finite() && *temperature >= 0.0) {
                return Err(format!("temperature is {}, expected a finite number ≥ 0", shown(*temperature)));
            }
            if !(*top_p > 0.0 && *top_p <= 1.0) {
                return Err(format!("top_p is {}, expected 0 < top_p ≤ 1", shown(*top_p)));
            }
            Ok(())
        }
        Query::Choose { messages, labels, .. } => {
            messages_fit(messages)?;
            if labels.is_empty() || labels.len() > MAX_LABELS {
                return Err(format!("it has {} labels, expected 1 to {MAX_LABELS}", labels.len()));
            }
            if let Some(i) = labels.iter().position(String::is_empty) {
                return Err(format!("label {i} is empty"));
            }
            match (1..labels.len()).find(|i| labels[..*i].contains(&labels[*i])) {
                Some(i) => Err(format!("label {:?} is there twice", labels[i])),
                None => Ok(()),
            }
        }
    }
}

fn messages_fit(messages: &[Message]) -> Result<(), String> {
    if messages.is_empty() {
        return Err("it has no messages".to_owned());
    }
    match messages.iter().find(|m| !matches!(m.role.as_str(), "system" | "user" | "assistant")) {
        Some(m) => Err(format!("a message has the role {:?}, expected system, user or assistant", m.role)),
        None => Ok(()),
    }
}

/// A judge's scores.
pub fn scores(scores: &[Score], groups: &Groups) -> Result<(), String> {
    length("scores", scores.len(), groups.responses.len(), "responses")?;
    let bad = scores.iter().enumerate().find_map(|(i, s)| s.value().filter(|v| !v.is_finite()).map(|v| (i, v)));
    let Some((i, v)) = bad else { return Ok(()) };
    let g = groups.response_offsets.partition_point(|o| *o as usize <= i).saturating_sub(1);
    let id = groups.ids.get(g).map(String::as_str).unwrap_or("?");
    Err(format!(
        "the score of response {i} (prompt {id:?}) is {v}, expected a finite number; a judge without a score must abstain"
    ))
}

/// What a judge says besides its scores; `answers` are those of all its steps.
pub fn report(report: &JudgeReport, answers: &[Vec<Answer>]) -> Result<(), String> {
    if report.measures.len() > MAX_METRICS {
        return Err(format!("it gives {} measures, at most {MAX_METRICS} are allowed", report.measures.len()));
    }
    unique_names("measure", report.measures.iter().map(|m| m.name.as_str()))?;
    for measure in &report.measures {
        let Measure { name, sum, count } = measure;
        if !sum.is_finite() {
            return Err(format!("the sum of measure {name:?} is {sum}, expected a finite number"));
        }
        if *count == 0 && *sum != 0.0 {
            return Err(format!("measure {name:?} has the sum {} of nothing (its count is 0)", shown(*sum)));
        }
    }
    if report.pairs.len() > MAX_JUDGMENT_PAIRS {
        let count = report.pairs.len();
        return Err(format!("it gives {count} pairs of judgments, at most {MAX_JUDGMENT_PAIRS} are allowed"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for (i, pair) in report.pairs.iter().enumerate() {
        judgment_pair_fits(pair, answers).map_err(|found| format!("pair {i}: {found}"))?;
        if !seen.insert((pair.step, pair.query, pair.chosen, pair.rejected)) {
            let JudgmentPair { step, query, chosen, rejected, .. } = pair;
            return Err(format!("pair {i} ({chosen} over {rejected} of step {step}, query {query}) is there twice"));
        }
    }
    Ok(())
}

fn judgment_pair_fits(pair: &JudgmentPair, answers: &[Vec<Answer>]) -> Result<(), String> {
    let JudgmentPair { step, query, chosen, rejected, weight } = *pair;
    let Some(answer) = answers.get(step as usize).and_then(|step| step.get(query as usize)) else {
        return Err(format!("there is no answer to query {query} of step {step}"));
    };
    let Answer::Texts(texts) = answer else {
        return Err(format!("query {query} of step {step} was not answered with texts"));
    };
    let text = |what: &str, number: u32| {
        let found = texts.get(number as usize).map(|t| &t.text);
        found.ok_or_else(|| format!("{what} is text {number}, but the answer has {}", texts.len()))
    };
    if text("chosen", chosen)? == text("rejected", rejected)? {
        return Err(format!("texts {chosen} and {rejected} of its answer are the same"));
    }
    positive(weight)
}

/// What the host says about where `responses` are from.
pub fn sources(sources: &Sources, responses: usize) -> Result<(), String> {
    if sources.names.first().is_none_or(|name| name != "current") {
        return Err("the first name is not \"current\"".to_owned());
    }
    unique_names("source", sources.names.iter().map(String::as_str))?;
    if sources.responses.len() != responses {
        return Err(format!("there are {} of them for {responses} responses", sources.responses.len()));
    }
    match sources.responses.iter().position(|s| *s as usize >= sources.names.len()) {
        Some(r) => Err(format!("response {r} is of source {}, of {}", sources.responses[r], sources.names.len())),
        None => Ok(()),
    }
}

/// The columns of a regularizer, of so many pairs.
pub fn columns(columns: &[Column], pairs: usize) -> Result<(), String> {
    if columns.len() > MAX_COLUMNS {
        return Err(format!("it gives {} columns, at most {MAX_COLUMNS} are allowed", columns.len()));
    }
    unique_names("column", columns.iter().map(|c| c.name.as_str()))?;
    for Column { name, values } in columns {
        length(&format!("values of column {name:?}"), values.len(), pairs, "pairs")?;
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(format!("column {name:?} of pair {i} is {}, expected a finite number", values[i]));
        }
    }
    Ok(())
}

fn unique_names<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for (i, name) in names.enumerate() {
        if name.is_empty() {
            return Err(format!("{what} {i} has no name"));
        }
        if !seen.insert(name) {
            return Err(format!("{what} {name:?} is there twice"));
        }
    }
    Ok(())
}

/// A ranker's answer.
pub fn ranking(ranking: &Ranking, groups: &Groups, scores: &Scores) -> Result<(), String> {
    length("ranks", ranking.ranks.len(), scores.scores.len(), "scores")?;
    let (group_count, response_count) = (groups.len(), groups.responses.len());
    for (viewpoint, ranks) in scores.viewpoints.iter().zip(ranking.ranks.chunks(response_count.max(1))) {
        for range in groups.response_offsets.windows(2).take(group_count) {
            let (start, end) = (range[0] as usize, range[1] as usize);
            let (ranks, size) = (&ranks[start..end], range[1] - range[0]);
            if let Some(i) = ranks.iter().position(|rank| *rank > size) {
                return Err(format!(
                    "the rank of response {} for viewpoint {viewpoint:?} is {}, but its group has {size} responses",
                    start + i,
                    ranks[i],
                ));
            }
        }
    }
    let (pairs, dropped) = (&ranking.pairs[..], &ranking.dropped[..]);
    let mut last = 0;
    for (i, pair) in pairs.iter().enumerate() {
        if !pair_fits(pair, groups) {
            return Err(format!("pair {i}: {}", wrong_pair(pair, groups)));
        }
        if pair.group < last {
            let next = pair.group;
            return Err(format!("pair {i} is of group {next}, after one of group {last}; expected order by group"));
        }
        last = pair.group;
    }
    // Most rankers give them in this order.
    let place = |p: &Pair| (p.chosen, p.rejected);
    if !pairs.is_sorted_by(|a, b| place(a) < place(b)) {
        let mut sorted: Vec<_> = pairs.iter().map(place).enumerate().collect();
        sorted.sort_by_key(|(_, pair)| *pair);
        if let Some(twice) = sorted.windows(2).find(|w| w[0].1 == w[1].1) {
            let (i, (chosen, rejected)) = twice[1];
            return Err(format!("pair {i} ({chosen} over {rejected}) is there twice"));
        }
    }
    dropped_fit(dropped, group_count, "group")?;
    // Both lists are in the order of the groups.
    let (mut next_pair, mut next_dropped) = (0, 0);
    for g in 0..group_count {
        let of_earlier = next_pair;
        while pairs.get(next_pair).is_some_and(|pair| pair.group as usize == g) {
            next_pair += 1;
        }
        let paired = next_pair > of_earlier;
        let left_out = dropped.get(next_dropped).is_some_and(|d| d.index as usize == g);
        next_dropped += usize::from(left_out);
        if paired == left_out {
            let what = if paired { "both paired and dropped" } else { "neither paired nor dropped with a reason" };
            return Err(format!("group {g} (prompt {:?}) is {what}", groups.ids[g]));
        }
    }
    Ok(())
}

fn pair_fits(pair: &Pair, groups: &Groups) -> bool {
    if pair.group as usize >= groups.len() {
        return false;
    }
    let range = groups.response_range(pair.group as usize);
    range.contains(&(pair.chosen as usize))
        && range.contains(&(pair.rejected as usize))
        && pair.chosen != pair.rejected
        && positive(pair.weight).is_ok()
}

/// Why a pair does not fit.
#[cold]
fn wrong_pair(pair: &Pair, groups: &Groups) -> String {
    let Pair { group, chosen, rejected, weight } = *pair;
    if group as usize >= groups.len() {
        return format!("there is no group {group}, only {} groups", groups.len());
    }
    let range = groups.response_range(group as usize);
    for (what, r) in [("chosen", chosen), ("rejected", rejected)] {
        if !range.contains(&(r as usize)) {
            let (start, end) = (range.start, range.end);
            return format!(
                "{what} is response {r}, which is not in group {group} (responses {start} to {end}, without the last)"
            );
        }
    }
    if chosen == rejected {
        return format!("response {chosen} is both chosen and rejected");
    }
    positive(weight).err().unwrap_or_default()
}

/// A regularizer's labels of so many pairs.
pub fn labels(labels: &Labels, pairs: usize) -> Result<(), String> {
    length("consistency", labels.consistency.len(), pairs, "pairs")?;
    length("weights", labels.weights.len(), pairs, "pairs")?;
    if let Some(i) = labels.consistency.iter().position(|c| !(0.0..=1.0).contains(c)) {
        return Err(format!("the consistency of pair {i} is {}, expected 0 to 1", shown(labels.consistency[i])));
    }
    if let Some(i) = labels.weights.iter().position(|w| !(0.0..=MAX_WEIGHT).contains(w)) {
        let w = labels.weights[i];
        return Err(format!("the weight of pair {i} is {}, expected a number from 0 to {MAX_WEIGHT:e}", shown(w)));
    }
    dropped_fit(&labels.dropped, pairs, "pair")?;
    if labels.metrics.len() > MAX_METRICS {
        return Err(format!("it gives {} metrics, at most {MAX_METRICS} are allowed", labels.metrics.len()));
    }
    unique_names("metric", labels.metrics.iter().map(|m| m.name.as_str()))?;
    match labels.metrics.iter().find(|m| !m.value.is_finite()) {
        Some(metric) => Err(format!("metric {:?} is {}, expected a finite number", metric.name, metric.value)),
        None => Ok(()),
    }
}

/// Losses and derivatives of so many pairs.
#[inline]
pub fn objective(value: &ObjectiveValue, pairs: usize) -> Result<(), String> {
    let ObjectiveValue { loss, d_chosen, d_rejected } = value;
    // What is no number is not at most anything.
    let fits = |list: &[f64]| list.len() == pairs && list.iter().all(|x| x.abs() <= MAX_LOSS);
    if fits(loss) && fits(d_chosen) && fits(d_rejected) { Ok(()) } else { wrong_objective(value, pairs) }
}

/// Why an objective's values do not fit.
#[cold]
fn wrong_objective(value: &ObjectiveValue, pairs: usize) -> Result<(), String> {
    for (name, list) in [("loss", &value.loss), ("d_chosen", &value.d_chosen), ("d_rejected", &value.d_rejected)] {
        length(name, list.len(), pairs, "pairs")?;
        if let Some(i) = list.iter().position(|x| !x.is_finite()) {
            return Err(format!("{name} of pair {i} is {}, expected a finite number", list[i]));
        }
        if let Some(i) = list.iter().position(|x| x.abs() > MAX_LOSS) {
            return Err(format!("{name} of pair {i} is {:e}, expected at most {MAX_LOSS:e}", list[i].abs()));
        }
    }
    Ok(())
}

fn dropped_fit(dropped: &[Dropped], count: usize, what: &str) -> Result<(), String> {
    let mut next = 0;
    for d in dropped {
        let i = d.index as usize;
        if i >= count {
            return Err(format!("it drops {what} {i}, but there are only {count}"));
        }
        if i < next {
            return Err(format!("it drops {what} {i} twice or out of order"));
        }
        if d.reason.trim().is_empty() {
            return Err(format!("it drops {what} {i} without a reason"));
        }
        next = i + 1;
    }
    Ok(())
}

fn length(what: &str, found: usize, expected: usize, of: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("it gave {found} {what} for {expected} {of}")) }
}

fn positive(weight: f64) -> Result<(), String> {
    if weight > 0.0 && weight <= MAX_WEIGHT {
        return Ok(());
    }
    Err(format!("its weight is {}, expected a number above 0 and at most {MAX_WEIGHT:e}", shown(weight)))
}

fn within(what: &str, found: u32, low: u32, high: u32) -> Result<(), String> {
    if (low..=high).contains(&found) { Ok(()) } else { Err(format!("{what} is {found}, expected {low} to {high}")) }
}
