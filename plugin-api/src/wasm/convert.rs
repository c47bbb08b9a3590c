//! Between the bindings' types and the crate's own.

use super::judge::creamery::plugin::types as wt;
use super::judge::exports::creamery::plugin::{judge as wj, judge_report as wjr};
use super::ranker::exports::creamery::plugin::{ranker as wr, ranker_sources as wrs};
use super::regularizer::exports::creamery::plugin::{regularizer as wg, regularizer_columns as wgc};
use crate::types::*;

/// `from => to { field, … }` for records whose fields convert one by one.
macro_rules! record {
    ($from:ty => $to:path { $($field:ident),* }) => {
        impl From<$from> for $to {
            fn from(x: $from) -> Self {
                Self { $($field: x.$field.into()),* }
            }
        }
    };
}

fn all<A: Into<B>, B>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(Into::into).collect()
}

record!(wt::Message => Message { role, content });
record!(Message => wt::Message { role, content });
record!(wt::Response => Response { text, tokens, finish });
record!(wj::Slot => Slot { name, model });
record!(wj::Logp => Logp { sum, tokens });
record!(wj::Generated => Generated { text, finish });
record!(wr::RankContext => RankContext { round, seed });
record!(wt::Pair => Pair { group, chosen, rejected, weight });
record!(Pair => wt::Pair { group, chosen, rejected, weight });
record!(Dropped => wt::Dropped { index, reason });
record!(wt::Metric => Metric { name, value });
record!(Metric => wt::Metric { name, value });
record!(wg::ObjectiveBatch => ObjectiveBatch {
    beta, policy_chosen, policy_rejected, reference_chosen, reference_rejected, chosen_tokens, rejected_tokens,
    consistency, weight
});
record!(wt::Dropped => Dropped { index, reason });
record!(Measure => wjr::Measure { name, sum, count });
record!(JudgmentPair => wjr::JudgmentPair { step, query, chosen, rejected, weight });
record!(wrs::Sources => Sources { names, responses });
record!(wgc::Column => Column { name, values });
record!(Column => wgc::Column { name, values });
record!(ObjectiveValue => wg::ObjectiveValue { loss, d_chosen, d_rejected });

impl From<wt::Finish> for Finish {
    fn from(x: wt::Finish) -> Self {
        match x {
            wt::Finish::Stop => Finish::Stop,
            wt::Finish::Length => Finish::Length,
        }
    }
}

impl From<wt::Groups> for Groups {
    fn from(x: wt::Groups) -> Self {
        Groups {
            ids: x.ids,
            messages: all(x.messages),
            message_offsets: x.message_offsets,
            responses: all(x.responses),
            response_offsets: x.response_offsets,
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

impl From<Score> for wt::Score {
    fn from(x: Score) -> Self {
        match x {
            Score::Value(v) => wt::Score::Value(v),
            Score::Abstain(reason) => wt::Score::Abstain(reason),
        }
    }
}

impl From<wt::Scores> for Scores {
    fn from(x: wt::Scores) -> Self {
        Scores { viewpoints: x.viewpoints, scores: all(x.scores) }
    }
}

impl From<wj::JudgeContext> for JudgeContext {
    fn from(x: wj::JudgeContext) -> Self {
        JudgeContext { round: x.round, viewpoint: x.viewpoint, slots: all(x.slots) }
    }
}

impl From<wj::Answer> for Answer {
    fn from(x: wj::Answer) -> Self {
        match x {
            wj::Answer::Logps(l) => Answer::Logps(all(l)),
            wj::Answer::Texts(t) => Answer::Texts(all(t)),
            wj::Answer::Distribution(d) => Answer::Distribution(d),
            wj::Answer::Failed(reason) => Answer::Failed(reason),
        }
    }
}

impl From<Query> for wj::Query {
    fn from(x: Query) -> Self {
        match x {
            Query::ResponseLogps { slot, responses } => wj::Query::ResponseLogps(wj::ResponseLogps { slot, responses }),
            Query::TextLogp { slot, messages, continuation } => {
                wj::Query::TextLogp(wj::TextLogp { slot, messages: all(messages), continuation })
            }
            Query::Generate { slot, messages, count, max_new_tokens, temperature, top_p } => {
                let messages = all(messages);
                wj::Query::Generate(wj::Generate { slot, messages, count, max_new_tokens, temperature, top_p })
            }
            Query::Choose { slot, messages, labels } => {
                wj::Query::Choose(wj::Choose { slot, messages: all(messages), labels })
            }
        }
    }
}

impl From<Step> for wj::NextStep {
    fn from(x: Step) -> Self {
        match x {
            Step::Ask(queries) => wj::NextStep::Ask(all(queries)),
            Step::Scores(scores) => wj::NextStep::Scores(all(scores)),
        }
    }
}

impl From<JudgeReport> for wjr::Report {
    fn from(x: JudgeReport) -> Self {
        wjr::Report { measures: all(x.measures), pairs: all(x.pairs) }
    }
}

impl From<Ranking> for wr::Ranking {
    fn from(x: Ranking) -> Self {
        wr::Ranking { ranks: x.ranks, pairs: all(x.pairs), dropped: all(x.dropped) }
    }
}

impl From<wg::RoundRecord> for RoundRecord {
    fn from(x: wg::RoundRecord) -> Self {
        RoundRecord { round: x.round, pairs: x.pairs, metrics: all(x.metrics) }
    }
}

impl From<wg::Records> for Records {
    fn from(x: wg::Records) -> Self {
        Records {
            round: x.round,
            groups: x.groups.into(),
            scores: x.scores.into(),
            ranks: x.ranks,
            pairs: all(x.pairs),
            history: all(x.history),
        }
    }
}

impl From<Labels> for wg::Labels {
    fn from(x: Labels) -> Self {
        wg::Labels { consistency: x.consistency, weights: x.weights, dropped: all(x.dropped), metrics: all(x.metrics) }
    }
}

impl From<wg::Labels> for Labels {
    fn from(x: wg::Labels) -> Self {
        Labels { consistency: x.consistency, weights: x.weights, dropped: all(x.dropped), metrics: all(x.metrics) }
    }
}
