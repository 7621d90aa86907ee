"""Choose: the rung that the recipe names, or the cheapest that is not significantly worse than the best one."""

import numpy as np

from tasks.data import datasets
from tasks.evaluation import model_choice
from tasks.evaluation.statistics import bootstrap
from tasks.records import AuditRef, DatasetRef, LadderRef, ModelRef, RungScore, digest
from tasks.runtime.home import home
from tasks.services.orchestration.stage import stage
from tasks.settings import Ladder


@stage(version=3)
def choose(
    dataset: DatasetRef, audited: AuditRef, rungs: tuple[ModelRef, ...], settings: Ladder, reason: str, seed: int
) -> LadderRef:
    """Every rung's score on the validation images with its interval, and the rung to ship.

    `rungs` are in the order of their cost; `reason` says why there are no more.
    """
    labels = datasets.labels(datasets.rows(dataset, "validation"), dataset.classes)
    groups = datasets.units(dataset, audited, "validation")
    each = [
        bootstrap.losses(labels, np.load(home() / rung.validation.predictions, allow_pickle=False)) for rung in rungs
    ]
    taken, gaps = model_choice.cheapest(each, settings.confidence, seed, groups)
    names = [rung.rung for rung in rungs]
    if named := settings.ship in names:
        taken = names.index(settings.ship)
    lowest = min(losses.mean() for losses in each)
    scores = tuple(
        RungScore(
            rung=rung.rung,
            log_loss=float(losses.mean()),
            interval=bootstrap.interval(losses, settings.confidence, seed, groups),
            accuracy=rung.validation.scores["accuracy"],
            gap=float(losses.mean() - lowest),
            gap_interval=gap,
            seconds=rung.training.seconds,
            shipped=at == taken,
        )
        for at, (rung, losses, gap) in enumerate(zip(rungs, each, gaps, strict=True))
    )
    address = digest("ladder", audited, rungs, settings.confidence, settings.ship, reason, seed)
    return LadderRef(address, rungs, scores, rungs[taken], reason, named)
