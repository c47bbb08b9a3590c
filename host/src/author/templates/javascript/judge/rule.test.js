// node --test

import assert from "node:assert/strict";
import { test } from "node:test";

import { score } from "./rule.js";

test("scores", () => {
  assert.equal(score(-6, 4, 0), -1.5);
  assert.equal(score(-6, 4, 0.25), -2.5);
});

test("abstentions", () => {
  assert.equal(score(0, 0, 0), "the response has no tokens");
  assert.equal(score(-Infinity, 4, 0), "the log-probability is not finite");
});
