"""Cross-validation folds, stratified by class.

Kohavi 1995, A Study of Cross-Validation and Bootstrap for Accuracy Estimation and Model Selection, IJCAI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: Positions of the images to train on and of those to validate on.
Fold = tuple[np.ndarray, np.ndarray]


def split(rows: pd.DataFrame, labels: np.ndarray, turns: int, seed: int) -> tuple[Fold, ...]:
    """Folds of rows (key, group, split: train or validation) and labels int[n]; images of a group stay together.

    `turns` 0, or a class of a single group: one fold, from the rows' own splits. There are fewer folds if a class has
    fewer groups.
    """
    groups = rows["group"].where(rows["group"].notna(), rows["key"])
    found = folds(labels, np.unique(groups, return_inverse=True)[1], turns, seed) if turns else ()
    if not found:
        validates = (rows["split"] == "validation").to_numpy()
        return ((np.flatnonzero(~validates), np.flatnonzero(validates)),)
    return found


def folds(labels: np.ndarray, groups: np.ndarray, turns: int, seed: int) -> tuple[Fold, ...]:
    """Folds of labels int[n] and groups int[n], fewer than `turns` if a class has fewer groups; none if it has one."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    turns = min(turns, *(len(np.unique(groups[labels == label])) for label in np.unique(labels)))
    if turns < 2:
        return ()
    if len(np.unique(groups)) < len(groups):
        found = StratifiedGroupKFold(turns, shuffle=True, random_state=seed).split(labels, labels, groups)
    else:
        found = StratifiedKFold(turns, shuffle=True, random_state=seed).split(labels, labels)
    return tuple((train, validation) for train, validation in found)
