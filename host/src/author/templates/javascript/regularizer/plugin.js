// Between Creamery and the rule. The types are those of wit/deps/creamery-plugin/plugin.wit.

import { consistency } from "./rule.js";

let params = {};

export const regularizer = {
  configure(text) {
    params = JSON.parse(text);
  },

  label(records) {
    const { groups, scores, pairs } = records;
    if (scores.viewpoints.length < 2) {
      throw new Error("expected scores of two viewpoints, the current and the previous model");
    }
    const total = groups.responses.length;
    const values = scores.scores.map((s) => (s.tag === "value" ? s.val : null));
    const labels = pairs.map(({ group }) => {
      const [first, end] = [groups.responseOffsets[group], groups.responseOffsets[group + 1]];
      return consistency(values.slice(first, end), values.slice(total + first, total + end), params.lowest);
    });
    const mean = labels.reduce((a, b) => a + b, 0) / labels.length;
    return {
      consistency: labels,
      weights: labels.map(() => 1),
      dropped: [],
      metrics: labels.length > 0 ? [{ name: "consistency", value: mean }] : [],
    };
  },

  objective(batch) {
    // "c-mix" among the features of plugin.toml: the host has this loss itself. For a loss of your own remove it there,
    // and give back the loss of each pair and its derivatives by the two policy log-probabilities.
    throw new Error("the C-mix is computed by the host");
  },
};
