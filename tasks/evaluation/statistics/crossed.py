"""Means over trainings and rows, where both would be drawn anew: what another training on other rows would give.

A training's luck (its seed and its images) moves all rows together, and a hard row is hard for all trainings, so that
neither may be counted as if it were independent: Bouthillier et al. 2021, Accounting for Variance in Machine Learning
Benchmarks, https://arxiv.org/abs/2103.03098. The variance is that of a mean of two crossed random effects (Cameron,
Gelbach and Miller 2011, https://doi.org/10.1198/jbes.2010.07136), with Satterthwaite's degrees of freedom (1946,
Biometrics Bulletin 2:110-114). A few trainings may differ less by chance than trainings do, and degrees of freedom that
believe them are too many: so these are those of more variance between trainings (`SURE`). Without that, equal methods
of three trainings are told apart in 8 to 12 % of simulations instead of 5 %. Assumes that trainings are independent of
each other, and so are groups of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.evaluation.statistics import clusters

#: More trainings than this are no useful answer.
MOST_TRAININGS = 50
#: The degrees of freedom are those of a variance between trainings that is not exceeded with this probability.
SURE = 0.6


@dataclass(frozen=True)
class Mean:
    """A mean over trainings and rows of values from -1 to 1, with the parts of its variance."""

    value: float
    #: Variance from trainings and from rows, each with what is particular to a training on a row; and that alone.
    of_trainings: float
    of_rows: float
    of_both: float
    trainings: int
    rows: int
    units: int
    #: Degrees of freedom of the variance from rows: of `clusters.Evidence`.
    freedom: float

    def interval(self, level: float) -> tuple[float, float]:
        """Two-sided interval. Of a single training it is that of this training on other rows."""
        wide = self._reach(level, self.trainings, 1.0)
        return max(self.value - wide, -1.0), min(self.value + wide, 1.0)

    def more_trainings(self, target: float, level: float, power: float) -> int | None:
        """Further trainings with which the mean is told from `target` with this power; None: no estimate.

        Assumes that the mean and the parts of its variance stay the same.
        """
        if self.trainings < 2:
            return None
        tried = range(self.trainings + 1, MOST_TRAININGS + 1)
        return next((n - self.trainings for n in tried if self._told(target, level, power, n, 1.0)), None)

    def more_rows(self, target: float, level: float, power: float) -> int | None:
        """As `more_trainings`, but further rows, in groups like these, for the trainings that there are."""
        times = next((t for t in 2.0 ** np.arange(0.25, 14, 0.25) if self._told(target, level, power, 0, t)), None)
        return None if times is None else int(np.ceil((times - 1) * self.rows))

    def _told(self, target: float, level: float, power: float, trainings: int, times: float) -> bool:
        from scipy.special import ndtri

        trainings = trainings or self.trainings
        wide, error = self._reach(level, trainings, times), np.sqrt(self._parts(trainings, times)[0])
        return bool(abs(self.value - target) > wide + ndtri(power) * error)

    def _parts(self, trainings: int, times: float) -> tuple[float, float, float, float]:
        """The variance and its parts with so many trainings and so many times the rows."""
        alone = [max(part - self.of_both, 0.0) for part in (self.of_trainings, self.of_rows)]
        fewer = self.trainings / trainings
        both = self.of_both * fewer / times
        parts = alone[0] * fewer + both, alone[1] / times + both, both
        # Where no row differs yet, half a row of each kind might: Agresti and Min 2005, https://doi.org/10.1002/sim.1781
        return max(parts[0] + parts[1] - both, *parts, 1 / (self.units * times) ** 2), *parts

    def _reach(self, level: float, trainings: int, times: float) -> float:
        """From the mean to either end of its interval."""
        from scipy.special import chdtri, stdtrit

        variance, of_trainings, of_rows, of_both = self._parts(trainings, times)
        if not self.freedom:
            return np.inf
        others, units = max(trainings - 1, 1), self.freedom * times
        most = of_trainings * others / chdtri(others, SURE)
        parts = most, max(of_rows - of_both, 0.0)
        freedom = sum(part**2 / of for part, of in zip(parts, (others, units), strict=True))
        degrees = sum(parts) ** 2 / freedom if freedom else units
        return float(stdtrit(max(degrees, 1.0), 1 - level / 2) * np.sqrt(variance))


def mean(values: np.ndarray, groups: np.ndarray | None = None) -> Mean:
    """The mean of float[trainings, rows], from -1 to 1; `groups`: int[rows], see `clusters`."""
    trainings, rows = values.shape
    of_trainings, of_rows, of_both = (float(part[0, 0]) for part in _variances(values[:, :, None], groups))
    units, told = clusters.number(groups, rows), clusters.told(values.mean(axis=0), groups)
    return Mean(float(values.mean()), of_trainings, of_rows, of_both, trainings, rows, units, told.freedom)


def covariance(values: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Of several means of float[trainings, rows, k] over two trainings or more, float64[k, k].

    The luck of the trainings of different means is taken as independent.
    """
    of_trainings, of_rows, of_both = _variances(values, groups)
    least = np.full(values.shape[2], 1 / clusters.number(groups, values.shape[1]) ** 2)
    return of_rows + np.diag(np.maximum(np.diag(of_trainings - of_both), least))


def _variances(values: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariances of means from trainings, rows, and what is particular to both, each float64[k, k]."""
    trainings, rows = values.shape[:2]
    of_training, of_row = values.mean(axis=1), values.mean(axis=0)
    told, fewer = clusters.told(of_row, groups), 1 / max(trainings * (trainings - 1), 1)
    few = told.inflation if told.freedom else 1.0
    middle = of_row.mean(axis=0)
    own = clusters.sums(np.moveaxis(values - of_training[:, None] - of_row + middle, 1, 0), groups) / rows
    row = clusters.sums(of_row - middle, groups) / rows
    training = of_training - middle
    both = np.tensordot(own, own, ((0, 1), (0, 1)))
    return training.T @ training * fewer, few * row.T @ row, few * fewer * both
