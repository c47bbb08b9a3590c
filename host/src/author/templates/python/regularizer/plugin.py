"""Between Creamery and the rule. The types are those of wit/deps/creamery-plugin/plugin.wit."""

import json

import rule
from wit_world import exports
from wit_world.exports.regularizer import Labels, ObjectiveBatch, ObjectiveValue, Records
from wit_world.imports.types import Metric, Score_Value

PARAMS = {}


class Regularizer(exports.Regularizer):
    def configure(self, params: str) -> None:
        PARAMS.update(json.loads(params))

    def label(self, records: Records) -> Labels:
        groups, scores = records.groups, records.scores
        total, offsets = len(groups.responses), groups.response_offsets
        if len(scores.viewpoints) < 2:
            raise ValueError("expected scores of two viewpoints, the current and the previous model")
        values = [s.value if isinstance(s, Score_Value) else None for s in scores.scores]
        labels = []
        for pair in records.pairs:
            first, end = offsets[pair.group], offsets[pair.group + 1]
            current, previous = values[first:end], values[total + first : total + end]
            labels.append(rule.consistency(current, previous, PARAMS["lowest"]))
        metrics = [Metric(name="consistency", value=sum(labels) / len(labels))] if labels else []
        return Labels(consistency=labels, weights=[1.0] * len(labels), dropped=[], metrics=metrics)

    def objective(self, batch: ObjectiveBatch) -> ObjectiveValue:
        # "c-mix" among the features of plugin.toml: the host has this loss itself. For a loss of your own remove it
        # there, and give back the loss of each pair and its derivatives by the two policy log-probabilities.
        raise NotImplementedError("the C-mix is computed by the host")
