"""Whether a version's calibration holds on images that were not used for it."""

import numpy as np

from tasks.evaluation import calibration
from tasks.evaluation.metrics import ece
from tasks.evaluation.statistics import proportions
from tasks.records import CalibrationReport, CalibrationTerms, Coverage


def judge(
    labels: np.ndarray,
    probabilities: np.ndarray,
    novelty: np.ndarray | None,
    terms: CalibrationTerms,
    classes: tuple[str, ...],
    groups: np.ndarray | None = None,
) -> CalibrationReport:
    """The report for labels int[n], calibrated probabilities float[n, classes] and novelty float[n], 1 at the limit."""
    sets = calibration.sets(probabilities, np.array(terms.set_thresholds))
    inside = sets[np.arange(len(labels)), labels]
    every = np.ones(len(labels), bool)
    answered, precise = None, _share("answered", inside, ~every, groups)
    if terms.sure_from is not None:
        sure = probabilities.max(axis=1) >= terms.sure_from
        answered = float(sure.mean())
        precise = _share("answered", probabilities.argmax(axis=1) == labels, sure, groups)
    return CalibrationReport(
        coverage=_share("all", inside, every, groups),
        classes=tuple(_share(name, inside, labels == number, groups) for number, name in enumerate(classes)),
        set_size=float(sets.sum(axis=1).mean()),
        answered=answered,
        precision=None if answered is None else precise.value,
        precision_interval=precise.interval,
        novel=None if novelty is None else float((novelty > 1).mean()),
        uncalibrated_ece=ece.score(labels, calibration.tempered(probabilities, 1 / terms.temperature)),
    )


def _share(name: str, hits: np.ndarray, among: np.ndarray, groups: np.ndarray | None) -> Coverage:
    """The share of hits among some of the rows with Wilson's 95 % interval; 0 to 1 without rows."""
    found, images = proportions.share(hits.astype(np.float64), among, groups), int(among.sum())
    return Coverage(name, images, found.value if images else 0.0, (found.low, found.high))
