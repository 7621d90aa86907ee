"""Mean negative log probability of the label, in nats."""

import numpy as np

HIGHER_IS_BETTER = False


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 or more, lower is better; probabilities below 1e-7 count as 1e-7."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(chosen, 1e-7, 1)).mean())
