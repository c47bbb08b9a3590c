//! Plugins behind object-safe traits, and plugin crates linked into the host.

use crate::numbers::NumbersView;
use crate::traits::{Judge, Ranker, Regularizer};
use crate::types::*;

/// A plugin crate linked into the host: what [`export_plugin!`](crate::export_plugin) gives as `plugin()`.
#[derive(Clone, Copy)]
pub struct BuiltinPlugin {
    pub name: &'static str,
    /// As in the plugin's artifacts: see [`crate::descriptor`].
    pub descriptor: &'static [u8],
    pub make: Make,
}

/// Makes a plugin from its parameters.
#[derive(Clone, Copy)]
pub enum Make {
    Judge(fn(&str) -> Result<Box<dyn DynJudge>, PluginError>),
    Ranker(fn(&str) -> Result<Box<dyn DynRanker>, PluginError>),
    Regularizer(fn(&str) -> Result<Box<dyn DynRegularizer>, PluginError>),
}

/// [`Judge`], usable as `dyn`.
pub trait DynJudge: Send + Sync {
    fn step(&self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError>;
    fn report(
        &self,
        context: &JudgeContext,
        groups: &Groups,
        answers: &[Vec<Answer>],
    ) -> Result<JudgeReport, PluginError>;
}

/// [`Ranker`], usable as `dyn`.
pub trait DynRanker: Send + Sync {
    fn rank(&self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, PluginError>;
    fn rank_sources(
        &self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking, PluginError>;
    fn rank_numbers(&self, context: &RankContext, numbers: NumbersView<'_>) -> Result<Option<Ranking>, PluginError>;
}

/// [`Regularizer`], usable as `dyn`.
pub trait DynRegularizer: Send + Sync {
    fn label(&self, records: &Records) -> Result<Labels, PluginError>;
    fn objective(&self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, PluginError>;
    fn columns(&self, records: &Records, labels: &Labels) -> Result<Vec<Column>, PluginError>;
    fn objective_columns(&self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue, PluginError>;
}

impl<T: Judge> DynJudge for T {
    fn step(&self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError> {
        Judge::step(self, context, groups, answers)
    }

    fn report(
        &self,
        context: &JudgeContext,
        groups: &Groups,
        answers: &[Vec<Answer>],
    ) -> Result<JudgeReport, PluginError> {
        Judge::report(self, context, groups, answers)
    }
}

impl<T: Ranker> DynRanker for T {
    fn rank(&self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, PluginError> {
        Ranker::rank(self, context, groups, scores)
    }

    fn rank_sources(
        &self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking, PluginError> {
        Ranker::rank_sources(self, context, groups, scores, sources)
    }

    fn rank_numbers(&self, context: &RankContext, numbers: NumbersView<'_>) -> Result<Option<Ranking>, PluginError> {
        Ranker::rank_numbers(self, context, numbers)
    }
}

impl<T: Regularizer> DynRegularizer for T {
    fn label(&self, records: &Records) -> Result<Labels, PluginError> {
        Regularizer::label(self, records)
    }

    fn objective(&self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, PluginError> {
        Regularizer::objective(self, batch)
    }

    fn columns(&self, records: &Records, labels: &Labels) -> Result<Vec<Column>, PluginError> {
        Regularizer::columns(self, records, labels)
    }

    fn objective_columns(&self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue, PluginError> {
        Regularizer::objective_columns(self, batch, columns)
    }
}

/// A judge behind `dyn`.
pub fn judge<T: Judge>(params: &str) -> Result<Box<dyn DynJudge>, PluginError> {
    Ok(Box::new(T::new(params)?))
}

/// A ranker behind `dyn`.
pub fn ranker<T: Ranker>(params: &str) -> Result<Box<dyn DynRanker>, PluginError> {
    Ok(Box::new(T::new(params)?))
}

/// A regularizer behind `dyn`.
pub fn regularizer<T: Regularizer>(params: &str) -> Result<Box<dyn DynRegularizer>, PluginError> {
    Ok(Box::new(T::new(params)?))
}
