"""Learning curves: accuracy of methods by the number of training images, and where one would catch up with another.

The middle of the curve of error by images is a power law: Hestness et al. 2017, https://arxiv.org/abs/1712.00409.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.evaluation.statistics import bootstrap
from tasks.records import SCRATCH, TRANSFER, Gap, Level, PointRef

#: Below this share of the error of always predicting the most frequent class, a method has started to learn.
LEARNED = 0.9
#: A power law needs this many points and this share of explained variance; it extrapolates up to this factor.
POINTS, EXPLAINED, BEYOND = 3, 0.9, 30
#: The error falls with at least this power of the number of images.
SLOPE = 0.05


def levels(points: Sequence[tuple[PointRef, np.ndarray]], seed: int) -> list[tuple[Level, np.ndarray]]:
    """Means over the seeds of points, which come with their correct validation rows, float[n].

    Each level comes with the share of seeds that get a row right, float[n]. In the order of the points.
    """
    together: dict[tuple[str, int], list[tuple[PointRef, np.ndarray]]] = {}
    for point, hits in points:
        together.setdefault((point.method, point.images), []).append((point, hits))
    return [_level(same, seed) for same in together.values()]


def _level(same: list[tuple[PointRef, np.ndarray]], seed: int) -> tuple[Level, np.ndarray]:
    first, hits = same[0][0], np.mean([hits for _, hits in same], axis=0)
    level = Level(
        first.method,
        first.images,
        first.side,
        float(hits.mean()),
        *bootstrap.interval(hits, bootstrap.CONFIDENCE, seed),
        log_loss=float(np.mean([point.validation["log_loss"] for point, _ in same])),
        seconds=float(np.mean([point.seconds for point, _ in same])),
        seeds=len(same),
    )
    return level, hits


def gaps(found: Sequence[tuple[Level, np.ndarray]], seed: int) -> list[Gap]:
    """For each number of images, ascending: the best of each side, compared row by row, if there are both."""
    compared = []
    for images in sorted({level.images for level, _ in found}):
        same = [pair for pair in found if pair[0].images == images]
        ours, theirs = (_best([pair for pair in same if pair[0].method in side]) for side in (TRANSFER, SCRATCH))
        if ours and theirs:
            compared.append(Gap(images, ours[0].method, theirs[0].method, bootstrap.gain(ours[1], theirs[1], seed)))
    return compared


def _best(pairs: list[tuple[Level, np.ndarray]]) -> tuple[Level, np.ndarray] | None:
    return max(pairs, key=lambda pair: (pair[0].accuracy, -pair[0].log_loss), default=None)


def catches_up(found: Sequence[Level], gap: Gap, chance: float) -> float | None:
    """Images with which the method from scratch would reach the error of transfer at the gap; see `reaches`.

    `chance`: error of always predicting the most frequent class.
    """
    own = [level for level in found if level.method == gap.scratch]
    target = next(level for level in found if (level.method, level.images) == (gap.transfer, gap.images))
    errors = np.array([1 - level.accuracy for level in own])
    return reaches(np.array([level.images for level in own]), errors, 1 - target.accuracy, chance)


def reaches(images: np.ndarray, errors: np.ndarray, target: float, chance: float) -> float | None:
    """Images at which a power law through the errors falls to `target`: an extrapolation.

    `errors`: float[n], 0 to 1, at `images`, float[n]. None if too few errors are below chance, if they are not on a
    straight line on logarithmic axes, or if the result is not beyond the points or is too far beyond them.
    """
    from scipy.optimize import curve_fit

    usable = (errors > 0) & (errors < LEARNED * chance)
    if usable.sum() < POINTS or target <= 0:
        return None
    x, y = np.log(images[usable]), np.log(errors[usable])
    (level, slope), _ = curve_fit(lambda x, level, slope: level - slope * x, x, y)
    left, spread = ((y - level + slope * x) ** 2).sum(), ((y - y.mean()) ** 2).sum()
    if slope < SLOPE or left > (1 - EXPLAINED) * spread:
        return None
    answer = float(np.exp((level - np.log(target)) / slope))
    return answer if images.max() < answer <= BEYOND * images.max() else None
