//! How long plugins take: every call into them, the host's checks of what they give included, is added to a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use creamery_plugin::{
    Answer, Column, Groups, JudgeContext, JudgeReport, Labels, ObjectiveBatch, ObjectiveValue, RankContext, Ranking,
    Records, Scores, Sources, Step,
};

use super::{JudgePlugin, PluginInfo, RankerPlugin, RegularizerPlugin, Usage};
use crate::error::Result;

/// The time that a run's plugins have taken so far.
#[derive(Clone, Debug, Default)]
pub struct PluginClock {
    nanoseconds: Arc<AtomicU64>,
}

impl PluginClock {
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    pub fn judge(&self, plugin: Box<dyn JudgePlugin>) -> Box<dyn JudgePlugin> {
        Box::new(Timed { plugin, clock: self.clone() })
    }

    pub fn ranker(&self, plugin: Box<dyn RankerPlugin>) -> Box<dyn RankerPlugin> {
        Box::new(Timed { plugin, clock: self.clone() })
    }

    pub fn regularizer(&self, plugin: Box<dyn RegularizerPlugin>) -> Box<dyn RegularizerPlugin> {
        Box::new(Timed { plugin, clock: self.clone() })
    }

    fn time<T>(&self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = call();
        self.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        done
    }
}

struct Timed<P: ?Sized> {
    clock: PluginClock,
    plugin: Box<P>,
}

impl JudgePlugin for Timed<dyn JudgePlugin> {
    fn info(&self) -> &PluginInfo {
        self.plugin.info()
    }

    fn usage(&self) -> Option<Usage> {
        self.plugin.usage()
    }

    fn step(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step> {
        self.clock.time(|| self.plugin.step(context, groups, answers))
    }

    fn report(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<JudgeReport> {
        self.clock.time(|| self.plugin.report(context, groups, answers))
    }
}

impl RankerPlugin for Timed<dyn RankerPlugin> {
    fn info(&self) -> &PluginInfo {
        self.plugin.info()
    }

    fn usage(&self) -> Option<Usage> {
        self.plugin.usage()
    }

    fn rank(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking> {
        self.clock.time(|| self.plugin.rank(context, groups, scores))
    }

    fn rank_sources(
        &mut self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking> {
        self.clock.time(|| self.plugin.rank_sources(context, groups, scores, sources))
    }

    fn by_numbers(&self) -> bool {
        self.plugin.by_numbers()
    }

    fn rank_texts(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking> {
        self.clock.time(|| self.plugin.rank_texts(context, groups, scores))
    }
}

impl RegularizerPlugin for Timed<dyn RegularizerPlugin> {
    fn info(&self) -> &PluginInfo {
        self.plugin.info()
    }

    fn usage(&self) -> Option<Usage> {
        self.plugin.usage()
    }

    fn label(&mut self, records: &Records) -> Result<Labels> {
        self.clock.time(|| self.plugin.label(records))
    }

    fn objective(&mut self, batch: &ObjectiveBatch) -> Result<ObjectiveValue> {
        self.clock.time(|| self.plugin.objective(batch))
    }

    fn columns(&mut self, records: &Records, labels: &Labels) -> Result<Vec<Column>> {
        self.clock.time(|| self.plugin.columns(records, labels))
    }

    fn objective_columns(&mut self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue> {
        self.clock.time(|| self.plugin.objective_columns(batch, columns))
    }

    fn has_objective(&self) -> bool {
        self.plugin.has_objective()
    }
}
