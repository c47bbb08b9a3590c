//! The host's side: arguments are lent to the plugin without copying text or numbers, results are copied once.

use abi_stable::std_types::ROption::{RNone, RSome};
use abi_stable::std_types::RResult::{self, RErr, ROk};
use abi_stable::std_types::{RSlice, RStr, RString, RVec};

use super::objects::*;
use super::types as n;
use super::types::code;
use crate::numbers::NumbersView;
use crate::types::*;

/// [`crate::Judge::step`] of a native plugin.
pub fn step(
    judge: &JudgeObject,
    context: &JudgeContext,
    groups: &Groups,
    answers: &[Vec<Answer>],
) -> Result<Step, PluginError> {
    with_judge_input(context, groups, answers, |input| decode_step(result(judge.step(input))?))
}

/// [`crate::Judge::report`] of a native plugin; nothing of one older than 1.1.
pub fn report(
    judge: &JudgeObject,
    context: &JudgeContext,
    groups: &Groups,
    answers: &[Vec<Answer>],
) -> Result<JudgeReport, PluginError> {
    let report = with_judge_input(context, groups, answers, |input| result(judge.report(input)))?;
    let measure = |m: n::Measure| Measure { name: m.name.into(), sum: m.sum, count: m.count };
    let pair = |p: n::JudgmentPair| JudgmentPair {
        step: p.step,
        query: p.query,
        chosen: p.chosen,
        rejected: p.rejected,
        weight: p.weight,
    };
    Ok(JudgeReport {
        measures: report.measures.into_iter().map(measure).collect(),
        pairs: report.pairs.into_iter().map(pair).collect(),
    })
}

/// [`crate::Ranker::rank`] of a native plugin.
pub fn rank(
    ranker: &RankerObject,
    context: &RankContext,
    groups: &Groups,
    scores: &Scores,
) -> Result<Ranking, PluginError> {
    with_rank_input(context, groups, scores, |input| ranking(ranker.rank(input)))
}

/// [`crate::Ranker::rank_sources`] of a native plugin; one older than 1.1 is not told of the sources.
pub fn rank_sources(
    ranker: &RankerObject,
    context: &RankContext,
    groups: &Groups,
    scores: &Scores,
    sources: &Sources,
) -> Result<Ranking, PluginError> {
    let names: Vec<RStr<'_>> = sources.names.iter().map(|s| r(s)).collect();
    let sources = n::SourcesView { names: (&names[..]).into(), responses: (&sources.responses[..]).into() };
    with_rank_input(context, groups, scores, |input| ranking(ranker.rank_sources(input, &sources)))
}

/// [`crate::Ranker::rank_numbers`] of a native plugin; none of one older than 1.1.
#[inline]
pub fn rank_numbers(
    ranker: &RankerObject,
    context: &RankContext,
    numbers: NumbersView<'_>,
) -> Result<Option<Ranking>, PluginError> {
    let input = n::NumbersInput {
        round: context.round,
        seed: context.seed,
        response_offsets: numbers.response_offsets.into(),
        tokens: numbers.tokens.into(),
        cut_off: numbers.cut_off.into(),
        first: numbers.first.into(),
        viewpoints: numbers.viewpoints,
        scores: numbers.scores.into(),
    };
    match &ranker.rank_numbers(&input) {
        ROk(RSome(ranking)) => Ok(Some(copied(ranking))),
        ROk(RNone) => Ok(None),
        RErr(message) => Err(PluginError::new(message.as_str())),
    }
}

/// [`crate::Regularizer::label`] of a native plugin.
pub fn label(regularizer: &RegularizerObject, records: &Records) -> Result<Labels, PluginError> {
    let labels = with_records(records, |view| result(regularizer.label(view)))?;
    Ok(Labels {
        consistency: labels.consistency.into(),
        weights: labels.weights.into(),
        dropped: dropped(labels.dropped),
        metrics: labels.metrics.into_iter().map(|m| Metric { name: m.name.into(), value: m.value }).collect(),
    })
}

/// [`crate::Regularizer::objective`] of a native plugin.
#[inline]
pub fn objective(regularizer: &RegularizerObject, batch: &ObjectiveBatch) -> Result<ObjectiveValue, PluginError> {
    objective_value(regularizer.objective(&objective_view(batch)))
}

/// [`crate::Regularizer::columns`] of a native plugin; none of one older than 1.1.
pub fn columns(
    regularizer: &RegularizerObject,
    records: &Records,
    labels: &Labels,
) -> Result<Vec<Column>, PluginError> {
    let dropped: Vec<n::DroppedView<'_>> =
        labels.dropped.iter().map(|d| n::DroppedView { index: d.index, reason: r(&d.reason) }).collect();
    let metrics: Vec<n::MetricView<'_>> = labels.metrics.iter().map(metric_view).collect();
    let labels = n::LabelsView {
        consistency: (&labels.consistency[..]).into(),
        weights: (&labels.weights[..]).into(),
        dropped: (&dropped[..]).into(),
        metrics: (&metrics[..]).into(),
    };
    let columns = with_records(records, |view| result(regularizer.columns(view, &labels)))?;
    Ok(columns.into_iter().map(|c| Column { name: c.name.into(), values: c.values.into() }).collect())
}

/// [`crate::Regularizer::objective_columns`] of a native plugin; one older than 1.1 is not told of the columns.
pub fn objective_columns(
    regularizer: &RegularizerObject,
    batch: &ObjectiveBatch,
    columns: &[Column],
) -> Result<ObjectiveValue, PluginError> {
    let columns: Vec<n::ColumnView<'_>> =
        columns.iter().map(|c| n::ColumnView { name: r(&c.name), values: (&c.values[..]).into() }).collect();
    objective_value(regularizer.objective_columns(&objective_view(batch), (&columns[..]).into()))
}

/// Lends a judge's arguments to `call`.
fn with_judge_input<T>(
    context: &JudgeContext,
    groups: &Groups,
    answers: &[Vec<Answer>],
    call: impl FnOnce(&n::JudgeInput<'_>) -> T,
) -> T {
    let slots: Vec<n::SlotView<'_>> =
        context.slots.iter().map(|s| n::SlotView { name: r(&s.name), model: r(&s.model) }).collect();
    let context =
        n::JudgeContextView { round: context.round, viewpoint: r(&context.viewpoint), slots: (&slots[..]).into() };
    let parts = GroupsParts::new(groups);

    let flat: Vec<&Answer> = answers.iter().flatten().collect();
    let mut step_offsets = vec![0u32];
    for step in answers {
        step_offsets.push(step_offsets[step_offsets.len() - 1] + step.len() as u32);
    }
    let mut logps = Vec::new();
    let mut texts = Vec::new();
    for answer in &flat {
        match answer {
            Answer::Logps(l) => logps.extend(l.iter().map(|l| n::Logp { sum: l.sum, tokens: l.tokens })),
            Answer::Texts(t) => {
                texts.extend(t.iter().map(|t| n::GeneratedView { text: r(&t.text), finish: finish_code(t.finish) }))
            }
            Answer::Distribution(_) | Answer::Failed(_) => {}
        }
    }
    let (mut rest_logps, mut rest_texts) = (&logps[..], &texts[..]);
    let mut views = Vec::with_capacity(flat.len());
    for answer in &flat {
        let mut view = n::AnswerView {
            kind: code::ANSWER_FAILED,
            logps: RSlice::EMPTY,
            texts: RSlice::EMPTY,
            distribution: RSlice::EMPTY,
            failure: "".into(),
        };
        match answer {
            Answer::Logps(l) => {
                view.kind = code::ANSWER_LOGPS;
                view.logps = take(&mut rest_logps, l.len()).into();
            }
            Answer::Texts(t) => {
                view.kind = code::ANSWER_TEXTS;
                view.texts = take(&mut rest_texts, t.len()).into();
            }
            Answer::Distribution(d) => {
                view.kind = code::ANSWER_DISTRIBUTION;
                view.distribution = (&d[..]).into();
            }
            Answer::Failed(reason) => view.failure = r(reason),
        }
        views.push(view);
    }
    let input = n::JudgeInput {
        context,
        groups: parts.view(groups),
        answers: (&views[..]).into(),
        step_offsets: (&step_offsets[..]).into(),
    };
    call(&input)
}

/// Lends a ranker's arguments to `call`.
fn with_rank_input<T>(
    context: &RankContext,
    groups: &Groups,
    scores: &Scores,
    call: impl FnOnce(&n::RankInput<'_>) -> T,
) -> T {
    let groups_parts = GroupsParts::new(groups);
    let scores_parts = ScoresParts::new(scores);
    call(&n::RankInput {
        round: context.round,
        seed: context.seed,
        groups: groups_parts.view(groups),
        scores: scores_parts.view(),
    })
}

fn ranking(answer: RResult<n::Ranking, RString>) -> Result<Ranking, PluginError> {
    match &answer {
        ROk(ranking) => Ok(copied(ranking)),
        RErr(message) => Err(PluginError::new(message.as_str())),
    }
}

/// From where the plugin wrote it: to move such a result from one owner to the next takes longer than the crossing.
#[inline]
fn copied(ranking: &n::Ranking) -> Ranking {
    Ranking {
        ranks: ranking.ranks.to_vec(),
        pairs: ranking.pairs.iter().map(pair).collect(),
        dropped: ranking.dropped.iter().map(|d| Dropped { index: d.index, reason: d.reason.to_string() }).collect(),
    }
}

/// Lends a regularizer's records to `call`.
fn with_records<T>(records: &Records, call: impl FnOnce(&n::RecordsView<'_>) -> T) -> T {
    let groups = GroupsParts::new(&records.groups);
    let scores = ScoresParts::new(&records.scores);
    let pairs: Vec<n::Pair> = records.pairs.iter().map(pair_view).collect();
    let metrics: Vec<Vec<n::MetricView<'_>>> =
        records.history.iter().map(|h| h.metrics.iter().map(metric_view).collect()).collect();
    let history: Vec<n::RoundView<'_>> = records
        .history
        .iter()
        .zip(&metrics)
        .map(|(h, m)| n::RoundView { round: h.round, pairs: h.pairs, metrics: (&m[..]).into() })
        .collect();
    call(&n::RecordsView {
        round: records.round,
        groups: groups.view(&records.groups),
        scores: scores.view(),
        ranks: (&records.ranks[..]).into(),
        pairs: (&pairs[..]).into(),
        history: (&history[..]).into(),
    })
}

fn objective_view(batch: &ObjectiveBatch) -> n::ObjectiveView<'_> {
    n::ObjectiveView {
        beta: batch.beta,
        policy_chosen: (&batch.policy_chosen[..]).into(),
        policy_rejected: (&batch.policy_rejected[..]).into(),
        reference_chosen: (&batch.reference_chosen[..]).into(),
        reference_rejected: (&batch.reference_rejected[..]).into(),
        chosen_tokens: (&batch.chosen_tokens[..]).into(),
        rejected_tokens: (&batch.rejected_tokens[..]).into(),
        consistency: (&batch.consistency[..]).into(),
        weight: (&batch.weight[..]).into(),
    }
}

#[inline]
fn objective_value(answer: RResult<n::ObjectiveValue, RString>) -> Result<ObjectiveValue, PluginError> {
    match &answer {
        ROk(value) => Ok(ObjectiveValue {
            loss: value.loss.to_vec(),
            d_chosen: value.d_chosen.to_vec(),
            d_rejected: value.d_rejected.to_vec(),
        }),
        RErr(message) => Err(PluginError::new(message.as_str())),
    }
}

/// Element views of a [`Groups`].
struct GroupsParts<'a> {
    ids: Vec<RStr<'a>>,
    messages: Vec<n::MessageView<'a>>,
    responses: Vec<n::ResponseView<'a>>,
}

impl<'a> GroupsParts<'a> {
    fn new(groups: &'a Groups) -> Self {
        GroupsParts {
            ids: groups.ids.iter().map(|s| r(s)).collect(),
            messages: groups
                .messages
                .iter()
                .map(|m| n::MessageView { role: r(&m.role), content: r(&m.content) })
                .collect(),
            responses: groups
                .responses
                .iter()
                .map(|s| n::ResponseView { text: r(&s.text), tokens: s.tokens, finish: finish_code(s.finish) })
                .collect(),
        }
    }

    fn view(&'a self, groups: &'a Groups) -> n::GroupsView<'a> {
        n::GroupsView {
            ids: (&self.ids[..]).into(),
            messages: (&self.messages[..]).into(),
            message_offsets: (&groups.message_offsets[..]).into(),
            responses: (&self.responses[..]).into(),
            response_offsets: (&groups.response_offsets[..]).into(),
        }
    }
}

/// Element views of a [`Scores`].
struct ScoresParts<'a> {
    viewpoints: Vec<RStr<'a>>,
    scores: Vec<n::ScoreView<'a>>,
}

impl<'a> ScoresParts<'a> {
    fn new(scores: &'a Scores) -> Self {
        let view = |s: &'a Score| match s {
            Score::Value(value) => n::ScoreView { kind: code::SCORE_VALUE, value: *value, reason: "".into() },
            Score::Abstain(reason) => n::ScoreView { kind: code::SCORE_ABSTAIN, value: 0.0, reason: r(reason) },
        };
        ScoresParts {
            viewpoints: scores.viewpoints.iter().map(|s| r(s)).collect(),
            scores: scores.scores.iter().map(view).collect(),
        }
    }

    fn view(&'a self) -> n::ScoresView<'a> {
        n::ScoresView { viewpoints: (&self.viewpoints[..]).into(), scores: (&self.scores[..]).into() }
    }
}

fn decode_step(step: n::Step) -> Result<Step, PluginError> {
    match step.kind {
        code::STEP_ASK => step.queries.into_iter().map(query).collect::<Result<_, _>>().map(Step::Ask),
        code::STEP_SCORES => step.scores.into_iter().map(score).collect::<Result<_, _>>().map(Step::Scores),
        other => Err(unknown("step", other)),
    }
}

fn query(q: n::Query) -> Result<Query, PluginError> {
    let slot: String = q.slot.into();
    let messages = |m: RVec<n::Message>| {
        m.into_iter().map(|m| Message { role: m.role.into(), content: m.content.into() }).collect::<Vec<_>>()
    };
    Ok(match q.kind {
        code::QUERY_RESPONSE_LOGPS => Query::ResponseLogps { slot, responses: q.responses.into() },
        code::QUERY_TEXT_LOGP => {
            Query::TextLogp { slot, messages: messages(q.messages), continuation: q.continuation.into() }
        }
        code::QUERY_GENERATE => Query::Generate {
            slot,
            messages: messages(q.messages),
            count: q.count,
            max_new_tokens: q.max_new_tokens,
            temperature: q.temperature,
            top_p: q.top_p,
        },
        code::QUERY_CHOOSE => Query::Choose {
            slot,
            messages: messages(q.messages),
            labels: q.labels.into_iter().map(RString::into_string).collect(),
        },
        other => return Err(unknown("query", other)),
    })
}

fn score(s: n::Score) -> Result<Score, PluginError> {
    match s.kind {
        code::SCORE_VALUE => Ok(Score::Value(s.value)),
        code::SCORE_ABSTAIN => Ok(Score::Abstain(s.reason.into())),
        other => Err(unknown("score", other)),
    }
}

fn pair(p: &n::Pair) -> Pair {
    Pair { group: p.group, chosen: p.chosen, rejected: p.rejected, weight: p.weight }
}

fn pair_view(p: &Pair) -> n::Pair {
    n::Pair { group: p.group, chosen: p.chosen, rejected: p.rejected, weight: p.weight }
}

fn metric_view(m: &Metric) -> n::MetricView<'_> {
    n::MetricView { name: r(&m.name), value: m.value }
}

fn dropped(list: RVec<n::Dropped>) -> Vec<Dropped> {
    list.into_iter().map(|d| Dropped { index: d.index, reason: d.reason.into() }).collect()
}

fn result<T>(result: RResult<T, RString>) -> Result<T, PluginError> {
    result.into_result().map_err(|message| PluginError::new(message.into_string()))
}

/// The first `n` elements; `rest` keeps the others.
fn take<'a, T>(rest: &mut &'a [T], n: usize) -> &'a [T] {
    let (head, tail) = rest.split_at(n);
    *rest = tail;
    head
}

fn finish_code(finish: Finish) -> u32 {
    match finish {
        Finish::Stop => code::FINISH_STOP,
        Finish::Length => code::FINISH_LENGTH,
    }
}

fn unknown(what: &str, code: u32) -> PluginError {
    PluginError::new(format!("it returned a {what} of kind {code}, which ABI {} does not have", crate::ABI))
}

fn r(text: &str) -> RStr<'_> {
    text.into()
}
