//! The plugin crates of this repository, linked in: they work without a compiler.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use creamery_plugin::builtin::{BuiltinPlugin, DynJudge, DynRanker, DynRegularizer, Make};
use creamery_plugin::{
    Answer, Column, Groups, JudgeContext, JudgeReport, Labels, NumbersView, ObjectiveBatch, ObjectiveValue,
    PluginError, RankContext, Ranking, Records, Scores, Sources, Step,
};
use serde_json::Value;

use super::{Failure, Raw, RawJudge, RawRanker, RawRegularizer, log};
use crate::error::{Error, Result};

/// All of them, in the order of their kinds.
fn all() -> Vec<BuiltinPlugin> {
    vec![
        creamery_implicit_reward::plugin(),
        creamery_rubric::plugin(),
        creamery_expected_score::plugin(),
        creamery_pairwise::plugin(),
        creamery_meta_judge::plugin(),
        creamery_vote::plugin(),
        creamery_labels::plugin(),
        creamery_program::plugin(),
        creamery_best_worst::plugin(),
        creamery_best_random::plugin(),
        creamery_top_bottom::plugin(),
        creamery_all_pairs::plugin(),
        creamery_each::plugin(),
        creamery_temporal::plugin(),
        creamery_ensemble::plugin(),
        creamery_cream::plugin(),
        creamery_none::plugin(),
        creamery_constant::plugin(),
        creamery_filter::plugin(),
        creamery_confidence::plugin(),
        creamery_signed_weight::plugin(),
        creamery_disagreement::plugin(),
        creamery_vote_margin::plugin(),
        creamery_sppo::plugin(),
        creamery_preference_loss::plugin(),
    ]
}

/// The names that `builtin:NAME` accepts.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|p| p.name).collect()
}

pub(super) fn find(name: &str) -> Result<BuiltinPlugin> {
    all().into_iter().find(|p| p.name == name).ok_or_else(|| {
        let names = names();
        let nearest = names
            .iter()
            .map(|n| (strsim::jaro_winkler(n, name), n))
            .filter(|(similarity, _)| *similarity > 0.7)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let help = match nearest {
            Some((_, nearest)) => format!("did you mean 'builtin:{nearest}'?"),
            None => format!("builtin plugins: {}", names.join(", ")),
        };
        Error::plugin(format!("there is no builtin plugin '{name}'")).help(help)
    })
}

pub(super) fn make(make: Make, params: &Value) -> Result<Raw, Failure> {
    static LOG: Once = Once::new();
    LOG.call_once(|| creamery_plugin::set_log_sink(log::forward));
    let params = params.to_string();
    guarded(|| {
        Ok(match make {
            Make::Judge(new) => Raw::Judge(Box::new(Builtin(new(&params)?))),
            Make::Ranker(new) => Raw::Ranker(Box::new(Builtin(new(&params)?))),
            Make::Regularizer(new) => Raw::Regularizer(Box::new(Builtin(new(&params)?))),
        })
    })
}

struct Builtin<T: ?Sized>(Box<T>);

impl RawJudge for Builtin<dyn DynJudge> {
    fn step(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, Failure> {
        guarded(|| self.0.step(context, groups, answers))
    }

    fn report(
        &mut self,
        context: &JudgeContext,
        groups: &Groups,
        answers: &[Vec<Answer>],
    ) -> Result<JudgeReport, Failure> {
        guarded(|| self.0.report(context, groups, answers))
    }
}

impl RawRanker for Builtin<dyn DynRanker> {
    fn rank(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, Failure> {
        guarded(|| self.0.rank(context, groups, scores))
    }

    fn rank_sources(
        &mut self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking, Failure> {
        guarded(|| self.0.rank_sources(context, groups, scores, sources))
    }

    fn takes_numbers(&self) -> bool {
        true
    }

    fn rank_numbers(&mut self, context: &RankContext, numbers: NumbersView<'_>) -> Result<Option<Ranking>, Failure> {
        guarded(|| self.0.rank_numbers(context, numbers))
    }
}

impl RawRegularizer for Builtin<dyn DynRegularizer> {
    fn label(&mut self, records: &Records) -> Result<Labels, Failure> {
        guarded(|| self.0.label(records))
    }

    fn objective(&mut self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, Failure> {
        guarded(|| self.0.objective(batch))
    }

    fn columns(&mut self, records: &Records, labels: &Labels) -> Result<Vec<Column>, Failure> {
        guarded(|| self.0.columns(records, labels))
    }

    fn objective_columns(&mut self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue, Failure> {
        guarded(|| self.0.objective_columns(batch, columns))
    }
}

/// A panic of a plugin is that plugin's error, linked in or not.
fn guarded<T>(call: impl FnOnce() -> Result<T, PluginError>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Failure::from),
        Err(payload) => {
            let text = (payload.downcast_ref::<&str>().copied())
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("(no message)");
            Err(Failure { message: format!("panicked: {text}"), help: None, timed_out: false })
        }
    }
}
