//! What calls use at most: every call into a plugin is looked at, whichever check makes it.

use std::cell::Cell;
use std::rc::Rc;

use creamery_plugin::{
    Answer, Column, Groups, JudgeContext, JudgeReport, Labels, ObjectiveBatch, ObjectiveValue, RankContext, Ranking,
    Records, Scores, Sources, Step,
};

use crate::error::Result;
use crate::plugins::{JudgePlugin, PluginInfo, RankerPlugin, RegularizerPlugin, Usage};

/// The most that one call has used so far; none where it is not measured.
#[derive(Clone, Default)]
pub(super) struct Meter(Rc<Cell<Option<Usage>>>);

impl Meter {
    pub(super) fn most(&self) -> Option<Usage> {
        self.0.get()
    }

    fn read(&self, used: Option<Usage>) {
        let Some(used) = used else { return };
        let most = self.0.get().unwrap_or_default();
        let fuel = most.fuel.max(used.fuel);
        self.0.set(Some(Usage { fuel, memory_bytes: most.memory_bytes.max(used.memory_bytes) }));
    }
}

/// A plugin whose calls are measured.
pub(super) struct Metered<P: ?Sized> {
    plugin: Box<P>,
    meter: Meter,
}

impl<P: ?Sized> Metered<P> {
    pub(super) fn new(plugin: Box<P>, meter: &Meter) -> Self {
        Metered { plugin, meter: meter.clone() }
    }
}

/// What all kinds of plugins have.
pub(super) trait Measured {
    fn used(&self) -> Option<Usage>;
}

impl Measured for dyn JudgePlugin {
    fn used(&self) -> Option<Usage> {
        self.usage()
    }
}

impl Measured for dyn RankerPlugin {
    fn used(&self) -> Option<Usage> {
        self.usage()
    }
}

impl Measured for dyn RegularizerPlugin {
    fn used(&self) -> Option<Usage> {
        self.usage()
    }
}

impl<P: Measured + ?Sized> Metered<P> {
    fn measured<T>(&mut self, call: impl FnOnce(&mut P) -> T) -> T {
        let answer = call(&mut self.plugin);
        self.meter.read(self.plugin.used());
        answer
    }
}

impl Metered<dyn JudgePlugin> {
    pub(super) fn info(&self) -> &PluginInfo {
        self.plugin.info()
    }

    pub(super) fn step(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step> {
        self.measured(|plugin| plugin.step(context, groups, answers))
    }

    pub(super) fn report(
        &mut self,
        context: &JudgeContext,
        groups: &Groups,
        answers: &[Vec<Answer>],
    ) -> Result<JudgeReport> {
        self.measured(|plugin| plugin.report(context, groups, answers))
    }
}

impl Metered<dyn RankerPlugin> {
    pub(super) fn info(&self) -> &PluginInfo {
        self.plugin.info()
    }

    pub(super) fn rank(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking> {
        self.measured(|plugin| plugin.rank(context, groups, scores))
    }

    pub(super) fn by_numbers(&self) -> bool {
        self.plugin.by_numbers()
    }

    pub(super) fn rank_texts(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking> {
        self.measured(|plugin| plugin.rank_texts(context, groups, scores))
    }

    pub(super) fn rank_sources(
        &mut self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking> {
        self.measured(|plugin| plugin.rank_sources(context, groups, scores, sources))
    }
}

impl Metered<dyn RegularizerPlugin> {
    pub(super) fn info(&self) -> &PluginInfo {
        self.plugin.info()
    }

    pub(super) fn label(&mut self, records: &Records) -> Result<Labels> {
        self.measured(|plugin| plugin.label(records))
    }

    pub(super) fn columns(&mut self, records: &Records, labels: &Labels) -> Result<Vec<Column>> {
        self.measured(|plugin| plugin.columns(records, labels))
    }

    /// The objective, told of the columns where there are any.
    pub(super) fn objective(&mut self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue> {
        self.measured(|plugin| match columns.is_empty() {
            true => plugin.objective(batch),
            false => plugin.objective_columns(batch, columns),
        })
    }

    pub(super) fn has_objective(&self) -> bool {
        self.plugin.has_objective()
    }
}
