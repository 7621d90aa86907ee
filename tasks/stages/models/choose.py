"""Choose: the rung that the recipe names, or the cheapest that no other one is certainly better than."""

import numpy as np

from tasks.data import datasets
from tasks.evaluation import model_choice
from tasks.evaluation.statistics import clusters
from tasks.records import AuditRef, DatasetRef, LadderRef, ModelRef, RungScore, digest
from tasks.runtime.home import home
from tasks.services.orchestration.stage import stage
from tasks.settings import Ladder


@stage(version=4)
def choose(
    dataset: DatasetRef, audited: AuditRef, rungs: tuple[ModelRef, ...], settings: Ladder, reason: str, seed: int
) -> LadderRef:
    """Every rung's score by the ladder's metric with its interval, and the rung to ship.

    `rungs` are in the order of their cost; `reason` says why there are no more.
    """
    labels = datasets.labels(datasets.rows(dataset, "validation"), dataset.classes)
    groups = datasets.units(dataset, audited, "validation")
    each = [np.load(home() / rung.validation.predictions, allow_pickle=False) for rung in rungs]
    found = model_choice.compared(labels, each, settings.metric, settings.confidence, seed, groups)
    taken, names = model_choice.cheapest(found), [rung.rung for rung in rungs]
    if named := settings.ship in names:
        taken = names.index(settings.ship)
    units = clusters.number(groups, len(labels))
    scores = tuple(
        RungScore(
            rung=rung.rung,
            log_loss=rung.validation.scores["log_loss"],
            interval=judged.interval,
            accuracy=rung.validation.scores["accuracy"],
            gap=judged.gap,
            gap_interval=judged.gap_interval,
            seconds=rung.training.seconds,
            shipped=at == taken,
            score=judged.value,
            images=len(labels),
            units=units,
        )
        for at, (rung, judged) in enumerate(zip(rungs, found, strict=True))
    )
    address = digest("ladder", audited, rungs, settings.metric, settings.confidence, settings.ship, reason, seed)
    return LadderRef(address, rungs, scores, rungs[taken], reason, named, settings.metric)
