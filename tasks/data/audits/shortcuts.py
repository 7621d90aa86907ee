"""How well is a label told by what has nothing to do with what the photo shows: its light, its size, its file format?

A network may learn such a shortcut and fail where it no longer holds (Geirhos et al. 2020, Shortcut Learning in Deep
Neural Networks, https://arxiv.org/abs/2004.07780).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.data.audits import classes
from tasks.evaluation.statistics import cross_validation

#: What a small tree sees of the facts, by the name of the check.
COLUMNS = {"brightness": ["brightness"], "size": ["width", "height"], "format": ["format"]}
TURNS, DEPTH, LEAF = 5, 4, 5
#: Standard errors on either side of a 95 % interval.
REACH = 1.959964


@dataclass(frozen=True)
class Told:
    """Balanced accuracy of labels told by some facts alone, its 95 % interval, and what the majority class gives."""

    facts: str
    score: float
    low: float
    high: float
    chance: float


def check(rows: pd.DataFrame, labels: np.ndarray, seed: int) -> list[Told]:
    """Each of `COLUMNS` by itself, and all together, where they vary, cross-validated on training rows.

    `rows`: key, group and facts; `labels`: int[n]. Classes with fewer than `classes.LEAST` images are left out; none is
    checked where fewer than two are left.
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
    return [_told(name, values, labels, groups, parts, seed) for name, values in wanted.items()]


def _values(rows: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Float[n, k], texts as one column of 0 and 1 for each, without what is the same for all."""
    table = pd.get_dummies(rows[columns], dtype=float)
    return table.loc[:, table.nunique() > 1].to_numpy(float)


def _told(
    name: str,
    values: np.ndarray,
    labels: np.ndarray,
    groups: pd.Series,
    parts: tuple[cross_validation.Fold, ...],
    seed: int,
) -> Told:
    from sklearn.tree import DecisionTreeClassifier

    right = np.zeros(len(labels))
    for train, other in parts:
        tree = DecisionTreeClassifier(
            max_depth=DEPTH, min_samples_leaf=LEAF, class_weight="balanced", random_state=seed
        ).fit(values[train], labels[train])
        right[other] = tree.predict(values[other]) == labels[other]
    score, error = balanced(right, labels, groups)
    low, high = max(0.0, score - REACH * error), min(1.0, score + REACH * error)
    return Told(name, score, low, high, 1 / len(np.unique(labels)))


def balanced(right: np.ndarray, labels: np.ndarray, groups: pd.Series) -> tuple[float, float]:
    """Mean over the classes of the share that is right, float[n] of 0 and 1 by int[n], and its standard error.

    Images of a group are not independent: the error is that of a sum over groups (Liang and Zeger 1986, Biometrika
    73:13-22), linearised about each class's share.
    """
    counts = np.bincount(labels)
    shares = np.bincount(labels, right) / counts
    influence = (right - shares[labels]) / counts[labels] / len(counts)
    of_groups = pd.Series(influence).groupby(groups.to_numpy()).sum()
    n = len(of_groups)
    return float(shares.mean()), float(np.sqrt((of_groups**2).sum() * n / (n - 1)))
