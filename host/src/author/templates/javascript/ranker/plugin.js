// Between Creamery and the rule. The types are those of wit/deps/creamery-plugin/plugin.wit.

import { pick, ranks } from "./rule.js";

let params = {};

export const ranker = {
  configure(text) {
    params = JSON.parse(text);
  },

  rank(context, groups, scores) {
    const total = groups.responses.length;
    const offsets = groups.responseOffsets;
    const values = scores.scores.map((s) => (s.tag === "value" ? s.val : null));
    const result = { ranks: [], pairs: [], dropped: [] };
    for (let v = 0; v < scores.viewpoints.length; v++) {
      for (let group = 0; group < groups.ids.length; group++) {
        const of = values.slice(v * total + offsets[group], v * total + offsets[group + 1]);
        for (const rank of ranks(of)) result.ranks.push(rank);
      }
    }
    for (let group = 0; group < groups.ids.length; group++) {
      const first = offsets[group];
      // Viewpoint 0 is the current model.
      const found = pick(values.slice(first, offsets[group + 1]), params["min-margin"]);
      if (typeof found === "string") result.dropped.push({ index: group, reason: found });
      else result.pairs.push({ group, chosen: first + found.best, rejected: first + found.worst, weight: 1 });
    }
    return result;
  },
};
