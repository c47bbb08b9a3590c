//! Between the bindings' types and the contract's.

use creamery_plugin::*;

use super::bindings::judge::creamery::plugin::host as wh;
use super::bindings::judge::creamery::plugin::types as wt;
use super::bindings::judge::exports::creamery::plugin::{judge as wj, judge_report as wjr};
use super::bindings::ranker::exports::creamery::plugin::{ranker as wr, ranker_numbers as wrn, ranker_sources as wrs};
use super::bindings::regularizer::exports::creamery::plugin::{regularizer as wg, regularizer_columns as wgc};

/// `&from => to { field, … }` for records whose fields are cloned one by one.
macro_rules! lend {
    ($from:ty => $to:path { $($field:ident),* }) => {
        impl From<&$from> for $to {
            fn from(x: &$from) -> Self {
                Self { $($field: x.$field.clone().into()),* }
            }
        }
    };
}

/// `from => to { field, … }` for records whose fields are moved one by one.
macro_rules! take {
    ($from:ty => $to:path { $($field:ident),* }) => {
        impl From<$from> for $to {
            fn from(x: $from) -> Self {
                Self { $($field: x.$field.into()),* }
            }
        }
    };
}

fn lent<'a, A, B: From<&'a A>>(list: &'a [A]) -> Vec<B> {
    list.iter().map(Into::into).collect()
}

fn taken<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(Into::into).collect()
}

lend!(Message => wt::Message { role, content });
lend!(Response => wt::Response { text, tokens, finish });
lend!(Slot => wj::Slot { name, model });
lend!(Logp => wj::Logp { sum, tokens });
lend!(Generated => wj::Generated { text, finish });
lend!(RankContext => wr::RankContext { round, seed });
lend!(Pair => wt::Pair { group, chosen, rejected, weight });
lend!(Metric => wt::Metric { name, value });
lend!(Dropped => wt::Dropped { index, reason });
lend!(Sources => wrs::Sources { names, responses });
lend!(Column => wgc::Column { name, values });
lend!(ObjectiveBatch => wg::ObjectiveBatch {
    beta, policy_chosen, policy_rejected, reference_chosen, reference_rejected, chosen_tokens, rejected_tokens,
    consistency, weight
});

take!(wt::Message => Message { role, content });
take!(wt::Pair => Pair { group, chosen, rejected, weight });
take!(wt::Dropped => Dropped { index, reason });
take!(wt::Metric => Metric { name, value });
take!(wjr::Measure => Measure { name, sum, count });
take!(wjr::JudgmentPair => JudgmentPair { step, query, chosen, rejected, weight });
take!(wgc::Column => Column { name, values });
take!(wg::ObjectiveValue => ObjectiveValue { loss, d_chosen, d_rejected });

impl From<Finish> for wt::Finish {
    fn from(x: Finish) -> Self {
        match x {
            Finish::Stop => wt::Finish::Stop,
            Finish::Length => wt::Finish::Length,
        }
    }
}

impl From<&Groups> for wt::Groups {
    fn from(x: &Groups) -> Self {
        wt::Groups {
            ids: x.ids.clone(),
            messages: lent(&x.messages),
            message_offsets: x.message_offsets.clone(),
            responses: lent(&x.responses),
            response_offsets: x.response_offsets.clone(),
        }
    }
}

impl From<&Score> for wt::Score {
    fn from(x: &Score) -> Self {
        match x {
            Score::Value(v) => wt::Score::Value(*v),
            Score::Abstain(reason) => wt::Score::Abstain(reason.clone()),
        }
    }
}

impl From<wt::Score> for Score {
    fn from(x: wt::Score) -> Self {
        match x {
            wt::Score::Value(v) => Score::Value(v),
            wt::Score::Abstain(reason) => Score::Abstain(reason),
        }
    }
}

impl From<&Scores> for wt::Scores {
    fn from(x: &Scores) -> Self {
        wt::Scores { viewpoints: x.viewpoints.clone(), scores: lent(&x.scores) }
    }
}

impl From<&JudgeContext> for wj::JudgeContext {
    fn from(x: &JudgeContext) -> Self {
        wj::JudgeContext { round: x.round, viewpoint: x.viewpoint.clone(), slots: lent(&x.slots) }
    }
}

impl From<&Answer> for wj::Answer {
    fn from(x: &Answer) -> Self {
        match x {
            Answer::Logps(l) => wj::Answer::Logps(lent(l)),
            Answer::Texts(t) => wj::Answer::Texts(lent(t)),
            Answer::Distribution(d) => wj::Answer::Distribution(d.clone()),
            Answer::Failed(reason) => wj::Answer::Failed(reason.clone()),
        }
    }
}

impl From<wj::Query> for Query {
    fn from(x: wj::Query) -> Self {
        match x {
            wj::Query::ResponseLogps(q) => Query::ResponseLogps { slot: q.slot, responses: q.responses },
            wj::Query::TextLogp(q) => {
                Query::TextLogp { slot: q.slot, messages: taken(q.messages), continuation: q.continuation }
            }
            wj::Query::Generate(q) => Query::Generate {
                slot: q.slot,
                messages: taken(q.messages),
                count: q.count,
                max_new_tokens: q.max_new_tokens,
                temperature: q.temperature,
                top_p: q.top_p,
            },
            wj::Query::Choose(q) => Query::Choose { slot: q.slot, messages: taken(q.messages), labels: q.labels },
        }
    }
}

impl From<wj::NextStep> for Step {
    fn from(x: wj::NextStep) -> Self {
        match x {
            wj::NextStep::Ask(queries) => Step::Ask(taken(queries)),
            wj::NextStep::Scores(scores) => Step::Scores(taken(scores)),
        }
    }
}

/// The answers of all steps.
pub(super) fn answers(steps: &[Vec<Answer>]) -> Vec<Vec<wj::Answer>> {
    steps.iter().map(|answers| lent(answers)).collect()
}

impl From<wjr::Report> for JudgeReport {
    fn from(x: wjr::Report) -> Self {
        JudgeReport { measures: taken(x.measures), pairs: taken(x.pairs) }
    }
}

impl From<NumbersView<'_>> for wrn::Numbers {
    fn from(x: NumbersView<'_>) -> Self {
        wrn::Numbers {
            response_offsets: x.response_offsets.to_vec(),
            tokens: x.tokens.to_vec(),
            cut_off: x.cut_off.to_vec(),
            first: x.first.to_vec(),
            viewpoints: x.viewpoints,
            scores: x.scores.to_vec(),
        }
    }
}

impl From<wr::Ranking> for Ranking {
    fn from(x: wr::Ranking) -> Self {
        Ranking { ranks: x.ranks, pairs: taken(x.pairs), dropped: taken(x.dropped) }
    }
}

impl From<&RoundRecord> for wg::RoundRecord {
    fn from(x: &RoundRecord) -> Self {
        wg::RoundRecord { round: x.round, pairs: x.pairs, metrics: lent(&x.metrics) }
    }
}

impl From<&Records> for wg::Records {
    fn from(x: &Records) -> Self {
        wg::Records {
            round: x.round,
            groups: (&x.groups).into(),
            scores: (&x.scores).into(),
            ranks: x.ranks.clone(),
            pairs: lent(&x.pairs),
            history: lent(&x.history),
        }
    }
}

impl From<&Labels> for wg::Labels {
    fn from(x: &Labels) -> Self {
        wg::Labels {
            consistency: x.consistency.clone(),
            weights: x.weights.clone(),
            dropped: lent(&x.dropped),
            metrics: lent(&x.metrics),
        }
    }
}

impl From<wg::Labels> for Labels {
    fn from(x: wg::Labels) -> Self {
        Labels { consistency: x.consistency, weights: x.weights, dropped: taken(x.dropped), metrics: taken(x.metrics) }
    }
}

impl From<wh::Level> for Level {
    fn from(x: wh::Level) -> Self {
        match x {
            wh::Level::Debug => Level::Debug,
            wh::Level::Info => Level::Info,
            wh::Level::Warn => Level::Warn,
            wh::Level::Error => Level::Error,
        }
    }
}
