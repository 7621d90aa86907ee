"""Scores of how well features suit labels, without any training.

A score has `score(features, labels) -> float` with features float[n, d] and labels int[n]; higher is better, and the
order of the rows does not matter.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from tasks.records import RankedBackbone
from tasks.runtime import plugins


def evaluate(features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Every score by name."""
    kind = "transferability"
    return {name: float(plugins.entry(kind, name)(features, labels)) for name in plugins.names(kind)}


def ordered(candidates: list[RankedBackbone]) -> tuple[RankedBackbone, ...]:
    """Best first: by the mean rank over the scores; of equals the smaller network first.

    Equal scores share the mean of their ranks. Skipped candidates come last.
    """
    tried = [row for row in candidates if not row.skipped]
    means = pd.DataFrame([row.scores for row in tried]).rank(ascending=False).mean(axis=1)
    ranked = [replace(row, rank=float(mean)) for row, mean in zip(tried, means, strict=True)]
    ranked.sort(key=lambda row: (row.rank, row.parameters))
    return (*ranked, *(row for row in candidates if row.skipped))


def spearman(a: list[float], b: list[float]) -> float | None:
    """Spearman's rank correlation, -1 to 1, of equally long lists; None below three pairs or where one is constant."""
    if len(a) < 3 or len(set(a)) == 1 or len(set(b)) == 1:
        return None
    return float(pd.Series(a, dtype=float).rank().corr(pd.Series(b, dtype=float).rank()))
