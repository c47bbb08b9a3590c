//! Best of the current model against worst of another one.
//!
//! y⁺ = argmax of s over the responses of the model `chosen-from`, y⁻ = argmin of s over those of `rejected-from`, with
//! s the scores of viewpoint 0, the current model, for all of them.
//! Source: Temporal Self-Rewarding Language Models (arXiv 2508.06026), whose *anchored rejection* takes the rejected
//! response from a past model, so that chosen and rejected do not draw closer as the policy gets better. Its
//! *future-guided chosen* takes the chosen one from a model that was trained ahead: name that model's source in
//! `chosen-from`.
//!
//! Responses of other models are drawn with `[[sample.from]]`; they stand in the same groups, marked by
//! [`Sources`], and are judged alike.
//!
//! Worked example: the current model's responses score 1 and 3, those of M1 score 2 and 0. The pair is the response
//! with 3 over the one with 0. With `chosen-from = "all"` it is the same; were the scores of M1 4 and 0, it would be
//! the one with 4 over the one with 0.
//!
//! A pair needs a better chosen response: where the worst of the other model scores at least as much as the best of
//! the current one, the group is dropped. So it is where both models gave the same text.

use creamery_plugin::pairing::{Candidate, Extremes, Group, OnTie, Selection, rank};
use creamery_plugin::params::parse;
use creamery_plugin::{Groups, Pair, PluginError, RankContext, Ranker, Ranking, Scores, Sources};
use serde::Deserialize;

/// The ranker; [`Temporal::new`](Ranker::new) takes the parameters that `params.schema.json` describes.
pub struct Temporal {
    params: Params,
    extremes: Extremes,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Params {
    chosen_from: String,
    rejected_from: String,
    deduplicate: bool,
    on_tie: OnTie,
    min_margin: f64,
    require_complete: bool,
    length_control: f64,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            chosen_from: "current".into(),
            rejected_from: "M1".into(),
            deduplicate: true,
            on_tie: OnTie::First,
            min_margin: 0.0,
            require_complete: false,
            length_control: 0.0,
        }
    }
}

/// The name that stands for the responses of all models.
const ALL: &str = "all";

impl Ranker for Temporal {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: Params = parse(params)?;
        let Params { on_tie, min_margin, length_control, .. } = params;
        let extremes = Extremes { on_tie, min_margin, length_control };
        extremes.check()?;
        if params.chosen_from == params.rejected_from {
            let name = &params.chosen_from;
            return Err(PluginError::new(format!(
                "chosen-from and rejected-from are both \"{name}\": that is what the ranker best-worst does"
            )));
        }
        Ok(Temporal { params, extremes })
    }

    /// An error: without sources all responses are the current model's.
    fn rank(&self, _: &RankContext, _: &Groups, _: &Scores) -> Result<Ranking, PluginError> {
        let names = [&self.params.rejected_from, &self.params.chosen_from];
        let missing = names.into_iter().find(|name| *name != ALL && *name != "current");
        Err(missing_source(missing.map_or("M1", String::as_str), &["current".into()]))
    }

    fn rank_sources(
        &self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking, PluginError> {
        let total = groups.responses.len();
        if sources.responses.len() != total {
            let n = sources.responses.len();
            return Err(PluginError::new(format!("sources of {n} responses, but there are {total}")));
        }
        let chosen = number(&self.params.chosen_from, sources)?;
        let rejected = number(&self.params.rejected_from, sources)?;
        let from = |source: Option<u32>| move |r: usize| source.is_none_or(|s| sources.responses[r] == s);
        let Params { deduplicate, require_complete, .. } = self.params;
        rank(context, groups, scores, Selection { deduplicate, require_complete }, |group| {
            let best = group.candidates_among(from(chosen));
            let worst = group.candidates_among(from(rejected));
            self.pick(group, &best, &worst)
        })
    }
}

impl Temporal {
    fn pick(&self, group: &Group, best: &[Candidate], worst: &[Candidate]) -> Result<Vec<Pair>, String> {
        let Params { chosen_from, rejected_from, .. } = &self.params;
        for (name, candidates) in [(chosen_from, best), (rejected_from, worst)] {
            if candidates.is_empty() {
                return Err(format!("no scored response of \"{name}\""));
            }
        }
        let best = self.extremes.best(group, best)?;
        let worst = self.extremes.worst(group, worst)?;
        if best.score <= worst.score {
            return Err(format!("the worst of \"{rejected_from}\" is as good as the best of \"{chosen_from}\""));
        }
        self.extremes.margin(&best, &worst)?;
        Ok(vec![group.pair(&best, &worst, 1.0)])
    }
}

/// The number of a source; `None` for all of them.
fn number(name: &str, sources: &Sources) -> Result<Option<u32>, PluginError> {
    if name == ALL {
        return Ok(None);
    }
    let found = sources.names.iter().position(|n| n == name);
    found.map(|n| Some(n as u32)).ok_or_else(|| missing_source(name, &sources.names))
}

fn missing_source(name: &str, known: &[String]) -> PluginError {
    PluginError::new(format!(
        "there are no responses of \"{name}\", only of {}: add a [[sample.from]] with model = \"{name}\" to the config, \
         or name one of these in chosen-from and rejected-from",
        known.join(", ")
    ))
}

creamery_plugin::export_plugin! {
    kind: ranker,
    type: Temporal,
    name: "temporal",
    summary: "The best response of the current model against the worst of another one.",
    schema: include_str!("../params.schema.json"),
    features: ["needs-sources"],
}

#[cfg(test)]
mod tests;
