//! A ranker that breaks the contract in the way its parameter `mode` says. It expects two groups of two responses.

use std::sync::atomic::{AtomicBool, Ordering};

use creamery_plugin::{
    Dropped, Groups, NumbersView, Pair, PluginError, RankContext, Ranker, Ranking, Scores, Sources, export_plugin,
};

pub struct Hostile {
    mode: String,
    asked: AtomicBool,
}

impl Ranker for Hostile {
    fn new(params: &str) -> Result<Self, PluginError> {
        let params: serde_json::Value =
            serde_json::from_str(params).map_err(|e| PluginError::new(format!("bad parameters: {e}")))?;
        let mode = params["mode"].as_str().unwrap_or("good").to_owned();
        Ok(Hostile { mode, asked: AtomicBool::new(false) })
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

    /// Pairs weigh by all the numbers of their responses.
    fn rank_numbers(&self, context: &RankContext, numbers: NumbersView<'_>) -> Result<Option<Ranking>, PluginError> {
        if self.asked.swap(true, Ordering::Relaxed) && self.mode == "numbers-none" {
            return Err(PluginError::new("I said that I need texts"));
        }
        if !self.mode.starts_with("numbers") || self.mode == "numbers-none" {
            return Ok(None);
        }
        let total = numbers.tokens.len();
        let weight = |r: usize| {
            let scores = numbers.scores.iter().skip(r).step_by(total).map(|s| if s.is_nan() { 0.375 } else { *s });
            let whole = numbers.tokens[r] + 1000 * u32::from(numbers.cut_off[r]) + 100 * numbers.first[r];
            f64::from(whole) + scores.enumerate().map(|(v, s)| s / (v + 2) as f64).sum::<f64>()
        };
        let pair = |g: usize| {
            let range = numbers.response_range(g);
            let (chosen, rejected) = (range.start, range.start + 1);
            let weight = 1.0 + context.seed as f64 + weight(chosen) + 0.01 * weight(rejected);
            Pair { group: g as u32, chosen: chosen as u32, rejected: rejected as u32, weight }
        };
        let pairs = (0..numbers.len()).map(pair).collect();
        let mut ranking = Ranking { ranks: vec![1; numbers.scores.len()], pairs, dropped: vec![] };
        match self.mode.as_str() {
            "numbers-error" => return Err(PluginError::new("I do not count")),
            "numbers-panic" => panic!("cannot count"),
            "numbers-pair" => ranking.pairs[0].rejected = ranking.pairs[0].chosen,
            _ => {}
        }
        Ok(Some(ranking))
    }
}

export_plugin! {
    kind: ranker,
    type: Hostile,
    name: "hostile-ranker",
    summary: "Breaks the contract.",
    schema: r#"{ "type": "object", "properties": { "mode": { "type": "string", "default": "good" } } }"#,
}
