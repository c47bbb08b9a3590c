"""Between Creamery and the rule. The types are those of wit/deps/creamery-plugin/plugin.wit."""

import json

import rule
from wit_world import exports
from wit_world.exports.ranker import RankContext, Ranking
from wit_world.imports.types import Dropped, Groups, Pair, Score_Value, Scores

PARAMS = {}


class Ranker(exports.Ranker):
    def configure(self, params: str) -> None:
        PARAMS.update(json.loads(params))

    def rank(self, context: RankContext, groups: Groups, scores: Scores) -> Ranking:
        total, offsets = len(groups.responses), groups.response_offsets
        values = [s.value if isinstance(s, Score_Value) else None for s in scores.scores]
        ranks, pairs, dropped = [], [], []
        for start in range(0, len(values), total or 1):  # viewpoint by viewpoint
            for first, end in zip(offsets, offsets[1:]):
                ranks += rule.ranks(values[start + first : start + end])
        for group, (first, end) in enumerate(zip(offsets, offsets[1:])):
            found = rule.pick(values[first:end], PARAMS["min-margin"])  # viewpoint 0 is the current model
            if isinstance(found, str):
                dropped.append(Dropped(index=group, reason=found))
            else:
                best, worst = found
                pairs.append(Pair(group=group, chosen=first + best, rejected=first + worst, weight=1.0))
        return Ranking(ranks=ranks, pairs=pairs, dropped=dropped)
