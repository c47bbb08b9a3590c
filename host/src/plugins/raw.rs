//! A plugin's own functions, unchecked, whatever its form.

use creamery_plugin::{
    Answer, Column, Groups, JudgeContext, JudgeReport, Labels, NumbersView, ObjectiveBatch, ObjectiveValue,
    PluginError, RankContext, Ranking, Records, Scores, Sources, Step,
};

use super::{Usage, log};

/// Why a call into a plugin failed; [`super::check::Checked`] adds which plugin and function.
pub(super) struct Failure {
    pub message: String,
    pub help: Option<String>,
    /// The wall clock decided, so the same call may succeed another time.
    pub timed_out: bool,
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        let message = match error.message.trim().is_empty() {
            true => "it failed without saying why".to_owned(),
            false => log::tamed(&error.message),
        };
        Failure { message, help: None, timed_out: false }
    }
}

pub(super) trait RawJudge: Send {
    fn usage(&self) -> Option<Usage> {
        None
    }

    fn step(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, Failure>;

    fn report(
        &mut self,
        context: &JudgeContext,
        groups: &Groups,
        answers: &[Vec<Answer>],
    ) -> Result<JudgeReport, Failure>;
}

pub(super) trait RawRanker: Send {
    fn usage(&self) -> Option<Usage> {
        None
    }

    fn rank(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, Failure>;

    fn rank_sources(
        &mut self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking, Failure>;

    /// Whether [`RawRanker::rank_numbers`] is worth a try.
    fn takes_numbers(&self) -> bool {
        false
    }

    /// None where the plugin needs texts, whatever the groups.
    fn rank_numbers(&mut self, _: &RankContext, _: NumbersView<'_>) -> Result<Option<Ranking>, Failure> {
        Ok(None)
    }
}

pub(super) trait RawRegularizer: Send {
    fn usage(&self) -> Option<Usage> {
        None
    }

    fn label(&mut self, records: &Records) -> Result<Labels, Failure>;
    fn objective(&mut self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, Failure>;
    fn columns(&mut self, records: &Records, labels: &Labels) -> Result<Vec<Column>, Failure>;
    fn objective_columns(&mut self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue, Failure>;
}

pub(super) enum Raw {
    Judge(Box<dyn RawJudge>),
    Ranker(Box<dyn RawRanker>),
    Regularizer(Box<dyn RawRegularizer>),
}
