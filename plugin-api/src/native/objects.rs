//! Plugins as objects with a stable vtable. A method returns what the plugin said, or its error's text.
//! Methods never unwind: see [`super::module`].
//!
//! Methods behind the `last_prefix_field` came later. An object of an older plugin has none of them; the default
//! stands in for it then.

// The macro puts its impls into an anonymous constant.
#![allow(non_local_definitions)]

use abi_stable::sabi_trait;
use abi_stable::std_types::ROption::{self, RNone};
use abi_stable::std_types::RResult::ROk;
use abi_stable::std_types::{RBox, RResult, RSlice, RString, RVec};

use super::types::*;

#[sabi_trait]
pub trait NativeJudge: Send + Sync {
    #[sabi(last_prefix_field)]
    fn step(&self, input: &JudgeInput<'_>) -> RResult<Step, RString>;

    /// Since 1.1.
    fn report(&self, _input: &JudgeInput<'_>) -> RResult<JudgeReport, RString> {
        ROk(JudgeReport { measures: RVec::new(), pairs: RVec::new() })
    }
}

#[sabi_trait]
pub trait NativeRanker: Send + Sync {
    #[sabi(last_prefix_field)]
    fn rank(&self, input: &RankInput<'_>) -> RResult<Ranking, RString>;

    /// Since 1.1.
    fn rank_sources(&self, input: &RankInput<'_>, _sources: &SourcesView<'_>) -> RResult<Ranking, RString> {
        self.rank(input)
    }

    /// Since 1.1.
    fn rank_numbers(&self, _input: &NumbersInput<'_>) -> RResult<ROption<Ranking>, RString> {
        ROk(RNone)
    }
}

#[sabi_trait]
pub trait NativeRegularizer: Send + Sync {
    fn label(&self, records: &RecordsView<'_>) -> RResult<Labels, RString>;

    #[sabi(last_prefix_field)]
    fn objective(&self, batch: &ObjectiveView<'_>) -> RResult<ObjectiveValue, RString>;

    /// Since 1.1.
    fn columns(&self, _records: &RecordsView<'_>, _labels: &LabelsView<'_>) -> RResult<RVec<Column>, RString> {
        ROk(RVec::new())
    }

    /// Since 1.1.
    fn objective_columns(
        &self,
        batch: &ObjectiveView<'_>,
        _columns: RSlice<'_, ColumnView<'_>>,
    ) -> RResult<ObjectiveValue, RString> {
        self.objective(batch)
    }
}

pub type JudgeObject = NativeJudge_TO<'static, RBox<()>>;
pub type RankerObject = NativeRanker_TO<'static, RBox<()>>;
pub type RegularizerObject = NativeRegularizer_TO<'static, RBox<()>>;
