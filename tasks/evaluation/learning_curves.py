"""Learning curves: accuracy of methods by the number of training images, and where one would catch up with another.

A method is its trainings with several seeds: intervals are over trainings and validation rows, see
`statistics.crossed`. The curve of error by images is a power law above a constant error: Hestness et al. 2017,
https://arxiv.org/abs/1712.00409.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.evaluation.statistics import crossed, equivalence
from tasks.records import SCRATCH, TRANSFER, Gain, Gap, Level, PointRef

#: Below this share of the error of always predicting the most frequent class, a method has started to learn.
LEARNED = 0.9
#: A power law with a floor needs this many points, and is extrapolated up to this factor.
POINTS, BEYOND = 4, 30
#: The error falls with a power of the number of images between these.
SLOPES = np.geomspace(0.05, 2, 60)


@dataclass(frozen=True)
class Curves:
    """Which validation rows are right: float[n] by method, number of training images, and seed.

    `groups`: of the rows, see `statistics.clusters`.
    """

    hits: Mapping[tuple[str, int], Mapping[int, np.ndarray]]
    groups: np.ndarray | None = None

    @property
    def sizes(self) -> list[int]:
        """Numbers of training images, ascending."""
        return sorted({images for _, images in self.hits})

    def trainings(self, pairs: Sequence[tuple[str, int]]) -> np.ndarray:
        """float64[trainings, rows, pairs] of methods and sizes, for the seeds that all of them have."""
        seeds = sorted(set.intersection(*(set(self.hits[pair]) for pair in pairs)))
        found = [np.stack([self.hits[pair][seed] for pair in pairs], axis=1) for seed in seeds]
        return np.array(found, float).reshape(len(found), -1, len(pairs)) if found else np.empty((0, 0, len(pairs)))


def curves(points: Sequence[tuple[PointRef, np.ndarray]], groups: np.ndarray | None = None) -> Curves:
    """Of points with their correct validation rows, float[n]."""
    found: dict[tuple[str, int], dict[int, np.ndarray]] = {}
    for point, hits in points:
        found.setdefault((point.method, point.images), {})[point.seed] = hits
    return Curves(found, groups)


def levels(points: Sequence[PointRef], found: Curves) -> list[Level]:
    """Means over the seeds, in the order of the points."""
    together: dict[tuple[str, int], list[PointRef]] = {}
    for point in points:
        together.setdefault((point.method, point.images), []).append(point)
    return [_level(same, found) for same in together.values()]


def _level(same: list[PointRef], found: Curves) -> Level:
    first = same[0]
    mean = crossed.mean(found.trainings([(first.method, first.images)])[:, :, 0], found.groups)
    low, high = mean.interval(equivalence.LEVEL)
    return Level(
        first.method,
        first.images,
        first.side,
        mean.value,
        max(low, 0.0),
        high,
        log_loss=float(np.mean([point.validation["log_loss"] for point in same])),
        seconds=float(np.mean([point.seconds for point in same])),
        seeds=len(same),
    )


def short(points: Sequence[PointRef]) -> dict[str, tuple[int, int]]:
    """Trainings of each method that has fewer than another one, and of the one that has most of them."""
    counts = {method: sum(point.method == method for point in points) for method in (*TRANSFER, *SCRATCH)}
    most = max(counts.values())
    return {method: (count, most) for method, count in counts.items() if 0 < count < most}


def gaps(found: Curves, margin: float) -> list[Gap]:
    """For each number of images, ascending, the best of each side, if there are both: compared row by row.

    The intervals hold for all of them together (Bonferroni). A gain in accuracy below `margin` does not matter.
    """
    sides = {
        size: tuple([method for method in side if (method, size) in found.hits] for side in (TRANSFER, SCRATCH))
        for size in found.sizes
    }
    sides = {size: methods for size, methods in sides.items() if all(methods)}
    level = equivalence.LEVEL / max(len(sides), 1)
    compared = (_gap(found, size, methods, margin, level) for size, methods in sides.items())
    return [gap for gap in compared if gap]


def _gap(found: Curves, images: int, sides: tuple[list[str], ...], margin: float, level: float) -> Gap | None:
    """The gap between the best methods, whichever these are: the best of several looks better than it is.

    Each method is compared with each of the other side. It is certain that the best of one side is better than the best
    of the other if one of its methods is certainly better than all of the other side, at a level that counts how many
    might have been it (Bonferroni over its side; intersection-union test over the other).
    """
    values = found.trainings([(method, images) for methods in sides for method in methods])
    if not len(values):
        return None
    ours, theirs = (list(range(len(sides[0]))), list(range(len(sides[0]), values.shape[2])))
    means = values.mean(axis=(0, 1))
    best, other = (max(side, key=lambda at: means[at]) for side in (ours, theirs))
    methods = [method for side in sides for method in side]
    gap = Gap(images, methods[best], methods[other], Gain(float(means[best] - means[other]), -1.0, 1.0), len(values))
    if gap.trainings < 2:  # nothing shows what another training would give
        return gap
    pairs = {(a, b): crossed.mean(values[:, :, a] - values[:, :, b], found.groups) for a in ours for b in theirs}
    low = max(min(pairs[a, b].interval(level / len(ours))[0] for b in theirs) for a in ours)
    high = min(max(pairs[a, b].interval(level / len(theirs))[1] for a in ours) for b in theirs)
    gain = replace(gap.gain, low=low, high=high)
    if equivalence.finding(gain, margin) != "open":
        return replace(gap, gain=gain)
    # What is told first: that its best method is better than all others, or that no other method is better than it.
    first, side = (
        (0.0, [(best, b) for b in theirs]) if gain.value > margin / 2 else (margin, [(a, other) for a in ours])
    )
    level, power = level / len(theirs if first else ours), equivalence.POWER ** (1 / len(side))
    more = _most([pairs[pair].more_trainings(first, level, power) for pair in side])
    rows = None if more else _most([pairs[pair].more_rows(first, level, power) for pair in side])
    return replace(gap, gain=replace(gain, more=rows), more_trainings=more)


def _most(numbers: list[int | None]) -> int | None:
    """What is enough for all; None if one of them is not known."""
    known = [number for number in numbers if number is not None]
    return max(known) if len(known) == len(numbers) else None


def catches_up(found: Curves, gap: Gap, chance: float) -> tuple[float, float] | None:
    """The range of images with which the method from scratch would reach transfer's error at the gap; see `reaches`.

    `chance`: error of always predicting the most frequent class.
    """
    sizes = [size for size in found.sizes if (gap.scratch, size) in found.hits]
    values = 1 - found.trainings([*((gap.scratch, size) for size in sizes), (gap.transfer, gap.images)])
    if len(values) < 2:
        return None
    usable = np.append(values.mean(axis=(0, 1))[:-1] < LEARNED * chance, True)
    values, images = values[:, :, usable], np.array(sizes, float)[usable[:-1]]
    errors = values.mean(axis=(0, 1))
    return reaches(images, errors, crossed.covariance(values, found.groups), len(values) - 1)


def reaches(images: np.ndarray, errors: np.ndarray, covariance: np.ndarray, degrees: int) -> tuple[float, float] | None:
    """Range of the images at which a power law with a floor falls to a target, in 95 % of cases: an extrapolation.

    `errors`: float[n + 1], 0 to 1, at `images`, float[n], ascending, and the target, with their covariance of so many
    degrees of freedom. A number of images is in the range if a law that has the target there fits nearly as well as the
    best law: a profile likelihood, which holds for laws whose floor is 0, too (Venzon and Moolgavkar 1988,
    https://doi.org/10.2307/2347496). The range's end is infinite where the floor may be above the target, or too far
    beyond the images. None for too few errors, if they follow no such law, or if the range begins at the last image.
    """
    from scipy.stats import f, t

    if len(images) < POINTS:
        return None
    last = images[-1]
    tried = np.append(last * np.geomspace(1, BEYOND, 60), last * np.array([BEYOND**2, BEYOND**3, np.inf]))
    misfit = np.array([_misfit(images, errors, covariance, number) for number in tried])
    spare = len(errors) - 4  # floor, factor, slope, and where it reaches the target
    if misfit.min() > spare * f.isf(0.05, spare, degrees):
        return None
    likely = misfit <= misfit.min() + t.isf(0.025, degrees) ** 2
    if likely[0]:
        return None
    low, high = tried[likely][[0, -1]]
    return float(min(low, BEYOND * last)), float(high) if high <= BEYOND * last else np.inf


def _misfit(images: np.ndarray, errors: np.ndarray, covariance: np.ndarray, number: float) -> float:
    """Squared distance of errors from the nearest law that has the last of them at this number of images.

    For a slope, floor and factor are generalised linear least squares, neither below 0 (variable projection: Golub and
    Pereyra 1973, https://doi.org/10.1137/0710036).
    """
    powers = np.append(images, number) ** -SLOPES[:, None]
    weights = np.linalg.inv(covariance)
    ones = np.ones(len(errors))
    of_floor, of_both = ones @ weights @ ones, powers @ weights @ ones
    of_factor = ((powers @ weights) * powers).sum(axis=1)
    left, right = ones @ weights @ errors, powers @ weights @ errors
    factor = (of_floor * right - of_both * left) / (of_floor * of_factor - of_both**2)
    floor = (left - factor * of_both) / of_floor
    factor, floor = np.where(floor < 0, right / of_factor, factor), np.maximum(floor, 0)
    factor, floor = np.maximum(factor, 0), np.where(factor < 0, left / of_floor, floor)
    off = errors - floor[:, None] - factor[:, None] * powers
    return float(((off @ weights) * off).sum(axis=1).min())
