//! Rankers as the host calls them.

use crate::contract;
use crate::numbers::Numbers;
use crate::traits::Ranker;
use crate::types::*;

/// What a ranker makes of groups and scores, with texts and, where it can do without, from numbers alone. An error if
/// the two differ, or break the [`contract`](crate::contract).
pub fn rank<R: Ranker>(
    ranker: &R,
    context: &RankContext,
    groups: &Groups,
    scores: &Scores,
) -> Result<Ranking, PluginError> {
    let ranking = ranker.rank(context, groups, scores)?;
    contract::ranking(&ranking, groups, scores).map_err(PluginError::new)?;
    match ranker.rank_numbers(context, Numbers::of(groups, scores).view())? {
        Some(other) if other != ranking => {
            Err(PluginError::new(format!("`rank` gives {ranking:?}, but `rank_numbers` gives {other:?}")))
        }
        _ => Ok(ranking),
    }
}
