"""What simulations draw: groups of rows that are alike, and the answers of models to them."""

import numpy as np


def groups(rows: int, each: int) -> np.ndarray | None:
    """The groups of n rows, `each` rows in one: int[n]; None where each row stands alone."""
    return np.arange(rows) // each if each > 1 else None


def noise(random: np.random.Generator, rows: int, of: np.ndarray | None, alike: float = 0.1) -> np.ndarray:
    """Standard normal, float64[n], with the correlation `alike` within a group."""
    own = random.normal(size=rows)
    if of is None:
        return own
    return np.sqrt(alike) * random.normal(size=of.max() + 1)[of] + np.sqrt(1 - alike) * own


def binary(labels: np.ndarray, of_label: np.ndarray) -> np.ndarray:
    """Probabilities of two classes, float64[n, 2], from that of the label, float64[n]."""
    return np.where(np.eye(2)[labels] == 1, of_label[:, None], 1 - of_label[:, None])
