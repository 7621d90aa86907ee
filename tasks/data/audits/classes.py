"""Which classes have enough images for a check."""

import numpy as np
import pandas as pd

#: Images, or groups of them, that a class needs.
LEAST = 5


def large(rows: pd.DataFrame, labels: np.ndarray) -> np.ndarray:
    """Classes, int[k], with at least `LEAST` images in rows (key, group) with labels int[n]; a group counts as one."""
    groups = rows["group"].where(rows["group"].notna(), rows["key"])
    counts = groups.groupby(labels).nunique()
    return counts.index[counts >= LEAST].to_numpy(int)
