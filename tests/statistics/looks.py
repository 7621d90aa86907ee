"""Looking at new images: how often something is said to have changed although nothing has, and how often if it has."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.stats import norm

from tasks.evaluation import calibration, drift, test_set_budget
from tasks.evaluation.statistics import bootstrap, two_samples
from tasks.evaluation.statistics.two_samples import Sample
from tasks.records import Accuracy, Gain
from tasks.stages.retraining import assess_changes
from tests.statistics import draws

EACH, ALIKE, LEVEL = 20, 0.1, 0.05
VALUES, CLASSES = 8, ("a", "b")
OLD, EVEN = 400, (0.5, 0.5)
#: Earlier and new images of each of nine looks.
FEW, EACH_LOOK = 160, 80


def _sample(
    random: np.random.Generator, rows: int, each: int, first: int = 0, shares: tuple[float, ...] = EVEN
) -> Sample:
    """Features in two classes that differ; a group, numbered from `first`, is mostly of one class."""
    own = random.choice(len(shares), rows, p=shares)
    if each > 1:
        mostly = random.choice(len(shares), -(-rows // each), p=shares)[np.arange(rows) // each]
        own = np.where(random.random(rows) < 0.7, mostly, own)
    features = draws.normal(random, (rows, VALUES), each, ALIKE if each > 1 else 0.0)
    groups = None if each == 1 else first + np.arange(rows) // each
    return Sample(features + own[:, None], own, groups)


def _drifted(
    rows: int, each: int, darker: float, shares: tuple[float, ...], seed: int, before: int = 0
) -> tuple[float, float]:
    """How often drift is said of new images whose features are lower by so many standard deviations.

    `before`: 1 if old images are single where new ones are in groups.
    """

    def once(run: int) -> bool:
        random = np.random.default_rng([run, 1])
        old, new = _sample(random, OLD, before or each), _sample(random, rows, each, OLD, shares)
        old = replace(old, groups=np.arange(OLD)) if before else old
        moved = Sample(new.features - darker, new.labels, new.groups)
        return drift.of_features(moved, old, CLASSES, run).drifted

    return draws.share(once, seed, 60 if darker else 150)


def _shares_differ(rows: int, each: int, seed: int) -> tuple[float, float]:
    """How often the class shares are said to differ, by labels."""

    def once(run: int) -> bool:
        random = np.random.default_rng([run, 1])
        old, new = _sample(random, OLD, each), _sample(random, rows, each, OLD)
        return drift._shares(new, old, CLASSES, LEVEL, run)[0] <= LEVEL

    return draws.share(once, seed, 2000)


def _rights(random: np.random.Generator, sample: Sample, each: int, accuracy: tuple[float, ...]) -> np.ndarray:
    luck = draws.normal(random, (len(sample.labels),), each, ALIKE if each > 1 else 0.0)
    return (luck < norm.ppf(accuracy)[sample.labels]).astype(float)


def _worse(rows: int, each: int, shares: tuple[float, ...], loss: float, seed: int) -> tuple[float, float]:
    """How often the champion is said to be worse on new images; it is better at one of the classes."""

    def once(run: int) -> bool:
        random = np.random.default_rng([run, 1])
        old, new = _sample(random, OLD, each), _sample(random, rows, each, OLD, shares)
        right = np.r_[_rights(random, new, each, (0.95 - loss, 0.75 - loss)), _rights(random, old, each, (0.95, 0.75))]
        return two_samples.seldomer(right, *two_samples.joined(new, old), run) <= LEVEL

    return draws.share(once, seed, 60 if loss else 150)


def _nine(each: int, seed: int) -> tuple[float, float]:
    """How often any of nine looks starts a training: new images each, against the same old ones and a test set."""

    def once(run: int) -> bool:
        random = np.random.default_rng([run, 1])
        old, tested = _sample(random, FEW, each), _sample(random, FEW, each, FEW)
        right = _rights(random, tested, each, (0.95, 0.75))
        for look in range(9):
            level = test_set_budget.level(LEVEL, look) / 3
            new = _sample(random, EACH_LOOK, each, 2 * FEW)
            rights = np.r_[_rights(random, new, each, (0.95, 0.75)), right]
            p = two_samples.seldomer(rights, *two_samples.joined(new, tested), run)
            gained = draws.normal(random, (OLD,), each, ALIKE if each > 1 else 0.0)
            found = Gain(gained.mean(), *bootstrap.student(gained, 1 - level, draws.in_groups(OLD, each)))
            drifted = drift.of_features(new, old, CLASSES, run, level)
            if assess_changes.because(drifted, Accuracy(EACH_LOOK, 0.0, 0.0, p), found, level):
                return True
        return False

    return draws.share(once, seed, 60)


def _novel(validation: int, images: int, each: int, seed: int) -> tuple[float, float]:
    """How often familiar images are said to be unlike the training images."""

    def once(run: int) -> bool:
        random, alike = np.random.default_rng([run, 1]), ALIKE if each > 1 else 0.0
        limit = calibration.limit(1 + np.abs(draws.normal(random, (validation,), each, alike)), 0.05)
        beyond = 1 + np.abs(draws.normal(random, (images,), each, alike)) > limit
        groups = draws.in_groups(images, each)
        effect = drift.effect(beyond[:, None], groups) if groups is not None else 1.0
        said = drift.of_answers({"a": images}, {"a": 1}, int(beyond.sum()), 0.05, validation, (effect, effect))
        return said[1]["novelty"] < LEVEL / 2

    return draws.share(once, seed, 4000)


_FALSE, _TOLD = "said in at most 0.05", "said in at least 0.80"
LINES: list[tuple[str, str, Callable[[int], tuple[float, float]]]] = [
    *(
        (f"{what}, {rows} new images{f' in groups of {each}' if each > 1 else ''}, {case}", claim, of)
        for rows, each in ((100, 1), (200, EACH))
        for what, case, claim, of in (
            ("drift", "nothing changed", _FALSE, partial(_drifted, rows, each, 0.0, EVEN)),
            ("drift", "other class shares", _FALSE, partial(_drifted, rows, each, 0.0, (0.8, 0.2))),
            ("drift", "features lower by 0.6 standard deviations", _TOLD, partial(_drifted, rows, each, 0.6, EVEN)),
            ("other class shares", "nothing changed", _FALSE, partial(_shares_differ, rows, each)),
            ("champion is worse", "other class shares", _FALSE, partial(_worse, rows, each, (0.2, 0.8), 0.0)),
            ("champion is worse", "by 20 points", _TOLD, partial(_worse, rows, each, EVEN, 0.2)),
        )
    ),
    (
        "drift, 200 new images in groups of 20, old ones single, nothing changed",
        _FALSE,
        partial(_drifted, 200, EACH, 0.0, EVEN, before=1),
    ),
    ("nine looks at new images, nothing changed", "any trains in at most 0.05", partial(_nine, 1)),
    ("nine looks at new images in groups of 20", "any trains in at most 0.05", partial(_nine, EACH)),
    ("novelty, 390 validation and 2000 new images", "said in at most 0.025", partial(_novel, 390, 2000, 1)),
    ("novelty, 400 and 2000 images in groups of 20", "said in at most 0.025", partial(_novel, 400, 2000, EACH)),
]
