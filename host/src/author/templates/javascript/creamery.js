// What every plugin in JavaScript needs. You need not change this file.

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
