// There is no terminal in the sandbox: what is logged goes to the user as a message.

import { log } from "creamery:plugin/host@1.1.0";

// While the plugin is built there is no host that could be told.
let running = false;

/** A value in words, whatever it is: this never throws. */
export function shown(value) {
  try {
    const plain = value === null || typeof value !== "object" || value instanceof Error;
    const text = plain ? String(value) : JSON.stringify(value) ?? String(value);
    // Half of a pair of surrogates is no text.
    return text.toWellFormed();
  } catch {
    return `a value of the type ${typeof value}`;
  }
}

const logger = (level) => (...values) => {
  if (running) log(level, values.map(shown).join(" "));
};
globalThis.console ??= {
  debug: logger("debug"), log: logger("info"), info: logger("info"), warn: logger("warn"), error: logger("error"),
};

/** A call of the host has begun. */
export function start() {
  running = true;
}
