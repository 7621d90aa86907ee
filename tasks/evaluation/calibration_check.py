"""Whether a version's calibration holds on images that were not used for it."""

import numpy as np

from tasks.evaluation import calibration
from tasks.evaluation.metrics import ece
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
    right = probabilities.argmax(axis=1) == labels
    answered = probabilities.max(axis=1) >= terms.sure_from
    of_class = {name: inside[labels == number] for number, name in enumerate(classes)}
    precise = _share("answered", right[answered])
    return CalibrationReport(
        coverage=_share("all", inside),
        classes=tuple(_share(name, each) for name, each in of_class.items()),
        set_size=float(sets.sum(axis=1).mean()),
        answered=float(answered.mean()),
        precision=precise.value,
        precision_interval=precise.interval,
        novel=None if novelty is None else float((novelty > 1).mean()),
        uncalibrated_ece=ece.score(labels, calibration.tempered(probabilities, 1 / terms.temperature)),
    )


def _share(name: str, hits: np.ndarray) -> Coverage:
    """The share of hits with Wilson's 95 % interval; 0 to 1 without images."""
    from statsmodels.stats.proportion import proportion_confint

    images = len(hits)
    if not images:
        return Coverage(name, 0, 0.0, (0.0, 1.0))
    low, high = proportion_confint(int(hits.sum()), images, method="wilson")
    return Coverage(name, images, float(hits.mean()), (float(low), float(high)))
