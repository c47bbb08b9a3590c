// Between Creamery and the rule. The types are those of wit/deps/creamery-plugin/plugin.wit.

import { score } from "./rule.js";

let params = {};

export const judge = {
  configure(text) {
    params = JSON.parse(text);
  },

  step(context, groups, answers) {
    const responses = groups.responses.map((_, i) => i);
    if (answers.length === 0) {
      // The first step: ask the model that judges for the log-probabilities of all responses.
      return { tag: "ask", val: [{ tag: "response-logps", val: { slot: "judge", responses } }] };
    }
    const answer = answers[0][0];
    if (answer.tag === "failed") {
      return { tag: "scores", val: responses.map(() => ({ tag: "abstain", val: answer.val })) };
    }
    if (answer.tag !== "logps") throw new Error(`expected log-probabilities, found ${answer.tag}`);
    const found = answer.val.map((logp) => score(logp.sum, logp.tokens, params["length-penalty"]));
    return { tag: "scores", val: found.map((val) => ({ tag: typeof val === "string" ? "abstain" : "value", val })) };
  },
};
