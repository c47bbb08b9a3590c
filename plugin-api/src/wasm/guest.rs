//! The exported functions, over one plugin kept in a static: a component instance is one plugin.

use std::marker::PhantomData;
use std::sync::OnceLock;

use super::judge::exports::creamery::plugin::{judge as wj, judge_report as wjr};
use super::ranker::exports::creamery::plugin::{ranker as wr, ranker_numbers as wrn, ranker_sources as wrs};
use super::regularizer::exports::creamery::plugin::{regularizer as wg, regularizer_columns as wgc};
use crate::builtin::{self, DynJudge, DynRanker, DynRegularizer};
use crate::traits::{Judge, Ranker, Regularizer};
use crate::{Level, NumbersView, PluginError};

/// Exports a [`Judge`].
pub struct JudgeGuest<T>(PhantomData<T>);
/// Exports a [`Ranker`].
pub struct RankerGuest<T>(PhantomData<T>);
/// Exports a [`Regularizer`].
pub struct RegularizerGuest<T>(PhantomData<T>);

static JUDGE: OnceLock<Box<dyn DynJudge>> = OnceLock::new();
static RANKER: OnceLock<Box<dyn DynRanker>> = OnceLock::new();
static REGULARIZER: OnceLock<Box<dyn DynRegularizer>> = OnceLock::new();

impl<T: Judge> wj::Guest for JudgeGuest<T> {
    fn configure(params: String) -> Result<(), String> {
        keep(&JUDGE, || builtin::judge::<T>(&params))
    }

    fn step(
        context: wj::JudgeContext,
        groups: wj::Groups,
        answers: Vec<Vec<wj::Answer>>,
    ) -> Result<wj::NextStep, String> {
        let step = plugin(&JUDGE)?.step(&context.into(), &groups.into(), &steps(answers)).map_err(text)?;
        Ok(step.into())
    }
}

impl<T: Judge> wjr::Guest for JudgeGuest<T> {
    fn make_report(
        context: wj::JudgeContext,
        groups: wj::Groups,
        answers: Vec<Vec<wj::Answer>>,
    ) -> Result<wjr::Report, String> {
        let report = plugin(&JUDGE)?.report(&context.into(), &groups.into(), &steps(answers)).map_err(text)?;
        Ok(report.into())
    }
}

impl<T: Ranker> wr::Guest for RankerGuest<T> {
    fn configure(params: String) -> Result<(), String> {
        keep(&RANKER, || builtin::ranker::<T>(&params))
    }

    fn rank(context: wr::RankContext, groups: wr::Groups, scores: wr::Scores) -> Result<wr::Ranking, String> {
        let ranking = plugin(&RANKER)?.rank(&context.into(), &groups.into(), &scores.into()).map_err(text)?;
        Ok(ranking.into())
    }
}

impl<T: Ranker> wrs::Guest for RankerGuest<T> {
    fn rank_sources(
        context: wr::RankContext,
        groups: wr::Groups,
        scores: wr::Scores,
        sources: wrs::Sources,
    ) -> Result<wr::Ranking, String> {
        let (context, groups, scores) = (context.into(), groups.into(), scores.into());
        let ranking = plugin(&RANKER)?.rank_sources(&context, &groups, &scores, &sources.into()).map_err(text)?;
        Ok(ranking.into())
    }
}

impl<T: Ranker> wrn::Guest for RankerGuest<T> {
    fn rank_numbers(context: wr::RankContext, numbers: wrn::Numbers) -> Result<Option<wr::Ranking>, String> {
        let view = NumbersView {
            response_offsets: &numbers.response_offsets,
            tokens: &numbers.tokens,
            cut_off: &numbers.cut_off,
            first: &numbers.first,
            viewpoints: numbers.viewpoints,
            scores: &numbers.scores,
        };
        let ranking = plugin(&RANKER)?.rank_numbers(&context.into(), view).map_err(text)?;
        Ok(ranking.map(Into::into))
    }
}

impl<T: Regularizer> wg::Guest for RegularizerGuest<T> {
    fn configure(params: String) -> Result<(), String> {
        keep(&REGULARIZER, || builtin::regularizer::<T>(&params))
    }

    fn label(records: wg::Records) -> Result<wg::Labels, String> {
        Ok(plugin(&REGULARIZER)?.label(&records.into()).map_err(text)?.into())
    }

    fn objective(batch: wg::ObjectiveBatch) -> Result<wg::ObjectiveValue, String> {
        Ok(plugin(&REGULARIZER)?.objective(&batch.into()).map_err(text)?.into())
    }
}

impl<T: Regularizer> wgc::Guest for RegularizerGuest<T> {
    fn columns(records: wg::Records, labels: wg::Labels) -> Result<Vec<wgc::Column>, String> {
        let columns = plugin(&REGULARIZER)?.columns(&records.into(), &labels.into()).map_err(text)?;
        Ok(columns.into_iter().map(Into::into).collect())
    }

    fn objective_columns(batch: wg::ObjectiveBatch, columns: Vec<wgc::Column>) -> Result<wg::ObjectiveValue, String> {
        let columns: Vec<crate::Column> = columns.into_iter().map(Into::into).collect();
        Ok(plugin(&REGULARIZER)?.objective_columns(&batch.into(), &columns).map_err(text)?.into())
    }
}

fn steps(answers: Vec<Vec<wj::Answer>>) -> Vec<Vec<crate::Answer>> {
    answers.into_iter().map(|step| step.into_iter().map(Into::into).collect()).collect()
}

fn keep<T: ?Sized>(place: &OnceLock<Box<T>>, make: impl FnOnce() -> Result<Box<T>, PluginError>) -> Result<(), String> {
    // A panic here ends in a trap that carries no text, so the text goes ahead of it.
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let message = (payload.downcast_ref::<&str>().copied())
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no message)");
        let place = info.location().map(|l| format!(" (at {}:{})", l.file(), l.line())).unwrap_or_default();
        crate::log(Level::Error, &format!("panicked: {message}{place}"));
    }));
    place.set(make().map_err(text)?).map_err(|_| "configure was called twice".to_owned())
}

fn plugin<T: ?Sized>(place: &OnceLock<Box<T>>) -> Result<&T, String> {
    place.get().map(|plugin| &**plugin).ok_or_else(|| "configure was not called".to_owned())
}

fn text(error: PluginError) -> String {
    error.message
}
