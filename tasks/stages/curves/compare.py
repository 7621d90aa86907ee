"""Compare: the points of all methods as learning curves, with a figure, tables and a verdict."""

import numpy as np
import pandas as pd

from tasks.data import datasets
from tasks.evaluation import learning_curves
from tasks.evaluation.statistics import bootstrap
from tasks.records import CurvesRef, DatasetRef, Gap, PointRef, digest
from tasks.reports import figures, sentences
from tasks.runtime import escapes
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.orchestration.stage import stage


@stage(version=1)
def compare(dataset: DatasetRef, points: tuple[PointRef, ...], notes: tuple[str, ...], seed: int) -> CurvesRef:
    """Accuracy with intervals, what transfer gains at each number of images, and where scratch would catch up.

    All on the validation images, which also chose each network's epoch; test images are not touched.
    """
    labels = datasets.labels(datasets.rows(dataset, "validation"), dataset.classes)
    hits = [bootstrap.correct(labels, np.load(home() / point.predictions, allow_pickle=False)) for point in points]
    found = learning_curves.levels(list(zip(points, hits, strict=True)), seed)
    levels, gaps = [level for level, _ in found], learning_curves.gaps(found, seed)
    chance = 1 - np.bincount(labels).max() / len(labels)
    reached = learning_curves.catches_up(levels, gaps[-1], chance) if gaps else None
    address = digest("curves", dataset, points, notes, seed)
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
        answer=sentences.answer(gaps),
        verdict=sentences.comparison(gaps, reached),
        notes=notes,
    )


def _flat(gaps: list[Gap]) -> pd.DataFrame:
    rows = [(gap.images, gap.transfer, gap.scratch, gap.gain.value, gap.gain.low, gap.gain.high) for gap in gaps]
    return pd.DataFrame(rows, columns=["images", "transfer", "scratch", "gain", "low", "high"])
