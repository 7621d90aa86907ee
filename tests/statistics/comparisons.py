"""Does transfer help? How often words about gains, and about methods trained several times, are wrong."""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.stats import norm

from tasks.evaluation import learning_curves
from tasks.evaluation.learning_curves import Curves
from tasks.evaluation.statistics import equivalence, paired
from tasks.records import SCRATCH, TRANSFER, Gain, Gap
from tasks.reports import sentences
from tests.statistics import draws

MARGIN = 0.02
#: Rows of a group, and how alike they are.
EACH, ALIKE = 20, 0.25
SIZES = (100, 200, 400, 800, 1600)
METHODS = (*TRANSFER, *SCRATCH)


def _rights(random: np.random.Generator, shares: tuple[float, ...], rows: int, each: int) -> np.ndarray:
    """Which of two models' answers are right, bool[2, n], in shares of very many rows; hard rows are hard for both."""
    alike = ALIKE if each > 1 else 0.0
    hard = draws.normal(random, (rows,), each, alike)
    own = [draws.normal(random, (rows,), each, alike) for _ in shares]
    return np.array(
        [np.sqrt(0.6) * hard + np.sqrt(0.4) * one < norm.ppf(share) for one, share in zip(own, shares, strict=True)]
    )


def _gain(random: np.random.Generator, gain: float, rows: int, each: int) -> Gain:
    new, old = _rights(random, (0.7 + gain, 0.7), rows, each).astype(float)
    found = paired.shares(new - old, equivalence.LEVEL, draws.in_groups(rows, each))
    return equivalence.gain(found, MARGIN)


def _said(words: tuple[str, ...], gain: float, rows: int, each: int, seed: int) -> tuple[float, float]:
    """How often the check of a run says one of some words, where this is the true gain in accuracy."""
    scores = {who: {"accuracy": 0.7, "log_loss": 0.5} for who in ("pretrained", "random", "majority")}

    def once(run: int) -> bool:
        found = _gain(np.random.default_rng(run), gain, rows, each)
        said = sentences.weights(scores, {"accuracy": found, "log_loss": Gain(0.0, -0.1, 0.1)}, MARGIN)
        return any(word in said for word in words)

    return draws.share(once, seed, 1000)


def _told(gain: float, rows: int, each: int, seed: int) -> tuple[float, float]:
    """How often as many more rows as are asked for tell, where the gain seen is about the true one."""
    seen = [_gain(np.random.default_rng([seed, run]), gain, rows, each) for run in range(1000)]
    more = [found.more for found in seen if found.more and abs(found.value - gain) < 0.01]

    def once(run: int) -> bool:
        every = rows + more[run % len(more)] // each * each
        return equivalence.finding(_gain(np.random.default_rng(run), gain, every, each), MARGIN) != "open"

    return draws.share(once, 1 + seed, 400)


def _curves(random: np.random.Generator, gain: float, trainings: int, each: int, scratch: int, rows: int) -> Curves:
    """Hits of methods at five sizes; those from pretrained weights are all equal, as are those from random ones.

    A method has rows of its own that are easy for it; a training has luck of its own, on all rows and on single ones.
    """
    alike = ALIKE if each > 1 else 0.0
    hard, hits = draws.normal(random, (rows,), each, alike), {}
    for number, method in enumerate(METHODS[: len(TRANSFER) + scratch]):
        own = hard + 0.5 * draws.normal(random, (rows,), each, alike)
        for size in SIZES:
            noise = own[None].T + 0.6 * draws.normal(random, (rows, trainings), each, alike)
            luck = 0.15 * random.normal(size=trainings)
            # Of a sum of these variances; its mean is where 0.7 of the rows are right.
            wide = np.sqrt(1 + 0.5**2 + 0.6**2 + 0.15**2)
            limit = wide * norm.ppf(0.7 + (gain if number < len(TRANSFER) else 0.0))
            hits[method, size] = dict(enumerate((noise + luck < limit).T))
    return Curves(hits, draws.in_groups(rows, each))


def _compared(
    answers: tuple[str, ...], gain: float, trainings: int, each: int, scratch: int, seed: int
) -> tuple[float, float]:
    """How often a comparison ends with one of these answers, where this is the true gain at all sizes."""

    def once(run: int) -> bool:
        found = _curves(np.random.default_rng(run), gain, trainings, each, scratch, 400)
        return sentences.answer(learning_curves.gaps(found, MARGIN), MARGIN) in answers

    return draws.share(once, seed, 600)


def _told_by_more(gain: float, each: int, seed: int) -> tuple[float, float]:
    """How often as many more trainings as are asked for tell, at the largest size, where the gain seen is about so."""

    def last(run: int, trainings: int) -> Gap:
        return learning_curves.gaps(_curves(np.random.default_rng(run), gain, trainings, each, 2, 400), MARGIN)[-1]

    seen = [last(1000 * (1 + seed) + run, 4) for run in range(150)]
    more = [gap.more_trainings for gap in seen if gap.more_trainings and abs(gap.gain.value - gain) < 0.02]

    def once(run: int) -> bool:
        return equivalence.finding(last(run, 4 + more[run % len(more)]).gain, MARGIN) != "open"

    return draws.share(once, seed, 200)


def _predicted(floor: float, seed: int) -> tuple[float, float]:
    """How often the number of images that is said to be needed is wrong, among comparisons that say one."""
    random, wrong = np.random.default_rng(seed), []
    errors = floor + 1.2 * np.array(SIZES) ** -0.35
    target = errors[-1] - 0.06
    truth = ((target - floor) / 1.2) ** (-1 / 0.35) if target > floor else np.inf
    for _ in range(300):
        hard, hits = random.normal(size=1000), {}
        for method, size, error in (*zip(["scratch"] * 5, SIZES, errors, strict=True), ("frozen", SIZES[-1], target)):
            noise = hard[None] + 0.6 * random.normal(size=(5, 1000)) + 0.05 * random.normal(size=(5, 1))
            hits[method, size] = dict(enumerate(noise < np.sqrt(1 + 0.6**2 + 0.05**2) * norm.isf(error)))
        gap = learning_curves.gaps(Curves(hits), MARGIN)[-1]
        if reached := learning_curves.catches_up(Curves(hits), gap, 0.9):
            wrong.append(not reached[0] <= truth <= reached[1])
    share = float(np.mean(wrong)) if wrong else 0.0
    return share, max(np.sqrt(share * (1 - share) / max(len(wrong), 1)), 1 / max(len(wrong), 1))


_GAIN, _HARM, _NONE = "weights gain", "harm here", "do not help"
_DIFFERENT = ("helps", "harms", "catches up")
_APART, _NOT, _HELPS = "told apart in at most 0.05", "`does not help` in at most 0.05", "`helps` in at least 0.80"
LINES: list[tuple[str, str, Callable[[int], tuple[float, float]]]] = [
    *(
        (f"check of weights, {rows} images{f' in groups of {each}' if each > 1 else ''}, {gain}", claim, function)
        for rows, each in ((100, 1), (400, EACH))
        for gain, claim, function in (
            ("gain 0.10", "`do not help` in at most 0.05", partial(_said, (_NONE,), 0.1, rows, each)),
            ("gain 0.02", "`do not help` in at most 0.05", partial(_said, (_NONE,), 0.02, rows, each)),
            ("gain 0", "`gain` or `harm` in about 0.05", partial(_said, (_GAIN, _HARM), 0.0, rows, each)),
        )
    ),
    ("check of weights, 8000 images, gain 0", "`do not help` in at least 0.80", partial(_said, (_NONE,), 0.0, 8000, 1)),
    ("check of weights, 200 images and N more, gain 0.07", "told in about 0.80", partial(_told, 0.07, 200, 1)),
    ("check of weights, 400 in groups and N more, gain 0.07", "told in about 0.80", partial(_told, 0.07, 400, EACH)),
    *(
        (f"compare, {names}", claim, partial(_compared, answers, gain, trainings, each, scratch))
        for names, claim, answers, gain, trainings, each, scratch in (
            ("2 equal methods against 2, 5 trainings", _APART, _DIFFERENT, 0.0, 5, 1, 2),
            ("2 equal methods against 1, 5 trainings", _APART, _DIFFERENT, 0.0, 5, 1, 1),
            ("2 equal methods against 1, 4 trainings", _APART, _DIFFERENT, 0.0, 4, 1, 1),
            ("2 equal methods against 1, 3 trainings", _APART, _DIFFERENT, 0.0, 3, 1, 1),
            ("2 equal methods against 1, 5 trainings, groups of 20", _APART, _DIFFERENT, 0.0, 5, EACH, 1),
            ("gain 0.10, 5 trainings", _NOT, ("does not help",), 0.1, 5, 1, 2),
            ("gain 0.10, 5 trainings", _HELPS, ("helps",), 0.1, 5, 1, 2),
            ("gain 0.10, 5 trainings, groups of 20", _NOT, ("does not help",), 0.1, 5, EACH, 2),
        )
    ),
    ("compare, 4 trainings and N more, gain 0.07", "told in about 0.80", partial(_told_by_more, 0.07, 1)),
    ("images to catch up, no floor", "wrong in at most 0.05", partial(_predicted, 0.0)),
    ("images to catch up, floor 0.10", "wrong in at most 0.05", partial(_predicted, 0.1)),
]
