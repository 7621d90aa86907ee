"""Compare: the points of all methods as learning curves, with a figure, tables and a verdict."""

from dataclasses import astuple

import numpy as np
import pandas as pd

from tasks.data import datasets
from tasks.evaluation import learning_curves
from tasks.evaluation.statistics import bootstrap
from tasks.records import AuditRef, CurvesRef, DatasetRef, Gap, PointRef, digest
from tasks.reports import figures, sentences
from tasks.runtime import escapes
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.orchestration.stage import stage


@stage(version=2)
def compare(
    dataset: DatasetRef,
    audited: AuditRef,
    points: tuple[PointRef, ...],
    notes: tuple[str, ...],
    margin: float,
    seed: int,
) -> CurvesRef:
    """Accuracy with intervals, what transfer gains at each number of images, and where scratch would catch up.

    All on the validation images, which also chose each network's epoch; test images are not touched. The photos of a
    group, and near-copies that the audit found, count once. `margin`: smallest gain in accuracy that matters.
    """
    labels = datasets.labels(datasets.rows(dataset, "validation"), dataset.classes)
    groups = datasets.units(dataset, audited, "validation")
    hits = [bootstrap.correct(labels, np.load(home() / point.predictions, allow_pickle=False)) for point in points]
    found = learning_curves.curves(list(zip(points, hits, strict=True)), groups)
    levels, gaps = learning_curves.levels(points, found), learning_curves.gaps(found, margin)
    chance = 1 - np.bincount(labels).max() / len(labels)
    helps = bool(gaps) and gaps[-1].gain.low > 0
    reached = learning_curves.catches_up(found, gaps[-1], chance) if helps else None
    verdict = sentences.comparison(gaps, margin, reached) + sentences.shortened(learning_curves.short(points))
    address = digest("curves", dataset, audited, points, notes, margin, seed)
    with folders.folder("curves", address) as (working, path):
        escapes.write_csv(pd.DataFrame(levels), working / "curves.csv")
        escapes.write_csv(_flat(gaps), working / "gains.csv")
        figures.learning_curves(levels, working / "curves.png")
    tracking.log_files(home() / path)
    return CurvesRef(
        path=f"{path}/curves.csv",
        figure=f"{path}/curves.png",
        digest=address,
        levels=tuple(levels),
        gaps=tuple(gaps),
        answer=sentences.answer(gaps, margin),
        verdict=verdict,
        notes=notes,
    )


def _flat(gaps: list[Gap]) -> pd.DataFrame:
    columns = ("images", "transfer", "scratch", "gain", "low", "high", "trainings")
    rows = [(*astuple(gap)[:3], gap.gain.value, gap.gain.low, gap.gain.high, gap.trainings) for gap in gaps]
    return pd.DataFrame(rows, columns=columns)
