"""The rule, in plain Python: nothing in this file knows of Creamery, so it is tested like any other module."""

import math


def score(total, tokens, length_penalty):
    """The mean log-probability of a token, less the penalty for the length; or the reason why there is no score."""
    if tokens == 0:
        return "the response has no tokens"
    if not math.isfinite(total):
        return "the log-probability is not finite"
    return total / tokens - length_penalty * tokens
