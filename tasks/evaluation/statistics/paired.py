"""Two models on the same rows: is one of them better, by how much, and how many more rows would show it.

Both predict the same rows, so only the rows on which they differ count. `groups` are those of `clusters`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.evaluation.statistics import clusters
from tasks.evaluation.statistics.bootstrap import losses

RESAMPLES = 2000
#: Search range of a difference; at -1 and 1 it has no variance.
ENDS = (-1 + 1e-9, 1 - 1e-9)
#: More rows than this are no useful answer.
MOST = 10**8


@dataclass(frozen=True)
class Difference:
    """By how much a metric is higher for the new model than for the old, with an interval, over `rows` rows."""

    value: float
    low: float
    high: float
    #: Standard deviation of an independent row's part of the difference, whose standard error is this / √effective.
    spread: float
    rows: int
    #: How many of the rows' groups are independent, and how many independent rows tell as much as these.
    units: int
    effective: float
    #: Of a difference of shares: the shares of rows that only the new model, and only the old one, gets right.
    split: tuple[float, float] | None = None

    def spread_at(self, target: float) -> float:
        """The spread that the interval has at `target`: Tango's for shares, else the same everywhere."""
        return self.spread if self.split is None else float(np.sqrt(_variance(*self.split, target)))

    @property
    def turned(self) -> Difference:
        """For a metric of which less is better: more means that the new model is better."""
        return replace(self, value=-self.value, low=-self.high, high=-self.low)


def gains(labels: np.ndarray, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """1 for rows that only the new model gets right, -1 for those that only the old one does, else 0: float64[n].

    `labels`: int[n]; `new`, `old`: float[n, classes].
    """
    return (new.argmax(axis=1) == labels).astype(np.float64) - (old.argmax(axis=1) == labels)


def p_value(gains: np.ndarray, groups: np.ndarray | None, seed: int) -> float:
    """Probability of gains that are at least this uneven if both models are equally good: two-sided.

    Of rows without groups McNemar's exact test (1947, Psychometrika 12:153-157, https://doi.org/10.1007/BF02295996),
    else `clusters.sign_flips`.
    """
    if clusters.number(groups, len(gains)) < len(gains):
        return clusters.sign_flips(gains, groups, seed)
    from statsmodels.stats.contingency_tables import mcnemar

    fixed, broken = int((gains > 0).sum()), int((gains < 0).sum())
    return float(mcnemar([[0, fixed], [broken, 0]], exact=True).pvalue)


def shares(gains: np.ndarray, level: float, groups: np.ndarray | None = None) -> Difference:
    """Difference of two shares of the same rows, such as accuracies, of `gains`, with Tango's score interval.

    Unlike a bootstrap interval, it does not shrink to zero if the models agree on all of a few rows. Tango 1998,
    Statistics in Medicine 17:891-908, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B
    (no installed library has it); with groups for the effective number of rows (Rao and Scott 1992, see `clusters`).
    """
    from scipy.optimize import brentq

    rows, units = len(gains), clusters.number(groups, len(gains))
    effective, reach = clusters.effective(gains, groups), clusters.reach(level, gains, groups)
    fixed, broken = (float((sign * gains > 0).mean()) for sign in (1, -1))

    def score(delta: float) -> float:
        variance = effective * _variance(fixed, broken, delta)
        return float(effective * (fixed - broken - delta) / np.sqrt(max(variance, 1e-300)))

    def end(side: float) -> float:
        low, high = (score(delta) - side * reach for delta in ENDS)
        return float(brentq(lambda delta: score(delta) - side * reach, *ENDS)) if low * high < 0 else -float(side)

    # Where no row differs yet, half a row of each kind might.
    likely = (fixed, broken) if fixed + broken else (0.5 / effective, 0.5 / effective)
    spread = float(np.sqrt(sum(likely) - (fixed - broken) ** 2))
    return Difference(fixed - broken, end(1), end(-1), spread, rows, units, effective, likely)


def _variance(fixed: float, broken: float, delta: float) -> float:
    """Variance of one row's gain if the true difference were `delta`: Tango 1998, of shares of rows."""
    linear = -fixed - broken + (2 - fixed + broken) * delta
    root = np.sqrt(linear**2 + 8 * broken * delta * (1 - delta))
    return float((root - linear) / 2 + delta * (1 - delta))


def bootstrap(
    labels: np.ndarray,
    models: tuple[np.ndarray, np.ndarray],
    metric: Callable[[np.ndarray, np.ndarray], float],
    level: float,
    seed: int,
    groups: np.ndarray | None = None,
) -> Difference:
    """Difference of any metric of int[n] labels and float[n, classes] probabilities, of the new and the old model.

    The same groups are drawn for both (`clusters.counts`, `clusters.quantiles`).
    """
    rows, code = len(labels), clusters.codes(groups, len(labels))
    units, told = clusters.number(groups, rows), evidence(labels, models, groups)
    order, sizes = np.argsort(code, kind="stable"), np.bincount(code)

    def difference(chosen: np.ndarray) -> float:
        new, old = (metric(labels[chosen], model[chosen]) for model in models)
        return new - old

    drawn = [
        difference(np.repeat(order, np.repeat(often, sizes)))
        for often in clusters.counts(groups, rows, RESAMPLES, seed).astype(int)
    ]
    drawn = [value for value in drawn if np.isfinite(value)]  # a metric needs two classes
    low, high = clusters.quantiles(np.array(drawn), 1 - level / 2, told)
    spread = float(np.std(drawn) * np.sqrt(units * (told.inflation if told.freedom else 1)))
    return Difference(difference(np.arange(rows)), float(low), float(high), spread, rows, units, units)


def evidence(labels: np.ndarray, models: tuple[np.ndarray, np.ndarray], groups: np.ndarray | None) -> clusters.Evidence:
    """What groups tell about the difference of two models, by whose answers or losses they are more alike."""
    new, old = models
    changed = np.stack([gains(labels, new, old), losses(labels, new) - losses(labels, old)], axis=1)
    return clusters.told(changed, groups)


def more_rows(found: Sequence[tuple[Difference, float]], target: float, level: float, power: float) -> int | None:
    """Additional rows with which all differences are distinguished from `target` with probability `power`.

    `found`: each difference with the share of the additional rows that are of its part. Assumes that the differences
    stay the same, and that new rows are in groups like these; normal approximation, two-sided `level` for each. None if
    a difference equals the target. At least 1: an undecided comparison needs more rows.
    """
    from scipy.stats import norm

    if any(each.value == target for each, _ in found):
        return None

    def reached(more: int) -> float:
        each = 1.0
        for one, share in found:
            size = np.sqrt(one.effective * (1 + more * share / one.rows))
            needed = norm.isf(level / 2) * one.spread_at(target) - abs(one.value - target) * size
            each *= float(norm.sf(needed / one.spread)) if one.spread else float(needed < 0)
        return each

    high = 1
    while reached(high) < power:
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high
