"""Metrics of predicted probabilities.

A metric has `score(labels, probabilities) -> float` with labels int[n] and probabilities float[n, classes], and
`HIGHER_IS_BETTER`, its direction. It may have `interval(labels, probabilities, groups, level, seed) -> (low, high)`,
where the bootstrap is not good enough: with few rows, rare classes or a biased score.
"""

from collections.abc import Callable

import numpy as np

from tasks.evaluation.statistics import bootstrap, clusters
from tasks.runtime import plugins

RESAMPLES = 1000


def evaluate(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Every metric by name."""
    return {name: float(plugins.entry("metrics", name)(labels, probabilities)) for name in plugins.names("metrics")}


def intervals(
    labels: np.ndarray, probabilities: np.ndarray, seed: int, groups: np.ndarray | None = None, level: float = 0.05
) -> dict[str, tuple[float, float]]:
    """The two-sided interval of every metric, which misses its true value in a share `level` of test sets.

    A metric's own, else that of `bootstrapped`. `groups` as in `statistics.clusters`.
    """
    return {name: interval(name, labels, probabilities, seed, groups, level) for name in plugins.names("metrics")}


def interval(
    name: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    seed: int,
    groups: np.ndarray | None = None,
    level: float = 0.05,
) -> tuple[float, float]:
    """The interval of one metric, as in `intervals`."""
    own = getattr(plugins.load("metrics", name), "interval", None)
    if own:
        low, high = own(labels, probabilities, groups, level, seed)
        return float(low), float(high)
    return bootstrapped(plugins.entry("metrics", name), labels, probabilities, groups, level, seed)


def bootstrapped(
    score: Callable[[np.ndarray, np.ndarray], float],
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray | None,
    level: float,
    seed: int,
) -> tuple[float, float]:
    """Percentile interval of a score, over whole groups drawn with replacement: the mix of classes is random too.

    Field and Welsh 2007, https://doi.org/10.1111/j.1467-9868.2007.00593.x.
    """
    drawn = clusters.counts(groups, len(labels), RESAMPLES, seed).astype(int)
    code, every = clusters.codes(groups, len(labels)), np.arange(len(labels))
    found = []
    for times in drawn:
        rows = np.repeat(every, times[code])
        found.append(score(labels[rows], probabilities[rows]))
    own = np.stack([bootstrap.correct(labels, probabilities), bootstrap.losses(labels, probabilities)], axis=1)
    told = clusters.told(own, groups)
    low, high = clusters.quantiles(np.array(found), 1 - level / 2, told)
    return float(low), float(high)
