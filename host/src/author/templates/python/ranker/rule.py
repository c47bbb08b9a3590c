"""The rule, in plain Python: nothing in this file knows of Creamery, so it is tested like any other module."""


def ranks(values):
    """Ranks from 1, the best; equal scores share the smaller rank; 0 where there is no score (None)."""
    known = [v for v in values if v is not None]
    return [0 if v is None else 1 + sum(w > v for w in known) for v in values]


def pick(values, min_margin):
    """(best, worst) as places in the list, the first ones among equals; or the reason why there is no pair."""
    known = [i for i, v in enumerate(values) if v is not None]
    if len(known) < 2:
        return "fewer than two scored responses"
    best, worst = max(known, key=lambda i: values[i]), min(known, key=lambda i: values[i])
    if values[best] == values[worst]:
        return "all scores tie"
    if values[best] - values[worst] < min_margin:
        return "the margin is below min-margin"
    return best, worst
