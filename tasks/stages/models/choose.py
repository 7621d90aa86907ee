"""Choose: the rung that the recipe names, or the cheapest that no other one is certainly better than."""

import numpy as np

from tasks.data import datasets
from tasks.evaluation import model_choice
from tasks.evaluation.statistics import bootstrap, clusters
from tasks.records import AuditRef, DatasetRef, LadderRef, ModelRef, RungScore, digest
from tasks.runtime.home import home
from tasks.services.orchestration.stage import stage
from tasks.settings import Ladder


@stage(version=7)
def choose(
    dataset: DatasetRef, audited: AuditRef, rungs: tuple[ModelRef, ...], settings: Ladder, reason: str, seed: int
) -> LadderRef:
    """Every rung's score by the ladder's metric with its interval, and the rung to ship.

    `rungs` are in the order of their cost; `reason` says why there are no more. Two rungs that were cross-fitted are
    compared on training and validation images, any others on the validation images.
    """
    splits = ("train", "validation") if any(rung.validation.out_of_fold for rung in rungs) else ("validation",)
    every = datasets.rows(dataset)
    rows = every[every["split"].isin(splits)]
    labels, groups = datasets.labels(rows, dataset.classes), datasets.units(dataset, audited, *splits)
    validates = (rows["split"] == "validation").to_numpy()
    each = [_answers(rung, validates, len(dataset.classes)) for rung in rungs]
    found = model_choice.compared(labels, each, settings.metric, settings.confidence, seed, groups)
    taken, names = model_choice.cheapest(found), [rung.rung for rung in rungs]
    if named := settings.ship in names:
        taken = names.index(settings.ship)
    scores = tuple(
        RungScore(
            rung=rung.rung,
            log_loss=float(bootstrap.losses(labels[there], answers[there]).mean()),
            interval=judged.interval,
            accuracy=float(bootstrap.correct(labels[there], answers[there]).mean()),
            gap=judged.gap,
            gap_interval=judged.gap_interval,
            seconds=rung.training.seconds,
            shipped=at == taken,
            score=judged.value,
            images=int(there.sum()),
            units=clusters.number(groups[there], int(there.sum())),
        )
        for at, (rung, judged, answers) in enumerate(zip(rungs, found, each, strict=True))
        for there in [_there(answers)]
    )
    address = digest("ladder", audited, rungs, settings.metric, settings.confidence, settings.ship, reason, seed)
    return LadderRef(
        address, rungs, scores, rungs[taken], reason, named, settings.metric, confidence=settings.confidence
    )


def _answers(rung: ModelRef, validates: np.ndarray, classes: int) -> np.ndarray:
    """A rung's probabilities, float[n, classes]; NaN for images that it was trained on."""
    if rung.validation.out_of_fold:
        return np.load(home() / rung.validation.out_of_fold, allow_pickle=False)
    found = np.full((len(validates), classes), np.nan, np.float32)
    found[validates] = np.load(home() / rung.validation.predictions, allow_pickle=False)
    return found


def _there(answers: np.ndarray) -> np.ndarray:
    """Which rows a rung has answered, bool[n]."""
    return ~np.isnan(answers).any(axis=1)
