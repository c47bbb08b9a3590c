//! What crosses the boundary: text and numbers, in flat arrays with offsets, many groups at a time.
//!
//! A *group* is one prompt with its N sampled responses. Responses of a batch are numbered flat:
//! group `g` owns the responses `response_offsets[g] .. response_offsets[g + 1]`. A *viewpoint* is a
//! model that judges; viewpoint 0 is always the current policy, and arrays over viewpoints are laid out
//! viewpoint by viewpoint, `[viewpoints × responses]`.

use serde::{Deserialize, Serialize};

/// Why a plugin cannot do what it was asked. The host adds the plugin's name and what was going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginError {
    pub message: String,
}

impl PluginError {
    pub fn new(message: impl Into<String>) -> Self {
        PluginError { message: message.into() }
    }
}

impl std::fmt::Display for PluginError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PluginError {}

/// One chat message. Since 1.0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// "system", "user" or "assistant"; which roles are allowed is up to the chat template.
    pub role: String,
    pub content: String,
}

impl Message {
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into() }
    }

    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }
}

/// Why a response ended. Since 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// The model sampled an end-of-sequence token.
    Stop,
    /// The token limit cut it off: the text is incomplete.
    Length,
}

/// One sampled response. Since 1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    pub text: String,
    /// Number of sampled tokens, the end-of-sequence token included.
    pub tokens: u32,
    pub finish: Finish,
}

/// A batch of G groups with R responses in all. Since 1.0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// `[G]` the prompts' ids, unique within a run.
    pub ids: Vec<String>,
    /// `[M]` the prompts' messages, all groups in one list.
    pub messages: Vec<Message>,
    /// `[G + 1]` offsets into `messages`.
    pub message_offsets: Vec<u32>,
    /// `[R]` the responses, all groups in one list.
    pub responses: Vec<Response>,
    /// `[G + 1]` offsets into `responses`.
    pub response_offsets: Vec<u32>,
}

impl Groups {
    /// Number of groups G.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The flat response numbers of group `g`.
    pub fn response_range(&self, g: usize) -> std::ops::Range<usize> {
        self.response_offsets[g] as usize..self.response_offsets[g + 1] as usize
    }

    /// The prompt of group `g`.
    pub fn prompt(&self, g: usize) -> &[Message] {
        &self.messages[self.message_offsets[g] as usize..self.message_offsets[g + 1] as usize]
    }

    /// Appends a group.
    pub fn push(&mut self, id: impl Into<String>, prompt: Vec<Message>, responses: Vec<Response>) {
        if self.message_offsets.is_empty() {
            self.message_offsets.push(0);
            self.response_offsets.push(0);
        }
        self.ids.push(id.into());
        self.messages.extend(prompt);
        self.message_offsets.push(self.messages.len() as u32);
        self.responses.extend(responses);
        self.response_offsets.push(self.responses.len() as u32);
    }
}

/// A model slot that a judge may query. Two slots with the same `model` hold the same model. Since 1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// "judge" (the viewpoint), "reference" (the scoring reference) or "initial" (M0).
    pub name: String,
    /// A digest that names the weights.
    pub model: String,
}

/// What a judge knows about the call. Since 1.0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgeContext {
    /// The round, from 1.
    pub round: u32,
    /// The viewpoint whose model stands behind the slot "judge": "current" or "previous".
    pub viewpoint: String,
    pub slots: Vec<Slot>,
}

impl JudgeContext {
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|s| s.name == name)
    }
}

/// A question to the host about a model. Queries of one step are answered together. Since 1.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Query {
    /// Σ log p of sampled responses, on the very tokens that were sampled. Answer: [`Answer::Logps`].
    ResponseLogps {
        slot: String,
        /// Flat response numbers, in the order of the answer.
        responses: Vec<u32>,
    },
    /// Σ log p of any continuation of a conversation. Answer: [`Answer::Logps`] with one entry.
    TextLogp { slot: String, messages: Vec<Message>, continuation: String },
    /// Free generation. Answer: [`Answer::Texts`] with `count` entries.
    Generate {
        slot: String,
        messages: Vec<Message>,
        count: u32,
        max_new_tokens: u32,
        /// 0 is greedy.
        temperature: f64,
        top_p: f64,
    },
    /// The distribution over label strings as what the next text begins with, normalized over the labels given. A label
    /// that begins another one ("1" and "10") has the probability of texts that do not go on as the other. One that a
    /// server cannot weigh, or two that are the same tokens, are [`Answer::Failed`].
    /// Answer: [`Answer::Distribution`] in the order of `labels`.
    Choose { slot: String, messages: Vec<Message>, labels: Vec<String> },
}

/// The host's answer to one query. Since 1.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Logps(Vec<Logp>),
    Texts(Vec<Generated>),
    Distribution(Vec<f64>),
    /// The host could not answer this one query (a prompt too long for the context, say).
    Failed(String),
}

/// The log-probability of a sequence, in nats, summed over its tokens. Since 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logp {
    pub sum: f64,
    pub tokens: u32,
}

/// A generated text. Since 1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    pub text: String,
    pub finish: Finish,
}

/// What a judge does next. Since 1.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    Ask(Vec<Query>),
    /// `[R]` one score per response.
    Scores(Vec<Score>),
}

/// A response's score from one viewpoint. Higher is better; only differences within a group matter. Since 1.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Score {
    /// Finite. NaN and infinities are refused by the host.
    Value(f64),
    /// No score, with the reason. Never becomes a number.
    Abstain(String),
}

impl Score {
    pub fn value(&self) -> Option<f64> {
        match self {
            Score::Value(v) => Some(*v),
            Score::Abstain(_) => None,
        }
    }
}

/// What a judge says about its own work, besides scores. Since 1.1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgeReport {
    /// Shares and means over the batch; the host adds them up over all batches.
    pub measures: Vec<Measure>,
    /// Preference pairs of judgments: they train the model as a judge.
    pub pairs: Vec<JudgmentPair>,
}

/// A mean over a batch: `sum / count`. The host adds up sums and counts of equal names. Since 1.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Like "position_bias"; unique within a report.
    pub name: String,
    /// Finite.
    pub sum: f64,
    pub count: u64,
}

/// One judgment is better than another to the same judging prompt: two texts of one answered
/// [`Query::Generate`], by number, so that training sees the very tokens that were sampled. Since 1.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgmentPair {
    /// `answers[step][query]` is the [`Answer::Texts`].
    pub step: u32,
    pub query: u32,
    /// Texts of that answer.
    pub chosen: u32,
    pub rejected: u32,
    /// Positive.
    pub weight: f64,
}

/// Which model drew each response. Since 1.1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// Names of models; 0 is "current", the policy of the round.
    pub names: Vec<String>,
    /// `[R]` the number of each response's model in `names`.
    pub responses: Vec<u32>,
}

/// Scores of V viewpoints for R responses. Since 1.0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// `[V]` viewpoint names; 0 is "current".
    pub viewpoints: Vec<String>,
    /// `[V × R]`
    pub scores: Vec<Score>,
}

/// What a ranker knows about the call. Since 1.0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankContext {
    pub round: u32,
    /// A seed of this run and round, for rules that choose at random.
    pub seed: u64,
}

/// A ranker's whole answer. Since 1.0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// `[V × R]` rank of each response within its group, from 1 (best); ties share the smaller rank;
    /// 0 for a response without a score.
    pub ranks: Vec<u32>,
    /// Preference pairs, ordered by group.
    pub pairs: Vec<Pair>,
    /// Groups that give no pair, ordered by group, each with the reason.
    pub dropped: Vec<Dropped>,
}

/// A preference pair. Since 1.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[repr(C)]
pub struct Pair {
    pub group: u32,
    /// Flat response numbers.
    pub chosen: u32,
    pub rejected: u32,
    /// Positive.
    pub weight: f64,
}

/// A group or pair that is not used, and why. Since 1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Of a ranker: the group. Of a regularizer: the pair.
    pub index: u32,
    pub reason: String,
}

/// All that a regularizer may base its labels on; the whole set at once. Since 1.0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Records {
    /// The round, from 1.
    pub round: u32,
    pub groups: Groups,
    pub scores: Scores,
    /// `[V × R]` as in [`Ranking::ranks`].
    pub ranks: Vec<u32>,
    pub pairs: Vec<Pair>,
    /// Earlier rounds, oldest first.
    pub history: Vec<RoundRecord>,
}

/// What is kept of an earlier round. Since 1.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    pub round: u32,
    pub pairs: u32,
    /// The metrics that the regularizer gave then.
    pub metrics: Vec<Metric>,
}

/// A named number for the metrics file and the tables. Since 1.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub name: String,
    pub value: f64,
}

/// Labels for P pairs. Since 1.0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Labels {
    /// `[P]` confidence C ∈ [0, 1] that the pair is the right way round.
    pub consistency: Vec<f64>,
    /// `[P]` weight ≥ 0 of the pair in the loss, in addition to the ranker's.
    pub weights: Vec<f64>,
    /// Pairs to leave out, ordered.
    pub dropped: Vec<Dropped>,
    /// "consistency" is the one that the tables show.
    pub metrics: Vec<Metric>,
}

/// A named number for every pair, which a regularizer's objective finds again. Since 1.1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// `[P]` finite.
    pub values: Vec<f64>,
}

/// P pairs in one step of training. All log-probabilities are sums over response tokens, in nats. Since 1.0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveBatch {
    /// The strength of the pull to the reference, from `[train] beta`.
    pub beta: f64,
    pub policy_chosen: Vec<f64>,
    pub policy_rejected: Vec<f64>,
    pub reference_chosen: Vec<f64>,
    pub reference_rejected: Vec<f64>,
    pub chosen_tokens: Vec<u32>,
    pub rejected_tokens: Vec<u32>,
    pub consistency: Vec<f64>,
    /// The ranker's weight times the regularizer's.
    pub weight: Vec<f64>,
}

/// Value and gradient of the objective; the host takes the mean over the pairs of a batch. Since 1.0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveValue {
    /// `[P]` loss of each pair.
    pub loss: Vec<f64>,
    /// `[P]` ∂ loss / ∂ policy_chosen.
    pub d_chosen: Vec<f64>,
    /// `[P]` ∂ loss / ∂ policy_rejected.
    pub d_rejected: Vec<f64>,
}
