"""The gap between a part of the rows and the rest, with intervals that hold for all parts together.

Among many slices, some look bad by chance. The intervals are therefore simultaneous: with probability 95 % all of them
hold at once. Their width comes from the joint distribution of the gaps, by a Gaussian multiplier bootstrap of the
largest studentised gap (Chernozhukov, Chetverikov and Kato 2013, Annals of Statistics 41:2786-2819,
https://doi.org/10.1214/13-AOS1161). Unlike Bonferroni's correction, it counts slices with the same information, such as
both values of a column, once. It needs only the gaps' correlations, so time and memory are those of one pass over
rows x slices, float64. `groups` as in `clusters`.
"""

import numpy as np

from tasks.evaluation.statistics import bootstrap, clusters

CONFIDENCE = 0.95
DRAWS = 10_000
#: Sign of the change that makes each metric worse.
WORSE = {"accuracy": -1, "log_loss": 1}


def values(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Each row's part of the metric, float64[n], of int[n] and float[n, classes]: the metric is their mean."""
    if metric == "log_loss":
        return bootstrap.losses(labels, probabilities)
    return bootstrap.correct(labels, probabilities)


def differences(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Mean inside minus mean outside, float64[slices], of float64[n] and bool[n, slices]; neither side is empty."""
    return _mean(values, masks) - _mean(values, ~masks)


def intervals(
    values: np.ndarray, masks: np.ndarray, seed: int, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The differences, and the low and high ends of their simultaneous intervals, each float64[slices].

    Each side needs at least two rows. The difference of two models' values as `values` gives the change from one model
    to the other, compared row by row.
    """
    found = differences(values, masks)
    inside, outside = masks.sum(axis=0), (~masks).sum(axis=0)
    deviations = values[:, None] - np.where(masks, _mean(values, masks), _mean(values, ~masks))
    variance = _variance(deviations, masks, values.var(ddof=1)) + _variance(deviations, ~masks, values.var(ddof=1))
    influence = deviations * np.where(masks, 1 / inside, -1 / outside)
    effect = np.array([clusters.design_effect(each, groups) for each in influence.T])
    critical = _critical(clusters.sums(influence, groups), seed)
    reach = _of_groups(critical, np.where(masks, 1 / inside, 1 / outside), groups) * np.sqrt(variance * effect)
    return found, found - reach, found + reach


def _mean(values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return values @ masks / masks.sum(axis=0)


def _variance(deviations: np.ndarray, side: np.ndarray, of_all: float) -> np.ndarray:
    """Variance of the mean of each slice's rows on one side, float64[slices].

    A few rows that are all correct have no variance. It is therefore at least halfway to that of all rows: in
    simulations of slices of 30 rows and more, the intervals then have their nominal coverage.
    """
    n = side.sum(axis=0)
    own = (deviations**2 * side).sum(axis=0) / (n - 1)
    return np.maximum(own, (own + of_all) / 2) / n


def _of_groups(critical: float, weights: np.ndarray, groups: np.ndarray | None) -> np.ndarray | float:
    """The critical value of each slice, whose variance is known from few groups: Student's at the same level.

    `weights`: float[n, slices], of rows in the difference. The degrees of freedom are those of a sum of variances with
    such weights: Satterthwaite 1946, Biometrics Bulletin 2:110-114.
    """
    from scipy.stats import norm, t

    units = clusters.number(groups, len(weights))
    if units == len(weights):
        return critical
    parts = clusters.sums(weights**2, groups)
    freedom = np.maximum(parts.sum(axis=0) ** 2 / (parts**2).sum(axis=0) - 1, 1)
    few = np.sqrt((freedom + 1) / freedom * (units - 1) / units)  # the divisor of a variance: of all is in it already
    return np.asarray(t.isf(norm.sf(critical), freedom) * few)


def _critical(influence: np.ndarray, seed: int) -> float:
    """Quantile of the largest gap in standard errors; `influence`: float64[groups, slices], each column sums to 0."""
    size = np.sqrt((influence**2).sum(axis=0))
    unit = influence / np.where(size > 0, size, 1)
    random = np.random.default_rng(seed)
    drawn = random.multivariate_normal(np.zeros(len(size)), unit.T @ unit, DRAWS, check_valid="ignore", method="eigh")
    return float(np.quantile(np.abs(drawn).max(axis=1), CONFIDENCE))
