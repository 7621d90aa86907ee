"""Which of several models to ship: the cheapest that is not significantly worse than the best on validation rows."""

from __future__ import annotations

import numpy as np

from tasks.evaluation.statistics import bootstrap


def cheapest(each: list[np.ndarray], confidence: float, seed: int) -> tuple[int, list[tuple[float, float]]]:
    """Position of the model to take, of models in the order of their cost given as each row's loss, float[n].

    Also each model's loss above the best one's, as an interval: above 0 where it is significantly worse.
    """
    best = each[int(np.argmin([values.mean() for values in each]))]
    gaps = [bootstrap.interval(values - best, confidence, seed) for values in each]
    return next(at for at, (low, _) in enumerate(gaps) if low <= 0), gaps
