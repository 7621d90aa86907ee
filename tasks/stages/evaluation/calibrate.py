"""Calibrate: temperature, prediction sets and thresholds, from the validation images."""

from dataclasses import replace

import numpy as np
import pandas as pd

from tasks.data import datasets
from tasks.evaluation import calibration, drift
from tasks.evaluation.metrics import ece
from tasks.features import inference
from tasks.records import AuditRef, CalibrationRef, CalibrationTerms, FeaturesRef, ImagesRef, ModelRef, digest
from tasks.runtime.home import home
from tasks.runtime.store import folders
from tasks.services.orchestration.stage import stage
from tasks.settings import Calibration
from tasks.training import fit

#: Largest number of validation images whose distance to the training images is measured.
MOST = 1000


@stage(version=6)
def calibrate(
    images: ImagesRef, features: FeaturesRef, audited: AuditRef, model: ModelRef, settings: Calibration
) -> CalibrationRef:
    """A version's calibration: its temperature, and the thresholds of prediction sets, abstention and novelty."""
    rows = datasets.rows(images.dataset, "validation")
    labels = datasets.labels(rows, images.dataset.classes)
    groups = datasets.units(images.dataset, audited, "validation")
    raw = np.load(home() / model.validation.predictions, allow_pickle=False).astype(np.float64)
    temperature = calibration.temperature(labels, raw)
    probabilities = calibration.tempered(raw, temperature)
    sure_from = calibration.surest(labels, probabilities, settings.precision, groups)
    address = digest("calibration", model, settings, images, features, audited)
    reference, distances = _reference(images, features, model, settings, address)
    limit = calibration.limit(distances, settings.false_alarms) if reference else None
    terms = CalibrationTerms(
        temperature=temperature,
        set_thresholds=tuple(calibration.set_thresholds(labels, probabilities, settings.coverage, groups).tolist()),
        coverage=settings.coverage,
        sure_from=sure_from,
        precision=settings.precision,
        neighbours=settings.neighbours,
        limit=limit,
        false_alarms=settings.false_alarms,
        effect=drift.effect(np.eye(probabilities.shape[1], dtype=bool)[probabilities.argmax(axis=1)], groups),
    )
    terms = replace(terms, notes=calibration.notes(labels, terms, images.dataset.classes, groups))
    return CalibrationRef(
        digest=address,
        terms=terms,
        reference=reference,
        images=len(rows),
        log_loss=(_log_loss(raw, labels), _log_loss(probabilities, labels)),
        ece=(ece.score(labels, raw), ece.score(labels, probabilities)),
        answered=None if sure_from is None else float((probabilities.max(axis=1) >= sure_from).mean()),
        novel=float((distances > limit).mean()) if limit else 0.0,
        said=tuple(np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]).tolist()),
    )


def _log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return fit.scores(np.log(np.maximum(probabilities, calibration.FLOOR)), labels)["log_loss"]


def _reference(
    images: ImagesRef, features: FeaturesRef, model: ModelRef, settings: Calibration, address: str
) -> tuple[str, np.ndarray]:
    """The file of training features, and each validation image's distance to them, float64[n].

    "" and no distances if the network does not expose its features.
    """
    known = datasets.stratified(datasets.rows(images.dataset, "train"), settings.reference)
    fresh = datasets.stratified(datasets.rows(images.dataset, "validation"), MOST)
    found = inference.head_inputs(model, features, images, pd.concat([known, fresh], ignore_index=True))
    if found is None:
        return "", np.empty(0)
    reference, others = found[: len(known)], found[len(known) :]
    with folders.folder("calibrations", address) as (working, path):
        np.save(working / "reference.npy", reference)
    neighbours = min(settings.neighbours, len(reference))
    return f"{path}/reference.npy", calibration.distances(others, reference, neighbours)
