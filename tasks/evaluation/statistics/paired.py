"""Two models on the same rows: is one of them better, by how much, and how many more rows would show it.

Both predict the same rows, so only the rows on which they differ count.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
#: Search range of a difference; at -1 and 1 it has no variance.
ENDS = (-1 + 1e-9, 1 - 1e-9)


@dataclass(frozen=True)
class Difference:
    """By how much a metric is higher for the new model than for the old, with an interval, over `rows` rows."""

    value: float
    low: float
    high: float
    #: Standard deviation of a row's part of the difference, whose standard error is this / √rows.
    spread: float
    rows: int


def fixed_and_broken(labels: np.ndarray, new: np.ndarray, old: np.ndarray) -> tuple[int, int]:
    """Rows that only the new model gets right, and rows that only the old one does; int[n], float[n, classes] twice."""
    after, before = new.argmax(axis=1) == labels, old.argmax(axis=1) == labels
    return int((after & ~before).sum()), int((before & ~after).sum())


def mcnemar(fixed: int, broken: int) -> float:
    """Probability of a split at least this uneven if both models are equally good: two-sided, exact.

    McNemar 1947, Psychometrika 12:153-157, https://doi.org/10.1007/BF02295996.
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    return float(test([[0, fixed], [broken, 0]], exact=True).pvalue)


def shares(fixed: int, broken: int, rows: int, level: float) -> Difference:
    """Difference of two shares of the same rows, such as accuracies, with Tango's score interval.

    Unlike a bootstrap interval, it does not shrink to zero if the models agree on all of a few rows. Tango 1998,
    Statistics in Medicine 17:891-908, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B
    (no installed library has it).
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    value, reach = (fixed - broken) / rows, norm.isf(level / 2)

    def score(delta: float) -> float:
        linear = -fixed - broken + (2 * rows - fixed + broken) * delta
        root = np.sqrt(linear**2 + 8 * rows * broken * delta * (1 - delta))
        variance = rows * (2 * (root - linear) / (4 * rows) + delta * (1 - delta))
        return float((fixed - broken - rows * delta) / np.sqrt(max(variance, 1e-300)))

    def end(side: float) -> float:
        low, high = (score(delta) - side * reach for delta in ENDS)
        return float(brentq(lambda delta: score(delta) - side * reach, *ENDS)) if low * high < 0 else -float(side)

    spread = float(np.sqrt((fixed + broken) / rows - value**2))
    return Difference(value, end(1), end(-1), spread, rows)


def bootstrap(
    labels: np.ndarray,
    new: np.ndarray,
    old: np.ndarray,
    metric: Callable[[np.ndarray, np.ndarray], float],
    level: float,
    seed: int,
) -> Difference:
    """Difference of any metric of int[n] labels and float[n, classes] probabilities, rows drawn within each class.

    The same rows are drawn for both models. Percentile interval: Efron and Tibshirani, An Introduction to the
    Bootstrap (1993), chapter 13.
    """
    from scipy.stats import bootstrap as resampled

    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    # SciPy cannot resample a class of a single row; that row is always included.
    several, single = [g for g in groups if len(g) > 1], [g for g in groups if len(g) == 1]

    def difference(*drawn: np.ndarray) -> float:
        rows = np.concatenate([*drawn, *single])
        return metric(labels[rows], new[rows]) - metric(labels[rows], old[rows])

    found = resampled(
        several,
        difference,
        vectorized=False,
        n_resamples=RESAMPLES,
        confidence_level=1 - level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = found.confidence_interval
    spread = float(found.standard_error * np.sqrt(len(labels)))
    return Difference(difference(*several), float(low), float(high), spread, len(labels))


def more_rows(found: Difference, target: float, level: float, power: float) -> int | None:
    """Additional rows needed to distinguish the difference from `target` with probability `power`.

    Assumes that the difference stays the same; normal approximation. None if it equals the target, or if no row differs
    yet. At least 1: an undecided comparison needs more rows.
    """
    from statsmodels.stats.power import NormalIndPower

    effect = abs(found.value - target)
    if not effect or not found.spread:
        return None
    # ratio=0 makes it a test of one mean.
    rows = NormalIndPower().solve_power(effect / found.spread, alpha=level, power=power, ratio=0)
    return max(1, int(np.ceil(rows)) - found.rows)
