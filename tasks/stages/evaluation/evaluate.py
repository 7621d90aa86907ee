"""Evaluate: score the chosen model on the test images, which no earlier stage has used."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tasks.data import datasets, splits
from tasks.evaluation import calibration_check, metrics, slices, time_gap
from tasks.evaluation.slices import classes
from tasks.evaluation.statistics import clusters
from tasks.features import inference, occlusion
from tasks.networks import classifiers, engines, files
from tasks.records import (
    OLDER,
    PREFIX,
    AuditRef,
    CalibrationRef,
    FeaturesRef,
    ImagesRef,
    LadderRef,
    ModelRef,
    Report,
    TimeGap,
    digest,
)
from tasks.reports import figures
from tasks.runtime import escapes, plugins
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.serving import calibrated
from tasks.settings import Evaluation

if TYPE_CHECKING:
    import keras

#: Mistakes that are explained, as far as so many seconds reach.
EXPLAINED, PATIENCE = 8, 8.0
#: Images predicted both from pixels and from stored features, and the largest allowed difference of probabilities.
PROBE, TOLERANCE = 8, 1e-3


@stage(version=12, reads=lambda *_: plugins.code("metrics") or None)
def evaluate(
    images: ImagesRef,
    features: FeaturesRef,
    audited: AuditRef,
    model: ModelRef,
    calibration: CalibrationRef,
    ladder: LadderRef,
    settings: Evaluation,
) -> Report:
    """Metrics with 95 % intervals, of classes and slices too, the probabilities of all test images, and the figures."""
    rows, known = datasets.rows(images.dataset, "test"), images.dataset.classes
    labels, groups = datasets.labels(rows, known), datasets.units(images.dataset, audited, "test")
    probabilities, novelty = _answers(model, calibration, features, images, rows)
    found = metrics.evaluate(labels, probabilities)
    bounds = metrics.intervals(labels, probabilities, settings.seed, groups)
    independent = clusters.number(groups, len(rows))
    by_images = metrics.intervals(labels, probabilities, settings.seed) if independent < len(rows) else {}
    calibrated_as = calibration_check.judge(labels, probabilities, novelty, calibration.terms, known, groups)
    each = classes.scores(labels, probabilities, known, groups)
    probe = _frozen(ladder)
    of_probe = probabilities
    if probe.rung != model.rung:
        of_probe, _ = _answers(probe, None, features, images, rows)
    every = datasets.rows(images.dataset)
    unseen = splits.unseen(every, datasets.units(images.dataset, audited), None)[every["split"] == "test"]
    values = slices.with_copies(slices.test_values(every, settings.slices), unseen)
    parts = slices.judge(values, labels, (probabilities, of_probe), settings.slices, settings.seed, groups)
    address = digest("report", images, audited, model, calibration, ladder, settings, *plugins.code("metrics").values())
    with folders.folder("reports", address) as (working, path):
        _predictions(rows, known, probabilities).to_parquet(working / "predictions.parquet")
        escapes.write_csv(slices.table(parts), working / "slices.csv")
        escapes.write_csv(pd.DataFrame(each), working / "classes.csv")
        _pictures(working, rows, labels, probabilities, images, partial(_falls, model, calibration))
    tracking.log_files(home() / path)
    return Report(
        f"{path}/classes.csv",
        address,
        found,
        bounds,
        f"{path}/predictions.parquet",
        calibrated_as,
        each,
        parts,
        probe.rung,
        independent,
        by_images,
        _over_time(images, audited, probabilities, partial(_answers, model, calibration, features, images), settings),
    )


def _over_time(
    images: ImagesRef,
    audited: AuditRef,
    probabilities: np.ndarray,
    answers: Callable[[pd.DataFrame], tuple[np.ndarray, np.ndarray | None]],
    settings: Evaluation,
) -> TimeGap | None:
    """The test images, with their probabilities, beside random older ones; None where there are none.

    Only images without a copy among those that a stage was trained or steered on: the older ones have more of these.
    """
    if not settings.by_time or OLDER not in images.dataset.counts:
        return None
    every, unit = datasets.rows(images.dataset), datasets.units(images.dataset, audited)
    labels = datasets.labels(every, images.dataset.classes)
    days = splits.times(every[PREFIX + settings.by_time]).dt.tz_localize(None).to_numpy()
    tested = (every["split"] == "test").to_numpy()
    newest = splits.unseen(every, unit, None)
    older = splits.unseen(every, unit, None, OLDER) & ~np.isin(unit, unit[tested])
    theirs = answers(every[older].reset_index(drop=True))[0] if older.any() else probabilities[:0]
    ours, before = (
        time_gap.Answers(labels[part], said, unit[part], days[part])
        for part, said in ((newest, probabilities[newest[tested]]), (older, theirs))
    )
    return time_gap.compare(ours, before, settings.seed)


def _frozen(ladder: LadderRef) -> ModelRef:
    """The rung that shows how good the frozen network is: the probe if it was trained, else another head."""
    rungs = {model.rung: model for model in ladder.rungs}
    return next(rungs[rung] for rung in ("probe", "head", "knn") if rung in rungs)


def _answers(
    model: ModelRef, calibration: CalibrationRef | None, features: FeaturesRef, images: ImagesRef, rows: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray | None]:
    """Probabilities float64[n, classes], and novelty float64[n] if available.

    For a head on the frozen backbone from the stored features, if they give the same answers as the pixels. Without a
    calibration: the network's own probabilities.
    """
    network, classes = files.load(home() / model.path), len(images.dataset.classes)
    if inference.stored(model):
        head = _joined(classifiers.answers(network, features.shape), calibration)
        found = inference.from_features(head, features, rows)
        # A difference shows most in the least certain answers.
        first = np.argsort(np.sort(found[:, :classes], axis=1)[:, -1], kind="stable")[:PROBE]
        probe = inference.from_pixels(_joined(network, calibration), images, rows.iloc[first])
        if np.abs(found[first] - probe).max() <= TOLERANCE:
            return calibrated.parted(found, classes)
    return calibrated.parted(inference.from_pixels(_joined(network, calibration), images, rows), classes)


def _joined(network: "keras.Model", calibration: CalibrationRef | None) -> "keras.Model":
    """The network as in a version, with all its outputs in one vector."""
    return calibrated.joined(calibrated.with_calibration(network, calibration)) if calibration else network


def _predictions(rows: pd.DataFrame, classes: tuple[str, ...], probabilities: np.ndarray) -> pd.DataFrame:
    table = rows[["key", "uri", "label"]].assign(predicted=[classes[i] for i in probabilities.argmax(axis=1)])
    return table.assign(probability=probabilities.max(axis=1), probabilities=list(probabilities))


def _falls(
    model: ModelRef, calibration: CalibrationRef, pixels: np.ndarray, said: np.ndarray, classes: int
) -> list[np.ndarray]:
    """What the answers, int[n], to prepared images rest on: `occlusion.maps` of as many as there is time for."""
    network = _joined(files.load(home() / model.path), calibration)
    engine = engines.own(lambda: network, home())
    return occlusion.maps(
        pixels, said, lambda batches: (calibrated.parted(each, classes)[0] for each in engine.run(batches)), PATIENCE
    )


def _pictures(
    to: Path,
    rows: pd.DataFrame,
    labels: np.ndarray,
    probabilities: np.ndarray,
    images: ImagesRef,
    falls: Callable[[np.ndarray, np.ndarray, int], list[np.ndarray]],
) -> None:
    classes, predicted = images.dataset.classes, probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-probabilities.max(axis=1)[wrong], kind="stable")][: figures.GALLERY]
    captions = [figures.caption(classes[labels[i]], classes[predicted[i]], probabilities[i].max()) for i in wrong]
    figures.confusion(labels, predicted, classes, to / "confusion_matrix.png")
    figures.reliability(labels, probabilities, to / "reliability.png")
    pixels = datasets.pixel_reader(images, rows)(wrong)
    figures.gallery(pixels, captions, "Worst mistakes", to / "worst_mistakes.png")
    if len(wrong):
        found = falls(pixels[:EXPLAINED], predicted[wrong[:EXPLAINED]], len(classes))
        lit = np.stack([occlusion.spotlight(photo, fall) for photo, fall in zip(pixels, found, strict=False)])
        pairs = np.concatenate([pixels[: len(lit)], lit], axis=1)
        figures.gallery(pairs, captions, "Dark parts do not matter for the answer", to / "mistakes_explained.png")
