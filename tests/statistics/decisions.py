"""The gates: how often a model that is no better is promoted, and how often as many images as asked for are enough."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.stats import norm

from tasks.evaluation import gates, test_set_budget
from tasks.evaluation.gates import Case
from tasks.evaluation.statistics import clusters, paired, resampled
from tests.statistics import draws

EACH, ALIKE, LEVEL = 20, 0.1, 0.05
#: Correlation of two models on a row: what is hard for one is hard for the other.
COMMON = 0.7


def models(
    seed: int,
    rows: int,
    accuracy: tuple[float, float],
    each: draws.Each = 1,
    shares: tuple[float, ...] = (0.5, 0.5),
    alike: float = ALIKE,
) -> Case:
    """A challenger and a champion with these accuracies, on rows alone or in groups."""
    random, classes, alike = np.random.default_rng(seed), len(shares), 0.0 if each == 1 else alike
    labels, hard = random.choice(classes, rows, p=shares), draws.normal(random, (rows,), each, alike)
    answers = []
    for share in accuracy:
        own = draws.normal(random, (rows,), each, alike)
        right = np.sqrt(COMMON) * hard + np.sqrt(1 - COMMON) * own < norm.ppf(share)
        said = np.where(right, labels, (labels + random.integers(1, classes, rows)) % classes)
        sure = np.where(random.random(rows) < 0.5, 0.9, 0.8)[:, None]
        answers.append(np.where(np.eye(classes)[said] == 1, sure, (1 - sure) / (classes - 1)))
    names = tuple("abcdefghijkl"[:classes])
    return Case(labels, names, *answers, groups=draws.in_groups(rows, each), level=LEVEL, next_level=LEVEL)


def promoted(case: Case, gate: str = "not_worse_than_champion", **options: object) -> bool:
    """Whether the gate passes."""
    return gates.run({gate: dict(options)}, case)[0].outcome == "passed"


def _equal(metric: str, rows: int, each: int, runs: int, seed: int) -> tuple[float, float]:
    return draws.share(lambda run: promoted(models(run, rows, (0.85, 0.85), each), metric=metric), seed, runs)


def _worse(each: str, gate: str, seed: int, **options: float) -> tuple[float, float]:
    """How often a gate passes that allows just what is true: a loss of 5 points, or such a share of negative flips."""
    rows = int(draws.UNEQUAL[each].sum())

    def of(run: int) -> Case:
        return models(run, rows, (0.85, 0.85 if gate == "max_negative_flips" else 0.90), each, alike=0.25)

    if gate == "max_negative_flips":
        options = {"at_most": float(np.mean([(of(10**6 + run).pair.gains < 0).mean() for run in range(100)]))}
    return draws.share(lambda run: promoted(of(run), gate, **options), seed, 400)


def _better(rows: int, each: int, seed: int) -> tuple[float, float]:
    return draws.share(lambda run: promoted(models(run, rows, (0.90, 0.85), each)), seed, 400)


def _covered(rows: int, each: int, seed: int) -> tuple[float, float]:
    """How often the interval holds the true gain of 3 points."""

    def once(run: int) -> bool:
        pair = models(run, rows, (0.88, 0.85), each).pair
        assert pair
        found = paired.shares(pair.gains, LEVEL, pair.groups)
        return bool(found.low <= 0.03 <= found.high)

    return draws.share(once, seed, 1000)


def _trained_on(seed: int) -> tuple[float, float]:
    """A challenger that is better by 5 points, and a champion that was trained on a third of the test images."""

    def once(run: int) -> bool:
        case = models(run, 1950, (0.90, 0.85))
        learned, seen = case.champion.copy(), np.arange(1950) < 650
        learned[seen] = np.where(np.eye(2)[case.labels[seen]] == 1, 0.99, 0.01)
        return not promoted(replace(case, champion=learned, unseen=~seen))

    return draws.share(once, seed, 400)


def _looks(grows: bool, seed: int) -> tuple[float, float]:
    """Whether any of 30 equal challengers is promoted, on a test set that stays, or grows by 100 images each time."""

    def once(run: int) -> bool:
        sizes = [650 + 100 * number * grows for number in range(30)]
        random = np.random.default_rng(run)
        hard = random.normal(size=sizes[-1])

        def right() -> np.ndarray:
            return np.sqrt(COMMON) * hard + np.sqrt(1 - COMMON) * random.normal(size=len(hard)) < norm.ppf(0.85)

        champion, sketches = right().astype(float), list[str]()
        keys = [f"{number:012x}" for number in random.permutation(10**6)[: len(hard)]]
        for rows in sizes:
            today = test_set_budget.sketch(keys[:rows])
            level = test_set_budget.level(LEVEL, test_set_budget.worn(today, sketches))
            sketches.append(today)
            gains = right()[:rows] - champion[:rows]
            if gains.sum() > 0 and paired.p_value(gains, None, run) <= level:
                return True
        return False

    return draws.share(once, seed, 300)


def _looks_by(metric: str, seed: int) -> tuple[float, float]:
    """Whether any of 30 equal challengers is promoted by the bootstrap of a metric, on 300 images that stay."""

    def once(run: int) -> bool:
        random, rows = np.random.default_rng(run), np.ones(300, bool)
        labels, hard = random.integers(0, 2, 300), random.normal(size=300)
        drawn, sign = resampled.Drawn(labels, run), -1 if metric in resampled.LOSSES else 1

        def model() -> np.ndarray:
            return draws.binary(labels, 1 / (1 + np.exp(-1.5 - 1.2 * hard - 0.9 * random.normal(size=300))))

        champion = model()
        old = drawn.score(metric, champion, rows)[1]
        for look in range(30):
            challenger = model()
            changes = sign * (drawn.score(metric, challenger, rows)[1] - old)
            told = paired.evidence(labels, (challenger, champion), None)
            if clusters.quantiles(changes, 1 - test_set_budget.level(LEVEL, look) / 2, told)[0] > 0:
                return True
        return False

    return draws.share(once, seed, 100)


def _new_class(metric: str, seed: int) -> tuple[float, float]:
    """How often a challenger that is worse by 8 points replaces a champion that does not know a class of a tenth."""

    def once(run: int) -> bool:
        case = models(run, 650, (0.85, 0.93), shares=(0.45, 0.45, 0.1))
        champion = np.where(case.labels[:, None] == 2, np.eye(3)[0], case.champion)
        champion[:, 2] = 0
        return promoted(replace(case, champion=champion, known=("a", "b")), metric=metric)

    return draws.share(once, seed, 200)


def _lost_class(rows: int, seed: int) -> tuple[float, float]:
    """How often a class of so many images that falls from 90 to 70 % passes."""

    def once(run: int) -> bool:
        case = models(run, 1000, (0.9, 0.9))
        small = models(run + 10**6, rows, (0.7, 0.9))
        parts = [np.pad(each, ((0, 0), (0, 1))) for each in (case.challenger, case.champion)]
        added = [np.pad(each[np.arange(rows), :], ((0, 0), (0, 1))) for each in (small.challenger, small.champion)]
        # The small class is the third; a wrong answer says the first.
        for each in added:
            right = each.argmax(axis=1) == small.labels
            each[:] = np.where(right[:, None], [0.05, 0.05, 0.9], [0.9, 0.05, 0.05])
        labels = np.r_[case.labels, np.full(rows, 2)]
        both = [np.concatenate(two) for two in zip(parts, added, strict=True)]
        return promoted(Case(labels, ("a", "b", "c"), *both, level=LEVEL), "no_class_regression")

    return draws.share(once, seed, 300)


def _enough(gate: str, rows: int, each: int, accuracy: tuple[float, float], shares: tuple[float, ...], seed: int):
    """How often as many more images as are asked for pass, drawn from those that were seen."""
    case = models(seed + 1, rows, accuracy, each, shares)
    while (found := gates.run({gate: {}}, case)[0]).outcome != "undecided" or not found.more or found.more > 20 * rows:
        seed += 1000
        case = models(seed + 1, rows, accuracy, each, shares)
    code = np.arange(rows) if case.groups is None else case.groups
    order, sizes = np.argsort(code, kind="stable"), np.bincount(code)
    starts = sizes.cumsum() - sizes

    def once(run: int) -> bool:
        drawn = np.random.default_rng(run).integers(0, len(sizes), round((rows + found.more) / sizes.mean()))
        chosen = np.concatenate([order[starts[at] : starts[at] + sizes[at]] for at in drawn])
        groups = None if case.groups is None else np.repeat(np.arange(len(drawn)), sizes[drawn])
        grown = replace(
            case,
            labels=case.labels[chosen],
            challenger=case.challenger[chosen],
            champion=case.champion[chosen],
            groups=groups,
        )
        return gates.run({gate: {}}, grown)[0].outcome != "undecided"

    return draws.share(once, seed, 200)


_EQUAL, _SIX = "an equal model is promoted in at most 0.025", (1 / 6,) * 6
LINES: list[tuple[str, str, Callable[[int], tuple[float, float]]]] = [
    ("gate by accuracy, 650 images", _EQUAL, partial(_equal, "accuracy", 650, 1, 2000)),
    ("gate by accuracy, 660 images in groups of 20", _EQUAL, partial(_equal, "accuracy", 660, EACH, 1000)),
    ("gate by log_loss, 650 images", _EQUAL, partial(_equal, "log_loss", 650, 1, 100)),
    ("gate by log_loss, 660 images in groups of 20", _EQUAL, partial(_equal, "log_loss", 660, EACH, 200)),
    ("gate by accuracy, 650 images, 5 points better", "is promoted in at least 0.80", partial(_better, 650, 1)),
    ("interval of a gain of 3 points, 650 images", "0.93 to 0.97", partial(_covered, 650, 1)),
    ("interval of a gain of 3 points, 660 in groups of 20", "0.93 to 0.97", partial(_covered, 660, EACH)),
    *(
        (f"{name}, {each}", "passes in at most 0.025", partial(_worse, each, gate, **options))
        for each in draws.UNEQUAL
        for name, gate, options in (
            ("gate with a margin of 5 points, a model is worse by them", "not_worse_than_champion", {"margin": 0.05}),
            ("max_negative_flips, as many as are allowed", "max_negative_flips", {}),
        )
        if each != "8 groups of 40"  # too few are undecided
    ),
    ("gate, champion trained on a third of the test images", "a better model is kept out in at most 0.05", _trained_on),
    ("30 decisions on one test set", "any equal model is promoted in at most 0.05", partial(_looks, False)),
    *(
        (f"30 decisions by {metric} on one test set", "any equal model is promoted in at most 0.05", of)
        for metric in ("log_loss", "balanced_accuracy")
        for of in [partial(_looks_by, metric)]
    ),
    ("30 decisions on a test set that grows", "any equal model is promoted in at most 0.05", partial(_looks, True)),
    *(
        (f"gate by {metric}, a class of 10 % is new", "a worse model is promoted in at most 0.025", of)
        for metric in ("accuracy", "log_loss")
        for of in [partial(_new_class, metric)]
    ),
    ("no_class_regression, a class of 9 falls by 20 points", "passes in at most 0.05", partial(_lost_class, 9)),
    ("no_class_regression, a class of 60 falls by 20 points", "passes in at most 0.05", partial(_lost_class, 60)),
    *(
        (f"how many more, {name}", "0.75 to 0.87", partial(_enough, gate, rows, each, accuracy, shares))
        for name, gate, rows, each, accuracy, shares in (
            ("accuracy", "not_worse_than_champion", 650, 1, (0.87, 0.85), (0.5, 0.5)),
            ("accuracy, groups of 20", "not_worse_than_champion", 2000, EACH, (0.88, 0.85), (0.5, 0.5)),
            ("six classes", "no_class_regression", 600, 1, (0.97, 0.97), _SIX),
        )
    ),
]
