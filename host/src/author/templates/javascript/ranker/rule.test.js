// node --test

import assert from "node:assert/strict";
import { test } from "node:test";

import { pick, ranks } from "./rule.js";

test("ranks", () => {
  assert.deepEqual(ranks([0.3, 1.2, null, 1.2, -0.5]), [3, 1, 0, 1, 4]);
  assert.deepEqual(ranks([]), []);
});

test("pairs", () => {
  assert.deepEqual(pick([0.3, 1.2, null, 1.2, -0.5], 0), { best: 1, worst: 4 });
  assert.equal(pick([1, null], 0), "fewer than two scored responses");
  assert.equal(pick([1, 1], 0), "all scores tie");
  assert.equal(pick([1, 1.5], 1), "the margin is below min-margin");
});
