"""Between Creamery and the rule. The types are those of wit/deps/creamery-plugin/plugin.wit."""

import json

import rule
from wit_world import exports
from wit_world.exports.judge import (
    Answer,
    Answer_Failed,
    Answer_Logps,
    JudgeContext,
    NextStep,
    NextStep_Ask,
    NextStep_Scores,
    Query_ResponseLogps,
    ResponseLogps,
)
from wit_world.imports.types import Groups, Score_Abstain, Score_Value

PARAMS = {}


class Judge(exports.Judge):
    def configure(self, params: str) -> None:
        PARAMS.update(json.loads(params))

    def step(self, context: JudgeContext, groups: Groups, answers: list[list[Answer]]) -> NextStep:
        count = len(groups.responses)
        if not answers:  # the first step: ask the model that judges for the log-probabilities of all responses
            return NextStep_Ask([Query_ResponseLogps(ResponseLogps(slot="judge", responses=list(range(count))))])
        answer = answers[0][0]
        if isinstance(answer, Answer_Failed):
            return NextStep_Scores([Score_Abstain(answer.value)] * count)
        if not isinstance(answer, Answer_Logps):
            raise ValueError(f"expected log-probabilities, found {type(answer).__name__}")
        found = [rule.score(logp.sum, logp.tokens, PARAMS["length-penalty"]) for logp in answer.value]
        return NextStep_Scores([Score_Abstain(f) if isinstance(f, str) else Score_Value(f) for f in found])
