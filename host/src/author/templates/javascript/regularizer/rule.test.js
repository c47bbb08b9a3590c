// node --test

import assert from "node:assert/strict";
import { test } from "node:test";

import { consistency, tau } from "./rule.js";

test("tau", () => {
  // One of ten pairs is discordant.
  assert.equal(tau([5, 4, 3, 2, 1], [4, 5, 3, 2, 1]), 0.8);
  assert.equal(tau([1, 2], [5, 5]), null);
  assert.equal(tau([], []), null);
});

test("consistency", () => {
  assert.equal(consistency([5, 4, 3, 2, 1], [4, 5, 3, 2, 1], 0), 0.9);
  assert.equal(consistency([1, 2, null], [2, 1, 5], 0.25), 0.25);
  assert.equal(consistency([1, null], [null, 2], 0), 0.5);
});
