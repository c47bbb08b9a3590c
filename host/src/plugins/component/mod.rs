//! Components: WebAssembly in a sandbox. A component gets nothing but the host's `log`: no files, clocks,
//! randomness or network. Every call has limits of instructions, time, memory and output.

mod cache;
mod convert;
mod engine;
mod instance;
mod wasi;

use creamery_plugin::{
    Answer, Column, Groups, JudgeContext, JudgeReport, Labels, NumbersView, ObjectiveBatch, ObjectiveValue,
    RankContext, Ranking, Records, Scores, Sources, Step,
};
use wasmtime::component::Component;

use self::engine::engine;
use self::instance::{JudgeWorld, RankerWorld, RegularizerWorld, Sandbox, World};
use super::{Failure, Kind, LoadOptions, PluginInfo, Raw, RawJudge, RawRanker, RawRegularizer, Usage, configure_error};
use crate::error::{Error, Result};

/// The generated bindings; the three worlds share the types of the first. A component need not export all of its
/// world: see [`instance`].
mod bindings {
    pub mod judge {
        wasmtime::component::bindgen!({ path: "../plugin-api/wit", world: "judge-plugin" });
    }
    pub mod ranker {
        wasmtime::component::bindgen!({
            path: "../plugin-api/wit",
            world: "ranker-plugin",
            with: {
                "creamery:plugin/types@1.1.0": super::judge::creamery::plugin::types,
                "creamery:plugin/host@1.1.0": super::judge::creamery::plugin::host,
            },
        });
    }
    pub mod regularizer {
        wasmtime::component::bindgen!({
            path: "../plugin-api/wit",
            world: "regularizer-plugin",
            with: {
                "creamery:plugin/types@1.1.0": super::judge::creamery::plugin::types,
                "creamery:plugin/host@1.1.0": super::judge::creamery::plugin::host,
            },
        });
    }
}

/// Compiles the component, or takes its code from the cache, and configures it.
pub(super) fn load(bytes: &[u8], info: &PluginInfo, options: &LoadOptions) -> Result<Raw> {
    let component = cache::compiled(bytes, info, options)?;
    check_imports(&component, info, options.deny_wasi)?;
    Ok(match info.descriptor.kind {
        Kind::Judge => Raw::Judge(Box::new(sandbox::<JudgeWorld>(component, info, options)?)),
        Kind::Ranker => Raw::Ranker(Box::new(sandbox::<RankerWorld>(component, info, options)?)),
        Kind::Regularizer => Raw::Regularizer(Box::new(sandbox::<RegularizerWorld>(component, info, options)?)),
    })
}

fn sandbox<W: World>(component: Component, info: &PluginInfo, options: &LoadOptions) -> Result<Sandbox<W>> {
    let mut sandbox = Sandbox::new(component, info.params.to_string(), options.limits.clone(), options.deny_wasi)
        .map_err(|e| {
            let error = Error::plugin(format!("{}: {e:#}", info.title()));
            match e.to_string().contains("no exported instance") {
                true => error.help(format!(
                    "it is said to be a {kind}, but does not export one: the `kind` in plugin.toml and the export in \
                     wit/world.wit must agree",
                    kind = info.descriptor.kind
                )),
                false => error.help(REBUILD),
            }
        })?;
    super::log::loading(info, options, || sandbox.configure()).map_err(|failure| configure_error(info, failure))?;
    Ok(sandbox)
}

const REBUILD: &str = "build it with creamery-plugin 1.x for wasm32-unknown-unknown";

/// A component that wants more than it gets, said in a better way than the linker does.
fn check_imports(component: &Component, info: &PluginInfo, deny_wasi: bool) -> Result<()> {
    let ty = component.component_type();
    let foreign: Vec<String> = ty
        .imports(engine())
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with("creamery:plugin/host@1.") && !name.starts_with("creamery:plugin/types@1."))
        .filter(|name| !(deny_wasi && name.starts_with(wasi::PREFIX)))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let names = foreign.join(", ");
    let help = match foreign.iter().all(|name| name.starts_with(wasi::PREFIX)) {
        true => {
            "build it without WASI (Rust: wasm32-unknown-unknown); or set `wasi = \"deny\"` for this plugin (`--wasi deny`): \
             then it loads, and what it calls of WASI fails, but for a clock that stands still and random numbers that are \
             the same in every call"
        }
        false => "build it for wasm32-unknown-unknown, without WASI",
    };
    Err(Error::plugin(format!("{}: it imports {names}, but plugins are granted nothing", info.title())).help(help))
}

impl RawJudge for Sandbox<JudgeWorld> {
    fn usage(&self) -> Option<Usage> {
        Some(Sandbox::usage(self))
    }

    fn step(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, Failure> {
        let (context, groups, answers) = (context.into(), groups.into(), convert::answers(answers));
        let step = self.call(|world, store| world.base.call_step(store, &context, &groups, &answers))?;
        Ok(step.into())
    }

    fn report(
        &mut self,
        context: &JudgeContext,
        groups: &Groups,
        answers: &[Vec<Answer>],
    ) -> Result<JudgeReport, Failure> {
        if self.exports().report.is_none() {
            return Ok(JudgeReport::default());
        }
        let (context, groups, answers) = (context.into(), groups.into(), convert::answers(answers));
        let report = self.call(|world, store| world.report()?.call_make_report(store, &context, &groups, &answers))?;
        Ok(report.into())
    }
}

impl RawRanker for Sandbox<RankerWorld> {
    fn usage(&self) -> Option<Usage> {
        Some(Sandbox::usage(self))
    }

    fn rank(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, Failure> {
        let (context, groups, scores) = (context.into(), groups.into(), scores.into());
        let ranking = self.call(|world, store| world.base.call_rank(store, context, &groups, &scores))?;
        Ok(ranking.into())
    }

    fn rank_sources(
        &mut self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking, Failure> {
        if self.exports().sources.is_none() {
            return self.rank(context, groups, scores);
        }
        let (context, groups, scores, sources) = (context.into(), groups.into(), scores.into(), sources.into());
        let ranking =
            self.call(|world, store| world.sources()?.call_rank_sources(store, context, &groups, &scores, &sources))?;
        Ok(ranking.into())
    }

    fn takes_numbers(&self) -> bool {
        self.exports().numbers.is_some()
    }

    fn rank_numbers(&mut self, context: &RankContext, numbers: NumbersView<'_>) -> Result<Option<Ranking>, Failure> {
        let (context, numbers) = (context.into(), numbers.into());
        let ranking = self.call(|world, store| world.numbers()?.call_rank_numbers(store, context, &numbers))?;
        Ok(ranking.map(Into::into))
    }
}

impl RawRegularizer for Sandbox<RegularizerWorld> {
    fn usage(&self) -> Option<Usage> {
        Some(Sandbox::usage(self))
    }

    fn label(&mut self, records: &Records) -> Result<Labels, Failure> {
        let records = records.into();
        let labels = self.call(|world, store| world.base.call_label(store, &records))?;
        Ok(labels.into())
    }

    fn objective(&mut self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, Failure> {
        let batch = batch.into();
        let value = self.call(|world, store| world.base.call_objective(store, &batch))?;
        Ok(value.into())
    }

    fn columns(&mut self, records: &Records, labels: &Labels) -> Result<Vec<Column>, Failure> {
        if self.exports().columns.is_none() {
            return Ok(Vec::new());
        }
        let (records, labels) = (records.into(), labels.into());
        let columns = self.call(|world, store| world.columns()?.call_columns(store, &records, &labels))?;
        Ok(columns.into_iter().map(Into::into).collect())
    }

    fn objective_columns(&mut self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue, Failure> {
        if self.exports().columns.is_none() {
            return self.objective(batch);
        }
        let batch = batch.into();
        let columns: Vec<_> = columns.iter().map(Into::into).collect();
        let value = self.call(|world, store| world.columns()?.call_objective_columns(store, &batch, &columns))?;
        Ok(value.into())
    }
}
