"""Share of rows whose most probable class is the label."""

import numpy as np

from tasks.evaluation.statistics import bootstrap, proportions

HIGHER_IS_BETTER = True


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 to 1, higher is better."""
    return float(bootstrap.correct(labels, probabilities).mean())


def interval(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None, level: float, seed: int
) -> tuple[float, float]:
    """Wilson's, with the effective number of rows."""
    return proportions.wilson(bootstrap.correct(labels, probabilities), groups, level)
