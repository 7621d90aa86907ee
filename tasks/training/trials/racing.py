"""A race of settings: the network is trained briefly with each, and the best of them is trained in full.

A trial changes one thing of the best so far: the learning rate, how many blocks are trained, or how strongly pixels are
changed at random. It takes the place of the best if its log loss on images that no trial was trained on is lower by
more than the standard error of the difference: what is given stays unless something is seen to be better.

A short training does not need augmentation as much as a long one, so a race rather underrates it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import numpy as np

from tasks.evaluation.statistics import bootstrap
from tasks.records import Trial
from tasks.runtime.errors import UsageError
from tasks.settings import Augment, FineTune, Whole

#: Share of the training images that are trained on in a trial; of so many parts of them, one judges it.
TRAINED, PARTS = 1 / 3, 6
#: Share of a rung's minutes that its race may take.
SHARE = 1 / 3
#: A trial's epochs are so many of the full training's.
EPOCHS = 1 / 2
#: Of the learning rate.
FACTORS = (2.0, 0.5)
#: How many blocks more, or fewer, are tried.
DEEPER, SHALLOWER = 3, 2
#: From weak to strong.
AUGMENTED = {
    "random crops": Augment(crop=0.3),
    "random crops, RandAugment and MixUp": Augment(crop=0.3, rand_augment=0.3, mix_up=0.2),
}


@dataclass(frozen=True)
class Change:
    """One thing that a trial changes."""

    what: str
    name: str
    tuning: FineTune | Whole


@dataclass(frozen=True)
class Answers:
    """Log loss in nats and whether it is right, float64[n], of each judged image, and images trained on per second."""

    losses: np.ndarray
    right: np.ndarray
    speed: float


def brief(tuning: FineTune | Whole) -> FineTune | Whole:
    """The settings of a trial's training."""
    return tuning.model_copy(update={"epochs": max(1, round(tuning.epochs * EPOCHS)), "minutes": 0.0})


def race(
    tuning: FineTune | Whole,
    trained: Callable[[FineTune | Whole], Answers],
    seconds: float,
    seed: int,
    units: np.ndarray | None = None,
) -> tuple[list[Trial], FineTune | Whole]:
    """What was tried, and the best settings; `tuning.trials` changes at most, none begun that would pass `seconds`.

    `trained` trains with settings; it may raise `UsageError` for those that do not suit the network. `units`: int[n],
    see `datasets.units`. `seconds`: 0: no limit.
    """
    began, slowest = time.perf_counter(), 0.0
    trials: list[Trial] = []
    best: Answers | None = None
    changes = _changes(tuning)
    change: Change | None = next(changes)
    while change and len(trials) <= tuning.trials:
        started, answers, reason = time.perf_counter(), None, ""
        late = bool(trials) and 0 < seconds < started - began + slowest
        try:
            answers = None if late else trained(change.tuning)
        except UsageError as error:
            reason = str(error)
        took = time.perf_counter() - started
        trial = _judged(change, best, answers, seed, units)
        trials.append(replace(trial, seconds=round(took, 3), late=late, reason="no time was left" if late else reason))
        slowest = max(slowest, took)
        if trial.taken:
            best, tuning = answers, change.tuning
        change = _next(changes, trial.taken)
    return trials, tuning


def _judged(change: Change, best: Answers | None, found: Answers | None, seed: int, units: np.ndarray | None) -> Trial:
    """A trial that takes the place of the best if it gains more than the standard error; the first one does."""
    if found is None:
        return Trial(change.name, change.what)
    gain = bootstrap.gain(best.losses, found.losses, seed, units) if best else None
    better = gain is None or gain.value > gain.error
    means = (float(found.losses.mean()), float(found.right.mean()))
    return Trial(
        change.name, change.what, *means, gain, better, round(found.speed, 1), needed=gain.error if gain else None
    )


def _next(changes: Generator[Change, bool], taken: bool) -> Change | None:
    """The change that follows when the one before was taken or not; None after the last one."""
    try:
        return changes.send(taken)
    except StopIteration:
        return None


def _changes(best: FineTune | Whole) -> Generator[Change, bool]:
    """The settings themselves, then changes of the best so far, the most promising first.

    Each is answered with whether it was better.
    """
    yield Change("given", "as given", best)
    rate = best.learning_rate
    for factor in FACTORS:
        if rate != "find":
            change = _changed(best, "learning rate", f"learning rate {rate * factor:g}", learning_rate=rate * factor)
            if (yield change):
                best = change.tuning
                break
    if isinstance(best, FineTune):
        for blocks in (best.blocks + DEEPER, best.blocks - SHALLOWER):
            if blocks > 0:
                change = _changed(best, "depth", f"the last {blocks} blocks", blocks=blocks)
                if (yield change):
                    best = change.tuning
                    break
    for name, augment in AUGMENTED.items() if isinstance(best, Whole) or best.trunk == "live" else ():
        change = _changed(best, "augmentation", name, augment=augment)
        if not (yield change):
            break
        best = change.tuning


def _changed(tuning: FineTune | Whole, what: str, name: str, **values: object) -> Change:
    return Change(what, name, tuning.model_copy(update=values))
