//! Plain data with a stable layout. `…View` types borrow from the host for one call; the others are owned by
//! whoever holds them. Enumerations are codes, so that a newer side can be refused instead of misread.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr, RString, RVec};

pub mod code {
    pub const FINISH_STOP: u32 = 0;
    pub const FINISH_LENGTH: u32 = 1;

    pub const SCORE_VALUE: u32 = 0;
    pub const SCORE_ABSTAIN: u32 = 1;

    pub const STEP_ASK: u32 = 0;
    pub const STEP_SCORES: u32 = 1;

    pub const QUERY_RESPONSE_LOGPS: u32 = 0;
    pub const QUERY_TEXT_LOGP: u32 = 1;
    pub const QUERY_GENERATE: u32 = 2;
    pub const QUERY_CHOOSE: u32 = 3;

    pub const ANSWER_LOGPS: u32 = 0;
    pub const ANSWER_TEXTS: u32 = 1;
    pub const ANSWER_DISTRIBUTION: u32 = 2;
    pub const ANSWER_FAILED: u32 = 3;
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct MessageView<'a> {
    pub role: RStr<'a>,
    pub content: RStr<'a>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ResponseView<'a> {
    pub text: RStr<'a>,
    pub tokens: u32,
    pub finish: u32,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct GroupsView<'a> {
    pub ids: RSlice<'a, RStr<'a>>,
    pub messages: RSlice<'a, MessageView<'a>>,
    pub message_offsets: RSlice<'a, u32>,
    pub responses: RSlice<'a, ResponseView<'a>>,
    pub response_offsets: RSlice<'a, u32>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct SlotView<'a> {
    pub name: RStr<'a>,
    pub model: RStr<'a>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct JudgeContextView<'a> {
    pub round: u32,
    pub viewpoint: RStr<'a>,
    pub slots: RSlice<'a, SlotView<'a>>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Logp {
    pub sum: f64,
    pub tokens: u32,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct GeneratedView<'a> {
    pub text: RStr<'a>,
    pub finish: u32,
}

/// `code::ANSWER_…`; the fields of other kinds are empty.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct AnswerView<'a> {
    pub kind: u32,
    pub logps: RSlice<'a, Logp>,
    pub texts: RSlice<'a, GeneratedView<'a>>,
    pub distribution: RSlice<'a, f64>,
    pub failure: RStr<'a>,
}

/// `answers` are flat: step `k` owns `answers[step_offsets[k] .. step_offsets[k + 1]]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct JudgeInput<'a> {
    pub context: JudgeContextView<'a>,
    pub groups: GroupsView<'a>,
    pub answers: RSlice<'a, AnswerView<'a>>,
    pub step_offsets: RSlice<'a, u32>,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct Message {
    pub role: RString,
    pub content: RString,
}

/// `code::QUERY_…`; the fields of other kinds are empty or 0.
#[repr(C)]
#[derive(StableAbi)]
pub struct Query {
    pub kind: u32,
    pub slot: RString,
    pub responses: RVec<u32>,
    pub messages: RVec<Message>,
    pub continuation: RString,
    pub labels: RVec<RString>,
    pub count: u32,
    pub max_new_tokens: u32,
    pub temperature: f64,
    pub top_p: f64,
}

/// `code::SCORE_…`.
#[repr(C)]
#[derive(StableAbi)]
pub struct Score {
    pub kind: u32,
    pub value: f64,
    pub reason: RString,
}

/// `code::STEP_…`; the list of the other kind is empty.
#[repr(C)]
#[derive(StableAbi)]
pub struct Step {
    pub kind: u32,
    pub queries: RVec<Query>,
    pub scores: RVec<Score>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ScoreView<'a> {
    pub kind: u32,
    pub value: f64,
    pub reason: RStr<'a>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ScoresView<'a> {
    pub viewpoints: RSlice<'a, RStr<'a>>,
    pub scores: RSlice<'a, ScoreView<'a>>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct RankInput<'a> {
    pub round: u32,
    pub seed: u64,
    pub groups: GroupsView<'a>,
    pub scores: ScoresView<'a>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Pair {
    pub group: u32,
    pub chosen: u32,
    pub rejected: u32,
    pub weight: f64,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct Dropped {
    pub index: u32,
    pub reason: RString,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct Ranking {
    pub ranks: RVec<u32>,
    pub pairs: RVec<Pair>,
    pub dropped: RVec<Dropped>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct MetricView<'a> {
    pub name: RStr<'a>,
    pub value: f64,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct RoundView<'a> {
    pub round: u32,
    pub pairs: u32,
    pub metrics: RSlice<'a, MetricView<'a>>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct RecordsView<'a> {
    pub round: u32,
    pub groups: GroupsView<'a>,
    pub scores: ScoresView<'a>,
    pub ranks: RSlice<'a, u32>,
    pub pairs: RSlice<'a, Pair>,
    pub history: RSlice<'a, RoundView<'a>>,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct Metric {
    pub name: RString,
    pub value: f64,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct Labels {
    pub consistency: RVec<f64>,
    pub weights: RVec<f64>,
    pub dropped: RVec<Dropped>,
    pub metrics: RVec<Metric>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ObjectiveView<'a> {
    pub beta: f64,
    pub policy_chosen: RSlice<'a, f64>,
    pub policy_rejected: RSlice<'a, f64>,
    pub reference_chosen: RSlice<'a, f64>,
    pub reference_rejected: RSlice<'a, f64>,
    pub chosen_tokens: RSlice<'a, u32>,
    pub rejected_tokens: RSlice<'a, u32>,
    pub consistency: RSlice<'a, f64>,
    pub weight: RSlice<'a, f64>,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct ObjectiveValue {
    pub loss: RVec<f64>,
    pub d_chosen: RVec<f64>,
    pub d_rejected: RVec<f64>,
}

/// Since 1.1.
#[repr(C)]
#[derive(StableAbi)]
pub struct Measure {
    pub name: RString,
    pub sum: f64,
    pub count: u64,
}

/// Since 1.1.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct JudgmentPair {
    pub step: u32,
    pub query: u32,
    pub chosen: u32,
    pub rejected: u32,
    pub weight: f64,
}

/// Since 1.1.
#[repr(C)]
#[derive(StableAbi)]
pub struct JudgeReport {
    pub measures: RVec<Measure>,
    pub pairs: RVec<JudgmentPair>,
}

/// Since 1.1.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct SourcesView<'a> {
    pub names: RSlice<'a, RStr<'a>>,
    pub responses: RSlice<'a, u32>,
}

/// [`crate::NumbersView`]. Since 1.1.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct NumbersInput<'a> {
    pub round: u32,
    pub seed: u64,
    pub response_offsets: RSlice<'a, u32>,
    pub tokens: RSlice<'a, u32>,
    pub cut_off: RSlice<'a, u8>,
    pub first: RSlice<'a, u32>,
    pub viewpoints: u32,
    pub scores: RSlice<'a, f64>,
}

/// Since 1.1.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct DroppedView<'a> {
    pub index: u32,
    pub reason: RStr<'a>,
}

/// Since 1.1.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct LabelsView<'a> {
    pub consistency: RSlice<'a, f64>,
    pub weights: RSlice<'a, f64>,
    pub dropped: RSlice<'a, DroppedView<'a>>,
    pub metrics: RSlice<'a, MetricView<'a>>,
}

/// Since 1.1.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ColumnView<'a> {
    pub name: RStr<'a>,
    pub values: RSlice<'a, f64>,
}

/// Since 1.1.
#[repr(C)]
#[derive(StableAbi)]
pub struct Column {
    pub name: RString,
    pub values: RVec<f64>,
}
