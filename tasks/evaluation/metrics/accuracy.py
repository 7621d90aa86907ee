"""Share of rows whose most probable class is the label."""

import numpy as np

HIGHER_IS_BETTER = True


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 to 1, higher is better."""
    return float((probabilities.argmax(axis=1) == labels).mean())
