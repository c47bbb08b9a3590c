// What the functions of a plugin must give, and the wrapping that holds them to it. Without it a value of another shape
// ends the call in a trap that says nothing, or becomes another value on its way.
//
// A shape is a function from a value to nothing, or to what is wrong: [place within the value, what was expected, what
// was found]. Nothing is allocated for values that are right.

import { shown, start } from "./console.js";

const found = (value) => {
  if (typeof value === "string") {
    if (!value.isWellFormed()) return "a text with half of a surrogate pair (cut it with Array.from, not with slice)";
    return JSON.stringify(value.length > 40 ? `${Array.from(value).slice(0, 40).join("")}…` : value);
  }
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name} (Array.from makes a list of it)`;
  if (value instanceof Promise) return "a promise (no function of the contract is async)";
  if (value !== null && typeof value === "object") {
    const keys = Object.keys(value);
    return `an object with ${keys.slice(0, 8).join(", ") || "no fields"}${keys.length > 8 ? " and more" : ""}`;
  }
  return typeof value === "function" ? "a function" : String(value);
};

const is = (right, expected) => (value) => (right(value) ? undefined : ["", expected, found(value)]);
const whole = (most) => (value) =>
  Number.isInteger(value)
    ? value >= 0 && value <= most
    : typeof value === "bigint" && most > 0xffffffff && value >= 0n && value < 1n << 64n;

const number = is((value) => typeof value === "number", "a number");
const text = is((value) => typeof value === "string" && value.isWellFormed(), "a text");
const count = is(whole(0xffffffff), "a whole number from 0 to 4294967295");
const long = is(whole(Number.MAX_SAFE_INTEGER), "a whole number");

const list = (item) => (value) => {
  if (!Array.isArray(value)) return ["", "a list", found(value)];
  for (let i = 0; i < value.length; i++) {
    const wrong = item(value[i]);
    if (wrong) return [`[${i}]${wrong[0]}`, wrong[1], wrong[2]];
  }
};

const record = (fields) => {
  const names = Object.keys(fields);
  return (value) => {
    if (value === null || typeof value !== "object" || Array.isArray(value) || value instanceof Promise) {
      return ["", `an object with ${names.join(", ")}`, found(value)];
    }
    for (const name of names) {
      const wrong = fields[name](value[name]);
      if (!wrong) continue;
      // A misspelt field is both missing and too much.
      const other = Object.keys(value).filter((key) => !names.includes(key));
      const hint = value[name] === undefined && other.length > 0 ? `, beside ${other.join(", ")}` : "";
      return [`.${name}${wrong[0]}`, wrong[1], wrong[2] + hint];
    }
  };
};

const variant = (cases) => (value) => {
  const tags = Object.keys(cases).map((tag) => JSON.stringify(tag)).join(" or ");
  if (value === null || typeof value !== "object" || value instanceof Promise) {
    return ["", `an object with tag and val, the tag ${tags}`, found(value)];
  }
  const inner = Object.hasOwn(cases, value.tag) ? cases[value.tag] : undefined;
  if (!inner) return [".tag", tags, found(value.tag)];
  const wrong = inner(value.val);
  if (wrong) return [`.val${wrong[0]}`, wrong[1], wrong[2]];
};

const option = (shape) => (value) => (value === null || value === undefined ? undefined : shape(value));

const message = record({ role: text, content: text });
const pair = record({ group: count, chosen: count, rejected: count, weight: number });
const dropped = record({ index: count, reason: text });
const metric = record({ name: text, value: number });

const query = variant({
  "response-logps": record({ slot: text, responses: list(count) }),
  "text-logp": record({ slot: text, messages: list(message), continuation: text }),
  generate: record({
    slot: text, messages: list(message), count, maxNewTokens: count, temperature: number, topP: number,
  }),
  choose: record({ slot: text, messages: list(message), labels: list(text) }),
});
const report = record({
  measures: list(record({ name: text, sum: number, count: long })),
  pairs: list(record({ step: count, query: count, chosen: count, rejected: count, weight: number })),
});
const ranking = record({ ranks: list(count), pairs: list(pair), dropped: list(dropped) });
const labels = record({
  consistency: list(number), weights: list(number), dropped: list(dropped), metrics: list(metric),
});
const objective = record({ loss: list(number), dChosen: list(number), dRejected: list(number) });
const nothing = is((value) => !(value instanceof Promise), "nothing");

/** Each interface that a plugin may export, with what its functions give. */
const interfaces = {
  judge: { configure: nothing, step: variant({ ask: list(query), scores: list(variant({ value: number, abstain: text })) }) },
  judgeReport: { makeReport: report },
  ranker: { configure: nothing, rank: ranking },
  rankerSources: { rankSources: ranking },
  rankerNumbers: { rankNumbers: option(ranking) },
  regularizer: { configure: nothing, label: labels, objective },
  regularizerColumns: {
    columns: list(record({ name: text, values: list(number) })), objectiveColumns: objective,
  },
};

/** An exception becomes the plugin's error, with its place; without this it would end the call without a word. */
const said = (e) => {
  if (typeof e === "string") return e.toWellFormed();
  const place = shown(e?.stack ?? "").trim().split("\n")[0].trim();
  return `${shown(e)}${place ? ` (${place})` : ""}`;
};

/** The interface that the plugin exports under this name, held to the contract. Fails while the plugin is built if it has
 * no such interface, or one that lacks a function. */
export function held(plugin, name) {
  const shapes = interfaces[name];
  const functions = plugin[name];
  const wanted = Object.keys(shapes);
  const lacking = wanted.filter((f) => typeof functions?.[f] !== "function");
  if (lacking.length > 0) {
    const exported = Object.keys(plugin).join(", ") || "nothing";
    const what = functions === undefined ? `exports no ${name} (only ${exported})` : `has no function ${lacking.join(", ")} in ${name}`;
    throw new TypeError(`plugin.js ${what}: expected \`export const ${name} = { ${wanted.join(", ")} }\``);
  }
  return Object.fromEntries(wanted.map((f) => [f, (...args) => {
    start();
    let value, wrong;
    try {
      value = functions[f](...args);
      wrong = shapes[f](value);
    } catch (e) {
      throw said(e);
    }
    if (wrong) {
      const place = `its result${wrong[0]} is ${wrong[2]}, expected ${wrong[1]}`;
      throw `${f} of plugin.js gives another shape than the contract's: ${place}`.toWellFormed();
    }
    return value;
  }]));
}
