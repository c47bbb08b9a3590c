// The rule, in plain JavaScript: nothing in this file knows of Creamery, so it is tested like any other module.

/** The mean log-probability of a token, less the penalty for the length; or the reason why there is no score. */
export function score(total, tokens, lengthPenalty) {
  if (tokens === 0) return "the response has no tokens";
  if (!Number.isFinite(total)) return "the log-probability is not finite";
  return total / tokens - lengthPenalty * tokens;
}
