"""How well facts unrelated to the content of a photo predict its label: brightness, size, file format.

A network may learn such a shortcut and fail where it no longer holds (Geirhos et al. 2020, Shortcut Learning in Deep
Neural Networks, https://arxiv.org/abs/2004.07780).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.data.audits import classes
from tasks.evaluation.statistics import cross_validation

#: Facts that a small decision tree gets, by the name of the check.
COLUMNS = {"brightness": ["brightness"], "size": ["width", "height"], "format": ["format"]}
TURNS, DEPTH, LEAF = 5, 4, 5
#: Standard errors on either side of a 95 % interval.
REACH = 1.959964


@dataclass(frozen=True)
class FactScore:
    """Balanced accuracy of labels predicted from some facts, its 95 % interval, and that of the majority class."""

    facts: str
    score: float
    low: float
    high: float
    chance: float


def check(rows: pd.DataFrame, labels: np.ndarray, seed: int) -> list[FactScore]:
    """Check each of `COLUMNS` alone, and all together, where they vary, cross-validated on training rows.

    `rows`: key, group and facts; `labels`: int[n]. Classes with fewer than `classes.LEAST` images are left out;
    nothing is checked if fewer than two remain.
    """
    known = classes.large(rows, labels)
    kept = np.isin(labels, known)
    if len(known) < 2:
        return []
    rows, labels = rows[kept].reset_index(drop=True), np.searchsorted(known, labels[kept])
    parts = cross_validation.split(rows, labels, TURNS, seed)
    groups = rows["group"].where(rows["group"].notna(), rows["key"])
    varied = {name: found for name in COLUMNS if (found := _values(rows, COLUMNS[name])).shape[1]}
    wanted = varied | ({"all of these": np.hstack(list(varied.values()))} if len(varied) > 1 else {})
    return [_scored(name, values, labels, groups, parts, seed) for name, values in wanted.items()]


def _values(rows: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Values float[n, k], texts one-hot encoded, without constant columns."""
    table = pd.get_dummies(rows[columns], dtype=float)
    return table.loc[:, table.nunique() > 1].to_numpy(float)


def _scored(
    name: str,
    values: np.ndarray,
    labels: np.ndarray,
    groups: pd.Series,
    parts: tuple[cross_validation.Fold, ...],
    seed: int,
) -> FactScore:
    from sklearn.tree import DecisionTreeClassifier

    right = np.zeros(len(labels))
    for train, other in parts:
        tree = DecisionTreeClassifier(
            max_depth=DEPTH, min_samples_leaf=LEAF, class_weight="balanced", random_state=seed
        ).fit(values[train], labels[train])
        right[other] = tree.predict(values[other]) == labels[other]
    score, error = balanced(right, labels, groups)
    low, high = max(0.0, score - REACH * error), min(1.0, score + REACH * error)
    return FactScore(name, score, low, high, 1 / len(np.unique(labels)))


def balanced(right: np.ndarray, labels: np.ndarray, groups: pd.Series) -> tuple[float, float]:
    """Mean over the classes of the share of correct rows, `right` float[n] of 0 and 1, and its standard error.

    Images of a group are not independent: the error is that of a sum over groups (Liang and Zeger 1986, Biometrika
    73:13-22), linearised about each class's share.
    """
    counts = np.bincount(labels)
    shares = np.bincount(labels, right) / counts
    influence = (right - shares[labels]) / counts[labels] / len(counts)
    of_groups = pd.Series(influence).groupby(groups.to_numpy()).sum()
    n = len(of_groups)
    return float(shares.mean()), float(np.sqrt((of_groups**2).sum() * n / (n - 1)))
