"""The ladder: from nearest neighbours to the whole network, each rung dearer than the one before."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import get_args

from tasks.choose import choose
from tasks.fine_tune import fine_tune
from tasks.interpolate import interpolate
from tasks.records import FeaturesRef, ImagesRef, LadderRef, ModelRef
from tasks.settings import Head, Recipe, Rung
from tasks.stage import Stage
from tasks.train_head import train_head

RUNGS = get_args(Rung)
#: Nearest neighbours remember every image; of more than these they would be no cheap rung.
KNN_IMAGES = 20_000


def climb(images: ImagesRef, features: FeaturesRef, recipe: Recipe, started: float) -> LadderRef:
    """Train the rungs that the recipe wants, as far as its time reaches, and choose one.

    `started`: when the run began, as `time.perf_counter()` counts.
    """
    rungs: dict[str, ModelRef] = {}
    reason = f"the recipe stops at {recipe.ladder.stop_at}"
    for rung, step in _steps(images, features, recipe, rungs):
        minutes = (time.perf_counter() - started) / 60
        if rungs and 0 < recipe.ladder.max_minutes < minutes:
            reason = f"{minutes:.1f} of {recipe.ladder.max_minutes:g} minutes were over"
            break
        rungs[rung] = step()
    return choose(images.dataset, tuple(rungs.values()), recipe.ladder, reason, recipe.seed)


def refitted(images: ImagesRef, features: FeaturesRef, recipe: Recipe, ladder: LadderRef) -> ModelRef:
    """The chosen rung; where the recipe wants it, trained again with the validation images among the others."""
    r, chosen = recipe, ladder.chosen
    if not r.ladder.refit:
        return chosen
    rungs = {rung.rung: rung for rung in ladder.rungs}
    if chosen.rung in _heads(r):
        return _head(images, features, r, chosen.rung, chosen)
    head = _head(images, features, r, "head", rungs["head"])
    last = _last_tuned(rungs) if chosen.rung == "interpolated" else chosen.rung
    tuned = _tuned(images, head, r, last, rungs[last])
    if chosen.rung != "interpolated":
        return tuned
    return _between(images, head, replace(tuned, share=chosen.share, renewed=chosen.renewed), r, last, True)


def _steps(
    images: ImagesRef, features: FeaturesRef, r: Recipe, rungs: dict[str, ModelRef]
) -> Iterator[tuple[str, Callable[[], ModelRef]]]:
    """Name of each rung that the recipe wants, and what trains it once those before are there."""
    wanted = RUNGS[RUNGS.index(r.ladder.start_at) : RUNGS.index(r.ladder.stop_at) + 1]
    for rung, head in _heads(r).items():
        repeated = rung != "head" and "head" in wanted and head == r.head
        crowded = rung == "knn" and images.dataset.counts["train"] > KNN_IMAGES
        if rung in wanted and not repeated and not crowded:
            yield rung, partial(_head, images, features, r, rung)
    if not r.fine_tune.enabled:
        return
    for rung in ("blocks", "whole"):
        if rung in wanted:
            yield rung, partial(_tuned, images, rungs["head"], r, rung)
    if r.ladder.interpolate and (last := _last_tuned(rungs)):
        yield "interpolated", partial(_between, images, rungs["head"], rungs[last], r, last)


def _heads(r: Recipe) -> dict[str, Head]:
    """The rungs on the frozen network, from the cheapest to the dearest."""
    return {"knn": Head(kind="knn"), "probe": Head(), "head": r.head}


def _head(images: ImagesRef, features: FeaturesRef, r: Recipe, rung: str, again: ModelRef | None = None) -> ModelRef:
    stage = _labelled(train_head, rung, "head", again)
    return stage(images, features, r.backbone, _heads(r)[rung], r.loss, r.images, r.seed, rung, again)


def _tuned(images: ImagesRef, head: ModelRef, r: Recipe, rung: str, again: ModelRef | None = None) -> ModelRef:
    stage, settings = _labelled(fine_tune, rung, "blocks", again), r.fine_tune if rung == "blocks" else r.whole
    return stage(images, head, settings, r.loss, r.extract, r.images, r.seed, again)


def _between(images: ImagesRef, head: ModelRef, tuned: ModelRef, r: Recipe, rung: str, again: bool = False) -> ModelRef:
    stage, settings = _labelled(interpolate, "", "", again or None), r.fine_tune if rung == "blocks" else r.whole
    return stage(images, head, tuned, settings, r.extract, r.images, r.seed, again)


def _last_tuned(rungs: dict[str, ModelRef]) -> str:
    """The dearest rung that trained the network itself; empty where none did."""
    return next((rung for rung in ("whole", "blocks") if rung in rungs), "")


def _labelled(stage: Stage, rung: str, own: str, again: object) -> Stage:
    """The stage under the name of its rung, unless that is the stage's own."""
    name = stage.name if rung == own else rung
    return stage.labelled(f"refit_{name}" if again else name)
