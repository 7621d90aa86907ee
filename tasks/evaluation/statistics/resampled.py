"""Metrics of many resamples at once: each is a function of sums over rows, so a resample costs one product of matrices.

Rows are drawn in their groups, and all models on the same draws, so that their differences keep the correlation.
"""

from __future__ import annotations

import numpy as np

from tasks.evaluation.statistics import bootstrap, clusters

#: Metrics of which less is better.
LOSSES = ("log_loss",)


class Drawn:
    """Resamples of n rows, whose labels are int[n]."""

    def __init__(self, labels: np.ndarray, seed: int, groups: np.ndarray | None = None) -> None:
        self.labels, self.codes = labels, clusters.codes(groups, len(labels))
        self.counts = clusters.counts(groups, len(labels), bootstrap.RESAMPLES, seed)

    def score(self, metric: str, probabilities: np.ndarray, rows: np.ndarray) -> tuple[float, np.ndarray]:
        """The metric of some rows, bool[n], of float[n, classes], and of each resample, float64[resamples]."""
        parts = np.zeros((self.counts.shape[1], *_parts(metric, self.labels[:1], probabilities[:1]).shape[1:]))
        np.add.at(parts, self.codes[rows], _parts(metric, self.labels[rows], probabilities[rows]))
        every = np.concatenate([parts.sum(axis=0)[None], np.tensordot(self.counts, parts, 1)])
        with np.errstate(invalid="ignore", divide="ignore"):
            found = _METRICS[metric][1](every)
        return float(found[0]), found[1:]


def _parts(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return _METRICS[metric][0](labels, probabilities)


def _share(sums: np.ndarray) -> np.ndarray:
    """The mean over what occurs of one sum divided by another; sums: float64[resamples, things, 2]."""
    return np.nanmean(sums[..., 0] / sums[..., 1], axis=-1)


def _mean(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], axis=-1)[:, None]


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return _mean(bootstrap.losses(labels, probabilities))


def _accuracy(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return _mean(bootstrap.correct(labels, probabilities))


def _recalls(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    own = np.eye(probabilities.shape[1])[labels]
    return np.stack([own * bootstrap.correct(labels, probabilities)[:, None], own], axis=-1)


def _f1(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    own, said = (np.eye(probabilities.shape[1])[each] for each in (labels, probabilities.argmax(axis=1)))
    return np.stack([2 * own * said, own + said], axis=-1)


def _placements(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """For each class against the rest: each row's share of rows of the other side that it is placed rightly to.

    The area is the mean over either side; of a resample it is, to first order, the sum of both means minus the area:
    DeLong et al. 1988, https://doi.org/10.2307/2531595.
    """
    from scipy.stats import rankdata

    classes, n = probabilities.shape[1], len(labels)
    found = np.zeros((n, 1 if classes == 2 else classes, 5))
    for at, number in enumerate([1] if classes == 2 else range(classes)):
        own, ranks = labels == number, rankdata(probabilities[:, number])
        for side, sign, column in ((own, 1, 0), (~own, -1, 2)):
            others = max(n - int(side.sum()), 1)
            below = (ranks[side] - rankdata(probabilities[side, number])) / others
            found[side, at, column] = below if sign > 0 else 1 - below
            found[side, at, column + 1] = 1
        found[own, at, 4] = found[own, at, 0].mean() if own.any() else 0
    return found


def _area(sums: np.ndarray) -> np.ndarray:
    """Of sums float64[resamples, classes, 5]; the first is that of all rows."""
    middle = sums[0, :, 4] / sums[0, :, 1]
    return np.nanmean(sums[..., 0] / sums[..., 1] + sums[..., 2] / sums[..., 3] - middle, axis=-1)


#: Each metric's parts of a row, float64[n, things, …], and the metric of their sums, float64[resamples, things, …].
_METRICS = {
    "log_loss": (_log_loss, _share),
    "accuracy": (_accuracy, _share),
    "balanced_accuracy": (_recalls, _share),
    "macro_f1": (_f1, _share),
    "roc_auc": (_placements, _area),
}
