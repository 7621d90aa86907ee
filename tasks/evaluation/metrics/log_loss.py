"""Mean negative log probability of the label, in nats."""

import numpy as np

from tasks.evaluation.statistics import bootstrap, clusters, proportions

HIGHER_IS_BETTER = False
#: The variance that the probabilities have counts as that of so many more groups.
PRIOR = 4


def score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """0 or more, lower is better; probabilities below 1e-7 count as 1e-7."""
    return float(bootstrap.losses(labels, probabilities).mean())


def interval(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None, level: float, seed: int
) -> tuple[float, float]:
    """By the bootstrap, on the scale of logarithms; of one row or one group all that is possible, 0 to 16.1.

    A few rows that are all right seem to have nearly the same loss. Their variance is therefore drawn towards that of
    labels which follow the probabilities, if that is larger.
    """
    losses = bootstrap.losses(labels, probabilities)
    middle, told = float(losses.mean()), clusters.told(losses, groups)
    low, high = bootstrap.interval(losses, 1 - level / 2, seed, groups)
    if not told.freedom:
        return 0.0, bootstrap.MOST
    # A share of rows may lose all that is possible, and no loss is larger.
    most = proportions.wilson(losses / bootstrap.MOST, groups, level)[1] * bootstrap.MOST
    if not middle:
        return 0.0, most
    seen = told.inflation * (clusters.sums(losses - middle, groups) ** 2).sum() / len(losses) ** 2
    model = _variance(probabilities) / clusters.effective(losses, groups)
    away = told.reach(level) * float(np.sqrt((seen * told.freedom + model * PRIOR) / (told.freedom + PRIOR)))
    low, high = min(low, middle - away), max(high, middle + away)
    far = np.log(middle) + (high - middle) / middle
    return middle * np.exp((low - middle) / middle), float(np.exp(min(far, np.log(most))))


def _variance(probabilities: np.ndarray) -> float:
    """Mean variance of the losses of labels that are drawn from the probabilities."""
    possible = -np.log(np.maximum(probabilities, bootstrap.FLOOR))
    entropy = (probabilities * possible).sum(axis=1, keepdims=True)
    return float((probabilities * (possible - entropy) ** 2).sum(axis=1).mean())
