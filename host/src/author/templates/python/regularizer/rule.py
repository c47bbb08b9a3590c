"""The rule, in plain Python: nothing in this file knows of Creamery, so it is tested like any other module."""

import math


def sign(x):
    return (x > 0) - (x < 0)


def tau(a, b):
    """Kendall's tau-b of two score lists; None where it is undefined: a list in which all scores tie."""
    difference = untied_a = untied_b = 0
    for i in range(len(a)):
        for j in range(i):
            x, y = sign(a[i] - a[j]), sign(b[i] - b[j])
            difference += x * y
            untied_a += abs(x)
            untied_b += abs(y)
    scale = math.sqrt(float(untied_a) * float(untied_b))
    return max(-1.0, min(1.0, difference / scale)) if scale > 0 else None


def consistency(current, previous, lowest):
    """C of a group, from the scores of two viewpoints (None: no score). 0.5 where their agreement is undefined."""
    both = [(x, y) for x, y in zip(current, previous) if x is not None and y is not None]
    t = tau([x for x, _ in both], [y for _, y in both])
    return max(lowest, 0.5 if t is None else (t + 1) / 2)
