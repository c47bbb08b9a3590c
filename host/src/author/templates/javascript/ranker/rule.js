// The rule, in plain JavaScript: nothing in this file knows of Creamery, so it is tested like any other module.

/** Ranks from 1, the best; equal scores share the smaller rank; 0 where there is no score (null). */
export function ranks(values) {
  return values.map((v) => (v === null ? 0 : 1 + values.filter((w) => w !== null && w > v).length));
}

/** { best, worst } as places in the list, the first ones among equals; or the reason why there is no pair. */
export function pick(values, minMargin) {
  const known = values.map((_, i) => i).filter((i) => values[i] !== null);
  if (known.length < 2) return "fewer than two scored responses";
  const best = known.reduce((a, b) => (values[b] > values[a] ? b : a));
  const worst = known.reduce((a, b) => (values[b] < values[a] ? b : a));
  if (values[best] === values[worst]) return "all scores tie";
  if (values[best] - values[worst] < minMargin) return "the margin is below min-margin";
  return { best, worst };
}
