//! The three kinds of plugin. A plugin implements one of these traits and registers it with
//! [`export_plugin!`](crate::export_plugin).
//!
//! Plugins are functions of their arguments: the host may call them in any order, in batches of any size,
//! and again after a crash, and expects the same bits. So no method takes `&mut self`, and a judge that
//! needs several steps finds all earlier answers in its arguments.

use crate::numbers::NumbersView;
use crate::types::*;

/// Scores responses, asking the host about its models as often as it needs (sans-IO). Since 1.0.
pub trait Judge: Sized + Send + Sync + 'static {
    /// Makes the judge from its parameters: a JSON object that fits the descriptor's schema.
    fn new(params: &str) -> Result<Self, PluginError>;

    /// The next step: queries, or one score per response. `answers[k][i]` answers query `i` of the `k`-th
    /// `Ask`; it is empty on the first call.
    fn step(&self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, PluginError>;

    /// What there is to say about the batch besides its scores. Called after them, with the arguments that gave
    /// them. Default: nothing. Since 1.1.
    fn report(&self, _: &JudgeContext, _: &Groups, _: &[Vec<Answer>]) -> Result<JudgeReport, PluginError> {
        Ok(JudgeReport::default())
    }
}

/// Turns scores into ranks and preference pairs. Since 1.0.
pub trait Ranker: Sized + Send + Sync + 'static {
    fn new(params: &str) -> Result<Self, PluginError>;

    fn rank(&self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, PluginError>;

    /// The same where not all responses are the policy's own: those of other models are marked. Default: as if all
    /// were the policy's. Since 1.1.
    fn rank_sources(
        &self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        _: &Sources,
    ) -> Result<Ranking, PluginError> {
        self.rank(context, groups, scores)
    }

    /// [`rank`](Self::rank) from numbers alone: the same ranks, pairs and drops. Texts cross to a library or a
    /// component one by one, numbers all at once, so a rule that needs no texts is faster with this. `None` where it
    /// does need them with these parameters; the host then calls `rank`, and does not ask again. Default: `None`.
    /// Since 1.1.
    fn rank_numbers(&self, _: &RankContext, _: NumbersView<'_>) -> Result<Option<Ranking>, PluginError> {
        Ok(None)
    }
}

/// Says how far each pair is to be trusted and, if it wants, how the loss uses that. Since 1.0.
pub trait Regularizer: Sized + Send + Sync + 'static {
    fn new(params: &str) -> Result<Self, PluginError>;

    /// Labels for all pairs of a round.
    fn label(&self, records: &Records) -> Result<Labels, PluginError>;

    /// Loss and its gradient by policy log-probability. The default is CREAM's
    /// [C-mix](crate::objective::c_mix).
    fn objective(&self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, PluginError> {
        Ok(crate::objective::c_mix(batch))
    }

    /// Further numbers for every pair of the records, dropped ones included, that the objective needs: targets, say.
    /// `labels` is what [`label`](Self::label) gave. Default: none. Since 1.1.
    fn columns(&self, _: &Records, _: &Labels) -> Result<Vec<Column>, PluginError> {
        Ok(Vec::new())
    }

    /// The objective with the columns of the batch's pairs. Called in its place where there are columns. Default: the
    /// objective without them. Since 1.1.
    fn objective_columns(&self, batch: &ObjectiveBatch, _: &[Column]) -> Result<ObjectiveValue, PluginError> {
        self.objective(batch)
    }
}
