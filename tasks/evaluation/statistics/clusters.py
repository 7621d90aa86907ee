"""Rows in groups: photos of one cell, patient, camera or day are alike, so the group is the unit of evidence.

Groups are int[n], one number for the rows of one group; None where each row is a group of its own. Rows of one group
may depend on each other in any way; groups are assumed to be independent of each other.
"""

from __future__ import annotations

import numpy as np

#: Up to so many groups all signs are tried, else so many are drawn.
EXACT, DRAWS = 14, 20_000


def codes(groups: np.ndarray | None, rows: int) -> np.ndarray:
    """The groups of n rows, numbered from 0 on: int64[n]."""
    return np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]


def number(groups: np.ndarray | None, rows: int) -> int:
    """How many independent units there are among n rows."""
    return rows if groups is None else len(np.unique(groups))


def sums(values: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """The sum of each group, float64[groups, …], of float[n, …]."""
    code = codes(groups, len(values))
    found = np.zeros((code.max(initial=-1) + 1, *values.shape[1:]))
    np.add.at(found, code, values)
    return found


def design_effect(influence: np.ndarray, groups: np.ndarray | None) -> float:
    """By how much groups enlarge the variance of an estimate, at least 1; 1 if each row is a group of its own.

    `influence`: float[n], each row's part of the estimate's error, such as its value minus the mean. Rao and Scott
    1992, A Simple Method for the Analysis of Clustered Binary Data, Biometrics 48:577-585.
    """
    rows, units = len(influence), number(groups, len(influence))
    if units == rows:
        return 1.0
    centred = influence - influence.mean()
    simple = (centred**2).sum()
    if simple <= 0 or units < 2:
        # Nothing differs, so nothing shows how alike the rows of a group are: a group counts as one row.
        return rows / units
    return float(np.clip((sums(centred, groups) ** 2).sum() * units / (units - 1) / simple, 1.0, rows))


def effective(influence: np.ndarray, groups: np.ndarray | None) -> float:
    """How many independent rows tell as much as these n do in their groups, 1 to n."""
    return len(influence) / design_effect(influence, groups)


def reach(level: float, groups: np.ndarray | None, rows: int) -> float:
    """Standard errors from an estimate to each end of its two-sided interval: Student's, for so many groups.

    Without groups the normal distribution's, as the methods for independent rows have it.
    """
    from scipy.stats import norm, t

    units = number(groups, rows)
    return float(norm.isf(level / 2) if units == rows else t.isf(level / 2, max(units - 1, 1)))


def sign_flips(values: np.ndarray, groups: np.ndarray | None, seed: int) -> float:
    """Two-sided p-value of the sum of float[n] if each group's sum is as likely to have the other sign.

    For differences of two equal models the level holds for groups of any size. With each row a group of its own, and
    values of -1, 0 and 1, it is McNemar's test. Durkalski et al. 2003, https://doi.org/10.1002/sim.1438, compare tests
    of clustered pairs; the signs are those of Fisher 1935, The Design of Experiments, section 21.
    """
    found = sums(values, groups)
    found = found[found != 0]
    if len(found) <= EXACT:
        signs = 1 - 2 * ((np.arange(2 ** len(found))[:, None] >> np.arange(len(found))) & 1)
        observed = 0  # it is among them
    else:
        signs = 1 - 2 * np.random.default_rng(seed).integers(0, 2, (DRAWS, len(found)), dtype=np.int8)
        observed = 1
    as_far = np.abs(signs @ found) >= abs(found.sum()) - 1e-9 * np.abs(found).sum()
    return float((as_far.sum() + observed) / (len(signs) + observed))


def counts(groups: np.ndarray | None, rows: int, resamples: int, seed: int) -> np.ndarray:
    """How often each group is in each resample of as many groups, drawn with replacement: float64[resamples, groups].

    The cluster bootstrap: Field and Welsh 2007, https://doi.org/10.1111/j.1467-9868.2007.00593.x.
    """
    units = number(groups, rows)
    drawn = np.random.default_rng(seed).integers(0, units, (resamples, units))
    places = drawn + units * np.arange(resamples)[:, None]
    return np.bincount(places.ravel(), minlength=resamples * units).reshape(resamples, units).astype(np.float64)


def quantiles(drawn: np.ndarray, confidence: float, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Low and high ends, one-sided `confidence` each, of bootstrapped values, float[resamples, …], of so many units.

    Percentiles, moved outwards as Student's interval is from the normal one without its divisor of n: plain percentiles
    of few units are too narrow. Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789, section 5.
    """
    from scipy.stats import norm, t

    wide = np.sqrt(units / max(units - 1, 1)) * t.ppf(confidence, max(units - 1, 1))
    end = float(norm.cdf(wide))
    low, high = np.quantile(drawn, [1 - end, end], axis=0)
    return low, high
