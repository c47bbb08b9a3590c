//! Token-exact log-probabilities of responses.
//!
//! The prompt of a group is computed once for all its responses. A response's numbers have the same bits whatever
//! else is scored with it, and whatever the number of threads.

use crate::error::{Error, Result};
use crate::model::{Batch, Decoder, Group, ops};

/// A prompt and its responses, as token ids.
#[derive(Clone, Debug)]
pub struct ScoreGroup<'a> {
    pub prompt: &'a [u32],
    pub responses: Vec<&'a [u32]>,
}

/// Rows of a batch: enough for wide products, few enough for the caches.
const ROWS: usize = 2048;

/// The log-probability of each token of each response of each group, at temperature 1. An empty response has none.
///
/// # Errors
/// An empty prompt, a token outside the vocabulary or a row longer than the model takes; the message names the group
/// and the response, counted from 0.
pub fn group_logps(model: &Decoder, groups: &[ScoreGroup]) -> Result<Vec<Vec<Vec<f32>>>> {
    let groups: Vec<Group> =
        groups.iter().map(|g| Group { prompt: g.prompt, responses: g.responses.clone() }).collect();
    for (i, group) in groups.iter().enumerate() {
        check(model, group).map_err(|what| Error::input(format!("group {i}, {what}")))?;
    }
    // Groups of like size together, so that threads end together; results do not depend on it.
    let mut scores = Vec::with_capacity(groups.len());
    for batch in batches(&groups, ROWS) {
        let batch = Batch::new(&groups[batch]);
        let logps = ops::within_pool(|| model.logps(&batch))?;
        scores.extend(batch.sequences.iter().map(|range| logps[range.clone()].to_vec()));
    }
    let mut scores = scores.into_iter();
    Ok(groups.iter().map(|g| scores.by_ref().take(g.responses.len()).collect()).collect())
}

/// What is wrong with a group, if anything: what [`group_logps`] would refuse.
pub(crate) fn check_group(model: &Decoder, group: &ScoreGroup) -> Result<(), String> {
    check(model, &Group { prompt: group.prompt, responses: group.responses.clone() })
}

/// What is wrong with a group, if anything.
pub(crate) fn check(model: &Decoder, group: &Group) -> Result<(), String> {
    model.check_ids(group.prompt).map_err(|what| format!("prompt: {what}"))?;
    for (j, response) in group.responses.iter().enumerate().filter(|(_, r)| !r.is_empty()) {
        let limit = model.max_positions();
        let tokens = group.prompt.len() + response.len();
        if tokens > limit {
            return Err(format!(
                "response {j}: with its prompt it has {tokens} tokens, the model takes at most {limit}"
            ));
        }
        model.check_ids(response).map_err(|what| format!("response {j}: {what}"))?;
    }
    Ok(())
}

/// Runs of groups of at most `rows` rows together; a larger group is a run of its own.
pub(crate) fn batches(groups: &[Group], rows: usize) -> Vec<std::ops::Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut sum) = (0, 0);
    for (i, group) in groups.iter().enumerate() {
        if i > start && sum + group.rows() > rows {
            runs.push(start..i);
            (start, sum) = (i, 0);
        }
        sum += group.rows();
    }
    if start < groups.len() {
        runs.push(start..groups.len());
    }
    runs
}
