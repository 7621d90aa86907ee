"""Which of several models to ship: the cheapest that is not significantly worse than the best on validation rows."""

from __future__ import annotations

import numpy as np

from tasks.evaluation.statistics import bootstrap


def cheapest(
    each: list[np.ndarray], confidence: float, seed: int, groups: np.ndarray | None = None
) -> tuple[int, list[tuple[float, float]]]:
    """Index of the model to ship; `each` has every model's losses by row, float[n], the cheapest model first.

    Also the interval of each model's loss minus the best model's: above 0 if it is significantly worse.
    """
    best = each[int(np.argmin([values.mean() for values in each]))]
    gaps = [bootstrap.interval(values - best, confidence, seed, groups) for values in each]
    return next(at for at, (low, _) in enumerate(gaps) if low <= 0), gaps
