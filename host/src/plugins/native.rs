//! Native plugins: shared libraries that are loaded into this process and never unloaded.

use std::path::Path;

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::library::{AbiHeaderRef, LibHeader, LibraryError};
use abi_stable::std_types::{RResult, RString};
use creamery_plugin::native::objects::{JudgeObject, RankerObject, RegularizerObject};
use creamery_plugin::native::{LogSink, PluginModuleRef, SYMBOL_PREFIX, call};
use creamery_plugin::{
    Answer, Column, Groups, JudgeContext, JudgeReport, Labels, Level, NumbersView, ObjectiveBatch, ObjectiveValue,
    PluginError, RankContext, Ranking, Records, Scores, Sources, Step,
};

use super::{Failure, Kind, LoadOptions, PluginInfo, Raw, RawJudge, RawRanker, RawRegularizer, configure_error, log};
use crate::error::{Error, Result};

/// Loads the library at `path`, whose content is `bytes` and whose descriptor has been checked.
pub(super) fn load(path: &Path, bytes: &[u8], info: &PluginInfo, options: &LoadOptions) -> Result<Raw> {
    make(open(path, bytes, info)?, info, options)
}

/// The library at `path`, of which nothing but its initializers has run.
pub(super) fn open(path: &Path, bytes: &[u8], info: &PluginInfo) -> Result<PluginModuleRef> {
    let module = module(path, info)?;
    if !contains(bytes, module.descriptor().as_slice()) {
        return Err(Error::plugin(format!("{}: the loaded library is not the one in the file", info.title()))
            .help("another version of this file was loaded before; start the program again"));
    }
    Ok(module)
}

/// The plugin, configured with the parameters of `info`.
pub(super) fn make(module: PluginModuleRef, info: &PluginInfo, options: &LoadOptions) -> Result<Raw> {
    if info.descriptor.panic_aborts {
        let warning = "built with panic = \"abort\": if it panics, the whole program ends";
        log::host(options, info.name(), Level::Warn, warning);
    }
    module.set_log()(LogSink { call: log::forward_native });
    let params = info.params.to_string();
    let params = params.as_str().into();
    let raw = log::loading(info, options, || match info.descriptor.kind {
        Kind::Judge => made(module.new_judge()(params)).map(|p| Raw::Judge(Box::new(Native(p)))),
        Kind::Ranker => made(module.new_ranker()(params)).map(|p| Raw::Ranker(Box::new(Native(p)))),
        Kind::Regularizer => made(module.new_regularizer()(params)).map(|p| Raw::Regularizer(Box::new(Native(p)))),
    });
    raw.map_err(|failure| configure_error(info, failure))
}

struct Native<T>(T);

impl RawJudge for Native<JudgeObject> {
    fn step(&mut self, context: &JudgeContext, groups: &Groups, answers: &[Vec<Answer>]) -> Result<Step, Failure> {
        Ok(call::step(&self.0, context, groups, answers)?)
    }

    fn report(
        &mut self,
        context: &JudgeContext,
        groups: &Groups,
        answers: &[Vec<Answer>],
    ) -> Result<JudgeReport, Failure> {
        Ok(call::report(&self.0, context, groups, answers)?)
    }
}

impl RawRanker for Native<RankerObject> {
    fn rank(&mut self, context: &RankContext, groups: &Groups, scores: &Scores) -> Result<Ranking, Failure> {
        Ok(call::rank(&self.0, context, groups, scores)?)
    }

    fn rank_sources(
        &mut self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking, Failure> {
        Ok(call::rank_sources(&self.0, context, groups, scores, sources)?)
    }

    fn takes_numbers(&self) -> bool {
        true
    }

    fn rank_numbers(&mut self, context: &RankContext, numbers: NumbersView<'_>) -> Result<Option<Ranking>, Failure> {
        Ok(call::rank_numbers(&self.0, context, numbers)?)
    }
}

impl RawRegularizer for Native<RegularizerObject> {
    fn label(&mut self, records: &Records) -> Result<Labels, Failure> {
        Ok(call::label(&self.0, records)?)
    }

    fn objective(&mut self, batch: &ObjectiveBatch) -> Result<ObjectiveValue, Failure> {
        Ok(call::objective(&self.0, batch)?)
    }

    fn columns(&mut self, records: &Records, labels: &Labels) -> Result<Vec<Column>, Failure> {
        Ok(call::columns(&self.0, records, labels)?)
    }

    fn objective_columns(&mut self, batch: &ObjectiveBatch, columns: &[Column]) -> Result<ObjectiveValue, Failure> {
        Ok(call::objective_columns(&self.0, batch, columns)?)
    }
}

/// The library's function table, its layout checked.
fn module(path: &Path, info: &PluginInfo) -> Result<PluginModuleRef> {
    let title = info.title();
    let cannot = |why: &dyn std::fmt::Display| {
        Error::plugin(format!("{title}: cannot load the shared library: {why}"))
            .help("build it again on this machine, or use its .wasm form")
    };
    // A name without a '/' would be looked for where the system keeps its libraries.
    let path = path.canonicalize().map_err(|e| Error::io("open", path, &e))?;
    // SAFETY: loading runs the library's initializers with all rights of this program. The user allowed that,
    // and the file has a descriptor of this ABI for this platform.
    let library = unsafe { libloading::Library::new(path) }.map_err(|e| cannot(&e))?;
    // Never unloaded: its initializers may have started threads, and references into it live as long as the program.
    let library = std::mem::ManuallyDrop::new(library);
    let symbol = format!("{SYMBOL_PREFIX}{}\0", info.name());
    // SAFETY: `export_plugin!` exports a `LibHeader` under this name. An `AbiHeaderRef` is a reference to its
    // first field, whose layout is the same in all versions of abi_stable, and is checked in `upgrade`.
    let header = unsafe { library.get::<AbiHeaderRef>(symbol.as_bytes()) }.map(|symbol| *symbol);
    let header = header.map_err(|e| cannot(&e))?;
    let header = header.upgrade().map_err(|e| cannot(&first_line(&e.to_string())))?;
    check_layout(header).map_err(|e| {
        Error::plugin(format!("{title}: its binary interface differs from this program's: {e}")).help(format!(
            "build it again with creamery-plugin {}; it was built with {}",
            creamery_plugin::API_VERSION,
            info.descriptor.api
        ))
    })?;
    // SAFETY: `check_layout` has compared the layouts of both sides.
    unsafe { header.unchecked_layout::<PluginModuleRef>() }.map_err(|e| cannot(&first_line(&e.to_string())))
}

/// Whether both sides mean the same by the function table. abi_stable accepts a newer plugin in an older host,
/// but refuses an older plugin in a newer host, although prefix types make both safe; so within one ABI major
/// (which the descriptor guarantees here) either direction will do.
fn check_layout(header: &LibHeader) -> Result<(), String> {
    let forward = match header.ensure_layout::<PluginModuleRef>() {
        Ok(()) if header.layout().is_some() => return Ok(()),
        Ok(()) => return Err("it does not say what its layout is".to_owned()),
        Err(LibraryError::AbiInstability(e)) => first_line(&e.to_string()),
        Err(e) => first_line(&e.to_string()),
    };
    let Some(layout) = header.layout() else { return Err(forward) };
    check_layout_compatibility(layout, <PluginModuleRef as StableAbi>::LAYOUT).map_err(|_| forward)
}

fn made<T>(result: RResult<T, RString>) -> Result<T, Failure> {
    result.into_result().map_err(|message| PluginError::new(message.into_string()).into())
}

/// abi_stable's messages run to many kilobytes.
fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or("no further explanation");
    line[..line.floor_char_boundary(300)].to_owned()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && memchr::memmem::find(bytes, part).is_some()
}
