//! Components: WebAssembly in a sandbox. A component gets nothing but the host's `log`: no files, clocks,
//! randomness or network. Every call has limits of instructions, time, memory and output.

mod cache;
mod convert;
mod engine;
mod instance;

use creamery_plugin::{
    Answer, Groups, JudgeContext, Labels, ObjectiveBatch, ObjectiveValue, RankContext, Ranking, Records, Scores, Step,
};
use wasmtime::component::Component;

use self::engine::engine;
use self::instance::{Sandbox, World};
use super::{Failure, Kind, LoadOptions, PluginInfo, Raw, RawJudge, RawRanker, RawRegularizer, configure_error};
use crate::error::{Error, Result};

/// The generated bindings; the three worlds share the types of the first.
mod bindings {
    pub mod judge {
        wasmtime::component::bindgen!({ path: "../plugin-api/wit", world: "judge-plugin" });
    }
    pub mod ranker {
        wasmtime::component::bindgen!({
            path: "../plugin-api/wit",
            world: "ranker-plugin",
            with: {
                "creamery:plugin/types@1.0.0": super::judge::creamery::plugin::types,
                "creamery:plugin/host@1.0.0": super::judge::creamery::plugin::host,
            },
        });
    }
    pub mod regularizer {
        wasmtime::component::bindgen!({
            path: "../plugin-api/wit",
            world: "regularizer-plugin",
            with: {
                "creamery:plugin/types@1.0.0": super::judge::creamery::plugin::types,
                "creamery:plugin/host@1.0.0": super::judge::creamery::plugin::host,
            },
        });
    }
}

use bindings::judge::JudgePlugin;
use bindings::ranker::RankerPlugin;
use bindings::regularizer::RegularizerPlugin;

/// Compiles the component, or takes its code from the cache, and configures it.
pub(super) fn load(bytes: &[u8], info: &PluginInfo, options: &LoadOptions) -> Result<Raw> {
    let component = cache::compiled(bytes, info, options)?;
    check_imports(&component, info)?;
    Ok(match info.descriptor.kind {
        Kind::Judge => Raw::Judge(Box::new(sandbox::<JudgePlugin>(component, info, options)?)),
        Kind::Ranker => Raw::Ranker(Box::new(sandbox::<RankerPlugin>(component, info, options)?)),
        Kind::Regularizer => Raw::Regularizer(Box::new(sandbox::<RegularizerPlugin>(component, info, options)?)),
    })
}

fn sandbox<W: World>(component: Component, info: &PluginInfo, options: &LoadOptions) -> Result<Sandbox<W>> {
    let mut sandbox = Sandbox::new(component, info.params.to_string(), options.limits.clone())
        .map_err(|e| Error::plugin(format!("{}: {e}", info.title())).help(REBUILD))?;
    super::log::during(info, options, || sandbox.configure()).map_err(|failure| configure_error(info, failure))?;
    Ok(sandbox)
}

const REBUILD: &str = "build it with creamery-plugin 1.x for wasm32-unknown-unknown";

/// A component that wants more than it gets, said in a better way than the linker does.
fn check_imports(component: &Component, info: &PluginInfo) -> Result<()> {
    let ty = component.component_type();
    let foreign: Vec<String> = ty
        .imports(engine())
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with("creamery:plugin/host@1.") && !name.starts_with("creamery:plugin/types@1."))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let names = foreign.join(", ");
    Err(Error::plugin(format!("{}: it imports {names}, but plugins are granted nothing", info.title()))
        .help("build it for wasm32-unknown-unknown, without WASI"))
}

impl RawJudge for Sandbox<JudgePlugin> {
    fn step(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, Failure> {
        let (context, groups, answers) =
            (context.into(), groups.into(), answers.iter().map(|s| s.iter().map(Into::into).collect()).collect());
        let answers: Vec<Vec<_>> = answers;
        let step =
            self.call(|world, store| world.creamery_plugin_judge().call_step(store, &context, &groups, &answers))?;
        Ok(step.into())
    }
}

impl RawRanker for Sandbox<RankerPlugin> {
    fn rank(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, Failure> {
        let (context, groups, scores) = (context.into(), groups.into(), scores.into());
        let ranking =
            self.call(|world, store| world.creamery_plugin_ranker().call_rank(store, context, &groups, &scores))?;
        Ok(ranking.into())
    }
}

impl RawRegularizer for Sandbox<RegularizerPlugin> {
    fn label(&mut self, records: &Records) -> Result<Labels, Failure> {
        let records = records.into();
        let labels = self.call(|world, store| world.creamery_plugin_regularizer().call_label(store, &records))?;
        Ok(labels.into())
    }

    fn objective(&mut self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, Failure> {
        let batch = batch.into();
        let value = self.call(|world, store| world.creamery_plugin_regularizer().call_objective(store, &batch))?;
        Ok(value.into())
    }
}
