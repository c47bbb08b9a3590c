//! The plugin's side: arguments become the crate's own types, results become plain data.

use std::cell::RefCell;

use abi_stable::std_types::{RStr, RVec};

use super::types as n;
use super::types::code;
use crate::numbers::NumbersView;
use crate::types::*;

impl n::JudgeInput<'_> {
    pub(super) fn decode(&self) -> Result<(JudgeContext, Groups, Vec<Vec<Answer>>), PluginError> {
        let context = JudgeContext {
            round: self.context.round,
            viewpoint: s(&self.context.viewpoint),
            slots: self.context.slots.iter().map(|x| Slot { name: s(&x.name), model: s(&x.model) }).collect(),
        };
        let mut answers = Vec::new();
        for bounds in self.step_offsets.windows(2) {
            let step = &self.answers[bounds[0] as usize..bounds[1] as usize];
            answers.push(step.iter().map(answer).collect::<Result<_, _>>()?);
        }
        Ok((context, self.groups.decode()?, answers))
    }
}

impl n::RankInput<'_> {
    pub(super) fn decode(&self) -> Result<(RankContext, Groups, Scores), PluginError> {
        let context = RankContext { round: self.round, seed: self.seed };
        Ok((context, self.groups.decode()?, self.scores.decode()?))
    }
}

impl<'a> n::NumbersInput<'a> {
    pub(super) fn view(&self) -> (RankContext, NumbersView<'a>) {
        let numbers = NumbersView {
            response_offsets: self.response_offsets.as_slice(),
            tokens: self.tokens.as_slice(),
            cut_off: self.cut_off.as_slice(),
            first: self.first.as_slice(),
            viewpoints: self.viewpoints,
            scores: self.scores.as_slice(),
        };
        (RankContext { round: self.round, seed: self.seed }, numbers)
    }
}

impl n::RecordsView<'_> {
    pub(super) fn decode(&self) -> Result<Records, PluginError> {
        let round = |h: &n::RoundView<'_>| RoundRecord {
            round: h.round,
            pairs: h.pairs,
            metrics: h.metrics.iter().map(metric).collect(),
        };
        let pair = |p: &n::Pair| Pair { group: p.group, chosen: p.chosen, rejected: p.rejected, weight: p.weight };
        Ok(Records {
            round: self.round,
            groups: self.groups.decode()?,
            scores: self.scores.decode()?,
            ranks: self.ranks.to_vec(),
            pairs: self.pairs.iter().map(pair).collect(),
            history: self.history.iter().map(round).collect(),
        })
    }
}

impl n::SourcesView<'_> {
    pub(super) fn decode(&self) -> Sources {
        Sources { names: self.names.iter().map(s).collect(), responses: self.responses.to_vec() }
    }
}

impl n::LabelsView<'_> {
    pub(super) fn decode(&self) -> Labels {
        Labels {
            consistency: self.consistency.to_vec(),
            weights: self.weights.to_vec(),
            dropped: self.dropped.iter().map(|d| Dropped { index: d.index, reason: s(&d.reason) }).collect(),
            metrics: self.metrics.iter().map(metric).collect(),
        }
    }
}

impl n::ColumnView<'_> {
    pub(super) fn decode(&self) -> Column {
        Column { name: s(&self.name), values: self.values.to_vec() }
    }
}

thread_local! {
    /// The last batch of an objective, for its memory: a call of few pairs is shorter than what eight lists cost.
    static BATCH: RefCell<ObjectiveBatch> = RefCell::default();
}

impl n::ObjectiveView<'_> {
    pub(super) fn decoded<T>(&self, call: impl FnOnce(&ObjectiveBatch) -> T) -> T {
        BATCH.with(|batch| match batch.try_borrow_mut() {
            Ok(mut batch) => {
                self.decode_into(&mut batch);
                call(&batch)
            }
            // Within another call.
            Err(_) => {
                let mut batch = ObjectiveBatch::default();
                self.decode_into(&mut batch);
                call(&batch)
            }
        })
    }

    fn decode_into(&self, batch: &mut ObjectiveBatch) {
        batch.beta = self.beta;
        again(&mut batch.policy_chosen, &self.policy_chosen);
        again(&mut batch.policy_rejected, &self.policy_rejected);
        again(&mut batch.reference_chosen, &self.reference_chosen);
        again(&mut batch.reference_rejected, &self.reference_rejected);
        again(&mut batch.chosen_tokens, &self.chosen_tokens);
        again(&mut batch.rejected_tokens, &self.rejected_tokens);
        again(&mut batch.consistency, &self.consistency);
        again(&mut batch.weight, &self.weight);
    }
}

fn again<T: Copy>(list: &mut Vec<T>, items: &[T]) {
    list.clear();
    list.extend_from_slice(items);
}

impl n::GroupsView<'_> {
    fn decode(&self) -> Result<Groups, PluginError> {
        let response =
            |x: &n::ResponseView<'_>| Ok(Response { text: s(&x.text), tokens: x.tokens, finish: finish(x.finish)? });
        Ok(Groups {
            ids: self.ids.iter().map(s).collect(),
            messages: self.messages.iter().map(|m| Message { role: s(&m.role), content: s(&m.content) }).collect(),
            message_offsets: self.message_offsets.to_vec(),
            responses: self.responses.iter().map(response).collect::<Result<_, PluginError>>()?,
            response_offsets: self.response_offsets.to_vec(),
        })
    }
}

impl n::ScoresView<'_> {
    fn decode(&self) -> Result<Scores, PluginError> {
        let score = |x: &n::ScoreView<'_>| match x.kind {
            code::SCORE_VALUE => Ok(Score::Value(x.value)),
            code::SCORE_ABSTAIN => Ok(Score::Abstain(s(&x.reason))),
            other => Err(unknown("score", other)),
        };
        Ok(Scores {
            viewpoints: self.viewpoints.iter().map(s).collect(),
            scores: self.scores.iter().map(score).collect::<Result<_, _>>()?,
        })
    }
}

impl From<Step> for n::Step {
    fn from(step: Step) -> Self {
        match step {
            Step::Ask(queries) => n::Step {
                kind: code::STEP_ASK,
                queries: queries.into_iter().map(Into::into).collect(),
                scores: RVec::new(),
            },
            Step::Scores(scores) => n::Step {
                kind: code::STEP_SCORES,
                queries: RVec::new(),
                scores: scores.into_iter().map(Into::into).collect(),
            },
        }
    }
}

impl From<JudgeReport> for n::JudgeReport {
    fn from(report: JudgeReport) -> Self {
        let measure = |m: Measure| n::Measure { name: m.name.into(), sum: m.sum, count: m.count };
        let pair = |p: JudgmentPair| n::JudgmentPair {
            step: p.step,
            query: p.query,
            chosen: p.chosen,
            rejected: p.rejected,
            weight: p.weight,
        };
        n::JudgeReport {
            measures: report.measures.into_iter().map(measure).collect(),
            pairs: report.pairs.into_iter().map(pair).collect(),
        }
    }
}

impl From<Column> for n::Column {
    fn from(column: Column) -> Self {
        n::Column { name: column.name.into(), values: column.values.into() }
    }
}

impl From<Score> for n::Score {
    fn from(score: Score) -> Self {
        match score {
            Score::Value(value) => n::Score { kind: code::SCORE_VALUE, value, reason: Default::default() },
            Score::Abstain(reason) => n::Score { kind: code::SCORE_ABSTAIN, value: 0.0, reason: reason.into() },
        }
    }
}

impl From<Query> for n::Query {
    fn from(query: Query) -> Self {
        let of_kind = |kind, slot: String| n::Query {
            kind,
            slot: slot.into(),
            responses: RVec::new(),
            messages: RVec::new(),
            continuation: Default::default(),
            labels: RVec::new(),
            count: 0,
            max_new_tokens: 0,
            temperature: 0.0,
            top_p: 0.0,
        };
        match query {
            Query::ResponseLogps { slot, responses } => {
                n::Query { responses: responses.into(), ..of_kind(code::QUERY_RESPONSE_LOGPS, slot) }
            }
            Query::TextLogp { slot, messages, continuation } => n::Query {
                messages: plain(messages),
                continuation: continuation.into(),
                ..of_kind(code::QUERY_TEXT_LOGP, slot)
            },
            Query::Generate { slot, messages, count, max_new_tokens, temperature, top_p } => n::Query {
                messages: plain(messages),
                count,
                max_new_tokens,
                temperature,
                top_p,
                ..of_kind(code::QUERY_GENERATE, slot)
            },
            Query::Choose { slot, messages, labels } => n::Query {
                messages: plain(messages),
                labels: labels.into_iter().map(Into::into).collect(),
                ..of_kind(code::QUERY_CHOOSE, slot)
            },
        }
    }
}

impl From<Ranking> for n::Ranking {
    #[inline]
    fn from(ranking: Ranking) -> Self {
        let pair = |p: Pair| n::Pair { group: p.group, chosen: p.chosen, rejected: p.rejected, weight: p.weight };
        n::Ranking {
            ranks: ranking.ranks.into(),
            pairs: list(ranking.pairs, pair),
            dropped: list(ranking.dropped, Into::into),
        }
    }
}

impl From<Dropped> for n::Dropped {
    fn from(dropped: Dropped) -> Self {
        n::Dropped { index: dropped.index, reason: dropped.reason.into() }
    }
}

impl From<Labels> for n::Labels {
    fn from(labels: Labels) -> Self {
        n::Labels {
            consistency: labels.consistency.into(),
            weights: labels.weights.into(),
            dropped: labels.dropped.into_iter().map(Into::into).collect(),
            metrics: labels.metrics.into_iter().map(|m| n::Metric { name: m.name.into(), value: m.value }).collect(),
        }
    }
}

impl From<ObjectiveValue> for n::ObjectiveValue {
    #[inline]
    fn from(value: ObjectiveValue) -> Self {
        n::ObjectiveValue {
            loss: value.loss.into(),
            d_chosen: value.d_chosen.into(),
            d_rejected: value.d_rejected.into(),
        }
    }
}

fn answer(x: &n::AnswerView<'_>) -> Result<Answer, PluginError> {
    let generated = |t: &n::GeneratedView<'_>| Ok(Generated { text: s(&t.text), finish: finish(t.finish)? });
    Ok(match x.kind {
        code::ANSWER_LOGPS => Answer::Logps(x.logps.iter().map(|l| Logp { sum: l.sum, tokens: l.tokens }).collect()),
        code::ANSWER_TEXTS => Answer::Texts(x.texts.iter().map(generated).collect::<Result<_, PluginError>>()?),
        code::ANSWER_DISTRIBUTION => Answer::Distribution(x.distribution.to_vec()),
        code::ANSWER_FAILED => Answer::Failed(s(&x.failure)),
        other => return Err(unknown("answer", other)),
    })
}

fn metric(m: &n::MetricView<'_>) -> Metric {
    Metric { name: s(&m.name), value: m.value }
}

fn finish(kind: u32) -> Result<Finish, PluginError> {
    match kind {
        code::FINISH_STOP => Ok(Finish::Stop),
        code::FINISH_LENGTH => Ok(Finish::Length),
        other => Err(unknown("finish reason", other)),
    }
}

fn plain(messages: Vec<Message>) -> RVec<n::Message> {
    messages.into_iter().map(|m| n::Message { role: m.role.into(), content: m.content.into() }).collect()
}

/// A list of an own type's as one of a plain type's: by way of a `Vec`, which keeps its memory where both are of one size.
fn list<T, U>(items: Vec<T>, plain: impl Fn(T) -> U) -> RVec<U> {
    if items.is_empty() { RVec::new() } else { items.into_iter().map(plain).collect::<Vec<U>>().into() }
}

fn unknown(what: &str, code: u32) -> PluginError {
    PluginError::new(format!("the host sent a {what} of kind {code}, which ABI {} does not have", crate::ABI))
}

fn s(text: &RStr<'_>) -> String {
    text.as_str().to_owned()
}
