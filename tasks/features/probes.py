"""Linear probes: logistic regressions on frozen features.

Alain and Bengio 2016, https://arxiv.org/abs/1610.01644.
"""

from __future__ import annotations

import warnings

import numpy as np

from tasks.evaluation.statistics import bootstrap, equivalence, paired
from tasks.records import Gain

#: Inverse strengths of the L2 penalty to try.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
STEPS = 300
#: Principal axes of the features, so that a fit takes a moment.
AXES = 256


def compared(
    features: dict[str, tuple[np.ndarray, np.ndarray]],
    labels: np.ndarray,
    truth: np.ndarray,
    classes: int,
    margin: float,
    seed: int,
    groups: np.ndarray | None = None,
) -> tuple[dict[str, dict[str, float]], dict[str, Gain]]:
    """Accuracy and log loss of probes on `pretrained` and `random` features, and of the most frequent class.

    `features`: of the rows to fit on, float[n, c], with int[n] labels, and of those to score, float[m, c], with int[m].
    The second value holds the gains of the pretrained features over the random ones; one in accuracy matters from
    `margin` on. `groups`: int[m], as in `statistics.clusters`.
    """
    predicted = {who: probe(ours, labels, theirs, truth, classes) for who, (ours, theirs) in features.items()}
    predicted["majority"] = shares(labels, len(truth), classes)
    right = {who: bootstrap.correct(truth, found) for who, found in predicted.items()}
    losses = {who: bootstrap.losses(truth, found) for who, found in predicted.items()}
    scores = {who: {"accuracy": float(right[who].mean()), "log_loss": float(losses[who].mean())} for who in predicted}
    difference = paired.shares(right["pretrained"] - right["random"], equivalence.LEVEL, groups)
    gained = bootstrap.gain(losses["random"], losses["pretrained"], seed, groups)
    return scores, {"accuracy": equivalence.gain(difference, margin), "log_loss": gained}


def probe(features: np.ndarray, labels: np.ndarray, others: np.ndarray, theirs: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities, float64[m, classes], of other rows: fitted on float[n, c], int[n], for float[m, c], int[m].

    Features are standardised with the mean and deviation of the n rows, since random weights can give any scale, and
    reduced to principal axes. The penalty is the one with the lowest log loss on the m rows.
    """
    features, others = _axes(features, others)
    found = [_fitted(features, labels, others, classes, strength) for strength in STRENGTHS]
    return min(found, key=lambda probabilities: bootstrap.losses(theirs, probabilities).mean())


def shares(labels: np.ndarray, rows: int, classes: int) -> np.ndarray:
    """The classes' shares among int[n] as the prediction for each of `rows` rows, float64[rows, classes]."""
    return np.tile(np.bincount(labels, minlength=classes) / len(labels), (rows, 1))


def _axes(features: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both along at most `AXES` principal axes of the standardised features."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    axes = PCA(min(AXES, *features.shape), random_state=0)
    reduced = make_pipeline(StandardScaler(), axes).fit(features.astype(np.float64))
    return reduced.transform(features.astype(np.float64)), reduced.transform(others.astype(np.float64))


def _fitted(features: np.ndarray, labels: np.ndarray, others: np.ndarray, classes: int, strength: float) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=STEPS)
    with warnings.catch_warnings():
        # A nearly converged fit is good enough; the limit is the same for all.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    found = np.zeros((len(others), classes))
    found[:, model.classes_] = model.predict_proba(others)
    return found
