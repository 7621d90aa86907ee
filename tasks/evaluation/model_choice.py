"""Which of several models to ship: the cheapest that no other one is certainly better than.

That is the cheapest model of a confidence set for the best one: Hansen, Lunde and Nason 2011, The Model Confidence
Set, https://doi.org/10.3982/ECTA5771. Each model is tested against all others at once, by the largest of its
studentised gaps to them: multiple comparisons with the best (Hsu 1984, https://doi.org/10.1214/aos/1176346732), whose
joint distribution comes from the cluster bootstrap. So a model that is dearer than the cheapest of the best ones is
taken with probability 1 - confidence at most, up to the error of the bootstrap, however many there are. Others that are
clearly worse than the model do not make its test weaker: Hansen 2005, A Test for Superior Predictive Ability,
https://doi.org/10.1198/073500105000000063.

Probabilities are temperature-scaled first, as those of the version that is shipped will be. The temperature of each
fifth of the groups is fitted on the others, so that no row is judged by a temperature that has seen its label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tasks.evaluation import calibration
from tasks.evaluation.statistics import bootstrap, clusters, paired, resampled
from tasks.evaluation.statistics.clusters import Evidence
from tasks.records import Gain

#: Parts of the groups, each with a temperature that is fitted on the others.
PARTS = 5
DRAWS = 10_000
#: Of both ends of the interval of a difference between two models.
LEVEL = 0.05
#: The mean variance of a model's gaps counts as that of so many more groups.
PRIOR = 4


@dataclass(frozen=True)
class Compared:
    """One of several models, by the metric: its value, and how far it is behind the best of the others."""

    value: float
    interval: tuple[float, float]
    #: Above 0 if it is behind, in the metric's unit; the interval's low end is above 0 if that is certain.
    gap: float
    gap_interval: tuple[float, float]


def tempered(labels: np.ndarray, probabilities: np.ndarray, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Temperature-scaled probabilities, float64[n, classes], each part of the groups by the others' temperature."""
    code = clusters.codes(groups, len(labels))
    part = np.random.default_rng(seed).permutation(code.max(initial=-1) + 1)[code] % PARTS
    found = np.empty(probabilities.shape)
    for number in range(PARTS):
        own = part == number
        temperature = calibration.temperature(labels[~own], probabilities[~own])
        found[own] = calibration.tempered(probabilities[own], temperature)
    return found


def variants(
    labels: np.ndarray, each: Sequence[np.ndarray], seed: int, groups: np.ndarray | None = None
) -> tuple[int, np.ndarray]:
    """The best of several variants of a model, each float[n, classes], and answers that this choice does not flatter.

    The best has the lowest log loss after temperature scaling. The answers, float[n, classes], are `unflattered`.
    """
    soft = np.array([bootstrap.losses(labels, tempered(labels, some, seed, groups)) for some in each])

    def best(rows: np.ndarray) -> int:
        return int(soft[:, rows].mean(axis=1).argmin())

    answers = unflattered(len(labels), lambda rows: each[best(rows)], seed, groups)
    return best(np.ones(len(labels), bool)), answers


def unflattered(
    count: int, best: Callable[[np.ndarray], np.ndarray], seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Answers that the choice of a model does not flatter, float[n, classes].

    `best(rows)`: answers for all rows, float[n, classes], of the model that is best on some, bool[n]. Each half of the
    groups is answered by the one that is best in the other half.
    """
    code = clusters.codes(groups, count)
    first = np.random.default_rng([seed, 1]).permutation(code.max(initial=-1) + 1)[code] % 2 == 0
    if first.all() or not first.any():
        return best(np.ones(count, bool))
    return np.where(first[:, None], best(~first), best(first))


def compared(
    labels: np.ndarray,
    each: Sequence[np.ndarray],
    metric: str,
    confidence: float,
    seed: int,
    groups: np.ndarray | None = None,
) -> list[Compared]:
    """Every model beside the others, by its probabilities float[n, classes]; rows that it does not predict are NaN.

    Two models are compared on the rows that both predict. `confidence` is one-sided, for each end; it holds for the
    gaps of a model to all others together.
    """
    drawn = resampled.Drawn(labels, seed, groups)
    there = [~np.isnan(probabilities).any(axis=1) for probabilities in each]
    soft = [np.full(probabilities.shape, np.nan) for probabilities in each]
    for ours, probabilities, rows in zip(soft, each, there, strict=True):
        ours[rows] = tempered(labels[rows], probabilities[rows], seed, drawn.codes[rows])
    sign, most = (1, bootstrap.MOST) if metric in resampled.LOSSES else (-1, 1.0)
    masks: dict[bytes, np.ndarray] = {}

    @cache
    def score(model: int, rows: bytes) -> tuple[float, np.ndarray]:
        return drawn.score(metric, soft[model], masks[rows])

    def of(model: int, *others: int) -> tuple[float, np.ndarray]:
        """The metric on the rows that the others predict too, and its resamples."""
        rows = np.logical_and.reduce([there[at] for at in (model, *others)])
        masks[rows.tobytes()] = rows
        return score(model, rows.tobytes())

    def told(model: int, other: int | None = None) -> Evidence:
        """What the groups tell about the model, or about its difference from another."""
        rows = there[model] if other is None else there[model] & there[other]
        ours = soft[model][rows]
        theirs = np.full_like(ours, 1 / ours.shape[1]) if other is None else soft[other][rows]
        return paired.evidence(labels[rows], (ours, theirs), drawn.codes[rows])

    found = []
    for model in range(len(each)):
        value, values = of(model)
        low, high = np.clip(clusters.quantiles(values[np.isfinite(values)], confidence, told(model)), 0, most)
        gap, ends = 0.0, (0.0, 0.0)
        if others := [at for at in range(len(each)) if at != model]:
            pairs = [(of(model, other), of(other, model)) for other in others]
            gaps = sign * np.array([ours[0] - theirs[0] for ours, theirs in pairs])
            changes = sign * np.array([ours[1] - theirs[1] for ours, theirs in pairs]) - gaps[:, None]
            gap, ends = _behind(gaps, changes, [told(model, other) for other in others], confidence)
            ends = max(ends[0], -most), min(ends[1], most)
        found.append(Compared(value, (float(low), float(high)), gap, ends))
    return found


def cheapest(models: Sequence[Compared]) -> int:
    """The position of the model to ship, among models in the order of their cost."""
    return next(at for at, model in enumerate(models) if model.gap_interval[0] <= 0)


def front(values: np.ndarray) -> np.ndarray:
    """Which models are on the Pareto front: bool[n], of float[n, k], where more is better in every column.

    No other one is at least as good in everything and better in something. Equal ones are both on it; one with a value
    that is not known (NaN) is not.
    """
    no_worse = (values[:, None] >= values[None]).all(axis=2)
    better = (values[:, None] > values[None]).any(axis=2)
    return np.asarray(~np.isnan(values).any(axis=1) & ~(no_worse & better).any(axis=0))


def on_old_classes(
    labels: np.ndarray, models: tuple[np.ndarray, np.ndarray], names: Sequence[str], groups: np.ndarray | None = None
) -> tuple[Gain, str]:
    """The gain in accuracy of a new model over an old one on rows of classes that both know, and what is surely worse.

    The latter is "" if nothing is: neither all rows together, nor, corrected for their number (Bonferroni), a class.
    `labels`: int[n]; `models`: float[n, classes] of the new and the old one; `names`: of the classes.
    """
    gains = paired.gains(labels, *models)
    found = paired.shares(gains, LEVEL, groups)
    parts = {"all of them": (np.ones(len(labels), bool), LEVEL)}
    known = np.unique(labels)
    parts |= {names[at]: (labels == at, LEVEL / len(known)) for at in known}
    worse = []
    for name, (rows, level) in parts.items():
        part = paired.shares(gains[rows], level, None if groups is None else groups[rows])
        if part.high < 0:
            worse.append(f"{name} {part.value:+.2%} ({part.low:+.2%} to {part.high:+.2%})")
    return Gain(found.value, found.low, found.high), ", ".join(worse)


def _behind(
    gaps: np.ndarray, changes: np.ndarray, told: Sequence[Evidence], confidence: float
) -> tuple[float, tuple[float, float]]:
    """The largest of some gaps, float[others], with its interval; `changes`: bootstrapped, float[others, draws].

    `told`: what the groups tell about each gap; nothing, if there is only one.
    """
    from scipy.stats import norm

    if not all(each.freedom for each in told):
        return float(gaps.max()), (-np.inf, np.inf)
    changes = changes[:, np.isfinite(changes).all(axis=0)]
    free, variances = np.array([each.freedom for each in told]), changes.var(axis=1)
    # The largest of several ratios tends to be one whose error seems small. Few groups are therefore helped by the
    # other gaps: Smyth 2004, https://doi.org/10.2202/1544-6115.1027.
    helped = (variances * free + variances.mean() * PRIOR) / (free + PRIOR)
    # Models that differ by the same on every unit have no variance; the next unit may still be another one.
    errors = np.maximum(np.sqrt(np.maximum(variances, helped)), np.abs(gaps) / (free + 1))
    studentised = np.divide(changes, errors[:, None], out=np.zeros_like(changes), where=errors[:, None] > 0)
    ratio = np.divide(gaps, errors, out=np.zeros_like(gaps), where=errors > 0)
    rivals = ratio >= min(-np.sqrt(2 * np.log(np.log(max(free.max(), 2) + 1))), ratio.max())
    # Resamples of few groups have no tails.
    unit = changes[rivals] / np.where(variances > 0, np.sqrt(variances * changes.shape[1]), 1)[rivals, None]
    normal = np.random.default_rng(0).multivariate_normal(
        np.zeros(len(unit)), unit @ unit.T, DRAWS, check_valid="ignore", method="eigh"
    )
    reach = max(float(np.quantile(of.max(axis=0), confidence)) for of in (studentised[rivals], normal.T))
    # The normal distribution's standard errors as Student's with the same tail.
    errors *= [np.sqrt(each.inflation) * each.reach(2 * norm.sf(max(reach, norm.ppf(confidence)))) for each in told]
    ends = gaps - errors, gaps + errors
    return float(gaps.max()), (float(ends[0].max()), float(ends[1].max()))
