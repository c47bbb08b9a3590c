//! Plugins as objects with a stable vtable. A method returns what the plugin said, or its error's text.
//! Methods never unwind: see [`super::module`].

// The macro puts its impls into an anonymous constant.
#![allow(non_local_definitions)]

use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, RResult, RString};

use super::types::{JudgeInput, Labels, ObjectiveValue, ObjectiveView, RankInput, Ranking, RecordsView, Step};

#[sabi_trait]
pub trait NativeJudge: Send + Sync {
    #[sabi(last_prefix_field)]
    fn step(&self, input: &JudgeInput<'_>) -> RResult<Step, RString>;
}

#[sabi_trait]
pub trait NativeRanker: Send + Sync {
    #[sabi(last_prefix_field)]
    fn rank(&self, input: &RankInput<'_>) -> RResult<Ranking, RString>;
}

#[sabi_trait]
pub trait NativeRegularizer: Send + Sync {
    fn label(&self, records: &RecordsView<'_>) -> RResult<Labels, RString>;

    #[sabi(last_prefix_field)]
    fn objective(&self, batch: &ObjectiveView<'_>) -> RResult<ObjectiveValue, RString>;
}

pub type JudgeObject = NativeJudge_TO<'static, RBox<()>>;
pub type RankerObject = NativeRanker_TO<'static, RBox<()>>;
pub type RegularizerObject = NativeRegularizer_TO<'static, RBox<()>>;
