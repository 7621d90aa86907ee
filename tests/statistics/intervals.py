"""Intervals of scores, calibration, prediction sets, abstention and slices: how often they hold."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from tasks.evaluation import calibration, gates, metrics
from tasks.evaluation.gates import Case
from tasks.evaluation.statistics import simultaneous
from tests.statistics import draws

#: The rare class has 1.5 % of the rows.
SHARES, RECALLS = [0.7, 0.285, 0.015], [0.9, 0.85, 0.8]
MANY, RUNS = 300_000, 1000
#: Recall of each of many classes.
EQUAL = 0.95
#: Rows of a group, and how alike they are: the correlation of rights and wrongs is about 0.1.
EACH, ALIKE = 20, 0.25
#: The required precision of answers, and the required coverage of sets.
PRECISION, COVERAGE = 0.95, 0.9


@cache
def _truth(name: str) -> float:
    return metrics.evaluate(*draws.classified(0, SHARES, RECALLS, MANY)[:2])[name]


@cache
def _calibration_error(sure: float) -> float:
    return metrics.evaluate(*draws.soft(0, MANY, 4, sure=sure)[:2])["ece"] if sure != 1 else 0.0


def _covered(name: str, rows: int, each: draws.Each, seed: int) -> tuple[float, float]:
    """How often the interval of a metric holds the metric of very many rows."""

    def once(run: int) -> bool:
        drawn = draws.classified(1 + run, SHARES, RECALLS, rows, each, ALIKE if each != 1 else 0.0)
        low, high = metrics.interval(name, *drawn[:2], run, drawn[2])
        return low <= _truth(name) <= high

    return draws.share(once, seed, RUNS if name != "log_loss" and isinstance(each, int) else 400)


def _many_covered(name: str, classes: int, rows: int, each: int, seed: int) -> tuple[float, float]:
    """The same with many equal classes, whose recall and F1 are 0.95."""

    def once(run: int) -> bool:
        shares, recalls = [1 / classes] * classes, [EQUAL] * classes
        labels, said, groups = draws.classified(1 + run, shares, recalls, rows, each, ALIKE if each > 1 else 0.0)
        low, high = metrics.interval(name, labels, said, run, groups)
        return low <= EQUAL <= high

    return draws.share(once, seed, RUNS)


def _error_covered(sure: float, rows: int, each: int, seed: int) -> tuple[float, float]:
    """How often the interval of the calibration error holds the true one."""

    def once(run: int) -> bool:
        drawn = draws.soft(1 + run, rows, 4, sure=sure, each=each, alike=ALIKE if each > 1 else 0.0)
        low, high = metrics.interval("ece", *drawn[:2], run, drawn[2])
        return low <= _calibration_error(sure) <= high

    return draws.share(once, seed, 150)


def _judged(at_most: float, rows: int, each: int, outcome: str = "failed", *, seed: int) -> tuple[float, float]:
    """How often the gate judges a calibrated network so."""

    def once(run: int) -> bool:
        labels, said, groups = draws.soft(run, rows, 4, each=each, alike=ALIKE if each > 1 else 0.0)
        case = Case(labels, tuple("abcd"), said, groups=groups, seed=run)
        return gates.run({"max_calibration_error": {"at_most": at_most}}, case)[0].outcome == outcome

    return draws.share(once, seed, 150)


def _too_sure_passes(rows: int, each: int, seed: int) -> tuple[float, float]:
    """How often a network passes that is always sure, and right in 0.88, where a group is right or wrong as one."""

    def once(run: int) -> bool:
        wrong = np.repeat(np.random.default_rng(run).random(rows // each) >= 0.88, each)
        said = np.tile([0.9999, 0.0001], (rows, 1))
        case = Case(wrong.astype(int), ("a", "b"), said, groups=draws.in_groups(rows, each), seed=run)
        return gates.run({"max_calibration_error": {"at_most": 0.1}}, case)[0].outcome == "passed"

    return draws.share(once, seed, 400)


def _held(images: tuple[int, ...], each: int, seed: int) -> tuple[float, float]:
    """How often a set holds the label of a new image of the last class, a mean over data sets."""

    def answers(random: np.random.Generator, labels: np.ndarray, each: int) -> np.ndarray:
        noise = draws.normal(random, (len(labels), 3), each, ALIKE if each > 1 else 0.0)
        logits = noise + np.eye(3)[labels] * np.array([3, 3, 0.5])[labels][:, None]
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    found = []
    for run in range(400):
        random = np.random.default_rng(seed * 400 + run)
        labels = np.repeat(np.arange(3), images)
        said = answers(random, labels, each)
        thresholds = calibration.set_thresholds(labels, said, COVERAGE, draws.in_groups(len(labels), each))
        fresh = np.full(500, 2)
        found.append(calibration.sets(answers(random, fresh, 1), thresholds)[:, 2].mean())
    return float(np.mean(found)), float(np.std(found) / 20)


def _imprecise(rows: int, each: int, seed: int) -> tuple[float, float]:
    """How often the answers that are given are less precise than promised."""
    fresh, answers, _ = draws.soft(10**9, MANY // 3, 3)
    confidence, right = answers.max(axis=1), answers.argmax(axis=1) == fresh

    def once(run: int) -> bool:
        labels, said, groups = draws.soft(run, rows, 3, each=each, alike=ALIKE if each > 1 else 0.0)
        threshold = calibration.surest(labels, said, PRECISION, groups)
        return threshold is not None and bool(right[confidence >= threshold].mean() < PRECISION)

    return draws.share(once, seed, 400)


def _silent(seed: int) -> tuple[float, float]:
    """How often nothing is shown where 72 of 100 answers could be given."""
    return draws.share(lambda run: calibration.surest(*draws.soft(run, 390, 3, 4.0)[:2], PRECISION) is None, seed, 400)


def _gap_seen(each: int, seed: int) -> tuple[float, float]:
    """How often any of eight slices seems to differ from the rest where none does; a group is in one slice."""

    def once(run: int) -> bool:
        random = np.random.default_rng(run)
        groups = draws.in_groups(800, each)
        own = random.integers(0, 8, 800 // each)[np.arange(800) // each]
        right = (draws.normal(random, (800,), each, ALIKE if each > 1 else 0.0) < 1).astype(float)
        _, low, high = simultaneous.intervals(right, own[:, None] == np.arange(8), run, groups)
        return bool(((low > 0) | (high < 0)).any())

    return draws.share(once, seed, 400)


def _grouped(each: int) -> str:
    return f" in groups of {each}" if each > 1 else ""


LINES: list[tuple[str, str, Callable[[int], tuple[float, float]]]] = [
    *(
        (f"interval of {name}, {rows} images{_grouped(each)}", "0.93 to 0.97", of)
        for name in ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc")
        for rows, each in ((200, 1), (650, 1), (1000, EACH))
        for of in [partial(_covered, name, rows, each)]
    ),
    *(
        (f"interval of {name}, {classes} classes, {rows} images{_grouped(each)}", "0.93 to 0.97", of)
        for name in ("balanced_accuracy", "macro_f1")
        for classes, rows, each in ((10, 200, 1), (30, 200, 1), (100, 650, 1), (30, 1000, EACH))
        for of in [partial(_many_covered, name, classes, rows, each)]
    ),
    ("interval of log_loss, 200 images", "0.93 to 0.97", partial(_covered, "log_loss", 200, 1)),
    ("interval of log_loss, 1000 images in groups of 20", "0.93 to 0.97", partial(_covered, "log_loss", 1000, EACH)),
    *(
        (f"interval of {name}, {each}", "at least 0.93", partial(_covered, name, int(sizes.sum()), each))
        for each, sizes in draws.UNEQUAL.items()
        for name in ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss")
    ),
    ("interval of ece, calibrated, 650 images", "at least 0.95", partial(_error_covered, 1.0, 650, 1)),
    ("interval of ece, overconfident, 650 images", "0.93 to 1", partial(_error_covered, 2.0, 650, 1)),
    ("interval of ece, overconfident, 1000 in groups of 20", "0.93 to 1", partial(_error_covered, 2.0, 1000, EACH)),
    ("max_calibration_error, calibrated, 100 images", "fails in at most 0.03", partial(_judged, 0.05, 100, 1)),
    *(
        (f"max_calibration_error, calibrated, {rows} images{_grouped(each)}", "passes in at least 0.95", of)
        for rows, each in ((650, 1), (1000, EACH))
        for of in [partial(_judged, 0.1, rows, each, "passed")]
    ),
    *(
        (f"max_calibration_error, error 0.12, {rows} images{_grouped(each)}", "passes in at most 0.025", of)
        for rows, each in ((10, 1), (60, 1), (200, EACH), (1000, EACH))
        for of in [partial(_too_sure_passes, rows, each)]
    ),
    ("prediction sets, class of 5 images", "at least 0.90", partial(_held, (60, 30, 5), 1)),
    ("prediction sets, class of 30 images", "at least 0.90", partial(_held, (60, 30, 30), 1)),
    ("prediction sets, class of 20 groups of 5", "at least 0.90", partial(_held, (100, 100, 100), 5)),
    ("abstention, 390 images", "imprecise in at most 0.10", partial(_imprecise, 390, 1)),
    ("abstention, 2000 images in groups of 20", "imprecise in at most 0.10", partial(_imprecise, 2000, EACH)),
    ("abstention, 390 images, 72 % can be answered", "silent in at most 0.10", _silent),
    ("gaps of 8 slices, 800 images", "seen in at most 0.05", partial(_gap_seen, 1)),
    ("gaps of 8 slices, 800 images in groups of 10", "seen in at most 0.05", partial(_gap_seen, 10)),
]
