"""Mean negative log probability of the label, in nats."""

import numpy as np

from tasks.evaluation.statistics import bootstrap

HIGHER_IS_BETTER = False


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 or more, lower is better; probabilities below 1e-7 count as 1e-7."""
    return float(bootstrap.losses(labels, probabilities).mean())


def interval(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None, level: float, seed: int
) -> tuple[float, float]:
    """By the bootstrap; all that is possible, 0 to 16.1, of one row or one group."""
    low, high = bootstrap.interval(bootstrap.losses(labels, probabilities), 1 - level / 2, seed, groups)
    return max(low, 0.0), high
