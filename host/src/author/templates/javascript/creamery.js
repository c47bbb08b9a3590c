// What every plugin in JavaScript needs. You need not change this file.

import { log } from "creamery:plugin/host@1.1.0";

/** There is no terminal in the sandbox: what is logged goes to the user as a message. */
const logger = (level) => (...values) => log(level, values.map(String).join(" "));
globalThis.console ??= {
  debug: logger("debug"), log: logger("info"), info: logger("info"), warn: logger("warn"), error: logger("error"),
};

/** An exception becomes the plugin's error, with its place; without this it would end the call without a word. */
export function answering(functions) {
  const guarded = (call) => (...args) => {
    try {
      return call(...args);
    } catch (e) {
      const place = String(e?.stack ?? "").trim().split("\n")[0].trim();
      throw `${e}${place ? ` (${place})` : ""}`;
    }
  };
  return Object.fromEntries(Object.entries(functions).map(([name, call]) => [name, guarded(call)]));
}
