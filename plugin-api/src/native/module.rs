//! The plugin's side: the function table it exports, with every call guarded against panics.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::StableAbi;
use abi_stable::library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModule, RootModuleResult};
use abi_stable::package_version_strings;
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::ROption::{RNone, RSome};
use abi_stable::std_types::RResult::{RErr, ROk};
use abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString, RVec};

use super::objects::*;
use super::types::{
    Column, ColumnView, JudgeInput, JudgeReport, Labels, LabelsView, NumbersInput, ObjectiveValue, ObjectiveView,
    RankInput, Ranking, RecordsView, SourcesView, Step,
};
use crate::builtin::{DynJudge, DynRanker, DynRegularizer, Make};
use crate::types::PluginError;

/// Takes messages for the user.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct LogSink {
    /// A [`crate::Level`] code and the text.
    pub call: extern "C" fn(u32, RStr<'_>),
}

/// What a native plugin exports. A constructor of another kind than the plugin's returns an error.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef)))]
#[sabi(missing_field(option))]
pub struct PluginModule {
    /// The same bytes as in the file.
    pub descriptor: RSlice<'static, u8>,
    /// Called once, first.
    pub set_log: extern "C" fn(LogSink),
    pub new_judge: extern "C" fn(RStr<'_>) -> RResult<JudgeObject, RString>,
    pub new_ranker: extern "C" fn(RStr<'_>) -> RResult<RankerObject, RString>,
    #[sabi(last_prefix_field)]
    pub new_regularizer: extern "C" fn(RStr<'_>) -> RResult<RegularizerObject, RString>,
}

impl RootModule for PluginModuleRef {
    abi_stable::declare_root_module_statics! {PluginModuleRef}
    const BASE_NAME: &'static str = "creamery_plugin";
    const NAME: &'static str = "creamery_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// A plugin as [`export_plugin!`](crate::export_plugin) describes it.
pub trait Exported: 'static {
    const DESCRIPTOR: &'static [u8];
    const MAKE: Make;
}

/// The value of a plugin's exported symbol.
pub const fn header<E: Exported>() -> LibHeader {
    // SAFETY: `construct` returns a `PluginModuleRef`, erased by abi_stable itself.
    unsafe { LibHeader::from_constructor::<PluginModuleRef>(construct::<E>, CheckTypeLayout::Yes) }
}

extern "C" fn construct<E: Exported>() -> RootModuleResult {
    __call_root_module_loader(module::<E>)
}

fn module<E: Exported>() -> PluginModuleRef {
    std::panic::set_hook(Box::new(remember_place));
    PluginModule {
        descriptor: RSlice::from_slice(E::DESCRIPTOR),
        set_log,
        new_judge: new_judge::<E>,
        new_ranker: new_ranker::<E>,
        new_regularizer: new_regularizer::<E>,
    }
    .leak_into_prefix()
}

extern "C" fn set_log(sink: LogSink) {
    crate::set_log_sink(move |level, message| (sink.call)(level as u32, message.into()));
}

extern "C" fn new_judge<E: Exported>(params: RStr<'_>) -> RResult<JudgeObject, RString> {
    guarded(|| match E::MAKE {
        Make::Judge(make) => Ok(NativeJudge_TO::from_value(Guarded::new(make(params.into())?), TD_Opaque)),
        _ => Err(PluginError::new("this plugin is not a judge")),
    })
}

extern "C" fn new_ranker<E: Exported>(params: RStr<'_>) -> RResult<RankerObject, RString> {
    guarded(|| match E::MAKE {
        Make::Ranker(make) => Ok(NativeRanker_TO::from_value(Guarded::new(make(params.into())?), TD_Opaque)),
        _ => Err(PluginError::new("this plugin is not a ranker")),
    })
}

extern "C" fn new_regularizer<E: Exported>(params: RStr<'_>) -> RResult<RegularizerObject, RString> {
    guarded(|| match E::MAKE {
        Make::Regularizer(make) => Ok(NativeRegularizer_TO::from_value(Guarded::new(make(params.into())?), TD_Opaque)),
        _ => Err(PluginError::new("this plugin is not a regularizer")),
    })
}

/// A plugin whose panics become errors.
struct Guarded<T>(ManuallyDrop<T>);

impl<T> Guarded<T> {
    fn new(plugin: T) -> Self {
        Guarded(ManuallyDrop::new(plugin))
    }
}

/// A panic must not leave the library here either; what it left half-done stays so.
impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: it is dropped here alone, and not used afterwards.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { ManuallyDrop::drop(&mut self.0) }));
        if let Err(payload) = dropped {
            // Dropping the payload may run the plugin's code again.
            std::mem::forget(payload);
        }
    }
}

impl NativeJudge for Guarded<Box<dyn DynJudge>> {
    fn step(&self, input: &JudgeInput<'_>) -> RResult<Step, RString> {
        guarded(|| {
            let (context, groups, answers) = input.decode()?;
            Ok(self.0.step(&context, &groups, &answers)?.into())
        })
    }

    fn report(&self, input: &JudgeInput<'_>) -> RResult<JudgeReport, RString> {
        guarded(|| {
            let (context, groups, answers) = input.decode()?;
            Ok(self.0.report(&context, &groups, &answers)?.into())
        })
    }
}

impl NativeRanker for Guarded<Box<dyn DynRanker>> {
    fn rank(&self, input: &RankInput<'_>) -> RResult<Ranking, RString> {
        guarded(|| {
            let (context, groups, scores) = input.decode()?;
            Ok(self.0.rank(&context, &groups, &scores)?.into())
        })
    }

    fn rank_sources(&self, input: &RankInput<'_>, sources: &SourcesView<'_>) -> RResult<Ranking, RString> {
        guarded(|| {
            let (context, groups, scores) = input.decode()?;
            Ok(self.0.rank_sources(&context, &groups, &scores, &sources.decode())?.into())
        })
    }

    fn rank_numbers(&self, input: &NumbersInput<'_>) -> RResult<ROption<Ranking>, RString> {
        guarded(|| {
            let (context, numbers) = input.view();
            Ok(match self.0.rank_numbers(&context, numbers)? {
                Some(ranking) => RSome(ranking.into()),
                None => RNone,
            })
        })
    }
}

impl NativeRegularizer for Guarded<Box<dyn DynRegularizer>> {
    fn label(&self, records: &RecordsView<'_>) -> RResult<Labels, RString> {
        guarded(|| Ok(self.0.label(&records.decode()?)?.into()))
    }

    fn objective(&self, batch: &ObjectiveView<'_>) -> RResult<ObjectiveValue, RString> {
        guarded(|| Ok(batch.decoded(|batch| self.0.objective(batch))?.into()))
    }

    fn columns(&self, records: &RecordsView<'_>, labels: &LabelsView<'_>) -> RResult<RVec<Column>, RString> {
        guarded(|| {
            let columns = self.0.columns(&records.decode()?, &labels.decode())?;
            Ok(columns.into_iter().map(Into::into).collect())
        })
    }

    fn objective_columns(
        &self,
        batch: &ObjectiveView<'_>,
        columns: RSlice<'_, ColumnView<'_>>,
    ) -> RResult<ObjectiveValue, RString> {
        guarded(|| {
            let columns: Vec<crate::Column> = columns.iter().map(ColumnView::decode).collect();
            Ok(batch.decoded(|batch| self.0.objective_columns(batch, &columns))?.into())
        })
    }
}

thread_local! {
    /// Where the last panic of this thread happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The library's panic hook: the message reaches the user as an error, so it is not printed as well.
fn remember_place(info: &std::panic::PanicHookInfo<'_>) {
    let place = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
    let _ = PLACE.try_with(|p| *p.borrow_mut() = place);
}

/// Returned as it is, so that an answer moves as seldom as it can: with small ones that is most of a call.
fn guarded<T>(call: impl FnOnce() -> Result<T, PluginError>) -> RResult<T, RString> {
    let answer = || match call() {
        Ok(value) => ROk(value),
        Err(error) => RErr(error.message.into()),
    };
    match catch_unwind(AssertUnwindSafe(answer)) {
        Ok(answer) => answer,
        Err(payload) => RErr(panicked(payload)),
    }
}

#[cold]
fn panicked(payload: Box<dyn std::any::Any + Send>) -> RString {
    let mut text = format!("panicked: {}", panic_text(&*payload));
    if let Some(place) = PLACE.with(|p| p.borrow_mut().take()) {
        text.push_str(&format!(" (at {place})"));
    }
    // Dropping the payload may run the plugin's code again.
    std::mem::forget(payload);
    text.into()
}

/// The message of a panic.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "(no message)",
    }
}
