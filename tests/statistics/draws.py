"""Labels and answers drawn with known properties, alone or in groups whose rows are alike.

`each`: rows of a group, or a name of `UNEQUAL`, whose rows must be as many; `alike`: correlation within groups of the
normal variables that decide, 0 to 1. Groups are int[n], and None where each row is drawn alone.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import softmax
from scipy.stats import norm

#: Sizes of groups that are unequal or few.
UNEQUAL = {
    "60 lognormal groups": np.random.default_rng(0).lognormal(2.2, 1.2, 60).astype(int) + 1,
    "one group of 300, 49 of 4": np.repeat([300, 4], [1, 49]),
    "8 groups of 40": np.repeat(40, 8),
}

Each = int | str
Answers = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def normal(random: np.random.Generator, shape: tuple[int, ...], each: Each = 1, alike: float = 0.0) -> np.ndarray:
    """Standard normal variables, correlated within groups along the first axis."""
    groups = _of(shape[0], each)
    shared = random.normal(size=(groups[-1] + 1, *shape[1:]))[groups]
    return np.sqrt(alike) * shared + np.sqrt(1 - alike) * random.normal(size=shape)


def in_groups(rows: int, each: Each) -> np.ndarray | None:
    """The groups of the rows."""
    return None if each == 1 else _of(rows, each)


def _of(rows: int, each: Each) -> np.ndarray:
    return np.arange(rows) // each if isinstance(each, int) else np.repeat(np.arange(len(UNEQUAL[each])), UNEQUAL[each])


def classified(
    seed: int, shares: list[float], recalls: list[float], rows: int, each: Each = 1, alike: float = 0.0
) -> Answers:
    """Labels of classes with given shares, and answers that are right in a share `recalls` of each class.

    The probability of the answer says how sure it is: right answers tend to be surer.
    """
    random, classes = np.random.default_rng(seed), len(shares)
    labels = random.choice(classes, rows, p=shares)
    right = normal(random, (rows,), each, alike) < norm.ppf(recalls)[labels]
    said = np.where(right, labels, (labels + random.integers(1, classes, rows)) % classes)
    sure = 1 + right + random.random(rows)
    return labels, softmax(np.eye(classes)[said] * sure[:, None], axis=1), in_groups(rows, each)


def soft(
    seed: int, rows: int, classes: int, wide: float = 2.0, sure: float = 1.0, each: Each = 1, alike: float = 0.0
) -> Answers:
    """Labels drawn from probabilities with logits as `wide`, and the probabilities with logits `sure` times as large.

    With `sure` 1 they are calibrated.
    """
    random = np.random.default_rng(seed)
    logits = wide * normal(random, (rows, classes), each, alike)
    luck = norm.cdf(normal(random, (rows, 1), each, alike))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < luck).sum(axis=1).clip(0, classes - 1)
    return labels, softmax(logits * sure, axis=1), in_groups(rows, each)


def share(of: Callable[[int], bool], seed: int, runs: int) -> tuple[float, float]:
    """The share of runs, each with a seed of its own, in which something is so, and its standard error."""
    found = np.array([of(seed * runs + run) for run in range(runs)], float)
    return float(found.mean()), float(max(found.std(), 1 / runs) / np.sqrt(runs))


def noise(random: np.random.Generator, rows: int, of: np.ndarray | None, alike: float = 0.1) -> np.ndarray:
    """Standard normal variables, float64[n], with the correlation `alike` within the groups `of`."""
    if of is None:
        return random.normal(size=rows)
    return np.sqrt(alike) * random.normal(size=of.max() + 1)[of] + np.sqrt(1 - alike) * random.normal(size=rows)


def binary(labels: np.ndarray, of_label: np.ndarray) -> np.ndarray:
    """Probabilities of two classes, float64[n, 2], from that of the label, float64[n]."""
    return np.where(np.eye(2)[labels] == 1, of_label[:, None], 1 - of_label[:, None])
