"""What time changes: a model's scores on the newest images beside those on random older ones.

Both are images that no stage was trained or steered on, and share no group, so the samples are independent.
"""

from dataclasses import dataclass

import numpy as np

from tasks.evaluation import metrics
from tasks.evaluation.statistics import clusters
from tasks.records import TimeGap, TimeSample

#: Fewer independent images on either side tell nothing about a gap.
LEAST = 20


@dataclass(frozen=True)
class Answers:
    """Answers for images of a time: labels int[n], probabilities float[n, classes], groups int[n], days datetime64."""

    labels: np.ndarray
    probabilities: np.ndarray
    groups: np.ndarray
    days: np.ndarray

    def of(self, classes: np.ndarray) -> "Answers":
        """Those for images of some classes."""
        rows = np.isin(self.labels, classes)
        return Answers(self.labels[rows], self.probabilities[rows], self.groups[rows], self.days[rows])


def compare(newest: Answers, older: Answers, seed: int) -> TimeGap:
    """Each metric on both, of the classes that both have, and its gap: that of the newest minus that of the older.

    No gaps where either has fewer than `LEAST` independent images.
    """
    shared = np.intersect1d(newest.labels, older.labels)
    ours, theirs = (_sample(each.of(shared), seed) for each in (newest, older))
    if min(ours.independent, theirs.independent) < LEAST:
        return TimeGap(ours, theirs)
    gaps = {name: value - theirs.metrics[name] for name, value in ours.metrics.items() if name in theirs.metrics}
    ends = {
        name: difference(*((each.metrics[name], *each.intervals[name]) for each in (ours, theirs))) for name in gaps
    }
    return TimeGap(ours, theirs, gaps, ends)


def difference(ours: tuple[float, float, float], theirs: tuple[float, float, float]) -> tuple[float, float]:
    """The interval of the difference of two independent estimates, from (value, low, high) of each.

    MOVER, the method of variance estimates recovery: Donner and Zou 2012, https://doi.org/10.1177/0962280210384984; for
    shares with Wilson's intervals it is method 10 of Newcombe 1998, Statistics in Medicine 17:873-890.
    """
    (value, low, high), (other, least, most) = ours, theirs
    below = np.hypot(max(value - low, 0), max(most - other, 0))
    above = np.hypot(max(high - value, 0), max(other - least, 0))
    return float(value - other - below), float(value - other + above)


def _sample(answers: Answers, seed: int) -> TimeSample:
    labels, probabilities, groups = answers.labels, answers.probabilities, answers.groups
    if not len(labels):
        return TimeSample(0, 0, "", "", {}, {})
    first, last = (str(day.astype("datetime64[D]")) for day in (answers.days.min(), answers.days.max()))
    found = {name: value for name, value in metrics.evaluate(labels, probabilities).items() if np.isfinite(value)}
    ends = {name: metrics.interval(name, labels, probabilities, seed, groups) for name in found}
    return TimeSample(len(labels), clusters.number(groups, len(labels)), first, last, found, ends)
