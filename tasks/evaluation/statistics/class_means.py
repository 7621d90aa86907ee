"""Interval of a mean over classes of shares, or of a function of shares: balanced accuracy, macro F1.

A class may have few rows, all of them right. The interval of its own share then lies mostly on one side, and the sides
of many such classes add up, while their errors would cancel. So the mean itself is tested: its interval has the values
under which a mean as far off as that seen is not rare (a score interval, as Wilson's of one share). The shares that
belong to a value are those that explain best what was seen: all are moved from those seen on the logit scale, each by
as much more as it is less certain (the least favourable family of Stein 1956, Efficient nonparametric testing and
estimation). Mean and variance of what would be seen are exact for few rows, so that a curved function's bias counts.

Rows of one group may be alike. How alike is one number for all classes, from pairs of rows of one class and group, and
one factor for what classes have in common, both from sums over groups; groups are independent of each other. Where
each class' rows are of about five groups that have no other class, intervals of the macro F1 are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.statistics import clusters

#: So many rows with the mean of all classes are added to each class', where it is said how much its share may vary.
PRIOR = 1.0
#: From so many rows on, bias and variance are taken to fall as 1 / rows.
LARGE = 40
#: Logits are moved by at most 2 to this power.
DOUBLINGS, CLOSE = 30, 1e-4


@dataclass(frozen=True)
class Counted:
    """Which of n rows count for which class, as entries: their classes and rows, int[entries], and hits, 1.0 or 0.0.

    `sides`: how many classes a row that is no hit counts for.
    """

    classes: int
    of: np.ndarray
    rows: np.ndarray
    hits: np.ndarray
    n: int
    sides: int = 1


@dataclass(frozen=True)
class Curve:
    """A function of a share that grows from 0 to 1, and its slope."""

    at: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]


STRAIGHT = Curve(lambda share: share, np.ones_like)


def interval(counted: Counted, groups: np.ndarray | None, level: float, curve: Curve = STRAIGHT) -> tuple[float, float]:
    """Two-sided interval of the mean over all classes of the curve of each class' share, and never a point.

    It holds for the mean of very many rows. That of few rows is lower for a curve that bends down; the interval is
    widened to it if it is outside. A class without rows may have any share. `groups` as in `clusters`.
    """
    from scipy.optimize import brentq

    if not len(counted.of):
        return 0.0, 1.0
    model = _Model(counted, groups, curve)
    reach = clusters.reach(level, model.influence, groups)

    def end(side: int) -> float:
        def beyond(moved: float) -> float:
            _, expected, error = model.moved(moved)
            return side * (model.seen - expected) / max(error, 1e-12) + reach

        far = next((2.0**power for power in range(DOUBLINGS) if beyond(side * 2.0**power) < 0), None)
        near = next((-(2.0**power) for power in range(DOUBLINGS) if beyond(side * -(2.0**power)) > 0), None)
        if far is None or near is None:
            return float((side > 0) == (far is None))
        return model.moved(brentq(beyond, side * near, side * far, xtol=CLOSE))[0]

    low, high = end(-1), end(1)
    middle, without = (low + high) / 2, np.sqrt(counted.classes - model.classes) / counted.classes
    low, high = (
        middle + side * float(np.hypot(high - middle, far * without)) for side, far in ((-1, middle), (1, 1 - middle))
    )
    return max(min(low, model.value), 0.0), min(max(high, model.value), 1.0)


class _Model:
    """The shares that belong to each possible mean, and what would be seen of them."""

    def __init__(self, counted: Counted, groups: np.ndarray | None, curve: Curve) -> None:
        from scipy.special import gammaln, logit

        filled, of = np.unique(counted.of, return_inverse=True)
        self.classes, self.curve = len(filled), curve
        rows = np.bincount(of).astype(float)
        share = np.bincount(of, counted.hits) / rows
        self.value = float(curve.at(share).mean())
        #: Each row's part of the error, float[n].
        self.influence = np.bincount(counted.rows, (counted.hits - share[of]) / rows[of], counted.n)
        inside = _Groups(of, clusters.codes(groups, counted.n)[counted.rows], counted.hits - share[of])
        grouped = clusters.number(groups, counted.n) < counted.n
        rows = rows / inside.effect() if grouped else rows
        middle = (share.sum() + 0.5 / rows.sum()) / (self.classes + 1 / rows.sum())
        drawn = (share * rows + PRIOR * middle) / (rows + PRIOR)
        slopes = curve.slope(drawn)
        self.seen = self.value - float((slopes * inside.bias()).mean()) if grouped else self.value
        self.factor = inside.shared(slopes / inside.rows, counted.sides, grouped)
        self.start, self.step = logit(drawn), slopes / rows / (slopes / rows).max()
        self.size = np.minimum(np.ceil(rows), LARGE)[:, None]
        self.hits = np.arange(self.size.max() + 1)
        self.others = np.maximum(self.size - self.hits, 0)
        ways = gammaln(self.size + 1) - gammaln(self.hits + 1) - gammaln(self.others + 1)
        self.ways = np.where(self.hits <= self.size, ways, -np.inf)
        self.values = curve.at(np.minimum(self.hits / self.size, 1.0))
        # `drawn` varies less than shares would whose variance p (1 - p) is on average that of the true ones.
        self.scale = self.size[:, 0] / rows / (1 - rows / (rows + PRIOR) ** 2)

    def moved(self, by: float) -> tuple[float, float, float]:
        """The mean, its expected value in so many rows, and its standard error, with the logits moved."""
        from scipy.special import expit

        share = np.clip(expit(self.start + by * self.step), 1e-15, 1 - 1e-15)[:, None]
        chances = np.exp(self.ways + self.hits * np.log(share) + self.others * np.log1p(-share))
        means = (chances * self.values).sum(axis=1)
        variances = np.maximum((chances * self.values**2).sum(axis=1) - means**2, 0) * self.scale
        true = self.curve.at(share[:, 0])
        expected = true + (means - true) * self.scale
        return float(true.mean()), float(expected.mean()), float(np.sqrt(self.factor * variances.sum()) / self.classes)


class _Groups:
    """What entries of one class and group have in common: their classes, groups and hits minus the share seen."""

    def __init__(self, of: np.ndarray, group: np.ndarray, rest: np.ndarray) -> None:
        self.of, self.rest, self.number = of, rest, len(np.unique(group))
        pairs, self.pair = np.unique(of.astype(np.int64) * (group.max() + 1) + group, return_inverse=True)
        self.cell_of, self.cell_group = np.divmod(pairs, group.max() + 1)
        self.cell_rows, self.cell_rest = np.bincount(self.pair).astype(float), np.bincount(self.pair, rest)
        self.rows = np.bincount(of).astype(float)
        self.units = self._each(np.ones(len(pairs)))
        #: By how much the share seen, instead of the true one, lessens a variance; 0 for a class of one group.
        self.few = np.where(self.units > 1, self.units / np.maximum(self.units - 1, 1), 0)

    def _each(self, cells: np.ndarray) -> np.ndarray:
        """Sums over the groups of each class."""
        return np.bincount(self.cell_of, cells, len(self.rows))

    def effect(self) -> np.ndarray:
        """Each class' design effect: 1 + (rows of a group - 1) x the correlation within groups, 0 to 1.

        Donald and Donner 1987, https://doi.org/10.1002/sim.4780060408. The correlation is 1 if nothing differs.
        """
        of_group = self._each(self.cell_rows**2) / self.rows
        alone = np.bincount(self.of, self.rest**2) / (self.rows * np.maximum(self.rows - 1, 1)) * (self.few > 0)
        together = self._each(self.cell_rest**2) * self.few / self.rows**2
        pairs = (alone * (of_group - 1)).sum()
        alike = 1.0 if not alone.any() else np.clip((together - alone).sum() / pairs, 0, 1) if pairs > 0 else 0.0
        return 1 + (of_group - 1) * alike

    def bias(self) -> np.ndarray:
        """Each share's bias as a ratio of two sums over groups: Cochran 1977, Sampling Techniques, section 6.8."""
        return -self._each(self.cell_rest * self.cell_rows) / self.rows**2 * self.few

    def shared(self, weights: np.ndarray, sides: int, grouped: bool) -> float:
        """How many times the variance of the weighted sum of all shares is that of independent ones."""
        parts = self.cell_rest * (weights * np.sqrt(self.few))[self.cell_of]
        if not (alone := (parts**2).sum()):
            return max(len(parts) / self.number, sides)
        found = float((np.bincount(self.cell_group, parts) ** 2).sum() / alone)
        return max(found * self.number / max(self.number - 1, 1), 1.0) if grouped else found
