// There is no terminal in the sandbox: what is logged goes to the user as a message.

import { log } from "creamery:plugin/host@1.1.0";

// While the plugin is built there is no host that could be told.
let running = false;

const logger = (level) => (...values) => {
  if (running) log(level, values.map(String).join(" "));
};
globalThis.console ??= {
  debug: logger("debug"), log: logger("info"), info: logger("info"), warn: logger("warn"), error: logger("error"),
};

/** A call of the host has begun. */
export function start() {
  running = true;
}
