//! A ranker that breaks the contract in the way its parameter `mode` says. It expects two groups of two responses.

use creamery_plugin::{
    Dropped, Groups, Pair, PluginError, RankContext, Ranker, Ranking, Scores, Sources, export_plugin,
};

pub struct Hostile {
    mode: String,
}

impl Ranker for Hostile {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: serde_json::Value =
            serde_json::from_str(params).map_err(|e| PluginError::new(format!("bad parameters: {e}")))?;
        Ok(Hostile { mode: params["mode"].as_str().unwrap_or("good").to_owned() })
    }

    fn rank(&self, _: &RankContext, _: &Groups, scores: &Scores) -> Result<Ranking, PluginError> {
        let pair = |group, chosen, rejected| Pair { group, chosen, rejected, weight: 1.0 };
        let mut ranking =
            Ranking { ranks: vec![1; scores.scores.len()], pairs: vec![pair(0, 0, 1), pair(1, 2, 3)], dropped: vec![] };
        let drop = |index: u32, reason: &str| Dropped { index, reason: reason.to_owned() };
        match self.mode.as_str() {
            "same" => ranking.pairs[0] = pair(0, 1, 1),
            "other-group" => ranking.pairs[0] = pair(0, 0, 2),
            "no-such-response" => ranking.pairs[1] = pair(1, 2, 77),
            "no-such-group" => ranking.pairs[1] = pair(9, 2, 3),
            "forgotten" => ranking.pairs.truncate(1),
            "both" => ranking.dropped.push(drop(1, "because")),
            "no-reason" => {
                ranking.pairs.truncate(1);
                ranking.dropped.push(drop(1, " "));
            }
            "dropped-twice" => {
                ranking.pairs.clear();
                ranking.dropped = vec![drop(0, "a"), drop(0, "b"), drop(1, "c")];
            }
            "twice" => ranking.pairs.insert(1, pair(0, 0, 1)),
            "disorder" => ranking.pairs.reverse(),
            "nan-weight" => ranking.pairs[0].weight = f64::NAN,
            "zero-weight" => ranking.pairs[0].weight = 0.0,
            "few-ranks" => ranking.ranks.truncate(1),
            "high-rank" => ranking.ranks[3] = 3,
            "panic" => panic!("cannot rank"),
            _ => {}
        }
        Ok(ranking)
    }

    /// Pairs weigh by where their responses are from.
    fn rank_sources(
        &self,
        context: &RankContext,
        groups: &Groups,
        scores: &Scores,
        sources: &Sources,
    ) -> Result<Ranking, PluginError> {
        let mut ranking = self.rank(context, groups, scores)?;
        let weight = |r: u32| sources.names[sources.responses[r as usize] as usize].len() as f64;
        for pair in &mut ranking.pairs {
            pair.weight *= weight(pair.chosen) + 0.1 * weight(pair.rejected);
        }
        match self.mode.as_str() {
            "sources-error" => Err(PluginError::new("I rank only my own")),
            "sources-pair" => {
                ranking.pairs[0].rejected = ranking.pairs[0].chosen;
                Ok(ranking)
            }
            _ => Ok(ranking),
        }
    }
}

export_plugin! {
    kind: ranker,
    type: Hostile,
    name: "hostile-ranker",
    summary: "Breaks the contract.",
    schema: r#"{ "type": "object", "properties": { "mode": { "type": "string", "default": "good" } } }"#,
}
