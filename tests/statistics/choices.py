"""The ladder's choice: how often a dearer rung is taken that is no better, and one that is."""

from collections.abc import Callable
from functools import partial

import numpy as np

from tasks.evaluation import model_choice
from tasks.evaluation.statistics import bootstrap
from tests.statistics import draws

RUNS = 300
Drawn = tuple[np.ndarray, list[np.ndarray]]


def equal(random: np.random.Generator, rows: int, each: draws.Each, better: float = 0.0, alike: float = 0.1) -> Drawn:
    """Labels, and five rungs' probabilities; a row is equally hard for all, and the last rung may be better."""
    labels, of = random.integers(0, 2, rows), draws.in_groups(rows, each)
    hard = random.normal(1, 1.2, rows)
    margins = [hard + 0.8 * draws.noise(random, rows, of, alike) + better * (rung == 4) for rung in range(5)]
    return labels, [draws.binary(labels, 1 / (1 + np.exp(-1.5 * margin))) for margin in margins]


def stopped(random: np.random.Generator, rows: int, each: draws.Each) -> Drawn:
    """As `equal`, but the four dearer rungs are each the best of three epochs, chosen on the same rows."""
    labels, of = random.integers(0, 2, rows), draws.in_groups(rows, each)
    hard, found = random.normal(1, 1.2, rows), []
    for rung in range(5):
        own = hard + 0.8 * draws.noise(random, rows, of)
        epochs = [own + 0.25 * draws.noise(random, rows, of) for _ in range(3 if rung else 1)]
        soft = [draws.binary(labels, 1 / (1 + np.exp(-1.5 * margin))) for margin in epochs]
        found.append(min(soft, key=lambda answers: bootstrap.losses(labels, answers).mean()))
    return labels, found


def heavy(random: np.random.Generator, rows: int, each: draws.Each) -> Drawn:
    """Five rungs whose losses are the same but for noise, and heavy-tailed."""
    labels, of = random.integers(0, 2, rows), draws.in_groups(rows, each)
    loss = random.exponential(0.35, rows)
    found = [loss * np.exp(0.35 * draws.noise(random, rows, of)) for _ in range(5)]
    return labels, [draws.binary(labels, np.exp(-each)) for each in found]


def dearer(
    seed: int,
    draw: Callable[..., Drawn],
    metric: str,
    rows: int,
    each: draws.Each,
    **others: float,
) -> tuple[float, float]:
    """How often a dearer rung than the first is taken, and the Monte-Carlo error of that."""
    taken = []
    for run in range(RUNS):
        random = np.random.default_rng([seed, run])
        labels, found = draw(random, rows, each, **others)
        compared = model_choice.compared(labels, found, metric, 0.95, run, draws.in_groups(rows, each))
        taken.append(model_choice.cheapest(compared) > 0)
    share = float(np.mean(taken))
    return share, max(np.sqrt(share * (1 - share) / RUNS), 1 / RUNS)


_LEVEL, _POWER = "five equal rungs: a dearer one is taken in at most 0.05", "a rung better by 7 points is taken"
LINES = [
    (
        f"ladder by {metric}, {rows} images{f' in groups of {each}' if each > 1 else ''}",
        claim,
        partial(dearer, draw=draw, metric=metric, rows=rows, each=each, **others),
    )
    for claim, draw, others in (
        (_LEVEL, equal, {}),
        (f"{_LEVEL}, heavy tails", heavy, {}),
        (f"{_LEVEL}, if epochs are chosen on the same images", stopped, {}),
        (_POWER, equal, {"better": 0.35}),
    )
    for rows, each in ((400, 1), (400, 20))
    for metric in (("log_loss", "accuracy") if draw is equal else ("log_loss",))
] + [
    (
        f"ladder by {metric}, {each}",
        _LEVEL,
        partial(dearer, draw=partial(equal, alike=0.2), metric=metric, rows=int(sizes.sum()), each=each),
    )
    for each, sizes in draws.UNEQUAL.items()
    for metric in ("log_loss", "accuracy")
]
